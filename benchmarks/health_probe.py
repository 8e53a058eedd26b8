"""Request ``/health`` at a fixed rate, and record how long each response takes.

It runs in its own process, so that the program that sends the logins cannot delay its clock.
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

from benchmarks.http_responses import ResponseReader

#: More connections than are busy while the server answers at all. If all are busy, a probe waits, and the wait counts.
CONNECTIONS = 32
REQUEST = b"GET /health HTTP/1.1\r\nHost: orders.example\r\n\r\n"


@dataclass(slots=True, eq=False)
class Probe:
    """One request: when it was due, by the monotonic clock that all processes share, and how many seconds it took."""

    due: float
    took: float | None = None


@dataclass(slots=True, eq=False)
class _Connection:
    """A keep-alive connection, and the probe that it is waiting for."""

    socket: socket.socket
    probe: Probe | None = None
    reader: ResponseReader = field(default_factory=ResponseReader)


@dataclass(slots=True)
class HealthProbe:
    """Sends one probe every ``1 / rate`` seconds."""

    port: int
    rate: float
    probes: list[Probe] = field(default_factory=list)
    _waiting: deque[Probe] = field(default_factory=deque)
    _free: deque[_Connection] = field(default_factory=deque)
    _selector: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector)

    def run(self, until: float) -> None:
        """Send probes until this time. A probe that is still unanswered then counts with the time that has passed."""
        for _ in range(CONNECTIONS):
            connection = _Connection(socket.create_connection(("127.0.0.1", self.port)))
            connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._selector.register(connection.socket, selectors.EVENT_READ, connection)
            self._free.append(connection)
        due = time.monotonic()
        while (now := time.monotonic()) < until:
            if now >= due:
                # The time starts now and not at ``due``: a delay of this process is not the server's fault. A probe
                # that the server does not answer does not delay the later ones.
                self._waiting.append(Probe(now))
                self.probes.append(self._waiting[-1])
                due += 1 / self.rate
            self._send()
            for key, _ in self._selector.select(max(0.0, min(due, until) - time.monotonic())):
                self._receive(key.data)
        for probe in self.probes:
            probe.took = until - probe.due if probe.took is None else probe.took

    def _send(self) -> None:
        while self._waiting and self._free:
            # The connections take turns, because the server closes one that is idle for five seconds.
            connection = self._free.popleft()
            connection.probe = self._waiting.popleft()
            connection.socket.sendall(REQUEST)

    def _receive(self, connection: _Connection) -> None:
        response = connection.reader.read(connection.socket)
        if response is None:
            return
        if connection.probe is None or response.status != 200:
            raise SystemExit(f"/health: the status is {response.status}, expected was 200")
        connection.probe.took, connection.probe = time.monotonic() - connection.probe.due, None
        self._free.append(connection)


def main(arguments: Sequence[str]) -> None:
    """Send probes to a port, until a time, at a rate; print the probes as JSON."""
    port, until, rate = arguments
    health_probe = HealthProbe(port=int(port), rate=float(rate))
    health_probe.run(until=float(until))
    print(json.dumps([(probe.due, probe.took) for probe in health_probe.probes]))


if __name__ == "__main__":
    main(sys.argv[1:])
