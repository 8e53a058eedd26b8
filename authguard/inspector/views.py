"""What the page shows, as values of JSON: decisions, the state of the guard, and its routes.

Every text is a text: the page puts it where a browser cannot take it for markup.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from authguard.audit.audit import audit
from authguard.audit.report import short_location, with_short_location
from authguard.core.guard import Guard
from authguard.explain import explain_record
from authguard.inspector.decision_log import MAX_DECISIONS, Decision, DecisionLog
from authguard.reasons import ATTEMPTS_EXCEEDED
from authguard.records.patterns import MINUTES, Burst, Offender, find_bursts, find_offenders, refusals_by_minute
from authguard.records.record import Record, exception_facts, format_value

#: How many routes and findings the page shows.
MAX_ROUTES = 2000


def hello_view(log: DecisionLog, guard: Guard, title: str) -> dict[str, Any]:
    """Whose figures these are."""
    worker = log.worker
    return {
        "title": title,
        "now": guard.moment().now,
        "worker": {"id": worker.id, "pid": worker.pid, "host": worker.host, "since": worker.since},
        "schemes": [scheme.name for scheme in guard.schemes],
        "most": MAX_DECISIONS,
        "leeway": guard.leeway,
    }


def decision_view(decision: Decision) -> dict[str, Any]:
    """One decision, with its explanation."""
    record = decision.record
    return {
        "n": decision.number,
        "at": decision.at,
        "event": record.event,
        "reason": record.reason,
        "status": record.status,
        "scheme": record.scheme,
        "subject": record.subject,
        "proven": record.subject_proven,
        "method": record.method,
        "path": record.path,
        "client": record.client,
        "rule": record.rule,
        "brief": brief_facts(record),
        "explanation": _explanation_view(record),
    }


def _explanation_view(record: Record) -> dict[str, object]:
    """The explanation of a record. A record of the app's own making may be like no other."""
    try:
        return explain_record(record).as_json()
    except Exception as error:  # noqa: BLE001 - the page must go on with the other decisions
        note = f"This record could not be explained: {exception_facts(error)['error']}"
        return {"cause": "", "advice": "", "steps": [], "facts": [], "notes": [note]}


#: Facts that say little in a list of decisions: which token it was, what applies to all of them, and where to look.
_NOT_BRIEF = frozenset({"token", "leeway", "signature", "source", "keys_age", "frames", "session", "retry_after"})


def brief_facts(record: Record) -> str:
    """What is special about a decision, in a few words. A fact of the app's own may have no text."""
    facts: dict[str, object] = {"missing": record.missing} if record.missing else {}
    facts |= {name: value for name, value in record.facts.items() if name not in _NOT_BRIEF and value is not None}
    try:
        return " ".join(f"{name}={format_value(value)}" for name, value in facts.items())
    except Exception as error:  # noqa: BLE001 - the page must go on with the other decisions
        return f"untold={exception_facts(error)['error']}"


def state_view(log: DecisionLog, guard: Guard) -> dict[str, Any]:
    """The figures of the page, at this time."""
    now = guard.moment().now
    tallies = log.tallies()
    series = refusals_by_minute(tallies, now)
    counts = guard.counts()
    totals: Counter[str] = Counter()
    events: Counter[str] = Counter()
    for key, number in counts.items():
        events[key.event] += number
        if key.reason is not None:
            totals[key.reason] += number
    return {
        "now": now,
        "viewers": log.viewers,
        "granted": events["granted"],
        "denied": events["denied"],
        "would_deny": events["would_deny"],
        "minutes": MINUTES,
        "series": {reason: list(numbers) for reason, numbers in series.items()},
        "totals": dict(totals),
        "bursts": [burst_view(burst) for burst in find_bursts(tallies, now)],
        "offenders": [offender_view(offender) for offender in find_offenders(log.sightings())],
        "health": _health_view(guard),
        "throttle": _throttle_view(guard, totals),
    }


def burst_view(burst: Burst) -> dict[str, Any]:
    """A burst, with the words for it."""
    return {
        "reason": burst.reason,
        "scheme": burst.scheme,
        "status": burst.status,
        "count": burst.count,
        "what": burst.what,
        "meaning": burst.meaning,
        "since": burst.since,
        "clients": burst.clients,
        "subjects": burst.subjects,
        "last": burst.last,
        "steady": burst.is_steady,
        "over": burst.is_over,
    }


def offender_view(offender: Offender) -> dict[str, Any]:
    """A client, a name or a rule that is refused often."""
    return {name: getattr(offender, name) for name in Offender.__match_args__}


def _health_view(guard: Guard) -> dict[str, Any]:
    """The state of each scheme. A scheme of the app may raise: then it is the name of the exception."""
    try:
        return {name: plain(state) for name, state in guard.health().items()}
    except Exception as error:  # noqa: BLE001 - the rest of the page must not depend on it
        return {"": {"error": exception_facts(error)["error"]}}


def _throttle_view(guard: Guard, totals: Mapping[str, int]) -> dict[str, Any]:
    """How many logins the throttle has refused, if a scheme has one."""
    throttles = [scheme.name for scheme in guard.schemes if getattr(scheme, "throttle", None) is not None]
    return {"schemes": throttles, "refused": totals.get(ATTEMPTS_EXCEEDED.code, 0)}


#: How deep the state of a scheme may be, and how many members of a mapping or a list are shown.
_MAX_DEPTH, _MAX_MEMBERS = 6, 100


def plain(value: object, depth: int = 0) -> Any:
    """The value as JSON can hold it; of any other value the name of its type."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else str(value)
        case _ if depth >= _MAX_DEPTH:
            return type(value).__name__
        case Mapping():
            return {str(name): plain(item, depth + 1) for name, item in list(value.items())[:_MAX_MEMBERS]}
        case tuple() | list() | set() | frozenset():
            return [plain(item, depth + 1) for item in list(value)[:_MAX_MEMBERS]]
        case _:
            return type(value).__name__


def routes_view(app: object, guard: Guard) -> dict[str, Any]:
    """What each route requires, and the findings of the audit."""
    try:
        result = audit(app, guard)
    except Exception as error:  # noqa: BLE001 - the app may have what the audit cannot read
        return {"error": str(exception_facts(error)["error"]), "routes": [], "findings": [], "more": 0}
    routes = [
        {
            "method": row.method,
            "path": row.path,
            "open": bool(row.public_accesses),
            "requires": [str(requirement) for requirement, _ in row.requirements] or ["PUBLIC"],
            "but": [f"{path}: {requirement}" for requirement, path, _ in row.narrower],
            "schemes": sorted(row.schemes),
            "location": ", ".join(short_location(location) for _, location in row.requirements if location)
            or "default",
        }
        for row in result.rows[:MAX_ROUTES]
    ]
    findings = [
        {name: getattr(found, name) for name in ("code", "about", "problem", "location", "fix")}
        for found in map(with_short_location, result.findings[:MAX_ROUTES])
    ]
    return {"error": "", "routes": routes, "findings": findings, "more": max(0, len(result.rows) - MAX_ROUTES)}


def kept_for(
    seconds: float, make: Callable[[], dict[str, Any]], clock: Callable[[], float]
) -> Callable[[], dict[str, Any]]:
    """A function that makes a value anew only if the last one is so many seconds old, whoever asks."""
    kept: list[tuple[float, dict[str, Any]]] = []

    def get() -> dict[str, Any]:
        now = clock()
        if not kept or now - kept[0][0] >= seconds:
            kept[:] = [(now, make())]
        return kept[0][1]

    return get
