"""A source whose keys are fetched: what it answers while they are fresh, old, gone, or not to be had."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import anyio

from authguard.caching import NegativeCache
from authguard.concurrency.background import BackgroundFetch
from authguard.concurrency.token_bucket import Rate, TokenBucket
from authguard.keys.options import FetchOptions
from authguard.keys.refresher import CachedKeySet, FetchedKeySet, KeyRefresher
from authguard.keys.source import ALGORITHMS, VerificationKey
from authguard.model import Clock

#: So many fetches for unknown keys are in hand, and as many for keys that did not fit.
IN_HAND = 3
#: In seconds: for how long a request waits for a fetch where its keys are old, and how often a lifespan looks whether
#: it is time for one.
PATIENCE = 1.0
TICK = 1.0


class CachedKeys(ABC):
    """A source that keeps what it fetches. ``RemoteJWKS`` and ``Discovery`` say where from, in ``_load``.

    - *Fresh*: the answer is at hand. After four fifths of its lifetime a set is fetched again, beside the requests.
    - *Expired*: the next request waits for a fetch, a second at most, or to its end where nobody came for long. Where
      that fails the keys serve on, until ``stale`` is over, and no request waits for the next.
    - *A key that is not in the set* costs a fetch out of a small budget, and then is unknown. While the last fetch
      failed it is an outage: nobody knows.
    - *A key that does not fit* may have been replaced under its name, or bear none: that costs a fetch out of another
      budget. While the last fetch failed the answer is that of the keys that are held.
    - *No set yet, or one whose time is over*: requests wait for a fetch; where that fails it is an outage.

    One fetch at a time, whoever asks.
    """

    def __init__(self, name: str, fetch_options: FetchOptions) -> None:
        self.name = name
        self._options, self._clock = fetch_options, fetch_options.clock
        self._fetches_for_unknown = TokenBucket(Rate(IN_HAND, fetch_options.cooldown))
        # Of its own: forged signatures are no reason to overlook a key that is new.
        self._fetches_for_unverified = TokenBucket(Rate(IN_HAND, fetch_options.cooldown))
        self._not_found = NegativeCache(seconds=fetch_options.cooldown)
        self._refresh = KeyRefresher(name, self._load, fetch_options)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    @abstractmethod
    async def _load(self) -> FetchedKeySet:
        """Fetches, on a loop of its own. Whatever it raises is a failure; ``FetchFailed`` says which."""
        ...

    # --- the source ---------------------------------------------------------------------------------------------------

    def held(self, *, kid: str | None, algorithm: str) -> Sequence[VerificationKey] | None:
        """The answer, where no fetch is to be waited for."""
        now, kept = self._clock(), self._refresh.kept
        if kept is None:
            return None
        found = kept.source.named(kid, algorithm)
        return found if found is None or now < kept.refresh or self._serves_on(kept, now) else None

    def _serves_on(self, kept: CachedKeySet, now: float) -> bool:
        """Whether a set serves while it is fetched again, which this begins."""
        refresh = self._refresh
        with refresh.lock:
            refresh.begin_where_due()
            flight = refresh.flight
        # Who comes while a fetch hangs does not wait for it once more.
        hangs = flight is not None and now - flight.started_at >= PATIENCE and not kept.is_long_expired(now)
        return now < kept.expires or (now < kept.dies and (hangs or refresh.failing() is not None))

    async def keys_for(self, *, kid: str | None, algorithm: str) -> Sequence[VerificationKey]:
        """The same answer, or that of a fetch. Raises ``BackendUnavailable`` (``keys.unavailable``)."""
        refresh = self._refresh
        asked_after = refresh.departures
        patient = True
        while True:
            with refresh.lock:
                known = self._known(kid, algorithm)
                if known is not None and not (patient and self._is_worth_waiting()):
                    return known
                found = self._awaited(kid, algorithm, asked_after)
            if not isinstance(found, BackgroundFetch):
                return found
            with anyio.move_on_after(math.inf if known is None or self._is_long_expired() else PATIENCE):
                await found.wait()
            patient = False

    async def refetch(
        self, tried: Sequence[VerificationKey], *, kid: str | None, algorithm: str
    ) -> Sequence[VerificationKey] | None:
        """The keys where they are others than were tried; None where they are not, or it was asked too often.

        Raises ``BackendUnavailable`` where nobody knows whether there is a key of this name.
        """
        asked_after = self._refresh.departures
        while True:
            with self._refresh.lock:
                found = self._others(tried, kid, algorithm, asked_after)
            if not isinstance(found, BackgroundFetch):
                return found
            await found.wait()

    def algorithms_of(self, kid: str | None) -> Sequence[str]:
        """The algorithms that the key of this id is held for, those of all where it is None."""
        kept = self._refresh.kept
        return () if kept is None else tuple(name for name in ALGORITHMS if kept.source.named(kid, name) is not None)

    def _known(self, kid: str | None, algorithm: str) -> Sequence[VerificationKey] | None:
        """The key, where it is in a set that is not dead."""
        kept = self._refresh.kept
        return kept.source.named(kid, algorithm) if kept is not None and self._clock() < kept.dies else None

    def _is_worth_waiting(self) -> bool:
        """Whether the set has expired, and the fetch that this asks for has not failed yet."""
        kept, failure = self._refresh.kept, self._refresh.failing()
        return failure is None and (kept is None or self._clock() >= kept.expires)

    def _is_long_expired(self) -> bool:
        kept = self._refresh.kept
        return kept is not None and kept.is_long_expired(self._clock())

    def _awaited(
        self, kid: str | None, algorithm: str, asked_after: int
    ) -> Sequence[VerificationKey] | BackgroundFetch:
        """The fetch to wait for, or the answer where none is worth it. The lock is held."""
        refresh, now = self._refresh, self._clock()
        kept, failure = refresh.kept, refresh.failing()
        if failure is not None or kept is None or now >= kept.expires:
            if refresh.flight is not None or failure is None or now >= failure.retry:
                return refresh.begin()
            # What bears no id is tried meanwhile. Where it does not fit, nobody knows.
            nameless = () if kept is None or now >= kept.dies else kept.source.held(kid=kid, algorithm=algorithm)
            if not nameless:
                raise refresh.unavailable(failure)
            return nameless
        # The set is good, and the key is not in it.
        if kept.number > asked_after:
            self._not_found.add(kid, algorithm, now=now)
        elif not self._not_found.has(kid, algorithm, now=now) and (
            refresh.flight is not None or self._fetches_for_unknown.acquire(now)
        ):
            return refresh.begin()
        # A key that bears no id may have signed what names one.
        return kept.source.held(kid=kid, algorithm=algorithm)

    def _others(
        self, tried: Sequence[VerificationKey], kid: str | None, algorithm: str, asked_after: int
    ) -> Sequence[VerificationKey] | BackgroundFetch | None:
        """The fetch to wait for, or what ``refetch`` answers. The lock is held."""
        refresh, now = self._refresh, self._clock()
        kept, failure = refresh.kept, refresh.failing()
        if kept is None:
            return None
        found = kept.source.held(kid=kid, algorithm=algorithm)
        if list(found) != list(tried):
            return found
        if failure is not None and kept.source.named(kid, algorithm) is None:
            raise refresh.unavailable(failure)
        if failure is not None and now < failure.retry:
            return None
        if kept.number > asked_after:
            self._not_found.add(kid, algorithm, now=now)
        elif not self._not_found.has(kid, algorithm, now=now) and (
            refresh.flight is not None or self._fetches_for_unverified.acquire(now)
        ):
            return refresh.begin()
        return None

    # --- the service --------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def running(self, clock: Clock) -> AsyncIterator[None]:
        """Fetches now and whenever it is time, so that requests find the answer at hand. Its own clock says when."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._keep_up)
            yield
            tasks.cancel_scope.cancel()

    async def _keep_up(self) -> None:
        while True:
            with self._refresh.lock:
                self._refresh.begin_where_due()
            await anyio.sleep(TICK)

    async def warm(self) -> None:
        """Fetches now, whatever is held. Raises ``BackendUnavailable`` where that fails."""
        with self._refresh.lock:
            flight = self._refresh.begin()
        await flight.wait()
        failure = self._refresh.failure
        if failure is not None:
            raise self._refresh.unavailable(failure)

    def health(self) -> Mapping[str, object]:
        """Figures for a person, in seconds.

        ``age`` of the keys, ``fresh_for`` until they expire, ``usable_for`` until they serve no more; ``last_error`` is
        why the last fetch failed, None where it did not, ``failing_for`` since when. ``fetching_for``: since when the
        fetch under way is, None where there is none.
        """
        now, kept, failure, flight = self._clock(), self._refresh.kept, self._refresh.failing(), self._refresh.flight
        return {
            "source": self.name,
            "keys": 0 if kept is None else kept.read.held,
            "skipped": 0 if kept is None else kept.read.skipped,
            "age": None if kept is None else now - kept.fetched,
            "fresh_for": 0.0 if kept is None else max(0.0, kept.expires - now),
            "usable_for": 0.0 if kept is None else max(0.0, kept.dies - now),
            "fetches": self._refresh.departures,
            "fetching_for": None if flight is None else max(0.0, now - flight.started_at),
            "last_error": None if failure is None else failure.problem,
            "failing_for": 0.0 if failure is None else now - failure.since,
            "next_try_in": None if failure is None else max(0.0, failure.retry - now),
        }
