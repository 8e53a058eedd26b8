"""The client of an introspection server: how each failure is reported, and when the server is not asked."""

from __future__ import annotations

from base64 import b64decode
from functools import partial
from typing import Any
from urllib.parse import unquote_plus

import anyio
import pytest

from authguard import Accepted, BackendUnavailable, Introspection, Moment, Reason, Rejected
from authguard.concurrency.circuit_breaker import FAILURE_THRESHOLD, FIRST_PAUSE, Question
from authguard.concurrency.limiter import Admission
from authguard.http_client import MAX_RESPONSE
from authguard.reasons import INTROSPECTION_BUSY, INTROSPECTION_TIMEOUT, INTROSPECTION_UNAVAILABLE
from authguard.schemes.bearer.introspection import FAILED_FOR, MOST_FAILED
from authguard.schemes.bearer.introspection_client import AT_ONCE, WAITING
from authguard.testing import ManualClock
from tests.support.asgi import auth_request, http_scope
from tests.support.clock import NOW
from tests.support.coroutines import run_together, wait_until
from tests.support.guards import GuardedApp
from tests.support.schemes.bearer import bearer, bearer_credentials
from tests.support.schemes.introspection import (
    INTROSPECTION_URL,
    OPAQUE_TOKEN,
    IntrospectionServer,
    active_response,
    introspection,
)
from tests.support.tokens import mint

MOMENT = Moment(NOW, 60)


async def failure(
    of: Introspection, token: bytes = OPAQUE_TOKEN.encode(), network: str | None = None
) -> BackendUnavailable:
    """The outage that a token causes."""
    with pytest.raises(BackendUnavailable) as caught:
        await of.authenticate(token, MOMENT, network)
    return caught.value


async def failures(of: Introspection, number: int = FAILURE_THRESHOLD) -> list[BackendUnavailable]:
    """The outages of so many different tokens from different networks."""
    return [await failure(of, b"failing-%d" % each, f"192.0.2.{each}") for each in range(number)]


async def accepted(of: Introspection, token: bytes = OPAQUE_TOKEN.encode(), network: str | None = None) -> bool:
    """Whether a token is accepted."""
    return isinstance(await of.authenticate(token, MOMENT, network), Accepted)


UNKNOWN = "; or, if it does not know the token, name the status in unknown_token_statuses="
REFUSED = f"it does not take our client_id and client_secret{UNKNOWN}"


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
        ((400, b""), f" answers with status 400: it objects to the request{UNKNOWN}"),
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

    errors = await failures(of, 2 * FAILURE_THRESHOLD)

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

    refused = f"it does not take what auth= adds{UNKNOWN}"
    assert (await failure(of)).detail == f"{INTROSPECTION_URL} answers with status 401: {refused}"


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
    """After five failures with different tokens from different networks nobody asks. After a pause one request asks,
    and if it succeeds, all do again."""
    server, ticks = IntrospectionServer((500, b"")), ManualClock(1000)
    of = introspection(server, clock=ticks)
    await failures(of)

    error = await failure(of)
    assert (len(server.requests), error.retry_after) == (FAILURE_THRESHOLD, FIRST_PAUSE)
    assert error.detail == f"not asked, after 5 failures: {INTROSPECTION_URL} answers with status 500"
    assert of.health() == {**of.health(), "open": True, "open_for_known": False}
    ticks.move(FIRST_PAUSE)
    server.answer = active_response()

    assert [await accepted(of), of.health()["open"]] == [True, False]


async def test_during_a_probe_the_other_tokens_fail() -> None:
    """While one request probes the server, requests with other tokens fail, and those with the same token wait."""
    server, ticks = IntrospectionServer((500, b"")), ManualClock(1000)
    of = introspection(server, clock=ticks)
    await failures(of)
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
    await failures(of)
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
    await failures(of, FAILURE_THRESHOLD + 1)

    assert of.health()["open"] is True
    assert await accepted(of)


# --- what one token causes --------------------------------------------------------------------------------------------


@pytest.mark.rfc("7662-4")
@pytest.mark.parametrize(
    "answer", [(500, b""), (401, b""), (429, b""), (400, b""), (200, b"<html>"), OSError()], ids=str
)
async def test_a_token_that_fails_is_left_alone_for_a_moment(answer: Any) -> None:
    """A client that repeats a token on which the server fails does not reach the server each time. Other tokens do."""
    server, ticks = IntrospectionServer(answer), ManualClock(1000)
    of = introspection(server, clock=ticks)

    first, again = await failure(of), await failure(of)
    assert (again.reason, again.detail, again.retry_after) == (first.reason, first.detail, first.retry_after)
    assert len(server.requests) == 1
    server.answer = active_response()
    assert await accepted(of, b"another")
    ticks.move(FAILED_FOR - 0.1)
    await failure(of)
    ticks.move(0.1)

    assert await accepted(of)


async def test_a_token_that_nobody_asked_about_has_not_failed() -> None:
    """A token that came while the circuit was open, or the queue full, is asked about as soon as that is over."""
    server, ticks = IntrospectionServer((500, b"")), ManualClock(1000)
    of = introspection(server, clock=ticks)
    await failures(of)
    ticks.move(FIRST_PAUSE)
    await failure(of, b"probe", "192.0.2.99")
    ticks.move(FIRST_PAUSE - 0.1)
    assert (await failure(of)).detail.startswith("not asked, after 5 failures")
    server.answer = active_response()
    ticks.move(0.1)

    assert await accepted(of)


async def test_the_memory_of_failures_is_bounded_and_holds_no_token() -> None:
    """A stranger can let any number of tokens fail. Keyed hashes of a few of them are kept."""
    of = introspection(IntrospectionServer((500, b"")), clock=ManualClock(1000))

    for number in range(MOST_FAILED + 100):
        await failure(of, b"invented-%d" % number)

    assert len(of._failed) <= MOST_FAILED
    assert {len(key) for key in [*of._failed._young, *of._failed._old]} == {32}


async def test_tokens_that_are_late_do_not_open_the_circuit_from_one_network() -> None:
    """A hundred tokens on which the server gives no answer in time, all from one network, keep no other token out."""
    server, ticks = IntrospectionServer(), ManualClock(1000)
    of = introspection(server, clock=ticks, deadline=60)
    of._client._deadline = 0.01
    server.hold = anyio.Event()

    for number in range(100):
        assert (await failure(of, b"late-%d" % number, "192.0.2.1")).reason is INTROSPECTION_TIMEOUT
    server.hold = None
    of._client._deadline = 60

    assert (of.health()["failures"], of.health()["open"]) == (1, False)
    assert await accepted(of, network="192.0.2.1")


async def test_late_tokens_of_one_network_leave_slots_to_others() -> None:
    """A network with hundreds of tokens on which the server is slow does not hold up the tokens of another network, nor
    those of its own that were active before."""
    server, ticks = IntrospectionServer(), ManualClock(1000)
    of = introspection(server, clock=ticks, deadline=60)
    assert await accepted(of, b"known", "192.0.2.1")
    ticks.move(60)

    async def others() -> None:
        held, server.hold = server.hold, None
        assert held is not None
        assert [await accepted(of, b"owner-%d" % each, "192.0.2.2") for each in range(100)] == [True] * 100
        assert await accepted(of, b"known", "192.0.2.1")
        held.set()

    server.hold = anyio.Event()
    late = [partial(accepted, of, b"late-%d" % each, "192.0.2.1") for each in range(300)]
    assert await run_together(late, others) == [True] * 300


async def test_a_failing_server_opens_the_circuit_for_known_tokens_too() -> None:
    """A server that fails on five tokens that were active is down for everybody, whatever their network. The first
    success closes the circuit."""
    server, ticks = IntrospectionServer(), ManualClock(1000)
    of = introspection(server, clock=ticks)
    known = [b"known-%d" % number for number in range(FAILURE_THRESHOLD + 1)]
    assert [await accepted(of, token, "proxy") for token in known] == [True] * len(known)
    ticks.move(60)
    server.answer = (503, b"")
    asked = len(server.requests)

    for token in known:
        await failure(of, token, "proxy")
    assert (await failure(of, b"new", "192.0.2.1")).detail.startswith("not asked, after 5 failures")

    assert len(server.requests) - asked == FAILURE_THRESHOLD
    assert of.health() == {**of.health(), "open": True, "open_for_known": True}
    ticks.move(FIRST_PAUSE)
    server.answer = active_response()
    assert await accepted(of, known[0], "proxy")
    assert of.health() == {**of.health(), "open": False, "open_for_known": False, "failures": 0}
    assert await accepted(of, b"new", "192.0.2.1")


async def test_known_tokens_pass_while_strangers_in_many_networks_fail() -> None:
    """Strangers open the circuit for tokens that were never active. A token that was passes, and closes the circuit."""
    server, ticks = IntrospectionServer(), ManualClock(1000)
    of = introspection(server, clock=ticks)
    assert await accepted(of)
    ticks.move(60)
    server.answer = (500, b"")
    await failures(of, 50)
    server.answer = active_response()

    assert (await failure(of, b"new")).detail.startswith("not asked")
    assert await accepted(of)
    assert await accepted(of, b"new")


async def test_a_token_that_is_no_longer_active_is_no_longer_known() -> None:
    """A token that was revoked has no more rights than an invented one."""
    server, ticks = IntrospectionServer(), ManualClock(1000)
    of = introspection(server, clock=ticks)
    await accepted(of)
    server.answer = active_response(active=False)
    ticks.move(60)
    assert not await accepted(of)
    assert len(of._known) == 0


async def test_the_network_is_that_of_the_request() -> None:
    """``Bearer`` says from which network a token comes: an IPv6 /64 is one network, whatever the address in it."""
    server = IntrospectionServer((500, b""))
    of = introspection(server, clock=ManualClock(1000))
    scheme = bearer_with(of)

    async def failing(token: str, client: str) -> None:
        request = auth_request(http_scope(client=(client, 1)))
        with pytest.raises(BackendUnavailable):
            await scheme.authenticate(request, bearer_credentials(token))

    for number in range(20):
        await failing(f"one-network-{number}", f"2001:db8::{number}")
    assert (of.health()["failures"], of.health()["open"]) == (1, False)
    for number in range(20):
        await failing(f"many-networks-{number}", f"2001:db8:0:{number}::1")
    assert (of.health()["failures"], of.health()["open"]) == (5, True)

    jwt = introspection(server, clock=ManualClock(1000))
    scheme = bearer_with(jwt)
    for number in range(20):
        await failing(mint(jti=str(number)), f"192.0.2.{number}")
    assert (jwt.health()["failures"], jwt.health()["open"]) == (5, True)


# --- servers that answer about unknown tokens with an error -----------------------------------------------------------


@pytest.mark.parametrize("status", [400, 401])
async def test_R018_an_error_about_unknown_tokens_does_not_keep_good_ones_out(status: int) -> None:  # noqa: N802
    """R018: without the option a 400 or 401 about an unknown token is an outage for that token, and nothing for the
    next one."""
    server = IntrospectionServer((status, b'{"error":"invalid_token"}'))
    app = GuardedApp(bearer_with(introspection(server, clock=ManualClock(1000))))

    answers = [await app.get_with_token(f"unknown-{number}") for number in range(10)]
    server.answer = active_response()

    assert [answer.reason for answer in answers] == ["introspection.unavailable"] * 10
    assert (await app.get_with_token(OPAQUE_TOKEN)).status == 200


@pytest.mark.rfc("7662-4")
@pytest.mark.parametrize("status", [400, 401, 404])
async def test_R018_a_status_that_means_an_unknown_token_is_token_inactive(status: int) -> None:  # noqa: N802
    """R018: with ``unknown_token_statuses`` such a token is 401 ``token.inactive``. It is cached like any other that is
    not active, and the record says with which status the server answered."""
    server = IntrospectionServer((status, b""))
    of = introspection(server, clock=ManualClock(1000), unknown_token_statuses={400, 401, 404})
    app = GuardedApp(bearer_with(of))

    answers = [await app.get_with_token(f"unknown-{number}") for number in range(10) for _ in "ab"]
    server.answer = active_response()

    assert {(answer.status, answer.reason) for answer in answers} == {(401, "token.inactive")}
    assert dict(answers[0].headers)[b"www-authenticate"] == b'Bearer realm="orders", error="invalid_token"'
    assert answers[0].record.facts["endpoint_status"] == status
    assert (len(server.requests), of.health()["failures"]) == (10, 0)
    assert (await app.get_with_token(OPAQUE_TOKEN)).status == 200


async def test_only_the_named_statuses_mean_an_unknown_token() -> None:
    """A status that is not named is an outage."""
    of = introspection(IntrospectionServer((401, b"")), unknown_token_statuses=[400])

    assert (await failure(of)).reason is INTROSPECTION_UNAVAILABLE


@pytest.mark.parametrize("error", ["invalid_client", "unauthorized_client"])
@pytest.mark.parametrize("status", [400, 401])
async def test_an_error_about_our_own_credentials_is_an_outage(status: int, error: str) -> None:
    """RFC 6749 section 5.2: these errors are about the client that asks. No token is inactive because of them, even if
    the status is named."""
    of = introspection(
        IntrospectionServer((status, b'{"error":"%s"}' % error.encode())), unknown_token_statuses={400, 401}
    )

    assert (await failure(of)).reason is INTROSPECTION_UNAVAILABLE


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"error":["invalid_client"]}', b'{"error":"x"}'])
async def test_any_other_body_of_a_named_status_means_an_unknown_token(body: bytes) -> None:
    """A server that does not follow RFC 7662 may say anything in its body."""
    of = introspection(IntrospectionServer((401, body)), unknown_token_statuses={401})

    assert not await accepted(of)


async def test_an_answer_of_a_named_status_closes_the_circuit() -> None:
    """Such an answer is one about the token, so the server works."""
    server, ticks = IntrospectionServer((500, b"")), ManualClock(1000)
    of = introspection(server, clock=ticks, unknown_token_statuses={400})
    await failures(of)
    ticks.move(FIRST_PAUSE)
    server.answer = (400, b"")

    assert not await accepted(of)
    assert of.health()["open"] is False


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
            await accepted(of, b"token-%d" % number, f"192.0.2.{number}")
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
        for number in range(FAILURE_THRESHOLD):
            with inquiry._breaker.call(Question(number, f"192.0.2.{number}")) as call:
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
    """Parallel requests with one token run a failing ``auth=`` once. After five failures the circuit opens."""
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
    await failures(of)

    assert (len(attempts), of.health()["open"]) == (FAILURE_THRESHOLD, True)


async def test_a_hanging_auth_function_has_a_deadline() -> None:
    """An ``auth=`` that hangs fails at the deadline for all requests with the same token."""
    server, attempts = IntrospectionServer(), []

    async def hangs(headers: dict[str, str], form: dict[str, str]) -> None:
        attempts.append(1)
        await anyio.sleep_forever()

    of = introspection(server, auth=hangs, client_id=None, client_secret=None, deadline=0.5)

    async def nothing() -> None:
        """Release nothing: all callers time out by themselves."""

    errors = await run_together([partial(failure, of)] * 5, nothing)

    told = f"{INTROSPECTION_URL}: auth= failed: no answer within 0.5 s"
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
