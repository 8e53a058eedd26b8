"""Warnings about patterns in refusals: which requests make one, which do not, and that strangers cannot make many."""

from __future__ import annotations

import logging
from base64 import b64encode
from collections.abc import Iterable
from functools import cache
from typing import Any

import pytest

from authguard import (
    OPTIONAL,
    PUBLIC,
    Account,
    AuthGuardMiddleware,
    Bearer,
    ConfigurationError,
    Guard,
    MemoryUsers,
    Rejected,
    Rule,
    Session,
    role,
)
from authguard.reasons import KEY_UNKNOWN, ROLE_MISSING, STORE_UNAVAILABLE
from authguard.records.pattern_warnings import (
    EVERY,
    MANY_NAMES,
    MANY_NETWORKS,
    MAX_WATCHED,
    WINDOW,
    PatternWarnings,
    _DistinctCounter,
)
from authguard.schemes.basic import Basic
from authguard.testing import ManualClock
from tests.support.asgi import RecordingApp, header_list, http_scope, run_app
from tests.support.clock import NOW
from tests.support.forks import needs_fork, run_in_child
from tests.support.schemes.badge import OUTCOMES, Badge
from tests.support.schemes.basic import SpyHasher
from tests.support.schemes.bearer import issuer
from tests.support.tokens import mint, rsa_key


@cache
def token(which: int = 0, **changes: Any) -> str:
    """The ``Authorization`` field with a token that is good for a day, signed by this key."""
    return "Bearer " + mint(rsa_key(which=which) if which else rsa_key(), **{"exp": NOW + 86_400, **changes})


def login(name: str, password: str = "wonderland") -> str:
    """The ``Authorization`` field of a login."""
    return "Basic " + b64encode(f"{name}:{password}".encode()).decode()


class Shop:
    """An app behind a guard that warns, at a time that moves with the requests, and what was warned of."""

    def __init__(self, caplog: pytest.LogCaptureFixture, *schemes: Any, **options: Any) -> None:
        self.clock, self._caplog = ManualClock(NOW), caplog
        schemes = schemes or (Bearer(issuer(), realm="shop"),)
        settings: dict[str, Any] = {"log": False, "pattern_warnings": True, **options}
        self.guard = Guard(*schemes, clock=self.clock, monotonic=self.clock, **settings)
        self.app = AuthGuardMiddleware(RecordingApp(), guard=self.guard)

    async def send(
        self, *fields: str | None, count: int = 1, over: float = 0.0, client: str = "192.0.2.7", path: str = "/orders"
    ) -> int:
        """Send these ``Authorization`` fields in turn, so many times in so many seconds. Returns the last status."""
        status = 0
        for _ in range(count):
            for field in fields:
                scope = http_scope(path, headers=header_list(field), client=(client, 40000))
                status = (await run_app(self.app, scope)).status
                self.clock.move(over / count / len(fields))
        return status

    async def usual_day(self, field: str, *, windows: int = 6, count: int = 100) -> None:
        """Half an hour with so many grants in each window, and one refusal."""
        for _ in range(windows):
            await self.send(field, count=count, over=WINDOW)
            await self.send("Bearer junk")

    async def end_window(self) -> None:
        """Have the window end, with one more refusal."""
        self.clock.move(WINDOW)
        await self.send("Bearer junk")

    @property
    def warnings(self) -> list[dict[str, Any]]:
        """The facts of each warning about a pattern."""
        return [
            {name.removeprefix("authguard."): fact for name, fact in vars(line).items() if name.startswith("authguard")}
            for line in self._caplog.records
            if vars(line).get("authguard.event") == "pattern"
        ]

    @property
    def patterns(self) -> list[str]:
        """The name of each pattern that was warned of."""
        return [warning["pattern"] for warning in self.warnings]

    @property
    def lines(self) -> list[str]:
        """The texts of all warnings."""
        return [line.getMessage() for line in self._caplog.records]


def basic_shop(caplog: pytest.LogCaptureFixture, **options: Any) -> Shop:
    """A shop with a hundred users, whose password is ``wonderland``."""
    users = [Account(f"user{number}", "$fast$wonderland") for number in range(100)]
    clock = ManualClock(1000)
    scheme = Basic(MemoryUsers(users, hasher=SpyHasher()), realm="shop", threads=1, throttle=None, clock=clock)
    return Shop(caplog, scheme, **options)


# --- passwords --------------------------------------------------------------------------------------------------------


async def test_many_names_from_one_network_are_spraying(caplog: pytest.LogCaptureFixture) -> None:
    """The twentieth name makes the line, at once, with the network and no name."""
    shop = basic_shop(caplog)

    for number in range(MANY_NAMES):
        assert shop.patterns == []
        await shop.send(login(f"user{number}", "Winter2026"), over=1)

    (warning,) = shop.warnings
    assert warning == {
        "event": "pattern",
        "pattern": "spraying",
        "by_stranger": True,
        "client": "192.0.2.7",
        "count": MANY_NAMES,
        "names": MANY_NAMES,
        "scheme": "basic",
        "seconds": 19.0,
    }
    assert shop.lines[0] == (
        "pattern spraying: many names are refused from one network: somebody tries passwords, or many users share an "
        "address (a stranger can cause this line) client=192.0.2.7 count=20 names=20 scheme=basic seconds=19s"
    )
    assert caplog.records[0].levelno == logging.WARNING


async def test_addresses_of_one_ipv6_network_count_as_one(caplog: pytest.LogCaptureFixture) -> None:
    """A client has a whole /64, and does not hide in it."""
    shop = basic_shop(caplog)

    for number in range(MANY_NAMES):
        await shop.send(login(f"nobody{number}"), client=f"2001:db8::{number:x}")

    assert [(warning["pattern"], warning["client"]) for warning in shop.warnings] == [("spraying", "2001:db8::/64")]


async def test_one_name_from_many_networks_is_stuffing(caplog: pytest.LogCaptureFixture) -> None:
    """The line has the name, as the record of the refusal has."""
    shop = basic_shop(caplog)

    for number in range(MANY_NETWORKS):
        await shop.send(login("user1", f"guess{number}"), client=f"198.51.100.{number}")

    (warning,) = shop.warnings
    assert (warning["pattern"], warning["subject"], warning["networks"], warning["by_stranger"]) == (
        "stuffing",
        "user1",
        MANY_NETWORKS,
        True,
    )


async def test_an_attack_on_a_busy_morning_is_found(caplog: pytest.LogCaptureFixture) -> None:
    """Wrong passwords are compared with what is usual: at first too few, they are told when there are enough."""
    shop = basic_shop(caplog)
    for _ in range(6):
        for number in range(25):
            await shop.send(*[login(f"user{number}")] * 8, over=10)
            await shop.send(login(f"user{number}", "typo"), client=f"198.51.100.{number}", over=2)
    assert shop.patterns == []

    for number in range(400):
        await shop.send(login(f"nobody{number}"), client="203.0.113.9", over=0.1)

    (warning,) = shop.warnings
    assert (warning["pattern"], warning["client"], warning["names"]) == ("spraying", "203.0.113.9", MANY_NAMES)
    assert 4 * 25 <= warning["count"] < 400


async def test_an_office_that_logs_in_is_no_spraying(caplog: pytest.LogCaptureFixture) -> None:
    """Behind one address a hundred users log in, and thirty mistype their password at first."""
    shop = basic_shop(caplog)

    for number in range(100):
        await shop.send(*([login(f"user{number}", "typo")] if number < 30 else []), login(f"user{number}"), over=2)
    await shop.end_window()

    assert shop.patterns == []


async def test_a_morning_behind_a_proxy_that_hides_addresses_is_no_spraying(caplog: pytest.LogCaptureFixture) -> None:
    """All users come from the address of a proxy. Twenty times as many log in as at night, and mistype as often."""
    shop = basic_shop(caplog)
    for number in range(12):
        await shop.send(*[login("user1")] * 5, login(f"user{number}", "typo"), over=WINDOW / 2)

    for number in range(40):
        await shop.send(*[login(f"user{number}")] * 5, login(f"user{number}", "typo"), over=5)
    await shop.end_window()

    assert shop.patterns == []


async def test_many_networks_that_spray_are_one_finding(caplog: pytest.LogCaptureFixture) -> None:
    """Within one window each pattern is found once, so the next line has no number of what was suppressed."""
    shop = basic_shop(caplog)
    for network in range(5):
        for number in range(MANY_NAMES):
            await shop.send(login(f"user{number}", f"guess{network}"), client=f"198.51.100.{network}")

    shop.clock.move(EVERY)
    for number in range(20 * MANY_NAMES):
        await shop.send(login(f"nobody{number}"))

    assert [(warning["pattern"], "suppressed" in warning) for warning in shop.warnings] == [("spraying", False)] * 2


async def test_one_client_with_an_old_password_is_neither(caplog: pytest.LogCaptureFixture) -> None:
    """It is one name from one network; that it is refused all the time is a burst."""
    shop = basic_shop(caplog)

    await shop.send(login("user1", "old"), count=100, over=WINDOW)
    await shop.end_window()

    assert shop.patterns == ["burst"]
    assert "logins had a wrong password. Guesses, or a client that keeps an old password" in shop.lines[0]


async def test_guesses_that_were_told_are_no_burst_too(caplog: pytest.LogCaptureFixture) -> None:
    """A pattern makes one line, and not a second one of another name."""
    shop = basic_shop(caplog)

    for number in range(60):
        await shop.send(login(f"nobody{number}"), over=1)
    await shop.end_window()

    assert shop.patterns == ["spraying"]


async def test_a_client_without_an_address_is_not_watched(caplog: pytest.LogCaptureFixture) -> None:
    """On a Unix socket all clients would be one network."""
    shop = basic_shop(caplog)

    for number in range(MANY_NAMES):
        scope = http_scope(headers=header_list(login(f"nobody{number}")), client=None)
        await run_app(shop.app, scope)

    assert shop.patterns == []


# --- keys -------------------------------------------------------------------------------------------------------------


async def test_a_key_that_fails_for_all_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """The issuer has signed with a new key for five minutes, and nothing is granted any more."""
    shop = Shop(caplog)
    await shop.usual_day(token())
    assert shop.patterns == []

    await shop.send(token(which=1), count=100, over=WINDOW)
    await shop.send("Bearer junk")

    (warning,) = shop.warnings
    assert (warning["pattern"], warning["scheme"], warning["count"], warning["by_stranger"]) == (
        "keys",
        "bearer",
        100,
        True,
    )
    assert (warning["granted"], warning["usually_granted"]) == (0, 100)
    assert "the issuer may have new keys that are not fetched yet" in shop.lines[0]


async def test_forged_tokens_do_not_look_like_a_key_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    """While others are granted as usual, a thousand forged tokens of a stranger are a burst, which says so."""
    shop = Shop(caplog)
    await shop.usual_day(token())

    await shop.send(token(), *[token(which=1)] * 10, count=100, over=WINDOW)
    await shop.end_window()

    assert [(warning["pattern"], warning["by_stranger"]) for warning in shop.warnings] == [("burst", True)]


async def test_forged_tokens_in_the_evening_do_not_look_like_a_key_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    """Less is granted because users go home, and more than the forged tokens."""
    shop = Shop(caplog)
    await shop.usual_day(token())

    await shop.send(token(), token(), token(which=1), count=22, over=WINDOW)
    await shop.end_window()

    assert shop.patterns == []


async def test_a_key_that_fails_is_told_while_old_tokens_go_on(caplog: pytest.LogCaptureFixture) -> None:
    """Tokens of the old key are accepted until they expire: at first it is a burst, and then ``keys``."""
    shop = Shop(caplog)
    await shop.usual_day(token())

    for failing in (1, 2, 3, 4):
        await shop.send(*[token(which=1)] * failing, *[token()] * (4 - failing), count=25, over=WINDOW)
        await shop.send("Bearer junk")

    assert shop.patterns == ["burst", "keys"]


async def test_a_new_process_knows_no_key_that_worked(caplog: pytest.LogCaptureFixture) -> None:
    """After a deploy with the wrong keys it is a burst: what to look at is the same."""
    shop = Shop(caplog)

    await shop.send(token(which=1), count=100, over=WINDOW)
    await shop.send("Bearer junk")

    assert shop.patterns == ["burst"]
    assert "The keys may have been replaced" in shop.lines[0]


async def test_a_key_source_that_is_named_is_in_the_line(caplog: pytest.LogCaptureFixture) -> None:
    """The fact ``source`` of the refusals says which keys; of many schemes, each has its own."""
    shop = Shop(caplog, Badge(table={**OUTCOMES, "bad": _unknown_key()}))
    await shop.usual_day("Badge alice")

    await shop.send("Badge bad", count=50, over=WINDOW)
    await shop.send("Bearer junk")

    assert [(warning["pattern"], warning["source"]) for warning in shop.warnings] == [
        ("keys", "https://login.example/keys")
    ]


def _unknown_key() -> Rejected:
    return Rejected(KEY_UNKNOWN, facts={"source": "https://login.example/keys"})


# --- a proxy ----------------------------------------------------------------------------------------------------------


async def test_a_proxy_that_strips_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """Where clients used to log in, all requests come without credentials."""
    shop = Shop(caplog, rules=[Rule("/orders", role("admin"))])
    await shop.usual_day(token())

    await shop.send(None, count=100, over=WINDOW)
    await shop.send("Bearer junk")

    (warning,) = shop.warnings
    assert (warning["pattern"], warning["rule"], warning["rules"], warning["by_stranger"]) == (
        "stripped",
        "/orders",
        1,
        True,
    )
    assert (warning["count"], warning["granted"], warning["usually_granted"]) == (100, 0, 100)


async def test_requests_of_a_stranger_do_not_look_like_a_proxy(caplog: pytest.LogCaptureFixture) -> None:
    """However many come without credentials: the others are granted as before."""
    shop = Shop(caplog)
    await shop.usual_day(token())

    await shop.send(token(), *[None] * 20, count=100, over=WINDOW)
    await shop.end_window()

    assert shop.patterns == []


async def test_monitoring_without_credentials_is_no_pattern(caplog: pytest.LogCaptureFixture) -> None:
    """Its refusals are usual: not even when everybody else goes home do they look like a proxy."""
    shop = Shop(caplog)
    for _ in range(6):
        await shop.send(token(), None, count=100, over=WINDOW)

    for _ in range(12):
        await shop.send(None, count=100, over=WINDOW)

    assert shop.patterns == []


async def test_clients_that_ask_first_are_no_pattern(caplog: pytest.LogCaptureFixture) -> None:
    """A morning: after a quiet night, five hundred clients first ask without credentials, and then log in."""
    shop = Shop(caplog)
    for _ in range(6):
        await shop.send(token(), count=20, over=WINDOW)
        await shop.send(None)

    await shop.send(None, token(), token(), count=500, over=WINDOW)
    await shop.end_window()

    assert shop.patterns == []


async def test_a_restart_of_all_clients_is_no_pattern(caplog: pytest.LogCaptureFixture) -> None:
    """A deploy: nothing comes for four minutes, and then everybody asks once without credentials and logs in."""
    shop = Shop(caplog)
    await shop.usual_day(token())

    shop.clock.move(0.8 * WINDOW)
    await shop.send(None, token(), count=100, over=0.2 * WINDOW)
    await shop.end_window()

    assert shop.patterns == []


async def test_a_cookie_that_is_stripped_is_told_too(caplog: pytest.LogCaptureFixture) -> None:
    """Browsers are sent to the login page, again and again."""
    shop = Shop(caplog, Session(realm="shop", login_url="/login"), rules=[Rule("/login", PUBLIC)])
    entry = {"id": "a", "sub": "alice", "began": NOW, "seen": NOW, "auth_time": int(NOW)}

    async def browse(session: dict[str, Any], count: int) -> list[int]:
        scope = http_scope("/orders", headers=header_list(sec_fetch_mode="navigate"))
        answers = [await run_app(shop.app, {**scope, "session": session}) for _ in range(count)]
        shop.clock.move(WINDOW)
        return sorted({answer.status for answer in answers})

    assert await browse({"authguard": entry}, 100) == [200]
    assert await browse({}, 100) == [303]
    await browse({}, 100)
    await browse({}, 1)

    assert [(warning["pattern"], warning["rule"]) for warning in shop.warnings] == [("stripped", None)]


async def test_sessions_that_are_refused_are_not_stripped(caplog: pytest.LogCaptureFixture) -> None:
    """After a break all users are sent to the login page, and they did send their cookies."""
    shop = Shop(caplog, Session(realm="shop", login_url="/login", idle=60), rules=[Rule("/login", PUBLIC)])
    scope = http_scope("/orders", headers=header_list(sec_fetch_mode="navigate"))

    entry = {"id": "a", "sub": "alice", "began": NOW, "seen": NOW, "auth_time": int(NOW)}
    for window in range(5):
        for _ in range(100):
            answer = await run_app(shop.app, {**scope, "session": {"authguard": dict(entry)}})
            assert answer.status == (303 if window else 200)
        shop.clock.move(WINDOW)

    assert shop.patterns == []


# --- bursts -----------------------------------------------------------------------------------------------------------


async def test_a_burst_of_one_cause_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """All tokens expired by about the same time: a clock is wrong. The text is that of the inspector."""
    shop = Shop(caplog)
    await shop.usual_day(token())

    for _ in range(100):
        await shop.send(token(exp=shop.clock() - 100), over=WINDOW / 100)
    await shop.send("Bearer junk")

    (warning,) = shop.warnings
    assert (warning["pattern"], warning["reason"], warning["count"], warning["causes"], warning["clients"]) == (
        "burst",
        "token.expired",
        100,
        1,
        1,
    )
    assert (
        "100 tokens of https://login.example/ expired by 100 s. Their clock or yours: all by about the same time"
        in shop.lines[0]
    )


async def test_old_tokens_of_a_morning_are_no_burst(caplog: pytest.LogCaptureFixture) -> None:
    """Each of a hundred clients has a token of yesterday, is refused once, and goes on with a new one."""
    shop = Shop(caplog)
    await shop.usual_day(token(), count=10)

    for number in range(100):
        await shop.send(token(exp=NOW - 3600 - 60 * number), token(), token(), over=3)
    await shop.end_window()

    assert shop.patterns == []


async def test_what_authenticated_users_cause_is_not_said_of_strangers(caplog: pytest.LogCaptureFixture) -> None:
    """The roles are in another claim since today: the line does not say that a stranger can cause it."""
    shop = Shop(caplog, rules=[Rule("/orders", role("clerk"))])

    await shop.send(token(), count=100, over=WINDOW)
    await shop.end_window()

    (warning,) = shop.warnings
    assert (warning["reason"], warning["by_stranger"]) == (ROLE_MISSING.code, False)
    assert "a stranger can cause" not in shop.lines[0]


async def test_a_stranger_does_not_hide_what_users_cause(caplog: pytest.LogCaptureFixture) -> None:
    """Each has a line of its own, whichever comes more often, and whenever the other was logged."""
    shop = Shop(caplog, rules=[Rule("/orders", role("clerk"))])

    await shop.send("Badge x", "Bearer junk", "Bearer junk", count=100, over=WINDOW)
    await shop.send(token(), "Bearer junk", "Bearer junk", count=100, over=WINDOW)
    await shop.end_window()

    assert [(warning["by_stranger"], warning["causes"]) for warning in shop.warnings] == [(True, 2), (False, 1)]


async def test_anonymous_requests_that_pass_hide_no_burst(caplog: pytest.LogCaptureFixture) -> None:
    """What is granted without a principal, on an OPTIONAL route, says nothing of credentials."""
    shop = Shop(caplog, rules=[Rule("/news", OPTIONAL)])

    assert await shop.send(None, count=100, path="/news") == 200
    await shop.send("Digest x", count=50, over=WINDOW)
    await shop.end_window()

    assert [(warning["pattern"], warning["reason"]) for warning in shop.warnings] == [("burst", "scheme.unsupported")]


async def test_an_outage_is_no_burst(caplog: pytest.LogCaptureFixture) -> None:
    """It is an ERROR in the log already."""
    shop = Shop(caplog, Badge(table={"down": Rejected(STORE_UNAVAILABLE)}))

    assert await shop.send("Badge down", count=100, over=WINDOW) == 503
    await shop.end_window()

    assert shop.patterns == []


async def test_a_burst_without_words_of_its_own_names_the_reason(caplog: pytest.LogCaptureFixture) -> None:
    """The reasons of a scheme of the app are told too."""
    shop = Shop(caplog, Badge())

    await shop.send("Badge wrong", count=100, over=WINDOW)
    await shop.end_window()

    text = "pattern burst: 100 requests were refused with badge.wrong (a stranger can cause this line) reason="
    assert shop.lines[0].startswith(text)


# --- bounds -----------------------------------------------------------------------------------------------------------


async def test_a_pattern_is_logged_once_in_a_quarter_of_an_hour(caplog: pytest.LogCaptureFixture) -> None:
    """The next line says in how many windows it was found in between."""
    shop = Shop(caplog, Badge())

    await shop.send("Badge wrong", count=1400, over=7 * WINDOW)

    assert EVERY == 3 * WINDOW
    assert [warning.get("suppressed") for warning in shop.warnings] == [None, 2]
    assert "suppressed=2" in shop.lines[1]


async def test_no_flood_makes_more_than_a_few_lines(caplog: pytest.LogCaptureFixture) -> None:
    """A stranger with many names, addresses and kinds of junk causes one line of each pattern."""
    shop = basic_shop(caplog)

    for number in range(2000):
        name, client = f"user{number % 41}", f"198.51.{number % 37}.1"
        await shop.send(login(name, "guess"), "Bearer x", "Basic ?", "a b c", client=client, over=0.4)

    assert sorted(shop.patterns) == ["burst", "spraying", "stuffing"]


async def test_requests_without_credentials_are_not_kept(caplog: pytest.LogCaptureFixture) -> None:
    """They are the most frequent refusals of all, and the counts of the guard are enough for them."""
    shop = Shop(caplog)
    (hook,) = shop.guard._recorder.hooks
    assert isinstance(hook, PatternWarnings)

    await shop.send(None, count=100)
    assert hook._denials.snapshot() == ()

    await shop.send("Bearer junk")
    assert len(hook._denials.snapshot()) == 1


async def test_grants_do_not_reach_the_hook(caplog: pytest.LogCaptureFixture) -> None:
    """No record is made of a grant: the counts of the guard are enough."""
    shop = Shop(caplog, hooks=[])

    assert shop.guard._recorder._hooks_for_grants == ()
    assert [str(hook) for hook in shop.guard._recorder.hooks] == ["pattern_warnings"]


def test_the_flag_must_be_one() -> None:
    """It is off by default, and anything but True and False is refused."""
    assert Guard(Badge())._recorder.hooks == ()
    with pytest.raises(ConfigurationError, match="pattern_warnings"):
        Guard(Badge(), pattern_warnings=1)  # type: ignore[arg-type]


def seen(counter: _DistinctCounter, key: str, items: Iterable[int]) -> int:
    """How often the key is to be looked at, of so many items."""
    return sum(counter.add(key, str(item)) for item in items)


def test_no_more_than_so_many_networks_are_watched() -> None:
    """A stranger with ten thousand addresses fills a memory of fixed size, and does not hide who tries many names."""
    counter = _DistinctCounter(20)
    assert seen(counter, "192.0.2.7", range(19)) == 0

    for number in range(10_000):
        counter.add(f"198.51.100.{number}", "alice")

    assert len(counter) == MAX_WATCHED
    assert seen(counter, "192.0.2.7", range(18, 20)) == 1


def test_a_full_memory_still_takes_new_ones() -> None:
    """If all that is watched has many values, one of them makes room."""
    counter = _DistinctCounter(20)
    for number in range(MAX_WATCHED):
        seen(counter, str(number), range(19))

    assert seen(counter, "new", range(20)) == 1
    assert len(counter) == MAX_WATCHED


def test_a_key_is_looked_at_again_when_it_has_doubled() -> None:
    """Twenty values, and then the 32nd, 64th and 128th time it is seen."""
    counter = _DistinctCounter(20)

    looks = [number for number in range(1, 201) if counter.add("192.0.2.7", str(number))]

    assert looks == [20, 32, 64, 128]


async def test_a_handler_that_raises_does_not_fail_the_request(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client gets its 401."""
    shop = basic_shop(caplog)

    def fail(record: logging.LogRecord) -> bool:
        raise OSError(record.name)

    monkeypatch.setattr(logging.getLogger("authguard"), "filters", [fail])
    for number in range(MANY_NAMES):
        assert await shop.send(login(f"nobody{number}")) == 401


@needs_fork
def test_a_forked_child_begins_with_nothing() -> None:
    """What the parent has counted is no history of the child."""
    clock = ManualClock()
    warnings = PatternWarnings(dict, clock)
    warnings._names_of.add("192.0.2.7", "alice")
    warnings._usual_seconds = 300.0

    assert run_in_child(lambda: (len(warnings._names_of), warnings._usual_seconds)) == "(0, 0.0)"
