"""``digest_auth`` answers a challenge as clients do, and the guard verifies the answer."""

from __future__ import annotations

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from authguard import PER_PROCESS, AuthGuardMiddleware, Digest, Guard, MemoryDigests
from authguard.testing import assert_denied, digest_auth


async def _who(request: Request) -> PlainTextResponse:
    return PlainTextResponse(request.user.subject)


def _client(algorithm: str) -> TestClient:
    store = MemoryDigests.of_cleartext(
        {"alice": "s3cret", "zoë": "pässwörd"}, realm="tests", algorithms=[algorithm.removesuffix("-sess")]
    )
    guard = Guard(Digest(store, realm="tests", secret=PER_PROCESS, algorithms=[algorithm]))
    routes = [Route("/orders", _who, methods=["GET", "POST"])]
    return TestClient(Starlette(routes=routes, middleware=[Middleware(AuthGuardMiddleware, guard=guard)]))


def _challenge(client: TestClient) -> str:
    return client.get("/").headers["www-authenticate"]


@pytest.mark.parametrize("algorithm", ["SHA-256", "SHA-256-sess", "SHA-512-256", "MD5", "MD5-sess"])
@pytest.mark.parametrize(("name", "password"), [("alice", "s3cret"), ("zoë", "pässwörd")])
def test_the_answer_is_verified(algorithm: str, name: str, password: str) -> None:
    """With every algorithm, and with names outside ASCII."""
    client = _client(algorithm)

    sent = digest_auth(_challenge(client), name, password, method="POST", uri="/orders?number=5")

    assert client.post("/orders?number=5", headers=sent).text == name


def test_a_challenge_can_be_answered_again_with_a_higher_count() -> None:
    """The same count again is a replay."""
    client = _client("SHA-256")
    challenge = _challenge(client)

    answers = [
        client.get("/orders", headers=digest_auth(challenge, "alice", "s3cret", uri="/orders", count=count))
        for count in (1, 2, 2)
    ]

    assert [answer.status_code for answer in answers] == [200, 200, 401]


def test_a_wrong_password_is_denied() -> None:
    """The answer of a real client would be too."""
    client = _client("SHA-256")

    response = client.get("/orders", headers=digest_auth(_challenge(client), "alice", "wrong", uri="/orders"))

    assert_denied(response, status=401, challenge="Digest")


def test_the_first_of_several_challenges_is_answered() -> None:
    """It is the one that the server prefers."""
    store = MemoryDigests.of_cleartext({"alice": "s3cret"}, realm="tests", algorithms=["SHA-256", "MD5"])
    guard = Guard(Digest(store, realm="tests", secret=PER_PROCESS, algorithms=["SHA-256", "MD5"]))
    app = Starlette(routes=[Route("/orders", _who)], middleware=[Middleware(AuthGuardMiddleware, guard=guard)])
    client = TestClient(app)
    challenges = client.get("/").headers.get_list("www-authenticate")

    sent = digest_auth(challenges, "alice", "s3cret", uri="/orders")

    assert client.get("/orders", headers=sent).text == "alice"
    assert "SHA-256" in sent["Authorization"]


@pytest.mark.parametrize(
    "challenge",
    ['Basic realm="tests"', 'Digest realm="tests"', "nonsense", "", [], 'Digest realm="t", nonce="n", qop="auth-int"'],
)
def test_anything_but_a_challenge_of_digest_is_an_error(challenge: str | list[str]) -> None:
    """A mistake in a test shows at once."""
    with pytest.raises(ValueError, match=r"not a challenge of Digest|auth-scheme"):
        digest_auth(challenge, "alice", "s3cret")
