"""Basic clients and password files that do not keep to RFC 7617: which option each of them needs, and what it costs."""

from __future__ import annotations

from base64 import b64encode, urlsafe_b64encode
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from passlib.hash import bcrypt

from authguard.accounts.account import Account
from authguard.accounts.htpasswd import HtpasswdFile
from authguard.concurrency.token_bucket import Rate
from authguard.errors import ConfigurationError
from authguard.model import Accepted, Moment, Rejected
from authguard.reasons import PASSWORD_WRONG
from authguard.request import AuthRequest
from authguard.schemes.basic import Basic
from authguard.schemes.throttle import LoginThrottle
from authguard.testing import ManualClock
from authguard.wire.authorization import Credentials
from tests.support.asgi import header_list, http_scope
from tests.support.clock import NOW
from tests.support.coroutines import run_together
from tests.support.schemes.basic import (
    HeldUsers,
    Ldap,
    SpyHasher,
    Users,
    authenticate,
    basic_scheme,
    log_in,
    log_in_now,
    memory_users,
    user_pass,
)

NFC, NFD = "p\u00e4ssw\u00f6rd", "pa\u0308sswo\u0308rd"
ALICE = Account("alice", f"$fast${NFC}")
BOB = Account("bob", f"$fast${NFD}")  # made from the bytes that macOS types
CARA = Account("cara", "$fast$")  # a hash of the empty password
DAN = Account("dan", "")  # no password at all
EVE = Account("eve", f"$fast${NFD}", disabled=True)
FRITZ = Account("fr\u00e9d\u00e9ric", f"$fast${NFC}")


def users(hasher: SpyHasher | None = None) -> HeldUsers:
    """A store of these accounts, which has them in memory."""
    return HeldUsers(ALICE, BOB, CARA, DAN, EVE, FRITZ, hasher=hasher)


def latin1(username: str, password: str) -> bytes:
    """The credentials that a client of ISO-8859-1 sends."""
    return b64encode(f"{username}:{password}".encode("latin-1"))


def facts_of(outcome: Any) -> Any:
    """What was tolerated of an accepted request; the reason code of another one; "later" if it must be waited for."""
    if isinstance(outcome, Rejected):
        return outcome.reason.code
    return outcome.facts.get("tolerated", {}) if isinstance(outcome, Accepted) else "later"


def now(scheme: Basic, rest: bytes) -> Any:
    """What the lean path says to these credentials."""
    request = AuthRequest(http_scope(headers=header_list(), client=("192.0.2.7", 1)), path="/", moment=Moment(NOW, 60))
    return facts_of(scheme.authenticate_now(request, Credentials("basic", rest)))


def slow_throttle(burst: int) -> LoginThrottle:
    """A throttle of so many attempts, whose clock stands still."""
    return LoginThrottle(pair=Rate(burst, 1000.0), clock=ManualClock(1000))


# --- ISO-8859-1 -------------------------------------------------------------------------------------------------------


@pytest.mark.rfc("7617-5")
@pytest.mark.parametrize("username", ["alice", "fr\u00e9d\u00e9ric"])
async def test_iso_8859_1_is_read_by_name(username: str) -> None:
    """R020: bytes that are no UTF-8 are malformed. With ``latin1`` they are ISO-8859-1, and the record says so."""
    scheme, strict = basic_scheme(users(), latin1=True), basic_scheme(users())

    outcome = await authenticate(scheme, latin1(username, NFC))
    refused = await authenticate(strict, latin1(username, NFC))

    assert facts_of(outcome) == {"charset": "ISO-8859-1"}
    assert isinstance(outcome, Accepted)
    assert outcome.principal.subject == username
    assert isinstance(refused, Rejected)
    assert (refused.reason.code, refused.facts["problem"]) == ("credentials.malformed", "the user-pass is not UTF-8")


async def test_utf_8_stays_utf_8() -> None:
    """R020: a client of UTF-8 is read as before, is not recorded as tolerated, and its bytes have no second reading."""
    hasher = SpyHasher()
    scheme = basic_scheme(users(hasher), latin1=True)

    assert facts_of(await log_in(scheme, "alice", NFC)) == {}
    assert facts_of(await authenticate(scheme, latin1("alice", "\u00c3\u00a4"))) == "password.wrong"
    assert hasher.verified == [(NFC, ALICE.password_hash), ("\u00e4", ALICE.password_hash)]


async def test_both_encodings_are_one_attempt_at_one_name() -> None:
    """R020: attempts are counted by the decoded name, one for each request, and each costs one hash."""
    hasher = SpyHasher()
    scheme = basic_scheme(users(hasher), latin1=True, throttle=slow_throttle(2))
    name = FRITZ.subject

    codes = [
        facts_of(await log_in(scheme, name, "wrong")),
        facts_of(await authenticate(scheme, latin1(name, "wr\u00f6ng"))),
        facts_of(await authenticate(scheme, latin1(name, "wr\u00f6ng again"))),
        facts_of(await log_in(scheme, name, "wrong again")),
    ]

    assert codes == ["password.wrong", "password.wrong", "attempts.exceeded", "attempts.exceeded"]
    assert hasher.count == 2


async def test_an_unknown_name_in_iso_8859_1_costs_one_hash() -> None:
    """R020: a known and an unknown name cost one hash each."""
    hasher = SpyHasher()
    scheme = basic_scheme(memory_users(ALICE, hasher=hasher), latin1=True)

    assert facts_of(await authenticate(scheme, latin1("alice", "wr\u00f6ng"))) == "password.wrong"
    assert facts_of(await authenticate(scheme, latin1("nob\u00f6dy", "wr\u00f6ng"))) == "user.unknown"
    assert hasher.count == 2


async def test_a_cached_login_is_tolerated_each_time() -> None:
    """R020: the password is the same in both encodings, so it is hashed once; only the odd one is recorded as such."""
    hasher = SpyHasher()
    scheme = basic_scheme(users(hasher), latin1=True)
    await authenticate(scheme, latin1("alice", NFC))

    assert now(scheme, latin1("alice", NFC)) == {"charset": "ISO-8859-1"}
    assert facts_of(log_in_now(scheme, "alice", NFC)) == {}
    assert hasher.count == 1


@pytest.mark.parametrize("text", [b"alice:\xe4\x85", b"alice:\xe4\n", b"alice\xe4"])
async def test_what_is_malformed_in_iso_8859_1_too_is_malformed(text: bytes) -> None:
    """R020: a control character and a missing colon are refused in this encoding too. So is Windows-1252, whose letters
    at 0x80 to 0x9F are control characters."""
    assert facts_of(await authenticate(basic_scheme(users(), latin1=True), b64encode(text))) == "credentials.malformed"


@pytest.mark.parametrize("rest", [b"YWxpY2U6eA", b64encode(b"alice"), b64encode(b"alice:\n")])
async def test_every_other_error_stays_one(rest: bytes) -> None:
    """R020: base64 out of its grammar, and UTF-8 without a colon or with a control character, get no second reading."""
    assert facts_of(await authenticate(basic_scheme(users(), latin1=True), rest)) == "credentials.malformed"


# --- Base64 in another spelling ---------------------------------------------------------------------------------------


@pytest.mark.rfc("7617-3")
@pytest.mark.parametrize(
    ("text", "said"),
    [("bob:1", "unpadded"), ("bob:1234", "unpadded"), ("bob:\u07ff", "URL-safe"), ("bob:~~?", "URL-safe")],
)
async def test_base64_may_lack_its_padding_by_name(text: str, said: str) -> None:
    """Base64 without padding, or of the alphabet for URLs, is malformed; with ``loose_base64`` it is read and
    recorded."""
    rest = urlsafe_b64encode(text.encode()).rstrip(b"=")
    store = Users(Account("bob", f"$fast${text[4:]}"))

    assert facts_of(await authenticate(basic_scheme(store), rest)) == "credentials.malformed"
    assert facts_of(await authenticate(basic_scheme(store, loose_base64=True), rest)) == {"base64": said}


@pytest.mark.parametrize("rest", [b"Ym9iOjE===", b"Ym9iO", b"Ym9iOjF=", b"Ym9iOj", b"Ym9iOj?", b"Ym9i", b"=", b""])
async def test_base64_stays_canonical(rest: bytes) -> None:
    """With ``loose_base64`` other padding than none or all, and unused bits that are set, stay malformed."""
    scheme = basic_scheme(Users(Account("bob", "$fast$1")), loose_base64=True)

    assert facts_of(await authenticate(scheme, rest)) == "credentials.malformed"


async def test_one_login_has_one_entry_in_every_spelling() -> None:
    """A password is hashed once, however its base64 is spelled, and attempts are counted together."""
    hasher = SpyHasher()
    scheme = basic_scheme(users(hasher), loose_base64=True, latin1=True, throttle=slow_throttle(2))
    assert facts_of(await log_in(scheme, "alice", NFC)) == {}

    assert now(scheme, user_pass("alice", NFC).rstrip(b"=")) == {"base64": "unpadded"}
    assert now(scheme, latin1("alice", NFC).rstrip(b"=")) == {"base64": "unpadded", "charset": "ISO-8859-1"}
    codes = [facts_of(await authenticate(scheme, user_pass("alice", word).rstrip(b"="))) for word in ("1", "2", "34")]
    assert codes == ["password.wrong", "password.wrong", "attempts.exceeded"]
    assert hasher.count == 3


# --- Empty ------------------------------------------------------------------------------------------------------------

KEY = "sk_test_1"


@pytest.mark.rfc("7617-3")
async def test_an_api_key_may_be_the_name() -> None:
    """R021: ``sk_test_1:`` is ``password.empty`` and the directory is not asked. With ``empty_password`` it is."""
    directory, unasked = Ldap(Account("customer", "")), Ldap(Account("customer", ""))

    outcome = await log_in(basic_scheme(directory, empty_password=True), KEY, "")
    refused = await log_in(basic_scheme(unasked), KEY, "")

    assert (facts_of(outcome), directory.calls) == ({"password": "empty"}, [(KEY, "")])
    assert (facts_of(refused), unasked.calls) == ("password.empty", [])
    assert isinstance(refused, Rejected)
    assert refused.subject == KEY  # without the option it is the name of a person who sent no password


async def test_a_refused_api_key_is_not_recorded() -> None:
    """R021: a name without a password may be a key, so no refusal names it: a wrong one, and one after too many."""
    scheme = basic_scheme(Ldap(PASSWORD_WRONG), empty_password=True, throttle=slow_throttle(1))

    outcomes = [await log_in(scheme, KEY, "") for _ in range(2)]
    named = await log_in(scheme, "alice", "wrong")

    assert [facts_of(outcome) for outcome in outcomes] == ["password.wrong", "attempts.exceeded"]
    assert [outcome.subject for outcome in (*outcomes, named) if isinstance(outcome, Rejected)] == [None, None, "alice"]


async def test_a_disabled_api_key_is_recorded_by_its_account() -> None:
    """R021: the record of a disabled account has the name of the account, and not the key."""
    scheme = basic_scheme(Ldap(Account("customer", "", disabled=True)), empty_password=True)

    outcome = await log_in(scheme, KEY, "")

    assert isinstance(outcome, Rejected)
    assert (outcome.reason.code, outcome.subject) == ("account.disabled", "customer")


@pytest.mark.rfc("7617-3")
async def test_an_api_key_may_be_the_password() -> None:
    """R021: an empty name is malformed. With ``empty_username`` the directory is asked, and the record says so."""
    directory = Ldap(Account("customer", ""))

    outcome = await log_in(basic_scheme(directory, empty_username=True), "", KEY)

    assert (facts_of(outcome), directory.calls) == ({"username": "empty"}, [("", KEY)])
    assert facts_of(await log_in(basic_scheme(Ldap(None)), "", KEY)) == "credentials.malformed"
    assert facts_of(await log_in(basic_scheme(Ldap(None), empty_password=True), "", KEY)) == "credentials.malformed"


async def test_both_may_be_empty_where_both_are_named() -> None:
    """R021: the two options are apart: each permits its own part to be empty."""
    directory = Ldap(Account("customer", ""))
    scheme = basic_scheme(directory, empty_username=True, empty_password=True)

    assert facts_of(await log_in(scheme, "", "")) == {"username": "empty", "password": "empty"}
    assert facts_of(await log_in(basic_scheme(directory, empty_username=True), "", "")) == "password.empty"
    assert facts_of(await log_in(scheme, "alice", "x")) == {}


async def test_a_hash_of_the_empty_password_matches_by_name() -> None:
    """R021: an account whose hash is of the empty password logs in with ``empty_password``, and not without."""
    hasher = SpyHasher()
    scheme, strict = basic_scheme(users(hasher), empty_password=True), basic_scheme(users())

    assert facts_of(await log_in(scheme, "cara", "")) == {"password": "empty"}
    assert facts_of(log_in_now(scheme, "cara", "")) == {"password": "empty"}
    assert hasher.count == 1
    assert facts_of(await log_in(strict, "cara", "")) == "password.empty"


@pytest.mark.parametrize(("username", "code"), [("dan", "password.wrong"), ("nobody", "user.unknown")])
async def test_no_hash_is_not_a_hash_of_the_empty_password(username: str, code: str) -> None:
    """R021: an account without a hash, and an unknown name, are refused, and cost one hash as a wrong password does."""
    hasher = SpyHasher()
    scheme = basic_scheme(users(hasher), empty_password=True)
    await log_in(scheme, "cara", "wrong")

    assert facts_of(await log_in(scheme, username, "")) == code
    assert hasher.count == 2


# --- Hashes of another Unicode form -----------------------------------------------------------------------------------


@pytest.mark.rfc("7617-5")
async def test_a_hash_of_a_decomposed_password_matches_its_bytes_by_name(tmp_path: Path) -> None:
    """R001: the bytes that bcrypt hashed log in with ``unnormalized_hashes``, and are ``password.wrong`` without."""
    path = tmp_path / "users"
    path.write_text(f"bob:{bcrypt.using(rounds=4).hash(NFD)}\n", encoding="utf-8")

    scheme, strict = basic_scheme(HtpasswdFile(path), unnormalized_hashes=True), basic_scheme(HtpasswdFile(path))

    assert facts_of(await log_in(scheme, "bob", NFD)) == {"password": "not in NFC"}
    assert facts_of(await log_in(scheme, "bob", NFC)) == "password.wrong"
    assert facts_of(await log_in(strict, "bob", NFD)) == "password.wrong"


@pytest.mark.parametrize(
    ("username", "password", "said", "hashes"),
    [
        ("alice", NFC, {}, 1),
        ("alice", NFD, {}, 1),
        ("bob", NFD, {"password": "not in NFC"}, 2),
        ("bob", NFC, "password.wrong", 1),
        ("bob", NFD + "!", "password.wrong", 2),
        ("alice", "wrong", "password.wrong", 1),
        ("nobody", "wrong", "user.unknown", 1),
        ("nobody", NFD, "user.unknown", 2),
        ("dan", NFD, "password.wrong", 2),
        ("eve", NFD, "account.disabled", 2),
        ("eve", NFD + "!", "password.wrong", 2),
    ],
)
async def test_a_password_that_is_not_in_nfc_costs_at_most_two_hashes(
    username: str, password: str, said: Any, hashes: int
) -> None:
    """R001: the second hash is computed only for a password that was not sent in NFC and is wrong in NFC, and for an
    unknown name as for a known one."""
    hasher = SpyHasher()
    scheme = basic_scheme(memory_users(ALICE, BOB, DAN, EVE, hasher=hasher), unnormalized_hashes=True)

    assert facts_of(await log_in(scheme, username, password)) == said
    assert hasher.count == hashes


async def test_both_forms_are_one_attempt() -> None:
    """R001: two hashes count as one attempt, and a right password gives it back."""
    hasher = SpyHasher()
    scheme = basic_scheme(users(hasher), unnormalized_hashes=True, throttle=slow_throttle(2), remember=None)

    codes = [facts_of(await log_in(scheme, "bob", password)) for password in (NFD, NFD + "1", NFD + "2", NFD + "3")]

    assert codes == [{"password": "not in NFC"}, "password.wrong", "password.wrong", "attempts.exceeded"]
    assert hasher.count == 6


async def test_the_cache_keeps_both_forms_apart() -> None:
    """R001: what matched as it was sent is remembered for that form alone, and answered at once."""
    hasher = SpyHasher()
    scheme = basic_scheme(users(hasher), unnormalized_hashes=True)
    await log_in(scheme, "bob", NFD)

    assert facts_of(log_in_now(scheme, "bob", NFD)) == {"password": "not in NFC"}
    assert facts_of(log_in_now(scheme, "bob", NFC)) == "later"
    assert facts_of(await log_in(scheme, "bob", NFC)) == "password.wrong"
    assert hasher.count == 3


async def test_what_matched_in_nfc_is_remembered_for_every_form() -> None:
    """R001: a password in another form that matches in NFC is a usual login: not tolerated, and one entry for both."""
    hasher = SpyHasher()
    scheme = basic_scheme(users(hasher), unnormalized_hashes=True)
    await log_in(scheme, "alice", NFD)

    assert (facts_of(log_in_now(scheme, "alice", NFD)), facts_of(log_in_now(scheme, "alice", NFC))) == ({}, {})
    assert hasher.count == 1


async def test_a_strict_scheme_has_one_entry_for_both_forms() -> None:
    """R001: without the option both forms are the same password, as before."""
    hasher = SpyHasher()
    scheme = basic_scheme(users(hasher))
    await log_in(scheme, "alice", NFD)

    assert (facts_of(log_in_now(scheme, "alice", NFC)), hasher.count) == ({}, 1)


@pytest.mark.parametrize("username", ["alice", "bob"])
async def test_a_password_that_was_right_before_needs_no_attempt(username: str) -> None:
    """R001: an owner whose password is not in NFC gets in although a stranger has used up the attempts."""
    clock = ManualClock(1000)
    scheme = basic_scheme(
        users(),
        unnormalized_hashes=True,
        clock=clock,
        throttle=LoginThrottle(pair=Rate(1, 80_000.0), clock=ManualClock(1000)),
    )
    assert isinstance(await log_in(scheme, username, NFD), Accepted)
    clock.move(61)

    assert facts_of(await log_in(scheme, username, "guess")) == "password.wrong"
    assert facts_of(await log_in(scheme, username, "guess 2")) == "attempts.exceeded"
    assert isinstance(await log_in(scheme, username, NFD), Accepted)


async def test_logins_at_the_same_time_share_both_hashes() -> None:
    """R001: equal logins share their hashes, and each is recorded as tolerated."""
    hasher = SpyHasher()
    scheme = basic_scheme(Users(BOB, hasher=hasher), unnormalized_hashes=True)
    hasher.released.clear()

    async def release() -> None:
        hasher.released.set()

    outcomes = await run_together([partial(log_in, scheme, "bob", NFD)] * 3, release)

    assert [facts_of(outcome) for outcome in outcomes] == [{"password": "not in NFC"}] * 3
    assert hasher.count == 2


async def test_both_forms_at_the_same_time_are_two_logins() -> None:
    """R001: a login in NFC and one in another form share no result, because a hash may match one of them alone."""
    hasher = SpyHasher()
    scheme = basic_scheme(Users(BOB, hasher=hasher), unnormalized_hashes=True)
    hasher.released.clear()

    async def release() -> None:
        hasher.released.set()

    outcomes = await run_together([partial(log_in, scheme, "bob", password) for password in (NFC, NFD)], release)

    assert [facts_of(outcome) for outcome in outcomes] == ["password.wrong", {"password": "not in NFC"}]


async def test_a_match_of_another_form_asks_for_a_new_hash() -> None:
    """R001: ``on_rehash`` gets a hash of the password in NFC, so that the option is needed once for each account."""
    made: list[tuple[str, str]] = []

    async def keep(account: Account, new_hash: str) -> None:
        made.append((account.subject, new_hash))

    scheme = basic_scheme(users(), unnormalized_hashes=True, on_rehash=keep)
    for username in ("alice", "bob"):
        await log_in(scheme, username, NFD)

    assert made == [("bob", f"$new${NFC}")]


async def test_it_works_without_a_throttle() -> None:
    """R001: a scheme whose throttle is off accepts the same."""
    scheme = basic_scheme(users(), unnormalized_hashes=True, throttle=None, remember=None)

    assert facts_of(await log_in(scheme, "bob", NFD)) == {"password": "not in NFC"}
    assert facts_of(await log_in(scheme, "bob", NFD + "!")) == "password.wrong"


def test_a_directory_shows_no_hash() -> None:
    """R001: with a ``PasswordCheck`` the option raises: a second question could count as a second guess there."""
    with pytest.raises(ConfigurationError) as caught:
        basic_scheme(Ldap(None), unnormalized_hashes=True)

    assert caught.value.argument == "unnormalized_hashes"


# --- All of them ------------------------------------------------------------------------------------------------------

OPTIONS = ("latin1", "loose_base64", "empty_password", "empty_username", "unnormalized_hashes")


@pytest.mark.parametrize("option", OPTIONS)
def test_an_option_for_old_clients_is_true_or_false(option: str) -> None:
    """A word or a number in place of a flag raises, and the error names the option."""
    with pytest.raises(ConfigurationError) as caught:
        basic_scheme(**{option: 1})

    assert caught.value.argument == option


async def test_a_usual_client_is_never_tolerated() -> None:
    """Under all options together a usual login is as it was: no fact, one hash, and the second one at once."""
    hasher = SpyHasher()
    scheme = basic_scheme(users(hasher), **dict.fromkeys(OPTIONS, True))

    assert facts_of(await log_in(scheme, "alice", NFC)) == {}
    assert facts_of(log_in_now(scheme, "alice", NFC)) == {}
    assert hasher.count == 1


async def test_several_options_are_recorded_together() -> None:
    """The record names everything that was tolerated."""
    directory = Ldap(Account("customer", ""))
    scheme = basic_scheme(directory, latin1=True, empty_password=True)

    assert facts_of(await authenticate(scheme, latin1("k\u00e9y", ""))) == {
        "charset": "ISO-8859-1",
        "password": "empty",
    }
