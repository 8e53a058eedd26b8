"""Attacks on passwords against a whole app: guessing, cross-site requests, log flooding and differences between
responses."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import anyio
import pytest

from authguard.accounts.account import Account, Verdict
from authguard.concurrency.token_bucket import Rate
from authguard.core.guard import Guard
from authguard.errors import BackendUnavailable
from authguard.middleware import AuthGuardMiddleware
from authguard.model import Principal
from authguard.policy.requirements import PUBLIC, role
from authguard.policy.rules import Rule
from authguard.reasons import HASHING_BUSY, STORE_UNAVAILABLE
from authguard.records.record import Record
from authguard.schemes.basic import Basic
from authguard.schemes.throttle import LoginThrottle
from authguard.testing import ManualClock
from tests.support.asgi import Exchange, RecordingApp, header_list, http_scope, run_app, websocket_scope
from tests.support.canary import CANARY, LogRecorder, leaks
from tests.support.clock import NOW
from tests.support.coroutines import run_together, wait_until
from tests.support.schemes.badge import Badge, FieldCarrier
from tests.support.schemes.basic import ALICE, MALLORY, Ldap, SpyHasher, Users, basic_scheme, user_pass

EVIL: Mapping[str, str] = {"origin": "https://evil.example", "sec_fetch_site": "cross-site"}


class BasicApp:
    """An app behind Basic, with clocks that stand still."""

    def __init__(self, *accounts: Account, store: Any = None, origins: Sequence[str] = (), **options: Any) -> None:
        self.clock = ManualClock(1000)
        self.hasher = SpyHasher()
        self.users = Users(*accounts or (ALICE, MALLORY), hasher=self.hasher)
        self.records: list[Record] = []
        settings = {
            "throttle": LoginThrottle(pair=Rate(10, 30.0), clock=self.clock),
            "clock": self.clock,
            "deadline": 60,
        }
        self.scheme: Basic = basic_scheme(store or self.users, **{**settings, **options})
        self.guard = Guard(
            self.scheme,
            rules=[Rule("/health", PUBLIC), Rule("/boss", role("boss"))],
            hooks=[self.records.append],
            clock=lambda: NOW,
            monotonic=self.clock,
        )
        self.endpoint = RecordingApp()
        self.app = AuthGuardMiddleware(self.endpoint, guard=self.guard, origins=origins)

    async def ask(
        self,
        username: str = "alice",
        password: str = "wonderland",
        *,
        method: str = "GET",
        path: str = "/",
        client: str = "192.0.2.7",
        more: Mapping[str, str] = {},
    ) -> Exchange:
        """Send one login."""
        headers = header_list(b"Basic " + user_pass(username, password), **more)
        return await run_app(self.app, http_scope(path, method, headers, client=(client, 1)))

    async def statuses(self, *logins: Callable[[], Any]) -> list[int]:
        """The statuses of parallel requests: no hash ends before all of them have started."""
        await self.ask(path="/health")  # the first request of an app waits for the audit, and the others do not
        self.hasher.released.clear()

        async def release() -> None:
            self.hasher.released.set()

        return [answer.status for answer in await run_together(logins, release)]

    @property
    def reasons(self) -> list[str | None]:
        """The reasons of all requests so far."""
        return [record.reason for record in self.records]


# --- Guessing ---------------------------------------------------------------------------------------------------------


async def test_of_two_hundred_parallel_guesses_only_the_burst_is_hashed() -> None:
    """The others are a 429 with ``Retry-After`` and without a challenge, and cost no hash."""
    app = BasicApp()

    statuses = await app.statuses(*[partial(app.ask, password=f"guess{number}") for number in range(200)])
    answer = await app.ask()

    assert (statuses.count(401), statuses.count(429)) == (10, 190)
    assert app.hasher.count == 10
    assert (answer.status, answer.lines(b"retry-after"), answer.lines(b"www-authenticate")) == (429, ["30"], [])
    assert answer.lines(b"cache-control") == ["no-store"]
    assert b"too_many_attempts" in answer.body


async def test_two_hundred_parallel_requests_with_the_right_password_all_pass() -> None:
    """Two hundred parallel requests with the right password cost one attempt and one hash."""
    app = BasicApp()

    statuses = await app.statuses(*[app.ask] * 200)

    assert statuses == [200] * 200
    assert app.hasher.count == 1


async def test_guesses_among_them_are_counted_all_the_same() -> None:
    """Right passwords among parallel guesses give the guesses no further attempts."""
    app = BasicApp()
    guesses = [partial(app.ask, password=f"guess{number}") for number in range(50)]

    statuses = await app.statuses(*[app.ask] * 50, *guesses)

    assert statuses[:50] == [200] * 50
    assert statuses[50:].count(401) == 9


async def test_a_login_after_the_wait_is_accepted() -> None:
    """After ``Retry-After`` the right password is accepted, however long somebody else goes on guessing."""
    app = BasicApp()
    answers = [await app.ask(password=f"guess{number}") for number in range(500)]
    refused = answers[-1]

    app.clock.move(int(refused.lines(b"retry-after")[0]))

    assert (await app.ask()).status == 200


async def test_another_network_gets_in_while_one_is_refused() -> None:
    """Guesses from one network do not lock out the account's owner in another one."""
    app = BasicApp()
    for number in range(100):
        await app.ask(password=f"guess{number}")

    assert (await app.ask(client="198.51.100.9")).status == 200


async def test_a_botnet_does_not_lock_out_a_known_network() -> None:
    """A network from which the owner has logged in before is not affected by guesses of a botnet."""
    app = BasicApp()
    await app.ask(client="198.51.100.9")
    for number in range(300):
        await app.ask(password=f"guess{number}", client=f"203.0.113.{number % 250}")

    assert (await app.ask(client="198.51.100.9")).status == 200
    assert (await app.ask(client="198.51.100.10")).status == 429


async def test_a_forwarded_field_does_not_evade_the_throttle() -> None:
    """The address comes from the server, and not from a field of the client."""
    app = BasicApp()

    answers = [
        await app.ask(
            password=f"guess{number}",
            more={"x_forwarded_for": f"203.0.113.{number}", "forwarded": f"for=203.0.113.{number}"},
        )
        for number in range(20)
    ]

    assert [answer.status for answer in answers] == [401] * 10 + [429] * 10


async def test_addresses_of_one_ipv6_network_do_not_evade_the_throttle() -> None:
    """All addresses of a /64 share their attempts."""
    app = BasicApp()

    answers = [await app.ask(password=f"guess{n}", client=f"2001:db8:0:1::{n:x}") for n in range(20)]

    assert [answer.status for answer in answers] == [401] * 10 + [429] * 10


async def test_spellings_of_a_name_do_not_evade_the_throttle() -> None:
    """Case, width and a second name of the same account share their attempts."""
    app = BasicApp()
    app.users.aliases |= {"a@example.org": "alice"}
    spellings = ["alice", "ALICE", "\uff41lice", "a@example.org", "al\u00adice", " alice"]

    answers = [await app.ask(spellings[n % 6], f"guess{n}") for n in range(20)]

    assert [answer.status for answer in answers] == [401] * 10 + [429] * 10


async def test_an_own_account_does_not_evade_the_throttle() -> None:
    """With trusted addresses a network has a bucket, which logging in between the guesses does not refill."""
    attempts = LoginThrottle(network=Rate(10, 1.0), trusted_client=True, clock=ManualClock(1000))
    app = BasicApp(ALICE, Account("eve", "$fast$own"), throttle=attempts)

    passed = 0
    for number in range(100):
        await app.ask("eve", "own")
        passed += (await app.ask(f"user{number}", "123456")).status == 401

    assert passed == 10


async def test_the_verification_cache_is_no_oracle() -> None:
    """A client without an attempt left learns nothing, even if the owner has just logged in. At the owner's address,
    where a right password passes for longer, that holds after 200 guesses."""
    app = BasicApp()
    await app.ask()
    for number in range(200):
        await app.ask(password=f"guess{number}")
        await app.ask(password=f"guess{number}", client="198.51.100.9")

    for client in ("192.0.2.7", "198.51.100.9"):
        answers = [await app.ask(password=word, client=client) for word in ("wonderland", "wrong")]
        assert answers[0].status == 429
        assert answers[0].sent == answers[1].sent


async def test_a_flood_of_one_wrong_password_costs_one_hash_at_a_time() -> None:
    """Equal parallel guesses are one attempt and one hash, so they do not fill the queue for hashing."""
    app = BasicApp(waiting=1)

    statuses = await app.statuses(*[partial(app.ask, password="wrong")] * 100)

    assert statuses == [401] * 100
    assert app.hasher.count == 1


async def test_public_routes_ignore_the_throttle() -> None:
    """A client that is throttled still gets public routes."""
    app = BasicApp()
    for number in range(20):
        await app.ask(password=f"guess{number}")

    assert (await app.ask(path="/health")).status == 200


# --- Looking for what differs -----------------------------------------------------------------------------------------

STRANGERS = [("alice", "wrong"), ("nobody", "wrong"), ("nobody", "secret"), ("mallory", "wrong"), ("mallory", "secret")]


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "OPTIONS"])
async def test_known_unknown_and_disabled_cannot_be_told_apart(method: str) -> None:
    """Responses, the number of verifications and the moment of throttling are equal for all of them."""
    seen = []
    for username, password in STRANGERS:
        app = BasicApp()
        answers = [await app.ask(username, password, method=method) for _ in range(15)]
        seen.append(([answer.sent for answer in answers], app.hasher.count))

    assert seen == seen[:1] * len(STRANGERS)
    assert seen[0][1] == 10


async def test_names_cannot_be_told_apart_by_a_handshake() -> None:
    """A denied WebSocket handshake is equal for known, unknown and disabled names."""
    seen = []
    for username, password in STRANGERS:
        app = BasicApp()
        headers = header_list(b"Basic " + user_pass(username, password))
        offered: list[dict[str, Any]] = [{}, {"websocket.http.response": {}}]
        answers = [await run_app(app.app, websocket_scope(headers=headers, extensions=one)) for one in offered]
        seen.append([answer.sent for answer in answers])

    assert seen == seen[:1] * len(STRANGERS)


def _has_one(app: BasicApp, figure: str) -> bool:
    return app.scheme.health()[figure] == 1


async def test_names_cannot_be_told_apart_while_the_queue_is_full() -> None:
    """With a full queue every login is a 503 with ``Retry-After``, and uses no attempt."""
    seen = []
    for username, password in STRANGERS:
        app = BasicApp(waiting=1)
        app.hasher.released.clear()
        async with anyio.create_task_group() as tasks:
            for number, figure in enumerate(["working", "waiting"]):
                tasks.start_soon(partial(app.ask, password=f"{number}", client="198.51.100.9"))
                await wait_until(partial(_has_one, app, figure))
            seen.append([(await app.ask(username, password)).sent for _ in range(30)])
            app.hasher.released.set()
        assert app.reasons[:30] == [HASHING_BUSY.code] * 30

    assert seen == seen[:1] * len(STRANGERS)
    assert (seen[0][0][0]["status"], (b"retry-after", b"5") in seen[0][0][0]["headers"]) == (503, True)


# --- Crossing sites ---------------------------------------------------------------------------------------------------

UNSAFE = ["POST", "PUT", "PATCH", "DELETE", "QUERY"]


@pytest.mark.parametrize("method", UNSAFE)
async def test_a_cross_site_request_is_denied_before_any_look_up(method: str) -> None:
    """A cross-site request is a 403 without a challenge, look-up, hash or attempt. The record has its origin."""
    app = BasicApp()
    app.users.accounts["alice"] = LookupError("asked")

    answers = [await app.ask(method=method, more=EVIL) for _ in range(20)]

    assert [answer.status for answer in answers] == [403] * 20
    assert answers[0].lines(b"www-authenticate") == []
    assert app.hasher.count == 0
    record = app.records[0]
    assert (record.reason, record.scheme, record.subject) == ("origin.foreign", "basic", None)
    assert record.facts == {
        "origin": ("https://evil.example",),
        "sec_fetch_site": ("cross-site",),
        "host": ("testserver",),
        "origins": (),
    }


async def test_a_right_and_a_wrong_password_are_refused_alike_there() -> None:
    """The response to a cross-site request does not depend on the password."""
    app = BasicApp()

    answers = [(await app.ask(method="POST", password=word, more=EVIL)).sent for word in ("wonderland", "wrong")]

    assert answers[0] == answers[1]


@pytest.mark.parametrize("extensions", [{}, {"websocket.http.response": {}}])
async def test_a_handshake_from_another_site_is_refused(extensions: dict[str, Any]) -> None:
    """A cross-site WebSocket handshake is denied, although it is a GET."""
    app = BasicApp()
    headers = header_list(b"Basic " + user_pass("alice", "wonderland"), origin="https://evil.example")

    await run_app(app.app, websocket_scope(headers=headers, extensions=extensions))

    assert (app.reasons, app.hasher.count, app.endpoint.scopes) == (["origin.foreign"], 0, [])


PASSING: list[dict[str, Any]] = [
    {"method": "POST"},  # a client that is not a browser
    {"method": "POST", "more": {"sec_fetch_site": "same-origin", "origin": "https://testserver"}},
    {"method": "POST", "more": {"origin": "https://testserver"}},
    {"method": "POST", "more": {"sec_fetch_site": "none"}},
    {"method": "GET", "more": EVIL},  # a link
    {"method": "HEAD", "more": EVIL},
    {
        "method": "POST",
        "more": {"origin": "https://app.example", "sec_fetch_site": "cross-site"},
    },  # listed in ``origins``
]


@pytest.mark.parametrize("request_", PASSING, ids=repr)
async def test_requests_that_are_not_cross_site_pass(request_: dict[str, Any]) -> None:
    """Same-site requests, safe methods and the origins in ``origins`` pass."""
    app = BasicApp(origins=["https://app.example"])

    assert (await app.ask(**request_)).status == 200


async def test_the_csrf_check_applies_to_all_browser_credentials() -> None:
    """A cookie is checked too, but not a field that a script has to add, because another site's script cannot."""
    cookie, token = Badge("cookie", carrier=FieldCarrier("cookie", b"cookie", sent_by_browsers=True)), Badge("token")
    app = AuthGuardMiddleware(RecordingApp(), guard=Guard(cookie, token, log=False))

    by_cookie = await run_app(app, http_scope("/", "POST", header_list(cookie="alice", **EVIL)))
    by_token = await run_app(app, http_scope("/", "POST", header_list("Token alice", **EVIL)))

    assert (by_cookie.status, by_token.status) == (403, 200)
    assert cookie.presented == []


# --- Flooding the log -------------------------------------------------------------------------------------------------


async def test_a_flood_of_guesses_is_a_few_records(caplog: pytest.LogCaptureFixture) -> None:
    """2,000 guesses at invented names log some thirty lines, with an estimate of the names. Hooks get every record."""
    app = BasicApp(ALICE)

    for number in range(2000):
        await app.ask(f"user{number}", "123456", path="/boss")
    app.clock.move(60)
    await app.ask()

    folds = [vars(record) for record in caplog.records if str(record.msg).startswith("folded")]
    assert len(caplog.records) == 27
    assert [fold["authguard.count"] for fold in folds] == [32, 64, 128, 256, 512, 1024, 2000]
    last = folds[-1]
    assert (last["authguard.reason"], last["authguard.rule"]) == ("user.unknown", "/boss")
    assert 1000 < last["authguard.subjects"] < 4000
    assert last["authguard.samples"] == ("user0", "user1", "user2")
    assert app.reasons.count("user.unknown") == 2000


async def test_a_flood_of_guesses_hides_no_disabled_account(caplog: pytest.LogCaptureFixture) -> None:
    """The right password of a disabled account is logged, however many wrong ones the same client has sent."""
    app = BasicApp(throttle=None)

    for number in range(100):
        await app.ask("mallory", f"wrong{number}")
    await app.ask("mallory", "secret")

    assert caplog.records[-1].msg == "denied account.disabled: %s"


# --- Secrets ----------------------------------------------------------------------------------------------------------


class BrokenHasher(SpyHasher):
    """A hasher that raises with the password in its locals."""

    def verify(self, password: str, stored: str) -> Verdict:
        raise LookupError(password, stored)


class FailingUsers(Users):
    """A store that raises with the canary in its locals."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    async def find(self, username: str) -> Account | None:
        password_hash = CANARY
        assert password_hash
        raise self.error


class FailingDirectory(Ldap):
    """A directory that raises with the canary in its locals."""

    async def check(self, username: str, password: str) -> Any:
        raise LookupError(username, password)


async def _save_raises(account: Account, renewed: str) -> None:
    raise LookupError(account, renewed, CANARY)


class BlockingHasher(SpyHasher):
    """A hasher all of whose formats block the interpreter."""

    def blocks_gil(self, stored: str) -> bool:
        return True


class SampledUsers(Users):
    """A store whose sample has a hash of no known format."""

    def sample(self) -> list[str]:
        return [CANARY]


HOLDER = Account("alice", f"$old${CANARY}", claims={"hash": CANARY})

HOUSES: dict[str, Callable[[], BasicApp]] = {
    "plain": lambda: BasicApp(HOLDER),
    "disabled": lambda: BasicApp(Account("alice", f"$fast${CANARY}", disabled=True)),
    "unreadable": lambda: BasicApp(Account("alice", f"!{CANARY}")),
    "too long": lambda: BasicApp(Account("alice", f"$short${CANARY}")),
    "callback raises": lambda: BasicApp(HOLDER, on_rehash=_save_raises),
    "hasher raises": lambda: BasicApp(store=Users(HOLDER, hasher=BrokenHasher())),
    "store raises": lambda: BasicApp(store=FailingUsers(LookupError(CANARY))),
    "store is down": lambda: BasicApp(store=FailingUsers(BackendUnavailable("lost", reason=STORE_UNAVAILABLE))),
    "directory raises": lambda: BasicApp(store=FailingDirectory(None)),
    "directory answers": lambda: BasicApp(store=Ldap(HOLDER)),
    "directory is odd": lambda: BasicApp(store=Ldap(CANARY)),
    "lock holders": lambda: BasicApp(store=SampledUsers(HOLDER, hasher=BlockingHasher())),
}


@pytest.mark.parametrize("name", HOUSES)
async def test_no_password_and_no_hash_leaks_whatever_fails(log_recorder: LogRecorder, name: str) -> None:
    """No record, aggregate, response or repr has the secret, or eight characters of it."""
    app = HOUSES[name]()
    logins = [("alice", CANARY), ("alice", f"{CANARY}x"), ("nobody", CANARY), ("alice", f"{CANARY}\n")]
    leaked: list[tuple[str, list[str]]] = []

    for _ in range(12):
        for username, password in logins:
            for more in ({}, EVIL):
                answer = await app.ask(username, password, method="POST", more=more)
                told = [
                    repr(answer.sent),
                    *log_recorder.entries,
                    *(f"{one} {one!r} {one.extra()}" for one in app.records),
                ]
                leaked += [(text, found) for text in told if (found := leaks(text))]
                log_recorder.entries.clear()
                app.records.clear()
    app.guard._recorder.close()
    leaked += [(text, found) for text in log_recorder.entries if (found := leaks(text))]

    assert leaked == []


async def test_values_of_a_login_do_not_show_their_secrets() -> None:
    """The repr of the scheme, of its parts and of an attempt is free of secrets."""
    app = BasicApp(HOLDER)
    await app.ask(password=CANARY)
    scheme = app.scheme
    taken = await LoginThrottle().acquire("alice", None)
    shown = [scheme, scheme._verifier, scheme._single_flight, scheme._verification_cache, scheme._pool, HOLDER, taken]

    assert [(value, found) for value in shown if (found := leaks(repr(value)))] == []


async def test_a_principal_of_basic_has_its_scheme_and_roles() -> None:
    """The principal names its scheme, and its roles are in ``request.auth``."""
    app = BasicApp()

    await app.ask()

    scope = app.endpoint.scopes[0]
    assert scope["user"] == Principal("alice", roles={"admin"}, scopes={"read"}, scheme="basic")


def test_a_valid_set_up_logs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """Building an app with a valid set-up logs nothing."""
    caplog.set_level(logging.DEBUG)

    BasicApp()

    assert caplog.records == []
