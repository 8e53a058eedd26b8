"""What a probe finds: one line that says what was seen, why it matters, by which section, and what to do."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, TypeAlias

from authguard.value_types import value

#: A fault breaks a rule that a sender must keep, or a login; a warning breaks some clients; a note is good to know.
Level: TypeAlias = Literal["fault", "warning", "note"]

LEVELS: tuple[Level, ...] = ("fault", "warning", "note")

# More of what a server has sent is not shown.
_MAX_QUOTED = 80


@value
class Finding:
    """One finding. ``code`` names its kind, such as ``basic.realm``, and ``section`` where the rule is written."""

    level: Level
    code: str
    what: str
    why: str
    section: str
    fix: str

    def __str__(self) -> str:
        return f"{self.level} {self.code}: {self.what}. {self.why} ({self.section}). {self.fix}"


def fault(code: str, what: str, why: str, section: str, fix: str) -> Finding:
    """What a sender must not do, or what breaks a login."""
    return Finding("fault", code, what, why, section, fix)


def warning(code: str, what: str, why: str, section: str, fix: str) -> Finding:
    """What a sender should not do, or what some clients misread."""
    return Finding("warning", code, what, why, section, fix)


def note(code: str, what: str, why: str, section: str, fix: str) -> Finding:
    """What is allowed, and good to know."""
    return Finding("note", code, what, why, section, fix)


def shown(data: bytes | str, limit: int = _MAX_QUOTED) -> str:
    """What a server has sent, on one line of printable ASCII, and cut after ``limit`` characters."""
    text = data.decode("latin-1") if isinstance(data, bytes) else data
    escaped = "".join(one if " " <= one <= "~" else ascii(one)[1:-1] for one in text[:limit])
    return escaped + "..." if len(text) > limit else escaped


def in_order(findings: Iterable[Finding]) -> list[Finding]:
    """Faults first, then warnings and notes; each finding once."""
    return sorted(dict.fromkeys(findings), key=lambda one: LEVELS.index(one.level))
