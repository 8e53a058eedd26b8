"""Mistakes in schemes, hooks and other plug-ins: they raise while the app is built, or cost no request its response."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from authguard import (
    PEM,
    Accepted,
    AuthGuardMiddleware,
    AuthRequest,
    Bearer,
    Challenge,
    ConfigurationError,
    Credentials,
    Denied,
    Guard,
    Issuer,
    Principal,
    Reason,
    Record,
    Rejected,
    Rule,
    Scheme,
    all_of,
    step_up,
    via,
)
from authguard.schemes.bearer.signature_verifier import MAX_CANDIDATES
from authguard.testing import ManualClock
from tests.support.asgi import header_list, http_scope, run_app
from tests.support.clock import NOW
from tests.support.schemes.badge import Badge
from tests.support.tokens import AUDIENCE, ISSUER, mint, public_pem, rsa_key

WRONG = Reason("badge.wrong", 401)


async def ask(guard: Guard, authorization: str = "Badge alice") -> int:
    """The status of one request."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})

    return (await run_app(AuthGuardMiddleware(app, guard=guard), http_scope(headers=header_list(authorization)))).status


class SilentBadge(Badge):
    """A scheme without a challenge."""

    def challenges(self, request: AuthRequest, why: Denied | None) -> Sequence[Challenge]:
        return []


@pytest.mark.rfc("9110-1")
async def test_a_401_without_a_challenge_is_an_outage() -> None:
    """9110-1: every 401 needs a challenge, so without one the response is a 503."""
    records: list[Record] = []

    assert await ask(Guard(SilentBadge(), hooks=[records.append], log=False), "Badge nobody") == 503
    assert [record.reason for record in records] == ["backend.failed"]


async def test_a_subject_of_a_wrong_type_breaks_no_response() -> None:
    """The record leaves the subject out and says so."""
    records: list[Record] = []
    scheme = Badge(table={"alice": Rejected(WRONG, subject=42)})  # type: ignore[arg-type]

    assert await ask(Guard(scheme, hooks=[records.append], log=False)) == 401
    assert [(record.subject, record.facts) for record in records] == [(None, {"untold": "builtins.TypeError"})]


async def test_a_log_filter_that_raises_breaks_no_response() -> None:
    """A logging filter that raises does not change the response."""

    def broken(record: logging.LogRecord) -> bool:
        raise LookupError

    logger = logging.getLogger("authguard")
    logger.addFilter(broken)
    try:
        assert await ask(Guard(Badge()), "Badge nobody") == 401
    finally:
        logger.removeFilter(broken)


class FailingService:
    """A service that does not start."""

    @asynccontextmanager
    async def running(self, clock: object) -> AsyncIterator[None]:
        raise ConnectionError("s3cr3t")
        yield

    def health(self) -> Mapping[str, object]:
        return {}


def test_a_service_that_does_not_start_does_not_keep_the_app_from_starting(caplog: pytest.LogCaptureFixture) -> None:
    """The app works without the service, and one ERROR has the type and the place of the error."""
    started: list[str] = []

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        started.append("app")
        yield

    app = Starlette(lifespan=lifespan)
    app.add_middleware(AuthGuardMiddleware, guard=Guard(Badge(services=[FailingService()])))

    with TestClient(app):
        pass

    assert started == ["app"]
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert caplog.messages[0].startswith("a service's start failed: builtins.ConnectionError at ")
    assert "s3cr3t" not in caplog.text


class NoCarrier(Badge):
    """A scheme without a carrier."""

    def __init__(self) -> None:
        super().__init__()
        self.carrier = None  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("argument", "build"),
    [
        ("schemes", lambda: Guard(NoCarrier())),
        ("hooks", lambda: Guard(Badge(), hooks=[_async_hook])),
        ("rules", lambda: Guard(Badge(), _login(), rules=[Rule("/", all_of(via("badge"), step_up(acr="gold")))])),
    ],
)
def test_invalid_plug_ins_raise_while_the_app_is_built(argument: str, build: Any) -> None:
    """A scheme without a carrier, an async hook, and a step-up without a login time raise while the app is built."""
    with pytest.raises(ConfigurationError) as caught:
        build()

    assert caught.value.argument == argument


async def _unawaited(record: Record) -> None:
    """An async hook, which would never be awaited."""


_async_hook: Any = _unawaited


def _login() -> Bearer:
    return Bearer(Issuer(ISSUER, audience=AUDIENCE, algorithms=["RS256"], keys=PEM(public_pem(rsa_key()))), realm="r")


def test_a_scheme_without_its_methods_cannot_be_made() -> None:
    """``authenticate`` and ``challenges`` of ``Scheme`` are abstract."""

    class Empty(Scheme):
        name = "empty"

    with pytest.raises(TypeError, match="abstract"):
        Empty()  # type: ignore[abstract]


async def test_keys_that_were_not_tried_are_recorded() -> None:
    """A token without a kid is tried with eight keys. The record says how many others there are."""
    keys = [PEM(public_pem(rsa_key(which=number))) for number in range(1, 3)] * 5
    issuer = Issuer(ISSUER, audience=AUDIENCE, algorithms=["RS256"], keys=keys)
    records: list[Record] = []

    await ask(
        Guard(Bearer(issuer, realm="r"), hooks=[records.append], log=False, clock=lambda: NOW), f"Bearer {mint()}"
    )

    assert (records[0].reason, records[0].facts["untried"]) == ("token.signature_invalid", 10 - MAX_CANDIDATES)


async def test_a_principal_that_expired_during_an_inner_check_is_denied() -> None:
    """Behind an outer guard, too, the clock is read again after a long check, and an expired principal is denied."""
    clock = ManualClock(NOW)

    async def slow(request: AuthRequest, principal: Principal) -> Principal:
        clock.move(1000)
        return principal

    outer = Guard(
        Badge(table={"alice": Accepted(Principal("alice", expires_at=NOW + 10))}), clock=lambda: NOW, log=False
    )
    inner = Guard(Badge(), checks=[slow], clock=clock, monotonic=clock, leeway=0, log=False)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("nobody gets here")

    nested = AuthGuardMiddleware(AuthGuardMiddleware(app, guard=inner), guard=outer)

    assert (await run_app(nested, http_scope(headers=header_list("Badge alice")))).status == 401


def test_credentials_are_a_value() -> None:
    """``Credentials`` compare by value, and their repr does not show their content."""
    assert Credentials("badge", b"x") == Credentials("badge", b"x")
    assert "s3cr3t" not in repr(Credentials("badge", b"s3cr3t"))
