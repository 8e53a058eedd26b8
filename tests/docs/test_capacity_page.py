"""The page about capacity: its tables are what the benchmarks print, and its figures are those of the simulation."""

from __future__ import annotations

import json
import re

import httpx2
import pytest

from benchmarks.capacity import BUSY, FAILED, INPUTS, RATE, ROUND_TRIP, SHARES, USERS, cost_table, simulation_table
from benchmarks.shared import KINDS, PING, ROWS
from tests.integration.nginx import NGINX, running_nginx
from tests.support.markdown import DOCS, code_blocks

pytestmark = pytest.mark.block("capacity.md")

PAGE = DOCS / "capacity.md"
BYTES, COSTS, TIMES, SIMULATION = code_blocks("text", PAGE)


def first_cells(table: str) -> list[str]:
    """The first column of a table, without its heading."""
    return [re.split(r" {2,}", line)[0] for line in table.splitlines()[1:] if line]


def test_the_costs_and_the_simulation_are_those_that_are_stored() -> None:
    """The page has the two tables as ``make bench ARGS="capacity"`` prints them."""
    inputs = json.loads(INPUTS.read_text("utf-8"))

    assert COSTS.rstrip("\n") == cost_table(inputs)
    assert SIMULATION.rstrip("\n") == simulation_table(inputs["simulated"])


def test_the_other_tables_have_the_rows_of_the_benchmark() -> None:
    """Each kind of row and of request that ``make bench ARGS="shared"`` measures is on the page."""
    assert first_cells(BYTES) == list(ROWS)
    assert TIMES.startswith(f"{PING}: ")
    assert first_cells(TIMES.partition("\n\n")[2]) == list(KINDS)


def test_what_is_assumed_is_said() -> None:
    """The page names each figure that the simulation takes for granted."""
    text = " ".join(PAGE.read_text("utf-8").split())

    assert f"{RATE:,.0f} requests a second" in text
    assert f"{USERS:,} users" in text
    token, session, digest = (f"{share:.0%}"[:-1] for share in SHARES.values())
    assert f"{token} of 100 requests have a token, {session} a session and {digest} Digest" in text
    assert f"a round trip to Redis takes {ROUND_TRIP / 1000:g} ms" in text
    assert f"each process is busy for {BUSY:.0%} of the time" in text


def test_the_text_says_what_was_simulated() -> None:
    """The numbers of processes, of servers, and how long an outage lasts are those of the table."""
    text = " ".join(PAGE.read_text("utf-8").split())
    simulated = json.loads(INPUTS.read_text("utf-8"))["simulated"]
    plan, failed = simulated["the plan"], simulated[FAILED]

    assert f"{plan['processes']} processes and {plan['servers']} Redis servers carry it" in text
    assert f"{simulated['nothing is shared']['processes']} processes would do if nothing were shared" in text
    # It begins half a second after the warm-up.
    assert f"{failed['unavailable_until'] - 0.5:.1f} s for a failover of 2 s" in text
    assert f"which were {failed['renewed']:,} in the simulated seconds" in text


@pytest.mark.peer
@pytest.mark.skipif(NGINX is None, reason="nginx is not here")
def test_nginx_gives_a_token_to_one_process() -> None:
    """With the lines of the page, each token has one process, both have some, and requests without one are spread."""
    (lines,) = code_blocks("nginx", PAGE)
    with running_nginx("return 200 one;", "return 200 other;") as urls:
        for address, url in zip(("10.0.0.11:8000", "10.0.0.12:8000"), urls, strict=True):
            lines = lines.replace(address, url.removeprefix("http://"))
        with (
            running_nginx("location / { proxy_pass http://orders; }", shared=lines) as [proxy],
            httpx2.Client(trust_env=False) as client,
        ):

            def chosen(token: str | None) -> list[str]:
                headers = {} if token is None else {"Authorization": f"Bearer {token}"}
                return [client.get(proxy, headers=headers).text for _ in range(3 if token else 40)]

            of_tokens = [set(chosen(f"token-{number}")) for number in range(20)]
            of_none = set(chosen(None))

    assert {len(processes) for processes in of_tokens} == {1}
    assert set.union(*of_tokens) == of_none == {"one", "other"}
