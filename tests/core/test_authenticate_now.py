"""``authenticate_now``: what a scheme may answer at once, what goes on afterwards, and what lets nobody in."""

from __future__ import annotations

import gc
import warnings
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from itertools import product
from typing import Any

import anyio
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from authguard import (
    OPTIONAL,
    PUBLIC,
    Accepted,
    AuthRequest,
    BackendUnavailable,
    Basic,
    Bearer,
    Challenge,
    ConfigurationError,
    Credentials,
    Digest,
    InvalidSignature,
    Principal,
    Reason,
    Rejected,
    Rule,
    Scheme,
    role,
    via,
)
from authguard.core.guard import LONG_WAIT
from authguard.errors import KeysBusy, RequestBodyError
from authguard.model import Granted, Header, Outcome
from authguard.reasons import BODY_TOO_LARGE, CREDENTIALS_EXPIRED, KEYS_TIMEOUT
from authguard.starlette import requires
from authguard.testing import ManualClock, digest_auth
from authguard.wire.grammar import WireError
from tests.support.asgi import RecordingApp, auth_request, body_messages, header_list, http_scope, run_app
from tests.support.clock import NOW
from tests.support.coroutines import wait_until
from tests.support.guards import PUBLIC_RULES, RecordingGuard
from tests.support.key_source import StubbedSource
from tests.support.schemes.badge import BADGE_WRONG, Badge
from tests.support.schemes.basic import SpyHasher, basic_scheme, memory_users, user_pass
from tests.support.schemes.bearer import bearer, issuer
from tests.support.schemes.digest import REALM, SECRET, DigestAccounts, digest_scheme
from tests.support.tokens import mint

ALICE = Accepted(Principal("alice", roles={"admin"}))
REFUSED = Rejected(BADGE_WRONG, "alice", {"tries": 3}, ((b"x-info", b"1"),), authenticated=True)


class Quick(Badge):
    """A ``Badge`` that answers at once with ``now``, and later with ``later``. It keeps the order of its calls.

    An exception is raised. ``now=...`` means that it goes on later.
    """

    def __init__(self, now: Any = None, later: Any = ALICE, **options: Any) -> None:
        super().__init__(**options)
        self.now, self.later = now, later
        self.calls: list[str] = []

    def authenticate_now(self, request: AuthRequest, credentials: Credentials) -> Any:
        self.calls.append("now")
        if isinstance(self.now, BaseException):
            raise self.now
        return self._go_on if self.now is ... else self.now

    async def authenticate(self, request: AuthRequest, credentials: Credentials) -> Any:
        self.calls.append("authenticate")
        return self._answer()

    async def _go_on(self) -> Any:
        self.calls.append("went on")
        return self._answer()

    def _answer(self) -> Any:
        if isinstance(self.later, BaseException):
            raise self.later
        return self.later


class Slow(Badge):
    """A ``Badge`` without ``authenticate_now``, which answers with ``later``."""

    def __init__(self, later: Any) -> None:
        super().__init__(table={"alice": later})


# --- How often each is called -----------------------------------------------------------------------------------------

CALLED: Mapping[str, tuple[Any, list[str]]] = {
    "accepted at once": (ALICE, ["now"]),
    "rejected at once": (REFUSED, ["now"]),
    "nothing yet": (None, ["now", "authenticate"]),
    "goes on": (..., ["now", "went on"]),
    "raised": (OSError(), ["now"]),
}


async def _nothing_to_say(request: AuthRequest, principal: Principal) -> Principal:
    return principal


@pytest.mark.parametrize(("now", "calls"), CALLED.values(), ids=CALLED)
@pytest.mark.parametrize("options", [{}, {"checks": [_nothing_to_say]}], ids=["plain", "checks"])
async def test_each_is_called_once(now: Any, calls: list[str], options: dict[str, Any]) -> None:
    """``authenticate_now`` is called once. What goes on after it is called once, and ``authenticate`` only after
    None."""
    scheme = Quick(now)
    guard = RecordingGuard(scheme, rules=[Rule("/**", role("admin"))], **options)

    await guard.request(RecordingApp())

    assert scheme.calls == calls
    assert len(guard.records) == 1


@pytest.mark.parametrize(("now", "calls"), CALLED.values(), ids=CALLED)
async def test_each_is_called_once_for_locks_too(now: Any, calls: list[str]) -> None:
    """On a PUBLIC route the first lock asks the scheme, and the second one knows the answer."""
    scheme = Quick(now)
    guard = RecordingGuard(scheme, rules=PUBLIC_RULES)

    @requires(role("admin"))
    @requires(via("badge"))
    async def endpoint(request: Request) -> PlainTextResponse:
        return PlainTextResponse(request.user.subject)

    answer = await guard.request(Starlette(routes=[Route("/", endpoint)]))

    assert scheme.calls == calls
    assert len(guard.records) == 1
    assert answer.status == {"rejected at once": 401, "raised": 503}.get(
        next(name for name, case in CALLED.items() if case[0] is now), 200
    )


UNASKED: Mapping[str, tuple[int, str, dict[str, Any], list[Header]]] = {
    "nothing presented": (401, "/", {}, []),
    "another scheme": (401, "/", {}, header_list("Other x")),
    "a route for others": (401, "/others", {}, header_list("Badge alice")),
    "an open route": (200, "/open", {}, header_list("Badge alice")),
    "two lines": (400, "/", {}, header_list("Badge alice") * 2),
    "an ambiguous path": (400, "/a/../b", {}, header_list("Badge alice")),
    "another site": (403, "/", {"method": "POST"}, header_list("Badge alice", origin="https://evil.example")),
}


@pytest.mark.parametrize(("status", "path", "sent", "headers"), UNASKED.values(), ids=UNASKED)
async def test_a_request_that_is_refused_before_the_scheme_does_not_reach_it(
    status: int, path: str, sent: dict[str, Any], headers: list[Header]
) -> None:
    """Credentials are not verified for a request that is refused whatever they are, or that needs none."""

    class OfBrowsers(Quick):
        sent_by_browsers = True

    scheme = OfBrowsers(ALICE)
    guard = RecordingGuard(scheme, Badge("second"), rules=[Rule("/others", via("second")), Rule("/open", PUBLIC)])

    answer = await run_app(guard.wrap(RecordingApp()), http_scope(path, headers=headers, **sent))

    assert answer.status == status
    assert scheme.calls == []


async def test_optional_credentials_that_are_wrong_are_refused() -> None:
    """On an OPTIONAL route only a request without credentials passes: not one with wrong, two or other ones."""
    guard = RecordingGuard(Quick(REFUSED), rules=[Rule("/**", OPTIONAL)])
    sent = [header_list(), header_list("Badge alice"), header_list("Badge alice") * 2, header_list("Other x")]

    answers = [await run_app(guard.wrap(RecordingApp()), http_scope(headers=headers)) for headers in sent]

    assert [answer.status for answer in answers] == [200, 401, 400, 401]
    assert guard.outcomes == ["granted", "badge.wrong", "credentials.ambiguous", "scheme.unsupported"]


# --- Equal answers ----------------------------------------------------------------------------------------------------

ERRORS: Mapping[str, Exception] = {
    "outage": BackendUnavailable("db-1 is down", retry_after=7),
    "outage with a reason": BackendUnavailable(reason=KEYS_TIMEOUT),
    "busy keys": KeysBusy(age=3, fetches_left=0, retry_after=9),
    "incomplete body": RequestBodyError(),
    "large body": RequestBodyError(BODY_TOO_LARGE),
    "malformed": WireError("not a token68"),
    "malformed, of another scheme": WireError("no space", "other"),
    "signature": InvalidSignature("RS256"),
    "configuration": ConfigurationError("realm", "CANARY"),
    "value": ValueError("CANARY"),
    "type": TypeError("CANARY"),
    "attribute": AttributeError("CANARY"),
    "assertion": AssertionError("CANARY"),
    "recursion": RecursionError(),
    "memory": MemoryError(),
    "timeout": TimeoutError(),
    "group": ExceptionGroup("CANARY", [ValueError()]),
    "unicode": UnicodeDecodeError("utf-8", b"CANARY", 0, 1, "CANARY"),
}


async def _summary(scheme: Scheme, **options: Any) -> object:
    """All that comes of a request: the response, whether the app ran, and the record without its frames."""
    guard, app = RecordingGuard(scheme, **options), RecordingApp()
    answer = await guard.request(app)
    (record,) = guard.records
    facts = {name: fact for name, fact in record.facts.items() if name != "frames"}
    assert "CANARY" not in repr(record) + repr(answer)
    return (
        answer.status,
        answer.headers,
        answer.body,
        len(app.scopes),
        str(record.line()).partition(" frames=")[0],
        facts,
    )


@pytest.mark.parametrize("error", ERRORS.values(), ids=ERRORS)
async def test_an_exception_is_the_same_denial_wherever_it_is_raised(error: Exception) -> None:
    """Raised at once, or on going on, it is the denial that it is in ``authenticate``: the response and the record."""
    schemes = [Slow(error), Quick(error), Quick(..., error), Quick(None, error)]

    answers = [await _summary(scheme) for scheme in schemes]

    assert [answer == answers[0] for answer in answers] == [True] * 4


async def test_an_exception_that_ends_iterations_lets_nobody_in() -> None:
    """Python itself turns ``StopIteration`` into another error in a coroutine. It is a 503 in any case."""
    answers = [await _summary(scheme) for scheme in (Slow(StopIteration()), Quick(StopIteration()))]

    assert [(answer[0], answer[3]) for answer in answers] == [(503, 0)] * 2  # type: ignore[index]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])
async def test_what_ends_the_process_is_no_denial(error: type[BaseException]) -> None:
    """What is no ``Exception`` is raised further, and the app is not called."""
    app = RecordingApp()

    for scheme in (Quick(error()), Quick(..., error())):
        with pytest.raises(error):
            await RecordingGuard(scheme).request(app)

    assert app.scopes == []


OUTCOMES: Mapping[str, Outcome] = {
    "accepted": ALICE,
    "accepted with more": Accepted(
        Principal("bob", roles={"admin"}, expires_at=NOW + 5), ((b"x-info", b"1"),), {"tolerated": {"exp": 1.0}}
    ),
    "without the role": Accepted(Principal("carol", scopes={"read"}), ((b"x-info", b"1"),)),
    "rejected": REFUSED,
    "rejected, with nothing more": Rejected(BADGE_WRONG),
    "expired": Rejected(CREDENTIALS_EXPIRED, "alice", authenticated=True),
    "too many": Rejected(Reason("attempts.many", 429), "alice", {"retry_after": 5}),
}


async def _refuse_bob(request: AuthRequest, principal: Principal) -> Principal | Rejected:
    return Rejected(Reason("account.suspended", 401)) if principal.subject == "bob" else principal


async def _raise_for_bob(request: AuthRequest, principal: Principal) -> Principal:
    if principal.subject == "bob":
        raise BackendUnavailable("the directory is down")
    return principal


@pytest.mark.parametrize("outcome", OUTCOMES.values(), ids=OUTCOMES)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"rules": [Rule("/**", role("admin"))]},
        {"rules": [Rule("/**", role("editor"))], "role_hierarchy": {"admin": {"editor"}}},
        {"checks": [_nothing_to_say, _refuse_bob]},
        {"checks": [_raise_for_bob]},
    ],
    ids=["authenticated", "role", "hierarchy", "a check that refuses", "a check that raises"],
)
async def test_an_outcome_has_the_same_effect_wherever_it_comes_from(outcome: Outcome, options: dict[str, Any]) -> None:
    """Returned at once, or on going on, it has the response and the record that it has from ``authenticate``."""
    answers = [await _summary(scheme, **options) for scheme in (Slow(outcome), Quick(outcome), Quick(..., outcome))]

    assert [answer == answers[0] for answer in answers] == [True] * 3


# --- What is no answer ------------------------------------------------------------------------------------------------


async def _coroutine() -> Accepted:
    raise AssertionError


async def _returning(value: object) -> Any:
    return value


class LookAlike:
    """What has all that a principal has, and is none."""

    subject, roles, scopes, expires_at, scheme = "alice", frozenset({"admin"}), frozenset[str](), None, None
    claims: Mapping[str, Any] = {}

    def seen_by(self, scheme: str | None, roles: frozenset[str]) -> LookAlike:
        return self


GRANTED = Granted(Principal("alice", roles={"admin"}), role("admin"))

GARBAGE: Mapping[str, Callable[[], object]] = {
    "True": lambda: True,
    "False": lambda: False,
    "0": lambda: 0,
    "an empty text": lambda: "",
    "a text": lambda: "alice",
    "a mapping": dict,
    "an object": object,
    "a principal": lambda: Principal("alice", roles={"admin"}),
    "a coroutine": _coroutine,
    "a generator": lambda: (value for value in [ALICE]),
    "a class": lambda: Principal,
    "Accepted itself": lambda: Accepted,
    "accepted without a principal": lambda: Accepted(None),  # type: ignore[arg-type]
    "accepted a name": lambda: Accepted("alice"),  # type: ignore[arg-type]
    "accepted a look-alike": lambda: Accepted(LookAlike()),  # type: ignore[arg-type]
    "granted": lambda: GRANTED,
    "a coroutine of granted": lambda: lambda: _returning(GRANTED),
    "accepted True": lambda: Accepted(True),  # type: ignore[arg-type]
    "a function with arguments": lambda: lambda request: _coroutine(),
    "a function that is not async": lambda: lambda: ALICE,
    "a function of None": lambda: lambda: None,
    "a function of a function": lambda: lambda: _coroutine,
    "a coroutine of None": lambda: lambda: _returning(None),
    "a coroutine of True": lambda: lambda: _returning(True),
    "a coroutine of a principal": lambda: lambda: _returning(Principal("alice", roles={"admin"})),
    "a coroutine of nobody": lambda: lambda: _returning(Accepted(None)),  # type: ignore[arg-type]
    "a coroutine of a coroutine of nobody": lambda: lambda: _returning([ALICE]),
}


@pytest.mark.parametrize("make", GARBAGE.values(), ids=GARBAGE)
async def test_what_is_no_answer_lets_nobody_in(make: Callable[[], object]) -> None:
    """Anything but an outcome, a function that gives one, or None is a 503, and Python warns of nothing."""
    app, found = RecordingApp(), []

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for requirement, options in product([OPTIONAL, role("admin")], [{}, {"checks": [_nothing_to_say]}]):
            scheme = Quick(make())
            guard = RecordingGuard(scheme, rules=[Rule("/**", requirement)], **options)
            answer = await guard.request(app)
            found.append((answer.status, *guard.outcomes))
            scheme.now = None
        gc.collect()

    assert found == [(503, "backend.failed")] * 4
    assert app.scopes == []
    assert [str(warning.message) for warning in caught] == []


# --- Subclasses -------------------------------------------------------------------------------------------------------


class Refusing:
    """A class to mix in: it lets nobody in."""

    async def authenticate(self, request: AuthRequest, credentials: Credentials) -> Outcome:
        return Rejected(BADGE_WRONG)


class RefusingBearer(Refusing, Bearer):
    pass


class RefusingBasic(Refusing, Basic):
    pass


class RefusingDigest(Refusing, Digest):
    pass


class NamingBearer(Bearer):
    """It asks ``Bearer``, and changes the answer."""

    async def authenticate(self, request: AuthRequest, credentials: Credentials) -> Outcome:
        outcome = await super().authenticate(request, credentials)
        assert isinstance(outcome, Accepted)
        return Accepted(Principal(f"the client of {outcome.principal.subject}"))


class LateBearer(Bearer):
    """It overrides both."""

    def authenticate_now(self, request: AuthRequest, credentials: Credentials) -> Any:
        return Rejected(BADGE_WRONG)

    async def authenticate(self, request: AuthRequest, credentials: Credentials) -> Outcome:
        raise AssertionError


def _digest_field(scheme: Scheme) -> str:
    challenge: Challenge = scheme.challenges(auth_request(), None)[0]
    return digest_auth(challenge.to_header().decode(), "alice", "wonderland")["Authorization"]


async def test_a_subclass_with_its_own_authenticate_has_the_last_word() -> None:
    """The ``authenticate_now`` that it inherits does not bypass it, whatever the shipped scheme would say."""
    digest = RefusingDigest(DigestAccounts(), realm=REALM, secret=SECRET, clock=ManualClock(1000))
    cases: list[tuple[Scheme, Callable[[Scheme], str]]] = [
        (RefusingBearer(issuer(), realm="orders"), lambda _: f"Bearer {mint()}"),
        (RefusingBasic(memory_users(), realm="orders"), lambda _: f"Basic {user_pass('alice', 'wonderland').decode()}"),
        (digest, _digest_field),
        (LateBearer(issuer(), realm="orders"), lambda _: f"Bearer {mint()}"),
    ]

    for scheme, field in cases:
        guard = RecordingGuard(scheme)
        statuses = [(await guard.request(RecordingApp(), field=field(scheme))).status for _ in range(2)]
        assert (statuses, guard.denial_reasons) == ([401, 401], ["badge.wrong"] * 2)


async def test_a_subclass_may_change_the_answer_of_the_shipped_scheme() -> None:
    """It gets a good answer from ``super().authenticate``, cold and warm."""
    guard, app = RecordingGuard(NamingBearer(issuer(), realm="orders")), RecordingApp()

    for _ in range(3):
        await guard.request(app, field=f"Bearer {mint()}")

    assert [scope["user"].subject for scope in app.scopes] == ["the client of alice"] * 3


async def test_a_scheme_that_was_patched_after_it_was_made_is_not_bypassed() -> None:
    """An ``authenticate`` that an object has for itself has the last word too."""
    scheme: Any = bearer()

    async def refuse(request: AuthRequest, credentials: Credentials) -> Outcome:
        return Rejected(BADGE_WRONG)

    scheme.authenticate = refuse

    assert (await RecordingGuard(scheme).request(RecordingApp(), field=f"Bearer {mint()}")).status == 401


# --- While something is awaited ---------------------------------------------------------------------------------------


class Held(Badge):
    """A ``Badge`` whose answer comes when ``released`` is set, by what was presented. It keeps what has begun."""

    def __init__(self) -> None:
        super().__init__()
        self.released: dict[str, anyio.Event] = {}
        self.begun: list[str] = []
        self.ended: list[str] = []

    def authenticate_now(self, request: AuthRequest, credentials: Credentials) -> Callable[[], Awaitable[Outcome]]:
        name = credentials.rest.decode()

        async def go_on() -> Outcome:
            self.begun.append(name)
            self.released[name] = anyio.Event()
            try:
                await self.released[name].wait()
            finally:
                self.ended.append(name)
            return Accepted(Principal(name, claims={"name": [name]}))

        return go_on

    async def authenticate(self, request: AuthRequest, credentials: Credentials) -> Outcome:
        raise AssertionError


async def test_a_cancelled_request_gets_no_decision() -> None:
    """If the request is cancelled while something is awaited, nothing is recorded, sent or begun a second time."""
    scheme, app = Held(), RecordingApp()
    guard = RecordingGuard(scheme)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(guard.request, app)
        await wait_until(lambda: scheme.begun != [])
        tasks.cancel_scope.cancel()

    assert (scheme.begun, scheme.ended) == (["alice"], ["alice"])
    assert (guard.records, app.scopes) == ([], [])


async def test_fifty_requests_at_the_same_time_keep_apart() -> None:
    """Each gets the answer to what it presents, whatever the order in which the answers come, and each goes on once."""
    scheme, app = Held(), RecordingApp()
    guard = RecordingGuard(scheme, rules=[Rule("/{name}", via("badge"))])
    names = [f"user-{number}" for number in range(50)]
    subjects: dict[str, str] = {}

    async def ask(name: str) -> None:
        answer = await guard.request(app, f"/{name}", f"Badge {name}")
        assert answer.status == 200

    async with anyio.create_task_group() as tasks:
        for name in names:
            tasks.start_soon(ask, name)
        await wait_until(lambda: len(scheme.begun) == len(names))
        for name in names[::-1]:
            scheme.released[name].set()

    for scope in app.scopes:
        subjects[scope["path"]] = scope["user"].subject
        assert scope["user"].claims == {"name": [scope["user"].subject]}
    assert subjects == {f"/{name}": name for name in names}
    assert sorted(scheme.begun) == sorted(names)
    assert sorted(record.subject or "" for record in guard.records) == sorted(names)


async def test_fifty_tokens_that_wait_for_one_fetch_keep_apart() -> None:
    """Each gets its own principal, while it waits for the keys and again when it is remembered."""
    source = StubbedSource("a")
    source.server.released.clear()
    guard, app = RecordingGuard(bearer(issuer(source.keys))), RecordingApp()
    tokens = {f"user-{number}": mint(sub=f"user-{number}", headers={"kid": "a"}) for number in range(50)}

    async def ask(name: str, token: str) -> None:
        for _ in range(3):
            answer = await guard.request(app, f"/{name}", f"Bearer {token}")
            assert answer.status == 200

    async with anyio.create_task_group() as tasks:
        for name, token in tokens.items():
            tasks.start_soon(ask, name, token)
        await wait_until(lambda: source.server.count > 0)
        source.server.released.set()

    assert [scope["path"] for scope in app.scopes] == [f"/{scope['user'].subject}" for scope in app.scopes]
    assert Counter(scope["user"].subject for scope in app.scopes) == dict.fromkeys(tokens, 3)
    assert source.server.count == 1


async def test_credentials_that_expire_while_something_is_awaited_are_refused() -> None:
    """After a long wait the clock is read again, as it is after ``authenticate``."""
    clock = ManualClock()

    class Late(Quick):
        async def _go_on(self) -> Outcome:
            clock.move(LONG_WAIT + 100)
            return Accepted(Principal("alice", expires_at=NOW + 10))

    guard = RecordingGuard(Late(...), clock=clock, monotonic=clock)

    answer = await guard.request(RecordingApp())

    assert (answer.status, guard.denial_reasons) == (401, ["credentials.expired"])
    assert guard.records[0].facts == {"expired_by": LONG_WAIT + 90, "leeway": 60.0, "while_waiting": True}


@pytest.mark.parametrize("now", [ALICE, None, ...], ids=["at once", "later", "going on"])
@pytest.mark.parametrize("reads_body", [True, False])
async def test_a_check_may_read_the_body_if_the_scheme_may(now: Any, reads_body: bool) -> None:
    """Only after a scheme with ``reads_body``, however the scheme answers. Otherwise the request is a 503."""
    bodies: list[bytes] = []

    async def check(request: AuthRequest, principal: Principal) -> Principal:
        bodies.append(await request.body(100))
        return principal

    guard = RecordingGuard(Quick(now, reads_body=reads_body), Badge("second", reads_body=True), checks=[check])
    scope = http_scope(method="POST", headers=header_list("Badge alice"))

    answer = await run_app(guard.wrap(RecordingApp()), scope, *body_messages(b"the body"))

    assert (answer.status, bodies) == ((200, [b"the body"]) if reads_body else (503, []))
    assert guard.denial_reasons == ([] if reads_body else ["backend.failed"])


async def test_a_remembered_password_leaves_the_body_alone() -> None:
    """A check after Basic must not read the body, whether the password is remembered or not."""

    async def check(request: AuthRequest, principal: Principal) -> Principal:
        await request.body(100)
        return principal

    scheme = basic_scheme(memory_users(hasher=SpyHasher()))
    guard = RecordingGuard(scheme, digest_scheme(qop=["auth-int"]), checks=[check])
    field = f"Basic {user_pass('alice', 'wonderland').decode()}"

    answers = [await guard.request(RecordingApp(), field=field) for _ in range(2)]

    assert [answer.status for answer in answers] == [503, 503]
    assert guard.records[0].facts["error"] == guard.records[1].facts["error"] == "builtins.RuntimeError"
