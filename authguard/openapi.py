"""The OpenAPI document of an app behind a guard: what each operation takes, and how it denies.

https://spec.openapis.org/oas/v3.1.1
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from authguard.core.csrf import SAFE
from authguard.core.guard import Guard
from authguard.core.responses import PROBLEM, PROBLEM_SCHEMA
from authguard.model import Requirement
from authguard.policy.combinators import scopes_needed
from authguard.policy.requirements import AUTHENTICATED, OPTIONAL, PUBLIC
from authguard.reasons import (
    BACKEND_FAILED,
    BODY_TOO_LARGE,
    CREDENTIALS_AMBIGUOUS,
    CREDENTIALS_MISSING,
    ORIGIN_FOREIGN,
    PATH_AMBIGUOUS,
    REQUIREMENT_UNMET,
    Reason,
)
from authguard.schemes.scheme import Scheme

#: The name of the schema of denials, so long that an app has none of this name.
_SCHEMA = "AuthguardProblem"
# Up to 3.0 only OAuth2 and OpenID Connect may name scopes.
_OF_SCOPES = frozenset({"oauth2", "openIdConnect"})


@dataclass(frozen=True, slots=True)
class Operation:
    """One of a document's operations, by its path as that spells it and its method in upper case.

    ``rules`` are what may apply to it: one requirement where one rule covers all its paths, several where narrower ones
    cover a part. ``locks`` are those on the route, which are asked after whichever rule applies.
    """

    path: str
    method: str
    rules: Sequence[Requirement]
    locks: Sequence[Requirement] = ()


def describe(
    document: Mapping[str, Any], operations: Sequence[Operation], guard: Guard, *, rendered: bool = False
) -> dict[str, Any]:
    """The document with what the guard asks; ``rendered`` where something else than ``problem`` writes the bodies.

    What the app has said itself of an operation's security or of one of its answers, it has said.
    """
    described: dict[str, Any] = deepcopy(dict(document))
    components = described.setdefault("components", {})
    schemes = components.setdefault("securitySchemes", {})
    for scheme in guard.schemes:
        schemes.setdefault(scheme.name, dict(scheme.openapi) or {"type": "http", "scheme": scheme.name})
    if not rendered:
        components.setdefault("schemas", {}).setdefault(_SCHEMA, deepcopy(dict(PROBLEM_SCHEMA)))
    any_may = not str(described.get("openapi", "")).startswith("3.0")
    with_scopes = {name for name, told in schemes.items() if any_may or told.get("type") in _OF_SCOPES}
    for one in operations:
        location = described.get("paths", {}).get(one.path, {}).get(one.method.lower())
        if location is None:  # include_in_schema=False
            continue
        ways = [_Way.under(rule, one.locks, guard) for rule in one.rules]
        if "security" not in location:
            location["security"] = _security(ways, with_scopes)
        answers = location.setdefault("responses", {})
        for status, reasons in sorted(_by_status(_reasons(one, ways, guard)).items()):
            answers.setdefault(status, _response(reasons, ways, _bodies(reasons, location, rendered=rendered)))
    return described


@dataclass(frozen=True, slots=True)
class _Way:
    """What one rule and the locks behind it ask together; ``asked`` is empty where that is nothing."""

    asked: tuple[Requirement, ...]
    accepted: tuple[Scheme, ...]

    @classmethod
    def under(cls, rule: Requirement, locks: Sequence[Requirement], guard: Guard) -> _Way:
        asked = tuple(one for one in (rule, *locks) if one is not PUBLIC)
        names = frozenset(scheme.name for scheme in guard.schemes) if asked else frozenset[str]()
        for one in asked:
            # Where nobody can meet all of it, clients are still asked for what comes first.
            names = (names & one.schemes(names)) or names
        return cls(asked, tuple(scheme for scheme in guard.schemes if scheme.name in names))

    @property
    def anonymous(self) -> bool:
        """Whether nothing needs to be presented."""
        return all(one is OPTIONAL for one in self.asked)

    def scopes(self, scheme: Scheme) -> list[str]:
        """The scopes that its principals need."""
        return sorted({name for one in self.asked for name in scopes_needed(one, scheme.name)})


def _security(ways: Sequence[_Way], with_scopes: set[str]) -> list[dict[str, list[str]]]:
    """The alternatives, each once. An empty one means that nothing is needed; no alternative, that nothing is asked."""
    found: list[dict[str, list[str]]] = [
        {scheme.name: way.scopes(scheme) if scheme.name in with_scopes else []}
        for way in ways
        for scheme in way.accepted
    ]
    if found and any(way.anonymous for way in ways):
        found.append({})
    return [one for index, one in enumerate(found) if one not in found[:index]]


def _reasons(operation: Operation, ways: Sequence[_Way], guard: Guard) -> Iterator[Reason]:
    """One or more for each status that it is denied with."""
    if guard.table.rules and "{" in operation.path:
        yield PATH_AMBIGUOUS
    for way in ways:
        if not way.asked:
            continue
        yield from (CREDENTIALS_AMBIGUOUS, CREDENTIALS_MISSING, BACKEND_FAILED)
        if guard.checks or any(one is not AUTHENTICATED and one is not OPTIONAL for one in way.asked):
            yield REQUIREMENT_UNMET
        for scheme in way.accepted:
            if scheme.name in guard.sent_by_browsers and operation.method not in SAFE:
                yield ORIGIN_FOREIGN
            if scheme.reads_body:
                yield BODY_TOO_LARGE
            yield from scheme.denial_reasons


def _by_status(reasons: Iterator[Reason]) -> dict[str, list[Reason]]:
    found: dict[str, list[Reason]] = {}
    for reason in reasons:
        found.setdefault(str(reason.status), []).append(reason)
    return found


def _bodies(reasons: Sequence[Reason], location: Mapping[str, Any], *, rendered: bool) -> dict[str, Any]:
    """By media type; nothing is claimed where what the app writes is not known."""
    if rendered:
        return {}
    bodies: dict[str, Any] = {PROBLEM: {"schema": {"$ref": f"#/components/schemas/{_SCHEMA}"}}}
    if "requestBody" in location and any(reason.about_message for reason in reasons):
        # FastAPI answers a body that it cannot decode so, with a ``detail`` too, and does not tell it.
        bodies["application/json"] = {}
    return bodies


def _response(reasons: Sequence[Reason], ways: Sequence[_Way], bodies: dict[str, Any]) -> dict[str, Any]:
    headers: dict[str, Any] = {}
    explained = any(scheme.challenges_on_403 for way in ways for scheme in way.accepted)
    if any(one.challenged == "all" or (one.challenged == "tried" and explained) for one in reasons):
        headers["WWW-Authenticate"] = {
            "description": "A challenge; each has a field line of its own.",
            "required": all(one.challenges_needed for one in reasons),
            "schema": {"type": "string"},
        }
    if any(one.retried for one in reasons):
        headers["Retry-After"] = {
            "description": "For so many seconds there is no point in asking again.",
            "required": all(one.retried for one in reasons),
            "schema": {"type": "integer"},
        }
    response: dict[str, Any] = {"description": reasons[0].detail}
    if headers:
        response["headers"] = headers
    if bodies:
        response["content"] = bodies
    return response
