"""An app that cannot start or end says so itself: the guard changes neither the error nor the exit status."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.support.servers.app_server import AppServer, request_bytes

pytestmark = pytest.mark.peer

KINDS = {"startup": "auto", "shutdown": "auto", "without": "auto", "crashing": "on"}


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, AppServer]]:
    """A bare and a guarded server for each failure."""
    with ExitStack() as stack:
        started: dict[str, AppServer] = {}
        for kind, lifespan in KINDS.items():
            for name in (f"bare_{kind}", f"guarded_{kind}"):
                started[name] = AppServer(f"lifespans:{name}", "--lifespan", lifespan)
                stack.callback(started[name].stop)
        yield started


def told(server: AppServer) -> list[str]:
    """What stands on stderr, less the frames, the process and the port, which are never the same."""
    lines = [line for line in server.lines if not line.startswith(" ")]
    return [line.partition(" [")[0].partition("http://")[0] for line in lines]


def test_an_error_at_start_up_comes_out_unchanged(servers: dict[str, AppServer]) -> None:
    """The operator reads the app's own exception, once, and the server exits as it does without a guard."""
    bare, guarded = servers["bare_startup"], servers["guarded_startup"]

    statuses = bare.wait(), guarded.wait()

    assert statuses[0] == statuses[1] != 0
    assert told(guarded) == told(bare)
    assert told(guarded).count("ConnectionError: no database") == 1
    assert "ERROR:    Application startup failed. Exiting." in told(guarded)


def test_an_exception_out_of_the_app_is_the_one_that_is_told(servers: dict[str, AppServer]) -> None:
    """An app that raises instead of saying so is read the same way: its own exception, and nothing of ours."""
    bare, guarded = servers["bare_crashing"], servers["guarded_crashing"]

    statuses = bare.wait(), guarded.wait()

    assert statuses[0] == statuses[1] != 0
    assert told(guarded) == told(bare)
    assert told(guarded).count("NotImplementedError: lifespan") == 1


def test_an_error_at_shutdown_comes_out_unchanged(servers: dict[str, AppServer]) -> None:
    """The same holds for what goes wrong when the app ends."""
    bare, guarded = servers["bare_shutdown"], servers["guarded_shutdown"]

    assert bare.port != guarded.port
    statuses = bare.stop(), guarded.stop()

    assert statuses[0] == statuses[1]
    assert told(guarded) == told(bare)
    assert told(guarded).count("ConnectionError: no farewell") == 1


def test_an_app_without_a_lifespan_is_served(servers: dict[str, AppServer]) -> None:
    """The server finds out that there is none as it does without a guard, and serves."""
    bare, guarded = servers["bare_without"], servers["guarded_without"]

    answers = bare.send(request_bytes("/")), guarded.send(request_bytes("/"))

    assert [answer.status for answer in answers] == [200, 401]
    assert told(guarded) == told(bare)
    assert [line for line in guarded.lines if "Traceback" in line] == []
