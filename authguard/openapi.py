"""The OpenAPI document of an app behind a guard: what each operation requires, and which denials it can answer with.

https://spec.openapis.org/oas/v3.1.1
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
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
    LOGIN_REQUIRED,
    ORIGIN_FOREIGN,
    PATH_AMBIGUOUS,
    REQUIREMENT_UNMET,
    Reason,
)
from authguard.schemes.scheme import Scheme, auth_scheme_of
from authguard.value_types import frozen

#: The name of the schema of denials. It is unusual, so that an app has no other schema of this name.
_SCHEMA = "AuthguardProblem"
#: The name of the scheme for the client certificate that a token must be bound to.
_MUTUAL_TLS = "mutual-tls"
# In OpenAPI up to 3.0 only these types may list scopes.
_TYPES_WITH_SCOPES = frozenset({"oauth2", "openIdConnect"})


@frozen
class Operation:
    """One operation of a document: its path as the document writes it, and its method in upper case.

    ``rules`` holds what the rules may require of it: one requirement if one rule covers all its paths, several if
    narrower rules cover a part of them. ``locks`` holds what the locks on the route require, whichever rule applies.
    """

    path: str
    method: str
    rules: Sequence[Requirement]
    locks: Sequence[Requirement] = ()


def describe(
    document: Mapping[str, Any], operations: Sequence[Operation], guard: Guard, *, rendered: bool = False
) -> dict[str, Any]:
    """A copy of the document, extended by what the guard requires and answers.

    What the app has written itself about an operation's security or one of its responses stays. ``rendered``: whether
    the app renders the bodies of denials itself; they are not described then.
    """
    described: dict[str, Any] = deepcopy(dict(document))
    components = described.setdefault("components", {})
    schemes = components.setdefault("securitySchemes", {})
    for scheme in guard.schemes:
        schemes.setdefault(scheme.name, dict(scheme.openapi) or _described(scheme))
    every_type = not str(described.get("openapi", "")).startswith("3.0")
    if every_type and any(map(_needs_certificate, guard.schemes)):
        schemes.setdefault(_MUTUAL_TLS, {"type": "mutualTLS"})
    if not rendered:
        components.setdefault("schemas", {}).setdefault(_SCHEMA, deepcopy(dict(PROBLEM_SCHEMA)))
    with_scopes = {name for name, value in schemes.items() if every_type or value.get("type") in _TYPES_WITH_SCOPES}
    for operation in operations:
        item = described.get("paths", {}).get(operation.path, {}).get(operation.method.lower())
        if item is None:  # include_in_schema=False
            continue
        requirements = [_CombinedRequirement.of(rule, operation.locks, guard) for rule in operation.rules]
        if "security" not in item:
            item["security"] = _security(requirements, with_scopes)
        responses = item.setdefault("responses", {})
        for status, reasons in sorted(_by_status(_reasons(operation, requirements, guard)).items()):
            content = _content(reasons, item, rendered=rendered)
            responses.setdefault(status, _response(reasons, requirements, content))
    return described


def _needs_certificate(scheme: Scheme) -> bool:
    return getattr(scheme, "requires_certificate", False) is True


def _described(scheme: Scheme) -> dict[str, object]:
    """The Security Scheme Object of a scheme that has none: where its credentials travel."""
    carrier: Mapping[str, object] = getattr(scheme.carrier, "openapi", {})
    return dict(carrier) or {"type": "http", "scheme": auth_scheme_of(scheme)}


@frozen
class _CombinedRequirement:
    """What one rule and the locks require together; ``parts`` is empty if they require nothing."""

    parts: tuple[Requirement, ...]
    schemes: tuple[Scheme, ...]

    @classmethod
    def of(cls, rule: Requirement, locks: Sequence[Requirement], guard: Guard) -> _CombinedRequirement:
        parts = tuple(part for part in (rule, *locks) if part is not PUBLIC)
        names = frozenset(scheme.name for scheme in guard.schemes) if parts else frozenset[str]()
        for part in parts:
            # If no scheme can satisfy all parts, clients are still asked for what satisfies the first ones.
            names = (names & part.schemes(names)) or names
        return cls(parts, tuple(scheme for scheme in guard.schemes if scheme.name in names))

    @property
    def allows_anonymous(self) -> bool:
        """Whether a request without credentials satisfies it."""
        return all(part is OPTIONAL for part in self.parts)

    def scopes(self, scheme: Scheme) -> list[str]:
        """The scopes that a principal of this scheme needs."""
        return sorted({name for part in self.parts for name in scopes_needed(part, scheme.name)})


def _security(requirements: Sequence[_CombinedRequirement], with_scopes: set[str]) -> list[dict[str, list[str]]]:
    """The alternatives, each once. In OpenAPI an empty alternative says that no credentials are needed, and an empty
    list that none are looked at.
    """
    alternatives: list[dict[str, list[str]]] = [
        {
            scheme.name: requirement.scopes(scheme) if scheme.name in with_scopes else [],
            **({_MUTUAL_TLS: []} if _MUTUAL_TLS in with_scopes and _needs_certificate(scheme) else {}),
        }
        for requirement in requirements
        for scheme in requirement.schemes
    ]
    if alternatives and any(requirement.allows_anonymous for requirement in requirements):
        alternatives.append({})
    return [alternative for index, alternative in enumerate(alternatives) if alternative not in alternatives[:index]]


def _reasons(operation: Operation, requirements: Sequence[_CombinedRequirement], guard: Guard) -> Iterator[Reason]:
    """At least one reason for each status that the operation can be denied with."""
    if guard.table.rules and "{" in operation.path:
        yield PATH_AMBIGUOUS
    for requirement in requirements:
        if not requirement.parts:
            continue
        yield from (CREDENTIALS_AMBIGUOUS, CREDENTIALS_MISSING, BACKEND_FAILED)
        if guard.checks or any(part is not AUTHENTICATED and part is not OPTIONAL for part in requirement.parts):
            yield REQUIREMENT_UNMET
        for scheme in requirement.schemes:
            if scheme.name in guard.sent_by_browsers and operation.method not in SAFE:
                yield ORIGIN_FOREIGN
            if scheme.reads_body:
                yield BODY_TOO_LARGE
            yield from scheme.denial_reasons
            if scheme.login_url and operation.method == "GET":
                yield LOGIN_REQUIRED


def _by_status(reasons: Iterator[Reason]) -> dict[str, list[Reason]]:
    by_status: dict[str, list[Reason]] = {}
    for reason in reasons:
        by_status.setdefault(str(reason.status), []).append(reason)
    return by_status


def _content(reasons: Sequence[Reason], item: Mapping[str, Any], *, rendered: bool) -> dict[str, Any]:
    """The bodies by media type; empty if the app renders them."""
    if rendered:
        return {}
    content: dict[str, Any] = {PROBLEM: {"schema": {"$ref": f"#/components/schemas/{_SCHEMA}"}}}
    if "requestBody" in item and any(reason.about_message for reason in reasons):
        # FastAPI answers a body that it cannot decode with 400 and JSON too, but leaves that out of the document.
        content["application/json"] = {}
    return content


def _response(
    reasons: Sequence[Reason], requirements: Sequence[_CombinedRequirement], content: dict[str, Any]
) -> dict[str, Any]:
    headers: dict[str, Any] = {}
    challenges_on_403 = any(scheme.challenges_on_403 for requirement in requirements for scheme in requirement.schemes)
    if any(reason.challenged == "all" or (reason.challenged == "tried" and challenges_on_403) for reason in reasons):
        headers["WWW-Authenticate"] = {
            "description": "A challenge. Each challenge has its own field line.",
            "required": all(reason.challenges_needed for reason in reasons),
            "schema": {"type": "string"},
        }
    if LOGIN_REQUIRED in reasons:
        headers["Location"] = {
            "description": "The login page. Only a browser that opens a page is sent there.",
            "required": True,
            "schema": {"type": "string"},
        }
    if any(reason.retried for reason in reasons):
        headers["Retry-After"] = {
            "description": "The number of seconds to wait before the next attempt.",
            "required": all(reason.retried for reason in reasons),
            "schema": {"type": "integer"},
        }
    response: dict[str, Any] = {"description": reasons[0].detail}
    if headers:
        response["headers"] = headers
    if content:
        response["content"] = content
    return response
