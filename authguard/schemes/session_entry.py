"""What a session remembers of a login: one JSON object under one key of the app's own session."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any, TypeGuard

from authguard.errors import ConfigurationError
from authguard.model import NO_CLAIMS, Principal
from authguard.value_types import value

#: The largest entry, as JSON, in bytes. Browsers drop a cookie of more than 4,096 bytes, and SessionMiddleware writes
#: the session in base64, which makes it a third longer. The app has the rest.
MAX_ENTRY = 2048


@value
class SessionEntry:
    """A login. Times are in seconds since the epoch, by the clock of the guard.

    ``began`` is the login, ``seen`` the last request that was noted, ``ends`` the end of the principal itself.
    """

    session_id: str = field(repr=False)
    subject: str
    roles: tuple[str, ...]
    scopes: tuple[str, ...]
    claims: Mapping[str, Any] = field(repr=False)
    began: float
    seen: float
    auth_time: int
    acr: str | None = None
    ends: float | None = None

    def to_session(self) -> dict[str, Any]:
        """The entry as the session holds it."""
        document: dict[str, Any] = {
            "id": self.session_id,
            "sub": self.subject,
            "began": self.began,
            "seen": self.seen,
            "auth_time": self.auth_time,
        }
        more = {"roles": list(self.roles), "scopes": list(self.scopes), "claims": dict(self.claims)}
        document |= {name: held for name, held in more.items() if held}
        if self.acr is not None:
            document["acr"] = self.acr
        if self.ends is not None:
            document["ends"] = self.ends
        return document


def entry_of(
    principal: Principal, session_id: str, now: float, *, auth_time: float | None, acr: str | None
) -> SessionEntry:
    """The entry for a principal that logs in now.

    ``auth_time`` and ``acr`` are taken from the claims of the principal where they are not given, and ``auth_time`` is
    now where nobody says it. Raises ``ConfigurationError`` for claims that JSON cannot hold, and for too many.
    """
    claims = dict(principal.claims)
    known_time, known_acr = claims.pop("auth_time", None), claims.pop("acr", None)
    claims.pop("sid", None)
    if auth_time is None:
        auth_time = known_time if _is_time(known_time) else now
    if acr is None and isinstance(known_acr, str):
        acr = known_acr
    if not _is_time(auth_time):
        raise ConfigurationError("auth_time", f"{auth_time!r} is not a number of seconds since the epoch")
    if acr is not None and not (isinstance(acr, str) and acr):
        raise ConfigurationError("acr", f"{acr!r} is not the name of an authentication context class")
    entry = SessionEntry(
        session_id,
        principal.subject,
        tuple(sorted(principal.roles)),
        tuple(sorted(principal.scopes)),
        claims,
        now,
        now,
        int(auth_time),
        acr,
        principal.expires_at,
    )
    try:
        size = len(json.dumps(entry.to_session(), allow_nan=False))
    except (TypeError, ValueError, RecursionError):
        raise ConfigurationError("principal", "its claims are not JSON, as a session must be; leave them out") from None
    if size > MAX_ENTRY:
        raise ConfigurationError(
            "principal",
            f"it takes {size} bytes of the session, and {MAX_ENTRY} may be, because browsers drop a cookie of over "
            "4096 bytes; leave claims out, and look them up in a check",
        )
    return entry


def read_entry(document: object) -> SessionEntry | None:
    """The entry that a session holds; None if it is not one. The cookie is signed, and the app can write into it."""
    # The exact types come first, because to find out whether something is a Mapping costs the most of all this.
    if type(document) is not dict and not isinstance(document, Mapping):
        return None
    session_id, subject = document.get("id"), document.get("sub")
    began, seen, auth_time = document.get("began"), document.get("seen"), document.get("auth_time")
    roles, scopes, claims = document.get("roles", ()), document.get("scopes", ()), document.get("claims", NO_CLAIMS)
    acr, ends = document.get("acr"), document.get("ends")
    if (
        not (_is_name(session_id) and _is_name(subject) and _is_time(began) and _is_time(seen) and _is_time(auth_time))
        or not (_are_names(roles) and _are_names(scopes) and (claims is NO_CLAIMS or isinstance(claims, Mapping)))
        or not (acr is None or _is_name(acr))
        or not (ends is None or _is_time(ends))
    ):
        return None
    return SessionEntry(
        session_id, subject, tuple(roles), tuple(scopes), claims, began, seen, int(auth_time), acr, ends
    )


def _is_name(found: object) -> TypeGuard[str]:
    return isinstance(found, str) and found != ""


def _are_names(found: object) -> TypeGuard[Sequence[str]]:
    return isinstance(found, list | tuple) and (not found or all(map(_is_name, found)))


def _is_time(found: object) -> TypeGuard[float]:
    """Whether this is a number of seconds since the epoch that no arithmetic can break."""
    return isinstance(found, int | float) and not isinstance(found, bool) and -_MAX_TIME < found < _MAX_TIME


_MAX_TIME = 1e12
