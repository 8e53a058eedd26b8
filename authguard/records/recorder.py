"""Telling: one record a decision to the log and the hooks, and of a flood only as much as a person can read."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime

from authguard.model import Clock, Decision, Denied
from authguard.records.aggregation import Aggregate, AggregateKey, Aggregator
from authguard.records.record import Hook, escaped, level_of, log, log_failure, record_of, shown
from authguard.request import AuthRequest, network_of


class Recorder:
    """Tells the log and the hooks of each decision. A flood of one kind is told folded; hooks see everything."""

    def __init__(self, hooks: Sequence[Hook], *, to_log: bool, monotonic: Clock) -> None:
        #: ``authguard.testing`` adds its own while it records.
        self.hooks = tuple(hooks)
        self._to_log, self._monotonic = to_log, monotonic
        self._aggregator = Aggregator()

    def record(self, request: AuthRequest, decision: Decision, rule: str | None = None) -> None:
        """One record. Nothing is formatted where nobody listens."""
        if len(self._aggregator):
            _tell_folds(self._aggregator.over(self._monotonic()))
        level = level_of(decision.reason) if isinstance(decision, Denied) else logging.DEBUG
        in_full = self._to_log and log.isEnabledFor(level) and not self._folds(request, decision, rule, level)
        if not (in_full or self.hooks):
            return
        record = record_of(request, decision, rule)
        if in_full:
            with suppress(Exception):  # a filter or a handler of the app's own
                log.log(level, f"{record.head} %s", record.line(), extra=record.extra())
        for hook in self.hooks:
            try:
                hook(record)
            except Exception as error:  # noqa: BLE001 - a hook changes nothing
                log_failure("a hook", error)

    def _folds(self, request: AuthRequest, decision: Decision, rule: str | None, level: int) -> bool:
        """Whether the decision goes into a fold."""
        if not isinstance(decision, Denied) or decision.authenticated or not decision.reason.folded:
            return False
        kind = AggregateKey(decision.reason.code, network_of(request.client), rule)
        subject = None if decision.subject is None else escaped(decision.subject)
        fold = self._aggregator.count(kind, level, ticks=self._monotonic(), now=request.moment.now, subject=subject)
        if fold is not None and fold.due:
            _tell_folds([fold])
        return fold is not None

    def close(self) -> None:
        """Tells what is still folded."""
        _tell_folds(self._aggregator.rest())


def _tell_folds(folds: Sequence[Aggregate]) -> None:
    for fold in folds:
        facts: dict[str, object] = {
            "count": fold.count,
            "first": fold.first,
            "last": fold.last,
            "client": None if fold.kind.client is None else escaped(fold.kind.client),
            "rule": fold.kind.rule,
            "subjects": fold.subjects,
            "samples": tuple(fold.samples),
        }
        told = {**facts, "first": _time(fold.first), "last": _time(fold.last)}
        line = " ".join(f"{name}={shown(value)}" for name, value in told.items() if value is not None)
        named = {"event": "folded", "reason": fold.kind.reason, **facts}
        extra = {f"authguard.{name}": value for name, value in named.items()}
        with suppress(Exception):  # as above
            log.log(fold.level, f"folded {fold.kind.reason}: %s", line, extra=extra)


def _time(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
    except (OSError, OverflowError, ValueError):  # the app's clock counts in something else
        return str(seconds)
