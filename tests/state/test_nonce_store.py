"""The nonce store in memory: each count of a nonce is accepted once, in any order, whatever is dropped."""

from __future__ import annotations

import secrets
import threading
import tracemalloc
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from authguard.errors import ConfigurationError
from authguard.state.nonce_store import WINDOW, MemoryNonces, NonceUse
from authguard.testing import ManualClock
from authguard.wire.nonce import RANDOM, Nonce
from tests.state.counted_keys import CountedKey
from tests.support.clock import NOW

LIFE = 300.0


def begun(now: float = NOW, **options: Any) -> MemoryNonces:
    """A store that has begun."""
    nonces = MemoryNonces(clock=lambda: 0.0, **options)
    nonces.begin(now)
    return nonces


def claim(
    nonces: MemoryNonces, count: int = 1, nonce: bytes = b"n", *, minted_at: float = NOW, now: float = NOW + 1
) -> NonceUse:
    """Claim a count of a nonce with the usual life."""
    return nonces.claim_now(nonce, count, minted_at=minted_at, expires_at=minted_at + LIFE, now=now)


def claims(nonces: MemoryNonces, *counts: int) -> list[str]:
    """The result for each count of one nonce by its first letter: FRESH, REPLAYED, OUTSIDE, and ``x`` for FORGOTTEN."""
    letters = {NonceUse.FRESH: "F", NonceUse.REPLAYED: "R", NonceUse.OUTSIDE: "O", NonceUse.FORGOTTEN: "x"}
    return [letters[claim(nonces, count)] for count in counts]


def fill(nonces: MemoryNonces, number: int, *, minted_at: float = NOW, now: float = NOW + 1) -> None:
    """Claim so many other nonces."""
    for index in range(number):
        stamp = minted_at + index * 1e-6
        assert claim(nonces, 1, secrets.token_bytes(20), minted_at=stamp, now=now) is NonceUse.FRESH


# --- One nonce --------------------------------------------------------------------------------------------------------


@pytest.mark.rfc("7616-9")
def test_each_count_is_accepted_once() -> None:
    """Counts in order are accepted once each."""
    assert claims(begun(), 1, 2, 2, 1, 3, 3) == ["F", "F", "R", "R", "F", "R"]


@pytest.mark.rfc("7616-9")
def test_counts_may_come_in_any_order() -> None:
    """Counts are accepted in any order, because parallel requests of a browser overtake each other."""
    assert claims(begun(), 5, 1, 3, 4, 2, 3, 6, 5) == ["F", "F", "F", "F", "F", "R", "F", "R"]


@pytest.mark.rfc("7616-9")
def test_counts_may_be_skipped() -> None:
    """Counts may be skipped, because a proxy or a cancelled request may have swallowed them."""
    assert claims(begun(), 1, 40, 2**32 - 1, 2**32 - 1) == ["F", "F", "F", "R"]


@pytest.mark.rfc("7616-9")
def test_a_count_below_the_window_is_outside() -> None:
    """The window is wide enough for 128 requests that overtake one."""
    first = 1000

    assert claims(begun(), first, first - WINDOW, first - WINDOW + 1, first - WINDOW + 1) == ["F", "O", "F", "R"]
    assert claims(begun(), 1, 1 + WINDOW, 1, 2, 2) == ["F", "F", "O", "F", "R"]
    assert claims(begun(), 1, WINDOW, 1, WINDOW + 1, 1) == ["F", "F", "R", "F", "O"]


@pytest.mark.parametrize("above", [1, 2, WINDOW - 1, WINDOW, WINDOW + 1, 5 * WINDOW])
def test_the_window_moves_with_the_highest_count(above: int) -> None:
    """The window moves with the highest count, and counts inside it stay used."""
    used = [7, 9, 9 + above]
    nonces = begun()
    claims(nonces, *used)

    told = claims(nonces, *range(1, 9 + above + 2))

    for count, letter in enumerate(told, 1):
        outside = count <= 9 + above - WINDOW
        assert letter == ("O" if outside else "R" if count in used else "F"), count


async def test_both_ways_to_claim_share_their_counts() -> None:
    """``claim`` and ``claim_now`` share their counts."""
    nonces = begun()
    options: dict[str, float] = {"minted_at": NOW, "expires_at": NOW + LIFE, "now": NOW}

    assert [await nonces.claim(b"n", 1, **options) for _ in range(2)] == [NonceUse.FRESH, NonceUse.REPLAYED]


# --- What is forgotten is not taken again -----------------------------------------------------------------------------


@pytest.mark.rfc("7616-9")
def test_a_nonce_of_before_the_beginning_is_forgotten() -> None:
    """A nonce from before the start is rejected, because it may have been used. One from the very start is accepted."""
    nonces = begun(NOW)

    assert claim(nonces, minted_at=NOW - 1) is NonceUse.FORGOTTEN
    assert claim(nonces, minted_at=NOW - 1e-5) is NonceUse.FORGOTTEN
    assert claim(nonces, minted_at=Nonce.mint(NOW, bytes(RANDOM)).issued_at) is NonceUse.FRESH


def test_a_nonce_of_another_process_is_accepted_before_the_first_request() -> None:
    """The store starts when it is told to, not at its first request."""
    clock = ManualClock(0)
    nonces = MemoryNonces(clock=clock)
    clock.move(60)
    nonces.begin(NOW)

    assert claim(nonces, nonce=b"theirs", minted_at=NOW - 59) is NonceUse.FRESH
    assert claim(nonces, nonce=b"older", minted_at=NOW - 61) is NonceUse.FORGOTTEN


def test_a_fork_begins_anew() -> None:
    """A forked child begins again, as it does not know what its siblings accepted. Counts used before the fork stay
    used."""
    clock = ManualClock(0)
    nonces = MemoryNonces(clock=clock)
    nonces.begin(NOW)
    assert claim(nonces, nonce=b"used", minted_at=NOW + 1) is NonceUse.FRESH
    clock.move(60)
    nonces.renew()
    clock.move(5)
    nonces.begin(NOW + 65)

    assert claim(nonces, nonce=b"used", minted_at=NOW + 1) is NonceUse.REPLAYED
    assert claim(nonces, nonce=b"a", minted_at=NOW + 59) is NonceUse.FORGOTTEN
    assert claim(nonces, nonce=b"b", minted_at=NOW + 61) is NonceUse.FRESH


def test_a_clock_that_was_set_back_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """While the clock is behind, nobody can log in, so a log record explains it once."""
    nonces = begun(NOW)

    for _ in range(2):
        assert claim(nonces, minted_at=NOW - 3600, now=NOW - 3600) is NonceUse.FORGOTTEN

    (message,) = caplog.messages
    assert message.startswith("the clock was set back by 3600 s")


def test_a_store_that_has_not_begun_accepts_nothing() -> None:
    """Before the start a claim is rejected, because nobody knows what was used."""
    assert claim(MemoryNonces(clock=lambda: 0.0)) is NonceUse.FORGOTTEN


def test_it_begins_once() -> None:
    """Two schemes that share a store begin it twice. Neither drops or reopens what the other one accepted."""
    nonces = begun(NOW)
    nonces.begin(NOW + 100)
    assert claim(nonces, nonce=b"a", minted_at=NOW + 50, now=NOW + 101) is NonceUse.FRESH

    nonces.begin(NOW - 100)
    assert claim(nonces, nonce=b"b", minted_at=NOW - 50) is NonceUse.FORGOTTEN


def test_beyond_the_maximum_the_oldest_nonces_are_dropped() -> None:
    """Dropped nonces are rejected from then on, and so are unknown ones of their age."""
    nonces = begun(most=1_000)
    assert claim(nonces, nonce=b"old") is NonceUse.FRESH
    fill(nonces, 2_000, minted_at=NOW + 2)

    assert len(nonces) <= 1_000
    assert claim(nonces, 2, b"old") is NonceUse.FORGOTTEN
    assert claim(nonces, nonce=b"unseen") is NonceUse.FORGOTTEN
    assert claim(nonces, nonce=b"new", minted_at=NOW + 3) is NonceUse.FRESH


def test_the_youngest_of_what_is_forgotten_is_what_counts() -> None:
    """The youngest dropped nonce sets the limit, because a nonce of a host that is ahead may be dropped first."""
    nonces = begun(most=1_000)
    assert claim(nonces, nonce=b"ahead", minted_at=NOW + 50) is NonceUse.FRESH
    fill(nonces, 124, minted_at=NOW + 1)
    fill(nonces, 900, minted_at=NOW + 60)

    assert claim(nonces, nonce=b"ahead", minted_at=NOW + 50) is NonceUse.FORGOTTEN
    assert claim(nonces, nonce=b"unseen", minted_at=NOW + 49) is NonceUse.FORGOTTEN
    assert claim(nonces, nonce=b"younger", minted_at=NOW + 51) is NonceUse.FRESH


def test_what_was_forgotten_once_stays_so_though_older_ones_are_forgotten_after_it() -> None:
    """The limit never moves back, even if the clock was set back and older nonces are dropped later."""
    nonces = begun(most=1_000)
    assert claim(nonces, nonce=b"ahead", minted_at=NOW + 50) is NonceUse.FRESH
    fill(nonces, 824, minted_at=NOW + 10)
    fill(nonces, 300, minted_at=NOW + 51)
    assert claim(nonces, nonce=b"ahead", minted_at=NOW + 50) is NonceUse.FORGOTTEN

    fill(nonces, 600, minted_at=NOW + 52)
    assert claim(nonces, nonce=b"ahead", minted_at=NOW + 50) is NonceUse.FORGOTTEN


def test_expired_nonces_are_removed() -> None:
    """Expired nonces are removed without a claim for them, and the others stay known."""
    nonces = begun()
    fill(nonces, 100)
    fill(nonces, 10, minted_at=NOW + LIFE - 1, now=NOW + LIFE - 1)
    assert len(nonces) == 110

    fill(nonces, 1, minted_at=NOW + LIFE + 1, now=NOW + LIFE + 1)
    assert len(nonces) == 11
    assert claim(nonces, nonce=b"unseen", now=NOW + LIFE + 1) is NonceUse.FORGOTTEN


def test_a_steady_stream_keeps_no_more_than_lives() -> None:
    """At ten nonces a second, for ten lives, at most the nonces of a life and an eighth are kept."""
    nonces, most = begun(), 0
    for tenth in range(int(10 * LIFE) * 10):
        fill(nonces, 1, minted_at=NOW + tenth / 10, now=NOW + tenth / 10)
        most = max(most, len(nonces))

    assert most <= LIFE * 10 * 9 / 8 + 10


def test_nonces_of_different_lives_may_share_a_store() -> None:
    """Two schemes may share a store. A nonce with a long life may be dropped early, but no count is accepted twice."""
    nonces = begun()
    long = {"minted_at": NOW, "expires_at": NOW + 86_400}
    assert nonces.claim_now(b"long", 1, **long, now=NOW) is NonceUse.FRESH

    said = []
    for second in range(1, 60):
        short = {"minted_at": NOW + second, "expires_at": NOW + second + 1}
        assert nonces.claim_now(b"%d" % second, 1, **short, now=NOW + second) is NonceUse.FRESH
        said.append(nonces.claim_now(b"long", 1, **long, now=NOW + second))

    assert set(said) <= {NonceUse.REPLAYED, NonceUse.FORGOTTEN}
    assert len(nonces) < 60


class Model:
    """A naive store that never drops anything, and the events of a process that uses the real one."""

    def __init__(self) -> None:
        self.now = self.newest = NOW
        self.nonces = begun(most=1_000)
        self.minted: list[tuple[bytes, float]] = []
        self.used: set[tuple[bytes, int]] = set()

    def go(self, seconds: float) -> None:
        self.now += seconds

    def mint(self, skew: float) -> None:
        """A nonce of this process, or of a host whose clock is ahead."""
        self.minted.append((secrets.token_bytes(20), self.now + skew))
        self.newest = max(self.newest, self.now + skew)

    def claim(self, which: int, count: int) -> None:
        if not self.minted:
            return
        nonce, minted_at = self.minted[which % len(self.minted)]
        if not minted_at - 60 <= self.now < minted_at + LIFE:
            return  # a scheme does not claim such a nonce
        said = claim(self.nonces, count, nonce, minted_at=minted_at, now=self.now)
        if said is NonceUse.FRESH:
            assert (nonce, count) not in self.used
            self.used.add((nonce, count))
        if said is NonceUse.REPLAYED:
            assert (nonce, count) in self.used

    def crowd(self, number: int) -> None:
        for _ in range(number):
            claim(self.nonces, 1, secrets.token_bytes(20), minted_at=self.now, now=self.now)

    def restart(self) -> None:
        """Restart the process. Its clock is past every timestamp of the old one."""
        self.now = max(self.now, self.newest) + 0.001
        self.nonces = begun(self.now, most=1_000)


actions = st.one_of(
    st.tuples(st.just("claim"), st.integers(0, 20), st.integers(1, 8) | st.integers(1, 400)),
    st.tuples(st.just("claim"), st.integers(0, 20), st.integers(1, 3)),
    st.tuples(st.just("mint"), st.just(0.0) | st.floats(0, 60)),
    st.tuples(st.just("go"), st.floats(0, 400) | st.floats(-400, 0) | st.sampled_from([0.0, 1e-6, 40.0, LIFE])),
    st.tuples(st.just("crowd"), st.sampled_from([1, 124, 125, 126, 900, 1_100])),
    st.tuples(st.just("restart")),
)


@pytest.mark.rfc("7616-9")
@settings(deadline=None, max_examples=400)
@given(st.lists(actions, min_size=1, max_size=40))
def test_no_count_of_a_nonce_is_accepted_twice_whatever_happens(done: list[tuple[Any, ...]]) -> None:
    """Compared with a naive store through floods, restarts, hosts that are ahead and clocks that are set back."""
    model = Model()
    model.mint(0.0)

    for name, *arguments in done:
        getattr(model, name)(*arguments)


@settings(deadline=None, max_examples=200)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 300)), max_size=200))
def test_without_drops_the_results_are_exact(uses: list[tuple[int, int]]) -> None:
    """If nothing is dropped, the results are those of a set of all claims."""
    nonces, used = begun(), dict.fromkeys(range(4), frozenset[int]())

    for which, count in uses:
        highest = max(used[which], default=0)
        wanted = (
            NonceUse.OUTSIDE
            if used[which] and count <= highest - WINDOW
            else NonceUse.REPLAYED
            if count in used[which]
            else NonceUse.FRESH
        )
        assert claim(nonces, count, bytes([which])) is wanted
        if wanted is NonceUse.FRESH:
            used[which] |= {count}


def test_of_many_threads_one_is_fresh() -> None:
    """Of parallel claims in many threads one is FRESH."""
    nonces, answers, barrier = begun(), list[NonceUse](), threading.Barrier(8)

    def claim_all() -> None:
        barrier.wait(30)
        answers.extend([claim(nonces, count) for count in range(1, 101)])

    threads = [threading.Thread(target=claim_all) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert len(answers) == 800
    assert answers.count(NonceUse.FRESH) <= 100
    assert set(answers) <= {NonceUse.FRESH, NonceUse.REPLAYED, NonceUse.OUTSIDE}
    assert claim(nonces, 100) is NonceUse.REPLAYED


# --- Memory -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [1_000, 100_000])
def test_a_nonce_takes_less_than_200_bytes(number: int) -> None:
    """A nonce takes less than 200 bytes of memory, whatever its counts and however many nonces there are."""
    nonces = begun()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for index in range(number):
            now = NOW + index / 1000
            identity = Nonce.mint(now, index.to_bytes(RANDOM, "big")).identity
            claim(nonces, 2**32 - 1, identity, minted_at=now, now=now)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert len(nonces) == number
    assert (after - before) / number < 200


@pytest.mark.parametrize("seconds", [0.0, 10.0, LIFE + 1])
def test_nonces_that_are_dropped_are_freed_two_at_a_time(seconds: float) -> None:
    """To free a million nonces that have expired would hold up all requests. Those not freed yet count as kept."""
    nonces, most_freed = begun(most=1_000), 0
    CountedKey.alive = 0

    for index in range(5_000):
        now = NOW + index / 1000 + (seconds if index > 900 else 0)
        before = CountedKey.alive
        identity = CountedKey(index.to_bytes(RANDOM, "big"))
        assert claim(nonces, 1, identity, minted_at=now, now=now) is NonceUse.FRESH
        del identity
        most_freed = max(most_freed, before + 1 - CountedKey.alive)
        assert len(nonces) <= CountedKey.alive <= 1_000

    assert most_freed == 2


@pytest.mark.parametrize("most", [0, 999, 10_000_001, True, 1e6, "many", None])
def test_the_maximum_of_nonces_is_checked(most: Any) -> None:
    """An invalid ``most`` raises while the app is built, and the error names the argument."""
    with pytest.raises(ConfigurationError) as caught:
        MemoryNonces(clock=lambda: 0.0, most=most)

    assert caught.value.argument == "most"
