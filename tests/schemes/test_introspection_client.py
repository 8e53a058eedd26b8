"""The client of an introspection server: how each failure is reported, and when the server is not asked."""

from __future__ import annotations

from base64 import b64decode
from functools import partial
from typing import Any
from urllib.parse import unquote_plus

import anyio
import pytest

from authguard import Accepted, BackendUnavailable, Introspection, Moment, Reason, Rejected
from authguard.concurrency.circuit_breaker import FAILURE_THRESHOLD, FIRST_PAUSE
from authguard.concurrency.limiter import Admission
from authguard.http_client import MAX_RESPONSE
from authguard.reasons import INTROSPECTION_BUSY, INTROSPECTION_TIMEOUT, INTROSPECTION_UNAVAILABLE
from authguard.schemes.bearer.introspection_client import AT_ONCE, WAITING
from authguard.testing import ManualClock
from tests.support.clock import NOW
from tests.support.coroutines import run_together, wait_until
from tests.support.guards import GuardedApp
from tests.support.schemes.bearer import bearer
from tests.support.schemes.introspection import (
    INTROSPECTION_URL,
    OPAQUE_TOKEN,
    IntrospectionServer,
    active_response,
    introspection,
)

MOMENT = Moment(NOW, 60)


async def failure(of: Introspection, token: bytes = OPAQUE_TOKEN.encode()) -> BackendUnavailable:
    """The outage that a token causes."""
    with pytest.raises(BackendUnavailable) as caught:
        await of.authenticate(token, MOMENT)
    return caught.value


async def accepted(of: Introspection, token: bytes = OPAQUE_TOKEN.encode()) -> bool:
    """Whether a token is accepted."""
    return isinstance(await of.authenticate(token, MOMENT), Accepted)


REFUSED = "it does not take our client_id and client_secret"


@pytest.mark.parametrize(
    ("answer", "detail"),
    [
        (OSError("the token is CANARY"), ": OSError"),
        (BackendUnavailable("an answer of over 65536 octets"), ": an answer of over 65536 octets"),
        ((401, b'{"error":"invalid_client"}'), f" answers with status 401: {REFUSED}"),
        ((407, b""), " answers with status 407: a proxy wants to know who asks"),
        ((408, b""), " answers with status 408"),
        ((429, b""), " answers with status 429: it is asked too often"),
        ((500, b""), " answers with status 500"),
        ((503, b""), " answers with status 503"),
    ],
    ids=str,
)
@pytest.mark.rfc("7662-4")
async def test_a_failure_of_the_server_is_an_outage(answer: Any, detail: str) -> None:
    """7662-4: a failure of the server is a 503 and not a 401. The detail is a fixed phrase and the URL without its
    query."""
    of = introspection(IntrospectionServer(answer), url=f"{INTROSPECTION_URL}?key=CANARY")

    error = await failure(of)

    assert (error.reason, error.detail) == (INTROSPECTION_UNAVAILABLE, INTROSPECTION_URL + detail)
    assert of.health() == {**of.health(), "asked": 1, "failures": 1, "last_error": INTROSPECTION_URL + detail}


@pytest.mark.parametrize(
    ("answer", "detail"),
    [
        ((400, b""), " answers with status 400"),
        (
            (403, b"blocked: CANARY"),
            " answers with status 403: this client may not ask, or something before it objects",
        ),
        ((404, b""), " answers with status 404: is the URL right?"),
        ((405, b""), " answers with status 405: is the URL right?"),
        ((413, b""), " answers with status 413"),
        ((204, b""), " answers with status 204"),
        ((302, b""), " answers with status 302: a redirect, which is not followed"),
        ((200, b""), ": its answer cannot be read: not a JSON object in UTF-8"),
        ((200, b"<html>"), ": its answer cannot be read: not a JSON object in UTF-8"),
        ((200, b'{"active":true'), ": its answer cannot be read: not a JSON object in UTF-8"),
        ((200, b"[true]"), ": its answer cannot be read: not a JSON object in UTF-8"),
        ((200, b'{"active":true,"active":false}'), ": its answer cannot be read: duplicate member"),
        ((200, b'{"active":' + b"[" * 100 + b"]" * 100 + b"}"), ": its answer cannot be read: nested too deeply"),
        ((200, b'{"active":true,"x":"' + b"x" * MAX_RESPONSE + b'"}'), f": an answer of over {MAX_RESPONSE} octets"),
        ({"active": "true"}, ": its answer does not say whether the token is active"),
        ({"active": 1}, ": its answer does not say whether the token is active"),
        ({"active": None}, ": its answer does not say whether the token is active"),
        ({}, ": its answer does not say whether the token is active"),
    ],
    ids=str,
)
async def test_a_failure_that_a_client_can_cause_does_not_open_the_circuit(answer: Any, detail: str) -> None:
    """A token that the server, or a firewall before it, objects to must not keep other clients out."""
    server = IntrospectionServer(answer)
    of = introspection(server)

    errors = [await failure(of) for _ in range(2 * FAILURE_THRESHOLD)]

    assert {(error.reason, error.detail) for error in errors} == {
        (INTROSPECTION_UNAVAILABLE, INTROSPECTION_URL + detail)
    }
    assert of.health() == {
        **of.health(),
        "asked": 2 * FAILURE_THRESHOLD,
        "failures": 0,
        "open": False,
        "last_error": INTROSPECTION_URL + detail,
    }
    server.answer = active_response()
    assert await accepted(of, b"another")


async def test_a_401_with_a_custom_auth_function_names_the_argument() -> None:
    """If ``auth=`` is a function, the detail of a 401 names that argument, because there is no client_secret."""
    of = introspection(
        IntrospectionServer((401, b"")), auth=lambda headers, form: None, client_id=None, client_secret=None
    )

    assert (
        await failure(of)
    ).detail == f"{INTROSPECTION_URL} answers with status 401: it does not take what auth= adds"


async def test_an_outage_of_a_custom_post_keeps_its_detail() -> None:
    """A ``BackendUnavailable`` of a custom ``post`` keeps its detail and its ``retry_after``."""
    own = Reason("idp.closed", 503)
    error = await failure(
        introspection(IntrospectionServer(BackendUnavailable("closed on Sundays", reason=own, retry_after=60)))
    )

    assert (error.reason, error.detail, error.retry_after) == (own, f"{INTROSPECTION_URL}: closed on Sundays", 60)


async def test_no_answer_in_time_is_an_outage() -> None:
    """A server that does not answer in time is an outage with a reason of its own."""
    server = IntrospectionServer()
    server.hold = anyio.Event()

    error = await failure(introspection(server, deadline=0.01))

    assert (error.reason, error.detail) == (INTROSPECTION_TIMEOUT, f"{INTROSPECTION_URL}: no answer within 0.01 s")


@pytest.mark.rfc("7662-4")
async def test_the_circuit_opens_after_five_failures() -> None:
    """After five failures nobody asks. After a pause one request asks, and if it succeeds, all do again."""
    server, ticks = IntrospectionServer((500, b"")), ManualClock(1000)
    of = introspection(server, clock=ticks)
    for _ in range(FAILURE_THRESHOLD):
        await failure(of)

    error = await failure(of)
    assert (len(server.requests), error.retry_after) == (FAILURE_THRESHOLD, FIRST_PAUSE)
    assert error.detail == f"not asked, after 5 failures: {INTROSPECTION_URL} answers with status 500"
    assert of.health()["open"] is True
    ticks.move(FIRST_PAUSE)
    server.answer = active_response()

    assert [await accepted(of), of.health()["open"]] == [True, False]


async def test_during_a_probe_the_other_tokens_fail() -> None:
    """While one request probes the server, requests with other tokens fail, and those with the same token wait."""
    server, ticks = IntrospectionServer((500, b"")), ManualClock(1000)
    of = introspection(server, clock=ticks)
    for _ in range(FAILURE_THRESHOLD):
        await failure(of)
    ticks.move(FIRST_PAUSE)
    server.answer, server.hold = active_response(), anyio.Event()

    async def release_all() -> None:
        error = await failure(of, b"other")
        assert error.retry_after == 1
        assert server.hold is not None
        server.hold.set()

    assert await run_together([partial(accepted, of)] * 2, release_all) == [True, True]
    assert len(server.requests) == FAILURE_THRESHOLD + 1


async def test_a_cancelled_probe_is_left_to_the_next_request() -> None:
    """If the probing request is cancelled, the next request probes. Otherwise nobody would ever ask again."""
    server, ticks = IntrospectionServer((500, b"")), ManualClock(1000)
    of = introspection(server, clock=ticks)
    for _ in range(FAILURE_THRESHOLD):
        await failure(of)
    ticks.move(FIRST_PAUSE)
    server.answer, server.hold = active_response(), anyio.Event()

    with anyio.move_on_after(0.01):
        await accepted(of)
    server.hold = None

    assert await accepted(of)


async def test_kept_answers_outlive_the_server() -> None:
    """A cached answer is used while the server is down."""
    server = IntrospectionServer()
    of = introspection(server, clock=ManualClock(1000))
    await accepted(of)
    server.answer = (500, b"")
    for number in range(FAILURE_THRESHOLD + 1):
        await failure(of, b"token-%d" % number)

    assert await accepted(of)


# --- how many ask -----------------------------------------------------------------------------------------------------


def ask_many(of: Introspection, number: int, ask: Any = accepted) -> list[Any]:
    """Ask about so many different tokens at the same time."""
    return [partial(ask, of, b"token-%d" % each) for each in range(number)]


async def test_parallel_calls_are_limited() -> None:
    """Only a few calls go to the server at the same time. The others wait for a free slot, and are accepted then."""
    server = IntrospectionServer()
    held = server.hold = anyio.Event()
    of = introspection(server)

    async def release_all() -> None:
        assert len(server.requests) == AT_ONCE
        assert of.health() == {**of.health(), "asked": AT_ONCE, "waiting": 136}
        held.set()

    assert await run_together(ask_many(of, 200), release_all) == [True] * 200
    assert of.health() == {**of.health(), "asked": 200, "waiting": 0}


async def test_no_more_wait_than_there_is_room_for() -> None:
    """The queue is bounded, because a client may invent any number of tokens."""
    server = IntrospectionServer()
    held = server.hold = anyio.Event()
    of = introspection(server, deadline=60)
    errors = []

    async def release_all() -> None:
        errors.append(await failure(of, b"one-more"))
        held.set()

    answers = await run_together(ask_many(of, AT_ONCE + WAITING), release_all)

    assert answers == [True] * (AT_ONCE + WAITING)
    assert [(error.reason, error.retry_after) for error in errors] == [(INTROSPECTION_BUSY, 1)]
    assert errors[0].detail == "1000 tokens wait to be asked about already"
    assert await accepted(of, b"one-more")


async def test_waiting_in_the_queue_beyond_the_deadline_is_reported_as_that() -> None:
    """A request whose deadline passes in the queue fails with a detail that does not blame the server."""
    server = IntrospectionServer()
    held = server.hold = anyio.Event()
    of = introspection(server, deadline=60)

    async def late() -> None:
        of._client._deadline = 0.01
        error = await failure(of, b"late")
        told = (INTROSPECTION_TIMEOUT, "no turn to ask within 0.01 s", 1)
        assert (error.reason, error.detail, error.retry_after) == told
        held.set()

    assert await run_together(ask_many(of, AT_ONCE), late) == [True] * AT_ONCE
    assert of.health() == {**of.health(), "asked": AT_ONCE, "waiting": 0, "failures": 0, "last_error": None}


async def test_a_request_has_the_whole_deadline_after_the_queue() -> None:
    """The time in the queue is not taken from the time for the answer, so a burst does not look like a slow server."""
    server, deadlines = IntrospectionServer(), []
    held = server.hold = anyio.Event()

    async def post(url: str, headers: Any, body: bytes) -> tuple[int, bytes]:
        deadlines.append(anyio.current_effective_deadline())
        return await server(url, headers, body)

    of = introspection(post=post, deadline=60)
    let_go_at = 0.0

    async def release_all() -> None:
        nonlocal let_go_at
        let_go_at = anyio.current_time()
        held.set()

    answers = await run_together([*ask_many(of, AT_ONCE), partial(accepted, of, b"waits")], release_all)

    assert answers == [True] * (AT_ONCE + 1)
    *before, after_the_queue = deadlines
    assert max(before) < let_go_at + 60 <= after_the_queue


async def test_an_open_circuit_ends_the_waiting() -> None:
    """The fifth failure ends the waiting of all requests in the queue."""
    bad, good = IntrospectionServer((500, b"")), IntrospectionServer()
    failing = bad.hold = anyio.Event()
    answering = good.hold = anyio.Event()

    async def post(url: str, headers: Any, body: bytes) -> tuple[int, bytes]:
        return await (bad if len(bad.requests) < FAILURE_THRESHOLD else good)(url, headers, body)

    of = introspection(post=post, clock=ManualClock(1000), deadline=60)
    lines: list[BackendUnavailable] = []

    async def ask(number: int) -> None:
        try:
            await accepted(of, b"token-%d" % number)
        except BackendUnavailable as error:
            lines.append(error)

    async with anyio.create_task_group() as tasks:
        for number in range(AT_ONCE + 100):
            tasks.start_soon(ask, number)
        await wait_until(lambda: of.health()["waiting"] == 100)
        failing.set()
        await wait_until(lambda: len(lines) == FAILURE_THRESHOLD + 100)
        assert of.health() == {**of.health(), "asked": AT_ONCE, "waiting": 0, "open": True}
        answering.set()

    assert len(lines) == FAILURE_THRESHOLD + 100
    assert {error.reason for error in lines} == {INTROSPECTION_UNAVAILABLE}
    unasked = [
        error
        for error in lines
        if error.detail == f"not asked, after 5 failures: {INTROSPECTION_URL} answers with status 500"
    ]
    assert [error.retry_after for error in unasked] == [FIRST_PAUSE] * 100


async def test_an_open_circuit_stops_a_request_that_just_got_its_slot() -> None:
    """A request that gets its slot as the circuit opens asks nothing and frees the slot, and so do all behind it."""
    server = IntrospectionServer()
    held = server.hold = anyio.Event()
    of = introspection(server, clock=ManualClock(1000), deadline=60)
    inquiry = of._client
    assert await inquiry._limiter.acquire(0) is Admission.ACQUIRED
    errors: list[BackendUnavailable] = []

    async def wait(number: int) -> None:
        errors.append(await failure(of, b"waits-%d" % number))

    async with anyio.create_task_group() as tasks:
        for ask in ask_many(of, AT_ONCE - 1):
            tasks.start_soon(ask)
        await wait_until(lambda: len(server.requests) == AT_ONCE - 1)
        for number in range(3):
            tasks.start_soon(wait, number)
        await wait_until(lambda: of.health()["waiting"] == 3)
        inquiry._limiter.release()
        for _ in range(FAILURE_THRESHOLD):
            with inquiry._breaker.call() as call:
                call.succeeded = False
        await wait_until(lambda: len(errors) == 3)
        held.set()

    assert [error.retry_after for error in errors] == [FIRST_PAUSE] * 3
    assert of.health() == {**of.health(), "waiting": 0, "asked": AT_ONCE - 1}


# --- who asks ---------------------------------------------------------------------------------------------------------


@pytest.mark.rfc("7662-1")
async def test_client_credentials_are_form_encoded_before_base64() -> None:
    """RFC 6749 section 2.3.1: form encoding keeps a colon in the client id, and characters outside ASCII,
    unambiguous."""
    server = IntrospectionServer()
    await accepted(introspection(server, client_id="a:b c", client_secret="p%ss wörd+~"))

    written = b64decode(server.requests[0][1]["Authorization"].removeprefix("Basic ")).decode("ascii")

    assert [unquote_plus(part) for part in written.split(":")] == ["a:b c", "p%ss wörd+~"]
    assert written.startswith("a%3Ab+c:")


async def test_a_function_may_authenticate_the_client() -> None:
    """``auth=`` may add a field or members of the form, may be async, and runs for each call."""
    server, number = IntrospectionServer(), iter(range(10))

    def by_field(headers: dict[str, str], form: dict[str, str]) -> None:
        headers["Authorization"] = f"Bearer {next(number)}"

    async def by_form(headers: dict[str, str], form: dict[str, str]) -> None:
        await anyio.lowlevel.checkpoint()
        form["client_assertion"] = f"signed {next(number)}"

    for auth in (by_field, by_field, by_form):
        of = introspection(server, auth=auth, client_id=None, client_secret=None)
        await accepted(of)

    asked = [(headers.get("Authorization"), form.get("client_assertion")) for _, headers, form in server.requests]
    assert asked == [("Bearer 0", None), ("Bearer 1", None), (None, ["signed 2"])]


async def test_a_failing_auth_function_is_an_outage() -> None:
    """An error of ``auth=`` is an outage, and the health reports its type."""
    server = IntrospectionServer()

    def fails(headers: dict[str, str], form: dict[str, str]) -> None:
        raise LookupError("no CANARY at hand")

    of = introspection(server, auth=fails, client_id=None, client_secret=None)
    answer = await GuardedApp(bearer_with(of)).get_with_token(OPAQUE_TOKEN)

    assert (answer.status, answer.reason) == (503, "introspection.unavailable")
    assert "CANARY" not in repr(answer.record)
    assert of.health() == {
        **of.health(),
        "asked": 0,
        "failures": 1,
        "last_error": f"{INTROSPECTION_URL}: auth= failed: LookupError",
    }


async def test_parallel_requests_share_a_failing_auth_function() -> None:
    """Parallel requests run a failing ``auth=`` once. After five failures the circuit opens."""
    attempts, held = [], anyio.Event()

    async def fails(headers: dict[str, str], form: dict[str, str]) -> None:
        attempts.append(1)
        await held.wait()
        raise BackendUnavailable("no assertion", retry_after=7)

    of = introspection(auth=fails, client_id=None, client_secret=None)

    async def release_all() -> None:
        held.set()

    errors = await run_together([partial(failure, of)] * 20, release_all)
    assert {(error.detail, error.retry_after) for error in errors} == {
        (f"{INTROSPECTION_URL}: auth= failed: no assertion", 7)
    }
    assert len(attempts) == 1
    for _ in range(FAILURE_THRESHOLD):
        await failure(of)

    assert (len(attempts), of.health()["open"]) == (FAILURE_THRESHOLD, True)


async def test_a_hanging_auth_function_has_a_deadline() -> None:
    """An ``auth=`` that hangs fails at the deadline for all requests with the same token."""
    server, attempts = IntrospectionServer(), []

    async def hangs(headers: dict[str, str], form: dict[str, str]) -> None:
        attempts.append(1)
        await anyio.sleep_forever()

    of = introspection(server, auth=hangs, client_id=None, client_secret=None, deadline=0.05)

    async def nothing() -> None:
        """Release nothing: all callers time out by themselves."""

    errors = await run_together([partial(failure, of)] * 5, nothing)

    told = f"{INTROSPECTION_URL}: auth= failed: no answer within 0.05 s"
    assert {(error.reason, error.detail) for error in errors} == {(INTROSPECTION_TIMEOUT, told)}
    assert of.health() == {**of.health(), "asked": 0, "failures": 1, "last_error": told}
    assert len(attempts) == 1


async def test_authenticating_and_asking_share_one_deadline() -> None:
    """``auth=`` and the call to the server have one deadline together."""
    server, deadlines = IntrospectionServer(), []

    async def slow(headers: dict[str, str], form: dict[str, str]) -> None:
        deadlines.append(anyio.current_effective_deadline())
        await anyio.sleep(0.01)

    async def post(url: str, headers: Any, body: bytes) -> tuple[int, bytes]:
        deadlines.append(anyio.current_effective_deadline())
        return await server(url, headers, body)

    of = introspection(post=post, auth=slow, client_id=None, client_secret=None, deadline=60)

    assert await accepted(of)
    authenticating, asking = deadlines
    assert authenticating == asking < anyio.current_time() + 60


# --- what goes out ----------------------------------------------------------------------------------------------------


def bearer_with(of: Introspection) -> Any:
    """A Bearer scheme with this introspection."""
    return bearer(of)  # type: ignore[arg-type]


@pytest.mark.rfc("7662-4")
async def test_an_outage_is_a_503() -> None:
    """An outage is a 503 with Retry-After and without a challenge. The token is neither in the response nor in the
    record."""
    answer = await GuardedApp(bearer_with(introspection(IntrospectionServer((500, b""))))).get_with_token(OPAQUE_TOKEN)

    fields = dict(answer.headers)
    assert (answer.status, answer.reason) == (503, "introspection.unavailable")
    assert (fields[b"retry-after"], b"www-authenticate" in fields) == (b"5", False)
    assert answer.record.facts["detail"] == f"{INTROSPECTION_URL} answers with status 500"
    assert OPAQUE_TOKEN not in repr(answer) + repr(answer.record)


async def test_an_inactive_token_is_invalid() -> None:
    """RFC 6750 section 3.1: the challenge for an inactive token has the error invalid_token."""
    answer = await GuardedApp(
        bearer_with(introspection(IntrospectionServer(active_response(active=False))))
    ).get_with_token(OPAQUE_TOKEN)

    assert (answer.status, answer.reason) == (401, "token.inactive")
    assert dict(answer.headers)[b"www-authenticate"] == b'Bearer realm="orders", error="invalid_token"'


async def test_an_expired_opaque_token_is_answered_like_a_jwt() -> None:
    """An expired opaque token has the reason and the description of an expired JWT."""
    outcome = await introspection(IntrospectionServer(active_response(exp=NOW - 90))).authenticate(
        OPAQUE_TOKEN.encode(), MOMENT
    )

    assert isinstance(outcome, Rejected)
    assert (outcome.reason.code, outcome.subject, outcome.authenticated) == ("token.expired", "alice", True)
