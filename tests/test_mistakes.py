"""What others plug into a guard may be wrong: it is named while the app is built, or costs nobody an answer."""

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
from authguard.schemes.bearer.scheme import MAX_CANDIDATES
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


class Silent(Badge):
    """It has no challenge to give."""

    def challenges(self, request: AuthRequest, why: Denied | None) -> Sequence[Challenge]:
        return []


@pytest.mark.rfc("9110-1")
async def test_a_401_without_a_challenge_is_an_outage() -> None:
    """9110-1: each 401 bears one, so this answer cannot be given."""
    told: list[Record] = []

    assert await ask(Guard(Silent(), hooks=[told.append], log=False), "Badge nobody") == 503
    assert [record.reason for record in told] == ["backend.failed"]


async def test_a_subject_of_an_odd_type_costs_nobody_an_answer() -> None:
    """The record leaves it out and says so."""
    told: list[Record] = []
    scheme = Badge(table={"alice": Rejected(WRONG, subject=42)})  # type: ignore[arg-type]

    assert await ask(Guard(scheme, hooks=[told.append], log=False)) == 401
    assert [(record.subject, record.facts) for record in told] == [(None, {"untold": "builtins.TypeError"})]


async def test_a_filter_that_raises_costs_nobody_an_answer() -> None:
    """A log that breaks is not the client's fault."""

    def broken(record: logging.LogRecord) -> bool:
        raise LookupError

    logger = logging.getLogger("authguard")
    logger.addFilter(broken)
    try:
        assert await ask(Guard(Badge()), "Badge nobody") == 401
    finally:
        logger.removeFilter(broken)


class Fails:
    """A service that does not start."""

    @asynccontextmanager
    async def running(self, clock: object) -> AsyncIterator[None]:
        raise ConnectionError("s3cr3t")
        yield

    def health(self) -> Mapping[str, object]:
        return {}


def test_a_service_that_does_not_start_does_not_keep_the_app_from_starting(caplog: pytest.LogCaptureFixture) -> None:
    """Everything works without it; one ERROR says which type it raised, and where."""
    started: list[str] = []

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        started.append("app")
        yield

    app = Starlette(lifespan=lifespan)
    app.add_middleware(AuthGuardMiddleware, guard=Guard(Badge(services=[Fails()])))

    with TestClient(app):
        pass

    assert started == ["app"]
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert caplog.messages[0].startswith("a service's start failed: builtins.ConnectionError at ")
    assert "s3cr3t" not in caplog.text


class NoCarrier(Badge):
    """It does not say where its credentials travel."""

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
def test_what_could_never_work_is_named_while_the_app_is_built(argument: str, build: Any) -> None:
    """A scheme without a carrier; a hook that nobody would await; a step-up by a scheme that tells no login."""
    with pytest.raises(ConfigurationError) as caught:
        build()

    assert caught.value.argument == argument


async def _unawaited(record: Record) -> None:
    """It would never run."""


_async_hook: Any = _unawaited


def _login() -> Bearer:
    return Bearer(Issuer(ISSUER, audience=AUDIENCE, algorithms=["RS256"], keys=PEM(public_pem(rsa_key()))), realm="r")


def test_a_scheme_without_its_methods_cannot_be_made() -> None:
    """The port's methods are abstract."""

    class Empty(Scheme):
        name = "empty"

    with pytest.raises(TypeError, match="abstract"):
        Empty()  # type: ignore[abstract]


async def test_keys_that_were_not_tried_are_told() -> None:
    """A token that names no key is tried with eight; where there are more, the record says how many."""
    keys = [PEM(public_pem(rsa_key(which=number))) for number in range(1, 3)] * 5
    issuer = Issuer(ISSUER, audience=AUDIENCE, algorithms=["RS256"], keys=keys)
    told: list[Record] = []

    await ask(Guard(Bearer(issuer, realm="r"), hooks=[told.append], log=False, clock=lambda: NOW), f"Bearer {mint()}")

    assert (told[0].reason, told[0].facts["untried"]) == ("token.signature_invalid", 10 - MAX_CANDIDATES)


async def test_an_inner_check_that_waits_too_long_grants_nobody_who_expired() -> None:
    """The clock is read again behind an outer guard too."""
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
    """They compare, and do not show what they hold."""
    assert Credentials("badge", b"x") == Credentials("badge", b"x")
    assert "s3cr3t" not in repr(Credentials("badge", b"s3cr3t"))
