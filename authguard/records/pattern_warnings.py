"""Warnings about patterns in refusals: one line for what a person should know, where nobody looks at a page.

``PatternWarnings`` is the hook of ``Guard(pattern_warnings=True)``. Refusals are counted in windows of five minutes,
and compared with the counts that the guard keeps anyway, so a granted request costs nothing more. Nothing runs in the
background: a window ends with the first refusal after its five minutes.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import field
from typing import TypeAlias

from authguard.fork import renew_after_fork
from authguard.model import Clock
from authguard.reasons import CREDENTIALS_MISSING, KEY_UNKNOWN, LOGIN_REQUIRED, OUTAGE, TOKEN_SIGNATURE_INVALID
from authguard.records.counts import CountKey
from authguard.records.patterns import MAX_CAUSES, MIN_BURST, MIN_RATIO, PASSWORDS, Burst, DenialWindow, find_bursts
from authguard.records.record import Record, format_value, log
from authguard.request import network_of
from authguard.value_types import mutable, value

#: The length of a window in seconds. One that no refusal ends is longer.
WINDOW = 300.0
#: A pattern is logged once in so many seconds. What was found in between is counted.
EVERY = 900.0
#: How long ago, in seconds, the past counts half as much for what is usual.
HALF_LIFE = 1800.0
#: So many names from one network within a window are spraying, and so many networks for one name are stuffing.
MANY_NAMES, MANY_NETWORKS = 20, 10
#: How many networks, and how many names, are watched at a time; and how many of the oldest are looked at before one
#: makes room for another.
MAX_WATCHED, MAX_LOOKS = 512, 8

#: What is added up of the counts: such as ``("granted", "bearer")``.
_Sums: TypeAlias = Counter[tuple[str | None, ...]]

_UNVERIFIED = frozenset({KEY_UNKNOWN.code, TOKEN_SIGNATURE_INVALID.code})
#: Every client has such refusals before it logs in, so that many of them are no burst.
_BEFORE_LOGIN = frozenset({CREDENTIALS_MISSING.code, LOGIN_REQUIRED.code})


@value
class _Finding:
    """A pattern that was found: its name, the sentence about it, its facts, and whether a stranger can cause it."""

    pattern: str
    text: str
    by_stranger: bool
    facts: Mapping[str, object]


class PatternWarnings:
    """A hook that logs one WARNING for a pattern in refusals. It gets no grants, and its size is bounded.

    ``counts`` are those of the guard, and are read when a window ends and when somebody seems to try passwords.
    ``monotonic`` is in seconds. A forked child begins with nothing.
    """

    wants_grants = False

    def __init__(self, counts: Callable[[], Mapping[CountKey, int]], monotonic: Clock) -> None:
        self._counts, self._monotonic = counts, monotonic
        self.renew()
        renew_after_fork(self)

    def __repr__(self) -> str:
        return "pattern_warnings"

    def renew(self) -> None:
        """Begin with nothing, in this process."""
        self._lock = threading.Lock()
        self._began = self._last = self._monotonic()
        self._at_begin: _Sums = Counter()
        self._denials = DenialWindow()
        self._proven: _Sums = Counter()
        self._sources: dict[str | None, str] = {}
        self._begin_watching()
        self._usual: dict[tuple[str | None, ...], float] = {}
        self._usual_seconds = 0.0
        # When each pattern was logged, and how often it was found since.
        self._logged: dict[tuple[str, bool], float] = {}
        self._suppressed: Counter[tuple[str, bool]] = Counter()

    def _begin_watching(self) -> None:
        self._names_of, self._networks_of = _DistinctCounter(MANY_NAMES), _DistinctCounter(MANY_NETWORKS)
        # Which of the two patterns this window has shown.
        self._guessed: set[str] = set()

    def __call__(self, record: Record) -> None:
        """Count a refusal, and log what it shows."""
        ticks = self._monotonic()
        with self._lock:
            found = list(self._end_window(ticks)) if ticks - self._began >= WINDOW else []
            self._last = ticks
            found += self._add(record, ticks)
            due = [(finding, self._suppressed.pop(_limit_of(finding), 0)) for finding in found if self._is_due(finding)]
        for finding, suppressed in due:
            _warn(finding, suppressed)

    def _is_due(self, finding: _Finding) -> bool:
        """Whether it is logged. A pattern that a stranger can cause does not keep another one from being logged."""
        limit = _limit_of(finding)
        logged = self._logged.get(limit)
        if logged is not None and self._last - logged < EVERY:
            self._suppressed[limit] += 1
            return False
        self._logged[limit] = self._last
        return True

    def _add(self, record: Record, ticks: float) -> Iterator[_Finding]:
        if record.reason in _BEFORE_LOGIN:
            return
        self._denials.add(record, ticks)
        cause = record.reason, record.scheme
        if record.subject_proven and (cause in self._proven or len(self._proven) < MAX_CAUSES):
            self._proven[cause] += 1
        if record.reason in _UNVERIFIED and isinstance(source := record.facts.get("source"), str):
            self._sources[record.scheme] = source
        if record.reason not in PASSWORDS or record.subject is None or record.client is None:
            return
        network = network_of(record.client) or ""
        facts = {"scheme": record.scheme, "seconds": round(ticks - self._began, 1)}
        names, networks = self._names_of, self._networks_of
        if names.add(network, record.subject) and self._are_guesses("spraying", record.scheme, ticks):
            text = "many names are refused from one network: somebody tries passwords, or many users share an address"
            yield _Finding(
                "spraying", text, True, {"client": network, "count": names.count(network), "names": MANY_NAMES, **facts}
            )
        if networks.add(record.subject, network) and self._are_guesses("stuffing", record.scheme, ticks):
            text = "one name is refused from many networks: somebody tries passwords, or a shared password was changed"
            facts = {
                "subject": record.subject,
                "count": networks.count(record.subject),
                "networks": MANY_NETWORKS,
                **facts,
            }
            yield _Finding("stuffing", text, True, facts)

    def _are_guesses(self, pattern: str, scheme: str | None, ticks: float) -> bool:
        """Whether more passwords are wrong than usual, for as many logins. Each pattern is found once in a window.

        A new process does not know what is usual: there, twice as many must be wrong as are right.
        """
        if pattern in self._guessed:
            return False
        sums = self._sums()
        guesses, granted = (sums[name, scheme] for name in ("guesses", "granted"))
        least: float = 2 * granted
        if self._usual_seconds:
            seconds = max(ticks - self._began, WINDOW)
            usually_granted = self._expected("granted", scheme, seconds)
            busier = max(1.0, granted / usually_granted) if usually_granted else 1.0
            least = MIN_RATIO * busier * self._expected("guesses", scheme, seconds)
        if guesses >= least:
            self._guessed.add(pattern)
        return guesses >= least

    def _end_window(self, ticks: float) -> Iterator[_Finding]:
        """What the window shows that ends now. What it counted becomes a part of what is usual."""
        sums, seconds = self._sums(), ticks - self._began
        found: list[_Finding] = []
        if self._usual_seconds:
            found += [*self._unverified(sums, seconds), *self._stripped(sums, seconds)]
        named = PASSWORDS if self._guessed else frozenset[str]()
        if any(finding.pattern == "keys" for finding in found):
            named |= _UNVERIFIED
        yield from (*found, *self._bursts(sums, seconds, named))
        weight = 0.5 ** (seconds / HALF_LIFE)
        names = self._usual.keys() | sums.keys()
        self._usual = {name: self._usual.get(name, 0.0) * weight + sums[name] for name in names}
        self._usual_seconds = self._usual_seconds * weight + seconds
        self._at_begin += sums
        self._began = ticks
        self._proven.clear()
        self._sources.clear()
        self._begin_watching()

    def _sums(self) -> _Sums:
        """What was counted since this window began."""
        sums: _Sums = Counter()
        for key, number in self._counts().items():
            if key.event == "granted":
                if key.scheme is not None:
                    sums["granted", key.scheme] += number
                    sums["at rule", key.rule] += number
            elif key.reason in _BEFORE_LOGIN:
                if key.scheme is None:  # otherwise a browser had a session, which was refused
                    sums["missing", key.rule] += number
            else:
                sums["denied", key.reason, key.scheme] += number
                if key.reason in _UNVERIFIED:
                    sums["unverified", key.scheme] += number
                elif key.reason in PASSWORDS:
                    sums["guesses", key.scheme] += number
        return sums - self._at_begin

    def _expected(self, name: str, of: str | None, seconds: float) -> float:
        """How many there are usually in so many seconds."""
        return self._usual.get((name, of), 0.0) / self._usual_seconds * seconds

    def _unverified(self, sums: _Sums, seconds: float) -> Iterator[_Finding]:
        """Where tokens were accepted before, and most of them now have a signature that no key verifies."""
        for name in [name for name in sums if name[0] == "unverified"]:
            scheme, count = name[1], sums[name]
            granted, expected = sums["granted", scheme], self._expected("granted", scheme, seconds)
            was_rare = count >= max(MIN_BURST, MIN_RATIO * self._expected("unverified", scheme, seconds))
            if was_rare and count >= granted and expected >= MIN_BURST and granted <= expected / 2:
                facts = {
                    **_figures(count, seconds, granted, expected),
                    "scheme": scheme,
                    "source": self._sources.get(scheme),
                }
                text = (
                    "signatures fail where tokens were accepted before: the issuer may have new keys that are not "
                    "fetched yet"
                )
                yield _Finding("keys", text, True, facts)

    def _stripped(self, sums: _Sums, seconds: float) -> Iterator[_Finding]:
        """Where requests were granted before, and now come without credentials. The most frequent rule is named."""
        rules: list[tuple[int, str | None, int, float]] = []
        for name in [name for name in sums if name[0] == "missing"]:
            rule, count = name[1], sums[name]
            granted, expected = sums["at rule", rule], self._expected("at rule", rule, seconds)
            was_rare = count >= max(MIN_BURST, 2 * self._expected("missing", rule, seconds))
            if was_rare and expected >= MIN_BURST and MIN_RATIO * granted <= min(count, expected):
                rules.append((count, rule, granted, expected))
        if rules:
            count, rule, granted, expected = max(rules, key=lambda found: found[0])
            facts = {**_figures(count, seconds, granted, expected), "rule": rule, "rules": len(rules)}
            text = "requests have no credentials where clients used to send them: something on the way may strip them"
            yield _Finding("stripped", text, True, facts)

    def _bursts(self, sums: _Sums, seconds: float, named: AbstractSet[str]) -> Iterator[_Finding]:
        """The largest bursts: of those that a stranger can cause, and of all others. Both refuse more than is granted.

        An outage is none: each is an ERROR already. ``named`` are the reasons of other patterns that were found.
        """
        found: dict[bool, list[tuple[int, Burst]]] = {True: [], False: []}
        for burst in find_bursts(self._denials.snapshot(), self._last):
            count = sums["denied", burst.reason, burst.scheme]
            granted = sum(number for name, number in sums.items() if name[0] == "granted" and _fits(name, burst))
            least = max(MIN_BURST, granted)
            if burst.issuer is not None:  # these counts know no issuers
                count = min(count, burst.count)
            if burst.is_over or burst.is_steady or burst.status == OUTAGE:
                continue
            if count >= least and burst.reason not in named:
                found[self._proven[burst.reason, burst.scheme] < least].append((count, burst))
        for by_stranger, bursts in found.items():
            if bursts:
                count, burst = max(bursts, key=lambda pair: pair[0])
                facts: dict[str, object] = {
                    "reason": burst.reason,
                    "scheme": burst.scheme,
                    "issuer": burst.issuer,
                    "count": count,
                    "seconds": round(seconds, 1),
                    "clients": burst.clients,
                    "causes": len(bursts),
                }
                text = f"{count} {burst.what}" + (f". {burst.meaning}" if burst.meaning else "")
                yield _Finding("burst", text, by_stranger, facts)


@mutable
class _Distinct:
    """What was seen with one key: how often, and which different values, as hashes."""

    count: int = 0
    values: set[int] = field(default_factory=set)


class _DistinctCounter:
    """The keys with so ``many`` different values, as far as a memory of fixed size can tell.

    A new key takes the place of an old one that has few values: a client with many addresses does not crowd out an
    address from which many names came.
    """

    def __init__(self, many: int) -> None:
        self._many = many
        self._keys: OrderedDict[str, _Distinct] = OrderedDict()

    def add(self, key: str, item: str) -> bool:
        """Whether to look at the key: it has many values by now, or was seen twice as often as at the last look."""
        seen = self._keys.get(key)
        if seen is None:
            if len(self._keys) >= MAX_WATCHED:
                self._make_room()
            seen = self._keys[key] = _Distinct()
        seen.count += 1
        if len(seen.values) < self._many:
            seen.values.add(hash(item))
            return len(seen.values) == self._many
        return not seen.count & (seen.count - 1)

    def count(self, key: str) -> int:
        """How often a key was seen that is kept."""
        return self._keys[key].count

    def __len__(self) -> int:
        return len(self._keys)

    def _make_room(self) -> None:
        for _ in range(MAX_LOOKS):
            key, seen = next(iter(self._keys.items()))
            if 2 * len(seen.values) < self._many:
                break
            self._keys.move_to_end(key)
        self._keys.popitem(last=False)


def _fits(name: tuple[str | None, ...], burst: Burst) -> bool:
    """Whether the grants are those of the scheme of the burst; of all, if it has none."""
    return burst.scheme is None or name[1] == burst.scheme


def _figures(count: int, seconds: float, granted: int, expected: float) -> Mapping[str, object]:
    return {"count": count, "seconds": round(seconds, 1), "granted": granted, "usually_granted": round(expected)}


def _limit_of(finding: _Finding) -> tuple[str, bool]:
    return finding.pattern, finding.by_stranger


def _warn(finding: _Finding, suppressed: int) -> None:
    facts = {**finding.facts, **({"suppressed": suppressed} if suppressed else {})}
    line = " ".join(f"{name}={format_value(fact)}" for name, fact in facts.items() if fact is not None)
    text = finding.text + (" (a stranger can cause this line)" if finding.by_stranger else "")
    fields: Sequence[tuple[str, object]] = (
        ("event", "pattern"),
        ("pattern", finding.pattern),
        ("by_stranger", finding.by_stranger),
        *facts.items(),
    )
    with suppress(Exception):  # a logging filter or handler of the app may raise
        extra = {f"authguard.{name}": fact for name, fact in fields}
        log.log(logging.WARNING, f"pattern {finding.pattern}: %s %s", text, line, extra=extra)
