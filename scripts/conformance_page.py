"""Write docs/conformance.md: what the RFCs ask, what authguard does, and the tests that show it.

    python3 scripts/conformance_page.py

tests/conformance/*.toml says what is asked, one table for each line; ``@pytest.mark.rfc("9110-1")`` marks a test that
shows a line. The page names tests without line numbers, so that it changes only where a line, an answer or a test does.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from checklist import Document, Line, Section, documents
from rfc_markers import MarkedTest, UnreadableError, marked_tests

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "conformance.md"


def problems(checklists: Sequence[Document], tests: Mapping[str, Sequence[MarkedTest]]) -> list[str]:
    """Why the page would not be true, one sentence for each line that has neither test nor exception, and for each
    marker that names no line."""
    lines = {line.id: line for document in checklists for line in document.lines}
    sentences = [
        f"{name}: no test is marked with it, and it has no exception"
        for name, line in lines.items()
        if name not in tests and line.exception is None
    ]
    for name, marked in tests.items():
        if name not in lines:
            sentences += [
                f"{test.file}: {test.name} is marked with {name}, which is in no checklist" for test in marked
            ]
    return sentences


def page(checklists: Sequence[Document], tests: Mapping[str, Sequence[MarkedTest]]) -> str:
    """The text of the whole page."""
    lines = [line for document in checklists for line in document.lines]
    exceptions = sum(line.exception is not None for line in lines)
    opening = OPENING.format(count=len(lines), exceptions=exceptions, levels=_levels(lines))
    headings = [_heading(document) for document in checklists]
    contents = "\n".join(f"- [{heading}](#{_anchor(heading)})" for heading in headings)
    return "\n\n".join([opening, contents, *(_section(document, tests) for document in checklists)]) + "\n"


OPENING = """\
# What the RFCs ask, and what authguard does

{count} lines, each with the tests that show it. {exceptions} of them have an exception: authguard does less than is
asked, or something else, and the line explains why; such a line may have no test. What is asked is in our own words; a
section's number links to the text of the RFC.

{levels}

`make docs` writes this page from the checklists in [tests/conformance](../tests/conformance) and from the markers on
the tests, `@pytest.mark.rfc("9110-1")`. A test fails if the page is out of date, if a line has neither a test nor an
exception, or if a marker names no line. A link leads to the file of a test; its text is the name of the test."""


def _levels(lines: Sequence[Line]) -> str:
    used = {level for line in lines for level in line.level}
    explanations = {
        "states": "*states* is what an RFC fixes without such a word",
        "advises": "*advises* is a note or an *ought to*",
        "ours": "*ours* is what authguard asks of itself, beyond any RFC",
    }
    sentences = [text for level, text in explanations.items() if level in used]
    return "; ".join(["Words in capitals are those of RFC 2119", *sentences]) + "."


def _heading(document: Document) -> str:
    return f"RFC {document.number}: {document.title}" if document.number.isdigit() else document.title


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _section(document: Document, tests: Mapping[str, Sequence[MarkedTest]]) -> str:
    rows = [_row(document.number, line, tests.get(line.id, ())) for line in document.lines]
    table = "\n".join(["| | What is asked | What is done | Shown by |", "| --- | --- | --- | --- |", *rows])
    return "\n\n".join(filter(None, [f"## {_heading(document)}", document.about, table]))


def _row(number: str, line: Line, tests: Sequence[MarkedTest]) -> str:
    sections = ", ".join(_link(number, section) for section in line.sections)
    first = "<br>".join(filter(None, [f"**{line.id}**", sections, ", ".join(line.level)]))
    does = line.does if line.exception is None else f"{line.does}<br>*Exception:* {line.exception}"
    shown_by = "<br>".join(f"[{_words(test.name)}](../{test.file})" for test in tests) or "no test"
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in (first, line.asks, does, shown_by)) + " |"


def _link(number: str, section: Section) -> str:
    kind = "appendix" if section.number[0].isalpha() else "section"
    text = f"RFC {section.rfc} §{section.number}" if section.rfc else f"§{section.number}"
    return f"[{text}](https://www.rfc-editor.org/rfc/rfc{section.rfc or number}.html#{kind}-{section.number})"


def _words(name: str) -> str:
    return ": ".join(part.removeprefix("test_").replace("_", " ") for part in name.split("::"))


def main() -> int:
    try:
        checklists, tests = documents(), marked_tests()
    except UnreadableError as error:
        print(error)
        return 1
    sentences = problems(checklists, tests)
    PAGE.write_text(page(checklists, tests), "utf-8")
    print("\n".join([*sentences, f"Wrote {PAGE.relative_to(ROOT)}: {len(sentences)} problems."]))
    return 1 if sentences else 0


if __name__ == "__main__":
    sys.exit(main())
