"""The revocations in memory: what is kept, for how long, and what happens when there are too many."""

from __future__ import annotations

import logging
import math
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authguard import BackendUnavailable, ConfigurationError, MemoryRevocations, Principal, Revocation, Session
from authguard.state.revocations import KEPT_AFTER, revocation_key, revocation_keys
from authguard.testing import ManualClock
from tests.support.clock import NOW

TOKEN = Revocation.token("t-1", expires_at=NOW + 60)


def memory(**options: Any) -> tuple[MemoryRevocations, ManualClock, ManualClock]:
    """A store, its clock and its monotonic clock."""
    clock, ticks = ManualClock(NOW), ManualClock(1000)
    return MemoryRevocations(clock=clock, monotonic=ticks, **options), clock, ticks


def fill(store: MemoryRevocations, number: int, *, expires_at: float = NOW + 60, begin: str = "t") -> None:
    """Revoke so many tokens."""
    for index in range(number):
        store.revoke_now(Revocation.token(f"{begin}{index}", expires_at=expires_at))


async def test_what_is_revoked_is_found_and_nothing_else_is() -> None:
    """Of the keys that are asked about, those that were revoked are found, each with its time."""
    store, _, _ = memory()
    subject = Revocation.subject("alice", before=NOW - 5, expires_at=NOW + 60)
    await store.revoke(TOKEN)
    await store.revoke(subject)

    assert await store.find([revocation_key("token", "t-2"), revocation_key("session", "t-1")]) == {}
    assert await store.find([TOKEN.key, subject.key]) == {TOKEN.key: math.inf, subject.key: NOW - 5}


async def test_the_interface_of_sessions_is_the_same_store() -> None:
    """The scheme of sessions enters and asks by the id of a session."""
    store, _, _ = memory()
    await store.revoke_session("s-1", NOW + 60)

    assert [await store.is_session_revoked(name) for name in ("s-1", "s-2")] == [True, False]
    assert [store.is_session_revoked_now(name) for name in ("s-1", "s-2")] == [True, False]
    assert store.find_now([revocation_key("session", "s-1")])


def test_the_later_time_of_a_subject_holds() -> None:
    """A second revocation of a subject never makes good what the first one refused."""
    store, _, ticks = memory()
    times = [NOW, NOW - 50, NOW + 7]
    found = []
    for before in times:
        revocation = Revocation.subject("alice", before=before, expires_at=before + 100)
        store.revoke_now(revocation)
        found.append(store.find_now([revocation.key])[revocation.key])

    assert found == [NOW, NOW, NOW + 7]
    assert list(store._kept_until.values()) == [ticks.now + 107 + KEPT_AFTER]


def test_what_has_ended_makes_room() -> None:
    """Revocations are forgotten after what they revoke has ended, and not before, leeway included."""
    store, _, ticks = memory(most=100)
    fill(store, 90)
    ticks.move(60 + KEPT_AFTER - 1)
    with pytest.raises(BackendUnavailable):
        store.revoke_now(TOKEN)
    ticks.move(1)
    store.revoke_now(TOKEN)

    assert len(store) == 1


def test_a_clock_that_is_set_forwards_and_back_loses_nothing() -> None:
    """The time to keep a revocation is counted by the monotonic clock, so that a wrong clock forgets none."""
    store, clock, _ = memory(most=100)
    store.revoke_now(TOKEN)
    clock.move(10**9)
    fill(store, 89, expires_at=NOW + 10**9 + 60)
    with pytest.raises(BackendUnavailable):
        fill(store, 1, begin="more")
    clock.move(-(10**9))

    assert store.find_now([TOKEN.key]) == {TOKEN.key: math.inf}


def test_a_full_memory_forgets_nothing_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    """When it is full, what is revoked stays revoked, a new one raises, and one ERROR is logged."""
    store, _, _ = memory(most=100)
    fill(store, 90)
    for index in range(3):
        with pytest.raises(BackendUnavailable, match="most=100"):
            fill(store, 1, begin=f"more{index}")

    assert all(store.find_now([revocation_key("token", f"t{index}")]) for index in range(90))
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    fill(store, 90)  # what is there already needs no room


def test_users_who_log_out_cannot_fill_the_part_of_an_operator() -> None:
    """A flood of log-outs leaves a tenth for the subjects and API keys that an operator revokes."""
    store, _, _ = memory(most=100)
    fill(store, 90)
    for index in range(10):
        store.revoke_now(Revocation.subject(f"mallory{index}", before=NOW, expires_at=NOW + 60))
    with pytest.raises(BackendUnavailable):
        store.revoke_now(Revocation.api_key("abc", expires_at=math.inf))

    assert len(store) == 100


def test_a_flood_looks_at_all_of_them_seldom() -> None:
    """Each look for what has ended is paid by as many new revocations as are kept, and frees what has ended."""
    store, _, ticks = memory(most=10_000)
    for round_ in range(20):
        fill(store, 500, begin=f"{round_}-")
        ticks.move(60 + KEPT_AFTER)

    assert len(store) <= 1500


def test_threads_that_revoke_at_once_lose_nothing() -> None:
    """What several threads revoke at the same time is all revoked."""
    store, _, _ = memory()
    threads = [threading.Thread(target=fill, args=(store, 500), kwargs={"begin": f"{name}-"}) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(store) == 2000


@given(st.lists(st.tuples(st.sampled_from(["token", "session", "api_key"]), st.text(min_size=1)), max_size=30))
def test_any_name_is_found_again(names: list[Any]) -> None:
    """A name of any characters is found under its kind, and under no other one."""
    store, _, _ = memory()
    for kind, name in names:
        store.revoke_now(Revocation(kind, name, NOW))

    for kind, name in names:
        assert store.find_now([revocation_key(kind, name)])
        assert not store.find_now([revocation_key("subject", name)])
    assert len(store) == len(set(names))


@pytest.mark.parametrize(
    ("make", "argument"),
    [
        (lambda: Revocation.token("", expires_at=NOW), "name"),
        (lambda: Revocation.token(7, expires_at=NOW), "name"),  # type: ignore[arg-type]
        (lambda: Revocation("user", "alice", NOW), "kind"),  # type: ignore[arg-type]
        (lambda: Revocation.token("t", expires_at=True), "expires_at"),
        (lambda: Revocation.token("t", expires_at=math.nan), "expires_at"),
        (lambda: Revocation.subject("alice", before="now", expires_at=NOW), "before"),  # type: ignore[arg-type]
        (lambda: Revocation.subject("alice", before=math.inf, expires_at=NOW), "before"),
        (lambda: MemoryRevocations(most=3), "most"),
    ],
)
def test_a_wrong_argument_is_named(make: Any, argument: str) -> None:
    """What could never be found again, or would lock out a subject for ever, raises."""
    with pytest.raises(ConfigurationError) as raised:
        make()

    assert raised.value.argument == argument


def test_the_keys_of_a_principal_are_read_once_and_its_claims_are_not_copied() -> None:
    """The claims that name credentials are read once for a principal, and ids that are no strings are left out."""
    principal = Principal("alice", claims={"jti": "t-1", "sid": 5, "key_id": "k", "iat": 7, "auth_time": True})
    keys = revocation_keys(principal)

    assert keys.kinds == ("token", "api_key", "subject")
    assert keys.keys[0] == TOKEN.key
    assert keys.issued_at == 7
    assert revocation_keys(principal) is keys
    assert revocation_keys(Principal("bob")).issued_at is None


@pytest.mark.parametrize("iat", [math.nan, math.inf, -math.inf])
def test_a_time_that_is_none_is_no_time(iat: float) -> None:
    """NaN is not before anything, so that a check which gives it to a principal would lift each revocation."""
    assert revocation_keys(Principal("alice", claims={"iat": iat})).issued_at is None


def test_who_asks_to_be_told_is_told_until_the_end() -> None:
    """Each of several open connections is told of a revocation of one of its keys, and of no other one."""
    store, _, _ = memory()
    told: list[str] = []
    key = revocation_key("subject", "alice")
    ends = [
        store.on_revoked([TOKEN.key, key], lambda: told.append("first")),
        store.on_revoked([TOKEN.key], lambda: told.append("second")),
    ]
    fill(store, 3)
    store.revoke_now(TOKEN)
    first = sorted(told)
    ends[0]()
    store.revoke_now(TOKEN)
    ends[1]()
    store.revoke_now(TOKEN)

    assert (first, told[2:], len(store._callbacks)) == (["first", "second"], ["second"], 0)


def test_the_scheme_of_sessions_takes_the_store() -> None:
    """A log-out enters the session, and the guard may ask the same store for tokens."""
    store, _, _ = memory()

    assert Session(realm="shop", revocations=store).name == "session"
