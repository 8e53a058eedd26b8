"""A key set may have a thousand keys: no request looks through them, and none waits long while they are read."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterable
from typing import Any

import pytest

from authguard.concurrency.slices import Slices
from authguard.keys import refresher
from authguard.keys.jwk import MAX_KEYS, parse_key_set
from authguard.keys.source import StaticKeys, VerificationKey
from tests.support.call_count import count_calls
from tests.support.key_source import StubbedSource
from tests.support.tokens import ec_key, published_jwk, rsa_key

MEMBERS = [published_jwk("", rsa_key()), published_jwk("", ec_key())]


def many_keys(number: int) -> bytes:
    """A key set of so many keys."""
    return json.dumps({"keys": [{**MEMBERS[index % 2], "kid": f"k{index}"} for index in range(number)]}).encode()


class CountedKid(str):
    """The id of a key. It counts how often one is compared."""

    __slots__ = ()
    compared = 0

    def __eq__(self, other: object) -> bool:
        CountedKid.compared += 1
        return super().__eq__(other)

    __hash__ = str.__hash__


@pytest.mark.parametrize(("kid", "compared"), [("k501", 1), ("unknown", 0), (None, 0)])
def test_a_key_is_found_in_as_many_steps_however_many_there_are(kid: str | None, compared: int) -> None:
    """Keys are found by their ids, without a look at the others. A token without an id is tried with a few."""

    def steps(number: int) -> list[int]:
        keys = [
            VerificationKey("RS256" if index % 2 else "ES256", CountedKid(f"k{index}"), b"") for index in range(number)
        ]
        source = StaticKeys(keys)
        CountedKid.compared = 0
        assert len(source.held(kid=kid, algorithm="RS256")) == {"k501": 1, "unknown": 0}.get(str(kid), number // 2)
        assert CountedKid.compared == compared
        held = count_calls(lambda: source.held(kid=kid, algorithm="RS256"))
        return [held, count_calls(lambda: source.exact_match(kid, "RS256"))]

    assert steps(1_000) == steps(502)


async def test_fetched_keys_are_found_in_as_many_steps() -> None:
    """A source that caches what it fetches looks up a key as one whose keys are given."""

    async def steps(number: int) -> list[int]:
        source = StubbedSource("a")
        source.server.answer = many_keys(number)
        assert await source.key_ids("k0") == ["k0"]
        kids = ("k0", "unknown", None)
        return [count_calls(lambda: source.keys.held(kid=kid, algorithm="RS256")) for kid in kids]  # noqa: B023

    assert await steps(1_000) == await steps(10)


def test_a_larger_set_is_parsed_in_more_slices_and_not_in_larger_ones() -> None:
    """The first slice parses the JSON, and each other slice a few keys."""
    small, large = (list(_counted(parse_key_set(many_keys(number)))) for number in (400, MAX_KEYS))

    assert len(large) > 4 * len(small)
    assert max(large) < 1.5 * max(small)


def _counted(work: Slices[Any]) -> Iterable[int]:
    """How many calls each slice makes."""
    ended = False

    def one_slice() -> None:
        nonlocal ended
        try:
            next(work)
        except StopIteration:
            ended = True

    while not ended:
        yield count_calls(one_slice)


async def test_fetched_keys_are_parsed_with_pauses_and_sorted_before_a_lock_is_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Requests take turns with the thread of the fetch, and do not wait for it to sort a thousand keys."""
    source = StubbedSource("a")
    source.server.answer = many_keys(1_000)
    pauses: list[threading.Thread] = []
    locked: list[bool] = []
    sleep = time.sleep

    def count(seconds: float) -> None:
        pauses.append(threading.current_thread())
        sleep(seconds)

    class Sorted(StaticKeys):
        __slots__ = ()

        def __init__(self, keys: Iterable[VerificationKey]) -> None:
            locked.append(source.keys._refresher.lock.locked())
            super().__init__(keys)

    monkeypatch.setattr(time, "sleep", count)
    monkeypatch.setattr(refresher, "StaticKeys", Sorted)

    assert await source.key_ids("k999", "ES256") == ["k999"]
    assert locked == [False]
    assert len(pauses) == len(list(_counted(parse_key_set(many_keys(1_000))))) - 1
    assert threading.current_thread() not in pauses
