"""Responses that are made once: which denials share one, and which must not."""

from __future__ import annotations

import gc
import random
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from authguard import (
    AUTHENTICATED,
    OPTIONAL,
    AuthGuardMiddleware,
    AuthRequest,
    Bearer,
    Challenge,
    Guard,
    Requirement,
    Rule,
    any_of,
    role,
    scopes,
    step_up,
    via,
)
from authguard.core.responses import MAX_CONSTANT_REPLIES, ConstantReplies, Reply, reply_to
from authguard.model import Denied
from authguard.reasons import (
    BACKEND_FAILED,
    CREDENTIALS_AMBIGUOUS,
    CREDENTIALS_MISSING,
    ORIGIN_FOREIGN,
    PASSWORD_WRONG,
    PATH_AMBIGUOUS,
    ROLE_MISSING,
    SCOPE_MISSING,
    STEP_UP_REQUIRED,
    TOKEN_EXPIRED,
    Reason,
)
from authguard.starlette import requires
from tests.support.asgi import Exchange, RecordingApp, auth_request, header_list, http_scope, run_app, websocket_scope
from tests.support.guards import RecordingGuard
from tests.support.schemes.badge import Badge
from tests.support.schemes.basic import basic_scheme
from tests.support.schemes.bearer import bearer, issuer
from tests.support.schemes.digest import digest_scheme

BY_TOKEN = frozenset({"bearer"})
BY_BOTH = frozenset({"bearer", "basic"})
BY_ALL = frozenset({"bearer", "basic", "digest"})

REQUIREMENTS: list[Requirement | None] = [
    AUTHENTICATED,
    role("admin"),
    scopes("read"),
    scopes("read", "write"),
    any_of(role("admin"), scopes("write")),
    step_up(acr=["gold"], max_age=60),
    None,
]
REASONS = [
    CREDENTIALS_MISSING,
    TOKEN_EXPIRED,
    PASSWORD_WRONG,
    CREDENTIALS_AMBIGUOUS,
    PATH_AMBIGUOUS,
    ROLE_MISSING,
    SCOPE_MISSING,
    ORIGIN_FOREIGN,
    STEP_UP_REQUIRED,
    BACKEND_FAILED,
    Reason("attempts.many", 429),
    Reason("order.secret", 403, public="Not yours"),
]
TRIED = [None, "bearer", "basic", "digest", "of an outer guard"]
ACCEPTED = [BY_TOKEN, BY_BOTH, BY_ALL]
#: What a denial has beside these four, and what may change its response.
MORE: list[dict[str, Any]] = [
    {},
    {"facts": {"acr_values": "gold", "max_age": 60}},
    {"facts": {"acr_values": "silver"}},
    {"facts": {"retry_after": 7}},
    {"response_headers": ((b"x-info", b"1"),)},
    {"subject": "alice", "facts": {"token": "01234567"}, "missing": ("admin",), "offered": ("reader",)},
]


def guard_of_three() -> Guard:
    """A guard of two schemes with constant challenges, and of Digest, whose challenges have a nonce."""
    return Guard(digest_scheme(), bearer(), basic_scheme(), log=False)


def without_nonces(reply: Reply) -> object:
    """The response, with the nonces of Digest left out."""
    headers = [
        (name, value.partition(b", nonce=")[0] if value.startswith(b"Digest") else value)
        for name, value in reply.headers
    ]
    return reply.status, headers, reply.body


def test_each_denial_gets_the_response_that_is_made_for_it() -> None:
    """Whatever was denied before, the response is the one that is made anew for this requirement, reason, scheme, set
    of accepted schemes and method, with the login, the waiting time and the headers of this denial."""
    guard = guard_of_three()
    cases = list(product(REQUIREMENTS, REASONS, TRIED, ACCEPTED, MORE))
    random.Random(1).shuffle(cases)

    for number, (requirement, reason, tried, accepted, more) in enumerate(cases):
        method = "GET" if number % 5 else "HEAD"
        denied = Denied(reason, tried, requirement=requirement, accepted=accepted, **more)
        reply, reported = guard.reply(auth_request(http_scope(method=method)), denied)

        assert reported is denied
        assert without_nonces(reply) == without_nonces(
            reply_to(auth_request(http_scope(method=method)), denied, guard.schemes)
        )


def test_equal_denials_of_one_route_share_a_response() -> None:
    """The second denial for the same requirement, reason and scheme gets the very response of the first one."""
    guard = guard_of_three()
    first = Denied(TOKEN_EXPIRED, "bearer", "alice", True, REQUIREMENTS[1], BY_BOTH, facts={"expired_by": 64.0})
    second = Denied(TOKEN_EXPIRED, "bearer", "bob", True, REQUIREMENTS[1], BY_BOTH, facts={"expired_by": 99.0})

    assert guard.reply(auth_request(), first)[0] is guard.reply(auth_request(), second)[0]


@pytest.mark.parametrize(
    ("reason", "tried", "accepted", "more"),
    [
        (CREDENTIALS_MISSING, None, BY_ALL, {}),
        (ROLE_MISSING, "digest", BY_TOKEN, {}),
        (BACKEND_FAILED, "bearer", BY_TOKEN, {}),
        (STEP_UP_REQUIRED, "bearer", BY_TOKEN, {"facts": {"max_age": 60}}),
        (TOKEN_EXPIRED, "bearer", BY_TOKEN, {"response_headers": ((b"x-info", b"1"),)}),
    ],
    ids=["a nonce", "a scheme that is not accepted", "Retry-After", "a login", "a header"],
)
def test_a_response_that_is_of_one_request_is_not_kept(
    reason: Reason, tried: str | None, accepted: frozenset[str], more: Any
) -> None:
    """What is new in each response is not kept: a nonce, a waiting time, a login that is asked for, a header."""
    guard = guard_of_three()

    guard.reply(auth_request(), Denied(reason, tried, requirement=AUTHENTICATED, accepted=accepted, **more))

    assert guard._constant_replies._replies == {}


def test_a_response_to_head_and_one_with_a_custom_body_are_not_kept() -> None:
    """``render`` may make another body each time, and the response to HEAD has none."""
    guard, denied = guard_of_three(), Denied(CREDENTIALS_MISSING, requirement=AUTHENTICATED, accepted=BY_TOKEN)

    guard.reply(auth_request(http_scope(method="HEAD")), denied)
    texts = iter([b"1", b"2", b"3"])

    def render(request: AuthRequest, denied: Denied) -> tuple[str, bytes]:
        return "text/plain", next(texts)

    bodies = [guard.reply(auth_request(), denied, render)[0].body for _ in range(2)]

    assert guard._constant_replies._replies == {}
    assert bodies == [b"1", b"2"]
    assert guard.reply(auth_request(), denied)[0].body.startswith(b'{"type"')
    assert guard.reply(auth_request(), denied, render)[0].body == b"3"


def test_a_response_that_could_not_be_made_is_not_kept() -> None:
    """If a scheme fails to make its challenge, the response is a 503, and the next one is made again."""

    class Failing(Badge):
        constant_challenges = True
        fails = True

        def challenges(self, request: AuthRequest, why: Denied | None) -> Sequence[Challenge]:
            if self.fails:
                raise OSError
            return (Challenge("Badge", {"realm": "tests"}),)

    scheme = Failing()
    guard = Guard(scheme, log=False)
    denied = Denied(CREDENTIALS_MISSING, requirement=AUTHENTICATED, accepted=frozenset({"badge"}))

    failed, reported = guard.reply(auth_request(), denied)
    scheme.fails = False

    assert (failed.status, reported.reason) == (503, BACKEND_FAILED)
    assert guard.reply(auth_request(), denied)[0].status == 401


def test_a_requirement_that_is_gone_leaves_no_response_to_another_one() -> None:
    """A new requirement may get the address of one that was freed. Each response names the scopes of its own."""
    guard = Guard(bearer(), log=False)

    for number in range(2 * MAX_CONSTANT_REPLIES):
        denied = Denied(SCOPE_MISSING, "bearer", requirement=scopes(f"s{number}"), accepted=BY_TOKEN)
        (challenge,) = [
            value for name, value in guard.reply(auth_request(), denied)[0].headers if name.startswith(b"www")
        ]
        assert f'scope="s{number}"'.encode() in challenge
        del denied
        if number % 256 == 0:
            gc.collect()


def test_a_reason_that_is_gone_leaves_no_response_to_another_one() -> None:
    """An app may make a reason for each request. Each response has the sentence of its own."""
    guard = Guard(bearer(), log=False)

    for number in range(2 * MAX_CONSTANT_REPLIES):
        reason = Reason("order.closed", 403, public=f"Order {number} is closed")
        reply, _ = guard.reply(auth_request(), Denied(reason, "bearer", requirement=AUTHENTICATED, accepted=BY_TOKEN))
        assert f"Order {number} is closed".encode() in reply.body


def test_the_responses_that_are_kept_are_bounded() -> None:
    """However many requirements an app makes, so many responses are kept, and the first ones stay."""
    guard, first = Guard(bearer(), log=False), scopes("first")

    def deny(requirement: Requirement) -> Reply:
        return guard.reply(auth_request(), Denied(SCOPE_MISSING, "bearer", requirement=requirement, accepted=BY_TOKEN))[
            0
        ]

    kept = deny(first)
    for number in range(MAX_CONSTANT_REPLIES + 100):
        deny(scopes(f"s{number}"))

    assert len(guard._constant_replies._replies) == MAX_CONSTANT_REPLIES
    assert deny(first) is kept


def test_what_is_kept_of_a_denial_names_nobody() -> None:
    """The subject and the facts of the denial for which a response was made are not kept with it."""
    replies = ConstantReplies([bearer()])
    denied = Denied(TOKEN_EXPIRED, "bearer", "alice", True, AUTHENTICATED, BY_TOKEN, facts={"token": "01234567"})

    replies.keep(denied, Reply(401, (), b""))

    ((kept, _),) = replies._replies.values()
    assert kept == Denied(TOKEN_EXPIRED, "bearer", requirement=AUTHENTICATED, accepted=BY_TOKEN)


# --- Schemes with challenges of their own -----------------------------------------------------------------------------


class NumberedBearer(Bearer):
    """A ``Bearer`` whose challenge has a number, and which inherits the promise that its challenges are constant."""

    count = 0

    def challenges(self, request: AuthRequest, why: Denied | None) -> Sequence[Challenge]:
        self.count += 1
        return [Challenge("Bearer", {"realm": "orders", "number": str(self.count)})]


class NumberedBadge(Badge):
    """A ``Badge`` whose challenge has a number."""

    count = 0

    def challenges(self, request: AuthRequest, why: Denied | None) -> Sequence[Challenge]:
        self.count += 1
        return [Challenge("Badge", {"realm": "tests", "number": str(self.count)})]


class NumberedWrapper:
    """A wrapper of a scheme with challenges of its own."""

    count = 0

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def challenges(self, request: AuthRequest, why: Denied | None) -> Sequence[Challenge]:
        self.count += 1
        return [Challenge("Bearer", {"realm": "orders", "number": str(self.count)})]


def numbers(answers: Sequence[Exchange]) -> list[str]:
    """The parameter ``number`` of the only challenge of each response."""
    return [
        dict(Challenge.from_header(line.encode()).params)["number"]
        for a in answers
        for line in a.lines(b"www-authenticate")
    ]


NUMBERED: Mapping[str, Callable[[], Any]] = {
    "subclass": lambda: NumberedBearer(issuer(), realm="orders"),
    "scheme": NumberedBadge,
    "wrapper": lambda: NumberedWrapper(bearer()),
}


@pytest.mark.parametrize("make", NUMBERED.values(), ids=NUMBERED)
async def test_challenges_of_an_apps_own_are_asked_for_each_time(make: Callable[[], Any]) -> None:
    """A subclass or a wrapper with its own ``challenges`` does not inherit the promise that they are constant."""
    guard = RecordingGuard(make())

    answers = [await guard.request(RecordingApp(), field=None) for _ in range(3)]

    assert numbers(answers) == ["1", "2", "3"]


async def test_a_scheme_that_was_tried_and_is_not_accepted_is_asked_for_each_time() -> None:
    """A lock may accept another scheme than the one that was tried, whose challenge is sent with the 403 all the
    same."""

    @requires(via("bearer"))
    async def endpoint(request: Any) -> PlainTextResponse:
        raise AssertionError

    guard, app = RecordingGuard(bearer(), NumberedBadge()), Starlette(routes=[Route("/", endpoint)])

    answers = [await guard.request(app) for _ in range(3)]

    assert numbers(answers) == ["1", "2", "3"]
    assert guard.denial_reasons == ["scheme.insufficient"] * 3


# --- What becomes of a response ---------------------------------------------------------------------------------------


class AddingMiddleware:
    """An outer middleware that writes into the header list of each message, as some do."""

    def __init__(self, app: Any) -> None:
        self.app, self.count = app, 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_more(message: Message) -> None:
            if "headers" in message:
                self.count += 1
                message["headers"].append((b"set-cookie", b"session=%d" % self.count))
                del message["headers"][0]
            await send(message)

        await self.app(scope, receive, send_more)


@pytest.mark.parametrize("field", [None, "Bearer nonsense"])
async def test_what_a_middleware_adds_to_one_response_is_not_in_the_next(field: str | None) -> None:
    """A middleware may change the list of headers. The response that is kept does not change with it."""
    guard = RecordingGuard(bearer())
    app = AddingMiddleware(guard.wrap(RecordingApp()))

    answers = [await run_app(app, http_scope(headers=header_list(field))) for _ in range(3)]

    assert [answer.lines(b"set-cookie") for answer in answers] == [["session=1"], ["session=2"], ["session=3"]]
    assert len({len(answer.headers) for answer in answers}) == 1


async def test_http_and_websockets_share_a_response() -> None:
    """The response to a refused handshake has the status, the headers and the body of the one over HTTP."""
    guard = RecordingGuard(bearer())
    app = AuthGuardMiddleware(RecordingApp(), guard=guard.guard)
    scope = websocket_scope(headers=header_list(), extensions={"websocket.http.response": {}})

    first, refused, second = [
        await run_app(app, scope)
        for scope in (http_scope(headers=header_list()), scope, http_scope(headers=header_list()))
    ]

    assert (refused.status, refused.headers, refused.body) == (first.status, first.headers, first.body)
    assert (second.status, second.headers, second.body) == (first.status, first.headers, first.body)
    assert [message["type"] for message in refused.sent] == [
        "websocket.http.response.start",
        "websocket.http.response.body",
    ]


async def test_two_guards_share_no_response() -> None:
    """Two guards may have one requirement and one reason in common. Each answers with the challenges of its own."""
    first, second = RecordingGuard(bearer(realm="first")), RecordingGuard(bearer(realm="second"))

    answers = [await guard.request(RecordingApp(), field=None) for guard in (first, second, first)]

    realms = [line for answer in answers for line in answer.lines(b"www-authenticate")]
    assert realms == ['Bearer realm="first"', 'Bearer realm="second"', 'Bearer realm="first"']


async def test_one_route_for_everybody_does_not_answer_for_another() -> None:
    """A request without credentials to an OPTIONAL route passes, whatever was answered on another route before."""
    guard = RecordingGuard(bearer(), rules=[Rule("/open", OPTIONAL), Rule("/closed", AUTHENTICATED)])

    answers = [await guard.request(RecordingApp(), path, field=None) for path in ("/closed", "/open", "/closed")]

    assert [answer.status for answer in answers] == [401, 200, 401]
