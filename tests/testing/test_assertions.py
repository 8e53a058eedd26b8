"""A denial of authguard's is told from whatever else an app answers, and a wrong one says why it was denied."""

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
from tests.testing.shop import MINTING, app_behind, client_of, guard_of

BOB = Principal("bob", roles={"clerk"})
MISSING = "denied role.missing: GET /admin 403 bearer bob requirement=role(editor) missing=[editor] offered=[clerk]"
BEARER, BASIC = 'Bearer realm="shop"', 'Basic realm="shop", charset="UTF-8"'


def complaint(response: Any, *status: int, **wanted: Any) -> list[str]:
    """The lines of the failure."""
    with pytest.raises(AssertionError) as failed:
        assert_denied(response, *status, **wanted)
    return [line.strip() for line in str(failed.value).splitlines()]


def test_every_denial_of_ours_passes() -> None:
    """Whatever the status, with and without its reason."""
    guard = guard_of(Badge(table={"bob": BackendUnavailable()}), rules=[])
    client = client_of(guard)

    with recording(guard):
        assert_denied(client.get("/"))
        assert_denied(client.get("/"), 401, reason="credentials.missing", challenge="Badge")
        assert_denied(client.head("/"), 401, reason="credentials.missing")
        assert_denied(client.get("/", headers={"Authorization": "Badge bob"}), 503, reason="store.unavailable")
        two = [("Authorization", "Badge bob"), ("Authorization", "Badge bob")]
        assert_denied(client.get("/", headers=two), 400, reason="credentials.ambiguous")


def test_a_reason_is_a_code_or_a_reason() -> None:
    """Whichever the test has at hand; the latest denial of that path counts."""
    guard = guard_of()
    client = client_of(guard)

    with recording(guard):
        client.get("/admin", headers=MINTING.headers("mallory"))
        response = client.get("/admin", headers=MINTING.headers("bob"))
        client.get("/pay", headers=MINTING.headers("mallory"))
        client.post("/admin", headers=MINTING.headers("mallory"))

        assert_denied(response, reason="role.missing")
        assert_denied(response, reason=ROLE_MISSING)


def test_the_record_is_of_this_path_and_status() -> None:
    """Neither that of another status nor that of the root, where every path ends with a slash, is taken for it."""
    guard, other = guard_of(), guard_of()
    client = client_of(guard)

    with recording(guard):
        forbidden = client.get("/admin", headers=MINTING.headers("bob"))
        client.get("/admin")
        assert_denied(forbidden, 403, reason="role.missing")

        client.get("/")
        told = complaint(client_of(other).get("/admin/"), 401, reason="credentials.missing")

    assert "no record of this denial was kept" in told[1]


def test_who_acts_elsewhere_lends_no_record() -> None:
    """A block of another context keeps what was decided there for there."""
    guard, elsewhere = guard_of(), contextvars.copy_context()
    block = acting_as(guard, BOB)
    elsewhere.run(block.__enter__)

    response = elsewhere.run(client_of(guard).get, "/admin")
    elsewhere.run(assert_denied, response, 403, reason="role.missing")
    told = complaint(response, 403, reason="role.missing")
    elsewhere.run(block.__exit__, None, None, None)

    assert "no record of this denial was kept" in told[1]


def test_a_challenge_is_a_line_a_scheme_or_a_value() -> None:
    """Each line is compared by itself: a route may have several."""
    response = client_of(guard_of()).get("/")

    for challenge in (BEARER, BASIC, "Bearer", "basic", Challenge("Bearer", {"realm": "shop"})):
        assert_denied(response, 401, challenge=challenge)

    told = complaint(response, challenge="Digest")
    assert told[1] == f"the challenge 'Digest' was expected, and there is {BEARER!r} and {BASIC!r}"
    assert complaint(response, challenge='Bearer realm="x"')[1].startswith("the challenge 'Bearer realm=")


def test_a_wrong_expectation_shows_the_record() -> None:
    """Why it was really denied stands in the failure: what was missing, and what was there."""
    guard = guard_of()

    with acting_as(guard, BOB):
        response = client_of(guard).get("/admin")
        told = complaint(response, 401, reason="token.expired", challenge="Basic")

    assert told == [
        "GET /admin was answered with 403:",
        "401 was expected",
        """the challenge 'Basic' was expected, and there is 'Bearer realm="shop", error="insufficient_scope"'""",
        "token.expired was expected",
        f"recorded: {MISSING}",
    ]


def test_what_was_granted_is_no_denial() -> None:
    """The failure shows whom the guard let in."""
    guard = guard_of()

    with acting_as(guard, Principal("alice", roles={"editor"})):
        told = complaint(client_of(guard).get("/admin"), 403, reason="role.missing")

    assert told[:3] == [
        "GET /admin was answered with 200:",
        "403 was expected",
        "this is no denial; those are 400, 401, 403, 413, 429, 503",
    ]
    assert told[-1] == "recorded: granted: GET /admin bearer alice"


def test_without_a_recording_no_reason_is_known() -> None:
    """What is over is not looked at: an old record of the same path would pass for the reason of a new denial."""
    guard = guard_of()
    client = client_of(guard)
    with acting_as(guard, BOB):
        before = client.get("/admin")

    told = complaint(before, 403, reason="role.missing")

    assert "no record of this denial was kept: have acting_as(guard, ...) or" in told[1]
    assert len(told) == 3


def test_records_of_others_are_shown_where_there_is_none_of_this() -> None:
    """At most five, the latest first: a path that was spelled wrongly is seen at once."""
    guard, other = guard_of(), guard_of()
    with recording(other):
        for number in range(7):
            client_of(other).get(f"/{number}")

        told = complaint(client_of(guard).get("/admin"), reason="role.missing")

    paths = [f"/{number}" for number in (6, 5, 4, 3, 2)]
    assert told[3:] == [f"recorded: denied credentials.missing: GET {path} 401" for path in paths]


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (JSONResponse({"detail": "no"}, 401), "there is no challenge (WWW-Authenticate)"),
        (JSONResponse({"detail": "no"}, 403), "there is no Cache-Control: no-store, so it is none of authguard's"),
        (JSONResponse({}, 503, {"Cache-Control": "no-store"}), "there is no Retry-After"),
        (PlainTextResponse("no", 404), "this is no denial; those are 400, 401, 403, 413, 429, 503"),
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
def test_what_an_app_refuses_by_itself_is_told_apart(answer: Any, problem: str) -> None:
    """No status alone makes a denial of authguard's."""
    response = TestClient(Starlette(routes=[Route("/", lambda request: answer)])).get("/")

    assert problem in complaint(response)


def test_a_rendered_body_is_the_apps_own() -> None:
    """It says nothing that could be compared."""

    def render(request: AuthRequest, denied: Denied) -> tuple[str, bytes]:
        return "text/html", b"<h1>No</h1>"

    app = AuthGuardMiddleware(Starlette(), guard=guard_of(), render=render)

    assert_denied(TestClient(app).get("/"), 401, challenge="bearer")


def test_an_endpoints_own_denial_is_one_too() -> None:
    """``AccessDenied`` has the same wire and the same record."""
    guard = guard_of()

    async def own(request: Any) -> None:
        raise AccessDenied(Reason("order.not_owner", 403), order=5)

    client = TestClient(AuthGuardMiddleware(Starlette(routes=[Route("/own", own)]), guard=guard))

    with acting_as(guard, BOB):
        assert_denied(client.get("/own"), 403, reason="order.not_owner")


def test_a_path_below_a_mount_is_found() -> None:
    """The record of an inner guard has the path as that guard reads it; one of the whole path comes first."""
    outer, inner = guard_of(), guard_of()
    site = Starlette(routes=[Mount("/open", app_behind(inner))])
    client = TestClient(AuthGuardMiddleware(site, guard=outer))

    with recording(outer, inner):
        client.get("/admin", headers=MINTING.headers("mallory"))
        assert_denied(client.get("/open/admin", headers=MINTING.headers("bob")), 403, reason="role.missing")
        client.get("/admin", headers=MINTING.headers("bob"))
        assert_denied(client.get("/admin", headers=MINTING.headers("mallory")), 403, reason="user.banned")


def test_an_escaped_path_is_found() -> None:
    """As the record writes it: decoded, then escaped and clipped."""
    guard = guard_of()
    client = client_of(guard)

    with recording(guard):
        for path in ("/a%20b", "/%C3%A9", "/%00", "/" + "long" * 50):
            response = client.get(path)
            assert_denied(response, reason="path.ambiguous" if response.status_code == 400 else "credentials.missing")
