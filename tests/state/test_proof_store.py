"""The proof store in memory: each proof is accepted once, whatever is dropped, and nobody can lock out the others."""

from __future__ import annotations

import threading
import tracemalloc
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from authguard.errors import ConfigurationError
from authguard.state.proof_store import MemoryProofs, ProofUse, proof_key
from authguard.testing import ManualClock
from tests.state.counted_keys import CountedKey
from tests.support.clock import NOW

LIFE = 120.0


def begun(now: float = NOW, *, most: int = 1_000_000) -> MemoryProofs:
    """A store of a process that began at this time by the guard's clock."""
    proofs = MemoryProofs(most=most, clock=ManualClock(0.0))
    assert claim(proofs, b"first of all", not_before=now - 1, now=now) is ProofUse.FORGOTTEN
    return proofs


def claim(proofs: MemoryProofs, key: bytes, *, not_before: float = NOW + 1, now: float = NOW + 2) -> ProofUse:
    """Claim a proof that can be accepted for the usual time."""
    return proofs.claim_now(key, not_before=not_before, expires_at=not_before + LIFE, now=now)


def fill(proofs: MemoryProofs, number: int, *, not_before: float, now: float | None = None, name: str = "x") -> None:
    """Claim so many other proofs."""
    for index in range(number):
        key = proof_key(name, f"{not_before}-{index}")
        assert claim(proofs, key, not_before=not_before, now=not_before if now is None else now) is ProofUse.FRESH


async def test_a_proof_is_accepted_once_in_both_ways_to_claim() -> None:
    """``claim`` and ``claim_now`` share what they remember."""
    proofs = begun()
    times: dict[str, float] = {"not_before": NOW + 1, "expires_at": NOW + LIFE, "now": NOW + 2}

    assert [await proofs.claim(b"a", **times) for _ in range(2)] == [ProofUse.FRESH, ProofUse.REPLAYED]
    assert proofs.claim_now(b"a", **times) is ProofUse.REPLAYED
    assert proofs.claim_now(b"b", **times) is ProofUse.FRESH
    assert len(proofs) == 2


def test_a_proof_that_another_process_could_accept_is_forgotten() -> None:
    """What could be accepted before this process began may have been used then, whenever its first request comes."""
    clock = ManualClock(0.0)
    proofs = MemoryProofs(clock=clock)
    clock.move(60)

    assert claim(proofs, b"before", not_before=NOW - 60, now=NOW) is ProofUse.FORGOTTEN
    assert claim(proofs, b"after", not_before=NOW - 59.9, now=NOW) is ProofUse.FRESH


def test_a_fork_begins_anew() -> None:
    """A forked child does not know what its siblings accept. What was used before the fork stays used."""
    clock = ManualClock(0.0)
    proofs = MemoryProofs(clock=clock)
    assert claim(proofs, b"used", not_before=NOW + 1, now=NOW) is ProofUse.FRESH
    clock.move(60)
    proofs.renew()
    clock.move(5)

    assert claim(proofs, b"a", not_before=NOW + 59, now=NOW + 65) is ProofUse.FORGOTTEN
    assert claim(proofs, b"used", not_before=NOW + 1, now=NOW + 65) is ProofUse.REPLAYED
    assert claim(proofs, b"b", not_before=NOW + 61, now=NOW + 65) is ProofUse.FRESH


def test_a_full_memory_forgets_the_oldest_and_accepts_what_is_new() -> None:
    """No proof of the time that was forgotten is accepted. A proof with a nonce of now is, so nobody is locked out."""
    proofs = begun(most=1_000)
    assert claim(proofs, b"old", not_before=NOW + 1) is ProofUse.FRESH
    for second in range(20):
        fill(proofs, 100, not_before=NOW + 2 + second)
        assert len(proofs) <= 1_000
    now = NOW + 22

    assert claim(proofs, b"old", not_before=NOW + 1, now=now) is ProofUse.FORGOTTEN
    assert claim(proofs, b"unseen", not_before=NOW + 5, now=now) is ProofUse.FORGOTTEN
    assert claim(proofs, b"with a new nonce", not_before=now, now=now) is ProofUse.FRESH


def test_expired_proofs_are_removed() -> None:
    """Expired proofs are removed when others come, and are not accepted if the clock is set back."""
    proofs = begun()
    fill(proofs, 100, not_before=NOW + 1)
    fill(proofs, 1, not_before=NOW + LIFE + 2)

    assert len(proofs) == 1
    assert claim(proofs, b"unseen", not_before=NOW + 1, now=NOW + 2) is ProofUse.FORGOTTEN


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.tuples(st.integers(0, 30), st.sampled_from([0.0, 0.5, 3.0, 20.0]), st.sampled_from([0, 0, 1, 130, 500])),
        min_size=1,
        max_size=30,
    )
)
def test_no_proof_is_accepted_twice_whatever_happens(done: list[tuple[int, float, int]]) -> None:
    """Compared with a set that never drops anything, through floods and in any order of the times of proofs."""
    proofs, now = begun(most=1_000), NOW + 1
    used, made = set[bytes](), dict[bytes, float]()
    for step, (which, later, crowd) in enumerate(done):
        now += later
        for index in range(crowd):
            claim(proofs, proof_key(f"crowd {step}", str(index)), not_before=now, now=now)
        key = b"%d" % which
        not_before = made.setdefault(key, now - which)
        if now > not_before + LIFE:
            continue  # a scheme does not claim such a proof
        use = claim(proofs, key, not_before=not_before, now=now)
        assert (use is ProofUse.REPLAYED) <= (key in used)
        assert (use is ProofUse.FRESH) <= (key not in used)
        if use is ProofUse.FRESH:
            used.add(key)


def test_of_many_threads_one_is_fresh() -> None:
    """Of parallel claims of a proof in many threads one is FRESH."""
    proofs, answers, barrier = begun(), list[ProofUse](), threading.Barrier(8)

    def claim_all() -> None:
        barrier.wait(30)
        answers.extend([claim(proofs, b"%d" % index) for index in range(200)])

    threads = [threading.Thread(target=claim_all) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert (answers.count(ProofUse.FRESH), answers.count(ProofUse.REPLAYED)) == (200, 1_400)


@pytest.mark.parametrize("number", [1_000, 100_000])
def test_a_proof_takes_less_than_150_bytes(number: int) -> None:
    """A proof takes less than 150 bytes of memory, however many there are."""
    proofs = begun()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for index in range(number):
            now = NOW + 1 + index / 1000
            claim(proofs, proof_key("holder", str(index)), not_before=now, now=now)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert len(proofs) == number
    assert (after - before) / number < 150


def test_proofs_that_are_dropped_are_freed_two_at_a_time() -> None:
    """To free a million proofs that have expired would hold up all requests. Those not freed yet count as kept."""
    proofs, most_freed = begun(most=1_000), 0
    CountedKey.alive = 0

    for index in range(5_000):
        now = NOW + 1 + index / 1000
        before = CountedKey.alive
        key = CountedKey(index.to_bytes(16, "big"))
        assert claim(proofs, key, not_before=now, now=now) is ProofUse.FRESH
        del key
        most_freed = max(most_freed, before + 1 - CountedKey.alive)
        assert len(proofs) <= CountedKey.alive <= 1_000

    assert most_freed == 2


def test_the_key_of_a_proof_tells_holders_and_ids_apart() -> None:
    """Two holders may choose the same id, an id may contain anything, and a key has 16 bytes whatever its length."""
    pairs = [("a", "b"), ("a", "c"), ("b", "b"), ("a", "\0b"), ("a", "b\0"), ("a", "\ud800"), ("a", "x" * 100_000)]

    keys = [proof_key(*pair) for pair in pairs]

    assert len(set(keys)) == len(pairs)
    assert {len(key) for key in keys} == {16}
    assert proof_key("a", "b") == keys[0]


@pytest.mark.parametrize("most", [0, 999, 10_000_001, True, 1e6, "many", None])
def test_the_maximum_of_proofs_is_checked(most: Any) -> None:
    """An invalid ``most`` raises while the app is built, and the error names the argument."""
    with pytest.raises(ConfigurationError) as caught:
        MemoryProofs(most=most)

    assert caught.value.argument == "most"
