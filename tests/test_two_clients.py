"""Two ``TestClient`` without ``with`` on one guard: each request has its own event loop, and none hangs."""

from __future__ import annotations

import threading
from base64 import b64encode
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal, TypeAlias

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from authguard import AUTHENTICATED, PUBLIC, AccessDenied, AuthGuardMiddleware, Guard, Rule
from authguard.starlette import requires
from tests.support.guards import NOT_OWNER
from tests.support.schemes.basic import SpyHasher, basic_scheme, memory_users

Loop: TypeAlias = Literal["asyncio", "trio"]
LOOPS: list[tuple[Loop, Loop]] = [("asyncio", "asyncio"), ("trio", "trio"), ("asyncio", "trio")]
PATIENCE = 300.0


@requires(AUTHENTICATED)
async def _locked(request: Request) -> Response:
    return PlainTextResponse(request.user.subject)


def _ruled(request: Request) -> Response:
    return PlainTextResponse(request.user.subject)


def _denied(request: Request) -> Response:
    raise AccessDenied(NOT_OWNER)


def clients(loops: tuple[Loop, Loop], **options: Any) -> tuple[list[TestClient], SpyHasher]:
    """Two clients, each with its own app, behind one guard with a thread pool."""
    hasher = SpyHasher()
    guard = Guard(basic_scheme(memory_users(hasher=hasher), **options), rules=[Rule("/locked", PUBLIC)], log=False)
    accounts = []
    for loop in loops:
        app = Starlette(routes=[Route("/locked", _locked), Route("/ruled", _ruled), Route("/denied", _denied)])
        app.add_middleware(AuthGuardMiddleware, guard=guard)
        accounts.append(TestClient(app, backend=loop))
    return accounts, hasher


def get(client: TestClient, path: str, password: str = "wonderland") -> int:
    """The status of one request of alice."""
    field = b64encode(f"alice:{password}".encode()).decode()
    return client.get(path, headers={"authorization": f"Basic {field}"}).status_code


def in_threads(works: Sequence[Callable[[], Any]]) -> list[Any]:
    """Run each function in a thread, and return the results, or an error for one that takes too long."""
    answers: list[Any] = [TimeoutError] * len(works)

    def one(number: int) -> None:
        try:
            answers[number] = works[number]()
        except BaseException as error:  # noqa: BLE001 - compared below
            answers[number] = error

    threads = [threading.Thread(target=one, args=(number,), daemon=True) for number in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    return answers


@pytest.mark.parametrize("loops", LOOPS)
@pytest.mark.parametrize("remember", [None, 60.0])
def test_by_turns(loops: tuple[Loop, Loop], remember: float | None) -> None:
    """In turn, both clients log in with right and wrong passwords, at a rule, at a lock and with a denial of the
    endpoint."""
    both, _ = clients(loops, remember=remember)

    def work() -> list[int]:
        asked = [("/ruled", "wonderland"), ("/locked", "wonderland"), ("/denied", "wonderland"), ("/locked", "wrong")]
        return [get(client, *one) for one in asked for client in both]

    assert in_threads([work]) == [[200, 200, 200, 200, 403, 403, 401, 401]]


@pytest.mark.parametrize("loops", LOOPS)
@pytest.mark.parametrize("path", ["/ruled", "/locked"])
def test_at_the_same_time(loops: tuple[Loop, Loop], path: str) -> None:
    """Two threads send the same login and the same wrong password, and neither waits for the other's verification."""
    both, hasher = clients(loops, remember=None, throttle=None)

    def work(client: TestClient) -> list[int]:
        return [get(client, path, password) for password in ("wonderland", "wrong") * 5]

    answers = in_threads([partial(work, client) for client in both])

    assert answers == [[200, 401] * 5] * 2
    assert hasher.count == 20


@pytest.mark.parametrize("loops", LOOPS)
def test_a_hash_of_one_loop_does_not_block_the_other(loops: tuple[Loop, Loop]) -> None:
    """While one client's hash runs, the other's waits for the same thread, and both are answered."""
    both, hasher = clients(loops, remember=None)
    hasher.released.clear()

    def release() -> None:
        while not hasher.count:
            threading.Event().wait(0.001)
        hasher.released.set()

    answers = in_threads([*(partial(get, client, "/ruled") for client in both), release])

    assert answers == [200, 200, None]


@pytest.mark.parametrize("loops", LOOPS)
def test_failures_in_both_count_together(loops: tuple[Loop, Loop]) -> None:
    """The throttle belongs to the guard, so guesses of one client use up the attempts of the other."""
    both, _ = clients(loops)

    def work() -> list[int]:
        return [get(both[number % 2], "/locked", f"wrong {number}") for number in range(40)]

    (statuses,) = in_threads([work])
    first = statuses.index(429)

    assert statuses[:first] == [401] * first
    assert get(both[0], "/ruled", "guess") == get(both[1], "/ruled", "guess") == 429
