"""The recorder: one record for each decision to the log and the hooks, and aggregated records of a flood."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial

from authguard.fork import ForkSafeLock
from authguard.model import Clock, Decision, Denied
from authguard.records.aggregation import NEVER, Aggregate, Aggregator
from authguard.records.counts import DecisionCounts
from authguard.records.record import (
    DecisionHook,
    Hook,
    LogLine,
    Record,
    Stage,
    escape,
    format_value,
    level_of,
    log,
    log_failure,
    record_of,
)
from authguard.request import AuthRequest, network_of
from authguard.wire.methods import REGISTERED_METHODS

# The hooks of a guard are replaced as a whole, so two threads must not do it at the same time.
_CHANGING_HOOKS = ForkSafeLock()


class Recorder:
    """Counts each decision, and writes its record to the log and to the hooks.

    In the log a flood of denials of one kind is aggregated. The hooks get every record, or that of every denial:
    ``denials`` says so. ``methods`` are those that rules name: a record names these and the registered ones, and no
    method that a client invents. ``explain_missing`` adds facts to the denial of a request
    without credentials (level INFO), if a record is made of it.
    """

    def __init__(
        self,
        hooks: Sequence[Hook],
        *,
        to_log: bool,
        monotonic: Clock,
        methods: AbstractSet[str] = frozenset(),
        explain_missing: Callable[[AuthRequest, Decision], Decision] | None = None,
    ) -> None:
        self.hooks = tuple(hooks)
        self.counts = DecisionCounts()
        self._to_log, self._monotonic = to_log, monotonic
        self._methods, self._explain_missing = REGISTERED_METHODS | methods, explain_missing
        # Apart, so that strangers with many addresses cannot crowd out what authenticated principals do.
        self._strangers, self._principals = Aggregator(), Aggregator()

    @property
    def hooks(self) -> tuple[Hook, ...]:
        """The hooks, in the order of their calls."""
        return self._hooks

    @hooks.setter
    def hooks(self, hooks: tuple[Hook, ...]) -> None:
        self._hooks = hooks
        #: The hooks that get the decision and not the record.
        self.writers = tuple(hook for hook in hooks if isinstance(hook, DecisionHook))
        self._hooks_for_denials = tuple(hook for hook in hooks if not isinstance(hook, DecisionHook))
        self._hooks_for_grants = tuple(hook for hook in self._hooks_for_denials if getattr(hook, "wants_grants", True))

    def add_hook(self, hook: Hook) -> Callable[[], None]:
        """Call a hook after all others, until what is returned is called."""
        with _CHANGING_HOOKS:
            self.hooks = (*self._hooks, hook)
        return partial(self._remove_hooks, [hook])

    def _remove_hooks(self, added: list[Hook]) -> None:
        """Remove what was added, and empty the list, so that a second call removes no equal hook of somebody else."""
        with _CHANGING_HOOKS:
            hooks = list(self._hooks)
            while added:
                hooks.remove(added.pop())
            self.hooks = tuple(hooks)

    def record(self, request: AuthRequest, decision: Decision, rule: str | None = None) -> None:
        """Record one decision. If neither the log nor a hook wants it, it is only counted."""
        ticks: float | None = None
        strangers, principals = self._strangers, self._principals
        if strangers.due != NEVER or principals.due != NEVER:
            ticks = self._monotonic()
            if ticks >= strangers.due or ticks >= principals.due:
                _log_aggregates([*strangers.pop_expired(ticks), *principals.pop_expired(ticks)])
        if isinstance(decision, Denied):
            reason, hooks = decision.reason, self._hooks_for_denials
            self.counts.add("denied" if decision.enforced else "would_deny", reason.code, decision.scheme, rule)
            level = level_of(reason)
            in_full = self._to_log and log.isEnabledFor(level)
            if in_full:
                ticks = self._monotonic() if ticks is None else ticks
                in_full = not self._aggregate(request, decision, rule, level, ticks)
        else:
            principal, hooks, level = decision.principal, self._hooks_for_grants, logging.DEBUG
            self.counts.add("granted", None, None if principal is None else principal.scheme, rule)
            in_full = self._to_log and log.isEnabledFor(logging.DEBUG)
        if not (in_full or hooks):
            return
        if level == logging.INFO and self._explain_missing is not None:
            decision = self._explain_missing(request, decision)
        record = record_of(request, decision, rule, self._methods)
        if in_full:
            with suppress(Exception):  # a logging filter or handler of the app may raise
                _write(level, record)
        if hooks:
            _call(hooks, record)

    def write(self, request: AuthRequest, decision: Decision, rule: str | None, stage: Stage) -> None:
        """Give one decision to the hooks that get it and not its record."""
        for writer in self.writers:
            try:
                writer.write(request, decision, rule, stage)
            except Exception as error:  # noqa: BLE001 - a hook that fails must not change the response
                log_failure("a hook", error)

    def _aggregate(self, request: AuthRequest, denied: Denied, rule: str | None, level: int, ticks: float) -> bool:
        """Count a denial in its aggregate. True if it gets no log record of its own."""
        subject = None if denied.subject is None else escape(denied.subject)
        if denied.authenticated:
            aggregator, about = self._principals, subject
        else:
            aggregator, about = self._strangers, _outage_detail(denied) if level == logging.ERROR else None
        key = denied.reason.code, network_of(request.client), rule, about
        aggregate = aggregator.count(key, level, ticks=ticks, now=request.moment.now, subject=subject)
        if aggregate is None:
            return False
        if aggregate.is_record_due:
            _log_aggregates([aggregate])
        return True

    def close(self) -> None:
        """Log the aggregates that are still open."""
        for aggregator in (self._strangers, self._principals):
            _log_aggregates(aggregator.pop_all())


def _call(hooks: Sequence[Hook], record: Record) -> None:
    for hook in hooks:
        try:
            hook(record)
        except Exception as error:  # noqa: BLE001 - a hook that fails must not change the response
            log_failure("a hook", error)


def _outage_detail(denied: Denied) -> str | None:
    """What failed, so that the second outage of an hour is not counted as the first one.

    None if a limit is the reason: its detail may hold a number that changes with each request, such as a waiting time.
    """
    detail = denied.facts.get("detail") if denied.reason.outage and not denied.reason.by_limit else None
    return escape(detail) if isinstance(detail, str) else None


def _write(level: int, record: Record) -> None:
    """Log a record in full. ``Logger.log`` does the same after a search of the stack for this place."""
    code, extra = _write.__code__, record.extra()
    place = code.co_filename, code.co_firstlineno
    is_usual = type(log) is logging.Logger
    log_record = log.makeRecord(
        *(log.name, level, *place, f"{record.head} %s", (LogLine(record),), None, code.co_name),
        extra=None if is_usual else extra,
    )
    if is_usual:  # that would compare each key with the names of all attributes, and take longer than the rest
        vars(log_record).update(extra)
    log.handle(log_record)


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
