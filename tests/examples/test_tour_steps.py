"""The steps of the tour: responses are compared with the expected ones, and curl lines match the requests."""

from __future__ import annotations

from dataclasses import replace

import pytest

from examples.tour.basic_steps import GUESSES, BasicRequest
from examples.tour.bearer_steps import BearerRequest
from examples.tour.digest_steps import DigestRequest
from examples.tour.step import ANY_NONCE, Expected, Request, Response, Step

EXPECTED = Expected(401, "Bearer", "denied token.expired", "expired_by=")
RECORD = "WARNING:authguard:denied token.expired: GET /orders 401 bearer alice expired_by=4s"
AS_EXPECTED = Response(401, ["Bearer"], [RECORD])


def test_an_expected_response_has_no_differences() -> None:
    """``differences`` is empty if response and record are as expected."""
    assert EXPECTED.differences(AS_EXPECTED) == []


def test_a_step_can_expect_no_record() -> None:
    """With ``record=None``, any line in the log is a difference."""
    expected = Expected(200, None, None)

    assert expected.differences(Response(200, [], [])) == []
    assert len(expected.differences(Response(200, [], [RECORD]))) == 1


@pytest.mark.parametrize(
    "response",
    [
        replace(AS_EXPECTED, status=200),
        replace(AS_EXPECTED, status=403),
        replace(AS_EXPECTED, challenges=[]),
        replace(AS_EXPECTED, challenges=["Bearer", "Bearer"]),
        replace(AS_EXPECTED, challenges=['Bearer realm="orders"']),
        replace(AS_EXPECTED, log=[]),
        replace(AS_EXPECTED, log=[RECORD, RECORD]),
        replace(AS_EXPECTED, log=[RECORD.replace("token.expired", "token.expired_badly")]),
        replace(AS_EXPECTED, log=[RECORD.replace("expired_by=4s", "")]),
        replace(AS_EXPECTED, log=["Traceback (most recent call last):"]),
        replace(AS_EXPECTED, retry_after="30"),
    ],
)
def test_a_difference_is_found(response: Response) -> None:
    """An unexpected status, challenge, record or ``Retry-After`` is exactly one difference."""
    assert len(EXPECTED.differences(response)) == 1


def test_an_expected_retry_after_must_be_there() -> None:
    """With ``retry_after=True``, a response without ``Retry-After`` is a difference."""
    expected = replace(EXPECTED, retry_after=True)

    assert expected.differences(replace(AS_EXPECTED, retry_after="30")) == []
    assert len(expected.differences(AS_EXPECTED)) == 1


def test_the_statuses_before_the_last_response_are_compared_too() -> None:
    """All earlier responses must have ``earlier_status``; the last one must be as expected."""
    step = Step("Guessing", BasicRequest("/", "bob:$guess"), EXPECTED, "An explanation.")

    assert step.differences([AS_EXPECTED, AS_EXPECTED, AS_EXPECTED]) == []
    assert step.differences([AS_EXPECTED, replace(AS_EXPECTED, status=200), AS_EXPECTED]) == [
        "the status of request 2 is 200, expected was 401"
    ]
    assert len(step.differences([AS_EXPECTED, replace(AS_EXPECTED, status=200)])) == 1


def test_the_curl_line_is_the_request() -> None:
    """Tokens are shell variables, other texts are literal, and ``--path-as-is`` stops curl from resolving ``..``."""
    assert BearerRequest("/orders", ["ALICE"]).curl == 'curl -i -H "Authorization: Bearer $ALICE" $API/orders'
    assert BearerRequest("/a/../b").curl == "curl -i --path-as-is $API/a/../b"
    assert BearerRequest("/", ["BOB", "text"]).curl.count("-H") == 2
    assert BasicRequest("/a", "bob:builder").curl == "curl -i -u bob:builder $BASIC/a"
    assert DigestRequest("/a?b=c", "bob:builder").curl == 'curl -i --digest -u bob:builder "$DIGEST/a?b=c"'


def test_any_nonce_is_accepted() -> None:
    """The nonce is new each time, so it is not compared; the rest of the challenge is."""
    expected = replace(EXPECTED, challenge=f'Digest realm="cameras", nonce="{ANY_NONCE}", stale=true')
    challenge = 'Digest realm="cameras", nonce="AAZg"'

    assert expected.differences(replace(AS_EXPECTED, challenges=[f"{challenge}, stale=true"])) == []
    assert len(expected.differences(replace(AS_EXPECTED, challenges=[challenge]))) == 1


def test_guesses_are_sent_one_by_one() -> None:
    """The password ``$guess`` stands for eleven requests, each with one of the numbers that ``seq`` prints."""
    first, *_, last = requests = BasicRequest("/a", "bob:$guess").requests({})

    assert len(requests) == GUESSES
    assert first == Request("GET", "/a", [("Authorization", "Basic Ym9iOjE=")])
    assert last == Request("GET", "/a", [("Authorization", "Basic Ym9iOjEx")])
