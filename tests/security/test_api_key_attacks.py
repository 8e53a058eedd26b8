"""Attacks on API keys against a whole app: garbage, ids that are tried out, differences in responses and in work."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import pytest

from authguard import LoginThrottle, Rate
from authguard.accounts.api_key import StoredKey
from authguard.accounts.api_key_memory import MemoryApiKeys
from authguard.model import Moment
from authguard.request import AuthRequest
from authguard.testing import ManualClock
from authguard.wire.api_key import MAX_KEY
from authguard.wire.authorization import Credentials
from tests.accounts.file_changes import count_lines
from tests.support.asgi import Exchange, RecordingApp, http_scope, run_app
from tests.support.call_count import count_calls
from tests.support.canary import CANARY, LogRecorder, leaks
from tests.support.clock import NOW
from tests.support.guards import RecordingGuard
from tests.support.schemes.api_key import KEY_ID, api_key_scheme, key_text, stored_key

REVOKED = "111111111111"


class Counting(MemoryApiKeys):
    """A store in memory that counts how often it is asked."""

    asked = 0

    def find_now(self, key_id: str) -> StoredKey | None:
        self.asked += 1
        return super().find_now(key_id)

    async def find(self, key_id: str) -> StoredKey | None:
        raise AssertionError


def store() -> Counting:
    """A good key and a revoked one."""
    return Counting([stored_key(), stored_key(REVOKED, text=key_text(REVOKED), revoked=NOW - 60)])


async def ask(guard: RecordingGuard, *values: bytes, **scope: Any) -> Exchange:
    """The response to a request with these lines of X-API-Key."""
    return await run_app(
        guard.wrap(RecordingApp()), http_scope(headers=[(b"x-api-key", line) for line in values], **scope)
    )


GARBAGE: Sequence[bytes] = [
    b" ",
    b"\x00",
    b"\xff" * 56,
    b"a" * 64,
    b"_" * 87,
    b"acme_live_" + b"_" * 46,
    key_text().encode()[:-6],
    key_text().encode()[:-1] + b"\n",
    key_text().encode() + b" ",
    key_text().encode() + b"x",
    key_text().encode() + b", " + key_text().encode(),
    b'"' + key_text().encode() + b'"',
    key_text().upper().encode(),
    key_text().replace("_", "\u2017").encode(),
    "acme_live_\u0437k3mV0pQ8sT1_".encode() + b"s" * 33,
    key_text(label="other_live").encode(),
    b"Bearer " + key_text().encode(),
    b"k" * 16_384,
]


@pytest.mark.parametrize("garbage", GARBAGE, ids=lambda garbage: repr(garbage[:24]))
async def test_garbage_is_refused_without_a_look_up(garbage: bytes) -> None:
    """As 401, with the same bytes for all of it. Spaces around a key are not part of the value (RFC 9110)."""
    keys = store()
    guard = RecordingGuard(api_key_scheme(store=keys))
    nothing = await ask(guard)

    answer = await ask(guard, garbage)

    if garbage.strip(b" ") == key_text().encode():
        assert answer.status == 200
        return
    assert (answer.status, answer.sent, keys.asked) == (401, nothing.sent, 0)


@pytest.mark.parametrize("length", [16_385, 65_536])
async def test_a_field_that_is_too_long_is_no_key(length: int) -> None:
    """It is ambiguous what it is meant to be, and it is not read."""
    keys = store()
    guard = RecordingGuard(api_key_scheme(store=keys))

    assert (await ask(guard, b"k" * length)).status == 400
    assert keys.asked == 0
    assert [record.reason for record in guard.records] == ["header.too_long"]


async def test_two_lines_are_ambiguous() -> None:
    """Whichever of them is right, neither is looked up."""
    keys = store()
    guard = RecordingGuard(api_key_scheme(store=keys))

    for lines in ([key_text().encode()] * 2, [key_text().encode(), b"x"], [b"", key_text().encode()]):
        assert (await ask(guard, *lines)).status == 400
    assert keys.asked == 0


def test_reading_garbage_takes_the_same_work_whatever_its_length() -> None:
    """A field of 16 KiB costs no more lines than one of 64 bytes."""
    scheme = api_key_scheme(throttle=None)

    def lines(raw: bytes) -> int:
        request = AuthRequest(http_scope(), "/", Moment(NOW, 60.0))
        return count_lines(scheme.authenticate(request, Credentials("api-key", raw)))[1]

    counts = [lines(raw) for raw in (b"k" * (MAX_KEY + 1), b"k" * 16_384, b"_" * 65_536)]

    assert len(set(counts)) == 1
    assert max(lines(garbage) for garbage in GARBAGE) <= lines(key_text("000000000000").encode())


def test_unknown_wrong_and_revoked_keys_cost_the_same_work() -> None:
    """Each makes as many calls, so that the time does not tell whether a key once was one."""
    request = AuthRequest(http_scope(), "/", Moment(NOW, 60.0))

    def calls(text: str) -> int:
        credentials = Credentials("api-key", text.encode())
        scheme = api_key_scheme(store=store(), throttle=LoginThrottle(clock=ManualClock(1000)))
        scheme.authenticate_now(request, credentials)  # what is cached by the address is cached then
        return count_calls(lambda: scheme.authenticate_now(request, credentials))

    unknown, wrong, revoked = (
        calls(text) for text in (key_text("000000000000"), key_text(secret="t" * 27), key_text(REVOKED))
    )

    assert unknown == wrong == revoked


async def test_trying_out_ids_tells_nothing() -> None:
    """The responses for ids that exist and for others are the same, and so is when they become 429."""
    throttle = LoginThrottle(pair=Rate(3, 30.0), clock=ManualClock(1000))
    guard = RecordingGuard(api_key_scheme(store=store(), throttle=throttle))

    answers = {
        key_id: [(await ask(guard, key_text(key_id, secret="t" * 27).encode())).sent for _ in range(5)]
        for key_id in (KEY_ID, REVOKED, "000000000000", "zzzzzzzzzzzz")
    }

    assert all(answer == answers[KEY_ID] for answer in answers.values())
    assert len({str(answer) for answer in answers[KEY_ID]}) == 2


async def test_a_stranger_cannot_keep_an_owner_out() -> None:
    """Neither by 200 wrong secrets for the owner's id, nor by 200 ids, nor from the owner's network."""
    throttle = LoginThrottle(clock=ManualClock(1000))  # attempts come back with the time that a slow machine takes
    guard = RecordingGuard(api_key_scheme(store=store(), throttle=throttle))
    for number in range(200):
        client = ("192.0.2.7" if number % 2 else f"198.51.100.{number % 250}", 1)
        await ask(guard, key_text(secret="t" * 27).encode(), client=client)
        await ask(guard, key_text(f"{number:012d}").encode(), client=client)

    assert (await ask(guard, key_text().encode())).status == 200


async def test_a_key_in_the_query_or_in_a_cookie_is_none() -> None:
    """It would stand in logs and histories, and browsers would send it by themselves."""
    keys = store()
    guard = RecordingGuard(api_key_scheme(store=keys))
    query = await ask(guard, query_string=b"api_key=" + key_text().encode())
    cookie = http_scope(headers=[(b"cookie", b"X-API-Key=" + key_text().encode())])

    assert query.status == (await run_app(guard.wrap(RecordingApp()), cookie)).status == 401
    assert keys.asked == 0
    assert guard.records[0].facts == {"found_in": ("query api_key",)}


async def test_no_part_of_a_key_reaches_a_log() -> None:
    """Whatever is wrong with it, neither the secret nor the text is in the log, a record or a response."""
    secret = (CANARY.replace("-", "").replace("_", "") * 3)[:27]
    texts = [
        key_text(secret=secret),
        key_text("000000000000", secret=secret),
        key_text(label="acme_test", secret=secret),
        key_text(secret=secret)[:-1],
        secret,
    ]
    recorder = LogRecorder()
    logging.getLogger("authguard").addHandler(recorder)
    try:
        guard = RecordingGuard(api_key_scheme(stored_key(text=texts[0], revoked=NOW)), log=True)
        sent = [(await ask(guard, text.encode())).sent for text in texts]
    finally:
        logging.getLogger("authguard").removeHandler(recorder)

    for place in (repr(sent), repr(guard.records), repr(recorder.__dict__)):
        assert secret not in place
        assert secret[:8] not in place
    assert leaks(repr(sent)) == []
