"""What the tour tells of an answer is compared with the answer, and its curl lines are its requests."""

from __future__ import annotations

from dataclasses import replace

import pytest

from examples.touring.digests import Answering
from examples.touring.logins import GUESSES, Login
from examples.touring.steps import Get
from examples.touring.telling import NONCE, Answer, Sent, Step, Told

TOLD = Told(401, "Bearer", "denied token.expired", "expired_by=")
RECORD = "WARNING:authguard:denied token.expired: GET /orders 401 bearer alice expired_by=4s"
AS_TOLD = Answer(401, ["Bearer"], [RECORD])


def test_what_is_as_told_differs_in_nothing() -> None:
    """An answer and a record that are what the tour says are no difference."""
    assert TOLD.differences(AS_TOLD) == []


def test_silence_can_be_told() -> None:
    """A step without a record holds where nothing was printed, and only there."""
    told = Told(200, None, None)

    assert told.differences(Answer(200, [], [])) == []
    assert len(told.differences(Answer(200, [], [RECORD]))) == 1


@pytest.mark.parametrize(
    "answer",
    [
        replace(AS_TOLD, status=200),
        replace(AS_TOLD, status=403),
        replace(AS_TOLD, challenges=[]),
        replace(AS_TOLD, challenges=["Bearer", "Bearer"]),
        replace(AS_TOLD, challenges=['Bearer realm="orders"']),
        replace(AS_TOLD, printed=[]),
        replace(AS_TOLD, printed=[RECORD, RECORD]),
        replace(AS_TOLD, printed=[RECORD.replace("token.expired", "token.expired_badly")]),
        replace(AS_TOLD, printed=[RECORD.replace("expired_by=4s", "")]),
        replace(AS_TOLD, printed=["Traceback (most recent call last):"]),
        replace(AS_TOLD, retry_after="30"),
    ],
)
def test_a_difference_is_found(answer: Answer) -> None:
    """Another status, challenge, record or wait than the tour tells is a difference, and just one."""
    assert len(TOLD.differences(answer)) == 1


def test_a_wait_that_is_told_must_be_there() -> None:
    """Where the tour tells of a Retry-After, an answer without one differs."""
    told = replace(TOLD, retried=True)

    assert told.differences(replace(AS_TOLD, retry_after="30")) == []
    assert len(told.differences(AS_TOLD)) == 1


def test_what_is_sent_before_the_last_request_is_told_too() -> None:
    """Of several requests each but the last has the status of those before, and the last is as told."""
    step = Step("Guessing", Login("/", "bob:$guess"), TOLD, "A lesson.")

    assert step.differences([AS_TOLD, AS_TOLD, AS_TOLD]) == []
    assert step.differences([AS_TOLD, replace(AS_TOLD, status=200), AS_TOLD]) == [
        "the status of request 2 is 200, told was 401"
    ]
    assert len(step.differences([AS_TOLD, replace(AS_TOLD, status=200)])) == 1


def test_the_curl_line_is_the_request() -> None:
    """Tokens stand in shell variables, other text as it is, and curl is kept from tidying a path that climbs."""
    assert Get("/orders", ["ALICE"]).curl == 'curl -i -H "Authorization: Bearer $ALICE" $API/orders'
    assert Get("/a/../b").curl == "curl -i --path-as-is $API/a/../b"
    assert Get("/", ["BOB", "text"]).curl.count("-H") == 2
    assert Login("/a", "bob:builder").curl == "curl -i -u bob:builder $BASIC/a"
    assert Answering("/a?b=c", "bob:builder").curl == 'curl -i --digest -u bob:builder "$DIGEST/a?b=c"'


def test_a_nonce_is_told_as_any() -> None:
    """It is another one each time; the rest of a challenge is compared."""
    told = replace(TOLD, challenge=f'Digest realm="cameras", nonce="{NONCE}", stale=true')

    assert told.differences(replace(AS_TOLD, challenges=['Digest realm="cameras", nonce="AAZg", stale=true'])) == []
    assert len(told.differences(replace(AS_TOLD, challenges=['Digest realm="cameras", nonce="AAZg"']))) == 1


def test_guesses_are_sent_one_by_one() -> None:
    """A login whose password is ``$guess`` stands for eleven requests, each with the number that ``seq`` gives it."""
    first, *_, last = sent = Login("/a", "bob:$guess").sends({})

    assert len(sent) == GUESSES
    assert first == Sent("GET", "/a", [("Authorization", "Basic Ym9iOjE=")])
    assert last == Sent("GET", "/a", [("Authorization", "Basic Ym9iOjEx")])
