"""The recorder: one record for each decision to the log and the hooks, and aggregated records of a flood."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from datetime import UTC, datetime

from authguard.model import Clock, Decision, Denied
from authguard.records.aggregation import Aggregate, AggregateKey, Aggregator
from authguard.records.record import (
    Hook,
    escape,
    format_value,
    level_of,
    log,
    log_failure,
    record_of,
)
from authguard.request import AuthRequest, network_of
from authguard.wire.methods import REGISTERED_METHODS


class Recorder:
    """Writes the record of each decision to the log and to the hooks.

    In the log a flood of denials of one kind is aggregated. The hooks get every record. ``methods`` are those that
    rules name: a record names these and the registered ones, and no method that a client invents.
    """

    def __init__(
        self, hooks: Sequence[Hook], *, to_log: bool, monotonic: Clock, methods: AbstractSet[str] = frozenset()
    ) -> None:
        #: ``authguard.testing`` adds a hook of its own while it records.
        self.hooks = tuple(hooks)
        self._to_log, self._monotonic = to_log, monotonic
        self._methods = REGISTERED_METHODS | methods
        # Apart, so that strangers with many addresses cannot crowd out what authenticated principals do.
        self._strangers, self._principals = Aggregator(), Aggregator()

    def record(self, request: AuthRequest, decision: Decision, rule: str | None = None) -> None:
        """Record one decision. If neither the log nor a hook wants it, nothing is formatted."""
        for aggregator in (self._strangers, self._principals):
            if len(aggregator):
                _log_aggregates(aggregator.pop_expired(self._monotonic()))
        level = level_of(decision.reason) if isinstance(decision, Denied) else logging.DEBUG
        in_full = self._to_log and log.isEnabledFor(level) and not self._aggregate(request, decision, rule, level)
        if not (in_full or self.hooks):
            return
        record = record_of(request, decision, rule, self._methods)
        if in_full:
            with suppress(Exception):  # a logging filter or handler of the app may raise
                log.log(level, f"{record.head} %s", record.line(), extra=record.extra())
        for hook in self.hooks:
            try:
                hook(record)
            except Exception as error:  # noqa: BLE001 - a hook that fails must not change the response
                log_failure("a hook", error)

    def _aggregate(self, request: AuthRequest, decision: Decision, rule: str | None, level: int) -> bool:
        """Count a denial. True if it gets no log record of its own."""
        if not isinstance(decision, Denied):
            return False
        subject = None if decision.subject is None else escape(decision.subject)
        about = subject if decision.authenticated else _outage_detail(decision)
        key = AggregateKey(decision.reason.code, network_of(request.client), rule, about)
        ticks, now = self._monotonic(), request.moment.now
        aggregator = self._principals if decision.authenticated else self._strangers
        aggregate = aggregator.count(key, level, ticks=ticks, now=now, subject=subject)
        if aggregate is not None and aggregate.is_record_due:
            _log_aggregates([aggregate])
        return aggregate is not None

    def close(self) -> None:
        """Log the aggregates that are still open."""
        for aggregator in (self._strangers, self._principals):
            _log_aggregates(aggregator.pop_all())


def _outage_detail(denied: Denied) -> str | None:
    """What failed, so that the second outage of an hour is not counted as the first one.

    None if a limit is the reason: its detail may hold a number that changes with each request, such as a waiting time.
    """
    detail = denied.facts.get("detail") if denied.reason.outage and not denied.reason.by_limit else None
    return escape(detail) if isinstance(detail, str) else None


def _log_aggregates(aggregates: Sequence[Aggregate]) -> None:
    for aggregate in aggregates:
        key = aggregate.key
        facts: dict[str, object] = {
            "count": aggregate.count,
            "first": aggregate.first,
            "last": aggregate.last,
            "client": None if key.client is None else escape(key.client),
            "rule": key.rule,
            "subjects": aggregate.subjects,
            "samples": tuple(aggregate.samples),
        }
        texts = {**facts, "first": _iso_time(aggregate.first), "last": _iso_time(aggregate.last)}
        line = " ".join(f"{name}={format_value(value)}" for name, value in texts.items() if value is not None)
        fields = {"event": "folded", "reason": key.reason, **facts}
        extra = {f"authguard.{name}": value for name, value in fields.items()}
        with suppress(Exception):  # a logging filter or handler of the app may raise
            log.log(aggregate.level, f"folded {key.reason}: %s", line, extra=extra)


def _iso_time(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
    except (OSError, OverflowError, ValueError):  # the clock of the app does not count seconds since the epoch
        return str(seconds)
