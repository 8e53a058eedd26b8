"""Attacks on passwords, by a whole app: guessing, crossing sites, flooding the log, and looking for what differs."""

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


class House:
    """An app behind Basic, whose clocks stand still."""

    def __init__(self, *accounts: Account, store: Any = None, origins: Sequence[str] = (), **options: Any) -> None:
        self.clock = ManualClock(1000)
        self.hasher = SpyHasher()
        self.users = Users(*accounts or (ALICE, MALLORY), hasher=self.hasher)
        self.records: list[Record] = []
        given = {"throttle": LoginThrottle(pair=Rate(10, 30.0), clock=self.clock), "clock": self.clock, "deadline": 60}
        self.scheme: Basic = basic_scheme(store or self.users, **{**given, **options})
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
        """The answer to one login."""
        headers = header_list(b"Basic " + user_pass(username, password), **more)
        return await run_app(self.app, http_scope(path, method, headers, client=(client, 1)))

    async def statuses(self, *logins: Callable[[], Any]) -> list[int]:
        """What is answered to requests at the same time: no hash ends before all have asked."""
        self.hasher.released.clear()

        async def let_go() -> None:
            self.hasher.released.set()

        return [answer.status for answer in await run_together(logins, let_go)]

    @property
    def reasons(self) -> list[str | None]:
        """Of all requests so far."""
        return [record.reason for record in self.records]


# --- Guessing ---------------------------------------------------------------------------------------------------------


async def test_of_two_hundred_parallel_guesses_no_more_pass_than_the_burst() -> None:
    """The rest are 429 with ``Retry-After``, without a challenge, and nothing was hashed for them."""
    house = House()

    statuses = await house.statuses(*[partial(house.ask, password=f"guess{number}") for number in range(200)])
    answer = await house.ask()

    assert (statuses.count(401), statuses.count(429)) == (10, 190)
    assert house.hasher.count == 10
    assert (answer.status, answer.lines(b"retry-after"), answer.lines(b"www-authenticate")) == (429, ["30"], [])
    assert answer.lines(b"cache-control") == ["no-store"]
    assert b"too_many_attempts" in answer.body


async def test_two_hundred_parallel_requests_of_one_who_knows_the_password_all_pass() -> None:
    """They are one attempt and one hash."""
    house = House()

    statuses = await house.statuses(*[house.ask] * 200)

    assert statuses == [200] * 200
    assert house.hasher.count == 1


async def test_guesses_among_them_are_counted_all_the_same() -> None:
    """Right and wrong at the same time: the right one gives nothing to the wrong ones."""
    house = House()
    guesses = [partial(house.ask, password=f"guess{number}") for number in range(50)]

    statuses = await house.statuses(*[house.ask] * 50, *guesses)

    assert statuses[:50] == [200] * 50
    assert statuses[50:].count(401) == 9


async def test_who_waits_as_long_as_he_is_told_gets_in() -> None:
    """There is no lasting lock-out, however long somebody else goes on."""
    house = House()
    answers = [await house.ask(password=f"guess{number}") for number in range(500)]
    refused = answers[-1]

    house.clock.move(int(refused.lines(b"retry-after")[0]))

    assert (await house.ask()).status == 200


async def test_another_network_gets_in_while_one_is_refused() -> None:
    """Who guesses at somebody's account does not lock him out."""
    house = House()
    for number in range(100):
        await house.ask(password=f"guess{number}")

    assert (await house.ask(client="198.51.100.9")).status == 200


async def test_the_owner_is_not_kept_out_of_his_own_network_by_a_botnet() -> None:
    """He has logged in from there before."""
    house = House()
    await house.ask(client="198.51.100.9")
    for number in range(300):
        await house.ask(password=f"guess{number}", client=f"203.0.113.{number % 250}")

    assert (await house.ask(client="198.51.100.9")).status == 200
    assert (await house.ask(client="198.51.100.10")).status == 429


async def test_a_forwarded_field_is_no_way_out() -> None:
    """The address is the server's word, not the client's."""
    house = House()

    answers = [
        await house.ask(
            password=f"guess{number}",
            more={"x_forwarded_for": f"203.0.113.{number}", "forwarded": f"for=203.0.113.{number}"},
        )
        for number in range(20)
    ]

    assert [answer.status for answer in answers] == [401] * 10 + [429] * 10


async def test_an_ipv6_network_is_no_way_out() -> None:
    """A /64 is one customer."""
    house = House()

    answers = [await house.ask(password=f"guess{n}", client=f"2001:db8:0:1::{n:x}") for n in range(20)]

    assert [answer.status for answer in answers] == [401] * 10 + [429] * 10


async def test_spelling_a_name_differently_is_no_way_out() -> None:
    """Neither case nor width, nor a second name of the same account."""
    house = House()
    house.users.aliases |= {"a@example.org": "alice"}
    spellings = ["alice", "ALICE", "\uff41lice", "a@example.org", "al\u00adice", " alice"]

    answers = [await house.ask(spellings[n % 6], f"guess{n}") for n in range(20)]

    assert [answer.status for answer in answers] == [401] * 10 + [429] * 10


async def test_an_account_of_ones_own_is_no_way_out() -> None:
    """Where addresses are trusted, a network has a bucket, and logging in between the guesses does not empty it."""
    attempts = LoginThrottle(network=Rate(10, 1.0), trusted_client=True, clock=ManualClock(1000))
    house = House(ALICE, Account("eve", "$fast$own"), throttle=attempts)

    passed = 0
    for number in range(100):
        await house.ask("eve", "own")
        passed += (await house.ask(f"user{number}", "123456")).status == 401

    assert passed == 10


async def test_the_memory_of_what_fitted_is_no_oracle() -> None:
    """Who has no attempt left learns nothing, also where the owner has just logged in."""
    house = House()
    await house.ask()
    for number in range(10):
        await house.ask(password=f"guess{number}")

    assert [(await house.ask(password=word)).status for word in ("wonderland", "wrong")] == [429, 429]


async def test_a_flood_of_one_wrong_password_costs_one_hash_at_a_time() -> None:
    """It is one guess, so it is not refused; but neither does it fill the queue that others wait in."""
    house = House(waiting=1)

    statuses = await house.statuses(*[partial(house.ask, password="wrong")] * 100)

    assert statuses == [401] * 100
    assert house.hasher.count == 1


async def test_what_is_public_is_asked_nothing() -> None:
    """Whoever was refused sees it as before."""
    house = House()
    for number in range(20):
        await house.ask(password=f"guess{number}")

    assert (await house.ask(path="/health")).status == 200


# --- Looking for what differs -----------------------------------------------------------------------------------------

STRANGERS = [("alice", "wrong"), ("nobody", "wrong"), ("nobody", "secret"), ("mallory", "wrong"), ("mallory", "secret")]


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "OPTIONS"])
async def test_known_unknown_and_disabled_cannot_be_told_apart(method: str) -> None:
    """By all that is sent, by the number of verifications, and by when attempts run out."""
    seen = []
    for username, password in STRANGERS:
        house = House()
        answers = [await house.ask(username, password, method=method) for _ in range(15)]
        seen.append(([answer.sent for answer in answers], house.hasher.count))

    assert seen == seen[:1] * len(STRANGERS)
    assert seen[0][1] == 10


async def test_they_cannot_be_told_apart_by_a_handshake_either() -> None:
    """A refused WebSocket is the same for all."""
    seen = []
    for username, password in STRANGERS:
        house = House()
        headers = header_list(b"Basic " + user_pass(username, password))
        offered: list[dict[str, Any]] = [{}, {"websocket.http.response": {}}]
        answers = [await run_app(house.app, websocket_scope(headers=headers, extensions=one)) for one in offered]
        seen.append([answer.sent for answer in answers])

    assert seen == seen[:1] * len(STRANGERS)


def _has_one(house: House, figure: str) -> bool:
    return house.scheme.health()[figure] == 1


async def test_they_cannot_be_told_apart_while_the_queue_is_full() -> None:
    """Each is 503 with ``Retry-After``, and costs no attempt: nobody learned anything."""
    seen = []
    for username, password in STRANGERS:
        house = House(waiting=1)
        house.hasher.released.clear()
        async with anyio.create_task_group() as tasks:
            for number, figure in enumerate(["working", "waiting"]):
                tasks.start_soon(partial(house.ask, password=f"{number}", client="198.51.100.9"))
                await wait_until(partial(_has_one, house, figure))
            seen.append([(await house.ask(username, password)).sent for _ in range(30)])
            house.hasher.released.set()
        assert house.reasons[:30] == [HASHING_BUSY.code] * 30

    assert seen == seen[:1] * len(STRANGERS)
    assert (seen[0][0][0]["status"], (b"retry-after", b"5") in seen[0][0][0]["headers"]) == (503, True)


# --- Crossing sites ---------------------------------------------------------------------------------------------------

UNSAFE = ["POST", "PUT", "PATCH", "DELETE", "QUERY"]


@pytest.mark.parametrize("method", UNSAFE)
async def test_what_another_site_makes_a_browser_send_is_refused_before_anything_is_looked_up(method: str) -> None:
    """403 without a challenge; no account, no hash, no attempt. The record says where it came from."""
    house = House()
    house.users.accounts["alice"] = LookupError("asked")

    answers = [await house.ask(method=method, more=EVIL) for _ in range(20)]

    assert [answer.status for answer in answers] == [403] * 20
    assert answers[0].lines(b"www-authenticate") == []
    assert house.hasher.count == 0
    record = house.records[0]
    assert (record.reason, record.scheme, record.subject) == ("origin.foreign", "basic", None)
    assert record.facts == {"origin": ("https://evil.example",), "sec_fetch_site": ("cross-site",)}


async def test_a_right_and_a_wrong_password_are_refused_alike_there() -> None:
    """Another site learns nothing of what its visitor's browser knows."""
    house = House()

    answers = [(await house.ask(method="POST", password=word, more=EVIL)).sent for word in ("wonderland", "wrong")]

    assert answers[0] == answers[1]


@pytest.mark.parametrize("extensions", [{}, {"websocket.http.response": {}}])
async def test_a_handshake_from_another_site_is_refused(extensions: dict[str, Any]) -> None:
    """Though it is a GET."""
    house = House()
    headers = header_list(b"Basic " + user_pass("alice", "wonderland"), origin="https://evil.example")

    await run_app(house.app, websocket_scope(headers=headers, extensions=extensions))

    assert (house.reasons, house.hasher.count, house.endpoint.scopes) == (["origin.foreign"], 0, [])


PASSING: list[dict[str, Any]] = [
    {"method": "POST"},  # no browser
    {"method": "POST", "more": {"sec_fetch_site": "same-origin", "origin": "https://testserver"}},
    {"method": "POST", "more": {"origin": "https://testserver"}},
    {"method": "POST", "more": {"sec_fetch_site": "none"}},
    {"method": "GET", "more": EVIL},  # a link
    {"method": "HEAD", "more": EVIL},
    {"method": "POST", "more": {"origin": "https://app.example", "sec_fetch_site": "cross-site"}},  # named
]


@pytest.mark.parametrize("request_", PASSING, ids=repr)
async def test_what_no_other_site_sends_passes(request_: dict[str, Any]) -> None:
    """And what changes nothing, and what ``origins`` names."""
    house = House(origins=["https://app.example"])

    assert (await house.ask(**request_)).status == 200


async def test_other_credentials_that_are_sent_by_themselves_are_held_to_it() -> None:
    """A cookie too; but not what a script has to add, which no other site's script can."""
    cookie, token = Badge("cookie", carrier=FieldCarrier("cookie", b"cookie", sent_by_browsers=True)), Badge("token")
    app = AuthGuardMiddleware(RecordingApp(), guard=Guard(cookie, token, log=False))

    by_cookie = await run_app(app, http_scope("/", "POST", header_list(cookie="alice", **EVIL)))
    by_token = await run_app(app, http_scope("/", "POST", header_list("Token alice", **EVIL)))

    assert (by_cookie.status, by_token.status) == (403, 200)
    assert cookie.presented == []


# --- Flooding the log -------------------------------------------------------------------------------------------------


async def test_a_flood_of_guesses_is_a_few_records(caplog: pytest.LogCaptureFixture) -> None:
    """Of 2,000 invented names some thirty lines are told, with about how many there were; hooks see them all."""
    house = House(ALICE)

    for number in range(2000):
        await house.ask(f"user{number}", "123456", path="/boss")
    house.clock.move(60)
    await house.ask()

    folds = [vars(record) for record in caplog.records if str(record.msg).startswith("folded")]
    assert len(caplog.records) == 27
    assert [fold["authguard.count"] for fold in folds] == [32, 64, 128, 256, 512, 1024, 2000]
    last = folds[-1]
    assert (last["authguard.reason"], last["authguard.rule"]) == ("user.unknown", "/boss")
    assert 1000 < last["authguard.subjects"] < 4000
    assert last["authguard.samples"] == ("user0", "user1", "user2")
    assert house.reasons.count("user.unknown") == 2000


async def test_a_disabled_user_who_knows_his_password_is_told_each_time(caplog: pytest.LogCaptureFixture) -> None:
    """He has proven who he is, so that what he does is never folded."""
    house = House(throttle=None)

    for _ in range(50):
        await house.ask("mallory", "secret")

    assert [record.msg for record in caplog.records] == ["denied account.disabled: %s"] * 50


# --- Secrets ----------------------------------------------------------------------------------------------------------


class Broken(SpyHasher):
    """It fails with the password in its hands."""

    def verify(self, password: str, stored: str) -> Verdict:
        raise LookupError(password, stored)


class Failing(Users):
    """A store that fails with the canary in its hands."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    async def find(self, username: str) -> Account | None:
        password_hash = CANARY
        assert password_hash
        raise self.error


class Tells(Ldap):
    """A directory that fails so."""

    async def check(self, username: str, password: str) -> Any:
        raise LookupError(username, password)


async def _save_raises(account: Account, renewed: str) -> None:
    raise LookupError(account, renewed, CANARY)


class Holding(SpyHasher):
    """All that it verifies keeps the interpreter."""

    def blocks_gil(self, stored: str) -> bool:
        return True


class Sampled(Users):
    """It shows a hash that is none of a format that is known."""

    def sample(self) -> list[str]:
        return [CANARY]


HOLDER = Account("alice", f"$old${CANARY}", claims={"hash": CANARY})

HOUSES: dict[str, Callable[[], House]] = {
    "plain": lambda: House(HOLDER),
    "disabled": lambda: House(Account("alice", f"$fast${CANARY}", disabled=True)),
    "unreadable": lambda: House(Account("alice", f"!{CANARY}")),
    "too long": lambda: House(Account("alice", f"$short${CANARY}")),
    "callback raises": lambda: House(HOLDER, on_rehash=_save_raises),
    "hasher raises": lambda: House(store=Users(HOLDER, hasher=Broken())),
    "store raises": lambda: House(store=Failing(LookupError(CANARY))),
    "store is down": lambda: House(store=Failing(BackendUnavailable("lost", reason=STORE_UNAVAILABLE))),
    "directory raises": lambda: House(store=Tells(None)),
    "directory answers": lambda: House(store=Ldap(HOLDER)),
    "directory is odd": lambda: House(store=Ldap(CANARY)),
    "lock holders": lambda: House(store=Sampled(HOLDER, hasher=Holding())),
}


@pytest.mark.parametrize("name", HOUSES)
async def test_no_password_and_no_hash_comes_out_whatever_fails(ears: LogRecorder, name: str) -> None:
    """Not in a record, a fold, an answer, nor in a repr: neither the secret nor eight characters of it."""
    house = HOUSES[name]()
    logins = [("alice", CANARY), ("alice", f"{CANARY}x"), ("nobody", CANARY), ("alice", f"{CANARY}\n")]
    leaked: list[tuple[str, list[str]]] = []

    for _ in range(12):
        for username, password in logins:
            for more in ({}, EVIL):
                answer = await house.ask(username, password, method="POST", more=more)
                told = [repr(answer.sent), *ears.entries, *(f"{one} {one!r} {one.extra()}" for one in house.records)]
                leaked += [(text, found) for text in told if (found := leaks(text))]
                ears.entries.clear()
                house.records.clear()
    house.guard._recorder.close()
    leaked += [(text, found) for text in ears.entries if (found := leaks(text))]

    assert leaked == []


async def test_values_of_a_login_do_not_show_their_secrets() -> None:
    """Whatever is printed while one looks for a bug: the scheme, its parts, an attempt that was taken."""
    house = House(HOLDER)
    await house.ask(password=CANARY)
    scheme = house.scheme
    taken = await LoginThrottle().acquire("alice", None)
    shown = [scheme, scheme._verifier, scheme._single_flight, scheme._verification_cache, scheme._pool, HOLDER, taken]

    assert [(value, found) for value in shown if (found := leaks(repr(value)))] == []


async def test_a_principal_of_basic_is_as_any_other() -> None:
    """With its scheme, and its roles for ``request.auth``."""
    house = House()

    await house.ask()

    scope = house.endpoint.scopes[0]
    assert scope["user"] == Principal("alice", roles={"admin"}, scopes={"read"}, scheme="basic")


def test_the_log_is_quiet_where_a_house_is_built(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is told of a set-up that is sound."""
    caplog.set_level(logging.DEBUG)

    House()

    assert caplog.records == []
