"""An app that fails when it starts or ends: the guard changes neither the error nor the exit status."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.support.servers.app_server import AppServer, request_bytes

pytestmark = pytest.mark.peer

KINDS = {"startup": "auto", "shutdown": "auto", "without": "auto", "crashing": "on"}


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, AppServer]]:
    """A bare server and one with a guard, for each failure."""
    with ExitStack() as stack:
        started: dict[str, AppServer] = {}
        for kind, lifespan in KINDS.items():
            for name in (f"bare_{kind}", f"guarded_{kind}"):
                started[name] = AppServer(f"lifespans:{name}", "--lifespan", lifespan)
                stack.callback(started[name].stop)
        yield started


def stderr_lines(server: AppServer) -> list[str]:
    """The lines on stderr, without frames, process ids and ports, which vary."""
    lines = [line for line in server.lines if not line.startswith(" ")]
    return [line.partition(" [")[0].partition("http://")[0] for line in lines]


def test_an_error_at_start_up_comes_out_unchanged(servers: dict[str, AppServer]) -> None:
    """The operator sees the app's own exception once, and the server exits as it does without a guard."""
    bare, guarded = servers["bare_startup"], servers["guarded_startup"]

    statuses = bare.wait(), guarded.wait()

    assert statuses[0] == statuses[1] != 0
    assert stderr_lines(guarded) == stderr_lines(bare)
    assert stderr_lines(guarded).count("ConnectionError: no database") == 1
    assert "ERROR:    Application startup failed. Exiting." in stderr_lines(guarded)


def test_an_exception_of_the_lifespan_is_shown_unchanged(servers: dict[str, AppServer]) -> None:
    """If the app raises instead of reporting a failure, its own exception is shown, without any of authguard."""
    bare, guarded = servers["bare_crashing"], servers["guarded_crashing"]

    statuses = bare.wait(), guarded.wait()

    assert statuses[0] == statuses[1] != 0
    assert stderr_lines(guarded) == stderr_lines(bare)
    assert stderr_lines(guarded).count("NotImplementedError: lifespan") == 1


def test_an_error_at_shutdown_comes_out_unchanged(servers: dict[str, AppServer]) -> None:
    """An error when the app ends is shown as it is without a guard."""
    bare, guarded = servers["bare_shutdown"], servers["guarded_shutdown"]

    assert bare.port != guarded.port
    statuses = bare.stop(), guarded.stop()

    assert statuses[0] == statuses[1]
    assert stderr_lines(guarded) == stderr_lines(bare)
    assert stderr_lines(guarded).count("ConnectionError: no farewell") == 1


def test_an_app_without_a_lifespan_is_served(servers: dict[str, AppServer]) -> None:
    """For an app without a lifespan, the server behaves as it does without a guard."""
    bare, guarded = servers["bare_without"], servers["guarded_without"]

    answers = bare.send(request_bytes("/")), guarded.send(request_bytes("/"))

    assert [answer.status for answer in answers] == [200, 401]
    assert stderr_lines(guarded) == stderr_lines(bare)
    assert [line for line in guarded.lines if "Traceback" in line] == []
