"""Asks for ``/health`` at a steady rate, whatever is answered, and says how long each answer took.

It runs in a process of its own, so that whoever makes the logins does not keep it from looking at its clock.
"""

from __future__ import annotations

import json
import selectors
import socket
import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmarks.answers import Answers

#: More than are ever busy while the server answers at all; behind them a probe waits, and that is in its figure.
CONNECTIONS = 32
REQUEST = b"GET /health HTTP/1.1\r\nHost: orders.example\r\n\r\n"


@dataclass(slots=True, eq=False)
class Probe:
    """When it was asked, by the clock that all processes share, and how many seconds the answer took."""

    at: float
    took: float | None = None


@dataclass(slots=True, eq=False)
class _Line:
    """A connection that is kept alive, and the probe that it carries."""

    socket: socket.socket
    carries: Probe | None = None
    answers: Answers = field(default_factory=Answers)


@dataclass(slots=True)
class Prober:
    """One probe each ``1 / rate`` seconds."""

    port: int
    rate: float
    probes: list[Probe] = field(default_factory=list)
    _waiting: deque[Probe] = field(default_factory=deque)
    _free: deque[_Line] = field(default_factory=deque)
    _ready: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector)

    def run(self, until: float) -> None:
        """Probes, until the clock says so. What is not answered by then has taken as long as it has."""
        for _ in range(CONNECTIONS):
            line = _Line(socket.create_connection(("127.0.0.1", self.port)))
            line.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._ready.register(line.socket, selectors.EVENT_READ, line)
            self._free.append(line)
        due = time.monotonic()
        while (now := time.monotonic()) < until:
            if now >= due:
                # From the moment that this process is there to ask: that it came late is not the server's doing. What
                # the server does not answer holds no later probe up.
                self._waiting.append(Probe(now))
                self.probes.append(self._waiting[-1])
                due += 1 / self.rate
            self._send()
            for key, _ in self._ready.select(max(0.0, min(due, until) - time.monotonic())):
                self._answered(key.data)
        for probe in self.probes:
            probe.took = until - probe.at if probe.took is None else probe.took

    def _send(self) -> None:
        while self._waiting and self._free:
            # In turn: a connection that nothing goes over for five seconds is closed by the server.
            line = self._free.popleft()
            line.carries = self._waiting.popleft()
            line.socket.sendall(REQUEST)

    def _answered(self, line: _Line) -> None:
        answer = line.answers.read(line.socket)
        if answer is None:
            return
        if line.carries is None or answer.status != 200:
            raise SystemExit(f"/health: answered {answer.status}")
        line.carries.took, line.carries = time.monotonic() - line.carries.at, None
        self._free.append(line)


def main(arguments: Sequence[str]) -> None:
    """Prints the probes as JSON: when each was asked, and what it took."""
    prober = Prober(port=int(arguments[0]), rate=float(arguments[2]))
    prober.run(until=float(arguments[1]))
    print(json.dumps([(probe.at, probe.took) for probe in prober.probes]))


if __name__ == "__main__":
    main(sys.argv[1:])
