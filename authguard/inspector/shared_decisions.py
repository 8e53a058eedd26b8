"""What the pages of several processes show together: each process publishes in Redis while somebody looks.

Whoever can write to Redis can write texts into the page, and no more: all that is read is checked, and becomes text.
"""

from __future__ import annotations

import asyncio
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from authguard.errors import BackendUnavailable
from authguard.event_loop import LoopTasks, is_task_cancelled, start_in_loop
from authguard.explain import read_record
from authguard.fork import renew_after_fork
from authguard.inspector.decision_log import MAX_DECISIONS, Decision, DecisionLog
from authguard.inspector.views import decision_view, plain
from authguard.records.patterns import MINUTES
from authguard.records.record import Record
from authguard.state.redis.backend import RedisBackend, check_backend
from authguard.state.redis.script import Script
from authguard.value_types import frozen, value

#: The seconds between two looks whether a page is open somewhere, and between two publications while one is.
ASK_EVERY, PUBLISH_EVERY = 2.0, 1.0
#: For how many seconds a look at a page counts.
LOOKED_FOR = 10
#: A process that has published nothing for so many seconds is gone.
GONE_AFTER = 10.0
#: For how many seconds Redis keeps what was published, after the last publication.
KEPT_FOR = 3600
#: How many decisions one publication has at most, and the first one of a process. Of more, the newest.
MOST_PUBLISHED, MOST_AT_FIRST = 50, 250
#: How many decisions one read takes.
MOST_READ = 50
#: How many processes are kept.
MOST_PROCESSES = 32
#: The longest record and the longest summary, in bytes.
MOST_RECORD, MOST_SUMMARY = 8 * 1024, 32 * 1024
#: How many reasons a summary has, and the largest number in one.
MOST_REASONS, MOST_COUNT = 256, 10**15

#: The cursor before the first decision in Redis.
BEGIN = "0-0"

# All keys are in one partition, so that one script reads and writes them on a Cluster too.
_PARTITION = b"\0"
_LOOKED, _GRANTS = b"i:looked", b"i:grants"
_DECISIONS, _SUMMARIES, _NUMBERS, _SEEN = b"i:decisions", b"i:summaries", b"i:numbers", b"i:seen"

# Whether a page is open, whether one shows grants, and the number of the last decision of this process that is there.
_ASK = Script(
    "inspector.ask",
    """\
if redis.call('EXISTS', KEYS[2]) == 0 then
  return {0}
end
return {1, redis.call('EXISTS', KEYS[3]), redis.call('HGET', KEYS[4], ARGV[2]) or '0'}
""",
)

# ARGV: the process, the number that must be the last one there, the new one, the summary, how many decisions and
# processes are kept, for how many seconds, and then for each decision its number, its time and its record. So what was
# sent before an outage, and has perhaps arrived, does not come twice.
_PUBLISH = Script(
    "inspector.publish",
    """\
if (redis.call('HGET', KEYS[4], ARGV[2]) or '0') ~= ARGV[3] then
  return 0
end
for index = 9, #ARGV, 3 do
  redis.call('XADD', KEYS[2], 'MAXLEN', ARGV[6], '*',
    'process', ARGV[2], 'number', ARGV[index], 'at', ARGV[index + 1], 'record', ARGV[index + 2])
end
redis.call('HSET', KEYS[3], ARGV[2], ARGV[5])
redis.call('HSET', KEYS[4], ARGV[2], ARGV[4])
redis.call('ZADD', KEYS[5], string.format('%.3f', now), ARGV[2])
local over = redis.call('ZCARD', KEYS[5]) - tonumber(ARGV[7])
if over > 0 then
  for _, process in ipairs(redis.call('ZRANGE', KEYS[5], 0, over - 1)) do
    redis.call('HDEL', KEYS[3], process)
    redis.call('HDEL', KEYS[4], process)
    redis.call('ZREM', KEYS[5], process)
  end
end
for index = 2, 5 do
  redis.call('EXPIRE', KEYS[index], ARGV[8])
end
return 1
""",
)

# Says that a page is open, and reads the decisions after the one with this id.
_READ = Script(
    "inspector.read",
    """\
redis.call('SET', KEYS[2], '1', 'EX', ARGV[2])
if ARGV[3] == '1' then
  redis.call('SET', KEYS[3], '1', 'EX', ARGV[2])
end
return redis.call('XRANGE', KEYS[4], '(' .. ARGV[4], '+', 'COUNT', ARGV[5])
""",
)

# For each process its name, the seconds since it has published, and its summary.
_PROCESSES = Script(
    "inspector.processes",
    """\
local found = {}
for _, process in ipairs(redis.call('ZREVRANGE', KEYS[3], 0, tonumber(ARGV[2]) - 1)) do
  local ago = now - tonumber(redis.call('ZSCORE', KEYS[3], process))
  table.insert(found, {process, string.format('%.3f', ago), redis.call('HGET', KEYS[2], process) or ''})
end
return found
""",
)

_is_cursor = re.compile(r"[0-9]{1,15}-[0-9]{1,15}", re.ASCII).fullmatch


@value
class SharedDecision:
    """A decision of a process: its id in Redis, the process, and what the page shows of it."""

    cursor: str
    process: str
    record: Record
    view: Mapping[str, Any]


@frozen
class Process:
    """A process that has published: its id, the seconds since, and its figures; None if they cannot be read."""

    id: str
    ago: float
    summary: Mapping[str, Any] | None

    @property
    def is_gone(self) -> bool:
        """Whether it has published nothing for some time."""
        return self.ago > GONE_AFTER


class SharedDecisions:
    """Publishes the decisions and figures of this process while somebody looks, and reads those of all processes.

    ``state`` makes the figures of this process.
    """

    def __init__(self, redis: RedisBackend, log: DecisionLog, state: Callable[[], Mapping[str, Any]]) -> None:
        self._redis, self._log, self._state = check_backend(redis), log, state
        self.renew()
        renew_after_fork(self)

    def renew(self) -> None:
        """Begin anew in a forked child, which has no copy of the event loops."""
        self._tasks: LoopTasks = {}
        #: How many decisions of this process came too fast to be published.
        self.skipped = 0
        #: How many values in Redis could not be read.
        self.dropped = 0

    def start(self) -> None:
        """Look from now on whether a page is open somewhere, until the running event loop ends."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # it is called without an event loop, or on trio
            return
        task = self._tasks.get(loop)
        if task is None or task.done():
            _ = start_in_loop(self._tasks, loop, self._run())

    async def _run(self) -> None:
        while not is_task_cancelled():
            is_looked_at = False
            with suppress(BackendUnavailable):
                is_looked_at = await self.publish()
            if not is_looked_at:
                self._log.share_grants(False)
            await asyncio.sleep(PUBLISH_EVERY if is_looked_at else ASK_EVERY)

    async def publish(self) -> bool:
        """Publish what is new, if a page is open anywhere, and say whether one is. Raises ``BackendUnavailable``."""
        process = self._log.worker.id
        is_looked_at, *more = await self._redis.run(_ASK, _PARTITION, [_LOOKED, _GRANTS, _NUMBERS], [process])
        if not is_looked_at:
            return False
        with_grants, last = bool(more[0]), _integer(more[1]) or 0
        self._log.share_grants(with_grants)
        new = self._log.since(last, with_grants=with_grants)
        sent = new[-(MOST_PUBLISHED if last else MOST_AT_FIRST) :]
        skipped = len(new) - len(sent) if last else 0
        arguments: list[bytes | str | int | float] = [
            *(process, more[1], new[-1].number if new else more[1], self._summary(skipped)),
            *(MAX_DECISIONS, MOST_PROCESSES, KEPT_FOR),
        ]
        for decision in sent:
            arguments += (decision.number, decision.at, record_text(decision.record))
        keys = [_DECISIONS, _SUMMARIES, _NUMBERS, _SEEN]
        if await self._redis.run(_PUBLISH, _PARTITION, keys, arguments):
            self.skipped += skipped
        return True

    def _summary(self, skipped: int) -> str:
        state = self._state()
        summary = {name: state[name] for name in ("granted", "denied", "would_deny", "totals", "series")}
        summary |= {"health": state["health"], "refused": state["throttle"]["refused"]}
        summary["skipped"] = self.skipped + skipped
        text = json.dumps(summary)
        return text if len(text) <= MOST_SUMMARY else json.dumps({**summary, "health": {}, "series": {}})

    async def read(self, after: str, *, with_grants: bool) -> tuple[Sequence[SharedDecision], str, bool]:
        """The next decisions, the id of the last one, and whether there may be more. Raises ``BackendUnavailable``."""
        entries = await self._redis.run(
            _READ,
            _PARTITION,
            [_LOOKED, _GRANTS, _DECISIONS],
            [LOOKED_FOR, int(with_grants), after, MOST_READ],
        )
        decisions = []
        for cursor, fields in entries:
            after = cursor.decode("ascii")
            decision = decision_of(after, dict(zip(fields[::2], fields[1::2], strict=True)))
            if decision is None:
                self.dropped += 1
            elif with_grants or decision.record.event != "granted":
                decisions.append(decision)
        return decisions, after, len(entries) == MOST_READ

    async def processes(self) -> Sequence[Process]:
        """The processes that have published, the latest first. Raises ``BackendUnavailable``."""
        found = await self._redis.run(_PROCESSES, _PARTITION, [_SUMMARIES, _SEEN], [MOST_PROCESSES])
        processes = []
        for name, ago, text in found:
            process, summary = _process_name(name), summary_of(text)
            self.dropped += process is None or summary is None
            if process is not None:
                processes.append(Process(process, _number(ago) or 0.0, summary))
        return processes


# --- what is written, and what is read back ---------------------------------------------------------------------------


def record_text(record: Record) -> str:
    """A record as JSON. One that is too long loses its facts."""
    names = (
        *("event", "reason", "status", "scheme", "subject", "subject_proven", "method", "path", "client"),
        *("requirement", "rule", "missing", "offered"),
    )
    document = {name: plain(getattr(record, name)) for name in names}
    text = json.dumps({**document, "facts": plain(record.facts)})
    return text if len(text) <= MOST_RECORD else json.dumps({**document, "facts": {}})


def decision_of(cursor: str, fields: Mapping[bytes, bytes]) -> SharedDecision | None:
    """A decision that was read; None if it is none."""
    process, number, at = (fields.get(name, b"") for name in (b"process", b"number", b"at"))
    name, count, seconds, text = _process_name(process), _integer(number), _number(at), fields.get(b"record", b"")
    if name is None or count is None or seconds is None or len(text) > MOST_RECORD or not _is_cursor(cursor):
        return None
    try:
        record = read_record(text.decode())
        view = {**decision_view(Decision(count, seconds, record)), "worker": name, "process": short_name(name)}
        json.dumps(view, allow_nan=False)
    except (ValueError, TypeError, RecursionError):
        return None
    return SharedDecision(cursor, name, record, view)


def summary_of(text: bytes) -> Mapping[str, Any] | None:
    """The figures of a process that were read; None if they are none."""
    try:
        summary: Any = json.loads(text) if len(text) <= MOST_SUMMARY else None
        series, totals = summary["series"], summary["totals"]
        counts = [summary[name] for name in ("granted", "denied", "would_deny", "refused", "skipped")]
        if len(series) > MOST_REASONS or len(totals) > MOST_REASONS or not isinstance(summary["health"], dict):
            return None
        if not all(len(numbers) == MINUTES for numbers in series.values()):
            return None
        counts += [*totals.values(), *(number for numbers in series.values() for number in numbers)]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    if not all(type(number) is int and 0 <= number <= MOST_COUNT for number in counts):
        return None
    return {**summary, "health": plain(summary["health"])}


def joined_state(state: Mapping[str, Any], processes: Sequence[Process], own: str, wanted: str) -> dict[str, Any]:
    """The figures of this process, with those of the other processes added; or those of the one that is wanted.

    Those of a process that is gone are added only if it is the one. Bursts and offenders are those of this process.
    """
    joined = dict(state)
    if wanted not in {"", own}:
        nothing = {"granted": 0, "denied": 0, "totals": {}, "series": {}, "bursts": [], "offenders": [], "health": {}}
        joined |= nothing | {"would_deny": 0, "throttle": {**state["throttle"], "refused": 0}}
    joined["others"] = {}
    skipped = 0
    for process in processes:
        summary = process.summary
        if summary is None or not (wanted == process.id or (not wanted and not process.is_gone)):
            continue
        skipped += summary["skipped"]
        if process.id == own:
            continue
        for name in ("granted", "denied", "would_deny"):
            joined[name] += summary[name]
        throttle = joined["throttle"]
        joined["throttle"] = {**throttle, "refused": throttle["refused"] + summary["refused"]}
        joined["totals"] = dict(Counter(joined["totals"]) + Counter(summary["totals"]))
        series = dict(joined["series"])
        for reason, numbers in summary["series"].items():
            series[reason] = [
                one + other for one, other in zip(series.get(reason, [0] * MINUTES), numbers, strict=True)
            ]
        joined["series"] = series
        joined["others"][short_name(process.id)] = summary["health"]
    joined["processes"] = [
        {"id": process.id, "name": short_name(process.id), "own": process.id == own, "gone": process.is_gone}
        for process in processes
    ]
    joined["skipped"] = skipped
    return joined


def short_name(process: str) -> str:
    """``12@host`` of the id of a process, or the id itself."""
    pid, _, rest = process.partition("-")
    _, _, host = rest.partition("-")
    return f"{pid}@{host}" if host else process


def cursor_of(event_id: str) -> str:
    """The cursor that the id of an event begins with; ``BEGIN`` if it has none."""
    cursor, slash, _ = event_id.partition("/")
    return cursor if slash and _is_cursor(cursor) else BEGIN


def _process_name(name: bytes) -> str | None:
    text = name.decode("utf-8", "replace")
    return text if 0 < len(text) <= 128 and text.isprintable() else None


def _integer(text: bytes) -> int | None:
    return int(text) if re.fullmatch(rb"[0-9]{1,15}", text) else None


def _number(text: bytes) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) and abs(number) < MOST_COUNT else None
