"""Read tests/conformance/*.toml: what the RFCs ask, one table for each line."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from rfc_markers import UnreadableError

CHECKLIST = Path(__file__).resolve().parent.parent / "tests" / "conformance"

LEVELS = ("MUST", "MUST NOT", "REQUIRED", "SHOULD", "SHOULD NOT", "RECOMMENDED", "MAY", "states", "advises", "ours")

_REQUIRED_KEYS = frozenset({"level", "asks", "does"})
_SECTION = re.compile(r"(?:RFC (\d+) )?(\d+(?:\.\d+)*|[A-Z](?:\.\d+)*)")


class Section(NamedTuple):
    """A section of the RFC with this number; of the document's own RFC if ``rfc`` is None."""

    rfc: str | None
    number: str


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that an RFC asks. ``does`` is what authguard does; ``exception`` explains any difference."""

    id: str
    sections: Sequence[Section]
    level: Sequence[str]
    asks: str
    does: str
    exception: str | None


@dataclass(frozen=True, slots=True)
class Document:
    """An RFC, or authguard's own limits, which have a name in place of a number. ``about`` goes below the title."""

    number: str
    title: str
    about: str
    lines: Sequence[Line]


def documents(folder: Path = CHECKLIST) -> list[Document]:
    """All checklists: RFCs in the order of their numbers, then the others."""
    checklists = [_document(file) for file in folder.glob("*.toml")]
    return sorted(
        checklists, key=lambda each: (not each.number.isdigit(), int(each.number) if each.number.isdigit() else 0)
    )


def _document(file: Path) -> Document:
    number = file.stem.removeprefix("rfc")
    try:
        tables = tomllib.loads(file.read_text("utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise UnreadableError(f"{file.name}: {error}") from None
    title, about = tables.pop("title", None), tables.pop("about", "")
    if not isinstance(title, str) or not isinstance(about, str):
        raise UnreadableError(f'{file.name}: begin with title = "..." and, if there is more to say, about = "..."')
    lines = [_line(f"{file.name}: {name}", number, name, table) for name, table in tables.items()]
    return Document(number, title, about, lines)


def _line(source: str, number: str, name: str, table: object) -> Line:
    if re.fullmatch(rf"{re.escape(number)}-[1-9]\d*", name) is None or not isinstance(table, Mapping):
        raise UnreadableError(f'{source}: a line begins with ["{number}-1"], ["{number}-2"], ...')
    texts: dict[str, str] = {}
    for key in ("section", "level", "asks", "does", "exception"):
        value = table.get(key, "")
        if not isinstance(value, str) or (not value.strip() and key in _REQUIRED_KEYS):
            raise UnreadableError(f'{source}: {key} = "..." is missing, empty or not a string')
        texts[key] = " ".join(value.split())
    if unknown := table.keys() - texts.keys():
        raise UnreadableError(f"{source}: unknown key: {', '.join(sorted(unknown))}")
    levels = texts["level"].split(", ")
    if unknown_levels := [level for level in levels if level not in LEVELS]:
        raise UnreadableError(f"{source}: the level {unknown_levels[0]!r} is not one of {', '.join(LEVELS)}")
    return Line(
        name, _sections(source, texts["section"]), levels, texts["asks"], texts["does"], texts["exception"] or None
    )


def _sections(source: str, text: str) -> list[Section]:
    sections: list[Section] = []
    for part in filter(None, text.split(", ")):
        match = _SECTION.fullmatch(part)
        if match is None:
            raise UnreadableError(f"{source}: {part!r} is not a section; write 11.6.1, B.2 or RFC 6585 4")
        sections.append(Section(*match.groups()))
    return sections
