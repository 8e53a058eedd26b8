"""The signed webhook in an app: bodies in pieces, rules, and Bearer beside it."""

from __future__ import annotations

from types import ModuleType

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient
from starlette.types import Message, Receive

from authguard import PEM, AuthGuardMiddleware, Bearer, Guard, Issuer, Rule, role, via
from authguard.testing import ManualClock
from tests.examples.webhooks import BODY, CHALLENGE, SECRET, app_behind, reasons, signature
from tests.support.clock import NOW
from tests.support.tokens import AUDIENCE, ISSUER, mint, public_pem, rsa_key


async def ask(
    app: AuthGuardMiddleware, field: str, *received: Message, receive: Receive | None = None
) -> tuple[int, bytes]:
    """The status and the body that the app answers with, when the server hands it these messages."""
    messages = list(received)
    sent: list[Message] = []

    async def at_once() -> Message:
        return messages.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    headers = [(b"x-signature", field.encode())]
    scope = {"type": "http", "method": "POST", "path": "/hook", "headers": headers, "query_string": b""}
    await app(scope, receive or at_once, send)
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent)


def part(body: bytes, more: bool = True) -> Message:
    """A message of a server."""
    return {"type": "http.request", "body": body, "more_body": more}


@pytest.mark.parametrize(("octets", "status"), [(64, 200), (65, 413), (100_000, 413)])
def test_a_body_has_its_limit(
    webhook_client: TestClient, caplog: pytest.LogCaptureFixture, octets: int, status: int
) -> None:
    """A larger body is 413, however well it is signed, and no challenge asks for another signature."""
    body = b"x" * octets

    response = webhook_client.post("/hook", content=body, headers={"X-Signature": signature(body)})

    assert response.status_code == status
    assert "www-authenticate" not in response.headers
    assert reasons(caplog) == [None if status == 200 else "body.too_large"]


@pytest.mark.parametrize("pieces", [[BODY[:1], BODY[1:5], b"", BODY[5:]], [bytes([octet]) for octet in BODY]])
async def test_a_body_may_come_in_pieces(example: ModuleType, pieces: list[bytes]) -> None:
    """What comes in chunks is signed and read as a whole."""
    app = app_behind(example.Webhook("shop", SECRET))

    answer = await ask(app, signature(), *map(part, pieces), part(b"", more=False))

    assert answer == (200, BODY)


async def test_pieces_are_counted_together(example: ModuleType) -> None:
    """A body without a stated length is refused as soon as it is over the limit, and the rest is not waited for."""
    app = app_behind(example.Webhook("shop", SECRET, limit=10))

    status, _ = await ask(app, signature(), part(BODY[:8]), part(BODY[8:]))

    assert status == 413


async def test_a_sender_that_leaves_signed_nothing(example: ModuleType) -> None:
    """Half a body is none: the message is refused, and the app is not called."""
    app = app_behind(example.Webhook("shop", SECRET))

    status, body = await ask(app, signature(BODY[:5]), part(BODY[:5]), {"type": "http.disconnect"})

    assert status == 400
    assert BODY[:5] not in body


async def test_a_body_that_trickles_in_too_late_is_refused(
    example: ModuleType, caplog: pytest.LogCaptureFixture
) -> None:
    """A message that was in time when it began and is not when it ends is judged by the end."""
    clock = ManualClock(NOW)
    guard = Guard(example.Webhook("shop", SECRET), clock=clock, monotonic=clock)
    app = AuthGuardMiddleware(Starlette(), guard=guard)
    body = [part(BODY[:5]), part(BODY[5:], more=False)]

    async def trickle() -> Message:
        clock.move(180.5)
        return body.pop(0)

    status, _ = await ask(app, signature(), receive=trickle)

    assert status == 401
    assert reasons(caplog) == ["credentials.expired"]


def test_without_the_role_there_is_no_challenge(example: ModuleType, caplog: pytest.LogCaptureFixture) -> None:
    """Another signature would not give the shop a role, so a 403 asks for none."""
    client = TestClient(app_behind(example.Webhook("shop", SECRET), rules=[Rule("/admin", role("admin"))]))

    response = client.post("/admin", content=BODY, headers={"X-Signature": signature()})

    assert response.status_code == 403
    assert "www-authenticate" not in response.headers
    assert reasons(caplog) == ["role.missing"]


@pytest.fixture
def both(example: ModuleType) -> TestClient:
    """A client of an app that takes webhooks in one place, tokens in another, and either in all others."""
    issuer = Issuer(ISSUER, audience=AUDIENCE, algorithms=["RS256"], keys=PEM(public_pem(rsa_key())))
    rules = [Rule("/hooks/**", via("webhook")), Rule("/orders/**", via("bearer"))]
    return TestClient(app_behind(Bearer(issuer, realm="orders"), example.Webhook("shop", SECRET), rules=rules))


@pytest.mark.parametrize(
    ("path", "challenges"),
    [
        ("/hooks/payments", [CHALLENGE]),
        ("/orders/5", ['Bearer realm="orders"']),
        ("/else", ['Bearer realm="orders"', CHALLENGE]),
    ],
)
def test_each_place_asks_for_what_it_takes(both: TestClient, path: str, challenges: list[str]) -> None:
    """Beside Bearer it challenges where it is accepted, on a line of its own."""
    response = both.post(path, content=BODY)

    assert response.status_code == 401
    assert response.headers.get_list("www-authenticate") == challenges


@pytest.mark.parametrize(("path", "user"), [("/hooks/payments", "shop"), ("/orders/5", "alice"), ("/else", None)])
def test_each_place_takes_its_own(both: TestClient, caplog: pytest.LogCaptureFixture, path: str, user: str) -> None:
    """Of a token and a signature the one is judged that the route accepts; where it accepts both, two are too many."""
    fields = {"X-Signature": signature(), "Authorization": f"Bearer {mint()}"}

    response = both.post(path, content=BODY, headers=fields)

    assert response.headers.get("x-user") == user
    assert response.status_code == (200 if user else 400)
    assert reasons(caplog) == ([] if user else ["credentials.ambiguous"])


def test_the_document_tells_where_the_signature_goes(example: ModuleType) -> None:
    """In a field of its own, which Swagger UI can send; and that a body may be too large."""
    document = example.app.openapi()
    operation = document["paths"]["/payments"]["post"]

    assert document["components"]["securitySchemes"] == {
        "webhook": {"type": "apiKey", "in": "header", "name": "X-Signature"}
    }
    assert operation["security"] == [{"webhook": []}]
    assert sorted(operation["responses"]) == ["200", "400", "401", "413", "422", "503"]
