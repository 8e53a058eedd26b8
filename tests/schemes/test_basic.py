"""The Basic scheme without ASGI: what it parses, whom it accepts, how it rejects, and how it uses its stores."""

from __future__ import annotations

import logging
from base64 import b64encode
from functools import partial
from typing import Any

import anyio
import pytest

from authguard.accounts.account import Account
from authguard.accounts.memory import MemoryUsers
from authguard.accounts.password_hashes import LibpassHasher
from authguard.concurrency.token_bucket import Rate
from authguard.core.guard import Guard
from authguard.errors import BackendUnavailable, ConfigurationError
from authguard.middleware import AuthGuardMiddleware
from authguard.model import Accepted, Denied, Moment, Outcome, Principal, Rejected
from authguard.reasons import (
    ACCOUNT_DISABLED,
    ATTEMPTS_EXCEEDED,
    CREDENTIALS_MALFORMED,
    CREDENTIALS_MISSING,
    PASSWORD_WRONG,
    STORE_UNAVAILABLE,
    USER_UNKNOWN,
)
from authguard.request import AuthRequest
from authguard.schemes.basic import Basic
from authguard.schemes.throttle import AttemptKeys, AttemptPair, CountedAttempt, LoginThrottle
from authguard.state.throttle_store import Exceeded
from authguard.testing import ManualClock
from authguard.wire.authorization import Credentials
from authguard.wire.basic import UserPass
from tests.support.asgi import Exchange, RecordingApp, header_list, http_scope, run_app
from tests.support.clock import NOW
from tests.support.coroutines import run_together, wait_until
from tests.support.forks import needs_fork, run_in_child
from tests.support.schemes.basic import (
    ALICE,
    MALLORY,
    HeldUsers,
    Ldap,
    SpyHasher,
    Users,
    accepted_principal,
    authenticate,
    basic_scheme,
    log_in,
    log_in_now,
    memory_users,
    rejection_code,
    user_pass,
)

# --- What it reads ----------------------------------------------------------------------------------------------------


async def test_the_right_password_makes_the_principal_of_the_account() -> None:
    """Subject, roles, scopes and claims come from the account, not from the name that was typed."""
    users = Users(ALICE)
    users.aliases["a@example.org"] = "alice"

    principal = await accepted_principal(basic_scheme(users), "a@example.org")

    assert principal == Principal("alice", roles={"admin"}, scopes={"read"}, scheme="basic")
    assert principal.claims == {"mail": "a@example.org"}


NAMES = [
    ("alice", "a:b::c"),
    ("ülrich", "pässwörd"),
    ("u\u0308lrich", "pa\u0308sswo\u0308rd"),  # decomposed, as macOS types it
    ("普通话", "中文"),
    ("\U0001f511", "\U0001f512 "),
    ("a b", " "),
]


@pytest.mark.rfc("7617-3", "7617-5")
@pytest.mark.parametrize(("name", "password"), NAMES, ids=ascii)
async def test_names_and_passwords_are_utf_8_in_nfc(name: str, password: str) -> None:
    """Names and passwords are normalized to NFC (RFC 7617 section 2.1). A password may contain colons, and both may
    contain spaces."""
    users = Users(Account("ülrich", "$fast$pässwörd"), *[Account(name, f"$fast${word}") for name, word in NAMES[3:]])
    users.accounts["alice"] = Account("alice", "$fast$a:b::c")

    assert isinstance(await log_in(basic_scheme(users), name, password), Accepted)


MALFORMED: list[tuple[bytes, str]] = [
    (b"", "nothing after the auth-scheme"),
    (b"YWxpY2U6 d29uZGVybGFuZA==", "not a token68"),
    (b"YWxpY2U6eA", "not base64 as of RFC 4648 section 4"),
    (b"YWxpY2U6eB==", "not base64 as of RFC 4648 section 4"),
    (b"YWxpY2U6eA==A", "not a token68"),
    (b"YWxpY2U6-_8=", "not base64 as of RFC 4648 section 4"),
    (b64encode(b"alice"), "no colon in the user-pass"),
    (b64encode(b"alice:\xff"), "the user-pass is not UTF-8"),
    (b64encode(b"alice:\xed\xa0\x80"), "the user-pass is not UTF-8"),
    (b64encode(b"alice:wonder\0land"), "a control character in the user-pass"),
    (b64encode(b"al\nice:wonderland"), "a control character in the user-pass"),
    (b64encode("alice:\u0085".encode()), "a control character in the user-pass"),
    (b64encode(b":wonderland"), "no user-id"),
    (b64encode(b":"), "no user-id"),
]


@pytest.mark.rfc("7617-3", "7617-4")
@pytest.mark.parametrize(("rest", "problem"), MALFORMED)
async def test_a_malformed_user_pass_is_rejected_before_any_look_up(rest: bytes, problem: str) -> None:
    """Credentials need canonical Base64, UTF-8, a colon, a name, and no control character."""
    users = Users(ALICE)
    users.accounts["al\nice"] = users.accounts[""] = LookupError("asked")

    outcome = await authenticate(basic_scheme(users), rest)

    assert isinstance(outcome, Rejected)
    assert (outcome.reason.code, outcome.subject, outcome.facts) == (
        "credentials.malformed",
        None,
        {"problem": problem},
    )
    assert users.hasher.count == 0


# --- The challenge ----------------------------------------------------------------------------------------------------

REALMS = [
    ("orders", b'Basic realm="orders", charset="UTF-8"'),
    ('the "orders" \\ desk', b'Basic realm="the \\"orders\\" \\\\ desk", charset="UTF-8"'),
    ("Größe", 'Basic realm="Größe", charset="UTF-8"'.encode()),
]


@pytest.mark.rfc("7617-1")
@pytest.mark.parametrize(("realm", "line"), REALMS)
async def test_the_challenge_has_a_realm_and_the_charset(realm: str, line: bytes) -> None:
    """7617-1: the challenge has a realm and the charset, whatever the reason of the denial."""
    scheme = basic_scheme(realm=realm)
    (bare,) = scheme.challenges(None, None)  # type: ignore[arg-type]
    (record,) = scheme.challenges(None, Denied(PASSWORD_WRONG, "basic"))  # type: ignore[arg-type]

    assert bare.to_header() == record.to_header() == line


@pytest.mark.parametrize("realm", ["a\nb", "a\0", "a\x7f", "\ud800", None, 7, b"orders"])
def test_a_realm_that_cannot_be_sent_is_refused(realm: Any) -> None:
    """A realm that cannot be sent in a header raises while the app is built."""
    with pytest.raises(ConfigurationError) as caught:
        basic_scheme(realm=realm)

    assert caught.value.argument == "realm"


async def _async(*_: object) -> None:
    """Accept a new hash and do nothing."""


BAD: list[tuple[str, Any]] = [
    ("passwords", None),
    ("passwords", {"alice": "wonderland"}),
    ("passwords", MemoryUsers),
    ("passwords", Users),
    ("passwords", Ldap),
    ("throttle", Rate(1, 1.0)),
    ("throttle", True),
    ("throttle", "off"),
    ("remember", 0),
    ("remember", 3601),
    ("remember", True),
    ("on_rehash", "yes"),
    ("threads", 0),
    ("waiting", 0),
    ("deadline", 0),
]


@pytest.mark.parametrize(("argument", "value"), BAD)
def test_bad_options_are_refused(argument: str, value: Any) -> None:
    """An invalid option raises while the app is built, and the error names the argument."""
    options = {"passwords": memory_users(), "realm": "orders", argument: value}

    with pytest.raises(ConfigurationError) as caught:
        Basic(options.pop("passwords"), **options)

    assert caught.value.argument == argument


def test_a_directory_has_no_hash_that_could_be_outdated() -> None:
    """``on_rehash`` raises for a store that checks passwords itself, because it shows no hash."""
    with pytest.raises(ConfigurationError) as caught:
        basic_scheme(Ldap(ALICE), on_rehash=_async)

    assert caught.value.argument == "on_rehash"


# --- Unknown, wrong, disabled: one answer -----------------------------------------------------------------------------

STRANGERS = [
    ("alice", "wrong", "password.wrong"),
    ("alice", "", "password.empty"),
    ("nobody", "wonderland", "user.unknown"),
    ("nobody", "", "user.unknown"),
    ("mallory", "wrong", "password.wrong"),
    ("mallory", "secret", "account.disabled"),
    ("sso", "wonderland", "password.wrong"),
    ("locked", "wonderland", "password.hash_unreadable"),
    ("short", "too long", "password.too_long"),
]


def population(hasher: SpyHasher) -> Users:
    """A store with users of every kind."""
    others = [Account("sso", ""), Account("locked", "!$fast$x"), Account("short", "$short$abc")]
    return Users(ALICE, MALLORY, *others, hasher=hasher)


async def ask(scheme: Basic, username: str, password: str, **options: Any) -> tuple[Exchange, list[Any]]:
    """The response of a whole app to a login, and the records."""
    records: list[Any] = []
    app = AuthGuardMiddleware(RecordingApp(), guard=Guard(scheme, hooks=[records.append], **options))
    field = b"Basic " + user_pass(username, password)
    return await run_app(app, http_scope(headers=header_list(field))), records


async def test_every_rejected_login_gets_the_same_response() -> None:
    """Status, headers and body of all rejected logins are equal. Only the record tells the reason."""
    answers, reasons = [], []
    for username, password, _ in STRANGERS:
        answer, (record,) = await ask(basic_scheme(population(SpyHasher())), username, password, log=False)
        answers.append(answer.sent)
        reasons.append(record.reason)

    assert reasons == [reason for _, _, reason in STRANGERS]
    assert answers[0][0]["status"] == 401
    assert answers == answers[:1] * len(STRANGERS)


@pytest.mark.parametrize(("username", "password", "reason"), STRANGERS)
@pytest.mark.parametrize("attempts", ["default", None])
async def test_every_rejected_login_costs_one_verification(
    username: str, password: str, reason: str, attempts: Any
) -> None:
    """A wrong name costs the same verification as a wrong password, even after the user's right password was cached."""
    hasher = SpyHasher()
    scheme = basic_scheme(population(hasher), throttle=attempts)
    await log_in(scheme)

    counts = []
    for _ in range(3):
        before = hasher.count
        assert await rejection_code(scheme, username, password) == reason
        counts.append(hasher.count - before)

    assert counts == [1, 1, 1]


async def test_a_disabled_account_counts_as_authenticated() -> None:
    """The record marks the subject as authenticated only where the password of the disabled account was right."""
    scheme = basic_scheme(population(SpyHasher()))

    outcomes = [await log_in(scheme, username, password) for username, password, _ in STRANGERS]

    authenticated = [one.reason for one in outcomes if isinstance(one, Rejected) and one.authenticated]
    assert authenticated == [ACCOUNT_DISABLED]
    assert [one.subject for one in outcomes if isinstance(one, Rejected)] == [name for name, _, _ in STRANGERS]


async def test_the_stock_hasher_rejects_in_the_same_way() -> None:
    """A password above 72 bytes for bcrypt, and a hash of an unknown format, are rejected. The unknown format logs an
    ERROR."""
    stored = "$2b$04$vb4SvxzvOTOZXbWBdpOeauoVSoNIBWu5fNZFVEtwlxI.MVjVDK3.a"
    users = Users(Account("alice", stored), Account("odd", "$9$what$ever"), hasher=LibpassHasher())  # type: ignore[arg-type]
    scheme = basic_scheme(users, deadline=60)

    assert await rejection_code(scheme, "alice", "x" * 72) == "password.wrong"
    assert await rejection_code(scheme, "alice", "x" * 73) == "password.too_long"
    assert await rejection_code(scheme, "alice", "ü" * 37) == "password.too_long"
    assert await rejection_code(scheme, "odd", "x") == "password.hash_unreadable"


async def test_an_unreadable_hash_is_logged_as_an_error(caplog: pytest.LogCaptureFixture) -> None:
    """An unreadable hash looks to the client like any rejected login, and logs an ERROR for the operator."""
    answer, _ = await ask(basic_scheme(population(SpyHasher())), "locked", "wonderland")

    assert answer.status == 401
    assert [(record.levelname, record.msg) for record in caplog.records] == [
        ("ERROR", "denied password.hash_unreadable: %s")
    ]


# --- What is remembered -----------------------------------------------------------------------------------------------


async def test_a_repeated_login_is_not_hashed_again() -> None:
    """A verified password is cached for ``remember`` seconds, and hashed again after that."""
    clock = ManualClock(1000)
    users = Users(ALICE)
    scheme = basic_scheme(users, remember=60, clock=clock)

    for _ in range(5):
        await accepted_principal(scheme)
    clock.move(60)
    await accepted_principal(scheme)

    assert users.hasher.count == 2


async def test_the_cache_can_be_switched_off() -> None:
    """With ``remember=None`` every login is hashed."""
    users = Users(ALICE)
    scheme = basic_scheme(users, remember=None)

    for _ in range(5):
        await accepted_principal(scheme)

    assert users.hasher.count == 5


async def test_only_the_right_password_of_that_name_is_remembered() -> None:
    """The cache accepts neither another password nor another user with the same hash."""
    users = Users(ALICE, Account("twin", ALICE.password_hash))
    scheme = basic_scheme(users)
    await accepted_principal(scheme)

    assert await rejection_code(scheme, "alice", "wrong") == "password.wrong"
    await accepted_principal(scheme, "twin")

    assert users.hasher.count == 3


@pytest.mark.parametrize("store", [Users, HeldUsers])
async def test_a_change_in_the_store_takes_effect_at_once(store: type[Users]) -> None:
    """Roles, the hash, the disabled flag and the account itself are read at every login, also after a cached
    success, and whether the store must be waited for or not."""
    users = store(ALICE)
    scheme = basic_scheme(users)
    await accepted_principal(scheme)

    users.accounts["alice"] = Account("alice", ALICE.password_hash, roles={"reader"})
    reader = await accepted_principal(scheme)
    users.accounts["alice"] = Account("alice", "$fast$changed", roles={"reader"})
    changed = await rejection_code(scheme)
    users.accounts["alice"] = Account("alice", ALICE.password_hash, disabled=True)
    disabled = await rejection_code(scheme)
    del users.accounts["alice"]
    gone = await rejection_code(scheme)

    assert reader.roles == {"reader"}
    assert (changed, disabled, gone) == ("password.wrong", "account.disabled", "user.unknown")


@pytest.mark.parametrize("store", [Users, HeldUsers])
async def test_a_disabled_account_is_hashed_although_it_was_cached(store: type[Users]) -> None:
    """Without a hash, the response for a disabled account would come faster than for an unknown name."""
    users = store(ALICE)
    scheme = basic_scheme(users)
    await accepted_principal(scheme)
    users.accounts["alice"] = Account("alice", ALICE.password_hash, disabled=True)

    codes = [await rejection_code(scheme) for _ in range(3)]

    assert (codes, users.hasher.count) == (["account.disabled"] * 3, 4)


async def test_a_directory_is_asked_each_time() -> None:
    """A store that checks passwords itself is asked at every login, because it shows no hash that would reveal a
    change."""
    ldap = Ldap(ALICE)
    scheme = basic_scheme(ldap)

    first = await accepted_principal(scheme)
    ldap.answer = MALLORY
    second = await rejection_code(scheme)
    ldap.answer = USER_UNKNOWN

    assert (first.subject, second, await rejection_code(scheme)) == ("alice", "account.disabled", "user.unknown")
    assert len(ldap.calls) == 3


async def test_neither_names_nor_passwords_nor_hashes_are_kept() -> None:
    """Between requests the scheme holds a keyed hash of the credentials, and nothing of the account."""
    scheme = basic_scheme(memory_users())
    await accepted_principal(scheme)
    await accepted_principal(scheme)
    remembered, keys = scheme._verification_cache, scheme._logged_in._kept_keys
    kept: list[object] = [vars(remembered), remembered._until._young, vars(scheme._single_flight), keys._young]

    assert len(remembered._until._young) == len(keys._young) == 1
    assert not {"alice", "wonderland", "admin"} & set(repr(kept).replace("'", " ").split())
    assert "wonderland" not in repr(kept)


async def test_a_cached_login_is_answered_at_once() -> None:
    """Nothing is awaited for it, if the store has the account in memory. Any other login goes on with what was
    learned, and is then answered as by ``authenticate``."""
    users = HeldUsers(ALICE, MALLORY)
    scheme = basic_scheme(users)
    first = log_in_now(scheme)
    assert callable(first)
    accepted = await first()

    again, wrong = log_in_now(scheme), log_in_now(scheme, "alice", "wrong")

    assert again == accepted == await log_in(scheme)
    assert isinstance(again, Accepted)
    assert callable(wrong)
    assert await wrong() == Rejected(PASSWORD_WRONG, "alice")
    assert users.hasher.count == 2


async def test_malformed_credentials_are_answered_at_once() -> None:
    """Nothing needs to be looked up for them."""
    request = AuthRequest(http_scope(headers=header_list()), path="/", moment=Moment(NOW, 60.0))

    outcome = basic_scheme().authenticate_now(request, Credentials("basic", b"?"))

    assert outcome == Rejected(CREDENTIALS_MALFORMED, facts={"problem": "not a token68"})


async def test_a_store_that_must_be_waited_for_is_asked_once() -> None:
    """An account that is not in memory is awaited, and the cached login after it needs no hash."""
    users = Users(ALICE)
    asked: list[str] = []
    users.aliases = Aliases(asked)
    scheme = basic_scheme(users)
    await accepted_principal(scheme)

    answer = log_in_now(scheme)

    assert callable(answer)
    assert isinstance(await answer(), Accepted)
    assert (asked, users.hasher.count) == (["alice", "alice"], 1)


class Aliases(dict[str, str]):
    """No aliases. It keeps the names for which it is asked."""

    def __init__(self, asked: list[str]) -> None:
        super().__init__()
        self.asked = asked

    def get(self, name: str, default: Any = None) -> Any:
        self.asked.append(name)
        return default


SPELLINGS = [
    (b"YWxpY2U6d29uZGVybGFuZA=", "not base64 as of RFC 4648 section 4"),  # without one of the two signs of padding
    (b"YWxpY2U6d29uZGVybGFuZB==", "not base64 as of RFC 4648 section 4"),  # an unused bit is set
    (b"YWxp!Y2U6d29uZGVybGFuZA==", "not a token68"),
]


@pytest.mark.parametrize(("rest", "problem"), SPELLINGS)
async def test_another_base64_of_a_cached_login_is_refused_as_before(rest: bytes, problem: str) -> None:
    """A lenient decoder makes the same name and password of it. That these are cached does not matter."""
    scheme = basic_scheme(memory_users())
    await accepted_principal(scheme)

    assert await authenticate(scheme, rest) == Rejected(CREDENTIALS_MALFORMED, facts={"problem": problem})


async def test_two_unicode_forms_of_one_password_are_cached_together() -> None:
    """They are the same text in NFC, so the second form costs neither a hash nor an attempt."""
    users = HeldUsers(Account("ülrich", "$fast$pässwörd"))
    scheme = basic_scheme(users, throttle=throttle())
    await accepted_principal(scheme, "ülrich", "pässwörd")

    assert isinstance(log_in_now(scheme, "u\u0308lrich", "pa\u0308sswo\u0308rd"), Accepted)
    assert users.hasher.count == 1


async def test_names_passwords_and_hashes_cannot_be_shifted_into_each_other() -> None:
    """Where one of them ends is part of the entry, whatever characters they contain."""
    cache = basic_scheme()._verification_cache
    logins = [("a", "b:c", "d"), ("a", "b", ":c\0d"), ("a:b", "c", "d"), ("a", "", "b:c\0d"), ("a", "b:c\udc00", "d")]

    entries = [cache.entry(UserPass(name, password), stored) for name, password, stored in logins]

    assert len(set(entries)) == 4  # a name with a colon cannot be sent
    assert entries[0] == entries[2]
    assert {len(entry) for entry in entries} == {32}


@needs_fork
def test_a_forked_child_has_a_cache_and_a_key_of_its_own() -> None:
    """It verifies a password again that its parent has cached, and its entries cannot be compared with those of its
    parent."""
    users = HeldUsers(ALICE)
    scheme = basic_scheme(users, deadline=60)
    anyio.run(log_in, scheme)
    entry = scheme._verification_cache.entry(UserPass("alice", "wonderland"), ALICE.password_hash)

    def log_in_there() -> object:
        cache = scheme._verification_cache
        own = cache.entry(UserPass("alice", "wonderland"), ALICE.password_hash)
        before = cache.had(entry), own == entry, users.hasher.count
        accepted = isinstance(anyio.run(log_in, scheme), Accepted)
        return before, accepted, users.hasher.count, cache.had(own)

    assert run_in_child(log_in_there) == "((False, False, 1), True, 2, True)"
    assert isinstance(log_in_now(scheme), Accepted)


async def test_the_principal_of_an_account_is_made_once() -> None:
    """If the store returns the same account, the outcome is the same object. The guard, and ``authenticate``, give
    each request its own principal."""
    users = HeldUsers(ALICE)
    scheme = basic_scheme(users)
    own = [await accepted_principal(scheme) for _ in range(2)]
    first, second = log_in_now(scheme), log_in_now(scheme)
    users.accounts["alice"] = Account("alice", ALICE.password_hash, roles={"reader"})
    third = await accepted_principal(scheme)

    assert second is first
    assert own[0] is not own[1]
    assert first == Accepted(own[0])
    assert third.roles == {"reader"}


async def test_no_request_sees_what_another_one_does_to_its_claims() -> None:
    """Neither the next request nor the store does, however deep the change is."""
    account = Account("alice", "$fast$wonderland", claims={"teams": [{"name": "red"}]})
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        claims = scope["user"].claims
        seen.append(repr(claims))
        claims["teams"][0]["name"] = "blue"
        claims["more"] = True
        await RecordingApp()(scope, receive, send)

    guarded = AuthGuardMiddleware(app, guard=Guard(basic_scheme(HeldUsers(account)), log=False))
    field = b"Basic " + user_pass("alice", "wonderland")
    for _ in range(4):
        await run_app(guarded, http_scope(headers=header_list(field)))

    assert seen == ["{'teams': [{'name': 'red'}]}"] * 4
    assert account.claims == {"teams": [{"name": "red"}]}


# --- Attempts ---------------------------------------------------------------------------------------------------------


def throttle(**options: Any) -> LoginThrottle:
    """A throttle that allows three attempts at once."""
    return LoginThrottle(pair=Rate(3, 10.0), clock=ManualClock(1000), **options)


async def test_a_login_beyond_the_limit_is_not_hashed() -> None:
    """The throttle is asked before the hash: the fourth guess costs no hash, and its response says how long to wait."""
    users = Users(ALICE)
    scheme = basic_scheme(users, throttle=throttle())
    codes = [await rejection_code(scheme, "alice", f"guess{number}") for number in range(5)]

    outcome = await log_in(scheme)

    assert codes == ["password.wrong"] * 3 + ["attempts.exceeded"] * 2
    assert users.hasher.count == 3
    assert isinstance(outcome, Rejected)
    assert outcome.facts == {"retry_after": 10, "bucket": "account and network"}


async def test_the_throttle_is_asked_before_the_cache() -> None:
    """Without an attempt left, a client cannot go on guessing against the verification cache, neither from the network
    of the owner nor from another one."""
    scheme = basic_scheme(Users(ALICE), throttle=throttle(known_pair=Rate(5, 20.0)))
    await accepted_principal(scheme)
    for client in ("192.0.2.7", "203.0.113.9"):
        for number in range(5):
            await log_in(scheme, "alice", f"guess{number}", client)

    codes = [await rejection_code(scheme, "alice", "wonderland", client) for client in ("192.0.2.7", "203.0.113.9")]

    assert codes == ["attempts.exceeded"] * 2


async def test_a_right_password_costs_no_attempt() -> None:
    """A successful login refunds its attempt, whether it was hashed or cached."""
    for remember in (60, None):
        scheme = basic_scheme(Users(ALICE), throttle=throttle(), remember=remember)

        for _ in range(20):
            await accepted_principal(scheme)


async def test_a_right_password_of_a_disabled_account_costs_one() -> None:
    """The right password of a disabled account costs an attempt, so that the throttle does not reveal that it was
    right."""
    scheme = basic_scheme(Users(MALLORY), throttle=throttle())

    codes = [await rejection_code(scheme, "mallory", "secret") for _ in range(4)]

    assert codes == ["account.disabled"] * 3 + ["attempts.exceeded"]


async def test_a_cached_login_makes_no_keys_of_attempts() -> None:
    """They are kept with the entry of the cache, for each network. A wrong password from elsewhere changes nothing,
    and wrong passwords keep no keys."""
    made: list[str | None] = []

    class Throttle(LoginThrottle):
        def _make_keys(self, pair: AttemptPair, sent: str | None) -> AttemptKeys:
            made.append(pair.network)
            return super()._make_keys(pair, sent)

    scheme = basic_scheme(HeldUsers(ALICE), throttle=Throttle(clock=ManualClock(1000)))
    for client in ("192.0.2.7", "203.0.113.9"):
        await log_in(scheme, client=client)
        await log_in(scheme, client=client)
    await rejection_code(scheme, "alice", "wrong", "198.51.100.1")
    made.clear()

    for client in ("192.0.2.7", "203.0.113.9:4711") * 5:
        assert isinstance(log_in_now(scheme, client=client), Accepted)

    assert made == []
    assert len(scheme._logged_in._kept_keys) == 2


async def test_a_cached_login_is_counted_for_the_account_that_its_name_has_now() -> None:
    """A store may give a name to another account, whose hash happens to be the same."""
    users = HeldUsers(ALICE, Account("alicia", ALICE.password_hash))
    users.aliases["a@example.org"] = "alice"
    scheme = basic_scheme(users)
    for account in ("alice", "alicia"):
        users.aliases["a@example.org"] = account
        await accepted_principal(scheme, "a@example.org")
        await accepted_principal(scheme, "a@example.org")

    known = [await scheme._logged_in.knows(name, "192.0.2.7") for name in ("alice", "alicia", "a@example.org")]

    assert (known, users.hasher.count) == ([True, True, False], 1)


async def test_a_throttle_that_overrides_a_method_is_asked_by_it() -> None:
    """``allow_now`` and ``knows_now`` would bypass what a subclass does in ``allow`` and ``knows``."""
    asked: list[str] = []

    class Throttle(LoginThrottle):
        async def allow(self, *args: Any, **options: Any) -> Exceeded | None:
            asked.append("allow")
            return Exceeded(7, "mine") if len(asked) > 3 else await super().allow(*args, **options)

        async def knows(self, *args: Any, **options: Any) -> bool:
            asked.append("knows")
            return await super().knows(*args, **options)

    scheme = basic_scheme(HeldUsers(ALICE), throttle=Throttle(clock=ManualClock(1000)))

    outcomes = [await log_in(scheme) for _ in range(4)]

    assert asked == ["knows", "allow", "allow", "allow"]
    assert [type(outcome) for outcome in outcomes] == [Accepted] * 3 + [Rejected]
    assert outcomes[-1] == Rejected(ATTEMPTS_EXCEEDED, "alice", {"retry_after": 7, "bucket": "mine"})


async def test_a_throttle_that_overrides_how_attempts_are_counted_is_asked_by_that() -> None:
    """``acquire_now`` and ``refund_now`` would bypass what a subclass does in ``acquire`` and ``refund``."""
    asked: list[str] = []

    class Throttle(LoginThrottle):
        async def acquire(self, *args: Any, **options: Any) -> CountedAttempt | Exceeded:
            asked.append("acquire")
            return await super().acquire(*args, **options)

        async def refund(self, *args: Any, **options: Any) -> None:
            asked.append("refund")
            await super().refund(*args, **options)

    scheme = basic_scheme(HeldUsers(ALICE), throttle=Throttle(clock=ManualClock(1000)))

    outcomes = [await log_in(scheme, "alice", password) for password in ("wonderland", "wrong")]

    assert [type(outcome) for outcome in outcomes] == [Accepted, Rejected]
    assert asked == ["acquire", "refund", "acquire"]


@pytest.mark.parametrize("known", [True, False])
async def test_an_unknown_name_is_slowed_as_a_known_one(*, known: bool) -> None:
    """Guesses at an unknown name are throttled after as many attempts as guesses at a known one."""
    scheme = basic_scheme(Users(ALICE), throttle=throttle())

    codes = [await rejection_code(scheme, "alice" if known else "nobody", f"guess{number}") for number in range(5)]

    assert codes.index("attempts.exceeded") == 3


async def test_all_names_of_one_account_are_one() -> None:
    """All names of one account share its attempts. Names that the store does not know count by their spelling."""
    users = Users(ALICE)
    users.aliases |= {"a@example.org": "alice", "+44 20 7946 0000": "alice"}
    scheme = basic_scheme(users, throttle=throttle())

    names = ["alice", "a@example.org", "+44 20 7946 0000", "ALICE", "\uff21lice"]
    codes = [await rejection_code(scheme, name, f"guess {name}") for name in names]

    assert codes == ["password.wrong"] * 3 + ["attempts.exceeded"] * 2


@pytest.mark.parametrize("error", [BackendUnavailable("down", reason=STORE_UNAVAILABLE), LookupError("odd")])
async def test_an_outage_costs_no_attempt(error: Exception) -> None:
    """An error of the store refunds the attempt, because the client learned nothing."""

    class Down(Ldap):
        async def check(self, username: str, password: str) -> Any:
            raise error

    scheme = basic_scheme(Down(None), throttle=throttle())

    for _ in range(20):
        with pytest.raises(type(error)):
            await log_in(scheme)


async def test_a_client_that_disconnects_early_has_used_an_attempt() -> None:
    """A request that is cancelled costs an attempt. Otherwise hashing could be had for nothing."""
    users = Users(ALICE)
    scheme = basic_scheme(users, throttle=throttle(), deadline=60)
    users.hasher.released.clear()

    for number in range(3):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(log_in, scheme, "alice", f"guess{number}")
            await wait_until(lambda number=number: scheme.health()["working"] == 1)  # type: ignore[misc]
            await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()
    users.hasher.released.set()

    assert await rejection_code(scheme) == "attempts.exceeded"


async def test_one_limiter_may_serve_several_schemes() -> None:
    """Two schemes with one throttle share their attempts."""
    attempts = throttle()
    one, other = basic_scheme(Users(ALICE), throttle=attempts), basic_scheme(Users(ALICE), throttle=attempts)

    codes = [await rejection_code(scheme, "alice", f"{number}") for number in range(2) for scheme in (one, other)]

    assert codes == ["password.wrong"] * 3 + ["attempts.exceeded"]


async def test_the_default_throttle_allows_ten_attempts() -> None:
    """By default, ten attempts are allowed at once, by the clock of the scheme."""
    clock = ManualClock(1000)
    scheme = basic_scheme(Users(ALICE), clock=clock)
    codes = [await rejection_code(scheme, "alice", f"guess{number}") for number in range(11)]

    clock.move(30)

    assert codes == ["password.wrong"] * 10 + ["attempts.exceeded"]
    assert (await accepted_principal(scheme)).subject == "alice"


async def test_the_throttle_can_be_switched_off() -> None:
    """With ``throttle=None`` guessing is not slowed, for apps that have a limiter in front."""
    scheme = basic_scheme(Users(ALICE), throttle=None)

    assert {await rejection_code(scheme, "alice", f"guess{number}") for number in range(100)} == {"password.wrong"}
    await accepted_principal(scheme)


# --- Many at the same time --------------------------------------------------------------------------------------------


async def log_in_together(scheme: Basic, users: Users, logins: list[tuple[str, str]]) -> list[Outcome]:
    """The outcome of logins at the same time: no hash ends before all of them have started."""
    users.hasher.released.clear()

    async def release() -> None:
        users.hasher.released.set()

    return await run_together([partial(log_in, scheme, *login) for login in logins], release)


async def test_parallel_requests_with_the_right_password_all_pass() -> None:
    """Parallel requests with the right password all pass, and cost one attempt and one hash together."""
    users = Users(ALICE)
    scheme = basic_scheme(users, throttle=throttle(), deadline=60)

    outcomes = await log_in_together(scheme, users, [("alice", "wonderland")] * 50)

    assert [type(one) for one in outcomes] == [Accepted] * 50
    assert users.hasher.count == 1


async def test_parallel_requests_with_the_same_wrong_password_are_one_guess() -> None:
    """A wrong password that is sent a hundred times at once is hashed once, and costs one attempt."""
    users = Users(ALICE)
    scheme = basic_scheme(users, throttle=throttle(), deadline=60)

    outcomes = await log_in_together(scheme, users, [("alice", "wrong"), ("nobody", "wrong")] * 50)

    assert users.hasher.count == 2
    assert [one.reason.code for one in outcomes if isinstance(one, Rejected)] == ["password.wrong", "user.unknown"] * 50


async def test_of_parallel_guesses_no_more_pass_than_the_burst() -> None:
    """Parallel guesses are counted before they are hashed, so no more than the burst are hashed."""
    users = Users(ALICE)
    scheme = basic_scheme(users, throttle=throttle(), deadline=60)

    outcomes = await log_in_together(scheme, users, [("alice", f"guess{number}") for number in range(200)])

    codes = [one.reason.code for one in outcomes if isinstance(one, Rejected)]
    assert (codes.count("password.wrong"), codes.count("attempts.exceeded")) == (3, 197)
    assert users.hasher.count == 3


async def test_a_login_that_shares_a_verdict_uses_its_own_account() -> None:
    """A role that changed while the first login was hashed counts for the second login, which shares its verdict."""
    users = Users(ALICE)
    scheme = basic_scheme(users, deadline=60)
    users.hasher.released.clear()
    outcomes: dict[str, Outcome] = {}

    async def one(name: str) -> None:
        outcomes[name] = await log_in(scheme)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(one, "first")
        await anyio.wait_all_tasks_blocked()
        users.accounts["alice"] = Account("alice", ALICE.password_hash, roles={"reader"})
        tasks.start_soon(one, "second")
        await anyio.wait_all_tasks_blocked()
        users.accounts["alice"] = Account("alice", ALICE.password_hash, disabled=True)
        tasks.start_soon(one, "third")
        await anyio.wait_all_tasks_blocked()
        users.hasher.released.set()

    first, second, third = outcomes["first"], outcomes["second"], outcomes["third"]
    assert isinstance(first, Accepted)
    assert isinstance(second, Accepted)
    assert isinstance(third, Rejected)
    assert (first.principal.roles, second.principal.roles) == (frozenset({"admin"}), frozenset({"reader"}))
    assert third.reason is ACCOUNT_DISABLED
    assert users.hasher.count == 1


async def test_the_same_password_from_another_place_is_another_attempt() -> None:
    """Each network has its own attempts at an account."""
    users = Users(ALICE)
    scheme = basic_scheme(users, throttle=throttle(), deadline=60, remember=None)
    users.hasher.released.clear()

    async def release() -> None:
        users.hasher.released.set()

    works = [partial(log_in, scheme, "alice", "wonderland", f"192.0.2.{place}") for place in range(4)]
    outcomes = await run_together(works, release)

    assert [type(one) for one in outcomes] == [Accepted] * 4
    assert users.hasher.count == 4


# --- Outdated hashes --------------------------------------------------------------------------------------------------

BOB = Account("bob", "$old$builder")


async def test_a_new_hash_is_handed_over_after_the_login() -> None:
    """``on_rehash`` gets the account and a new hash once, after a login that was hashed and whose hash was outdated."""
    lines: list[tuple[Account, str]] = []

    async def save(account: Account, renewed: str) -> None:
        lines.append((account, renewed))

    users = Users(ALICE, BOB)
    scheme = basic_scheme(users, on_rehash=save)

    await rejection_code(scheme, "bob", "wrong")
    await accepted_principal(scheme)
    for _ in range(3):
        await accepted_principal(scheme, "bob", "builder")

    assert lines == [(BOB, "$new$builder")]


async def test_of_parallel_logins_one_hands_it_over() -> None:
    """Of parallel logins, only the one that was hashed calls ``on_rehash``."""
    events: list[str] = []

    async def save(account: Account, renewed: str) -> None:
        events.append(renewed)

    users = Users(BOB)
    scheme = basic_scheme(users, on_rehash=save, deadline=60)

    outcomes = await log_in_together(scheme, users, [("bob", "builder")] * 10)

    assert [type(one) for one in outcomes] == [Accepted] * 10
    assert events == ["$new$builder"]


async def _fails(account: Account, renewed: str) -> None:
    raise LookupError(renewed)


async def _hangs(account: Account, renewed: str) -> None:
    await anyio.sleep_forever()


_returns_at_once = lambda account, renewed: None  # noqa: E731 - of a def it is seen that it is not async


class AnyUsers:
    """A store that finds everybody, with a hash that one of two functions makes of the name."""

    hasher = LibpassHasher()

    async def find(self, username: str) -> Account | None:
        return Account(username, "hunter2" if username.startswith("plain") else f"$1$hunter2${username}")


async def test_why_a_stored_hash_cannot_be_read_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """N10: one ERROR for each format, with the fix, and nothing of a hash: a database shows none before a login."""
    scheme = basic_scheme(AnyUsers(), throttle=None)

    for username in ("plain1", "md5-1", "plain2", "md5-2"):
        assert await rejection_code(scheme, username, "x") == "password.hash_unreadable"

    assert [(record.levelname, record.getMessage().partition(";")[0]) for record in caplog.records] == [
        ("ERROR", "a stored hash cannot be read: it is plain text"),
        ("ERROR", "a stored hash cannot be read: it is MD5 crypt"),
    ]
    assert "hunter2" not in caplog.text


@pytest.mark.parametrize(
    ("save", "error"), [(_fails, "LookupError"), (_hangs, "BackendUnavailable"), (_returns_at_once, "TypeError")]
)
async def test_an_error_of_the_rehash_callback_changes_nothing(
    caplog: pytest.LogCaptureFixture, save: Any, error: str
) -> None:
    """The login succeeds although ``on_rehash`` failed. The log has the type of the error, and nothing of the hash."""
    scheme = basic_scheme(Users(BOB), on_rehash=save, deadline=0.25)

    await accepted_principal(scheme, "bob", "builder")

    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("ERROR", f"on_rehash failed: {error}")
    ]


# --- Directories ------------------------------------------------------------------------------------------------------


async def test_a_directory_names_the_account() -> None:
    """The account that the directory returns is the principal. Parallel logins with one password ask the directory
    once."""
    ldap = Ldap(ALICE)
    scheme = basic_scheme(ldap, throttle=throttle())

    outcomes = await run_together([partial(log_in, scheme)] * 10, _async)

    assert [one.principal.subject for one in outcomes] == ["alice"] * 10
    assert scheme._pool._started == 0


async def test_after_a_login_has_gone_an_equal_one_asks_the_directory() -> None:
    """A client that gives up while the directory is asked takes no answer away from others."""

    class Slow(Ldap):
        async def check(self, username: str, password: str) -> Any:
            self.calls.append((username, password))
            if len(self.calls) == 1:
                await anyio.sleep_forever()
            return self.answer

    ldap, outcomes, leaving = Slow(ALICE), list[Outcome](), anyio.CancelScope()
    scheme = basic_scheme(ldap, throttle=throttle(), deadline=60)

    async def first() -> None:
        with leaving:
            await log_in(scheme)

    async def second() -> None:
        outcomes.append(await log_in(scheme))

    async with anyio.create_task_group() as tasks:
        for login in (first, second):
            tasks.start_soon(login)
            await anyio.wait_all_tasks_blocked()
        leaving.cancel()

    assert [type(outcome) for outcome in outcomes] == [Accepted]
    assert len(ldap.calls) == 2


async def test_a_directory_that_returns_nonsense_accepts_nobody() -> None:
    """A directory that returns neither an account nor a reason accepts nobody."""
    for nonsense in (None, True, "alice", ("alice", "x")):
        answer, (record,) = await ask(basic_scheme(Ldap(nonsense)), "alice", "wonderland", log=False)

        assert (answer.status, record.reason) == (503, "backend.failed")


async def test_a_store_that_returns_no_account_object_accepts_nobody() -> None:
    """A store that returns anything but an ``Account``, such as a database row, accepts nobody."""
    users = Users()
    users.accounts["alice"] = ("alice", "$fast$wonderland")  # type: ignore[assignment]

    answer, (record,) = await ask(basic_scheme(users), "alice", "wonderland", log=False)

    assert (answer.status, record.reason) == (503, "backend.failed")


# --- As a service -----------------------------------------------------------------------------------------------------


async def test_its_threads_start_with_the_app() -> None:
    """The threads for hashing start before the first login, and ``health`` reports them."""
    scheme = basic_scheme(threads=2)
    guard = Guard(scheme, log=False)

    before = scheme._pool._started
    async with guard.running():
        started = scheme._pool._started

    assert (before, started) == (0, 2)
    assert scheme.health() == {
        "threads": 2,
        "working": 0,
        "waiting": 0,
        "waiting_known": 0,
        "most_waiting": 1000,
        "average_seconds": None,
    }


async def test_it_works_without_being_run() -> None:
    """The scheme works without a lifespan, as in a mounted app."""
    assert (await accepted_principal(basic_scheme())).subject == "alice"


def test_formats_that_block_the_interpreter_are_logged_at_start(caplog: pytest.LogCaptureFixture) -> None:
    """One WARNING at the start names the hash formats that hold the interpreter lock, if there are any."""
    basic_scheme(memory_users(ALICE, Account("bob", "$slow$x"), Account("carol", "$slow-512$x")))
    basic_scheme(memory_users())

    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage().endswith("holds the interpreter lock, so all requests wait: $slow$, $slow-512$")


async def test_basic_is_sent_by_browsers_and_explains_no_403() -> None:
    """``sent_by_browsers`` makes the guard check the origin of a request, and a 403 carries no Basic challenge."""
    scheme = basic_scheme()

    assert (scheme.name, scheme.sent_by_browsers, scheme.challenges_on_403) == ("basic", True, False)
    assert len(scheme.challenges(None, Denied(CREDENTIALS_MISSING))) == 1  # type: ignore[arg-type]
