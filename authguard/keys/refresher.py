"""Fetches one key set again and again: one fetch at a time, with longer and longer pauses after failures."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import field

import anyio

from authguard.concurrency.background import BackgroundFetch
from authguard.errors import BackendUnavailable
from authguard.fork import renew_after_fork
from authguard.http_client import FetchFailed
from authguard.keys.jwk import MAX_KEYS, KeySet, KeyWarning, NoUsableKey
from authguard.keys.options import FetchOptions
from authguard.keys.source import StaticKeys
from authguard.reasons import KEYS_UNAVAILABLE
from authguard.value_types import frozen

_log = logging.getLogger("authguard")

#: A set is fetched again after this part of its lifetime.
REFRESH_FRACTION = 0.8
#: In seconds: the pause after the first failure. Each further failure doubles it, up to the cooldown.
FIRST_RETRY = 1.0
#: How long a failed fetch still counts as the present state: this many cooldowns after a retry was due.
FAILURE_COUNTS_FOR = 2.0
_MAX_WARNINGS = 16


@frozen
class FetchedKeySet:
    """The result of one fetch: the key set, and its lifetime in seconds."""

    keys: KeySet
    lifetime: float


@frozen
class CachedKeySet:
    """The last key set that was fetched, the number of its fetch, and its dates by the clock of the source.

    From ``refresh_at`` on it is fetched again in the background, from ``expires_at`` on requests wait for that, and
    from ``unusable_at`` on it is no longer used.
    """

    source: StaticKeys
    keys: KeySet
    number: int
    fetched_at: float
    refresh_at: float
    expires_at: float
    unusable_at: float

    def is_long_expired(self, now: float) -> bool:
        """Whether it expired a whole lifetime ago: nobody asked since, and some of its keys may be withdrawn."""
        return now - self.expires_at >= self.expires_at - self.fetched_at


@frozen
class FetchFailure:
    """Why the last fetch failed, how many failed in a row, since when, and when the next one may start.

    ``facts`` are for the record of a request that needed the keys.
    """

    problem: str
    count: int
    since: float
    retry_at: float
    facts: Mapping[str, object] = field(default_factory=dict)


class KeyRefresher:
    """Runs the fetches of ``load``, and keeps the last key set and the last failure.

    Requests on any event loop and the fetch itself hold ``lock``, each for a few lines. ``cached`` and ``failure`` are
    immutable and replaced as a whole, so that they can be read without it.
    """

    def __init__(self, name: str, load: Callable[[], Awaitable[FetchedKeySet]], fetch_options: FetchOptions) -> None:
        self._name, self._load, self._options = name, load, fetch_options
        self.cached: CachedKeySet | None = None
        self.failure: FetchFailure | None = None
        #: The number of fetches that have started.
        self.started = 0
        self._logged: frozenset[bytes] = frozenset()
        self.renew()
        renew_after_fork(self)

    def renew(self) -> None:
        """Forget the fetch under way: a forked child has no copy of its thread."""
        self.lock = threading.Lock()
        self.under_way: BackgroundFetch | None = None

    def recent_failure(self) -> FetchFailure | None:
        """The last failure, unless it is so old that the server may answer again."""
        failure = self.failure
        if failure is None or self._options.clock() >= failure.retry_at + FAILURE_COUNTS_FOR * self._options.cooldown:
            return None
        return failure

    def start(self) -> BackgroundFetch:
        """The fetch under way, or a new one. The caller holds the lock."""
        if self.under_way is not None:
            return self.under_way
        self.started += 1
        fetch = self.under_way = BackgroundFetch(self.started, self._options.clock())
        try:
            fetch.start(lambda: self._run(fetch))
        except RuntimeError:
            self._fail("the system has no thread left")
            self.under_way = None
            fetch.finish()
        return fetch

    def start_if_due(self) -> None:
        """Start a fetch if the set is due for it, and no retry is pending. The caller holds the lock."""
        now = self._options.clock()
        if self.cached is not None and now < self.cached.refresh_at:
            return
        if self.failure is None or now >= self.failure.retry_at:
            self.start()

    def unavailable(self, failure: FetchFailure) -> BackendUnavailable:
        """The error to raise after this failure: it names the problem, and the time of the next fetch."""
        wait = max(1, math.ceil(failure.retry_at - self._options.clock()))
        detail = f"{self._name}: {failure.problem}"
        return BackendUnavailable(detail, reason=KEYS_UNAVAILABLE, retry_after=wait, facts=failure.facts)

    async def _run(self, fetch: BackgroundFetch) -> None:
        fetched: FetchedKeySet | None = None
        problem = f"it gave no answer within {self._options.timeout:g} s"
        warnings: Sequence[KeyWarning] = ()
        facts: Mapping[str, object] = {}
        failure_before = self.failure
        try:
            with anyio.move_on_after(self._options.timeout):
                fetched = await self._load()
                warnings = fetched.keys.warnings
        except FetchFailed as error:
            problem, facts = error.problem, error.facts
            warnings = error.warnings if isinstance(error, NoUsableKey) else ()
        except BaseException as error:  # noqa: BLE001 - the app's own ``fetch`` may raise anything
            problem = problem_of(error)
        # Before the lock is taken, for which requests wait: a set may have a thousand keys.
        source = None if fetched is None else StaticKeys(fetched.keys.keys)
        with self.lock:
            if fetched is None or source is None:
                self._fail(problem, facts)
            else:
                self._store(fetched, source, fetch.number)
            self.under_way = None
        with suppress(Exception):  # a logging filter or handler of the app may raise anything
            self._log_changes(failure_before, warnings)

    def _store(self, fetched: FetchedKeySet, source: StaticKeys, number: int) -> None:
        now, lifetime = self._options.clock(), fetched.lifetime
        expires_at = now + lifetime
        self.cached = CachedKeySet(
            source,
            fetched.keys,
            number,
            fetched_at=now,
            refresh_at=now + lifetime * REFRESH_FRACTION,
            expires_at=expires_at,
            unusable_at=expires_at + self._options.stale_if_error,
        )
        self.failure = None

    def _fail(self, problem: str, facts: Mapping[str, object] | None = None) -> None:
        now, last = self._options.clock(), self.failure
        count = 1 if last is None else last.count + 1
        wait = min(FIRST_RETRY * 2.0 ** min(count - 1, 16), self._options.cooldown)
        self.failure = FetchFailure(problem, count, now if last is None else last.since, now + wait, facts or {})

    def _log_changes(self, before: FetchFailure | None, warnings: Sequence[KeyWarning]) -> None:
        """Log a new failure, the end of a failure, and the warnings that the set before did not have."""
        after, cached = self.failure, self.cached
        if after is not None and (before is None or before.problem != after.problem):
            seconds_left = 0.0 if cached is None else max(0.0, cached.unusable_at - self._options.clock())
            rest = "no keys are cached" if cached is None else f"the cached keys can be used for {seconds_left:.0f} s"
            _log.error("%s: %s; %s", self._name, after.problem, rest)
        elif before is not None and after is None:
            _log.warning("%s answers again", self._name)
        new = [warning.text for warning in warnings if warning.identity not in self._logged]
        identities = frozenset(warning.identity for warning in warnings)
        self._logged = identities if len(self._logged) > MAX_KEYS else self._logged | identities
        if new:
            more = f"; and {len(new) - _MAX_WARNINGS} more" if len(new) > _MAX_WARNINGS else ""
            _log.warning("%s: %s%s", self._name, "; ".join(new[:_MAX_WARNINGS]), more)


def problem_of(error: BaseException) -> str:
    """An exception of the app's own ``fetch``, for the log: its type only, because its text may hold a secret."""
    return f"the fetch raised {type(error).__qualname__}"
