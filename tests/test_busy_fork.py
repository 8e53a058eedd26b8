"""A process may be forked at any moment: no lock stays locked in the child, and it answers every kind of login."""

from __future__ import annotations

import gc
import json
import sys
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import cached_property, partial
from pathlib import Path
from types import BuiltinMethodType, CellType, FunctionType, MappingProxyType, MethodType
from typing import Any

import anyio
import pytest
from passlib.utils import handlers
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from authguard import (
    AuthGuardMiddleware,
    Basic,
    Bearer,
    Digest,
    Guard,
    HtdigestFile,
    HtpasswdFile,
    Introspection,
    Issuer,
    RemoteJWKS,
    allows,
    http_client,
    role,
)
from authguard.accounts.password_hashes import BY_NAME, READ, LibpassHasher
from authguard.fork import ForkSafeLock
from authguard.testing import recording
from authguard.testing.record_list import LOCK, RecordList
from authguard.wire.challenge import Challenge
from tests.support.asgi import RecordingApp, header_list, http_scope, run_app
from tests.support.clock import NOW
from tests.support.forks import held_by_another_thread, needs_fork, run_in_child
from tests.support.schemes.basic import user_pass
from tests.support.schemes.digest import REALM, SECRET, answer_challenge, serialize, stored_ha1
from tests.support.schemes.introspection import CLIENT_OPTIONS, INTROSPECTION_URL, IntrospectionServer
from tests.support.servers.key_server import running_key_server
from tests.support.tokens import AUDIENCE, ISSUER, mint, public_jwk, rsa_key
from tests.support.vectors import load_vectors

pytestmark = needs_fork

SHA = "{SHA}hvfkN/qlp/zhXR3cuerq6jd2Z7g="  # "a"
#: How many children are forked from the busy process.
CHILDREN = 12


class Reading(RecordingApp):
    """An app that reads all that a request knows about its user, and asks about a role."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["user"].claims is not None
        assert "authenticated" in scope["auth"].scopes
        assert await allows(Request(scope), role("nobody")) is False
        await super().__call__(scope, receive, send)


class Site:
    """An app behind a guard with every kind of scheme and store."""

    def __init__(self, folder: Path, url: str) -> None:
        users, digests, groups = folder / "users", folder / "digests", folder / "groups"
        users.write_text(f"alice:{SHA}\n")
        digests.write_text(f"alice:{REALM}:{stored_ha1('alice', 'wonderland')}\n")
        groups.write_text("staff: alice\n")
        self.keys = RemoteJWKS(url, insecure_http=True, cooldown=1)
        issuer = Issuer(ISSUER, audience=AUDIENCE, algorithms=["RS256"], keys=self.keys)
        options: dict[str, Any] = {"issuer": "https://opaque.example/", "audience": AUDIENCE, **CLIENT_OPTIONS}
        opaque = Introspection(INTROSPECTION_URL, post=IntrospectionServer(), **options)
        self.guard = Guard(
            Digest(HtdigestFile(digests, groups=groups), realm=REALM, secret=SECRET),
            Bearer(issuer, opaque, realm=REALM),
            Basic(HtpasswdFile(users, groups=groups), realm=REALM, threads=2, throttle=None, remember=None),
            clock=lambda: NOW,
        )
        self.app = AuthGuardMiddleware(Reading(), guard=self.guard)
        self.token = mint(headers={"kid": "a"})

    async def _request(self, authorization: str | bytes | None) -> Any:
        return await run_app(self.app, http_scope(headers=header_list(authorization)))

    async def basic(self, password: str = "a") -> int:
        """The status of a login with Basic."""
        return int((await self._request("Basic " + user_pass("alice", password).decode())).status)

    async def bearer(self) -> int:
        """The status of a request with a token, after its key was fetched again."""
        await self.keys.warm()
        return int((await self._request(f"Bearer {self.token}")).status)

    async def digest(self) -> int:
        """The status of a response to a challenge."""
        line = (await self._request(None)).lines(b"www-authenticate")[0]
        params = answer_challenge(Challenge.from_header(line.encode()))
        return int((await self._request(b"Digest " + serialize(params))).status)

    def answers(self) -> dict[str, int]:
        """The status of each kind of login, and the number of records of all requests."""

        async def log_in() -> dict[str, int]:
            with recording(self.guard) as records:
                statuses = {"basic": await self.basic(), "bearer": await self.bearer(), "digest": await self.digest()}
            return {**statuses, "records": len(records)}

        return anyio.run(log_in)


@pytest.fixture(name="site")
def _site(tmp_path: Path) -> Iterator[Site]:
    key = {**public_jwk(rsa_key()), "kid": "a", "use": "sig", "alg": "RS256"}
    with running_key_server(json.dumps({"keys": [key]}).encode()) as server:
        yield Site(tmp_path, server.url)


#: What a site answers that nothing blocks.
ANSWERS = {"basic": 200, "bearer": 200, "digest": 200, "records": 4}


def test_a_busy_process_has_children_that_answer(site: Site) -> None:
    """Threads log in with right and wrong passwords, fetch keys and record. Each child answers every kind of login."""
    over = threading.Event()

    def repeat(work: Callable[[], Any]) -> None:
        while not over.is_set():
            work()

    def record() -> None:
        with recording(site.guard):
            pass

    works = [
        partial(anyio.run, site.basic),
        partial(anyio.run, site.basic, "wrong"),
        partial(anyio.run, site.bearer),
        partial(anyio.run, site.digest),
        *[record] * 4,
    ]
    threads = [threading.Thread(target=repeat, args=(work,), daemon=True) for work in works]
    assert site.answers() == ANSWERS
    for thread in threads:
        thread.start()
    try:
        for number in range(CHILDREN):
            time.sleep(0.01 * (number % 4))  # at another moment of the work of the threads
            assert run_in_child(site.answers) == repr(ANSWERS), f"child {number}"
    finally:
        over.set()
        for thread in threads:
            thread.join(60)


# --- Every lock that there is -----------------------------------------------------------------------------------------

_LOCKS = (type(threading.Lock()), type(threading.RLock()))
_COLLECTIONS = (dict, list, tuple, set, frozenset, deque, OrderedDict, MappingProxyType)
_CONTAINERS = (*_COLLECTIONS, partial, cached_property, property, MethodType, BuiltinMethodType, CellType)


def locks_of_authguard(*roots: object) -> dict[str, Any]:
    """Each lock that an object of authguard refers to, directly or through others, by the types on the way to it."""
    modules = [module for name, module in sys.modules.items() if name.partition(".")[0] == "authguard"]
    queue: deque[tuple[str, object]] = deque((type(root).__name__, root) for root in roots)
    queue += [(module.__name__, value) for module in modules for value in list(vars(module).values())]
    seen: set[int] = set()
    locks: dict[str, Any] = {}
    while queue:
        path, value = queue.popleft()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, _LOCKS):
            locks[f"{path} {len(locks)}"] = value
        else:
            queue += [(f"{path}.{type(child).__name__}"[-300:], child) for child in _children(value)]
    return locks


def _children(value: object) -> Sequence[object]:
    """What this value refers to, if it is of authguard, or a container of Python. The globals of functions are left
    out, and the locks on which waiting threads sleep, which are locked until somebody wakes them."""
    if isinstance(value, threading.Condition):
        return [vars(value)["_lock"]]
    if isinstance(value, FunctionType):
        return value.__closure__ or ()
    kind = value if isinstance(value, type) else type(value)
    is_ours = kind.__module__.partition(".")[0] == "authguard"
    return gc.get_referents(value) if is_ours or isinstance(value, _CONTAINERS) else ()


def test_no_lock_of_authguard_stays_locked_in_a_child(site: Site) -> None:
    """Another thread holds all of them at the moment of the fork: those of the guard, its stores and key sources, of
    caches and of the helpers for tests. In the child each is free, and every login is answered."""
    assert site.answers() == ANSWERS  # everything that is made at the first request is there now
    listener = RecordList((site.guard,))
    listener.open()
    listener.close()
    roots = (site.app, listener)
    locks = locks_of_authguard(*roots)
    assert {f"{kind.__module__}.{kind.__qualname__}" for kind in map(type, locks.values())} == {
        "_thread.lock",
        "_thread.RLock",
    }

    def locked() -> tuple[list[str], dict[str, int]]:
        found = locks_of_authguard(*roots)
        held = [path for path, lock in found.items() if not lock.acquire(timeout=1)]
        for path, lock in found.items():
            if path not in held:
                lock.release()
        return held, site.answers()

    with ExitStack() as holding:
        holding.enter_context(held_by_another_thread(_all_of(locks)))
        answer = run_in_child(locked)

    assert len(locks) > 10
    assert answer == repr(([], ANSWERS))


def _all_of(locks: Mapping[str, Any]) -> ExitStack:
    """A context manager that holds all of these locks. It is entered in the thread that is to hold them."""

    class Holding(ExitStack):
        def __enter__(self) -> Any:
            for lock in locks.values():
                self.enter_context(lock)
            return self

    return Holding()


def test_a_lock_that_its_holder_may_take_again_is_new_in_a_child() -> None:
    """``acting_as`` takes the lock of ``recording`` twice."""
    lock = ForkSafeLock(threading.RLock)

    def take_twice() -> str:
        with lock, lock, LOCK, LOCK:
            return "free"

    with held_by_another_thread(lock), held_by_another_thread(LOCK):
        assert run_in_child(take_twice) == repr("free")


def test_a_child_makes_a_tls_context_of_its_own() -> None:
    """OpenSSL has locks that Python cannot see, and a thread of the parent may be in the middle of a handshake."""
    before = http_client._ssl_context()

    assert run_in_child(lambda: http_client._ssl_context() is before) == "False"
    assert http_client._ssl_context() is before


def test_a_child_verifies_passwords_while_its_parent_loads_a_backend() -> None:
    """A lock of passlib is for the backends of all formats. All of them are loaded while the hasher is built."""
    passlib_lock: Any = vars(handlers)["_backend_lock"]

    cases = load_vectors("htpasswd.json")["cases"]
    stored = {case["format"]: (case["password"], case["line"].partition(":")[2]) for case in cases}
    hasher = LibpassHasher(allow=set(BY_NAME))

    def verify() -> set[str]:
        return {hasher.verify(*pair).name for pair in stored.values()}

    assert stored.keys() <= {*READ, *BY_NAME}
    with held_by_another_thread(passlib_lock):
        assert run_in_child(verify) == repr({"MATCH"})
