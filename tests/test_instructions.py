"""The instruction counts: every path gives the answer that it is named for, and a rise is found."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature

from benchmarks import instructions
from benchmarks.instructions import Committed, main, risen, selected, table
from benchmarks.material import Material, make_material
from benchmarks.paths import ALGORITHMS, PATHS, bare_verify

pytestmark = pytest.mark.once

needs_valgrind = pytest.mark.skipif(instructions.unavailable() is not None, reason=str(instructions.unavailable()))


@pytest.fixture(scope="module")
def material() -> Material:
    """Keys and three tokens of each kind."""
    return make_material(3)


@pytest.fixture
def figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of committed figures in place of the real one."""
    path = tmp_path / "instructions.json"
    monkeypatch.setattr(instructions, "FIGURES", path)
    return path


@pytest.fixture
def anyio_backend() -> str:
    """The benchmarks run on asyncio, as servers do."""
    return "asyncio"


@pytest.fixture(autouse=True)
def log_as_before() -> Iterator[None]:
    """Restore the handlers of the library's logger."""
    log = logging.getLogger("authguard")
    handlers = log.handlers[:]
    yield
    log.handlers = handlers


@pytest.mark.parametrize("name", PATHS)
async def test_each_path_gives_the_status_that_it_is_measured_with(name: str, material: Material) -> None:
    """Three requests in a row have the status of the path, so what is counted is what the row says."""
    prepared = await PATHS[name].prepare(material, 3)

    statuses = [await prepared.status(number) for number in range(3)]

    assert statuses == [PATHS[name].status] * 3


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_bare_verification_refuses_another_signature(algorithm: str, material: Material) -> None:
    """It accepts a token of its key, and raises for the signature of another token."""
    verify = bare_verify(material, algorithm)
    first, second, _ = material.tokens[algorithm]
    wrong = first.rpartition(b".")[0] + b"." + second.rpartition(b".")[2]

    verify(first)()

    with pytest.raises((InvalidSignature, SystemExit)):
        verify(wrong)()


def test_the_committed_figures_have_every_row() -> None:
    """No row is without a figure, and no figure without a row."""
    assert list(Committed.load().rows) == list(instructions.rows())


def test_a_rise_of_five_percent_is_found() -> None:
    """A rise of 4.9 % is not, and neither is a row without a committed figure."""
    measured = {"floor": 1050, "public": 1049, "digest": 5000}

    assert risen(measured, {"floor": 1000, "public": 1000}) == ["floor: 1,000 -> 1,050 (+5.0 %)"]


def test_a_row_is_compared_with_the_bare_route_and_the_bare_verification() -> None:
    """What was not measured now is taken from the committed figures."""
    committed = {"floor": 100_000, "verify-rs256": 300_000, "cold-rs256": 800_000}

    row = table({"cold-rs256": 600_000}, committed).splitlines()[1]

    assert row.split()[-6:] == ["600.0", "800.0", "-25.0", "%", "200.0", "1.50"]


def test_a_row_without_its_bare_rows_shows_its_figure_alone() -> None:
    """Where figures do not compare, there is nothing to subtract."""
    assert table({"cold-rs256": 600_000}, {}).splitlines()[1].split()[-1] == "600.0"


def test_rows_are_selected_by_patterns_in_the_order_of_the_output() -> None:
    """An unknown name is an error, because a misspelt row would count nothing."""
    assert selected(["public", "verify-*5*", "floor"]) == [
        "floor",
        "verify-hs256",
        "verify-rs256",
        "verify-es256",
        "public",
    ]
    with pytest.raises(ValueError, match="no row is called 'publik'"):
        selected(["publik"])


@pytest.mark.peer
@needs_valgrind
def test_another_environment_is_not_compared(figures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The check passes, and names what differs."""
    here = instructions.environment() | {"python": "another build"}
    Committed("2027-01-01", here, {}).save()

    assert main(["--check"]) == 0
    assert capsys.readouterr().out == "Not compared: the committed figures are of another environment (python).\n"


@pytest.mark.peer
@needs_valgrind
def test_figures_repeat_and_a_lower_committed_one_fails_the_check(
    figures: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counts repeat within 0.5 %: the check passes for 4.5 % more than committed, and fails for 5.5 %."""
    monkeypatch.setattr(instructions, "CHECKED", ("floor",))
    first = instructions.counted(["floor"], processes=1)["floor"]
    here = instructions.environment()

    Committed("2027-01-01", here, {"floor": round(first / 1.045)}).save()
    passed = main(["--check"])
    Committed("2027-01-01", here, {"floor": round(first / 1.055)}).save()
    failed = main(["--check"])

    assert (passed, failed) == (0, 1)
    assert "floor: " in capsys.readouterr().out


@pytest.mark.peer
@needs_valgrind
def test_written_figures_name_what_they_depend_on(figures: Path) -> None:
    """The file has the date, the environment and the row."""
    Committed("2027-01-01", instructions.environment(), {}).save()

    assert main(["--only", "floor", "--write"]) == 0

    content = json.loads(figures.read_text("utf-8"))
    assert list(content) == ["date", "environment", "rows"]
    assert content["environment"] == instructions.environment()
    assert list(content["rows"]) == ["floor"]
