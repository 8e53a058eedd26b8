"""The benchmarks run. What they say depends on the machine, and is no test's business."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from benchmarks.__main__ import main
from benchmarks.costs import BARE, COLD, FEW, FLOOR, HIT, MANY, OPEN, OWN, PEER, RATIOS, ROLE, SILENT, TOLD
from benchmarks.digests import RATIOS as DIGESTS
from benchmarks.fetching import OURS
from benchmarks.fetching import PEER as PYJWT
from benchmarks.served import APPS


@pytest.fixture(autouse=True)
def log_as_before() -> Iterator[None]:
    """The benchmark turns the library's log away from the console."""
    log = logging.getLogger("authguard")
    level, propagate, handlers = log.level, log.propagate, log.handlers[:]
    yield
    log.setLevel(level)
    log.propagate, log.handlers = propagate, handlers


def test_every_row_of_the_costs_and_every_ratio_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """Two rounds of one call are enough to see each row, and each ratio with what it is a ratio to."""
    rows = {BARE, FLOOR, PEER, OPEN, OWN, HIT, COLD, ROLE, SILENT, TOLD, FEW, MANY}
    rows |= {f"authguard, {algorithm}" for algorithm in ("HS256", "ES256", "EdDSA")}

    main(["costs", "--rounds", "2", "--calls", "1"])

    _, took, ratios = capsys.readouterr().out.split("\n\n")
    assert {line.split("  ")[0] for line in took.splitlines()[1:]} == rows
    told = ratios.splitlines()[1:]
    over = [line.split("  ")[0] for line in told[::2]]
    under = [line.removeprefix("  to ") for line in told[1::2]]
    assert list(zip(over, under, strict=True)) == [(ratio.over, ratio.under) for ratio in RATIOS]


@pytest.mark.peer
def test_every_app_is_measured_beside_its_logins(capsys: pytest.CaptureFixture[str]) -> None:
    """With cheap hashes a fraction of a second will do; a login that is answered otherwise than it may be ends it."""
    main(["logins", "--in-flight", "2", "--seconds", "0.4", "--bcrypt", "4"])

    rows = capsys.readouterr().out.splitlines()[4:-1]
    assert [row[: max(map(len, APPS))].strip() for row in rows] == ["idle", *APPS]


@pytest.mark.peer
def test_outages_are_measured_beside_the_peer(capsys: pytest.CaptureFixture[str]) -> None:
    """The peer stands below us where the key server is slow. Each row ends with what the record says of the outage."""
    main(["outages", "--key-servers", "at-once", "redirect", "hangs", "--outage", "1"])

    rows = [row.split() for row in capsys.readouterr().out.splitlines()[4:-1]]
    measured = [("idle", "at-once"), (OURS, "at-once"), (OURS, "redirect"), (OURS, "hangs"), (PYJWT, "hangs")]
    assert [(row[0], row[1]) for row in rows] == measured
    assert " ".join(rows[2][15:]) == "it redirects, which is not followed"


def test_the_memory_of_invented_names_is_printed_for_three_sizes(capsys: pytest.CaptureFixture[str]) -> None:
    """The last is the one that was asked for."""
    main(["names", "--names", "2000"])

    rows = capsys.readouterr().out.splitlines()[3:]
    assert [row.split()[0] for row in rows] == ["20", "200", "2,000"]


def test_digests_are_measured_beside_their_peers(capsys: pytest.CaptureFixture[str]) -> None:
    """Each above its own floor; and a nonce is measured among a thousand and among as many as are asked for."""
    main(["digests", "--rounds", "6", "--calls", "1", "--names", "2000"])

    took, ratios, nonces = capsys.readouterr().out.split("\n\n")[1:]
    assert {line.split("  ")[0] for line in took.splitlines()[1:]} == {name for ratio in DIGESTS for name in ratio[:2]}
    assert [line.split("  ")[0] for line in ratios.splitlines()[1::2]] == [over for over, _, _ in DIGESTS]
    assert [line.split()[0] for line in nonces.splitlines()[1:]] == ["1,000", "2,000"]


@pytest.mark.parametrize(
    "wrong", [["speed"], ["--in-flight", "0"], ["--in-flight", "1001"], ["--key-servers", "sulks"]]
)
def test_what_cannot_be_measured_is_said_at_once(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """As argparse does, with a line and an exit status of 2."""
    with pytest.raises(SystemExit) as ended:
        main(wrong)

    assert ended.value.code == 2
    assert "error: " in capsys.readouterr().err
