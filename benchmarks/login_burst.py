"""How long a burst of logins holds the event loop: a thousand that arrive in one turn, each of another user.

Hashing is in threads and not counted. What is counted is the work on the loop until every login is refused or waits.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from statistics import median
from threading import Event
from time import perf_counter, thread_time
from typing import NoReturn

import bcrypt
from starlette.applications import Starlette
from starlette.authentication import (
    AuthCredentials,
    AuthenticationBackend,
    AuthenticationError,
    BaseUser,
    SimpleUser,
    requires,
)
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from authguard import PUBLIC, Account, Basic, Guard, MemoryUsers, PasswordHasher, Rule
from authguard.accounts import Verdict
from benchmarks.material import PASSWORD
from benchmarks.paths import PATH, REALM, Prepared, basic_credentials, endpoint, guarded, quiet
from benchmarks.results import Goal, PartResult, Progress

LOGINS = 1000
#: The cost of the bcrypt hashes. A hash takes longer than all that is counted.
BCRYPT_COST = 12
#: After so many turns of the loop, every login is refused or waits for a hash.
TURNS = 12
OURS, LONG_QUEUE, PEER = "authguard", f"authguard, waiting={LOGINS}", "AuthenticationMiddleware, one thread"
#: The same app, with all logins from one address, as behind a proxy that the server does not know. The log then counts
#: their refusals together; those of a thousand addresses it writes one by one.
ONE_ADDRESS = "authguard, one address"


class BlockedHasher:
    """Never finishes: where instructions are counted, those of a hash would hide those of the loop."""

    def verify(self, password: str, stored: str) -> Verdict:
        self.block()

    def block(self, *arguments: object) -> NoReturn:
        """Wait for ever."""
        Event().wait()
        raise AssertionError

    def hash(self, password: str) -> str:
        return "hash"

    def needs_rehash(self, stored: str) -> bool:
        return False

    def reads(self, stored: str) -> bool:
        return True

    def blocks_gil(self, stored: str) -> bool:
        return False


class OneThreadBackend(AuthenticationBackend):
    """Starlette's middleware with bcrypt, or another function like ``checkpw``, in one thread, without any limit."""

    def __init__(
        self, hashes: Mapping[str, bytes], pool: ThreadPoolExecutor, check: Callable[[bytes, bytes], bool]
    ) -> None:
        self._hashes, self._pool, self._check = hashes, pool, check

    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, BaseUser] | None:
        scheme, _, rest = conn.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "basic":
            return None
        name, _, password = base64.b64decode(rest).decode().partition(":")
        stored = self._hashes[name]
        check = asyncio.get_running_loop().run_in_executor(self._pool, self._check, password.encode(), stored)
        if not await check:
            raise AuthenticationError("wrong password")
        return AuthCredentials(["authenticated"]), SimpleUser(name)


def _refuse(conn: HTTPConnection, error: Exception) -> Response:
    return PlainTextResponse(str(error), 401, {"WWW-Authenticate": f'Basic realm="{REALM}"'})


def _peer(stored: str, pool: ThreadPoolExecutor, check: Callable[[bytes, bytes], bool] = bcrypt.checkpw) -> ASGIApp:
    backend = OneThreadBackend({_name(number): stored.encode() for number in range(LOGINS)}, pool, check)
    middleware = Middleware(AuthenticationMiddleware, backend=backend, on_error=_refuse)
    return Starlette(routes=[Route(PATH, requires("authenticated", 401)(endpoint))], middleware=[middleware])


def _authguard(stored: str, waiting: int = 64, hasher: PasswordHasher | None = None) -> ASGIApp:
    users = MemoryUsers([Account(_name(number), stored) for number in range(LOGINS)], hasher=hasher)
    basic = Basic(users, realm=REALM, threads=1, waiting=waiting)
    return guarded(Guard(basic, rules=[Rule("/health", PUBLIC)]))


APPS: Mapping[str, Callable[[str, ThreadPoolExecutor], ASGIApp]] = {
    OURS: lambda stored, pool: _authguard(stored),
    ONE_ADDRESS: lambda stored, pool: _authguard(stored),
    LONG_QUEUE: lambda stored, pool: _authguard(stored, waiting=LOGINS),
    PEER: _peer,
}
#: The same for ``instruction_counts``, by the name of the row, with hashes that never finish.
BLOCKED_APPS: Mapping[str, Callable[[], ASGIApp]] = {
    "burst-peer": lambda: _peer("hash", ThreadPoolExecutor(1), BlockedHasher().block),
    "burst": lambda: _authguard("hash", hasher=BlockedHasher()),
    "burst-one-address": lambda: _authguard("hash", hasher=BlockedHasher()),
}


def _name(number: int) -> str:
    return f"user-{number}"


def _credentials(number: int) -> bytes:
    return basic_credentials(_name(number))


def _any_address(number: int) -> str:
    return f"10.0.{number // 250}.{number % 250}"


def _one_address(number: int) -> str:
    return "10.0.0.1"


def arrive(app: ASGIApp, logins: int, *, one_address: bool) -> list[asyncio.Future[None]]:
    """The tasks of so many logins, each of another user. They begin with the next turn of the loop."""
    prepared = Prepared(app, _credentials, _one_address if one_address else _any_address)
    return [asyncio.ensure_future(prepared.call(number)()) for number in range(logins)]


async def burst(app: ASGIApp, logins: int, *, one_address: bool) -> tuple[float, float]:
    """Milliseconds of processor time of this thread in all turns, and of the clock in the longest one."""
    tasks = arrive(app, logins, one_address=one_address)
    longest, work = 0.0, thread_time()
    for _ in range(TURNS):
        start = perf_counter()
        await asyncio.sleep(0)
        longest = max(longest, perf_counter() - start)
    work = thread_time() - work
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return work * 1000, longest * 1000


async def measure_bursts(rounds: int, logins: int, stored: str) -> Mapping[str, list[tuple[float, float]]]:
    """The figures of each app, by round. The apps take turns."""
    results: dict[str, list[tuple[float, float]]] = {name: [] for name in APPS}
    progress = Progress("burst of logins", rounds * len(APPS))
    for _ in range(rounds):
        for name, build in APPS.items():
            pool = ThreadPoolExecutor(1)
            results[name].append(await burst(build(stored, pool), logins, one_address=name == ONE_ADDRESS))
            pool.shutdown(cancel_futures=True)
            progress.step()
    return results


def login_burst(*, rounds: int = 9, logins: int = LOGINS) -> PartResult:
    """Measure each app in this many rounds, and return the table."""
    quiet()
    stored = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(BCRYPT_COST)).decode()
    results = asyncio.run(measure_bursts(rounds, logins, stored))
    width = max(map(len, results))
    title = f"{logins:,} logins in one turn"
    rows = [f"{title:{width}}  ms of the loop's thread  longest turn, ms"]
    for name, figures in results.items():
        work, longest = (median(values) for values in zip(*figures, strict=True))
        rows.append(f"{name:{width}}  {work:23.1f}  {longest:16.1f}")
    goals: list[Goal] = []
    for name, where in ((OURS, "many addresses"), (ONE_ADDRESS, "one address")):
        ratio = median(own[0] / other[0] for own, other in zip(results[name], results[PEER], strict=True))
        goals.append(Goal(f"loop time for {logins:,} logins in one turn, {where} / {PEER}", ratio, 1.5))
    return PartResult("\n".join(rows), goals)
