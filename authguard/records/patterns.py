"""Patterns in refusals: which cause comes in a burst, and who is refused most.

``DenialWindow`` counts refusals by cause and minute in a memory of fixed size. ``find_bursts`` and ``find_offenders``
are functions of what is counted, and neither reads a clock.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import field
from itertools import chain
from typing import Literal, TypeAlias

from authguard.reasons import OUTAGE
from authguard.records.record import Record
from authguard.value_types import mutable, value

#: For how many minutes refusals are counted.
MINUTES = 60
#: For how many causes. The one that was seen least recently is forgotten first.
MAX_CAUSES = 256
#: How many different clients and names of one cause are told apart.
MAX_DISTINCT = 32
#: How many durations of one cause are kept of each minute, and which part of them at each end says nothing of a burst:
#: between many tokens that expired a minute ago there is one of yesterday.
MAX_DURATIONS, OUTLIERS = 16, 0.05

#: A burst has so many refusals at least, in minutes with so many each, and ends after so many quiet minutes.
MIN_BURST, MIN_A_MINUTE, QUIET_MINUTES = 20, 5, 3
#: By how much more often than before a cause must come to be a burst.
MIN_RATIO = 4.0
#: How far the durations of a burst may differ, in seconds and as a part of the longest, to be a matter of clocks.
SAME_SECONDS, SAME_PART = 5.0, 0.1
#: With so many names from one client, or clients for one name, somebody is trying passwords.
MANY = 8

#: A refusal, and its time in seconds since the epoch.
Sighting: TypeAlias = tuple[float, Record]

#: The fact that says by how many seconds, for each reason that is about a time.
DURATIONS: Mapping[str, str] = {
    "token.expired": "expired_by",
    "token.not_yet_valid": "valid_in",
    "token.issued_in_future": "issued_in",
    "credentials.expired": "expired_by",
    "api_key.expired": "expired_by",
    "nonce.stale": "expired_by",
    "nonce.not_yet": "early_by",
    "session.idle": "idle_by",
    "session.expired": "expired_by",
    "session.not_yet": "begins_in",
}

#: The reasons whose records name the issuer, as the app has written it. A burst is then of one issuer.
_BY_ISSUER = frozenset({"token.expired", "token.not_yet_valid", "token.issued_in_future", "token.audience_mismatch"})

#: What the refusals of a burst are, for the reasons that have words of their own.
_WHAT: Mapping[str, str] = {
    "token.expired": "tokens expired",
    "token.not_yet_valid": "tokens are not valid for another",
    "token.issued_in_future": "tokens were issued in the future, by",
    "credentials.missing": "requests had no credentials",
    "credentials.malformed": "requests had credentials that cannot be read",
    "credentials.ambiguous": "requests had two sets of credentials",
    "scheme.unsupported": "requests used a scheme that the route does not accept",
    "key.unknown": "tokens were signed with a key that the issuer does not publish",
    "token.signature_invalid": "tokens had a signature that no key has made",
    "token.issuer_unknown": "tokens came from an issuer that is not configured",
    "token.audience_mismatch": "tokens were for another API",
    "user.unknown": "logins used a name that no account has",
    "password.wrong": "logins had a wrong password",
    "attempts.exceeded": "logins were refused because there were too many before",
    "role.missing": "requests lacked a role",
    "scope.missing": "requests lacked a scope",
    "session.idle": "sessions had been idle for too long",
    "nonce.replayed": "digests were sent twice",
    "keys.unavailable": "tokens could not be checked, because keys could not be fetched",
    "introspection.unavailable": "tokens could not be checked, because the introspection server failed",
    "store.unavailable": "requests could not be decided, because a store did not answer",
}

#: The refusals of a login with a name and a password.
PASSWORDS = frozenset({"user.unknown", "password.wrong", "attempts.exceeded", "response.wrong"})
_FROM_THE_FUTURE = frozenset({"token.not_yet_valid", "token.issued_in_future", "nonce.not_yet", "session.not_yet"})

#: What a burst usually means, by reason.
_MEANING: Mapping[str, str] = {
    "credentials.missing": "If these clients used to log in, something on the way takes Authorization off: look at the "
    "proxy",
    "credentials.malformed": "Something on the way changes the field, or a new release of a client builds it wrongly",
    "credentials.ambiguous": "Something on the way adds a second field: let it replace the first",
    "scheme.unsupported": "A client was changed, or the rule was",
    "key.unknown": "The issuer may have new keys that are not fetched yet: compare the key ids",
    "token.signature_invalid": "The keys may have been replaced, or the tokens are of another environment",
    "token.issuer_unknown": "The login server may have a new address, or the tokens are of another environment",
    "token.audience_mismatch": "A client asks for tokens of another API, or audience= was changed",
    "token.inactive": "The introspection server may have lost its sessions",
    "role.missing": "Roles were taken away, or the issuer now writes them into another claim",
    "scope.missing": "A client asks for fewer scopes, or the issuer now writes them into another claim",
    "token.expired": "Clients go on with old tokens: look at how they get new ones",
    "nonce.unknown": "Processes may have different secrets: set the same secret= in all of them",
    "nonce.forgotten": "Requests of one client may reach several processes: share a nonces= store",
    "nonce.replayed": "A proxy repeats requests, a client does not count, or somebody replays them",
    "origin.foreign": "If the page is yours, list its origin in origins=",
    "hashing.busy": "More logins come than this host can hash: somebody guesses, or it needs more processors",
    "session.idle": "Users come back after a break; if that is too often, raise idle=",
}


@mutable
class _Minute:
    """The refusals of one cause in one minute: the first and the last, how many, and the durations of some."""

    first: float
    last: float = 0.0
    count: int = 0
    durations: list[float] = field(default_factory=list)


@mutable
class Tally:
    """The refusals of one cause, by minute since the epoch. ``clients`` and ``subjects`` are those of the last run, and
    ``detail`` is that of its last outage."""

    reason: str
    scheme: str | None
    status: int | None
    last: float = 0.0
    minutes: dict[int, _Minute] = field(default_factory=dict)
    clients: set[str] = field(default_factory=set)
    subjects: set[str] = field(default_factory=set)
    detail: str = ""
    issuer: str | None = None

    def add(self, record: Record, at: float) -> None:
        """Count one refusal."""
        number = int(at // 60)
        minute = self.minutes.get(number)
        if minute is None:
            minute = self._begin(number, at)
        minute.count += 1
        minute.last = self.last = at
        name = DURATIONS.get(self.reason)
        if name is not None:
            seconds = record.facts.get(name)
            if isinstance(seconds, int | float) and len(minute.durations) < MAX_DURATIONS:
                minute.durations.append(seconds)
        if self.status == OUTAGE:
            self.detail = str(record.facts.get("detail", ""))
        if record.client is not None and len(self.clients) < MAX_DISTINCT:
            self.clients.add(record.client)
        if record.subject is not None and len(self.subjects) < MAX_DISTINCT:
            self.subjects.add(record.subject)

    def copy(self) -> Tally:
        """A copy that does not change."""
        minutes = {
            number: _Minute(minute.first, minute.last, minute.count, list(minute.durations))
            for number, minute in self.minutes.items()
        }
        clients, subjects = set(self.clients), set(self.subjects)
        return Tally(
            self.reason, self.scheme, self.status, self.last, minutes, clients, subjects, self.detail, self.issuer
        )

    def _begin(self, number: int, at: float) -> _Minute:
        """A new minute. After a pause, the clients and the names are those of a new run."""
        for old in [one for one in self.minutes if one <= number - MINUTES]:
            del self.minutes[old]
        if number - max(self.minutes, default=number) > QUIET_MINUTES:
            self.clients.clear()
            self.subjects.clear()
        minute = self.minutes[number] = _Minute(at)
        return minute


class DenialWindow:
    """Counts refusals by cause for the last hour: by reason, scheme and issuer. Not for several threads at a time.

    Its size does not depend on what clients send: neither names nor paths make a cause.
    """

    def __init__(self) -> None:
        self._tallies: dict[tuple[str, str | None, str | None], Tally] = {}

    def add(self, record: Record, at: float) -> None:
        """Count a refusal at this time, in seconds since the epoch."""
        reason = record.reason or ""
        issuer = record.facts.get("issuer") if reason in _BY_ISSUER else None
        key = reason, record.scheme, issuer if isinstance(issuer, str) else None
        tally = self._tallies.get(key)
        if tally is None:
            tally = self._new(key, record.status)
        tally.add(record, at)

    def _new(self, key: tuple[str, str | None, str | None], status: int | None) -> Tally:
        if len(self._tallies) >= MAX_CAUSES:
            del self._tallies[min(self._tallies, key=lambda key: self._tallies[key].last)]
        reason, scheme, issuer = key
        tally = self._tallies[key] = Tally(reason, scheme, status, issuer=issuer)
        return tally

    def snapshot(self) -> Sequence[Tally]:
        """A copy of all that is counted."""
        return tuple(tally.copy() for tally in self._tallies.values())


def refusals_by_minute(tallies: Iterable[Tally], now: float) -> Mapping[str, Sequence[int]]:
    """How many refusals each minute of the last hour had, by reason. The last number is that of the current minute."""
    first = int(now // 60) - MINUTES + 1
    series: dict[str, list[int]] = {}
    for tally in tallies:
        for number, minute in tally.minutes.items():
            if 0 <= number - first < MINUTES:
                series.setdefault(tally.reason, [0] * MINUTES)[number - first] += minute.count
    return series


@value
class Burst:
    """A cause that comes, or came (``is_over``), more often than usual, or that comes all the time (``is_steady``).

    ``since`` is the time of its first refusal. ``low`` and ``high`` are the durations that it is about, in seconds,
    without the few that are far from all others. ``clients`` and ``subjects`` say how many different ones there were,
    and stop at ``MAX_DISTINCT``.
    ``detail`` is what failed, of an outage. ``issuer`` is whose tokens they are, if the records name the issuer.
    """

    reason: str
    scheme: str | None
    status: int | None
    count: int
    since: float
    last: float
    low: float | None
    high: float | None
    clients: int
    subjects: int
    detail: str = ""
    is_steady: bool = False
    is_over: bool = False
    issuer: str | None = None

    @property
    def is_about_clocks(self) -> bool:
        """Whether all durations are about the same, as two clocks that differ make them."""
        if self.low is None or self.high is None or self.reason.startswith(("session.idle", "session.expired")):
            return False
        return self.high - self.low <= max(SAME_SECONDS, self.high * SAME_PART)

    @property
    def what(self) -> str:
        """What so many requests were: ``tokens of https://login.example/ expired by 58 to 61 s``."""
        what = _WHAT.get(self.reason, f"requests were refused with {self.reason}")
        if self.issuer is not None:
            what = f"tokens of {self.issuer} {what.removeprefix('tokens ')}"
        if self.low is None or self.high is None:
            return what
        span = format_span(self.low, self.high)
        return f"{what} {span}" if what.endswith(("by", "another")) else f"{what} by {span}"

    @property
    def meaning(self) -> str:
        """What that usually means, and where to look."""
        if self.is_about_clocks:
            if self.reason in _FROM_THE_FUTURE:
                return "Their clock or yours: one is ahead of the other"
            return "Their clock or yours: all by about the same time"
        if self.reason in PASSWORDS:
            return _about_passwords(self.clients, self.subjects)
        if self.status == OUTAGE and self.reason not in _MEANING:
            return f"Clients keep their credentials, and try again. {self.detail}".rstrip()
        return _MEANING.get(self.reason, "")


def _about_passwords(clients: int, names: int) -> str:
    if names >= MANY and names > 2 * clients:
        return "Many names from few addresses: somebody tries common passwords"
    if clients >= MANY and clients > 2 * names:
        return "Few names from many addresses: somebody tries passwords that leaked"
    return "Guesses, or a client that keeps an old password"


def format_span(low: float, high: float) -> str:
    """Two durations in words: ``58 to 61 s``, ``2 h``."""
    first, last = format_seconds(low), format_seconds(high)
    if first == last:
        return first
    amount, unit = first.split(" ")
    return f"{amount if last.endswith(' ' + unit) else first} to {last}"


def format_seconds(seconds: float) -> str:
    """A duration in its largest unit: ``4 s``, ``12 min``, ``3 h``, ``2 d``."""
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if abs(seconds) >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s" if abs(seconds) >= 10 else f"{seconds:.1f}".removesuffix(".0") + " s"


def find_bursts(tallies: Iterable[Tally], now: float) -> Sequence[Burst]:
    """The bursts of the last hour. Those that go on come first, and of these outages, and then the largest."""
    bursts = [burst for tally in tallies for burst in _bursts_of(tally, int(now // 60))]
    return sorted(bursts, key=lambda burst: (burst.is_over, burst.is_steady, burst.status != OUTAGE, -burst.count))


def _bursts_of(tally: Tally, current: int) -> Iterator[Burst]:
    """The bursts of one cause. ``current`` is the number of this minute."""
    counts = {number: minute.count for number, minute in tally.minutes.items() if current - MINUTES < number <= current}
    for run in _runs(counts):
        count = sum(counts[number] for number in run)
        if count < MIN_BURST:
            continue
        first, last = run[0], run[-1]
        length = last - first + 1
        # A median, because another burst of the same cause makes this one no more usual.
        others = [number for number in range(current - MINUTES + 1, current + 1) if not first <= number <= last]
        usual = _median([counts.get(number, 0) for number in others])
        durations = sorted(seconds for number in run for seconds in tally.minutes[number].durations)
        cut = int(len(durations) * OUTLIERS)
        durations = durations[cut : len(durations) - cut]
        is_last = max(counts) - last <= QUIET_MINUTES
        yield Burst(
            tally.reason,
            tally.scheme,
            tally.status,
            count,
            tally.minutes[first].first,
            tally.minutes[last].last,
            min(durations, default=None),
            max(durations, default=None),
            len(tally.clients) if is_last else 0,
            len(tally.subjects) if is_last else 0,
            tally.detail if is_last else "",
            is_steady=length > MINUTES - QUIET_MINUTES or count / length < MIN_RATIO * usual,
            is_over=last < current - QUIET_MINUTES,
            issuer=tally.issuer,
        )


def _median(numbers: Sequence[int]) -> float:
    return sorted(numbers)[len(numbers) // 2] if numbers else 0.0


def _runs(counts: Mapping[int, int]) -> Iterator[Sequence[int]]:
    """The busy minutes, in runs with at most ``QUIET_MINUTES`` between two of them."""
    run: list[int] = []
    for number in sorted(number for number, count in counts.items() if count >= MIN_A_MINUTE):
        if run and number - run[-1] > QUIET_MINUTES + 1:
            yield run
            run = []
        run.append(number)
    if run:
        yield run


@value
class Offender:
    """Who is refused most: a ``client``, a ``subject``, or a ``rule``.

    ``reason`` is its most frequent one. ``others`` says how many different names a client used, or from how many
    clients a name came. ``note`` says what that looks like, or is "".
    """

    kind: Literal["client", "subject", "rule"]
    name: str
    count: int
    reason: str
    first: float
    last: float
    others: int
    note: str = ""


def find_offenders(sightings: Sequence[Sighting], most: int = 5) -> Sequence[Offender]:
    """Those with the most of these refusals: so many clients, subjects and rules."""
    return tuple(
        chain(
            _offenders("client", sightings, most),
            _offenders("subject", sightings, most),
            _offenders("rule", sightings, most),
        )
    )


def _offenders(
    kind: Literal["client", "subject", "rule"], sightings: Sequence[Sighting], most: int
) -> Iterable[Offender]:
    groups: dict[str, list[Sighting]] = {}
    for sighting in sightings:
        record = sighting[1]
        name = record.client if kind == "client" else record.subject if kind == "subject" else record.rule
        if name is not None:
            groups.setdefault(name, []).append(sighting)
    for name, group in sorted(groups.items(), key=lambda item: -len(item[1]))[:most]:
        reasons = Counter(record.reason or "" for _, record in group)
        others = {record.subject if kind == "client" else record.client for _, record in group} - {None}
        times = [at for at, _ in group]
        (reason, _), *_ = reasons.most_common(1)
        yield Offender(kind, name, len(group), reason, min(times), max(times), len(others), _note(kind, group))


def _note(kind: str, group: Sequence[Sighting]) -> str:
    """What it looks like if many names were tried from one address, or one name from many."""
    tried = {record.subject if kind == "client" else record.client for _, record in group if record.reason in PASSWORDS}
    if kind == "rule" or len(tried - {None}) < MANY:
        return ""
    return "tries many names" if kind == "client" else "tried from many addresses"
