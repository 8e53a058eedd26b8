"""The metrics of a guard, and their values: what its counts and its health say, without OpenTelemetry."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, TypeAlias, cast

from authguard import reasons
from authguard.records.counts import CountKey

#: How many series each metric has at most. Beyond that, decisions are counted together, and other figures are left out.
MAX_SERIES = 1000

#: The semantic conventions: this attribute marks the series of all that have no series of their own.
OVERFLOW = "otel.metric.overflow"

Attributes: TypeAlias = Mapping[str, str | int | bool]


class Metric(NamedTuple):
    """One metric, with its unit in UCUM. A counter only grows; any other is a gauge."""

    name: str
    unit: str
    description: str
    is_counter: bool = False


class Figure(NamedTuple):
    """One value of a metric."""

    metric: Metric
    value: int | float
    attributes: Attributes


DECISIONS = Metric("authguard.decisions", "{decision}", "Requests that were granted or denied", is_counter=True)

#: A histogram. What is decided at once, as most tokens are, is not in it.
WAITED = Metric(
    "authguard.verification.duration", "s", "Time of decisions that had to wait: for a hash, a server, a check"
)
#: The bounds of its buckets: those that the semantic conventions give to durations of HTTP.
BOUNDARIES = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)

_HASH_QUEUE = Metric("authguard.hash.queue.length", "{call}", "Passwords that wait for a thread to hash them")

_OF_POOL = {
    "threads": Metric("authguard.hash.threads", "{thread}", "Threads that hash passwords"),
    "working": Metric("authguard.hash.working", "{thread}", "Threads that hash a password now"),
    "most_waiting": Metric(
        "authguard.hash.queue.limit", "{call}", "How many passwords may wait, of each kind of caller"
    ),
    "average_seconds": Metric("authguard.hash.duration", "s", "Average time that one password takes to hash"),
}

_OF_KEYS = {
    "keys": Metric("authguard.keys.count", "{key}", "Keys of a key server that can be used"),
    "age": Metric("authguard.keys.age", "s", "Time since the keys were fetched"),
    "usable_for": Metric(
        "authguard.keys.usable", "s", "Time until the keys are no longer used, unless they are fetched"
    ),
    "failing_for": Metric("authguard.keys.failing", "s", "Time since which the keys cannot be fetched; 0 if they can"),
    "fetches": Metric("authguard.keys.fetches", "{fetch}", "Fetches of keys that were started", is_counter=True),
}

_OF_CLOCK = {
    "smallest": Metric(
        "authguard.issuer.token.age.smallest", "s", "The least age of a token; negative: the issuer's clock is ahead"
    ),
    "typical": Metric("authguard.issuer.token.age.typical", "s", "Half of the tokens were younger"),
    "tolerated": Metric("authguard.issuer.tolerated", "{token}", "Recent tokens that were accepted only by the leeway"),
}

_OF_TOKENS = {
    "verified": Metric(
        "authguard.token.verifications",
        "{token}",
        "Tokens whose signature was verified, because it was not remembered",
        is_counter=True,
    ),
    "remembered": Metric("authguard.token.cache.size", "{token}", "Tokens whose signature is remembered"),
    "most": Metric("authguard.token.cache.limit", "{token}", "How many tokens are remembered at most"),
}

_OF_THROTTLE = {
    "buckets": Metric("authguard.throttle.size", "{bucket}", "Counters of login attempts that are kept"),
    "most": Metric("authguard.throttle.limit", "{bucket}", "How many counters of login attempts are kept at most"),
}

_OF_INTROSPECTION = {
    "asked": Metric("authguard.introspection.calls", "{call}", "Calls of the introspection server", is_counter=True),
    "waiting": Metric("authguard.introspection.queue.length", "{token}", "Tokens that wait for a call"),
    "open": Metric("authguard.introspection.stopped", "", "1 while calls are stopped after failures, else 0"),
}

_OF_LAST_USES = {
    "last_uses_written": Metric(
        "authguard.api_key.uses.written", "{use}", "Last uses that were written", is_counter=True
    ),
    "last_uses_waiting": Metric("authguard.api_key.uses.waiting", "{use}", "Last uses that wait to be written"),
}

_STORE_UP = Metric("authguard.store.up", "", "1 if the servers of a shared store answer, 0 if one does not")

#: All metrics but that of decisions.
METRICS = (
    _HASH_QUEUE,
    *(
        metric
        for table in (_OF_POOL, _OF_TOKENS, _OF_THROTTLE, _OF_KEYS, _OF_CLOCK, _OF_INTROSPECTION, _OF_LAST_USES)
        for metric in table.values()
    ),
    _STORE_UP,
)

_STATUSES = {one.code: one.status for one in vars(reasons).values() if isinstance(one, reasons.Reason)}


def decisions(counts: Mapping[CountKey, int]) -> Iterator[Figure]:
    """The counts of decisions. The keys that came first have a series each, and keep it.

    The others of an outcome are one series, which is marked with ``OVERFLOW``.
    """
    others: dict[str, int] = {}
    # Three are kept for all others: that were granted, were denied, and would have been.
    for position, (key, number) in enumerate(counts.items()):
        if position < MAX_SERIES - 3:
            yield Figure(DECISIONS, number, _attributes_of(key))
        else:
            others[key.event] = others.get(key.event, 0) + number
    for event, number in others.items():
        yield Figure(DECISIONS, number, {"authguard.event": event, OVERFLOW: True})


def _attributes_of(key: CountKey) -> Attributes:
    attributes: dict[str, str | int | bool] = {"authguard.event": key.event}
    if key.reason is not None:
        attributes["error.type"] = key.reason
        if key.reason in _STATUSES:
            attributes["http.response.status_code"] = _STATUSES[key.reason]
    if key.scheme is not None:
        attributes["authguard.scheme"] = key.scheme
    if key.rule is not None:
        attributes["authguard.rule"] = key.rule
    return attributes


def figures(health: Mapping[str, Mapping[str, object]]) -> Iterator[Figure]:
    """What ``Guard.health()`` says in numbers. What has another shape, as of a scheme of the app, is left out."""
    for name, state in health.items():
        scheme: Attributes = {"authguard.scheme": name}
        if "threads" in state:
            yield from _of_pool(state, scheme)
        for keys in _mappings(state.get("keys")) + _mappings(state.get("services")):
            if isinstance(source := keys.get("source"), str):
                yield from _read(_OF_KEYS, keys, {**scheme, "authguard.keys.source": source})
        for issuer, clock in _clocks(state):
            yield from _read(_OF_CLOCK, clock, {**scheme, "authguard.issuer": issuer})
        for tokens in _mappings([state.get("tokens")]):
            yield from _read(_OF_TOKENS, tokens, scheme)
        for introspection in _mappings([state.get("introspection")]):
            yield from _read(_OF_INTROSPECTION, introspection, scheme)
        for last_uses in _mappings([state, state.get("api_keys")]):
            yield from _read(_OF_LAST_USES, last_uses, scheme)
        # The stores of revocations belong to no scheme: their health stands where that of schemes does.
        for store, of_store in _named(state.get("stores")) or _named(state):
            yield from _of_store(store, of_store, scheme)


def _clocks(state: Mapping[str, object]) -> list[tuple[str, Mapping[str, Any]]]:
    """The clock of each issuer, and that of the introspection server under its URL."""
    of_server = [
        (str(introspection["url"]), introspection["clock"])
        for introspection in _mappings([state.get("introspection")])
        if "url" in introspection and isinstance(introspection.get("clock"), Mapping)
    ]
    return [*_named(state.get("clocks")), *of_server]


def _of_pool(state: Mapping[str, object], scheme: Attributes) -> Iterator[Figure]:
    yield from _read(_OF_POOL, state, scheme)
    waiting, known = _number(state.get("waiting")), _number(state.get("waiting_known"))
    if waiting is not None and known is not None:
        yield Figure(_HASH_QUEUE, known, {**scheme, "authguard.caller": "known"})
        yield Figure(_HASH_QUEUE, waiting - known, {**scheme, "authguard.caller": "stranger"})


def _of_store(name: str, state: Mapping[str, Any], scheme: Attributes) -> Iterator[Figure]:
    if name == "throttle":
        yield from _read(_OF_THROTTLE, state, scheme)
    if state.get("state") in {"ok", "unavailable"}:
        yield Figure(_STORE_UP, int(state["state"] == "ok"), {**scheme, "authguard.store": name})


def _read(table: Mapping[str, Metric], state: Mapping[str, object], attributes: Attributes) -> Iterator[Figure]:
    for name, metric in table.items():
        number = _number(state.get(name))
        if number is not None:
            yield Figure(metric, number, attributes)


def _number(value: object) -> int | float | None:
    if isinstance(value, bool):
        return int(value)
    return value if isinstance(value, int | float) and math.isfinite(value) else None


def _mappings(values: object) -> list[Mapping[str, Any]]:
    return [one for one in values if isinstance(one, Mapping)] if isinstance(values, list | tuple) else []


def _named(values: object) -> list[tuple[str, Mapping[str, Any]]]:
    if not isinstance(values, Mapping):
        return []
    return [(str(name), cast("Mapping[str, Any]", one)) for name, one in values.items() if isinstance(one, Mapping)]
