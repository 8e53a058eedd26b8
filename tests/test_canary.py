"""No secret of a request, a key or an exception leaks, whatever fails: the tests look for a canary."""

from __future__ import annotations

import base64
import hashlib
import hmac
import logging
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

import pytest
from starlette.types import Receive, Scope, Send

from authguard.core.guard import Guard
from authguard.core.responses import problem
from authguard.errors import BackendUnavailable, ConfigurationError, RequestBodyError
from authguard.keys.source import KeySource, VerificationKey
from authguard.keys.static import JWK, PEM, JWKSet, Secret
from authguard.middleware import AuthGuardMiddleware
from authguard.model import Accepted, Denied, Outcome, Principal, Rejected
from authguard.policy.requirements import AUTHENTICATED, OPTIONAL, PUBLIC, Predicate, predicate, role, scopes, step_up
from authguard.policy.rules import Rule
from authguard.reasons import STORE_UNAVAILABLE
from authguard.records.record import Record
from authguard.request import AuthRequest
from authguard.schemes.bearer.issuer import Issuer
from authguard.schemes.bearer.scheme import Bearer
from authguard.schemes.scheme import Carrier, Scheme
from authguard.wire.authorization import Credentials
from authguard.wire.challenge import Challenge
from tests.support.asgi import RecordingApp, header_list, http_scope, run_app, websocket_scope
from tests.support.canary import CANARY, SIGNING_KEY, WEBHOOK_KEY, LogRecorder, leaks
from tests.support.clock import NOW
from tests.support.schemes.badge import BADGE_WRONG, FieldCarrier
from tests.support.tokens import AUDIENCE, ISSUER, ec_key, mint, raw_token

# --- A guard with all that can fail ----------------------------------------------------------------------------------


class BrokenKeySource(KeySource):
    """A key source that raises, with the canary in its locals."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    async def keys_for(self, *, kid: str | None, algorithm: str) -> Sequence[VerificationKey]:
        password = CANARY
        assert password
        raise self.error


def _raising(error: Callable[[str], BaseException]) -> Callable[[str], None]:
    def fail(password: str) -> None:
        raise error(password)

    return fail


def _chained(password: str) -> None:
    try:
        _raising(KeyError)(password)
    except KeyError as error:
        raise RuntimeError(f"no such password: {password}") from error


def _noted(password: str) -> BaseException:
    error = LookupError()
    error.add_note(password)
    return error


FAILURES: dict[str, Callable[[str], None]] = {
    "lookup": _raising(LookupError),
    "chained": _chained,
    "decode": _raising(lambda password: UnicodeDecodeError("utf-8", password.encode(), 0, 1, password)),
    "group": _raising(lambda password: ExceptionGroup(password, [KeyError(password), ValueError(password)])),
    "noted": _raising(_noted),
    "configuration": _raising(lambda password: ConfigurationError("password", password)),
    "outage": _raising(lambda _: BackendUnavailable("no route to host", reason=STORE_UNAVAILABLE)),
}


class Key(Scheme):
    """A custom scheme that fails as its credentials say, with the canary in its locals."""

    name = "key"
    carrier: Carrier = FieldCarrier("key", b"x-key")
    reads_body = challenges_on_403 = reports_login_time = True

    async def authenticate(self, request: AuthRequest, credentials: Credentials) -> Outcome:
        word, _, password = credentials.rest.decode("latin-1").partition(" ")
        if word in FAILURES:
            FAILURES[word](password)
        if word == "large":
            await request.body(1)
        signature = self._signature(await request.body(64))
        if hmac.compare_digest(signature, credentials.rest):
            raise AssertionError
        outcomes: dict[str, Any] = {
            "good": Accepted(Principal("alice", claims={"password": password})),
            "nonsense": password,
            "nobody": Accepted(password),  # type: ignore[arg-type]
            "odd": Rejected(
                BADGE_WRONG, facts={"octets": password.encode(), "scope": request, "error": KeyError(password)}
            ),
        }
        return cast("Outcome", outcomes.get(word, Rejected(BADGE_WRONG)))

    def _signature(self, body: bytes) -> bytes:
        return hmac.new(WEBHOOK_KEY.encode(), body, hashlib.sha256).hexdigest().encode()

    def challenges(self, request: AuthRequest, why: Denied | None) -> Sequence[Challenge]:
        return (Challenge("Key"),)


class FailingChallenges(Key):
    """A scheme whose ``challenges`` raises."""

    def challenges(self, request: AuthRequest, why: Denied | None) -> Sequence[Challenge]:
        raise LookupError(CANARY)


class FailingCarrier(Carrier):
    """A carrier that raises."""

    def find(self, request: AuthRequest) -> Sequence[Credentials] | Rejected:
        raise LookupError(request.lines(b"x-key"))


class LostKey(Key):
    """A scheme with a carrier that raises."""

    carrier = FailingCarrier()


def _raises(principal: Principal, params: Mapping[str, str]) -> bool:
    raise LookupError(principal.claims)


RULES = [
    Rule("/open", PUBLIC),
    Rule("/maybe", OPTIONAL),
    Rule("/boss", role("boss")),
    Rule("/scoped", scopes("boss")),
    Rule("/step", step_up(acr="gold", max_age=1)),
    Rule("/owner", predicate("owner", _raises)),
    Rule("/get", AUTHENTICATED, methods={"GET"}),
]


async def _check_raises(request: AuthRequest, principal: Principal) -> Principal:
    raise LookupError(principal.claims, request.headers)


async def _check_refuses(request: AuthRequest, principal: Principal) -> Rejected:
    return Rejected(BADGE_WRONG, facts={"claims": principal.claims.keys(), "principal": principal})


def _hook_raises(record: Record) -> None:
    raise LookupError(CANARY, record)


def _render_raises(request: AuthRequest, denied: Denied) -> tuple[str, bytes]:
    raise LookupError(CANARY, request.headers)


def bearer(**options: Any) -> Bearer:
    """A Bearer scheme with an HMAC secret that must not leak."""
    keys = options.pop("keys", Secret(SIGNING_KEY))
    return Bearer(Issuer(ISSUER, audience=AUDIENCE, algorithms=["HS256"], keys=keys, **options), realm="orders")


def token(**changes: Any) -> str:
    """A token with the canary in its claims."""
    return "Bearer " + mint(SIGNING_KEY, "HS256", password=CANARY, **changes)


def basic() -> str:
    """Basic credentials with the canary as the password."""
    return "Basic " + base64.b64encode(f"alice:{CANARY}".encode()).decode()


#: Authorization fields that contain the canary.
AUTHORIZATIONS: dict[str, Callable[[], str]] = {
    "good": token,
    "expired": lambda: token(exp=NOW - 100),
    "early": lambda: token(nbf=NOW + 100),
    "tolerated": lambda: token(exp=NOW - 1),
    "foreign issuer": lambda: token(iss="https://other.example/"),
    "foreign audience": lambda: token(aud="other"),
    "no subject": lambda: token(sub=...),
    "odd claims": lambda: token(roles=7, scope=[1], exp="soon"),
    "bound": lambda: token(cnf={"jkt": CANARY}),
    "other key": lambda: "Bearer " + mint(CANARY * 2, "HS256", password=CANARY),
    "other algorithm": lambda: "Bearer " + mint(ec_key(), "ES256", password=CANARY),
    "broken payload": lambda: "Bearer " + raw_token({"alg": "HS256"}, CANARY.encode(), SIGNING_KEY, "HS256"),
    "broken signature": lambda: token()[:-5] + "AAAAA",
    "no token": lambda: f"Bearer {CANARY}",
    "two tokens": lambda: f"Bearer {CANARY} {CANARY}",
    "tab": lambda: f"Bearer\t{CANARY}",
    "no scheme": lambda: f'"{CANARY}"',
    "unknown scheme": basic,
    "no scheme before it": lambda: CANARY,
    "no scheme and a tab": lambda: f"{CANARY}\t{CANARY}",
    "behind no scheme": lambda: f"{CANARY} {CANARY}",
    "too long": lambda: "Bearer " + CANARY * 600,
}

KEYS = ["good", "nonsense", "nobody", "odd", "body", "large", *FAILURES]

GUARDS: dict[str, Callable[[], AuthGuardMiddleware]] = {
    "plain": lambda: make_app(bearer(), Key()),
    "check raises": lambda: make_app(bearer(), Key(), checks=[_check_raises]),
    "check refuses": lambda: make_app(bearer(), Key(), checks=[_check_refuses]),
    "hook raises": lambda: make_app(bearer(), Key(), hooks=[_hook_raises]),
    "render raises": lambda: make_app(bearer(), Key(), render=_render_raises),
    "challenges raise": lambda: make_app(bearer(), FailingChallenges()),
    "carrier raises": lambda: make_app(bearer(), LostKey()),
    "keys raise": lambda: make_app(bearer(keys=BrokenKeySource(LookupError(CANARY))), Key()),
    "keys are down": lambda: make_app(bearer(keys=BrokenKeySource(BackendUnavailable("down"))), Key()),
    "roles raise": lambda: make_app(bearer(roles=lambda claims: [][len(claims["password"])]), Key()),
}

SEEN: list[Record] = []


def make_app(*schemes: Scheme, render: Any = None, hooks: Sequence[Any] = (), **options: Any) -> AuthGuardMiddleware:
    """An app behind a guard that logs, with hooks that keep every record."""
    guard = Guard(
        *schemes,
        rules=RULES,
        clock=lambda: NOW,
        hooks=[*hooks, SEEN.append],
        role_hierarchy={"admin": {"editor"}},
        **options,
    )
    return AuthGuardMiddleware(_app, guard=guard, render=render or problem)


async def _app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.accept"})
        return
    text = repr([scope["user"], scope["auth"]]).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"x-shown", text)]})
    await send({"type": "http.response.body", "body": text})


def requests() -> Iterator[tuple[Scope, list[str]]]:
    """Every request that may fail, and its secrets beside the canary."""
    query = f"access_token={CANARY}".encode()
    paths = ["/", "/open", "/maybe", "/boss", "/scoped", "/step", "/owner", "/get", "/a/../b"]
    for authorization in AUTHORIZATIONS.values():
        field = authorization()
        secrets = [part for part in field.partition(" ")[2].split(".") if len(part) > 40]
        for path in paths if authorization is token else ["/"]:
            yield http_scope(path, "POST", header_list(field, cookie=CANARY), query_string=query), secrets
    for word in KEYS:
        for path in paths if word == "good" else ["/"]:
            yield http_scope(path, "POST", header_list(x_key=f"{word} {CANARY}"), query_string=query), []
    both = [*header_list(token()), *header_list(basic())]
    yield http_scope(headers=both, query_string=query), []
    yield http_scope(headers=[*header_list(token()), (b"x-key", CANARY.encode())], query_string=query), []
    offered: list[dict[str, Any]] = [{}, {"websocket.http.response": {}}]
    for extensions in offered:
        yield (
            websocket_scope(headers=header_list(x_key=f"lookup {CANARY}"), query_string=query, extensions=extensions),
            [],
        )


@pytest.mark.parametrize("name", GUARDS)
async def test_no_secret_leaks_whatever_fails(log_recorder: LogRecorder, name: str) -> None:
    """No log message, extra key, traceback, record, response or repr has the secret or eight characters of it.

    The secret is searched for as it is, in Base64 and in hexadecimal.
    """
    SEEN.clear()
    app = GUARDS[name]()
    leaked: list[tuple[str, list[str]]] = []
    statuses: set[int] = set()

    for scope, secrets in requests():
        body = {"type": "http.request", "body": CANARY.encode(), "more_body": False}
        answer = await run_app(app, scope, body)
        statuses.add(answer.sent[0].get("status", 0))
        told = [repr(answer.sent), *log_recorder.entries, *(f"{record} {record!r} {record.extra()}" for record in SEEN)]
        leaked += [(text, found) for text in told if (found := leaks(text, *secrets))]
        log_recorder.entries.clear()
        SEEN.clear()

    assert leaked == []
    assert 503 in statuses


async def test_a_leaked_canary_is_found(log_recorder: LogRecorder) -> None:
    """The search finds the secret as a whole, in parts, and in Base64 after any prefix."""
    logging.getLogger("anybody").debug("%s", 1, extra={"password": CANARY[3:11]})

    assert leaks("".join(log_recorder.entries)) == [CANARY[3:11]]
    assert all(leaks(base64.b64encode(f"{'x' * length}:{CANARY}".encode()).decode()) for length in range(6))
    assert leaks(token(), token().split(".")[1])
    assert leaks(CANARY.encode().hex())
    assert leaks(CANARY.lower())


async def test_the_marker_in_the_scope_does_not_show_the_headers() -> None:
    """The repr of what a guard leaves in the scope for inner guards is free of secrets."""
    endpoint = RecordingApp()
    app = AuthGuardMiddleware(endpoint, guard=Guard(bearer(), clock=lambda: NOW, log=False))

    await run_app(app, http_scope(headers=header_list(token(), cookie=CANARY)))

    assert leaks(repr(endpoint.scopes[0]["authguard"]), *token().split(".")) == []


async def test_values_do_not_show_their_secrets() -> None:
    """The repr of requests, credentials, principals, schemes, keys and decisions is free of secrets."""
    guard = Guard(bearer(), Key(), rules=RULES, clock=lambda: NOW, checks=[_check_refuses])
    field = token()
    scope = http_scope("/", headers=header_list(field, x_key=CANARY), query_string=CANARY.encode())
    request = AuthRequest(scope, path="/", moment=guard.moment())
    issuer = Issuer(ISSUER, audience=AUDIENCE, algorithms=["HS256"], keys=Secret(SIGNING_KEY))
    jwk = {"kty": "oct", "k": base64.urlsafe_b64encode(SIGNING_KEY.encode()).decode().rstrip("=")}
    owns: Predicate = lambda principal, params: principal.subject == CANARY  # noqa: E731
    values = [
        request,
        Credentials("bearer", field.encode()),
        Principal("alice", claims={"password": CANARY}),
        Accepted(Principal("alice", claims={"password": CANARY})),
        issuer,
        issuer.keys,
        await issuer.keys.keys_for(kid=None, algorithm="HS256"),
        bearer(),
        guard,
        Secret(SIGNING_KEY),
        PEM(CANARY),
        JWK(jwk),
        JWKSet({"keys": [jwk]}),
        predicate("owner", owns),
        RequestBodyError(),
    ]

    assert [(value, found) for value in values if (found := leaks(repr(value) + str(value), *field.split(".")))] == []


SETUPS: list[Callable[[], object]] = [
    lambda: bearer(keys=Secret(CANARY[:31])),
    lambda: bearer(keys=CANARY),
    lambda: bearer(keys=[CANARY]),
    lambda: bearer(keys=PEM(CANARY)),
    lambda: bearer(keys=PEM(f"-----BEGIN PRIVATE KEY-----\n{CANARY}\n-----END PRIVATE KEY-----")),
    lambda: bearer(keys=JWK(CANARY)),
    lambda: bearer(keys=JWK({"kty": "oct", "k": CANARY[:20]})),
    lambda: bearer(keys=JWK({"kty": "RSA", "n": CANARY, "e": "AQAB", "d": CANARY})),
    lambda: bearer(keys=JWKSet({"keys": [{"kty": "oct", "k": CANARY[:20]}]})),
]


@pytest.mark.parametrize("setup", SETUPS)
def test_a_mistake_in_the_set_up_does_not_show_the_key(setup: Callable[[], object]) -> None:
    """Neither a ``ConfigurationError`` nor its cause contains the key."""
    with pytest.raises(ConfigurationError) as caught:
        setup()

    text = [repr(caught.value), *traceback.format_exception(caught.value)]
    source = {line.strip() for line in text if "CANARY" in line}
    assert [line for line in text if line.strip() not in source and leaks(line)] == []
