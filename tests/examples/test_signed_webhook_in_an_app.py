"""The signed webhook in an app: bodies in chunks, rules, and Bearer as a second scheme."""

from __future__ import annotations

from types import ModuleType

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient
from starlette.types import Message, Receive

from authguard import PEM, AuthGuardMiddleware, Bearer, Guard, Issuer, Rule, role, via
from authguard.testing import ManualClock
from tests.examples.webhooks import BODY, CHALLENGE, SECRET, guarded_app, reasons, signature
from tests.support.clock import NOW
from tests.support.tokens import AUDIENCE, ISSUER, mint, public_pem, rsa_key


async def ask(
    app: AuthGuardMiddleware, field: str, *received: Message, receive: Receive | None = None
) -> tuple[int, bytes]:
    """Pass these messages to the app, and return the status and the body of its response."""
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
    """A body message as a server sends it."""
    return {"type": "http.request", "body": body, "more_body": more}


@pytest.mark.parametrize(("length", "status"), [(64, 200), (65, 413), (100_000, 413)])
def test_a_body_over_the_limit_is_refused(
    webhook_client: TestClient, caplog: pytest.LogCaptureFixture, length: int, status: int
) -> None:
    """A larger body is a 413 without a challenge, even if it is signed correctly."""
    body = b"x" * length

    response = webhook_client.post("/hook", content=body, headers={"X-Signature": signature(body)})

    assert response.status_code == status
    assert "www-authenticate" not in response.headers
    assert reasons(caplog) == [None if status == 200 else "body.too_large"]


@pytest.mark.parametrize("pieces", [[BODY[:1], BODY[1:5], b"", BODY[5:]], [bytes([byte]) for byte in BODY]])
async def test_a_body_may_come_in_pieces(example: ModuleType, pieces: list[bytes]) -> None:
    """The chunks are joined before the signature is checked and before the app reads the body."""
    app = guarded_app(example.Webhook("shop", SECRET))

    answer = await ask(app, signature(), *map(part, pieces), part(b"", more=False))

    assert answer == (200, BODY)


async def test_pieces_are_counted_together(example: ModuleType) -> None:
    """A body without a Content-Length is refused as soon as it exceeds the limit; the rest is not read."""
    app = guarded_app(example.Webhook("shop", SECRET, limit=10))

    status, _ = await ask(app, signature(), part(BODY[:8]), part(BODY[8:]))

    assert status == 413


async def test_an_incomplete_body_is_refused(example: ModuleType) -> None:
    """If the sender disconnects, the request is refused and the app is not called."""
    app = guarded_app(example.Webhook("shop", SECRET))

    status, body = await ask(app, signature(BODY[:5]), part(BODY[:5]), {"type": "http.disconnect"})

    assert status == 400
    assert BODY[:5] not in body


async def test_a_body_that_arrives_too_slowly_is_refused(example: ModuleType, caplog: pytest.LogCaptureFixture) -> None:
    """A message that expires while its body arrives is refused."""
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
    """Another signature would not give the shop a role, so the 403 has no challenge."""
    client = TestClient(guarded_app(example.Webhook("shop", SECRET), rules=[Rule("/admin", role("admin"))]))

    response = client.post("/admin", content=BODY, headers={"X-Signature": signature()})

    assert response.status_code == 403
    assert "www-authenticate" not in response.headers
    assert reasons(caplog) == ["role.missing"]


@pytest.fixture
def both(example: ModuleType) -> TestClient:
    """A client of an app that accepts webhooks below one path, tokens below another, and both everywhere else."""
    issuer = Issuer(ISSUER, audience=AUDIENCE, algorithms=["RS256"], keys=PEM(public_pem(rsa_key())))
    rules = [Rule("/hooks/**", via("webhook")), Rule("/orders/**", via("bearer"))]
    return TestClient(guarded_app(Bearer(issuer, realm="orders"), example.Webhook("shop", SECRET), rules=rules))


@pytest.mark.parametrize(
    ("path", "challenges"),
    [
        ("/hooks/payments", [CHALLENGE]),
        ("/orders/5", ['Bearer realm="orders"']),
        ("/else", ['Bearer realm="orders"', CHALLENGE]),
    ],
)
def test_each_path_challenges_for_the_schemes_that_it_accepts(
    both: TestClient, path: str, challenges: list[str]
) -> None:
    """The challenge of the webhook is sent where the webhook is accepted, on its own header line."""
    response = both.post(path, content=BODY)

    assert response.status_code == 401
    assert response.headers.get_list("www-authenticate") == challenges


@pytest.mark.parametrize(("path", "user"), [("/hooks/payments", "shop"), ("/orders/5", "alice"), ("/else", None)])
def test_each_path_uses_the_credentials_that_it_accepts(
    both: TestClient, caplog: pytest.LogCaptureFixture, path: str, user: str
) -> None:
    """Of a token and a signature, the accepted one is checked. If the path accepts both, the request is ambiguous."""
    fields = {"X-Signature": signature(), "Authorization": f"Bearer {mint()}"}

    response = both.post(path, content=BODY, headers=fields)

    assert response.headers.get("x-user") == user
    assert response.status_code == (200 if user else 400)
    assert reasons(caplog) == ([] if user else ["credentials.ambiguous"])


def test_the_openapi_document_describes_the_signature(example: ModuleType) -> None:
    """It is an apiKey in a header, which Swagger UI can send. The responses include 413."""
    document = example.app.openapi()
    operation = document["paths"]["/payments"]["post"]

    assert document["components"]["securitySchemes"] == {
        "webhook": {"type": "apiKey", "in": "header", "name": "X-Signature"}
    }
    assert operation["security"] == [{"webhook": []}]
    assert sorted(operation["responses"]) == ["200", "400", "401", "413", "422", "503"]
