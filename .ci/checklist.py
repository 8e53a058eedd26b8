"""What the RFCs ask, as it stands in tests/conformance/rfc*.toml: one table for each line."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from marked import Unclear

CHECKLIST = Path(__file__).resolve().parent.parent / "tests" / "conformance"

_NEEDED = frozenset({"level", "asks", "does"})

LEVELS = ("MUST", "MUST NOT", "REQUIRED", "SHOULD", "SHOULD NOT", "RECOMMENDED", "MAY", "states", "advises", "ours")

_SECTION = re.compile(r"(?:RFC (\d+) )?(\d+(?:\.\d+)*|[A-Z](?:\.\d+)*)")


class Section(NamedTuple):
    """Of this RFC, where ``rfc`` is None."""

    rfc: str | None
    at: str


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that an RFC asks. ``does`` is what we do; ``exception`` argues where that is not all that is asked."""

    id: str
    sections: Sequence[Section]
    level: Sequence[str]
    asks: str
    does: str
    exception: str | None


@dataclass(frozen=True, slots=True)
class Document:
    """An RFC, or our own limits, whose ``number`` is no number. ``about`` stands under the title."""

    number: str
    title: str
    about: str
    lines: Sequence[Line]


def documents(folder: Path = CHECKLIST) -> list[Document]:
    """The checklist: RFCs by their numbers, then the rest."""
    found = [_document(file) for file in folder.glob("*.toml")]
    return sorted(found, key=lambda one: (not one.number.isdigit(), int(one.number) if one.number.isdigit() else 0))


def _document(file: Path) -> Document:
    number = file.stem.removeprefix("rfc")
    try:
        said = tomllib.loads(file.read_text("utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise Unclear(f"{file.name}: {error}") from None
    title, about = said.pop("title", None), said.pop("about", "")
    if not isinstance(title, str) or not isinstance(about, str):
        raise Unclear(f'{file.name}: begin with title = "...", and about = "..." if there is more to say')
    lines = [_line(f"{file.name}: {name}", number, name, table) for name, table in said.items()]
    return Document(number, title, about, lines)


def _line(where: str, number: str, name: str, table: object) -> Line:
    if re.fullmatch(rf"{re.escape(number)}-[1-9]\d*", name) is None or not isinstance(table, Mapping):
        raise Unclear(f'{where}: a line begins with ["{number}-1"], ["{number}-2"], ...')
    texts: dict[str, str] = {}
    for key in ("section", "level", "asks", "does", "exception"):
        value = table.get(key, "")
        if not isinstance(value, str) or (not value.strip() and key in _NEEDED):
            raise Unclear(f'{where}: {key} = "..." is missing, or no text')
        texts[key] = " ".join(value.split())
    if unknown := table.keys() - texts.keys():
        raise Unclear(f"{where}: what is {', '.join(sorted(unknown))}?")
    levels = texts["level"].split(", ")
    if strangers := [part for part in levels if part not in LEVELS]:
        raise Unclear(f"{where}: {strangers[0]!r} is none of {', '.join(LEVELS)}")
    return Line(
        name, _sections(where, texts["section"]), levels, texts["asks"], texts["does"], texts["exception"] or None
    )


def _sections(where: str, text: str) -> list[Section]:
    found: list[Section] = []
    for part in filter(None, text.split(", ")):
        said = _SECTION.fullmatch(part)
        if said is None:
            raise Unclear(f"{where}: {part!r} is no section; write 11.6.1, B.2 or RFC 6585 4")
        found.append(Section(*said.groups()))
    return found
