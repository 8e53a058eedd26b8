"""Functions of the app: what is refused while it is built, and what the record of a failed request says (N03)."""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial, wraps
from typing import Any
from unittest.mock import AsyncMock, MagicMock

import pytest
from fastapi import Depends, HTTPException

from authguard import (
    Accepted,
    AccessDenied,
    AuthRequest,
    Basic,
    Challenge,
    ConfigurationError,
    Denied,
    Digest,
    DigestLookup,
    Guard,
    Principal,
    Reason,
    Record,
    UserLookup,
    wire,
)
from authguard.accounts import Account, LibpassHasher
from authguard.app_code import async_function, plain_function, shown
from authguard.keys.options import fetch_options
from authguard.middleware import AuthGuardMiddleware
from authguard.testing import basic_auth, digest_auth
from tests.support.asgi import RecordingApp, header_list, http_scope, run_app
from tests.support.schemes.badge import Badge

# What each mistake looks like, and what the error says about it. `known` is a check.


def known_plain(request: AuthRequest, principal: Principal) -> Principal:
    """A check that is not async."""
    return principal


async def known_yielding(request: AuthRequest, principal: Principal) -> AsyncIterator[Principal]:
    """A check that yields, as a dependency of FastAPI may."""
    yield principal


async def known_alone(principal: Principal) -> Principal:
    """A check without the request."""
    return principal


async def known_with_session(request: AuthRequest, principal: Principal, db: Any = Depends(object)) -> Principal:  # noqa: B008
    """A check with a dependency of FastAPI."""
    return principal


async def known_bool(request: AuthRequest, principal: Principal) -> bool:
    """A check that says yes or no."""
    return True


async def known_nothing(request: AuthRequest, principal: Principal) -> None:
    """A check without a return."""


async def known(request: AuthRequest, principal: Principal) -> Any:
    """A check as it should be."""
    return principal


class CallableCheck:
    """An object that is called, and is not async."""

    def __call__(self, request: AuthRequest, principal: Principal) -> Principal:
        return principal


CHECKS: list[tuple[Any, str]] = [
    ([known_plain], r"known_plain \(tests/test_app_code.py:\d+\) is not async; write async def check\(request, princ"),
    ([partial(known_plain)], r"known_plain \(tests/test_app_code.py:\d+\) is not async"),
    ([CallableCheck()], r"CallableCheck \(tests/test_app_code.py:\d+\) is not async"),
    ([CallableCheck], r"CallableCheck is a class; give an async function: check\(request, principal\)"),
    ([known_yielding], r"known_yielding .* has a yield, so it returns nothing; write return"),
    ([known_alone], r"known_alone .* is called as check\(request, principal\): too many positional arguments"),
    (
        [known_with_session],
        r"known_with_session .* has db = Depends\(...\), which FastAPI fills in for endpoints alone",
    ),
    ([known_bool], r"known_bool .* must return the principal, or Rejected\(reason\), and not bool"),
    ([known_nothing], r"known_nothing .* must return the principal, or Rejected\(reason\), and not None"),
    (["known"], r"'known' is not an async function: async def check\(request, principal\)"),
    (known, r"write checks=\[known\]: it takes a list"),
    ("known", r"'known' is not a list of async functions"),
    (5, r"5 is not a list of async functions"),
]


@pytest.mark.parametrize(("checks", "problem"), CHECKS)
def test_a_check_that_cannot_answer_raises(checks: Any, problem: str) -> None:
    """N03: the error names the check with file and line, and says how a check looks."""
    with pytest.raises(ConfigurationError, match=problem) as caught:
        Guard(Badge(), checks=checks)

    assert caught.value.argument == "checks"


def test_a_check_that_was_called_raises() -> None:
    """N03: its coroutine is closed, so that no warning about it follows."""
    with pytest.raises(ConfigurationError, match="give the function itself and not what it returns: known"):
        Guard(Badge(), checks=[known(None, None)])  # type: ignore[arg-type,list-item]


def _traced(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


def annotated(request: AuthRequest, principal: Principal) -> Awaitable[Principal]:
    """Not ``async def``, and can be awaited all the same."""
    return known(request, principal)


class Checks:
    """Checks as methods."""

    async def known(self, request: AuthRequest, principal: Principal) -> Principal:
        return principal

    async def __call__(self, request: AuthRequest, principal: Principal) -> Principal:
        return principal


def marked(request: AuthRequest, principal: Principal) -> Any:
    """As asgiref marks what can be awaited."""
    return known(request, principal)


marked._is_coroutine = object()  # type: ignore[attr-defined]

AWAITABLE: list[Any] = [
    marked,
    known,
    Checks().known,
    Checks(),
    partial(known),
    _traced(known),
    annotated,
    lambda request, principal: known(request, principal),  # noqa: PLW0108
    AsyncMock(return_value=Principal("alice")),
]


@pytest.mark.parametrize("check", AWAITABLE)
async def test_what_can_be_awaited_is_a_check(check: Any) -> None:
    """A method, an object, a mock, a decorated function and a lambda are checks, if their answer can be awaited."""
    records: list[Record] = []

    await ask(Guard(Badge(), checks=[check], hooks=[records.append], log=False))

    assert [record.event for record in records] == ["granted"]


def test_a_mock_that_cannot_be_seen_into_is_accepted() -> None:
    """Whether it can be awaited is seen when it is called, and so is what a function in C takes."""
    assert async_function("find", MagicMock(), "find(username)", "alice") is not None
    assert plain_function("render", max, "max(a, b)", 1, 2) is max
    assert shown(max) == "max"


async def ask(guard: Guard, authorization: str = "Badge alice") -> int:
    """The status of one request."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})

    return (await run_app(AuthGuardMiddleware(app, guard=guard), http_scope(headers=header_list(authorization)))).status


# --- other functions ------------------------------------------------------------------------------------------------


def find_plain(username: str) -> Account | None:
    """A look-up that is not async."""
    return None


async def find_async(*args: Any, **kwargs: Any) -> Any:
    """Any async function."""


def any_plain(*args: Any, **kwargs: Any) -> Any:
    """Any function that is not async."""


class PlainStore:
    """A store whose method is not async."""

    hasher = LibpassHasher()
    finds_hashed = False
    find = staticmethod(any_plain)


class AsyncNowStore(PlainStore):
    """A store whose fast method is async."""

    find = staticmethod(find_async)
    find_now = staticmethod(find_async)


class PlainDirectory:
    """A directory whose method is not async."""

    check = staticmethod(any_plain)


class PlainBadge(Badge):
    """A scheme that is not async."""

    authenticate = staticmethod(any_plain)


class AsyncChallenges(Badge):
    """A scheme whose challenges would have to be awaited."""

    async def challenges(self, request: AuthRequest, why: Denied | None) -> Sequence[Challenge]:  # type: ignore[override]
        return []


class AsyncNowBadge(Badge):
    """A scheme whose fast method is async."""

    authenticate = find_async
    authenticate_now = staticmethod(find_async)


class AsyncCarrier:
    """A carrier that would have to be awaited."""

    find = staticmethod(find_async)


class CarriedBadge(Badge):
    """A scheme with that carrier."""

    def __init__(self) -> None:
        super().__init__()
        self.carrier = AsyncCarrier()  # type: ignore[assignment]


class AsyncHook:
    """A hook that would have to be awaited."""

    async def __call__(self, record: Record) -> None: ...


def digest(store: Any) -> Digest:
    """A Digest scheme over a store."""
    return Digest(store, realm="r", secret="s" * 40)


def with_rehash(function: Any) -> Basic:
    """A Basic scheme with a function for outdated hashes."""
    return Basic(UserLookup(find_async), realm="r", on_rehash=function)


OTHERS: list[tuple[str, str, Callable[[], object]]] = [
    ("find", r"find_plain .* is not async; write async def find\(username\)", lambda: UserLookup(find_plain)),  # type: ignore[arg-type]
    ("find", r"any_plain .* is not async; write async def find", lambda: DigestLookup(any_plain)),
    ("passwords", r"any_plain .* is not async", lambda: Basic(PlainStore(), realm="r")),
    ("passwords", r"any_plain .* is not async", lambda: Basic(PlainDirectory(), realm="r")),
    ("accounts", r"any_plain .* is not async", lambda: digest(PlainStore())),
    ("find_now", r"find_async .* must not be async: find is called", lambda: Basic(AsyncNowStore(), realm="r")),
    ("on_rehash", r"any_plain .* is not async; write async def on_rehash", lambda: with_rehash(any_plain)),
    ("on_rehash", r"5 is not an async function", lambda: with_rehash(5)),
    ("schemes", r"any_plain .* is not async; write async def authenticate", lambda: Guard(PlainBadge())),
    ("schemes", r"AsyncChallenges.challenges .* must not be async", lambda: Guard(AsyncChallenges())),
    ("schemes", r"find_async .* must not be async", lambda: Guard(CarriedBadge())),
    ("authenticate_now", r"find_async .* must not be async: authenticate is", lambda: Guard(AsyncNowBadge())),
    ("hooks", r"AsyncHook .* must not be async", lambda: Guard(Badge(), hooks=[AsyncHook()])),  # type: ignore[list-item]
    ("hooks", r"known_alone .* must not be async", lambda: Guard(Badge(), hooks=[known_alone])),  # type: ignore[list-item]
    ("hooks", r"find_plain .*|.* is called as hook\(record\)", lambda: Guard(Badge(), hooks=[lambda: None])),  # type: ignore[list-item,misc]
    ("fetch", r"find_plain .* is not async; write async def fetch\(url\)", lambda: fetch_options(fetch=find_plain)),  # type: ignore[arg-type]
    ("clock", r"find_async .* must not be async", lambda: Guard(Badge(), clock=find_async)),  # type: ignore[arg-type]
    ("client", r"give functions", lambda: fetch_options(client=5)),  # type: ignore[arg-type]
    ("render", r"5 is not a function; give render\(\)", lambda: plain_function("render", 5, "render()")),  # type: ignore[type-var]
]


@pytest.mark.parametrize(("argument", "problem", "build"), OTHERS)
def test_a_function_that_cannot_answer_raises(argument: str, problem: str, build: Callable[[], object]) -> None:
    """N03: a store, a directory, a scheme, a hook or a fetch that is async, or is not, raises at build."""
    with pytest.raises(ConfigurationError, match=problem) as caught:
        build()

    assert caught.value.argument == argument


# --- what only a request shows --------------------------------------------------------------------------------------


async def returns_dict(*args: Any, **kwargs: Any) -> Any:
    """The wrong thing, with something secret in it."""
    return {"hash": "s3cr3t"}


async def raises_http(*args: Any, **kwargs: Any) -> Any:
    """What only an endpoint may raise."""
    raise HTTPException(403, "s3cr3t")


async def raises_denied(*args: Any, **kwargs: Any) -> Any:
    """The same, of authguard itself."""
    raise AccessDenied(Reason("s3cr3t.reason", 403))


returns_at_once = lambda *args, **kwargs: None  # noqa: E731 - a lambda cannot be seen to be async


class Directory:
    """A directory by a function."""

    def __init__(self, function: Any) -> None:
        self.check = function


class Store:
    """A store by a function."""

    hasher = LibpassHasher()

    def __init__(self, function: Any) -> None:
        self.find = function


class FunctionBadge(Badge):
    """A scheme by a function."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.authenticate = function  # type: ignore[method-assign]


class NowBadge(Badge):
    """A scheme whose fast method returns nonsense."""

    async def authenticate(self, request: AuthRequest, credentials: wire.Credentials) -> Accepted:
        raise NotImplementedError

    def authenticate_now(self, request: AuthRequest, credentials: wire.Credentials) -> Any:
        return "alice"


def with_check(function: Any) -> Guard:
    """A guard with a check."""
    return Guard(Badge(), checks=[function])


def with_lookup(function: Any) -> Guard:
    """A guard with a look-up."""
    return Guard(Basic(UserLookup(function), realm="r"))


def with_store(function: Any) -> Guard:
    """A guard with a store of its own."""
    return Guard(Basic(Store(function), realm="r"))


def with_directory(function: Any) -> Guard:
    """A guard with a directory."""
    return Guard(Basic(Directory(function), realm="r"))


class DigestFunction:
    """A store of Digest by a function."""

    finds_hashed = False

    def __init__(self, function: Any) -> None:
        self.find = function


def with_digests(function: Any) -> Guard:
    """A guard with Digest over a store of its own."""
    return Guard(digest(DigestFunction(function)))


def with_digest_lookup(function: Any) -> Guard:
    """A guard with Digest over a look-up."""
    return Guard(digest(DigestLookup(function)))


def with_scheme(function: Any) -> Guard:
    """A guard with a scheme of its own."""
    return Guard(FunctionBadge(function))


PLACE = r"\(tests/test_app_code.py:\d+\)"
ACCOUNT = "return an Account, or None if there is none"
FAILING: list[tuple[Any, Any, str]] = [
    (with_check, returns_dict, f"returns_dict {PLACE} returned a dict; return the principal, or Rejected\\(reason\\)"),
    (with_check, find_async, f"find_async {PLACE} returned None; return the principal, or Rejected\\(reason\\)"),
    (with_check, returns_at_once, f"<lambda> {PLACE} is not async; write async def"),
    (with_check, raises_http, f"raises_http {PLACE} raised HTTPException; return Rejected\\(reason\\), or None for no"),
    (with_check, raises_denied, f"raises_denied {PLACE} raised AccessDenied; return Rejected"),
    (with_lookup, returns_dict, f"returns_dict {PLACE} returned a dict; {ACCOUNT}"),
    (with_lookup, returns_at_once, f"<lambda> {PLACE} is not async; write async def"),
    (with_lookup, raises_http, f"raises_http {PLACE} raised HTTPException"),
    (with_store, returns_dict, f"returns_dict {PLACE} returned a dict; {ACCOUNT}"),
    (with_store, returns_at_once, f"<lambda> {PLACE} is not async; write async def"),
    (with_directory, returns_dict, f"returns_dict {PLACE} returned a dict; return an Account, or the reason to deny"),
    (with_directory, returns_at_once, f"<lambda> {PLACE} is not async; write async def"),
    (with_digests, returns_dict, f"returns_dict {PLACE} returned a dict; return a DigestAccount, or None if there is"),
    (with_digests, returns_at_once, f"<lambda> {PLACE} is not async; write async def"),
    (with_digests, raises_http, f"raises_http {PLACE} raised HTTPException"),
    (with_digest_lookup, returns_dict, f"returns_dict {PLACE} returned a dict; return a DigestAccount, or None"),
    (with_digest_lookup, returns_at_once, f"<lambda> {PLACE} is not async; write async def"),
    (with_scheme, returns_dict, f"returns_dict {PLACE} returned a dict; return Accepted"),
    (with_scheme, returns_at_once, f"<lambda> {PLACE} is not async; write async def"),
    (with_scheme, raises_http, f"raises_http {PLACE} raised HTTPException"),
    (lambda _: Guard(NowBadge()), None, f"NowBadge.authenticate_now {PLACE} returned a str; return Accepted, Rejected"),
]


async def credentials_for(guard: Guard) -> str:
    """What a client sends."""
    scheme = guard.schemes[0].name
    if scheme != "digest":
        return "Badge alice" if scheme == "badge" else basic_auth("alice", "pw")["Authorization"]
    app = AuthGuardMiddleware(RecordingApp(), guard=guard)
    (challenge,) = (await run_app(app, http_scope())).lines(b"www-authenticate")
    return digest_auth(challenge, "alice", "pw", uri="/")["Authorization"]


@pytest.mark.parametrize(("build", "function", "problem"), FAILING)
async def test_the_record_names_the_function_that_failed(
    build: Callable[[Any], Guard], function: Any, problem: str, caplog: pytest.LogCaptureFixture
) -> None:
    """N03: the response is a 503, and ``problem=`` says which function did what, and what it must return instead."""
    guard = build(function)
    caplog.clear()
    status = await ask(guard, await credentials_for(guard))

    record = caplog.records[-1]
    assert (status, record.levelno) == (503, logging.ERROR)
    found = str(vars(record)["authguard.problem"])
    assert re.match(problem, found)
    assert "..." not in found.replace("(...)", "")
    assert "s3cr3t" not in caplog.text
