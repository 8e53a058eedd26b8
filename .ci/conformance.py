"""Write docs/conformance.md: what the RFCs ask, what we do, and the tests that show it.

    python3 .ci/conformance.py

What is asked stands in tests/conformance/rfc*.toml, one table for each line; ``@pytest.mark.rfc("9110-1")`` lays a line
on a test. Tests are read and not run, and named without their line numbers, so that the page changes only where what it
says does.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from checklist import Document, Line, Section, documents
from marked import Shown, Unclear, shown

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "conformance.md"


def faults(found: Sequence[Document], tests: Mapping[str, Sequence[Shown]]) -> list[str]:
    """What keeps the page from being true, one sentence each."""
    lines = {line.id: line for document in found for line in document.lines}
    told = [
        f"{each}: neither a test is marked with it nor is an exception argued"
        for each, line in lines.items()
        if each not in tests and line.exception is None
    ]
    for each, by in tests.items():
        if each not in lines:
            told += [f"{test.file}: {test.name} is marked with {each}, which no checklist has" for test in by]
    return told


def page(found: Sequence[Document], tests: Mapping[str, Sequence[Shown]]) -> str:
    """The whole page."""
    lines = [line for one in found for line in one.lines]
    argued = sum(line.exception is not None for line in lines)
    opening = OPENING.format(count=len(lines), argued=argued, levels=_levels(lines))
    contents = "\n".join(f"- [{_heading(one)}](#{_anchor(_heading(one))})" for one in found)
    return "\n\n".join([opening, contents, *(_section(one, tests) for one in found)]) + "\n"


OPENING = """\
# What the RFCs ask, and what is done about it

{count} lines, each with the tests that show what is said of it. {argued} of them have an exception: what is done is
less or other than what is asked, and why is argued there; one may have no test then. What is asked is in our own words,
and the number of the section leads to the RFC's.

{levels}

`make docs` writes this page from the checklists in [tests/conformance](../tests/conformance) and from the markers on
the tests, `@pytest.mark.rfc("9110-1")`. A test fails where the page is not what would be written, where a line has
neither a test nor an exception, and where a marker names no line. A link leads to the file of a test; its text is the
name of the test."""


def _levels(lines: Sequence[Line]) -> str:
    used = {level for line in lines for level in line.level}
    told = {
        "states": "what an RFC fixes without such a word is *states*",
        "advises": "a note or an *ought to* is *advises*",
        "ours": "what nobody else asks is *ours*",
    }
    return (
        "; ".join(["Words in capitals are those of RFC 2119", *(told[level] for level in told if level in used)]) + "."
    )


def _heading(one: Document) -> str:
    return f"RFC {one.number}: {one.title}" if one.number.isdigit() else one.title


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _section(one: Document, tests: Mapping[str, Sequence[Shown]]) -> str:
    rows = [_row(one.number, line, tests.get(line.id, ())) for line in one.lines]
    table = "\n".join(["| | What is asked | What is done | Shown by |", "| --- | --- | --- | --- |", *rows])
    return "\n\n".join(filter(None, [f"## {_heading(one)}", one.about, table]))


def _row(number: str, line: Line, tests: Sequence[Shown]) -> str:
    where = ", ".join(_linked(number, section) for section in line.sections)
    first = "<br>".join(filter(None, [f"**{line.id}**", where, ", ".join(line.level)]))
    does = line.does if line.exception is None else f"{line.does}<br>*Exception:* {line.exception}"
    by = "<br>".join(f"[{_words(test.name)}](../{test.file})" for test in tests) or "no test"
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in (first, line.asks, does, by)) + " |"


def _linked(number: str, section: Section) -> str:
    kind = "appendix" if section.at[0].isalpha() else "section"
    text = f"RFC {section.rfc} §{section.at}" if section.rfc else f"§{section.at}"
    return f"[{text}](https://www.rfc-editor.org/rfc/rfc{section.rfc or number}.html#{kind}-{section.at})"


def _words(name: str) -> str:
    return ": ".join(part.removeprefix("test_").replace("_", " ") for part in name.split("::"))


def main() -> int:
    try:
        found, tests = documents(), shown()
    except Unclear as error:
        print(error)
        return 1
    told = faults(found, tests)
    PAGE.write_text(page(found, tests), "utf-8")
    print("\n".join([*told, f"{PAGE.relative_to(ROOT)}: {len(told)} lines to mend"]))
    return 1 if told else 0


if __name__ == "__main__":
    sys.exit(main())
