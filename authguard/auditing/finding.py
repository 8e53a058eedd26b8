"""A finding: a code, a place and a mend."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from authguard.errors import ConfigurationError
from authguard.model import names

#: Each code, and what it says.
CODES = {
    "guard.absent": "no guard is in front of the app yet, and the audit tells what would be",
    "guard.other": "the app holds another guard than the one given",
    "rule.unmet": "no route meets a rule",
    "rule.hidden": "other rules apply wherever a rule would",
    "open.wide": "an open rule reaches a route without being that very path",
    "open.unsafe": "a method that changes state is open, and no rule names it",
    "open.preflight": "whoever sends the two fields of a preflight gets in without credentials",
    "open.hosts": "an open rule is one for the handlers of all hosts",
    "unseen": "what is open cannot be seen into",
    "route.unnamed": "neither a rule nor a lock names a route",
    "role.unknown": "a role is asked for that nobody can have",
    "lock.impossible": "no scheme can meet a lock",
    "lock.bypassed": "a lock is laid on after the route was made, and locks nothing",
    "lock.covered": "a decorator above a lock may answer before it is asked",
    "middleware.inside": "a middleware sits inside the guard that may answer, or change the path",
    "ignore.unmet": "no finding is met by what accepts one",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """``code`` is one of ``CODES``; ``about`` names a rule, a route or a middleware; ``where`` is a file and a line."""

    code: str
    about: str
    what: str
    where: str
    mend: str

    def __str__(self) -> str:
        where = f" ({self.where})" if self.where else ""
        return f"{self.code} {self.about}: {self.what}{where}. {self.mend}."


def check_ignore(ignore: Collection[str]) -> frozenset[str]:
    """Codes, or a code with what one finding is about; ``ConfigurationError`` for a code that is none."""
    found = names("ignore", ignore)
    for one in found:
        if one.partition(" ")[0] not in CODES:
            raise ConfigurationError(
                "ignore", f"{one!r} does not begin with the code of a finding; those are {', '.join(CODES)}"
            )
    return found
