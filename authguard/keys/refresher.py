"""The fetching of one key set, again and again: one at a time, later after a failure, and what is known since."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import anyio

from authguard.concurrency.background import BackgroundFetch
from authguard.errors import BackendUnavailable
from authguard.fork import renew_after_fork
from authguard.http_client import FetchFailed
from authguard.keys.jwk import MOST_KEYS, KeySet, KeyWarning, NoUsableKey
from authguard.keys.options import FetchOptions
from authguard.keys.source import StaticKeys
from authguard.reasons import KEYS_UNAVAILABLE

_log = logging.getLogger("authguard")

#: After this part of their lifetime keys are fetched again.
EARLY = 0.8
#: After a failure the next try comes so many seconds later; each further one after twice as many, up to the cooldown.
FIRST_RETRY = 1.0
#: For so many cooldowns after a try was due, and nobody made it, the last failure still says something of now.
REMEMBERED = 2.0
_MOST_TOLD = 16


@dataclass(frozen=True, slots=True)
class FetchedKeySet:
    """What one fetch brought: the set, and for how many seconds it holds."""

    keys: KeySet
    lifetime: float


@dataclass(frozen=True, slots=True)
class CachedKeySet:
    """The last good set, the number of the flight that brought it, and its dates by our clock."""

    source: StaticKeys
    read: KeySet
    number: int
    fetched: float
    refresh: float
    expires: float
    dies: float

    def is_long_expired(self, now: float) -> bool:
        """For as long as it was good: nobody came meanwhile, and what it holds may be withdrawn since."""
        return now - self.expires >= self.expires - self.fetched


@dataclass(frozen=True, slots=True)
class FetchFailure:
    """Why the last fetch failed, how many did in a row, since when, and when the next may begin."""

    problem: str
    count: int
    since: float
    retry: float


class KeyRefresher:
    """What ``load`` fetches, the last good and the last failure of it.

    ``lock`` is held for a few lines at a time, by requests on any loop and by the flight. ``kept`` and ``failure`` are
    frozen, and may be read without it.
    """

    def __init__(self, name: str, load: Callable[[], Awaitable[FetchedKeySet]], fetch_options: FetchOptions) -> None:
        self._name, self._load, self._options = name, load, fetch_options
        self.kept: CachedKeySet | None = None
        self.failure: FetchFailure | None = None
        self.departures = 0
        self._told: frozenset[bytes] = frozenset()
        self.renew()
        renew_after_fork(self)

    def renew(self) -> None:
        """Forgets the fetch under way, as a fork must: its thread is the parent's."""
        self.lock = threading.Lock()
        self.flight: BackgroundFetch | None = None

    def failing(self) -> FetchFailure | None:
        """The last failure, until it is too old to say that the server does not answer."""
        failure = self.failure
        if failure is None or self._options.clock() >= failure.retry + REMEMBERED * self._options.cooldown:
            return None
        return failure

    def begin(self) -> BackgroundFetch:
        """The fetch under way, or one that begins now. The lock is held."""
        if self.flight is not None:
            return self.flight
        self.departures += 1
        flight = self.flight = BackgroundFetch(self.departures, self._options.clock())
        try:
            flight.start(lambda: self._fly(flight))
        except RuntimeError:
            self._fail("the system has no thread left")
            self.flight = None
            flight.finish()
        return flight

    def begin_where_due(self) -> None:
        """Begins one where the set is soon to expire, and the last failure is not too recent. The lock is held."""
        now = self._options.clock()
        if self.kept is not None and now < self.kept.refresh:
            return
        if self.failure is None or now >= self.failure.retry:
            self.begin()

    def unavailable(self, failure: FetchFailure) -> BackendUnavailable:
        """What to raise: what was wrong, and when the next try is."""
        wait = max(1, math.ceil(failure.retry - self._options.clock()))
        return BackendUnavailable(f"{self._name}: {failure.problem}", reason=KEYS_UNAVAILABLE, retry_after=wait)

    async def _fly(self, flight: BackgroundFetch) -> None:
        loaded: FetchedKeySet | None = None
        problem = f"it gave no answer within {self._options.timeout:g} s"
        remarks: Sequence[KeyWarning] = ()
        before = self.failure
        try:
            with anyio.move_on_after(self._options.timeout):
                loaded = await self._load()
                remarks = loaded.keys.remarks
        except FetchFailed as error:
            problem = error.problem
            remarks = error.remarks if isinstance(error, NoUsableKey) else ()
        except BaseException as error:  # noqa: BLE001 - whatever a fetch of the app's own raises, in a thread of ours
            problem = raised(error)
        with self.lock:
            if loaded is None:
                self._fail(problem)
            else:
                self._keep(loaded, flight)
            self.flight = None
        with suppress(Exception):  # a filter or a handler of the app's own
            self._tell(before, remarks)

    def _keep(self, loaded: FetchedKeySet, flight: BackgroundFetch) -> None:
        now, lifetime = self._options.clock(), loaded.lifetime
        expires = now + lifetime
        dates = (now, now + lifetime * EARLY, expires, expires + self._options.stale_if_error)
        self.kept = CachedKeySet(StaticKeys(loaded.keys.keys), loaded.keys, flight.number, *dates)
        self.failure = None

    def _fail(self, problem: str) -> None:
        now, last = self._options.clock(), self.failure
        count = 1 if last is None else last.count + 1
        wait = min(FIRST_RETRY * 2.0 ** min(count - 1, 16), self._options.cooldown)
        self.failure = FetchFailure(problem, count, now if last is None else last.since, now + wait)

    def _tell(self, before: FetchFailure | None, remarks: Sequence[KeyWarning]) -> None:
        """What is new: that it fails or answers again, and what is wrong with which key."""
        after, kept = self.failure, self.kept
        if after is not None and (before is None or before.problem != after.problem):
            left = 0.0 if kept is None else max(0.0, kept.dies - self._options.clock())
            held = "no keys are held" if kept is None else f"the keys that are held serve for another {left:.0f} s"
            _log.error("%s: %s; %s", self._name, after.problem, held)
        elif before is not None and after is None:
            _log.warning("%s answers again", self._name)
        new = [remark.text for remark in remarks if remark.of not in self._told]
        told = frozenset(remark.of for remark in remarks)
        self._told = told if len(self._told) > MOST_KEYS else self._told | told
        if new:
            more = f"; and {len(new) - _MOST_TOLD} more" if len(new) > _MOST_TOLD else ""
            _log.warning("%s: %s%s", self._name, "; ".join(new[:_MOST_TOLD]), more)


def raised(error: BaseException) -> str:
    """What may be told of an exception of the app's own: its type, for its text may hold anything."""
    return f"the fetch raised {type(error).__qualname__}"
