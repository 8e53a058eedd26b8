"""``assert_denied`` accepts the denials of authguard and no other response, and shows why a request was denied."""

from __future__ import annotations

import contextvars
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Mount, Route
from starlette.testclient import TestClient

from authguard import (
    AccessDenied,
    AuthGuardMiddleware,
    AuthRequest,
    BackendUnavailable,
    Challenge,
    Denied,
    Principal,
    Reason,
)
from authguard.reasons import ROLE_MISSING
from authguard.testing import acting_as, assert_denied, recording
from tests.support.schemes.badge import Badge
from tests.testing.shop import ISSUER, app_behind, client_of, guard_of

BOB = Principal("bob", roles={"clerk"})
MISSING = "denied role.missing: GET /admin 403 bearer bob requirement=role(editor) missing=[editor] offered=[clerk]"
BEARER, BASIC = 'Bearer realm="shop"', 'Basic realm="shop", charset="UTF-8"'


def complaint(response: Any, *status: int, **expected: Any) -> list[str]:
    """The lines of the ``AssertionError``."""
    with pytest.raises(AssertionError) as error:
        assert_denied(response, *status, **expected)
    return [line.strip() for line in str(error.value).splitlines()]


def test_every_denial_of_authguard_passes() -> None:
    """Whatever its status, with and without an expected reason."""
    guard = guard_of(Badge(table={"bob": BackendUnavailable()}), rules=[])
    client = client_of(guard)

    with recording(guard):
        assert_denied(client.get("/"))
        assert_denied(client.get("/"), 401, reason="credentials.missing", challenge="Badge")
        assert_denied(client.head("/"), 401, reason="credentials.missing")
        assert_denied(client.get("/", headers={"Authorization": "Badge bob"}), 503, reason="store.unavailable")
        two = [("Authorization", "Badge bob"), ("Authorization", "Badge bob")]
        assert_denied(client.get("/", headers=two), 400, reason="credentials.ambiguous")


def test_a_reason_may_be_a_code_or_a_reason_object() -> None:
    """The record is that of the latest denial of the path."""
    guard = guard_of()
    client = client_of(guard)

    with recording(guard):
        client.get("/admin", headers=ISSUER.headers("mallory"))
        response = client.get("/admin", headers=ISSUER.headers("bob"))
        client.get("/pay", headers=ISSUER.headers("mallory"))
        client.post("/admin", headers=ISSUER.headers("mallory"))

        assert_denied(response, reason="role.missing")
        assert_denied(response, reason=ROLE_MISSING)


def test_the_record_is_of_this_path_and_status() -> None:
    """A record of another status does not count, nor does one of the path ``/`` for a path that ends with a slash."""
    guard, other = guard_of(), guard_of()
    client = client_of(guard)

    with recording(guard):
        response = client.get("/admin", headers=ISSUER.headers("bob"))
        client.get("/admin")
        assert_denied(response, 403, reason="role.missing")

        client.get("/")
        lines = complaint(client_of(other).get("/admin/"), 401, reason="credentials.missing")

    assert "no record of this denial was kept" in lines[1]


def test_records_of_a_block_in_another_context_do_not_count() -> None:
    """That block keeps them for its own context."""
    guard, elsewhere = guard_of(), contextvars.copy_context()
    block = acting_as(guard, BOB)
    elsewhere.run(block.__enter__)

    response = elsewhere.run(client_of(guard).get, "/admin")
    elsewhere.run(assert_denied, response, 403, reason="role.missing")
    lines = complaint(response, 403, reason="role.missing")
    elsewhere.run(block.__exit__, None, None, None)

    assert "no record of this denial was kept" in lines[1]


def test_a_challenge_is_a_line_a_scheme_or_a_value() -> None:
    """Each line is compared on its own, because a route may have several challenges."""
    response = client_of(guard_of()).get("/")

    for challenge in (BEARER, BASIC, "Bearer", "basic", Challenge("Bearer", {"realm": "shop"})):
        assert_denied(response, 401, challenge=challenge)

    lines = complaint(response, challenge="Digest")
    assert lines[1] == f"expected the challenge 'Digest', found {BEARER!r} and {BASIC!r}"
    assert complaint(response, challenge='Bearer realm="x"')[1].startswith("expected the challenge 'Bearer realm=")


def test_a_wrong_expectation_shows_the_record() -> None:
    """The failure shows why the request was denied: what was missing, and what was offered."""
    guard = guard_of()

    with acting_as(guard, BOB):
        response = client_of(guard).get("/admin")
        lines = complaint(response, 401, reason="token.expired", challenge="Basic")

    assert lines == [
        "GET /admin was answered with 403:",
        "expected 401",
        """expected the challenge 'Basic', found 'Bearer realm="shop", error="insufficient_scope"'""",
        "expected token.expired",
        f"recorded: {MISSING}",
    ]


def test_a_granted_request_is_not_a_denial() -> None:
    """The failure shows which principal got in."""
    guard = guard_of()

    with acting_as(guard, Principal("alice", roles={"editor"})):
        lines = complaint(client_of(guard).get("/admin"), 403, reason="role.missing")

    assert lines[:3] == [
        "GET /admin was answered with 200:",
        "expected 403",
        "this is not a denial; a denial is one of 303, 400, 401, 403, 413, 429, 503",
    ]
    assert lines[-1] == "recorded: granted: GET /admin bearer alice"


def test_without_a_recording_no_reason_is_known() -> None:
    """A block that has ended does not count: an old record of the path could pass for the reason of a new denial."""
    guard = guard_of()
    client = client_of(guard)
    with acting_as(guard, BOB):
        before = client.get("/admin")

    lines = complaint(before, 403, reason="role.missing")

    assert "no record of this denial was kept: keep acting_as(guard, ...) or" in lines[1]
    assert len(lines) == 3


def test_other_records_are_shown_if_there_is_none_of_the_response() -> None:
    """At most five, the latest first, so that a misspelt path is easy to see."""
    guard, other = guard_of(), guard_of()
    with recording(other):
        for number in range(7):
            client_of(other).get(f"/{number}")

        lines = complaint(client_of(guard).get("/admin"), reason="role.missing")

    paths = [f"/{number}" for number in (6, 5, 4, 3, 2)]
    assert lines[3:] == [f"recorded: denied credentials.missing: GET {path} 401" for path in paths]


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (JSONResponse({"detail": "no"}, 401), "there is no challenge (WWW-Authenticate)"),
        (
            JSONResponse({"detail": "no"}, 403),
            "there is no Cache-Control: no-store, so the response is not authguard's",
        ),
        (JSONResponse({}, 503, {"Cache-Control": "no-store"}), "there is no Retry-After"),
        (PlainTextResponse("no", 404), "this is not a denial; a denial is one of 303, 400, 401, 403, 413, 429, 503"),
        (
            JSONResponse({}, 401, {"Cache-Control": "no-store", "WWW-Authenticate": "Basic realm=a, Bearer"}),
            "'Basic realm=a, Bearer' is not one challenge: not a list of auth-params",
        ),
        (
            JSONResponse({"status": 403}, 403, {"Cache-Control": "no-store"}, "application/problem+json"),
            "its body is not authguard's: {'status': 403}",
        ),
        (
            JSONResponse([403], 403, {"Cache-Control": "no-store"}, "application/problem+json; charset=utf-8"),
            "its body is not authguard's: {}",
        ),
    ],
)
def test_a_refusal_of_the_app_is_not_a_denial_of_authguard(answer: Any, problem: str) -> None:
    """The status alone does not make one."""
    response = TestClient(Starlette(routes=[Route("/", lambda request: answer)])).get("/")

    assert problem in complaint(response)


def test_a_rendered_body_is_not_compared() -> None:
    """The app writes it."""

    def render(request: AuthRequest, denied: Denied) -> tuple[str, bytes]:
        return "text/html", b"<h1>No</h1>"

    app = AuthGuardMiddleware(Starlette(), guard=guard_of(), render=render)

    assert_denied(TestClient(app).get("/"), 401, challenge="bearer")


def test_an_access_denied_of_an_endpoint_is_a_denial() -> None:
    """``AccessDenied`` gives the same response and the same record."""
    guard = guard_of()

    async def own(request: Any) -> None:
        raise AccessDenied(Reason("order.not_owner", 403), order=5)

    client = TestClient(AuthGuardMiddleware(Starlette(routes=[Route("/own", own)]), guard=guard))

    with acting_as(guard, BOB):
        assert_denied(client.get("/own"), 403, reason="order.not_owner")


def test_the_record_of_a_guard_below_a_mount_is_found() -> None:
    """It has the path as the inner guard reads it. A record of the whole path comes first."""
    outer, inner = guard_of(), guard_of()
    site = Starlette(routes=[Mount("/open", app_behind(inner))])
    client = TestClient(AuthGuardMiddleware(site, guard=outer))

    with recording(outer, inner):
        client.get("/admin", headers=ISSUER.headers("mallory"))
        assert_denied(client.get("/open/admin", headers=ISSUER.headers("bob")), 403, reason="role.missing")
        client.get("/admin", headers=ISSUER.headers("bob"))
        assert_denied(client.get("/admin", headers=ISSUER.headers("mallory")), 403, reason="user.banned")


def test_the_record_of_an_escaped_path_is_found() -> None:
    """A record has the path decoded, then escaped and clipped."""
    guard = guard_of()
    client = client_of(guard)

    with recording(guard):
        for path in ("/a%20b", "/%C3%A9", "/%00", "/" + "long" * 50):
            response = client.get(path)
            assert_denied(response, reason="path.ambiguous" if response.status_code == 400 else "credentials.missing")
