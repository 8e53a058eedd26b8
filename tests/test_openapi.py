"""The OpenAPI document of an app behind a guard, made by hand without an app."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

import pytest

from authguard import (
    AUTHENTICATED,
    OPTIONAL,
    PUBLIC,
    AuthRequest,
    Basic,
    Guard,
    Principal,
    Reason,
    Requirement,
    Rule,
    all_of,
    any_of,
    role,
    scopes,
    via,
)
from authguard.core.responses import PROBLEM, problem
from authguard.model import Denied, Moment
from authguard.openapi import Operation, describe
from authguard.policy.requirements import UNLISTED
from tests.fastapi.users import DirectoryVerifier, Signed, guarded
from tests.support.asgi import http_scope

EMPTY: dict[str, Any] = {"openapi": "3.1.0", "info": {"title": "x", "version": "1"}}
BOTH: list[dict[str, list[str]]] = [{"bearer": []}, {"basic": []}]
ALWAYS = ["400", "401", "503"]


async def _let_by(request: AuthRequest, principal: Principal) -> Principal:
    return principal


def described_operation(
    *rules: Requirement,
    locks: tuple[Requirement, ...] = (),
    guard: Guard | None = None,
    path: str = "/orders",
    method: str = "GET",
    **options: Any,
) -> dict[str, Any]:
    """What ``describe`` makes of an operation that says nothing itself."""
    document = {**EMPTY, "openapi": options.pop("openapi", "3.1.0"), "paths": {path: {method.lower(): {}}}}
    operation = Operation(path, method, rules, locks)
    described = describe(document, [operation], guard or guarded(), **options)
    result: dict[str, Any] = described["paths"][path][method.lower()]
    return result


@pytest.mark.parametrize(
    ("rules", "locks", "security"),
    [
        ([PUBLIC], [], []),
        ([OPTIONAL], [], [*BOTH, {}]),
        ([AUTHENTICATED], [], BOTH),
        ([role("a")], [], BOTH),
        ([via("basic")], [], [{"basic": []}]),
        ([scopes("b", "a")], [], [{"bearer": ["a", "b"]}, {"basic": ["a", "b"]}]),
        ([PUBLIC], [OPTIONAL], [*BOTH, {}]),
        ([PUBLIC], [OPTIONAL, role("a")], BOTH),
        ([OPTIONAL], [AUTHENTICATED], BOTH),
        ([AUTHENTICATED], [via("bearer"), scopes("c")], [{"bearer": ["c"]}]),
        ([any_of(via("basic"), all_of(via("bearer"), scopes("d")))], [], [{"bearer": ["d"]}, {"basic": []}]),
        ([any_of(all_of(scopes("a", "e")), scopes("e"))], [], [{"bearer": ["e"]}, {"basic": ["e"]}]),
        ([via("basic")], [via("bearer")], [{"basic": []}]),
        ([UNLISTED], [], BOTH),
        ([AUTHENTICATED, role("a")], [], BOTH),
        ([AUTHENTICATED, PUBLIC], [], [*BOTH, {}]),
        ([PUBLIC, via("basic"), scopes("a")], [], [{"basic": []}, {"bearer": ["a"]}, {"basic": ["a"]}, {}]),
        ([PUBLIC, OPTIONAL], [], [*BOTH, {}]),
    ],
)
def test_the_alternatives_are_those_of_the_rules_and_the_locks(
    rules: list[Requirement], locks: list[Requirement], security: list[dict[str, list[str]]]
) -> None:
    """One for each scheme that rules and locks accept, with its scopes; an empty one if credentials are optional."""
    assert described_operation(*rules, locks=tuple(locks))["security"] == security


@pytest.mark.parametrize(("version", "expected"), [("3.0.2", []), ("3.1.0", ["a"]), ("3.2.0", ["a"])])
def test_up_to_3_0_scopes_are_named_for_oauth2_alone(version: str, expected: list[str]) -> None:
    """OpenAPI 3.0 allows scopes only there and for OpenID Connect."""
    document = {**EMPTY, "openapi": version, "paths": {"/": {"get": {}}}}
    document["components"] = {"securitySchemes": {"basic": {"type": "oauth2", "flows": {}}}}

    described = describe(document, [Operation("/", "GET", [scopes("a")])], guarded())

    assert described["paths"]["/"]["get"]["security"] == [{"bearer": expected}, {"basic": ["a"]}]


@pytest.mark.parametrize(
    ("rule", "more", "statuses"),
    [
        (PUBLIC, {}, []),
        (PUBLIC, {"path": "/orders/{number}"}, []),
        (PUBLIC, {"guard": guarded([Rule("/a", PUBLIC)])}, []),
        (PUBLIC, {"guard": guarded([Rule("/a", PUBLIC)]), "path": "/orders/{number}"}, ["400"]),
        (AUTHENTICATED, {}, [*ALWAYS, "429"]),
        (OPTIONAL, {}, [*ALWAYS, "429"]),
        (via("bearer"), {}, [*ALWAYS, "403"]),
        (AUTHENTICATED, {"guard": guarded(checks=[_let_by])}, [*ALWAYS, "403", "429"]),
        (AUTHENTICATED, {"method": "POST"}, [*ALWAYS, "403", "429"]),
        (AUTHENTICATED, {"guard": Guard(Basic(DirectoryVerifier(), realm="x", throttle=None))}, ALWAYS),
        (AUTHENTICATED, {"guard": Guard(Signed())}, [*ALWAYS, "413", "429"]),
        (AUTHENTICATED, {"guard": Guard(Signed()), "method": "POST"}, [*ALWAYS, "413", "429"]),
    ],
)
def test_the_responses_are_those_that_can_occur(rule: Requirement, more: dict[str, Any], statuses: list[str]) -> None:
    """403 if a role is required, or browsers send the credentials; 413 and 429 if a scheme denies so."""
    assert sorted(described_operation(rule, **more)["responses"]) == sorted(statuses)


def test_the_responses_have_the_headers_of_denials() -> None:
    """Challenges are on 401, and on 403 with Bearer. Retry-After is on 429 and 503."""
    responses = described_operation(role("a"), method="POST")["responses"]

    required = {
        status: {name: header["required"] for name, header in response.get("headers", {}).items()}
        for status, response in responses.items()
    }

    assert required == {
        "400": {"WWW-Authenticate": False},
        "401": {"WWW-Authenticate": True},
        "403": {"WWW-Authenticate": False},
        "429": {"Retry-After": True},
        "503": {"Retry-After": True},
    }


def test_a_403_without_bearer_has_no_challenge() -> None:
    """Basic sends none with a 403, and a 400 for an ambiguous path has none either."""
    responses = described_operation(via("basic"))["responses"]
    ambiguous = described_operation(PUBLIC, guard=guarded([Rule("/a", PUBLIC)]), path="/{name}")["responses"]

    assert "headers" not in responses["403"]
    assert "headers" not in ambiguous["400"]


def test_the_body_is_a_problem() -> None:
    """The shared schema has exactly the members of a body that is sent."""
    document = describe({**EMPTY, "paths": {"/": {"get": {}}}}, [Operation("/", "GET", [AUTHENTICATED])], guarded())
    (content,) = document["paths"]["/"]["get"]["responses"]["401"]["content"].items()
    schema = document["components"]["schemas"]["AuthguardProblem"]

    media_type, body = problem(AuthRequest(http_scope(), "/", Moment(0, 0)), Denied(Reason("a.b", 401)))

    assert content == (PROBLEM, {"schema": {"$ref": "#/components/schemas/AuthguardProblem"}})
    assert media_type == PROBLEM
    assert sorted(json.loads(body)) == sorted(schema["required"]) == sorted(schema["properties"])


def test_the_400_of_fastapi_is_described_too() -> None:
    """FastAPI answers a request body that it cannot decode with JSON. Without a request body that cannot occur."""
    document = {**EMPTY, "paths": {"/": {"get": {}, "post": {"requestBody": {}}}}}

    described = describe(document, [Operation("/", name, [AUTHENTICATED]) for name in ("GET", "POST")], guarded())
    responses = {name: item["responses"] for name, item in described["paths"]["/"].items()}

    assert list(responses["get"]["400"]["content"]) == [PROBLEM]
    assert list(responses["post"]["400"]["content"]) == [PROBLEM, "application/json"]
    assert list(responses["post"]["401"]["content"]) == [PROBLEM]


def test_rendered_bodies_are_not_described() -> None:
    """The schema is left out too. Statuses and headers stay."""
    document = describe(
        {**EMPTY, "paths": {"/": {"get": {}}}}, [Operation("/", "GET", [AUTHENTICATED])], guarded(), rendered=True
    )
    answer = document["paths"]["/"]["get"]["responses"]["401"]

    assert sorted(answer) == ["description", "headers"]
    assert "schemas" not in document["components"]


def test_what_the_app_describes_itself_stays() -> None:
    """``describe`` keeps the app's own responses and security, and a scheme or a schema of the same name."""
    own: dict[str, Any] = {
        **EMPTY,
        "paths": {"/": {"get": {"security": [{"mine": []}], "responses": {"401": {"description": "mine"}}}}},
        "components": {"securitySchemes": {"bearer": {"type": "mine"}}, "schemas": {"AuthguardProblem": {"mine": 1}}},
    }

    described = describe(own, [Operation("/", "GET", [AUTHENTICATED])], guarded())

    operation = described["paths"]["/"]["get"]
    assert (operation["security"], operation["responses"]["401"]) == ([{"mine": []}], {"description": "mine"})
    assert sorted(operation["responses"]) == [*ALWAYS[:2], "429", ALWAYS[2]]
    assert described["components"]["securitySchemes"]["bearer"] == {"type": "mine"}
    assert described["components"]["schemas"]["AuthguardProblem"] == {"mine": 1}


def test_the_given_document_is_not_changed() -> None:
    """``describe`` returns a copy, and the values that it adds are copies too."""
    document = {**EMPTY, "paths": {"/": {"get": {"responses": {}}}}}
    before, guard = deepcopy(document), guarded()

    first = describe(document, [Operation("/", "GET", [AUTHENTICATED])], guard)
    first["components"]["schemas"]["AuthguardProblem"]["properties"].clear()
    first["components"]["securitySchemes"]["bearer"].clear()
    second = describe(document, [Operation("/", "GET", [AUTHENTICATED])], guard)

    assert document == before
    assert second["components"]["schemas"]["AuthguardProblem"]["properties"]
    assert second["components"]["securitySchemes"]["bearer"]


def test_schemes_describe_themselves() -> None:
    """A scheme is described by its name unless it sets ``openapi``. Bearer says that its tokens are JWTs."""
    document = describe(EMPTY, [], guarded())
    own = describe(EMPTY, [], Guard(Signed()))

    assert document["components"]["securitySchemes"] == {
        "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
        "basic": {"type": "http", "scheme": "basic"},
    }
    assert own["components"]["securitySchemes"] == {"signed": {"type": "apiKey", "in": "header", "name": "X-Signature"}}


def test_operations_outside_the_document_are_not_added() -> None:
    """A route may keep out of the document, and so may a method of a path."""
    document = {**EMPTY, "paths": {"/": {"get": {}}}}

    described = describe(document, [Operation("/x", "GET", [PUBLIC]), Operation("/", "POST", [PUBLIC])], guarded())

    assert described["paths"] == {"/": {"get": {}}}
