"""The benchmarks run and print their tables. The figures depend on the machine, so no test checks them."""

from __future__ import annotations

import asyncio
import logging
import platform
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import jwt
import pytest

from benchmarks import capacity, server_cpu, shared
from benchmarks.__main__ import main, write_plots
from benchmarks.digest_cost import RATIOS as DIGEST_RATIOS
from benchmarks.growth import growth
from benchmarks.import_cost import STATEMENTS, import_cost
from benchmarks.jwks_apps import OURS
from benchmarks.jwks_apps import PEER as PYJWT
from benchmarks.login_apps import APPS
from benchmarks.login_burst import APPS as BURST_APPS
from benchmarks.login_burst import login_burst
from benchmarks.machine import Busy, busy_report, describe
from benchmarks.material import Material, make_material
from benchmarks.paths import PATHS, starlette
from benchmarks.peers import PEERS, PLAIN, PlainMiddleware, check_refusals, key_of
from benchmarks.plots import Bar, bars, lines
from benchmarks.request_cost import GOALS, request_cost
from benchmarks.results import Goal, PartResult, goal_table
from benchmarks.shared import KINDS, PING, ROWS
from benchmarks.shared_apps import BARE, DIGEST, PREPARE
from benchmarks.sql_cost import ALONE, REQUEST
from examples.cluster.processes import find

pytestmark = pytest.mark.once

ROOT = Path(__file__).parents[1]
PEERS_PYTHON = ROOT / ".venv" / "bench" / "bin" / "python"


@pytest.fixture
def anyio_backend() -> str:
    """The benchmarks run on asyncio, as servers do."""
    return "asyncio"


@pytest.fixture(autouse=True)
def log_as_before() -> Iterator[None]:
    """Restore the logger of the library, which the benchmarks change."""
    log = logging.getLogger("authguard")
    level, propagate, handlers = log.level, log.propagate, log.handlers[:]
    yield
    log.setLevel(level)
    log.propagate, log.handlers = propagate, handlers


@pytest.fixture(scope="module")
def material() -> Material:
    """Keys and three tokens of each kind."""
    return make_material(3)


@pytest.fixture(scope="module")
def requests() -> PartResult:
    """Two rounds of one call, with few tokens."""
    return asyncio.run(request_cost(rounds=2, calls=1, tokens=12))


# --- requests ---------------------------------------------------------------------------------------------------------


def test_every_path_and_every_installed_peer_has_a_row(requests: PartResult) -> None:
    """The table has each path through authguard, and each peer that is installed; the others are named below it."""
    rows = {line.split("  ")[0] for line in requests.text.splitlines()}
    installed = {f"{name}, RS256" for name, peer in PEERS.items() if not peer.missing()}
    missing = {f"Not installed: {name}." for name, peer in PEERS.items() if peer.missing()}

    assert {path.text for path in PATHS.values() if not path.grows} | installed | missing <= rows


def test_every_goal_of_the_requests_is_measured(requests: PartResult) -> None:
    """The table of goals names each with its limit."""
    table = goal_table(requests.goals)

    assert [goal.what for goal in requests.goals] == [what for what, _, _, _ in GOALS]
    assert all(what in table for what, _, _, _ in GOALS)


def test_the_bare_route_is_returned_for_each_round(requests: PartResult) -> None:
    """Two rounds give two figures, from which the spread of an unchanging work is computed."""
    assert len(requests.floor) == 2


@pytest.mark.parametrize("name", [name for name, peer in PEERS.items() if not peer.missing()])
async def test_each_peer_refuses_what_it_must(name: str, material: Material) -> None:
    """A peer accepts a good token, and refuses one that is expired, forged or for another audience, and none at all."""
    await check_refusals(name, PEERS[name], material)


@pytest.mark.parametrize(
    ("unchecked", "found"),
    [("verify_exp", "expired"), ("verify_signature", "expired"), ("verify_aud", "audience")],
)
async def test_a_peer_that_checks_too_little_is_not_measured(unchecked: str, found: str, material: Material) -> None:
    """Its name and what it let pass are the error."""
    key = key_of(material, "RS256")

    def decode(token: str) -> dict[str, object]:
        options = {unchecked: False}
        claims: dict[str, object] = jwt.decode(token, key, algorithms=["RS256"], audience="orders", options=options)  # type: ignore[arg-type]
        return claims

    lax = replace(
        PEERS[PLAIN], build=lambda material, algorithm: PlainMiddleware(starlette(), decode), algorithms=("RS256",)
    )

    with pytest.raises(SystemExit, match=f"lax: {found} has the status 200"):
        await check_refusals("lax", lax, material)


@pytest.mark.peer
@pytest.mark.skipif(not PEERS_PYTHON.exists(), reason="`make bench` has not set its environment up")
def test_all_peers_are_measured_in_the_environment_of_make_bench() -> None:
    """There every library is installed."""
    code = (
        "import asyncio; from benchmarks.request_cost import request_cost;"
        "print(asyncio.run(request_cost(rounds=2, calls=1, tokens=12)).text)"
    )
    done = subprocess.run([PEERS_PYTHON, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)

    rows = {line.split("  ")[0] for line in done.stdout.splitlines()}
    assert {f"{name}, RS256" for name in PEERS} <= rows
    assert "Not installed" not in done.stdout


def test_the_pins_of_the_peers_have_hashes_and_the_versions_of_all_other_environments() -> None:
    """No pin of benchmarks/peers.txt is without a hash, none differs from constraints.txt, and no index is named."""
    text = (ROOT / "benchmarks" / "peers.txt").read_text("utf-8")
    pins = re.findall(r"^([a-z0-9-]+==\S+)(.*)\n(.*)", text, re.MULTILINE)
    others = (ROOT / "scripts" / "constraints.txt").read_text("utf-8")
    elsewhere = set(re.findall(r"^[a-z0-9-]+==\S+", others, re.MULTILINE))
    names = {pin.partition("==")[0] for pin in elsewhere}

    assert len(pins) > 50
    assert all(after.strip().startswith("--hash=sha256:") for _, _, after in pins)
    assert {pin for pin, _, _ in pins if pin.partition("==")[0] in names} <= elsewhere
    assert "index" not in text
    assert "://" not in text


# --- the other parts --------------------------------------------------------------------------------------------------


def test_a_burst_is_measured_for_authguard_and_the_peer() -> None:
    """With twenty logins and one round, each app has a row."""
    result = login_burst(rounds=1, logins=20)

    rows = {line.split("  ")[0] for line in result.text.splitlines()[1:]}
    assert rows == set(BURST_APPS)
    assert len(result.goals) == 2


@pytest.mark.peer
def test_each_import_has_a_row() -> None:
    """One round measures every statement, and the ratio of authguard to what it needs anyway."""
    result = import_cost(rounds=1)

    rows = [line.split("  ")[0] for line in result.text.splitlines()[1:]]
    assert rows == list(STATEMENTS)
    assert result.goals[0].measured > 1


@pytest.mark.peer
@pytest.mark.skipif(not shutil.which("wrk"), reason="wrk is not installed")
def test_the_processor_time_of_a_server_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two rows under load for a second give the ratio of the goal, and a drawing."""
    names, every = [server_cpu.BARE, server_cpu.WARM], server_cpu.loads
    monkeypatch.setattr(server_cpu, "loads", lambda material: [load for load in every(material) if load.text in names])

    result = server_cpu.server_cpu(rounds=1, seconds=1, tokens=2)

    assert [line.split("  ")[0] for line in result.text.splitlines()[1:]] == names
    assert 0 < result.goals[0].measured < 1
    assert "benchmark-server.svg" in result.plots


def test_without_wrk_the_server_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """The part says so in place of a table."""
    monkeypatch.setenv("PATH", "")

    assert server_cpu.server_cpu().text == "The processor time of a server was not measured: wrk is not installed."


def test_growth_is_measured_for_each_series() -> None:
    """With at most a thousand of each, every series has a row, and the building of 10,000 rules its goal."""
    result = growth(rounds=2, calls=1, most=1000, tokens=20)

    microseconds, seconds, megabytes = (table.splitlines()[1:] for table in result.text.split("\n\n"))
    assert (len(microseconds), len(seconds), len(megabytes)) == (6, 4, 2)
    assert [goal.what for goal in result.goals] == ["seconds to build a guard with 10,000 rules"]


@pytest.mark.peer
def test_every_app_is_measured_during_logins(capsys: pytest.CaptureFixture[str]) -> None:
    """With cheap hashes, a second or two is enough for a row of each app, also on a busy machine."""
    main(["logins", "--in-flight", "2", "--seconds", "1.5", "--bcrypt", "4"])

    rows = _table(capsys).splitlines()[2:-1]
    assert [row[: max(map(len, APPS))].strip() for row in rows] == ["idle", *APPS]


@pytest.mark.peer
def test_outages_are_measured_for_authguard_and_the_peer(capsys: pytest.CaptureFixture[str]) -> None:
    """The peer is measured only with slow key servers. Each row ends with the last error of the keys."""
    main(["outages", "--key-servers", "healthy", "redirect", "hanging", "--outage", "1"])

    rows = [row.split() for row in _table(capsys).splitlines()[2:-1]]
    measured = [("idle", "healthy"), (OURS, "healthy"), (OURS, "redirect"), (OURS, "hanging"), (PYJWT, "hanging")]
    assert [(row[0], row[1]) for row in rows] == measured
    assert " ".join(rows[2][15:]) == "it redirects, which is not followed"


def test_the_memory_of_invented_names_is_printed_for_three_sizes(capsys: pytest.CaptureFixture[str]) -> None:
    """The sizes are a hundredth, a tenth and all of ``--entries``."""
    main(["throttle", "--entries", "2000"])

    rows = _table(capsys).splitlines()[1:]
    assert [row.split()[0] for row in rows] == ["20", "200", "2,000"]


def test_digests_are_measured_for_authguard_and_its_peers(capsys: pytest.CaptureFixture[str]) -> None:
    """Each library has a ratio to its own bare route."""
    main(["digests", "--rounds", "2", "--calls", "1"])

    times, ratios = _table(capsys).split("\n\n")
    rows = {name for ratio in DIGEST_RATIOS for name in ratio[:2]}
    assert {line.split("  ")[0] for line in times.splitlines()[1:]} == rows
    assert [line.split("  ")[0] for line in ratios.splitlines()[1::2]] == [over for over, _, _ in DIGEST_RATIOS]


def test_an_api_key_of_a_database_is_measured_beside_the_look_up_alone(capsys: pytest.CaptureFixture[str]) -> None:
    """Its ratio is a goal."""
    main(["sql", "--rounds", "2", "--calls", "1"])

    table, goals = _table(capsys).split("\n\n== goals\n")
    assert [line.split("  ")[0] for line in table.splitlines()[1:3]] == [ALONE, REQUEST]
    assert goals.splitlines()[1].startswith(f"{REQUEST} / {ALONE} ")


@pytest.mark.peer
@pytest.mark.skipif(find("redis-server") is None, reason="redis-server is not installed")
def test_what_redis_adds_is_measured_beside_a_ping(capsys: pytest.CaptureFixture[str]) -> None:
    """Each kind of request has a ratio to a PING as its goal, and each kind of row its bytes."""
    main(["shared", "--rounds", "8", "--calls", "2", "--entries", "3000"])

    ping, times, rows, goals = _table(capsys).split("\n\n")
    assert re.fullmatch(rf"{PING}: \d+ microseconds", ping)
    assert [line.split("  ")[0] for line in times.splitlines()[1:]] == list(KINDS)
    assert [line.split("  ")[0] for line in rows.splitlines()[1:]] == list(ROWS)
    assert all(50 < int(figure) < 600 for line in rows.splitlines()[1:] for figure in line.split()[-2:])
    assert [line.partition(":")[0] for line in goals.splitlines()[2:-1]] == list(KINDS)


def test_without_redis_server_nothing_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both parts say so in place of a table."""
    monkeypatch.setattr(shared, "find", lambda program: None)
    monkeypatch.setattr(capacity, "find", lambda program: None)

    texts = [shared.shared(rounds=2, calls=1, rows=1).text, capacity.capacity(measure=True, rounds=1, seconds=1).text]

    assert [text.partition(":")[0] for text in texts] == [
        "What shared state costs was not measured",
        "The costs were not measured",
    ]


@pytest.mark.peer
@pytest.mark.skipif(find("redis-server") is None or not shutil.which("wrk"), reason="redis-server or wrk is missing")
def test_the_costs_of_the_simulation_are_measured_under_load(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request by Digest calls Redis twice, for the attempts of the account and for the nonce; a bare one does not."""
    monkeypatch.setattr(capacity, "PREPARE", {kind: PREPARE[kind] for kind in (BARE, DIGEST)})

    kinds = capacity.measure_costs(1, 1)["kinds"]

    # Not quite two: requests that were under way at the end count for Redis alone.
    assert kinds[BARE]["calls"] == 0
    assert kinds[DIGEST]["calls"] == pytest.approx(2, abs=0.4)
    assert kinds[DIGEST]["process"] > kinds[BARE]["process"]
    assert kinds[DIGEST]["redis"] > 0


def test_a_cluster_is_simulated_in_each_scenario(monkeypatch: pytest.MonkeyPatch) -> None:
    """At a low rate, so that it is fast: the table has a row for each, and none of the plan's requests is a 503."""
    simulated = capacity.simulated
    monkeypatch.setattr(capacity, "simulated", lambda kinds: simulated(kinds, rate=2000))

    table = capacity.capacity(measure=False, rounds=1, seconds=1).text.split("\n\n")[2].splitlines()

    assert [line.split("  ")[0] for line in table[2:3]] == ["nothing is shared"]
    assert table[1].split()[-1] == "0.0%"


def _table(capsys: pytest.CaptureFixture[str]) -> str:
    """The output of ``main`` below its line about the machine, which names the part and says how busy it was."""
    described, busy, table = capsys.readouterr().out.split("\n\n", 2)
    assert described == describe()
    assert busy.startswith("== ")
    return table.rstrip("\n")


@pytest.mark.parametrize(
    "wrong", [["speed"], ["--in-flight", "0"], ["--in-flight", "1001"], ["--key-servers", "unheard-of"]]
)
def test_a_wrong_argument_is_an_error_at_once(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """``main`` prints one line and exits with 2, as argparse does."""
    with pytest.raises(SystemExit) as exited:
        main(wrong)

    assert exited.value.code == 2
    assert "error: " in capsys.readouterr().err


# --- goals, the machine, drawings -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("goal", "is_met"),
    [
        (Goal("a", 1.504, 1.5), True),
        (Goal("a", 1.506, 1.5), False),
        (Goal("a", 0.796, 0.8, at_least=True), True),
        (Goal("a", 0.794, 0.8, at_least=True), False),
    ],
)
def test_a_goal_is_judged_by_the_digits_that_are_printed(goal: Goal, is_met: bool) -> None:
    """1.504 is printed as 1.50, so it meets a goal of 1.5."""
    assert goal.is_met is is_met
    assert ("MISSED" in goal_table([goal])) is not is_met


@pytest.mark.parametrize(
    ("others", "floor", "is_quiet"),
    [(0.04, [10.0, 10.1, 10.2], True), (0.06, [10.0, 10.1, 10.2], False), (0.0, [9.0, 10.0, 12.0], False)],
)
def test_a_busy_machine_is_noticed(others: float, floor: list[float], is_quiet: bool) -> None:
    """Five percent of the processors for other processes, or a bare route that varies by a tenth, is too much."""
    before, after = Busy(100.0, 10.0, 1000.0), Busy(150.0 + 100 * others, 60.0, 1100.0)

    report = busy_report(before, after, floor)
    assert report.is_quiet is is_quiet
    assert ("BUSY" in report.text) is not is_quiet


def test_the_machine_is_described_without_its_name() -> None:
    """A drawing is published, so it has the versions, but neither the host name nor a path."""
    text = describe()

    assert f"CPython {platform.python_version()}" in text
    assert platform.node() not in text
    assert str(Path.home()) not in text


def test_drawings_are_svg_with_each_name_and_the_note(requests: PartResult) -> None:
    """The text is well-formed XML; every bar is labelled, and the machine is named."""
    for drawing in requests.plots.values():
        texts = [element.text for element in ET.fromstring(drawing).iter("{http://www.w3.org/2000/svg}text")]
        assert describe() in texts
        assert platform.node() not in texts
    assert "authguard, token seen before" in requests.plots["benchmark-libraries.svg"]


def test_a_bar_is_as_long_as_its_value() -> None:
    """The second value is half of the first, and so is its bar: grey up to its base, and coloured from there."""
    drawing = bars("title", {"first": Bar(20.0), "second & last": Bar(10.0, base=5.0)}, base="bare", note="a\nb")

    widths = [float(width) for width in re.findall(r'<rect x=[^>]* width="([\d.]+)" [^>]* class=', drawing)]
    first, second = widths[1] + widths[2], (widths[3], widths[4])
    assert second == (first / 4, first / 4)
    assert "second &amp; last" in drawing


def test_a_value_that_does_not_grow_is_a_flat_line() -> None:
    """All points of such a series have the same height; a value ten times higher stands higher."""
    drawing = lines("title", {"flat": {1: 5.0, 100: 5.0}, "steep": {1: 5.0, 100: 50.0}}, note="")

    flat, steep = (
        [point.split(",")[1] for point in points.split()] for points in re.findall(r'points="([^"]+)"', drawing)
    )
    assert flat[0] == flat[1] == steep[0]
    assert float(steep[1]) < float(steep[0])


@pytest.mark.parametrize(("is_quiet", "added"), [(True, ""), (False, ", busy with other work")])
def test_a_drawing_of_a_busy_machine_says_so(is_quiet: bool, added: str, tmp_path: Path) -> None:
    """``--plots FOLDER`` writes the drawings of a part, whose last line describes the machine."""
    note = describe()
    result = PartResult("table", plots={"a.svg": bars("title", {"row": Bar(1.0)}, base="bare", note=note)})

    write_plots(tmp_path, result, is_quiet=is_quiet)

    assert f">{note}{added}<" in (tmp_path / "a.svg").read_text("utf-8")
