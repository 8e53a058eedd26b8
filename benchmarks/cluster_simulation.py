"""A discrete-event simulation of many app processes and some Redis servers: who waits for whom, and for how long.

Each process is an event loop on a processor of its own, and each Redis server runs one script at a time. Both serve in
the order of arrival. A request takes a part of its processor time before each call of Redis and the rest after the last
one; meanwhile its process serves others. Only when requests come, who sends them, and where they go is random, and that
comes from a seed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from heapq import heappop, heappush
from itertools import accumulate
from random import Random

from authguard.caching import BoundedCache


@dataclass(frozen=True, slots=True)
class Cost:
    """What a request of a kind costs, in microseconds: of its process, and of a Redis server for each of its calls.

    ``calls`` says how many calls are sent at the same time, each to the server that has its key, and how many then
    after the replies to these. ``unknown`` is the time of the process if its token is not in the cache; None if the
    kind has no tokens. ``renews``: a server that has forgotten everything makes each client come once more, with a new
    nonce.
    """

    process: float
    redis: float = 0.0
    calls: Sequence[int] = ()
    unknown: float | None = None
    renews: bool = False


class Routing(Enum):
    """How the proxy chooses a process: by turns, or by a hash of what the client presents."""

    TURNS = auto()
    HASH = auto()


@dataclass(frozen=True, slots=True)
class Failure:
    """A Redis server that is gone ``at`` some second, and whose replica takes over ``after`` so many more.

    Calls of it end after ``deadline`` seconds. Then the process makes sure with a PING, which takes as long, and asks
    it no more (its circuit breaker is open). It tries again at random moments, ``probe`` seconds apart at most.
    """

    at: float
    after: float
    deadline: float = 1.0
    probe: float = 2.0


@dataclass(frozen=True, slots=True)
class Plan:
    """A cluster and its load.

    - ``rate``: requests a second, of which each kind of ``costs`` has the share that ``shares`` says.
    - ``processes`` and ``servers``: how many app processes and Redis servers there are.
    - ``users``: how many there are, each with one token; all are equally busy.
    - ``tokens``: how many verified tokens each process remembers.
    - ``own_work``: microseconds of a process that the endpoints of the app need on top.
    - ``round_trip``: microseconds on the network to a Redis server and back.
    - ``failure``: of the first Redis server. ``lost``: so many processes are gone at half-time.
    """

    costs: Mapping[str, Cost]
    shares: Mapping[str, float]
    rate: float
    processes: int
    servers: int
    users: int
    routing: Routing
    tokens: int = 4096
    own_work: float = 0.0
    round_trip: float = 200.0
    failure: Failure | None = None
    lost: int = 0


@dataclass(slots=True)
class _Queue:
    """What serves one after the other: when it will be free, and how long it has worked."""

    free_at: float = 0.0
    worked: float = 0.0

    def serve(self, now: float, seconds: float) -> float:
        """When something that comes now and takes so long is done."""
        self.free_at = max(self.free_at, now) + seconds
        self.worked += seconds
        return self.free_at


@dataclass(slots=True)
class _Process:
    """An app process: its processor, its token cache, and when it asks the server that failed again."""

    processor: _Queue
    cache: BoundedCache[bool]
    #: From when on its breaker is open, and from when on it is closed again.
    opens_at: float = math.inf
    closes_at: float = math.inf


@dataclass(slots=True)
class Observed:
    """What happened after the warm-up: seconds from arrival to response, and counts."""

    latencies: list[float] = field(default_factory=list)
    by_kind: dict[str, list[float]] = field(default_factory=dict)
    unavailable: int = 0
    unavailable_until: float = 0.0
    slowest_unavailable: float = 0.0
    known_tokens: int = 0
    unknown_tokens: int = 0
    renewed: int = 0
    process_utilization: float = 0.0
    server_utilization: float = 0.0
    queued: float = 0.0

    @property
    def hit_rate(self) -> float:
        """The share of tokens that their process knew."""
        return self.known_tokens / max(self.known_tokens + self.unknown_tokens, 1)

    @property
    def unavailable_share(self) -> float:
        """The share of requests that were answered with 503."""
        return self.unavailable / max(self.unavailable + len(self.latencies), 1)

    def percentile(self, percent: float, kind: str | None = None) -> float:
        """So many percent of the granted requests took at most this many milliseconds."""
        latencies = sorted(self.latencies if kind is None else self.by_kind[kind])
        return latencies[min(math.ceil(len(latencies) * percent / 100), len(latencies)) - 1] * 1000


@dataclass(slots=True)
class _Request:
    kind: str
    cost: Cost
    user: int
    process: _Process
    began: float
    #: The seconds of the process before each call, and after the last one without the work of the endpoint.
    part: float
    #: How many calls were sent one after the other, and how many of the last ones have not come back.
    sent: int = 0
    pending: int = 0
    asks_first_server: bool = False


# The stages of a request that calls Redis.
_AT_SERVER, _BACK, _FAILED, _RENEWED = range(4)


class _Run:
    """One simulation."""

    def __init__(self, plan: Plan, seconds: float, warm_up: float, seed: int) -> None:
        self.plan, self.seconds, self.warm_up = plan, seconds, warm_up
        self.random = Random(seed)  # noqa: S311 - no secret is made of it
        # Of its own, so that the same requests come whether or not a server fails.
        self.probes = Random(seed)  # noqa: S311
        self.processes = [_Process(_Queue(), BoundedCache(plan.tokens)) for _ in range(plan.processes)]
        self.servers = [_Queue() for _ in range(plan.servers)]
        self.events: list[tuple[float, int, int, int, _Request]] = []
        self.number = 0
        self.turn = 0
        self.renewed: set[int] = set()
        self.observed = Observed(by_kind={kind: [] for kind in plan.costs})
        self.kinds = list(zip(accumulate(plan.shares.values()), plan.shares, strict=True))
        self.index = {kind: index for index, kind in enumerate(plan.shares)}
        #: When the first server is gone, and when its replica has taken over.
        self.gone_at = self.back_at = math.inf
        if plan.failure is not None:
            self.gone_at = warm_up + plan.failure.at
            self.back_at = self.gone_at + plan.failure.after
        self.fill_caches()

    def fill_caches(self) -> None:
        """Put into each cache what it would have after a while: users at random, of those that come to the process."""
        plan = self.plan
        alive = len(self.processes)
        for index, process in enumerate(self.processes):
            mine = range(index, plan.users, alive) if plan.routing is Routing.HASH else range(plan.users)
            # Somewhat more than half of the cache survives, however many more come.
            for user in self.random.sample(mine, min(len(mine), plan.tokens)):
                process.cache.put(user.to_bytes(8), True)

    def run(self) -> Observed:
        """Let requests come for so many seconds, and finish those that have come."""
        plan, random, events = self.plan, self.random, self.events
        arrival, end = random.expovariate(plan.rate), self.warm_up + self.seconds
        half_time = self.warm_up + self.seconds / 2
        while arrival < end or events:
            if arrival < end and (not events or arrival <= events[0][0]):
                if plan.lost and arrival >= half_time and len(self.processes) == plan.processes:
                    del self.processes[-plan.lost :]
                self.arrive(arrival)
                arrival += random.expovariate(plan.rate)
            else:
                self.advance(*heappop(events))
        queues = [process.processor for process in self.processes]
        self.observed.process_utilization = sum(queue.worked for queue in queues) / len(queues) / end
        self.observed.server_utilization = max(server.worked for server in self.servers) / end
        self.observed.queued = max(max(queue.free_at for queue in [*queues, *self.servers]) - end, 0.0)
        return self.observed

    def schedule(self, at: float, stage: int, server: int, request: _Request) -> None:
        """Go on with a request at this time, at this server if it is asked."""
        self.number += 1
        heappush(self.events, (at, self.number, stage, server, request))

    def arrive(self, now: float) -> None:
        """A new request of some user."""
        plan, random = self.plan, self.random
        chosen = random.random()
        kind = next((kind for limit, kind in self.kinds if chosen < limit), self.kinds[-1][1])
        user = int(random.random() * plan.users)
        if plan.routing is Routing.HASH:
            # Consistent: only the users of a process that is gone move to others.
            index, alive = user % plan.processes, len(self.processes)
            process = self.processes[index if index < alive else user // plan.processes % alive]
        else:
            self.turn = (self.turn + 1) % len(self.processes)
            process = self.processes[self.turn]
        self.begin(now, kind, user, process, now)

    def begin(self, now: float, kind: str, user: int, process: _Process, began: float) -> None:
        """The first part of a request, up to its call of Redis."""
        plan = self.plan
        cost = plan.costs[kind]
        micros = cost.process
        if cost.unknown is not None:
            key = user.to_bytes(8)
            known = key in process.cache
            if not known:
                micros = cost.unknown
                process.cache.put(key, True)
            if now >= self.warm_up:
                self.observed.known_tokens += known
                self.observed.unknown_tokens += not known
        request = _Request(kind, cost, user, process, began, micros / (len(cost.calls) + 1) / 1e6)
        self.go_on(now, request)

    def go_on(self, now: float, request: _Request) -> None:
        """A part of the work of the process, and then the next calls of Redis, or the response."""
        plan, process, cost = self.plan, request.process, request.cost
        if request.sent == len(cost.calls):
            done = process.processor.serve(now, request.part + plan.own_work / 1e6)
            if self.must_renew(now, request):
                # 401 and stale=true: the client comes again with a new nonce.
                self.schedule(done, _RENEWED, 0, request)
            else:
                self.granted(done, request.kind, request.began)
            return
        sent = process.processor.serve(now, request.part)
        begin = sum(cost.calls[: request.sent])
        request.pending = cost.calls[request.sent]
        request.sent += 1
        servers = [self.server_of(request.user, request.kind, begin + call) for call in range(request.pending)]
        request.asks_first_server |= 0 in servers
        if plan.failure is not None and 0 in servers:
            if process.opens_at <= sent < process.closes_at:
                self.refused(sent, request.began)
                return
            if self.gone_at <= sent < self.back_at:
                self.schedule(sent + plan.failure.deadline, _FAILED, 0, request)
                return
        for server in servers:
            self.schedule(sent + plan.round_trip / 2e6, _AT_SERVER, server, request)

    def server_of(self, user: int, kind: str, call: int) -> int:
        """The server that is asked: another one for each key. ``hash`` of a text would differ from run to run."""
        key = (user * len(self.kinds) + self.index[kind]) * 4 + call
        return (key * 0x9E37_79B9_7F4A_7C15 % 2**64 >> 40) % self.plan.servers

    def advance(self, now: float, number: int, stage: int, server: int, request: _Request) -> None:
        """The next stage of a request."""
        plan, process = self.plan, request.process
        if stage == _AT_SERVER:
            done = self.servers[server].serve(now, request.cost.redis / 1e6)
            self.schedule(done + plan.round_trip / 2e6, _BACK, server, request)
        elif stage == _BACK:
            request.pending -= 1
            if not request.pending:
                self.go_on(now, request)
        elif stage == _RENEWED:
            self.begin(now, request.kind, request.user, process, request.began)
        else:
            self.fail(now, request)

    def must_renew(self, now: float, request: _Request) -> bool:
        """Whether a nonce is older than the server that has taken over."""
        if not (request.cost.renews and request.asks_first_server and now >= self.back_at):
            return False
        if request.user in self.renewed:
            return False
        self.renewed.add(request.user)
        self.observed.renewed += 1
        return True

    def fail(self, now: float, request: _Request) -> None:
        """The deadline of a call is over: 503, and the breaker of this process opens."""
        process, failure = request.process, self.plan.failure
        assert failure is not None  # noqa: S101 - else nothing fails
        if process.opens_at == math.inf:
            process.opens_at = now + failure.deadline
            process.closes_at = max(self.back_at, process.opens_at) + self.probes.random() * failure.probe
        self.refused(process.processor.serve(now, request.part), request.began)

    def refused(self, now: float, began: float) -> None:
        """A response with 503."""
        if began >= self.warm_up:
            self.observed.unavailable += 1
            self.observed.unavailable_until = max(self.observed.unavailable_until, now - self.warm_up)
            self.observed.slowest_unavailable = max(self.observed.slowest_unavailable, now - began)

    def granted(self, done: float, kind: str, began: float) -> None:
        """The response of the endpoint."""
        if began >= self.warm_up:
            self.observed.latencies.append(done - began)
            self.observed.by_kind[kind].append(done - began)


def simulate(plan: Plan, *, seconds: float, warm_up: float = 0.2, seed: int = 1) -> Observed:
    """Simulate so many seconds after a warm-up. The same seed gives the same result."""
    return _Run(plan, seconds, warm_up, seed).run()


def waiting_time(rate: float, service: float) -> float:
    """The mean wait in a queue for one server with a constant service time (M/D/1), all in seconds.

    Pollaczek-Khinchine. The simulation of one process must agree with it.
    """
    utilization = rate * service
    return utilization * service / (2 * (1 - utilization))


def processes_for(rate: float, costs: Sequence[tuple[float, float]], utilization: float) -> int:
    """How many processes are needed, if each is busy for this share of the time. ``costs``: share and microseconds."""
    return math.ceil(rate * sum(share * micros for share, micros in costs) / 1e6 / utilization)
