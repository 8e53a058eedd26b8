"""docs/conformance.md cannot go stale: it is what the checklists and the markers on the tests say."""

from __future__ import annotations

import difflib
from pathlib import Path

import pytest

import conformance
from checklist import Document, Line, documents
from marked import Shown, Unclear, shown

LINES = {line.id: line for document in documents() for line in document.lines}


def test_the_page_is_what_would_be_written() -> None:
    """Whoever changes a line or a marker writes the page anew: ``make docs``."""
    stands = conformance.PAGE.read_text("utf-8").splitlines(keepends=True)
    would = conformance.page(documents(), shown()).splitlines(keepends=True)

    if stands != would:
        differs = "".join(difflib.unified_diff(stands, would, "as it stands", "as it would be written", n=0))
        pytest.fail(f"docs/conformance.md is stale: `make docs` writes it anew\n{differs}", pytrace=False)


def test_each_line_has_a_test_or_an_exception_and_each_marker_a_line() -> None:
    """What is asked is shown, or argued; nothing is shown that is not asked."""
    if told := conformance.faults(documents(), shown()):
        pytest.fail("\n".join(told), pytrace=False)


def test_the_numbers_of_a_checklist_have_no_gap() -> None:
    """A line keeps its number; a new one is the next, and none stands twice."""
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
    ("source", "found"),
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
def test_a_marker_is_read_where_pytest_reads_it(tmp_path: Path, source: str, found: dict[str, list[str]]) -> None:
    """On a test, on a class or on a module; a comment is none."""
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "test_it.py").write_text(f"import pytest\n\n{source}\n", "utf-8")

    tests = shown(tmp_path, tmp_path)

    assert tests == {each: [Shown("deep/test_it.py", name) for name in names] for each, names in found.items()}


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("@pytest.mark.rfc\ndef test_a(): ...", "test_it.py: test_a: write the lines out"),
        ("@pytest.mark.rfc()\ndef test_a(): ...", "test_it.py: test_a: write the lines out"),
        ("@pytest.mark.rfc(*LINES)\ndef test_a(): ...", "test_it.py: test_a: write the lines out"),
        ('@pytest.mark.rfc("1-1", 2)\ndef test_a(): ...', "test_it.py: test_a: write the lines out"),
        ('@pytest.mark.rfc("1-1")\ndef helper(): ...', "test_it.py: helper bears pytest.mark.rfc, and is no test"),
    ],
)
def test_a_marker_that_cannot_be_read_is_told(tmp_path: Path, source: str, problem: str) -> None:
    """It would be passed over, and the page would say less than is shown."""
    (tmp_path / "test_it.py").write_text(f"{source}\n", "utf-8")

    with pytest.raises(Unclear) as told:
        shown(tmp_path, tmp_path)

    assert str(told.value).startswith(problem)


def test_what_is_read_is_what_pytest_finds(request: pytest.FixtureRequest) -> None:
    """Of the tests that were collected along with this one, each bears the lines that are read, and no others."""
    items = {item.nodeid.partition("[")[0]: item for item in request.session.items}

    found = {(test, line) for test, item in items.items() for mark in item.iter_markers("rfc") for line in mark.args}
    read = {(f"{test.file}::{test.name}", line) for line, tests in shown().items() for test in tests}

    assert found == {(test, line) for test, line in read if test in items}


GOOD = 'title = "A"\n["1-1"]\nsection = "2, B.1, RFC 2 3.4"\nlevel = "MUST"\nasks = "a"\ndoes = "b"\n'


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (('title = "A"', ""), 'rfc1.toml: begin with title = "..."'),
        (('title = "A"', "title ="), "rfc1.toml: "),
        (('["1-1"]', '["2-1"]'), 'rfc1.toml: 2-1: a line begins with ["1-1"]'),
        (('["1-1"]', '["1-x"]'), 'rfc1.toml: 1-x: a line begins with ["1-1"]'),
        (("section", "sections"), "rfc1.toml: 1-1: what is sections?"),
        (("B.1", "§2"), "rfc1.toml: 1-1: '§2' is no section"),
        (("MUST", "must"), "rfc1.toml: 1-1: 'must' is none of MUST, "),
        (('asks = "a"', ""), 'rfc1.toml: 1-1: asks = "..." is missing'),
        (('does = "b"', 'does = " "'), 'rfc1.toml: 1-1: does = "..." is missing'),
    ],
)
def test_a_checklist_that_cannot_be_read_is_told(tmp_path: Path, change: tuple[str, str], problem: str) -> None:
    """By its file and its line, and in words that mend it."""
    (tmp_path / "rfc1.toml").write_text(GOOD.replace(*change), "utf-8")

    with pytest.raises(Unclear) as told:
        documents(tmp_path)

    assert str(told.value).startswith(problem)


def made(number: str, **exceptions: str | None) -> Document:
    """An RFC whose lines have these exceptions."""
    lines = [
        Line(f"{number}-{name.removeprefix('l')}", [], ["MUST"], "is asked", "is done", argument)
        for name, argument in exceptions.items()
    ]
    return Document(number, "Title", "", lines)


def test_what_is_neither_shown_nor_argued_is_told() -> None:
    """By its line; and a marker that names none, by its test."""
    told = conformance.faults([made("1", l1=None, l2="why", l3=None)], {"1-3": [Shown("a.py", "test_a")]})

    assert told == ["1-1: neither a test is marked with it nor is an exception argued"]
    assert conformance.faults([made("1")], {"1-9": [Shown("a.py", "test_a")]}) == [
        "a.py: test_a is marked with 1-9, which no checklist has"
    ]


def test_a_row_says_what_was_said(tmp_path: Path) -> None:
    """Sections lead to the RFC, tests to their files under docs/'s own path; nothing breaks out of its cell."""
    (tmp_path / "rfc1.toml").write_text(GOOD.replace('"a"', '"a | b"'), "utf-8")

    text = conformance.page(documents(tmp_path), {"1-1": [Shown("tests/test_a.py", "TestA::test_it_is_so")]})

    rfc = "https://www.rfc-editor.org/rfc/rfc"
    assert text.splitlines()[-1] == (
        f"| **1-1**<br>[§2]({rfc}1.html#section-2), [§B.1]({rfc}1.html#appendix-B.1), "
        f"[RFC 2 §3.4]({rfc}2.html#section-3.4)<br>MUST | a \\| b | b | [TestA: it is so](../tests/test_a.py) |"
    )


@pytest.fixture(name="elsewhere")
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The page is written here."""
    monkeypatch.setattr(conformance, "ROOT", tmp_path)
    monkeypatch.setattr(conformance, "PAGE", tmp_path / "page.md")
    return tmp_path / "page.md"


def test_the_page_is_written(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All of it, at once."""
    assert conformance.main() == 0
    assert capsys.readouterr().out == "page.md: 0 lines to mend\n"
    assert elsewhere.read_text("utf-8") == conformance.page(documents(), shown())


def test_what_is_to_be_mended_is_told(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Line by line, and the page is written all the same."""
    monkeypatch.setattr(conformance, "shown", dict)

    assert conformance.main() == 1
    assert "6750-1: neither a test is marked with it nor is an exception argued\n" in capsys.readouterr().out
    assert elsewhere.exists()


def test_where_something_cannot_be_read_nothing_is_written(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What it was is told."""

    def unclear() -> list[Document]:
        raise Unclear("rfc1.toml: 1-1: what is this?")

    monkeypatch.setattr(conformance, "documents", unclear)

    assert conformance.main() == 1
    assert capsys.readouterr().out == "rfc1.toml: 1-1: what is this?\n"
    assert not elsewhere.exists()
