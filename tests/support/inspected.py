"""An app with an inspector, a way to send it requests of any client at any time, and an hour of its life."""

from __future__ import annotations

import asyncio
import socket
import threading
from base64 import b64encode
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import uvicorn
from fastapi import FastAPI

from authguard import (
    PUBLIC,
    Account,
    Basic,
    Bearer,
    Guard,
    Issuer,
    LoginThrottle,
    MemoryUsers,
    Rate,
    RemoteJWKS,
    Rule,
    role,
)
from authguard.fastapi import install
from authguard.inspector import inspector
from authguard.inspector.decision_log import DecisionLog
from authguard.keys import Fetched
from authguard.model import Requirement
from authguard.testing import ManualClock
from tests.support.asgi import Exchange, header_list, http_scope, run_app
from tests.support.schemes.basic import SpyHasher
from tests.support.tokens import key_set, mint, rsa_key

ISSUER, PARTNER = "https://login.example/", "https://partner.example/"
OPERATOR = ("oncall", "night watch")
MOUNT = "/inspector"
KID = "2026-11"
#: 30 November 2026, 02:47:20 UTC, when the hour is over.
NIGHT = 1_796_006_840.0


async def _keys(url: str) -> Fetched:
    return Fetched(key_set(**{KID: rsa_key()}), 600.0)


async def _away(url: str) -> Fetched:
    raise OSError


class InspectedApp:
    """An app for orders behind tokens of two issuers, and Basic for operators, with the inspector at ``/inspector``.

    ``mount`` makes another app that is mounted there.
    """

    def __init__(self, *, requirement: Requirement | None = None, log: bool = False, **options: Any) -> None:
        self.clock = ManualClock(NIGHT - 59 * 60)
        keys = RemoteJWKS(f"{ISSUER}jwks.json", fetch=_keys, clock=self.clock)
        partner = RemoteJWKS(f"{PARTNER}jwks.json", fetch=_away, clock=self.clock)
        users = [
            Account(OPERATOR[0], f"$fast${OPERATOR[1]}", roles={"operator"}),
            *(Account(name, f"$fast$the password of {name}") for name in ("alice", "bob", "carol")),
        ]
        basic = Basic(
            MemoryUsers(users, hasher=SpyHasher()),
            realm="orders",
            throttle=LoginThrottle(pair=Rate(5, 30.0), clock=self.clock),
            clock=self.clock,
        )
        self.guard = Guard(
            Bearer(
                Issuer(ISSUER, audience="orders", algorithms=["RS256"], keys=keys),
                Issuer(PARTNER, audience="orders", algorithms=["RS256"], keys=partner),
                realm="orders",
                clock=self.clock,
            ),
            basic,
            rules=[Rule("/health", PUBLIC), Rule("/admin/**", role("admin")), Rule("/orders/**", role("clerk"))],
            clock=self.clock,
            monotonic=self.clock,
            log=log,
        )
        self.app = FastAPI(title="orders", docs_url=None, redoc_url=None, openapi_url=None)
        install(self.app, self.guard)
        for path in ("/health", "/orders", "/orders/{number}", "/admin/users", "/profile"):
            self.app.get(path)(answer)
        self.mounted = inspector(self.guard, requirement or role("operator"), **options)
        self.app.mount(MOUNT, self.mounted)
        self.log = cast("DecisionLog", self.guard._recorder.hooks[-1])

    def send(
        self, authorization: str | None = None, path: str = "/orders", *, client: str = "192.0.2.7", **more: Any
    ) -> Exchange:
        """Send one request to the app, as a client with this address."""
        fields = more.pop("fields", {})
        scope = http_scope(path, headers=header_list(authorization, **fields), client=(client, 40000), **more)
        return asyncio.run(run_app(self.app, scope))

    def token(self, subject: str = "alice", roles: Sequence[str] = ("clerk",), **changes: Any) -> str:
        """A field with a token of the issuer, by the clock of the app."""
        now = self.clock()
        stated = {"sub": subject, "roles": list(roles), "iat": now - 30, "nbf": now - 30, "exp": now + 270, **changes}
        headers = stated.pop("headers", {"kid": KID})
        return f"Bearer {mint(stated.pop('key', None), headers=headers, **stated)}"

    def feed_first(self) -> None:
        """One refusal, so that there is something to see."""
        self.send(client="192.0.2.1")

    def live_through_an_hour(self) -> None:
        """An hour in which a few clients are refused for the usual reasons, and then the clock of the issuer is off,
        somebody tries passwords, and the partner's key server is away."""
        for minute in range(60):
            self.clock.move(60 if minute else 0)
            _usual_minute(self, minute)
            if minute >= 14 and minute < 18:
                for number in range(9 + minute):
                    self.send(path="/orders/17", client=f"203.0.113.{number % 4 + 20}")
            if minute >= 47:
                for number in range(26 + minute % 5):
                    ended = self.clock() - 61 - number % 4
                    field = self.token(f"user{number % 23:02}", iat=ended - 300, nbf=ended - 300, exp=ended)
                    self.send(field, f"/orders/{number + 100}", client=f"198.51.100.{number % 17 + 1}")
            if minute >= 54:
                for number in range(7):
                    name = _NAMES[(minute * 7 + number) % len(_NAMES)]
                    self.send(basic_field(name, "Winter2026!"), "/profile", client="203.0.113.99")
            if minute >= 57:
                for number in range(9):
                    field = self.token(f"batch{number}", iss=PARTNER)
                    self.send(field, "/orders", client=f"192.0.2.{number + 40}")


_NAMES = [
    *("alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi", "ivan", "judy", "mallory"),
    "niaj",
    "olivia",
]


def _usual_minute(app: InspectedApp, minute: int) -> None:
    """What one minute of an ordinary night has: some grants, and now and then a refusal."""
    clock = app.clock()
    for number in range(3):
        app.send(app.token(f"user{number:02}", iat=clock + number * 4 - 3, nbf=clock - 2), f"/orders/{number}")
    if minute % 3 == 0:
        app.send(path="/orders", client=f"192.0.2.{minute + 10}")
    if minute % 5 == 1:
        app.send(app.token("carol", roles=("Clerk",)), "/orders/5", client="192.0.2.31")
    if minute % 7 == 2:
        app.send(app.token("dave", iat=clock - 900, nbf=clock - 900, exp=clock - 640), "/orders", client="192.0.2.8")
    if minute % 9 == 4:
        app.send(app.token("erin", aud="orders/"), "/orders", client="192.0.2.77")
    if minute % 11 == 5:
        app.send(app.token("frank", headers={"kid": "2026-10"}), "/orders", client="192.0.2.12")
    if minute % 13 == 6:
        app.send(f"{app.token('heidi')}, {app.token('heidi')}", "/orders/8", client="192.0.2.90")
    if minute % 17 == 3:
        app.send(app.token("grace"), "/admin/users", client="192.0.2.31")
    if minute % 20 == 8:
        app.send("Digest username=x", "/orders", client="192.0.2.44")


def basic_field(name: str, password: str) -> str:
    """A field with credentials of Basic."""
    return f"Basic {b64encode(f'{name}:{password}'.encode()).decode()}"


def answer() -> dict[str, str]:
    return {"status": "ok"}


@contextmanager
def served(app: Any) -> Iterator[str]:
    """Serve an app in a thread of this process, and give its URL."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = server.force_exit = True  # it would wait for pages that are open
        thread.join(60)
        listener.close()
