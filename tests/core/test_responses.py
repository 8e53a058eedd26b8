"""The response to a denial, without ASGI."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pytest

from authguard.asgi.messages import messages
from authguard.core.responses import RETRY_AFTER, Reply, problem, reply_to
from authguard.model import Denied
from authguard.reasons import (
    BODY_TOO_LARGE,
    CREDENTIALS_AMBIGUOUS,
    CREDENTIALS_MISSING,
    HASHING_BUSY,
    PATH_AMBIGUOUS,
    ROLE_MISSING,
    STORE_UNAVAILABLE,
    TOKEN_EXPIRED,
    Reason,
)
from authguard.request import AuthRequest
from authguard.wire.challenge import Challenge
from tests.support.asgi import auth_request, http_scope
from tests.support.schemes.badge import Badge, PlainBadge

EVERY = frozenset({"badge", "other", "plain"})


class HeardBadge(Badge):
    """A ``Badge`` that keeps the denials for which its challenges were requested."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.denials: list[Denied | None] = []

    def challenges(self, request: AuthRequest, why: Denied | None) -> Sequence[Challenge]:
        self.denials.append(why)
        return super().challenges(request, why)


class HeardPlainBadge(HeardBadge, PlainBadge):
    """A ``HeardBadge`` that sends no challenge with a 403."""


def lines(reply: Reply, name: bytes) -> list[bytes]:
    """The value of every field line with this name."""
    return [value for key, value in reply.headers if key == name]


def test_a_response_is_status_headers_and_body() -> None:
    """9457-1, 9110-13: the response is fixed byte for byte, headers in this order."""
    denied = Denied(
        TOKEN_EXPIRED, "badge", accepted=EVERY, response_headers=[(b"dpop-nonce", b"x")], facts={"retry_after": 3}
    )
    body = (
        b'{"type": "about:blank", "title": "Unauthorized", "status": 401, "detail": "The access token expired", '
        b'"code": "expired"}'
    )

    assert reply_to(auth_request(), denied, [Badge(), PlainBadge("plain")]) == Reply(
        401,
        [
            (b"content-type", b"application/problem+json"),
            (b"content-length", str(len(body)).encode()),
            (b"cache-control", b"no-store"),
            (b"www-authenticate", b'Badge realm="tests", error="invalid_token"'),
            (b"www-authenticate", b'Plain realm="tests"'),
            (b"dpop-nonce", b"x"),
        ],
        body,
    )


WHO: list[tuple[Reason, str | None, frozenset[str], list[str]]] = [
    # 401: all accepted schemes, and only the one that was tried learns the reason.
    (CREDENTIALS_MISSING, None, EVERY, ["badge", "other", "plain"]),
    (TOKEN_EXPIRED, "badge", EVERY, ["badge!", "other", "plain"]),
    (TOKEN_EXPIRED, "badge", frozenset({"badge", "plain"}), ["badge!", "plain"]),
    (TOKEN_EXPIRED, "badge", frozenset({"other"}), ["other"]),
    # 400: all accepted schemes learn the reason, if it has an error code.
    (CREDENTIALS_AMBIGUOUS, None, frozenset({"other", "plain"}), ["other!", "plain!"]),
    (PATH_AMBIGUOUS, None, EVERY, []),
    # 403: the scheme that was tried, if it sends challenges with a 403.
    (ROLE_MISSING, "other", EVERY, ["other!"]),
    (ROLE_MISSING, "plain", EVERY, []),
    (ROLE_MISSING, None, EVERY, []),
    (ROLE_MISSING, "gone", EVERY, []),
    # Other statuses have no challenge.
    (BODY_TOO_LARGE, "badge", EVERY, []),
    (Reason("attempts.exceeded", 429), "badge", EVERY, []),
    (STORE_UNAVAILABLE, "badge", EVERY, []),
]


@pytest.mark.parametrize(("reason", "tried", "accepted", "expected"), WHO)
def test_which_schemes_send_a_challenge_and_which_learn_the_reason(
    reason: Reason, tried: str | None, accepted: frozenset[str], expected: list[str]
) -> None:
    """9110-1, 6750-6, 9449-5, 9449-6: which schemes send a challenge. ``!`` marks those that learn the reason."""
    schemes = [HeardBadge("badge"), HeardBadge("other"), HeardPlainBadge("plain")]
    denied = Denied(reason, tried, accepted=accepted)

    reply = reply_to(auth_request(), denied, schemes)

    heard = [scheme.name + ("!" if why is denied else "") for scheme in schemes for why in scheme.denials]
    assert heard == expected
    assert len(lines(reply, b"www-authenticate")) == len(expected)


class SilentBadge(Badge):
    """A scheme without a challenge."""

    def challenges(self, request: AuthRequest, why: Denied | None) -> Sequence[Challenge]:
        return ()


def test_a_401_needs_a_challenge() -> None:
    """9110-1: a 401 has at least one challenge, from any scheme. A 400 needs none."""
    missing, ambiguous = (Denied(reason, accepted=EVERY) for reason in (CREDENTIALS_MISSING, CREDENTIALS_AMBIGUOUS))

    assert len(lines(reply_to(auth_request(), missing, [SilentBadge(), PlainBadge("plain")]), b"www-authenticate")) == 1
    assert reply_to(auth_request(), ambiguous, [SilentBadge()]).status == 400
    with pytest.raises(TypeError, match="no scheme gave a challenge"):
        reply_to(auth_request(), missing, [SilentBadge()])


def test_head_gets_the_length_of_the_body_that_get_would_get() -> None:
    """9110-11: the response to HEAD has the headers of the response to GET, and no body."""
    denied = Denied(CREDENTIALS_MISSING, accepted=EVERY)

    by_get, by_head = (
        reply_to(auth_request(http_scope(method=method)), denied, [Badge()]) for method in ("GET", "HEAD")
    )

    assert (by_head.status, by_head.headers, by_head.body) == (by_get.status, by_get.headers, b"")
    assert lines(by_head, b"content-length") == [str(len(by_get.body)).encode()]


@pytest.mark.parametrize("reason", [CREDENTIALS_MISSING, ROLE_MISSING, PATH_AMBIGUOUS, BODY_TOO_LARGE])
def test_retry_after_is_sent_only_with_statuses_that_pass(reason: Reason) -> None:
    """The fact ``retry_after`` adds ``Retry-After`` only to 429 and 503."""
    reply = reply_to(auth_request(), Denied(reason, accepted=frozenset({"badge"}), facts={"retry_after": 3}), [Badge()])

    assert lines(reply, b"retry-after") == []


OURS = str(RETRY_AFTER).encode()
WAITS = [(7, b"7"), (None, OURS), (1, b"1"), (0.2, b"1"), (2.5, b"3"), (0, OURS), (86_400, b"86400"), (86_401, OURS)]


@pytest.mark.parametrize(("seconds", "sent"), WAITS)
def test_retry_after_comes_from_the_backend_or_a_default(seconds: float | None, sent: bytes) -> None:
    """9110-13: ``Retry-After`` is in whole seconds, rounded up. Without a value, or above a day, a default is sent."""
    reply = reply_to(auth_request(), Denied(STORE_UNAVAILABLE, facts={"retry_after": seconds}), [Badge()])

    assert lines(reply, b"retry-after") == [sent]


@pytest.mark.rfc("9110-13")
@pytest.mark.parametrize("seconds", [0, 0.2, 2.5, -1, float("nan"), float("inf"), "soon", "1\r\nx: y", True])
def test_retry_after_is_a_number_of_seconds_whatever_a_backend_says(seconds: Any) -> None:
    """9110-13, section 10.2.3: ``delay-seconds`` is digits, even if the backend gives a float or a negative number."""
    reply = reply_to(auth_request(), Denied(STORE_UNAVAILABLE, facts={"retry_after": seconds}), [Badge()])

    (line,) = lines(reply, b"retry-after")
    assert re.fullmatch(rb"[0-9]+", line)


def test_a_render_that_wants_more_finds_the_stock_one() -> None:
    """A custom ``render`` may wrap ``problem``, and receives the whole denial."""

    def render(request: AuthRequest, denied: Denied) -> tuple[str, bytes]:
        media_type, body = problem(request, denied)
        return media_type, body + denied.reason.code.encode()

    reply = reply_to(auth_request(), Denied(CREDENTIALS_MISSING, accepted=EVERY), [Badge()], render)

    assert reply.body.endswith(b"credentials.missing")
    assert lines(reply, b"www-authenticate") == [b'Badge realm="tests"']


def test_requests_without_a_challenge_share_a_response_that_none_can_change() -> None:
    """The response to a full queue is made once. What is done with the ASGI messages of one request stays there."""
    busy, later = (Denied(HASHING_BUSY, "basic", facts={"retry_after": seconds}) for seconds in (3, 4))
    first = reply_to(auth_request(), busy, [Badge()])
    start, body = messages(http_scope(), first)
    start["headers"].append((b"set-cookie", b"a=b"))
    start["status"], body["body"] = 200, b"changed"

    again = reply_to(auth_request(http_scope("/other")), busy, [Badge()])

    assert again is first
    assert isinstance(again.headers, tuple)
    assert messages(http_scope(), again)[0]["headers"] == [
        (b"content-type", b"application/problem+json"),
        (b"content-length", str(len(again.body)).encode()),
        (b"cache-control", b"no-store"),
        (b"retry-after", b"3"),
    ]
    assert (again.status, again.body) == (503, problem(auth_request(), busy)[1])
    assert lines(reply_to(auth_request(), later, [Badge()]), b"retry-after") == [b"4"]


@pytest.mark.parametrize(
    ("method", "headers", "render"),
    [("HEAD", [], problem), ("GET", [(b"x-info", b"1")], problem), ("GET", [], lambda *_: ("text/plain", b"busy"))],
    ids=["HEAD", "headers of the scheme", "a body of the app"],
)
def test_a_response_that_is_of_one_request_is_not_shared(method: str, headers: Any, render: Any) -> None:
    """HEAD has no body, a scheme may add headers, and an app may write the body."""
    denied = Denied(HASHING_BUSY, "basic", response_headers=headers)
    usual = reply_to(auth_request(), Denied(HASHING_BUSY, "basic"), [Badge()])

    reply = reply_to(auth_request(http_scope(method=method)), denied, [Badge()], render)

    assert reply is not usual
    assert (reply.headers, reply.body) != (list(usual.headers), usual.body)
    assert lines(reply, b"x-info") == [value for _, value in headers]
