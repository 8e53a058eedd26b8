"""docs/conformance.md is up to date: it is what the checklists and the markers on the tests give."""

from __future__ import annotations

import difflib
from pathlib import Path

import pytest

import conformance_page
from checklist import Document, Line, documents
from rfc_markers import MarkedTest, UnreadableError, marked_tests

LINES = {line.id: line for document in documents() for line in document.lines}


def test_the_page_is_up_to_date() -> None:
    """A change of a checklist or a marker comes with a new page, which ``make docs`` writes."""
    committed = conformance_page.PAGE.read_text("utf-8").splitlines()
    current = conformance_page.page(documents(), marked_tests()).splitlines()

    if committed != current:
        changed = difflib.SequenceMatcher(None, committed, current, autojunk=False).get_opcodes()
        lines = ", ".join(str(start + 1) for tag, start, *_ in changed if tag != "equal")
        pytest.fail(f"docs/conformance.md is out of date at line {lines}: run `make docs`", pytrace=False)


def test_each_line_has_a_test_or_an_exception_and_each_marker_a_line() -> None:
    """Each line is shown by a test or has an exception that explains it; no marker names an unknown line."""
    if sentences := conformance_page.problems(documents(), marked_tests()):
        pytest.fail("\n".join(sentences), pytrace=False)


def test_the_numbers_of_a_checklist_have_no_gap() -> None:
    """A line keeps its number, a new line takes the next one, and no number is used twice."""
    for document in documents():
        assert [line.id for line in document.lines] == [
            f"{document.number}-{number}" for number in range(1, len(document.lines) + 1)
        ]


ON_A_CLASS = """
@pytest.mark.rfc("1-1")
class TestA:
    def test_b(self): ...

    @pytest.mark.rfc("1-2")
    def test_c(self): ...

    def helper(self): ...
"""


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ('@pytest.mark.rfc("1-1")\ndef test_a(): ...', {"1-1": ["test_a"]}),
        ('@pytest.mark.rfc("1-1", "1-2")\nasync def test_a(): ...', {"1-1": ["test_a"], "1-2": ["test_a"]}),
        ('@pytest.mark.rfc("1-1")\n@pytest.mark.rfc("1-2")\ndef test_a(): ...', {"1-1": ["test_a"], "1-2": ["test_a"]}),
        (ON_A_CLASS, {"1-1": ["TestA::test_b", "TestA::test_c"], "1-2": ["TestA::test_c"]}),
        (
            'pytestmark = pytest.mark.rfc("1-1")\ndef test_a(): ...\nclass TestB:\n    def test_c(self): ...',
            {"1-1": ["TestB::test_c", "test_a"]},
        ),
        ('def test_a(): ...\npytestmark = [pytest.mark.peer, pytest.mark.rfc("1-1")]', {"1-1": ["test_a"]}),
        (
            'class TestA:\n    pytestmark = [pytest.mark.rfc("1-1")]\n    def test_b(self): ...',
            {"1-1": ["TestA::test_b"]},
        ),
        ('# @pytest.mark.rfc("1-1")\ndef test_a(): ...', {}),
    ],
)
def test_a_marker_is_found_where_pytest_finds_it(tmp_path: Path, source: str, expected: dict[str, list[str]]) -> None:
    """Markers are found on a test, a class and a module, but not in a comment."""
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "test_it.py").write_text(f"import pytest\n\n{source}\n", "utf-8")

    tests = marked_tests(tmp_path, tmp_path)

    assert tests == {line: [MarkedTest("deep/test_it.py", name) for name in names] for line, names in expected.items()}


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("@pytest.mark.rfc\ndef test_a(): ...", "test_it.py: test_a: write the lines as literal strings"),
        ("@pytest.mark.rfc()\ndef test_a(): ...", "test_it.py: test_a: write the lines as literal strings"),
        ("@pytest.mark.rfc(*LINES)\ndef test_a(): ...", "test_it.py: test_a: write the lines as literal strings"),
        ('@pytest.mark.rfc("1-1", 2)\ndef test_a(): ...', "test_it.py: test_a: write the lines as literal strings"),
        (
            '@pytest.mark.rfc("1-1")\ndef helper(): ...',
            "test_it.py: helper has the marker pytest.mark.rfc and is not a test",
        ),
    ],
)
def test_a_marker_that_cannot_be_read_raises(tmp_path: Path, source: str, problem: str) -> None:
    """Ignoring such a marker would leave its test out of the page."""
    (tmp_path / "test_it.py").write_text(f"{source}\n", "utf-8")

    with pytest.raises(UnreadableError) as raised:
        marked_tests(tmp_path, tmp_path)

    assert str(raised.value).startswith(problem)


def test_the_markers_found_are_those_that_pytest_finds(request: pytest.FixtureRequest) -> None:
    """Each test collected in this run has exactly the lines that ``marked_tests`` finds for it."""
    items = {item.nodeid.partition("[")[0]: item for item in request.session.items}

    by_pytest = {
        (test, line) for test, item in items.items() for mark in item.iter_markers("rfc") for line in mark.args
    }
    by_us = {(f"{test.file}::{test.name}", line) for line, tests in marked_tests().items() for test in tests}

    assert by_pytest == {(test, line) for test, line in by_us if test in items}


GOOD = 'title = "A"\n["1-1"]\nsection = "2, B.1, RFC 2 3.4"\nlevel = "MUST"\nasks = "a"\ndoes = "b"\n'


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (('title = "A"', ""), 'rfc1.toml: begin with title = "..."'),
        (('title = "A"', "title ="), "rfc1.toml: "),
        (('["1-1"]', '["2-1"]'), 'rfc1.toml: 2-1: a line begins with ["1-1"]'),
        (('["1-1"]', '["1-x"]'), 'rfc1.toml: 1-x: a line begins with ["1-1"]'),
        (("section", "sections"), "rfc1.toml: 1-1: unknown key: sections"),
        (("B.1", "§2"), "rfc1.toml: 1-1: '§2' is not a section"),
        (("MUST", "must"), "rfc1.toml: 1-1: the level 'must' is not one of MUST, "),
        (('asks = "a"', ""), 'rfc1.toml: 1-1: asks = "..." is missing'),
        (('does = "b"', 'does = " "'), 'rfc1.toml: 1-1: does = "..." is missing'),
    ],
)
def test_a_checklist_that_cannot_be_read_raises(tmp_path: Path, change: tuple[str, str], problem: str) -> None:
    """The message names the file and the line, and says what is wanted."""
    (tmp_path / "rfc1.toml").write_text(GOOD.replace(*change), "utf-8")

    with pytest.raises(UnreadableError) as raised:
        documents(tmp_path)

    assert str(raised.value).startswith(problem)


def made(number: str, **exceptions: str | None) -> Document:
    """An RFC whose lines have these exceptions."""
    lines = [
        Line(f"{number}-{name.removeprefix('l')}", [], ["MUST"], "is asked", "is done", exception)
        for name, exception in exceptions.items()
    ]
    return Document(number, "Title", "", lines)


def test_a_line_without_test_and_exception_is_a_problem() -> None:
    """The sentence names the line; for a marker that names no line, it names the test."""
    assert conformance_page.problems(
        [made("1", l1=None, l2="reason", l3=None)], {"1-3": [MarkedTest("a.py", "test_a")]}
    ) == ["1-1: no test is marked with it, and it has no exception"]
    assert conformance_page.problems([made("1")], {"1-9": [MarkedTest("a.py", "test_a")]}) == [
        "a.py: test_a is marked with 1-9, which is in no checklist"
    ]


def test_a_row_links_sections_and_tests(tmp_path: Path) -> None:
    """Sections link to the RFC, tests to their files relative to docs/; a ``|`` in a text does not end its cell."""
    (tmp_path / "rfc1.toml").write_text(GOOD.replace('"a"', '"a | b"'), "utf-8")

    text = conformance_page.page(documents(tmp_path), {"1-1": [MarkedTest("tests/test_a.py", "TestA::test_it_is_so")]})

    rfc = "https://www.rfc-editor.org/rfc/rfc"
    assert text.splitlines()[-1] == (
        f"| **1-1**<br>[§2]({rfc}1.html#section-2), [§B.1]({rfc}1.html#appendix-B.1), "
        f"[RFC 2 §3.4]({rfc}2.html#section-3.4)<br>MUST | a \\| b | b | [TestA: it is so](../tests/test_a.py) |"
    )


@pytest.fixture(name="other_page")
def _other_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The page is written to this file."""
    monkeypatch.setattr(conformance_page, "ROOT", tmp_path)
    monkeypatch.setattr(conformance_page, "PAGE", tmp_path / "page.md")
    return tmp_path / "page.md"


def test_the_page_is_written(other_page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The program writes the whole page, and says that there is no problem."""
    assert conformance_page.main() == 0
    assert capsys.readouterr().out == "Wrote page.md: 0 problems.\n"
    assert other_page.read_text("utf-8") == conformance_page.page(documents(), marked_tests())


def test_problems_are_printed_and_fail_the_program(
    other_page: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The program prints the problems and exits with an error, and writes the page all the same."""
    monkeypatch.setattr(conformance_page, "marked_tests", dict)

    assert conformance_page.main() == 1
    assert "6750-1: no test is marked with it, and it has no exception\n" in capsys.readouterr().out
    assert other_page.exists()


def test_nothing_is_written_if_something_cannot_be_read(
    other_page: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The program prints what it could not read."""

    def unreadable() -> list[Document]:
        raise UnreadableError("rfc1.toml: 1-1: unknown key: this")

    monkeypatch.setattr(conformance_page, "documents", unreadable)

    assert conformance_page.main() == 1
    assert capsys.readouterr().out == "rfc1.toml: 1-1: unknown key: this\n"
    assert not other_page.exists()
