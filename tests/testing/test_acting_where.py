"""A block of ``acting_as`` reaches the clients, sockets, tasks and threads that are started in it, and nothing else."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import anyio
import httpx2
import pytest
from starlette.testclient import TestClient, WebSocketDenialResponse

from authguard import Principal
from authguard.testing import acting_as, assert_denied
from tests.testing.shop import app_behind, client_of, guard_of

EDITOR = Principal("alice", roles={"editor"})
CLERK = Principal("bob", roles={"clerk"})


@pytest.fixture(params=["asyncio", "trio"])
def backend(request: pytest.FixtureRequest) -> str:
    """The event loop of a ``TestClient``."""
    return str(request.param)


def test_it_works_with_a_client_that_runs_the_lifespan(backend: str) -> None:
    """The client may be opened inside the block, or the block inside the client."""
    guard = guard_of()
    app = app_behind(guard)

    with acting_as(guard, EDITOR), TestClient(app, backend=backend) as client:  # type: ignore[arg-type]
        first = client.get("/").json()[0]
    with TestClient(app, backend=backend) as client:  # type: ignore[arg-type]
        with acting_as(guard, CLERK):
            second = client.get("/").json()[0]
        third = client.get("/").status_code

    assert (first, second, third) == ("alice", "bob", 401)


def test_two_clients_on_one_guard_need_no_lifespan(backend: str) -> None:
    """Each request has its own event loop, and none hangs or meets a closed loop."""
    guard = guard_of()
    client, other = client_of(guard, backend=backend), client_of(guard, backend=backend)

    with acting_as(guard, EDITOR):
        results = [
            each.get(path).status_code for _ in range(3) for each in (client, other) for path in ("/", "/open/desk")
        ]
    with acting_as(guard, CLERK):
        results += [each.get("/open/desk").status_code for each in (client, other)]

    assert results == [200] * 12 + [403] * 2


def test_it_works_for_a_websocket(backend: str) -> None:
    """The handshake comes from the principal, behind a rule and behind a lock on PUBLIC."""
    guard = guard_of()
    client = client_of(guard, backend=backend)

    with acting_as(guard, EDITOR):
        for path in ("/chat", "/open/chat"):
            with client.websocket_connect(path) as socket:
                assert socket.receive_text() == "alice"
    with acting_as(guard, CLERK):
        with pytest.raises(WebSocketDenialResponse) as denied, client.websocket_connect("/open/chat"):
            raise AssertionError("it opened")
        assert_denied(denied.value, 403, reason="role.missing", challenge="bearer")


async def test_each_task_has_its_own_principal() -> None:
    """Tried with httpx2's ASGITransport and ten tasks at once."""
    guard = guard_of()
    transport = httpx2.ASGITransport(app_behind(guard))
    results: dict[str, list[object]] = {}
    ready = anyio.Event()

    async def ask(name: str) -> None:
        async with httpx2.AsyncClient(transport=transport, base_url="http://shop.test") as client:
            with acting_as(guard, Principal(name)):
                if len(results) == 9:
                    ready.set()
                results[name] = []
                await ready.wait()  # all blocks are open now
                for _ in range(3):
                    await anyio.lowlevel.checkpoint()
                    results[name].append((await client.get("/")).json()[0])
                assert_denied(await client.get("/admin"), 403, reason="role.missing")
            results[name].append((await client.get("/")).status_code)

    async with anyio.create_task_group() as tasks:
        for number in range(10):
            tasks.start_soon(ask, f"user{number}")

    assert results == {name: [name] * 3 + [401] for name in results}


def test_each_thread_has_its_own_principal() -> None:
    """Eight threads use one guard. The thread that opens no block is anonymous."""
    guard = guard_of()
    barrier = threading.Barrier(8)

    def ask(number: int) -> list[object]:
        client = client_of(guard)
        with ExitStack() as blocks:
            if number:
                blocks.enter_context(acting_as(guard, Principal(f"user{number}")))
            barrier.wait(10)
            answers = [client.get("/") for _ in range(4)]
            barrier.wait(10)
        return [answer.json()[0] if answer.status_code == 200 else answer.status_code for answer in answers]

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(ask, range(8)))

    assert results == [[401] * 4, *([f"user{number}"] * 4 for number in range(1, 8))]
    assert guard.test_override is None


def test_a_reason_is_read_from_the_own_block() -> None:
    """Two threads are denied at the same time for the same path and status, and neither reads the other's records."""
    guard = guard_of()
    barrier = threading.Barrier(2)

    def ask(principal: Principal, reason: str) -> None:
        with acting_as(guard, principal):
            barrier.wait(10)
            for _ in range(10):
                assert_denied(client_of(guard).get("/admin"), 403, reason=reason)
            barrier.wait(10)

    with ThreadPoolExecutor(2) as pool:
        futures = [pool.submit(ask, CLERK, "role.missing"), pool.submit(ask, Principal("mallory"), "user.banned")]
        assert [future.result(20) for future in futures] == [None, None]


def test_a_task_that_outlives_the_block_is_anonymous() -> None:
    """Its context is a copy of the context in the block."""
    guard = guard_of()
    client = client_of(guard)

    with acting_as(guard, EDITOR):
        copied = contextvars.copy_context()
        inside = copied.run(client.get, "/").status_code
    with acting_as(guard, EDITOR):
        other = copied.run(client.get, "/").status_code

    assert (inside, other) == (200, 401)


def test_a_block_may_be_left_in_another_context() -> None:
    """Fixtures of asynchronous tests do this. Nobody acts in the first context afterwards."""
    guard = guard_of()
    client = client_of(guard)
    block = acting_as(guard, EDITOR)
    entered = contextvars.copy_context()
    entered.run(block.__enter__)

    here, there = client.get("/").status_code, entered.run(client.get, "/").status_code
    block.__exit__(None, None, None)

    assert (here, there, entered.run(client.get, "/").status_code) == (401, 200, 401)


def test_a_block_around_a_loop_reaches_its_tasks() -> None:
    """``asyncio.run`` inside a block copies the context."""
    guard = guard_of()

    async def ask() -> int:
        transport = httpx2.ASGITransport(app_behind(guard))
        async with httpx2.AsyncClient(transport=transport, base_url="http://shop.test") as client:
            return (await client.get("/admin")).status_code

    with acting_as(guard, EDITOR):
        assert asyncio.run(ask()) == 200
