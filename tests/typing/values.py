"""Values as type checkers see them: nobody may assign to a field. Run by the type checkers, not by pytest."""

from __future__ import annotations

from dataclasses import replace
from typing import assert_type

from authguard import Accepted, Credentials, Denied, Moment, Principal, Reason, Record


def change_values(moment: Moment, denied: Denied, accepted: Accepted, sent: Credentials) -> None:
    """At run time this is possible, so a type checker must say no."""
    moment.now = 0.0  # type: ignore[misc]
    denied.authenticated = True  # type: ignore[misc]
    accepted.principal = Principal("root")  # type: ignore[misc]
    sent.scheme = "basic"  # type: ignore[misc]


def change_frozen_values(principal: Principal, record: Record, reason: Reason) -> None:
    """These refuse at run time too."""
    principal.subject = "root"  # type: ignore[misc]
    record.subject = "root"  # type: ignore[misc]
    reason.status = 403  # type: ignore[misc]


def build_values(reason: Reason) -> tuple[Denied, Record]:
    """A value is made again with other fields, and the arguments of a constructor are known."""
    Denied(reason, "bearer", missing=("admin",))
    Denied(reason, colour="red")  # type: ignore[call-arg]
    Moment("now", 0.0)  # type: ignore[arg-type]
    match Moment(0.0, 60.0):
        case Moment(now, leeway):
            assert_type((now, leeway), tuple[float, float])
    record = Record("denied", reason.code, reason.status, None, None, False, "GET", "/", None, None)
    return replace(Denied(reason), scheme="bearer"), replace(record, rule="/")
