"""The example of a custom scheme: a signed webhook."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import pytest
from starlette.testclient import TestClient

from authguard import ConfigurationError
from tests.examples.conftest import Start
from tests.examples.webhooks import BODY, CHALLENGE, OTHER, SECRET, reasons, signature, v1
from tests.support.clock import NOW


def test_it_is_under_sixty_lines(example: ModuleType) -> None:
    """docs/adding-a-scheme.md says so."""
    assert len(Path(str(example.__file__)).read_text("utf-8").splitlines()) < 60


def test_the_app_accepts_what_the_shop_signed(example: ModuleType) -> None:
    """The example's own app, with the real clock, can read the body after the scheme has read it."""
    fields = {"X-Signature": signature(at=time.time()), "Content-Type": "application/json"}

    response = TestClient(example.app).post("/payments", content=BODY, headers=fields)

    assert (response.status_code, response.json()) == (200, {"accepted": "order-5"})


def test_a_signed_request_is_the_shops(webhook_client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    """The principal is the sender, and the app receives the body unchanged."""
    response = webhook_client.post("/hook", content=BODY, headers={"X-Signature": signature()})

    assert (response.status_code, response.content, response.headers["x-user"]) == (200, BODY, "shop")
    assert reasons(caplog) == [None]


def test_a_message_without_a_signature_is_refused(webhook_client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    """It gets the challenge, and the guard's own reason."""
    response = webhook_client.post("/hook", content=BODY)

    assert response.status_code == 401
    assert response.headers.get_list("www-authenticate") == [CHALLENGE]
    assert reasons(caplog) == ["credentials.missing"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (BODY, signature(secrets=[OTHER])),
        (BODY, signature(secrets=[OTHER, OTHER])),
        (BODY + b" ", signature()),
        (b"", signature()),
        (BODY, signature().replace("t=1800000000", "t=1800000001")),
        (BODY, f"t={int(NOW)}, v1={v1(b'0.' + BODY)}"),
    ],
    ids=["another secret", "two other secrets", "a body altered", "no body", "a time altered", "another text signed"],
)
def test_a_wrong_signature_is_refused(
    webhook_client: TestClient, caplog: pytest.LogCaptureFixture, body: bytes, field: str
) -> None:
    """A signature is valid only for this time, this body and this secret."""
    response = webhook_client.post("/hook", content=body, headers={"X-Signature": field})

    assert response.status_code == 401
    assert response.headers.get_list("www-authenticate") == [CHALLENGE]
    assert reasons(caplog) == ["webhook.signature_wrong"]


@pytest.mark.parametrize("secrets", [(SECRET, OTHER), (OTHER, SECRET), (OTHER, OTHER, OTHER, SECRET)])
def test_one_valid_signature_is_enough(webhook_client: TestClient, secrets: Sequence[bytes]) -> None:
    """A sender that changes its secret signs with the old one and the new one."""
    response = webhook_client.post("/hook", content=BODY, headers={"X-Signature": signature(secrets=secrets)})

    assert response.status_code == 200


@pytest.mark.parametrize(
    "field",
    [
        "",
        "nonsense",
        "t=1800000000",
        f"v1={v1()}",
        f"v1={v1()}, t=1800000000",
        f"t=, v1={v1()}",
        f"t=-1800000000, v1={v1()}",
        f"t=1800000000.0, v1={v1()}",
        f"t=1800000000000, v1={v1()}",
        f"t=1800000000, v1={v1().upper()}",
        f"t=1800000000, v1={v1()[:-1]}",
        f"t=1800000000, v1={v1()}0",
        f"t=1800000000, v0={v1()}",
        f"t=1800000000, v1={v1()},",
        f"t=1800000000; v1={v1()}",
        signature(secrets=[SECRET] * 5),
    ],
)
def test_a_malformed_signature_is_refused(
    webhook_client: TestClient, caplog: pytest.LogCaptureFixture, field: str
) -> None:
    """The header has one format, and the scheme does not guess at anything else."""
    response = webhook_client.post("/hook", content=BODY, headers={"X-Signature": field})

    assert response.status_code == 401
    assert reasons(caplog) == ["webhook.signature_malformed"]


def test_two_fields_are_ambiguous(webhook_client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    """The carrier returns both, and the guard refuses a request with two sets of credentials."""
    response = webhook_client.post(
        "/hook", content=BODY, headers=[("X-Signature", signature()), ("X-Signature", signature())]
    )

    assert response.status_code == 400
    assert response.headers.get_list("www-authenticate") == [CHALLENGE]
    assert reasons(caplog) == ["credentials.ambiguous"]


@pytest.mark.parametrize(
    ("age", "status"), [(359, 200), (360, 401), (86_400 * 365, 401), (0, 200), (-60, 200), (-61, 401)]
)
def test_a_message_expires(webhook_client: TestClient, caplog: pytest.LogCaptureFixture, age: int, status: int) -> None:
    """It is accepted for five minutes, with a minute of leeway on both sides. The record has its age."""
    response = webhook_client.post("/hook", content=BODY, headers={"X-Signature": signature(at=NOW - age)})

    assert response.status_code == status
    assert reasons(caplog) == [None if status == 200 else "webhook.untimely"]
    assert vars(caplog.records[-1]).get("authguard.age") == (None if status == 200 else age)


@pytest.mark.parametrize("secret", [b"", SECRET[:31]])
def test_a_short_secret_is_refused_while_building(example: ModuleType, secret: bytes) -> None:
    """A key for HMAC-SHA256 needs at least 32 bytes (RFC 7518 section 3.2)."""
    with pytest.raises(ConfigurationError, match="secret: must have at least 32 bytes"):
        example.Webhook("shop", secret)


def test_without_a_secret_it_does_not_start(start: Start) -> None:
    """There is no default secret."""
    with pytest.raises(KeyError, match="WEBHOOK_SECRET"):
        start("signed_webhook")


@pytest.mark.parametrize("at", [NOW, NOW - 3600])
@pytest.mark.parametrize("secrets", [(SECRET,), (OTHER,)])
def test_no_record_contains_a_secret_or_a_signature(
    webhook_client: TestClient, caplog: pytest.LogCaptureFixture, secrets: Sequence[bytes], at: float
) -> None:
    """Neither the signature nor the expected one appears in a record, its facts or a response."""
    response = webhook_client.post("/hook", content=BODY, headers={"X-Signature": signature(at=at, secrets=secrets)})

    output = repr([vars(record) for record in caplog.records]) + response.text + repr(response.headers)
    assert len(reasons(caplog)) == 1
    assert not [
        text for text in (SECRET.decode(), OTHER.decode(), v1(at=at), v1(at=at, secret=OTHER)) if text in output
    ]
