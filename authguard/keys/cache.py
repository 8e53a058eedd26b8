"""A key source that fetches its keys and caches them: what it answers while they are fresh, expired or missing."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import anyio

from authguard.caching import NegativeCache
from authguard.concurrency.background import BackgroundFetch
from authguard.errors import KeysBusy
from authguard.keys.fetch_budget import ANYBODY, FetchBudget, Requester
from authguard.keys.options import FetchOptions
from authguard.keys.refresher import CachedKeySet, FetchedKeySet, KeyRefresher
from authguard.keys.signatures import ALGORITHMS
from authguard.keys.source import PublishedKeys, VerificationKey
from authguard.model import Clock

#: In seconds: how long a request with expired keys waits for a fetch.
MAX_WAIT = 1.0
#: In seconds: how often ``running()`` checks whether a fetch is due.
CHECK_INTERVAL = 1.0


class CachedKeys(PublishedKeys, ABC):
    """A key source that caches what it fetches. ``RemoteJWKS`` and ``Discovery`` say in ``_load`` where from.

    - *Fresh keys*: the answer is in memory. After four fifths of their lifetime a fetch starts in the background.
    - *Expired keys*: the next request waits for a fetch, for a second at most, or until its end if the keys expired a
      whole lifetime ago. If it fails the keys stay in use for ``stale_if_error`` seconds, and no request waits again.
    - *A key that is not in the set* causes a fetch, out of a small budget, and is unknown if it is not in the new set
      either. If no fetch is left, or if the requester's network asked for the key a moment ago, it is ``KeysBusy``. If
      the last fetch failed it is an outage, because the server may have the key.
    - *A key that does not match the signature* may have been replaced under its ``kid``, or may have none. That causes
      a fetch too, out of a budget of its own. If no fetch is left, or the last one failed, the cached keys decide.
    - *No keys yet, or keys past* ``stale_if_error``: requests wait for a fetch. If it fails it is an outage.

    All requests share one fetch at a time.
    """

    def __init__(self, name: str, fetch_options: FetchOptions) -> None:
        self.name = name
        self._options, self._clock = fetch_options, fetch_options.clock
        self._fetches_for_unknown = FetchBudget(fetch_options.cooldown)
        # A budget of its own: forged signatures must not use up the fetches for new keys.
        self._fetches_for_unverified = FetchBudget(fetch_options.cooldown)
        # By network: a stranger who guesses the next kid must not keep others from fetching it.
        self._not_found = NegativeCache(seconds=fetch_options.cooldown)
        self._refresher = KeyRefresher(name, self._load, fetch_options)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    @abstractmethod
    async def _load(self) -> FetchedKeySet:
        """Fetch the key set. It runs on an event loop of its own. Raises ``FetchFailed``, or anything else."""
        ...

    @property
    def _has_keys(self) -> bool:
        """Whether a fetch has succeeded."""
        return self._refresher.cached is not None

    # --- the key source -----------------------------------------------------------------------------------------------

    def held(self, *, kid: str | None, algorithm: str) -> Sequence[VerificationKey] | None:
        """The cached keys; None if a fetch must be waited for."""
        now, cached = self._clock(), self._refresher.cached
        if cached is None:
            return None
        keys = cached.source.exact_match(kid, algorithm)
        return keys if keys is None or now < cached.refresh_at or self._is_usable_while_refreshed(cached, now) else None

    def _is_usable_while_refreshed(self, cached: CachedKeySet, now: float) -> bool:
        """Start the fetch that is due, and say whether the set may be used meanwhile."""
        refresher = self._refresher
        with refresher.lock:
            refresher.start_if_due()
            fetch = refresher.under_way
        # Other requests have waited for this fetch already.
        is_slow = fetch is not None and now - fetch.started_at >= MAX_WAIT and not cached.is_long_expired(now)
        return now < cached.expires_at or (
            now < cached.unusable_at and (is_slow or refresher.recent_failure() is not None)
        )

    async def keys_for(
        self, *, kid: str | None, algorithm: str, requester: Requester = ANYBODY
    ) -> Sequence[VerificationKey]:
        """The keys, fetched if need be. Raises ``BackendUnavailable`` (``keys.unavailable``) and ``KeysBusy``."""
        refresher = self._refresher
        started_before = refresher.started
        has_waited = False
        while True:
            with refresher.lock:
                cached = self._cached_keys(kid, algorithm)
                if cached is not None and (has_waited or not self._should_wait()):
                    return cached
                answer = self._answer_or_fetch(kid, algorithm, started_before, requester)
            if not isinstance(answer, BackgroundFetch):
                return answer
            with anyio.move_on_after(math.inf if cached is None or self._is_long_expired() else MAX_WAIT):
                await answer.wait()
            has_waited = True

    async def refetch(
        self,
        tried: Sequence[VerificationKey],
        *,
        kid: str | None,
        algorithm: str,
        requester: Requester = ANYBODY,
    ) -> Sequence[VerificationKey] | None:
        """The keys, if they are not those that were ``tried``; None if they are, or if no fetch is left.

        Raises ``BackendUnavailable`` if no key has this ``kid`` and the server cannot be asked.
        """
        started_before = self._refresher.started
        while True:
            with self._refresher.lock:
                answer = self._replacement_or_fetch(tried, kid, algorithm, started_before, requester)
            if not isinstance(answer, BackgroundFetch):
                return answer
            await answer.wait()

    def algorithms_of(self, kid: str | None) -> Sequence[str]:
        """The algorithms of the cached keys with this ``kid``, or of all cached keys if it is None."""
        cached = self._refresher.cached
        if cached is None:
            return ()
        return tuple(name for name in ALGORITHMS if cached.source.exact_match(kid, name) is not None)

    def key_facts(self, algorithm: str) -> Mapping[str, object]:
        """For the record of a token that no key verifies: where the keys are from, their ids, and their age."""
        cached = self._refresher.cached
        if cached is None:
            return {"source": self.name}
        age = round(max(0.0, float(self._clock() - cached.fetched_at)), 3)
        skipped = {"skipped": cached.keys.skipped} if cached.keys.skipped else {}
        return {"source": self.name, **cached.source.key_facts(algorithm), **skipped, "keys_age": age}

    def _cached_keys(self, kid: str | None, algorithm: str) -> Sequence[VerificationKey] | None:
        cached = self._refresher.cached
        if cached is None or self._clock() >= cached.unusable_at:
            return None
        return cached.source.exact_match(kid, algorithm)

    def _should_wait(self) -> bool:
        """Whether the keys have expired and the server is not known to be down."""
        cached, failure = self._refresher.cached, self._refresher.recent_failure()
        return failure is None and (cached is None or self._clock() >= cached.expires_at)

    def _is_long_expired(self) -> bool:
        cached = self._refresher.cached
        return cached is not None and cached.is_long_expired(self._clock())

    def _answer_or_fetch(
        self, kid: str | None, algorithm: str, started_before: int, requester: Requester
    ) -> Sequence[VerificationKey] | BackgroundFetch:
        """The answer of ``keys_for``, or the fetch to wait for first. The caller holds the lock.

        ``started_before``: how many fetches had started when the request came.
        """
        refresher, now = self._refresher, self._clock()
        cached, failure = refresher.cached, refresher.recent_failure()
        if failure is not None or cached is None or now >= cached.expires_at:
            if refresher.under_way is not None or failure is None or now >= failure.retry_at:
                return refresher.start()
            # A key without a kid may be the right one. If it does not match the signature, refetch() decides.
            if cached is not None and now < cached.unusable_at:
                without_kid = cached.source.held(kid=kid, algorithm=algorithm)
                if without_kid:
                    return without_kid
            raise refresher.unavailable(failure)
        # The set is up to date, and has no key with this kid.
        is_new = cached.number > started_before
        if is_new:
            self._not_found.add(kid, algorithm, requester.network, now=now)
        elif self._may_fetch(kid, algorithm, requester, self._fetches_for_unknown, now):
            return refresher.start()
        # A key without a kid may have signed a token with one.
        without_kid = cached.source.held(kid=kid, algorithm=algorithm)
        if is_new:
            return without_kid
        wait = max(
            self._fetches_for_unknown.wait(requester, now),
            self._not_found.remaining(kid, algorithm, requester.network, now=now),
            1.0,
        )
        raise KeysBusy(
            age=now - cached.fetched_at,
            fetches_left=self._fetches_for_unknown.left(requester, now),
            retry_after=math.ceil(wait),
            keys=without_kid,
        )

    def _may_fetch(
        self, kid: str | None, algorithm: str, requester: Requester, budget: FetchBudget, now: float
    ) -> bool:
        """Whether this key is worth a fetch now. If so, and if none is under way, one is taken from the budget."""
        if self._not_found.has(kid, algorithm, requester.network, now=now):
            return False
        return self._refresher.under_way is not None or budget.acquire(requester, now)

    def _replacement_or_fetch(
        self,
        tried: Sequence[VerificationKey],
        kid: str | None,
        algorithm: str,
        started_before: int,
        requester: Requester,
    ) -> Sequence[VerificationKey] | BackgroundFetch | None:
        """The answer of ``refetch``, or the fetch to wait for first. The caller holds the lock."""
        refresher, now = self._refresher, self._clock()
        cached, failure = refresher.cached, refresher.recent_failure()
        if cached is None:
            return None
        keys = cached.source.held(kid=kid, algorithm=algorithm)
        if keys is not tried and list(keys) != list(tried):
            return keys
        if failure is not None and cached.source.exact_match(kid, algorithm) is None:
            raise refresher.unavailable(failure)
        if failure is not None and now < failure.retry_at:
            return None
        if cached.number > started_before:
            self._not_found.add(kid, algorithm, requester.network, now=now)
            return None
        if self._may_fetch(kid, algorithm, requester, self._fetches_for_unverified, now):
            return refresher.start()
        return None

    # --- the service --------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def running(self, clock: Clock) -> AsyncIterator[None]:
        """Fetch now, and again whenever that is due, so that requests need not wait. ``clock`` is not used."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._keep_fresh)
            yield
            tasks.cancel_scope.cancel()

    async def _keep_fresh(self) -> None:
        while True:
            with self._refresher.lock:
                self._refresher.start_if_due()
            await anyio.sleep(CHECK_INTERVAL)

    async def warm(self) -> None:
        """Fetch now, even if the cached keys are fresh. Raises ``BackendUnavailable`` if the fetch fails."""
        with self._refresher.lock:
            fetch = self._refresher.start()
        await fetch.wait()
        failure = self._refresher.failure
        if failure is not None:
            raise self._refresher.unavailable(failure)

    def health(self) -> Mapping[str, object]:
        """Figures for an operator. All times are in seconds.

        ``age`` of the keys; they expire after ``fresh_for``, and are no longer used after ``usable_for``.
        ``fetches_left``: how many fetches unknown keys may cause now, for ``known`` networks and for ``others``;
        ``refetches_left``: the same for signatures that match no key.
        ``last_error``: why the last fetch failed, None if it did not; ``failing_for``: since when. ``fetching_for``:
        how long the fetch under way has taken, None if there is none.
        """
        now, cached, failure = self._clock(), self._refresher.cached, self._refresher.recent_failure()
        fetch = self._refresher.under_way
        return {
            "source": self.name,
            "keys": 0 if cached is None else cached.keys.usable,
            "skipped": 0 if cached is None else cached.keys.skipped,
            "age": None if cached is None else now - cached.fetched_at,
            "fresh_for": 0.0 if cached is None else max(0.0, cached.expires_at - now),
            "usable_for": 0.0 if cached is None else max(0.0, cached.unusable_at - now),
            "fetches": self._refresher.started,
            "fetches_left": self._fetches_for_unknown.totals(now),
            "refetches_left": self._fetches_for_unverified.totals(now),
            "fetching_for": None if fetch is None else max(0.0, now - fetch.started_at),
            "last_error": None if failure is None else failure.problem,
            "failing_for": 0.0 if failure is None else now - failure.since,
            "next_try_in": None if failure is None else max(0.0, failure.retry_at - now),
        }
