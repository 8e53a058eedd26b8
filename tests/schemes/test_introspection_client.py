"""A server that is in trouble: what is made of each kind, and that it is not asked for ever."""

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


async def trouble(of: Introspection, token: bytes = OPAQUE_TOKEN.encode()) -> BackendUnavailable:
    """Why there is no outcome."""
    with pytest.raises(BackendUnavailable) as caught:
        await of.authenticate(token, MOMENT)
    return caught.value


async def taken(of: Introspection, token: bytes = OPAQUE_TOKEN.encode()) -> bool:
    """Whether the token is accepted."""
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
async def test_trouble_at_the_server_is_no_fault_of_the_token(answer: Any, detail: str) -> None:
    """7662-4: 503 and not 401, told by a phrase of ours and the address without its query, and counted."""
    of = introspection(IntrospectionServer(answer), url=f"{INTROSPECTION_URL}?key=CANARY")

    error = await trouble(of)

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
async def test_what_a_stranger_can_bring_about_is_no_sign_of_trouble(answer: Any, detail: str) -> None:
    """A client can make up what a server, or a firewall before it, objects to; that must not keep others out."""
    server = IntrospectionServer(answer)
    of = introspection(server)

    errors = [await trouble(of) for _ in range(2 * FAILURE_THRESHOLD)]

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
    assert await taken(of, b"another")


async def test_a_401_to_a_function_of_ones_own_is_told_by_its_name() -> None:
    """There is no client_secret then."""
    of = introspection(
        IntrospectionServer((401, b"")), auth=lambda headers, form: None, client_id=None, client_secret=None
    )

    assert (
        await trouble(of)
    ).detail == f"{INTROSPECTION_URL} answers with status 401: it does not take what auth= adds"


async def test_an_outage_is_told_by_the_words_of_who_posts() -> None:
    """A function of one's own may know the reason, and for how long."""
    own = Reason("idp.closed", 503)
    error = await trouble(
        introspection(IntrospectionServer(BackendUnavailable("closed on Sundays", reason=own, retry_after=60)))
    )

    assert (error.reason, error.detail, error.retry_after) == (own, f"{INTROSPECTION_URL}: closed on Sundays", 60)


async def test_no_answer_in_time_is_an_outage() -> None:
    """Of its own name, as with keys."""
    server = IntrospectionServer()
    server.hold = anyio.Event()

    error = await trouble(introspection(server, deadline=0.01))

    assert (error.reason, error.detail) == (INTROSPECTION_TIMEOUT, f"{INTROSPECTION_URL}: no answer within 0.01 s")


@pytest.mark.rfc("7662-4")
async def test_a_server_in_trouble_is_not_asked_again_and_again() -> None:
    """After five failures nobody waits for it; after a pause one asks, and where that goes well, all do again."""
    server, ticks = IntrospectionServer((500, b"")), ManualClock(1000)
    of = introspection(server, clock=ticks)
    for _ in range(FAILURE_THRESHOLD):
        await trouble(of)

    error = await trouble(of)
    assert (len(server.requests), error.retry_after) == (FAILURE_THRESHOLD, FIRST_PAUSE)
    assert error.detail == f"not asked, after 5 failures: {INTROSPECTION_URL} answers with status 500"
    assert of.health()["open"] is True
    ticks.move(FIRST_PAUSE)
    server.answer = active_response()

    assert [await taken(of), of.health()["open"]] == [True, False]


async def test_while_one_asks_on_trial_the_others_are_refused() -> None:
    """Those of other tokens; those of the same wait for it."""
    server, ticks = IntrospectionServer((500, b"")), ManualClock(1000)
    of = introspection(server, clock=ticks)
    for _ in range(FAILURE_THRESHOLD):
        await trouble(of)
    ticks.move(FIRST_PAUSE)
    server.answer, server.hold = active_response(), anyio.Event()

    async def let_go() -> None:
        error = await trouble(of, b"other")
        assert error.retry_after == 1
        assert server.hold is not None
        server.hold.set()

    assert await run_together([partial(taken, of)] * 2, let_go) == [True, True]
    assert len(server.requests) == FAILURE_THRESHOLD + 1


async def test_a_trial_whose_client_leaves_is_left_to_the_next() -> None:
    """Else nobody would ever ask again."""
    server, ticks = IntrospectionServer((500, b"")), ManualClock(1000)
    of = introspection(server, clock=ticks)
    for _ in range(FAILURE_THRESHOLD):
        await trouble(of)
    ticks.move(FIRST_PAUSE)
    server.answer, server.hold = active_response(), anyio.Event()

    with anyio.move_on_after(0.01):
        await taken(of)
    server.hold = None

    assert await taken(of)


async def test_kept_answers_outlive_the_server() -> None:
    """Who was let in a moment ago still is."""
    server = IntrospectionServer()
    of = introspection(server, clock=ManualClock(1000))
    await taken(of)
    server.answer = (500, b"")
    for number in range(FAILURE_THRESHOLD + 1):
        await trouble(of, b"token-%d" % number)

    assert await taken(of)


# --- how many ask -----------------------------------------------------------------------------------------------------


def many(of: Introspection, number: int, ask: Any = taken) -> list[Any]:
    """So many who ask about a token each."""
    return [partial(ask, of, b"token-%d" % each) for each in range(number)]


async def test_few_are_asked_about_at_the_same_time() -> None:
    """A burst is no flood at the server: who comes later waits a moment, and is let in."""
    server = IntrospectionServer()
    held = server.hold = anyio.Event()
    of = introspection(server)

    async def let_go() -> None:
        assert len(server.requests) == AT_ONCE
        assert of.health() == {**of.health(), "asked": AT_ONCE, "waiting": 136}
        held.set()

    assert await run_together(many(of, 200), let_go) == [True] * 200
    assert of.health() == {**of.health(), "asked": 200, "waiting": 0}


async def test_no_more_wait_than_there_is_room_for() -> None:
    """Of invented tokens anybody has as many as he likes."""
    server = IntrospectionServer()
    held = server.hold = anyio.Event()
    of = introspection(server, deadline=60)
    errors = []

    async def let_go() -> None:
        errors.append(await trouble(of, b"one-more"))
        held.set()

    answers = await run_together(many(of, AT_ONCE + WAITING), let_go)

    assert answers == [True] * (AT_ONCE + WAITING)
    assert [(error.reason, error.retry_after) for error in errors] == [(INTROSPECTION_BUSY, 1)]
    assert errors[0].detail == "1000 tokens wait to be asked about already"
    assert await taken(of, b"one-more")


async def test_who_waits_out_the_deadline_is_told_so() -> None:
    """Nothing was asked about his token, and the server is not blamed for that."""
    server = IntrospectionServer()
    held = server.hold = anyio.Event()
    of = introspection(server, deadline=60)

    async def late() -> None:
        of._client._deadline = 0.01
        error = await trouble(of, b"late")
        told = (INTROSPECTION_TIMEOUT, "no turn to ask within 0.01 s", 1)
        assert (error.reason, error.detail, error.retry_after) == told
        held.set()

    assert await run_together(many(of, AT_ONCE), late) == [True] * AT_ONCE
    assert of.health() == {**of.health(), "asked": AT_ONCE, "waiting": 0, "failures": 0, "last_error": None}


async def test_who_waits_has_the_whole_deadline_for_the_answer() -> None:
    """A burst must not make a server that is well look as if it were not."""
    server, deadline = IntrospectionServer(), 1.0
    first = server.hold = anyio.Event()
    of = introspection(server, deadline=60)

    async def wait() -> bool:
        of._client._deadline = deadline
        return await taken(of, b"waits")

    async def let_go() -> None:
        await anyio.sleep(0.5 * deadline)
        second = server.hold = anyio.Event()
        first.set()
        await wait_until(lambda: len(server.requests) == AT_ONCE + 1)
        await anyio.sleep(0.7 * deadline)
        second.set()

    assert await run_together([*many(of, AT_ONCE), wait], let_go) == [True] * (AT_ONCE + 1)


async def test_where_the_circuit_opens_nobody_waits_any_longer() -> None:
    """With the fifth failure those in the queue are told, and while others are still asked about."""
    bad, good = IntrospectionServer((500, b"")), IntrospectionServer()
    failing = bad.hold = anyio.Event()
    answering = good.hold = anyio.Event()

    async def post(url: str, headers: Any, body: bytes) -> tuple[int, bytes]:
        return await (bad if len(bad.requests) < FAILURE_THRESHOLD else good)(url, headers, body)

    of = introspection(post=post, clock=ManualClock(1000), deadline=60)
    told: list[BackendUnavailable] = []

    async def ask(number: int) -> None:
        try:
            await taken(of, b"token-%d" % number)
        except BackendUnavailable as error:
            told.append(error)

    async with anyio.create_task_group() as tasks:
        for number in range(AT_ONCE + 100):
            tasks.start_soon(ask, number)
        await wait_until(lambda: of.health()["waiting"] == 100)
        failing.set()
        await wait_until(lambda: len(told) == FAILURE_THRESHOLD + 100)
        assert of.health() == {**of.health(), "asked": AT_ONCE, "waiting": 0, "open": True}
        answering.set()

    assert len(told) == FAILURE_THRESHOLD + 100
    assert {error.reason for error in told} == {INTROSPECTION_UNAVAILABLE}
    unasked = [
        error
        for error in told
        if error.detail == f"not asked, after 5 failures: {INTROSPECTION_URL} answers with status 500"
    ]
    assert [error.retry_after for error in unasked] == [FIRST_PAUSE] * 100


async def test_where_the_circuit_opens_as_a_turn_comes_nothing_is_asked() -> None:
    """The one whose turn it is has not gone out yet: he hands it on, and so do all."""
    server = IntrospectionServer()
    held = server.hold = anyio.Event()
    of = introspection(server, clock=ManualClock(1000), deadline=60)
    inquiry = of._client
    assert await inquiry._limiter.acquire(0) is Admission.ACQUIRED
    errors: list[BackendUnavailable] = []

    async def wait(number: int) -> None:
        errors.append(await trouble(of, b"waits-%d" % number))

    async with anyio.create_task_group() as tasks:
        for ask in many(of, AT_ONCE - 1):
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
async def test_the_client_is_written_as_a_form_before_it_is_basic() -> None:
    """RFC 6749 section 2.3.1: else a colon in a name, or what is no ASCII, would be read as something else."""
    server = IntrospectionServer()
    await taken(introspection(server, client_id="a:b c", client_secret="p%ss wörd+~"))

    written = b64decode(server.requests[0][1]["Authorization"].removeprefix("Basic ")).decode("ascii")

    assert [unquote_plus(part) for part in written.split(":")] == ["a:b c", "p%ss wörd+~"]
    assert written.startswith("a%3Ab+c:")


async def test_a_function_may_say_who_asks() -> None:
    """By a field or by members of the form, at once or after a while, and each time anew."""
    server, number = IntrospectionServer(), iter(range(10))

    def by_field(headers: dict[str, str], form: dict[str, str]) -> None:
        headers["Authorization"] = f"Bearer {next(number)}"

    async def by_form(headers: dict[str, str], form: dict[str, str]) -> None:
        await anyio.lowlevel.checkpoint()
        form["client_assertion"] = f"signed {next(number)}"

    for auth in (by_field, by_field, by_form):
        of = introspection(server, auth=auth, client_id=None, client_secret=None)
        await taken(of)

    asked = [(headers.get("Authorization"), form.get("client_assertion")) for _, headers, form in server.requests]
    assert asked == [("Bearer 0", None), ("Bearer 1", None), (None, ["signed 2"])]


async def test_who_cannot_say_who_asks_lets_nobody_in() -> None:
    """It is the app's own function that fails: the guard closes, and its health tells why."""
    server = IntrospectionServer()

    def fails(headers: dict[str, str], form: dict[str, str]) -> None:
        raise LookupError("no CANARY at hand")

    of = introspection(server, auth=fails, client_id=None, client_secret=None)
    answer = await GuardedApp(bearer_of(of)).get_with_token(OPAQUE_TOKEN)

    assert (answer.status, answer.reason) == (503, "introspection.unavailable")
    assert "CANARY" not in repr(answer.record)
    assert of.health() == {
        **of.health(),
        "asked": 0,
        "failures": 1,
        "last_error": f"{INTROSPECTION_URL}: auth= failed: LookupError",
    }


async def test_who_waits_together_shares_what_keeps_from_asking() -> None:
    """One attempt to prove who asks, and not one after the other; and after five the circuit is open."""
    attempts, held = [], anyio.Event()

    async def fails(headers: dict[str, str], form: dict[str, str]) -> None:
        attempts.append(1)
        await held.wait()
        raise BackendUnavailable("no assertion", retry_after=7)

    of = introspection(auth=fails, client_id=None, client_secret=None)

    async def let_go() -> None:
        held.set()

    errors = await run_together([partial(trouble, of)] * 20, let_go)
    assert {(error.detail, error.retry_after) for error in errors} == {
        (f"{INTROSPECTION_URL}: auth= failed: no assertion", 7)
    }
    assert len(attempts) == 1
    for _ in range(FAILURE_THRESHOLD):
        await trouble(of)

    assert (len(attempts), of.health()["open"]) == (FAILURE_THRESHOLD, True)


async def test_who_takes_for_ever_to_say_who_asks_is_not_waited_for() -> None:
    """Neither by who went ahead nor by those who wait for the same token."""
    server, attempts = IntrospectionServer(), []

    async def hangs(headers: dict[str, str], form: dict[str, str]) -> None:
        attempts.append(1)
        await anyio.sleep_forever()

    of = introspection(server, auth=hangs, client_id=None, client_secret=None, deadline=0.05)

    async def nothing() -> None:
        """They all give up by themselves."""

    errors = await run_together([partial(trouble, of)] * 5, nothing)

    told = f"{INTROSPECTION_URL}: auth= failed: no answer within 0.05 s"
    assert {(error.reason, error.detail) for error in errors} == {(INTROSPECTION_TIMEOUT, told)}
    assert of.health() == {**of.health(), "asked": 0, "failures": 1, "last_error": told}
    assert len(attempts) == 1


async def test_to_say_who_asks_and_to_ask_have_one_deadline() -> None:
    """Who waits is not made to wait twice."""
    server = IntrospectionServer()
    server.hold = anyio.Event()

    async def slow(headers: dict[str, str], form: dict[str, str]) -> None:
        await anyio.sleep(0.6)

    of = introspection(server, auth=slow, client_id=None, client_secret=None, deadline=1.0)
    began = anyio.current_time()

    assert (await trouble(of)).reason == INTROSPECTION_TIMEOUT
    assert anyio.current_time() - began < 1.5


# --- what goes out ----------------------------------------------------------------------------------------------------


def bearer_of(of: Introspection) -> Any:
    """A scheme that asks it."""
    return bearer(of)  # type: ignore[arg-type]


@pytest.mark.rfc("7662-4")
async def test_an_outage_is_answered_as_one() -> None:
    """503, when to come again, no challenge; and the token is in neither the answer nor the record."""
    answer = await GuardedApp(bearer_of(introspection(IntrospectionServer((500, b""))))).get_with_token(OPAQUE_TOKEN)

    fields = dict(answer.headers)
    assert (answer.status, answer.reason) == (503, "introspection.unavailable")
    assert (fields[b"retry-after"], b"www-authenticate" in fields) == (b"5", False)
    assert answer.record.facts["detail"] == f"{INTROSPECTION_URL} answers with status 500"
    assert OPAQUE_TOKEN not in repr(answer) + repr(answer.record)


async def test_an_inactive_token_is_invalid() -> None:
    """RFC 6750 section 3.1."""
    answer = await GuardedApp(
        bearer_of(introspection(IntrospectionServer(active_response(active=False))))
    ).get_with_token(OPAQUE_TOKEN)

    assert (answer.status, answer.reason) == (401, "token.inactive")
    assert dict(answer.headers)[b"www-authenticate"] == b'Bearer realm="orders", error="invalid_token"'


async def test_the_answer_to_an_expired_token_is_that_of_a_jwt() -> None:
    """The same reason, and the one sentence that the client may read."""
    outcome = await introspection(IntrospectionServer(active_response(exp=NOW - 90))).authenticate(
        OPAQUE_TOKEN.encode(), MOMENT
    )

    assert isinstance(outcome, Rejected)
    assert (outcome.reason.code, outcome.subject, outcome.authenticated) == ("token.expired", "alice", True)
