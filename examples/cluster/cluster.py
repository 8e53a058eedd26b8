"""Two workers behind nginx, with one redis-server: what sends requests to them, and reads what each has logged."""

from __future__ import annotations

import http.client
import os
import socket
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO

from examples.cluster.processes import RedisServer, nginx, redis_server
from examples.tour.server import HEALTH, HOST, ServerDied, send, uvicorn_process
from examples.tour.step import Request, Response

WORKERS = 2
#: In front of the record of a decision.
_LOGGER = ":authguard:"


@dataclass(slots=True)
class Worker:
    """A worker, its port, and the file that it logs into."""

    name: str
    port: int
    output: IO[bytes]
    position: int = 0

    def new_lines(self) -> list[str]:
        """What it has logged since the last call, each line with its name."""
        new = os.pread(self.output.fileno(), 1 << 20, self.position)
        self.position += len(new)
        return [f"{self.name}  {line}" for line in new.decode("utf-8", "replace").splitlines()]


@dataclass(slots=True)
class Cluster:
    """The port of nginx, the workers and the redis-server. ``notes`` is what workers logged beside their decisions."""

    port: int
    workers: list[Worker]
    redis: RedisServer
    notes: list[str] = field(default_factory=list)

    def send(self, request: Request) -> Response:
        """Send a request to nginx. The response has the record of the worker that got it."""
        try:
            response = send(self.port, request)
        except (OSError, http.client.HTTPException):
            raise ServerDied("\n".join(self.new_lines())) from None
        # A worker writes the record before it sends the response, so it is in the file by now.
        lines = self.new_lines()
        records = [line for line in lines if is_record(line)]
        self.notes += [line for line in lines if line not in records]
        return replace(response, log=records)

    def new_lines(self) -> list[str]:
        """What all workers have logged since the last call."""
        return [line for worker in self.workers for line in worker.new_lines()]

    def take_notes(self) -> list[str]:
        """What the workers have logged beside their decisions since the last call."""
        notes, self.notes = self.notes, []
        return notes


def is_record(line: str) -> bool:
    """Whether a line of the log is the record of a decision."""
    return line.partition(_LOGGER)[2].startswith(("granted", "denied"))


def worker_of(response: Response) -> str:
    """The name of the worker that has answered; empty if it logged nothing."""
    return response.log[0].partition("  ")[0] if response.log else ""


@contextmanager
def running_cluster(folder: Path, settings: Mapping[str, str]) -> Iterator[Cluster]:
    """Run all programs until the ``with`` block ends, with these settings of ``examples/cluster/app.py``."""
    with ExitStack() as stack:
        redis = stack.enter_context(redis_server(folder))
        everything = {**settings, "REDIS_URL": redis.url}
        workers: list[Worker] = []
        for number in range(1, WORKERS + 1):
            listener = socket.create_server((HOST, 0))
            port: int = listener.getsockname()[1]
            worker = Worker(f"worker {number}", port, stack.enter_context(tempfile.TemporaryFile(dir=folder)))
            stack.enter_context(uvicorn_process(listener, "cluster.app", everything, worker.output))
            workers.append(worker)
            try:
                # The next worker starts when this one serves, so that one of them has made the table.
                send(port, HEALTH)
            except (OSError, http.client.HTTPException):
                raise ServerDied("\n".join(worker.new_lines())) from None
        yield Cluster(stack.enter_context(nginx(folder, [worker.port for worker in workers])), workers, redis)
