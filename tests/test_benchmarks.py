"""The benchmarks run and print their tables. The figures depend on the machine, so no test checks them."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from benchmarks import request_cost
from benchmarks.__main__ import main
from benchmarks.digest_cost import RATIOS as DIGEST_RATIOS
from benchmarks.jwks_apps import OURS
from benchmarks.jwks_apps import PEER as PYJWT
from benchmarks.login_apps import APPS


@pytest.fixture(autouse=True)
def log_as_before() -> Iterator[None]:
    """Restore the logger of the library, which the benchmarks change."""
    log = logging.getLogger("authguard")
    level, propagate, handlers = log.level, log.propagate, log.handlers[:]
    yield
    log.setLevel(level)
    log.propagate, log.handlers = propagate, handlers


def test_every_row_and_every_ratio_of_the_requests_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """With two rounds of one call, the output has each row, and each ratio with both of its rows."""
    rows = {
        request_cost.BARE,
        request_cost.FLOOR,
        request_cost.PEER,
        request_cost.PUBLIC_ROUTE,
        request_cost.MINIMAL_SCHEME,
        request_cost.CACHED_BASIC,
        request_cost.RS256,
        request_cost.ROLE,
        request_cost.DENIED,
        request_cost.DENIED_LOGGED,
        request_cost.FEW_RULES,
        request_cost.MANY_RULES,
    }
    rows |= {f"authguard, {algorithm}" for algorithm in ("HS256", "ES256", "EdDSA")}

    main(["requests", "--rounds", "2", "--calls", "1"])

    _, times, ratios = capsys.readouterr().out.split("\n\n")
    assert {line.split("  ")[0] for line in times.splitlines()[1:]} == rows
    lines = ratios.splitlines()[1:]
    over = [line.split("  ")[0] for line in lines[::2]]
    under = [line.removeprefix("  to ") for line in lines[1::2]]
    assert list(zip(over, under, strict=True)) == [(ratio.over, ratio.under) for ratio in request_cost.RATIOS]


@pytest.mark.peer
def test_every_app_is_measured_during_logins(capsys: pytest.CaptureFixture[str]) -> None:
    """With cheap hashes, a second or two is enough for a row of each app, also on a busy machine."""
    main(["logins", "--in-flight", "2", "--seconds", "1.5", "--bcrypt", "4"])

    rows = capsys.readouterr().out.splitlines()[4:-1]
    assert [row[: max(map(len, APPS))].strip() for row in rows] == ["idle", *APPS]


@pytest.mark.peer
def test_outages_are_measured_for_authguard_and_the_peer(capsys: pytest.CaptureFixture[str]) -> None:
    """The peer is measured only with slow key servers. Each row ends with the last error of the keys."""
    main(["outages", "--key-servers", "healthy", "redirect", "hanging", "--outage", "1"])

    rows = [row.split() for row in capsys.readouterr().out.splitlines()[4:-1]]
    measured = [("idle", "healthy"), (OURS, "healthy"), (OURS, "redirect"), (OURS, "hanging"), (PYJWT, "hanging")]
    assert [(row[0], row[1]) for row in rows] == measured
    assert " ".join(rows[2][15:]) == "it redirects, which is not followed"


def test_the_memory_of_invented_names_is_printed_for_three_sizes(capsys: pytest.CaptureFixture[str]) -> None:
    """The sizes are a hundredth, a tenth and all of ``--entries``."""
    main(["throttle", "--entries", "2000"])

    rows = capsys.readouterr().out.splitlines()[3:]
    assert [row.split()[0] for row in rows] == ["20", "200", "2,000"]


def test_digests_are_measured_for_authguard_and_its_peers(capsys: pytest.CaptureFixture[str]) -> None:
    """Each library has a ratio to its own bare route. Nonces are measured among a thousand and among ``--entries``."""
    main(["digests", "--rounds", "6", "--calls", "1", "--entries", "2000"])

    times, ratios, nonces = capsys.readouterr().out.split("\n\n")[1:]
    rows = {name for ratio in DIGEST_RATIOS for name in ratio[:2]}
    assert {line.split("  ")[0] for line in times.splitlines()[1:]} == rows
    assert [line.split("  ")[0] for line in ratios.splitlines()[1::2]] == [over for over, _, _ in DIGEST_RATIOS]
    assert [line.split()[0] for line in nonces.splitlines()[1:]] == ["1,000", "2,000"]


@pytest.mark.parametrize(
    "wrong", [["speed"], ["--in-flight", "0"], ["--in-flight", "1001"], ["--key-servers", "unheard-of"]]
)
def test_a_wrong_argument_is_an_error_at_once(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """``main`` prints one line and exits with 2, as argparse does."""
    with pytest.raises(SystemExit) as exited:
        main(wrong)

    assert exited.value.code == 2
    assert "error: " in capsys.readouterr().err
