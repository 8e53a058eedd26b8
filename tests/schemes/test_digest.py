"""The Digest scheme without ASGI: its challenges, whom it accepts, how it answers, and how it uses its store."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from authguard.accounts.account import Account
from authguard.accounts.digest_account import DigestAccount
from authguard.accounts.digest_memory import MemoryDigests
from authguard.concurrency.token_bucket import Rate
from authguard.errors import BackendUnavailable, ConfigurationError
from authguard.model import Accepted, Principal, Rejected
from authguard.reasons import (
    ACCOUNT_DISABLED,
    ATTEMPTS_EXCEEDED,
    CREDENTIALS_MALFORMED,
    CREDENTIALS_MISSING,
    NONCE_STALE,
    RESPONSE_WRONG,
    STORE_TIMEOUT,
    STORE_UNAVAILABLE,
    URI_MISMATCH,
    USER_UNKNOWN,
)
from authguard.schemes.digest.nonce_service import STALE
from authguard.schemes.digest.scheme import Digest
from authguard.schemes.scheme import check_schemes
from authguard.schemes.throttle import LoginThrottle
from authguard.testing import ManualClock
from tests.support.clock import NOW
from tests.support.schemes.basic import basic_scheme, memory_users
from tests.support.schemes.digest import (
    REALM,
    SECRET,
    DigestAccounts,
    answer_challenge,
    authenticate,
    authentication_info,
    challenge,
    challenges,
    digest_request,
    digest_response,
    digest_scheme,
    ha1,
    rejection_code,
    serialize,
    stored_ha1,
    userhash,
)

# --- What it asks for -------------------------------------------------------------------------------------------------


@pytest.mark.rfc("7616-3", "7616-4", "7616-13", "7616-17")
def test_a_challenge_is_written_as_the_rfc_writes_it() -> None:
    """RFC 7616 section 3.3: realm, qop, nonce and opaque are quoted; algorithm, charset, userhash and stale are not."""
    scheme = digest_scheme(DigestAccounts(finds_hashed=True))
    offer = challenge(scheme, NONCE_STALE)
    nonce, opaque = offer.get("nonce"), offer.get("opaque")

    assert (
        offer.to_header()
        == (
            f'Digest realm="orders", qop="auth", algorithm=SHA-256, opaque="{opaque}", charset=UTF-8, userhash=true, '
            f'nonce="{nonce}", stale=true'
        ).encode()
    )


@pytest.mark.rfc("7616-1", "7616-2")
def test_each_algorithm_has_a_challenge_and_a_nonce_of_its_own() -> None:
    """RFC 7616 section 3.7: one challenge for each algorithm, in the order given. The default is SHA-256 alone."""
    scheme = digest_scheme(algorithms=("SHA-256", "SHA-512-256-sess", "MD5"), qop=("auth", "auth-int"))
    offers = challenges(scheme)

    assert [one.get("algorithm") for one in offers] == ["SHA-256", "SHA-512-256-sess", "MD5"]
    assert {one.get("qop") for one in offers} == {"auth,auth-int"}
    assert len({one.get("nonce") for one in offers}) == 3
    assert len({one.get("opaque") for one in offers}) == 1
    assert [one.get("algorithm") for one in challenges(digest_scheme())] == ["SHA-256"]


@pytest.mark.rfc("7616-5")
def test_stale_is_sent_only_where_the_nonce_alone_was_wrong() -> None:
    """``stale=false`` is never sent: leaving it out means the same, and some clients read any value as true."""
    scheme = digest_scheme()
    others = (None, CREDENTIALS_MISSING, CREDENTIALS_MALFORMED, RESPONSE_WRONG, USER_UNKNOWN, ACCOUNT_DISABLED)

    assert {challenge(scheme, why).get("stale") for why in STALE} == {"true"}
    assert {challenge(scheme, why).get("stale") for why in (*others, URI_MISMATCH, ATTEMPTS_EXCEEDED)} == {None}


@pytest.mark.rfc("7616-12")
def test_userhash_is_offered_where_the_store_can_look_one_up() -> None:
    """RFC 7616 section 3.4.4: ``userhash`` is offered only if the store can find an account by the hash of its name."""
    assert challenge(digest_scheme(DigestAccounts(finds_hashed=True))).get("userhash") == "true"
    assert challenge(digest_scheme(DigestAccounts())).get("userhash") is None


@pytest.mark.rfc("7616-6")
def test_the_opaque_outlives_the_secret() -> None:
    """The opaque does not depend on the secret, so a client that sends it after a redeploy is still recognized."""
    one, other = digest_scheme(), digest_scheme(secret="another secret of thirty-two octets")

    assert challenge(one).get("opaque") == challenge(other).get("opaque")
    assert challenge(one).get("opaque") != challenge(digest_scheme(realm="cameras")).get("opaque")


def test_a_guard_with_digest_second_is_warned(caplog: pytest.LogCaptureFixture) -> None:
    """7616-18: a guard warns if Digest is not its first scheme, because some clients read only the first challenge."""
    check_schemes([digest_scheme(), basic_scheme()])
    assert caplog.messages == []

    check_schemes([basic_scheme(), digest_scheme()])
    (message,) = caplog.messages
    assert message.startswith("digest is listed after basic: aiohttp reads only the first WWW-Authenticate line")


# --- Whom it lets in --------------------------------------------------------------------------------------------------


async def test_the_right_response_makes_the_principal_of_the_account() -> None:
    """Subject, roles, scopes and claims come from the account."""
    scheme = digest_scheme()

    outcome = await authenticate(scheme, answer_challenge(challenge(scheme)))

    assert isinstance(outcome, Accepted)
    assert outcome.principal == Principal("alice", roles={"admin"}, scopes={"read"}, scheme="digest")
    assert outcome.principal.claims == {"mail": "alice@example.org"}


ALGORITHMS = ["SHA-256", "SHA-256-sess", "SHA-512-256", "SHA-512-256-sess", "MD5", "MD5-sess"]


@pytest.mark.rfc("7616-1", "7616-11", "7616-14")
@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_the_answer_proves_that_the_server_knows_the_password_too(algorithm: str) -> None:
    """RFC 7616 section 3.5: rspauth, qop, cnonce and nc of the answer are what a client computes with hashlib alone."""
    scheme = digest_scheme(DigestAccounts(algorithm.removesuffix("-sess")), algorithms=[algorithm])
    params = answer_challenge(challenge(scheme), uri="/?a=b", count=3)

    info = await authentication_info(scheme, params, digest_request(query_string=b"a=b"))

    rspauth = digest_response(params, ha1(params, "wonderland"), method="", qop="auth")
    assert info == {"rspauth": rspauth, "qop": "auth", "cnonce": "0a4f113b", "nc": "00000003"}


@pytest.mark.rfc("7616-14")
async def test_the_next_nonce_spares_a_round_trip() -> None:
    """In the last quarter of a nonce's life, the answer hands out the next nonce, and that one is accepted."""
    scheme = digest_scheme()
    offer = challenge(scheme)
    early = await authentication_info(scheme, answer_challenge(offer, count=1), digest_request(NOW + 224))
    late = await authentication_info(scheme, answer_challenge(offer, count=2), digest_request(NOW + 226))

    assert "nextnonce" not in early
    again = answer_challenge(offer, nonce=late["nextnonce"])
    assert "nextnonce" not in await authentication_info(scheme, again, digest_request(NOW + 400))


@pytest.mark.rfc("7616-11")
async def test_a_session_is_handed_no_next_nonce() -> None:
    """A session key is made of its first nonce, and clients differ on what they hash with the next one, so none is
    sent."""
    scheme = digest_scheme(algorithms=("SHA-256-sess",))

    assert "nextnonce" not in await authentication_info(
        scheme, answer_challenge(challenge(scheme)), digest_request(NOW + 299)
    )


@pytest.mark.rfc("7616-12")
async def test_a_hashed_name_is_looked_up() -> None:
    """RFC 7616 section 3.4.4: the principal of a hashed name, and the record of its rejection, have the account's
    name."""
    scheme = digest_scheme(DigestAccounts(finds_hashed=True))
    hashed = userhash("alice")
    offer = challenge(scheme)

    params = {**answer_challenge(offer), "username": hashed.upper(), "userhash": "true"}
    outcome = await authenticate(scheme, params)
    wrong = await authenticate(scheme, answer_challenge(offer, "wrong", username=hashed, userhash="true", count=2))

    assert isinstance(outcome, Accepted)
    assert isinstance(wrong, Rejected)
    assert (outcome.principal.subject, wrong.subject, wrong.reason) == ("alice", "alice", RESPONSE_WRONG)


async def test_a_hashed_name_is_rejected_where_it_was_not_offered() -> None:
    """Without ``userhash`` in the challenge, a hashed name is rejected without a look-up."""
    accounts = DigestAccounts()
    scheme = digest_scheme(accounts)
    hashed = userhash("alice")

    outcome = await authenticate(scheme, answer_challenge(challenge(scheme), username=hashed, userhash="true"))

    assert isinstance(outcome, Rejected)
    assert (outcome.reason, outcome.facts) == (CREDENTIALS_MALFORMED, {"problem": "userhash was not offered"})
    assert accounts.lookups == []


@pytest.mark.rfc("7616-7", "7616-13")
async def test_a_name_outside_ascii_comes_in_utf_8_or_extended() -> None:
    """RFC 7616 section 4: a name outside ASCII may be raw UTF-8, as browsers send it, or ``username*``. It is compared
    in NFC."""
    scheme = digest_scheme()
    login = ("Secret, or not?", "Jäsøn")
    params = answer_challenge(challenge(scheme), *login)
    extended = {**answer_challenge(challenge(scheme), *login), "username": None, "username*": "UTF-8''Ja%CC%88s%C3%B8n"}

    for one in (params, extended):
        outcome = await authenticate(scheme, one)
        assert isinstance(outcome, Accepted)
        assert outcome.principal.subject == "Jäsøn"


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PATCH", "get", "QUERY"])
async def test_the_method_is_digested_as_it_was_sent(method: str) -> None:
    """A response that was computed for one method is wrong for another."""
    scheme = digest_scheme()
    params = answer_challenge(challenge(scheme), method=method)

    other = "HEAD" if method == "GET" else "GET"
    assert await rejection_code(scheme, params, digest_request(method=other)) == "response.wrong"
    await authentication_info(scheme, params, digest_request(method=method))


async def test_a_websocket_handshake_is_a_get_without_a_body() -> None:
    """A WebSocket handshake is digested as a GET with an empty body (RFC 6455 section 4.1), under auth-int too."""
    scheme = digest_scheme(qop=("auth", "auth-int"))
    request = digest_request(type="websocket", scheme="wss", path="/chat", raw_path=b"/chat")

    await authentication_info(scheme, answer_challenge(challenge(scheme), uri="/chat"), request)
    await authentication_info(scheme, answer_challenge(challenge(scheme), uri="/chat", qop="auth-int"), request)


@pytest.mark.rfc("7616-16")
async def test_the_account_is_looked_for_by_name_realm_and_algorithm() -> None:
    """A session algorithm is looked up as its base algorithm, because that is what a store holds."""
    accounts = DigestAccounts("MD5")
    scheme = digest_scheme(accounts, algorithms=("SHA-256", "MD5-sess"))

    await authentication_info(scheme, answer_challenge(challenges(scheme)[1]))

    assert accounts.lookups == [("alice", "orders", "MD5", False)]


# --- Ports ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [BackendUnavailable("down", reason=STORE_UNAVAILABLE), KeyError("alice")])
async def test_what_a_store_raises_passes_through(error: Exception) -> None:
    """An error of the store reaches the guard, which answers 503, and costs no attempt."""
    accounts = DigestAccounts()
    scheme = digest_scheme(accounts, throttle=LoginThrottle(pair=Rate(1, 60.0), clock=ManualClock(1000)))
    kept, accounts.accounts["alice"] = accounts.accounts["alice"], error

    for _ in range(3):
        with pytest.raises(type(error)):
            await authenticate(scheme, answer_challenge(challenge(scheme), "wrong"))

    accounts.accounts["alice"] = kept
    await authentication_info(scheme, answer_challenge(challenge(scheme)))


async def test_a_store_that_has_to_wait_has_a_deadline() -> None:
    """A store without an immediate answer must answer within the deadline."""

    class Slow(DigestAccounts):
        wait = 0.0

        async def find(self, username: str, **asked: Any) -> DigestAccount | None:
            await anyio.sleep(self.wait)
            return await super().find(username, **asked)

    accounts = Slow(answers_at_once=False)
    scheme = digest_scheme(accounts, deadline=30)
    await authentication_info(scheme, answer_challenge(challenge(scheme)))

    accounts.wait = 60
    scheme = digest_scheme(accounts, deadline=0.02)
    with pytest.raises(BackendUnavailable) as caught:
        await authenticate(scheme, answer_challenge(challenge(scheme)))
    assert caught.value.reason is STORE_TIMEOUT


async def test_a_store_of_two_methods_is_enough() -> None:
    """A store needs ``find`` and ``finds_hashed`` only. Its other members are optional."""

    class Least:
        finds_hashed = False

        async def find(self, username: str, *, realm: str, algorithm: str, hashed: bool) -> DigestAccount | None:
            return DigestAccount("alice", stored_ha1("alice", "wonderland"))

    scheme = digest_scheme(Least())
    outcome = await authenticate(scheme, answer_challenge(challenge(scheme)))

    assert isinstance(outcome, Accepted)
    assert (outcome.principal.claims, scheme.roles_given()) == ({}, None)


def test_the_roles_are_those_that_the_store_lists() -> None:
    """``roles_given`` returns the roles of the store, for the audit."""
    assert digest_scheme().roles_given() == {"admin"}


async def test_memory_digests_works_as_a_store() -> None:
    """``MemoryDigests`` finds accounts by their name and by the hash of it."""
    store = MemoryDigests.of_cleartext({"alice": "wonderland"}, realm=REALM, algorithms=("SHA-256", "MD5"))
    scheme = digest_scheme(store, algorithms=("SHA-256", "MD5"))
    sha, md5 = challenges(scheme)

    await authentication_info(scheme, answer_challenge(sha))
    await authentication_info(scheme, answer_challenge(md5))
    await authentication_info(
        scheme, {**answer_challenge(sha, count=2), "username": userhash("alice"), "userhash": "true"}
    )


# --- What is refused while the app is built ---------------------------------------------------------------------------


async def _find(*_: object, **__: object) -> None:
    """Find no account."""


BAD: list[tuple[str, Any]] = [
    ("accounts", None),
    ("accounts", {"alice": "wonderland"}),
    ("accounts", DigestAccounts),
    ("accounts", memory_users()),
    ("accounts", _find),
    ("accounts", MemoryDigests.of_cleartext({"alice": "x"}, realm="cameras")),
    ("accounts", MemoryDigests.of_cleartext({"alice": "x"}, realm=REALM, algorithms=("MD5",))),
    ("realm", 'a "b"'),
    ("secret", None),
    ("secret", "short"),
    ("algorithms", ("SHA-1",)),
    ("algorithms", ("MD5", "SHA-256")),
    ("qop", ("none",)),
    ("life", 0),
    ("life", 86_401),
    ("nonces", {}),
    ("throttle", Rate(1, 1.0)),
    ("throttle", True),
    ("throttle", "off"),
    ("public_prefix", "api"),
    ("public_authority", "https://cameras.example"),
    ("limit", -1),
    ("limit", True),
    ("limit", 1e6),
    ("limit", None),
    ("deadline", 0),
    ("deadline", 61),
]


@pytest.mark.parametrize(("argument", "value"), BAD, ids=[name for name, _ in BAD])
def test_bad_options_are_refused(argument: str, value: Any) -> None:
    """An invalid option raises while the app is built, and the error names the argument."""
    options: dict[str, Any] = {"accounts": DigestAccounts(), "realm": REALM, "secret": SECRET, argument: value}

    with pytest.raises(ConfigurationError) as caught:
        Digest(options.pop("accounts"), **options)

    assert caught.value.argument == argument


def test_a_password_hash_is_no_digest() -> None:
    """A store of password hashes raises, and the error says that Digest needs ``H(A1)`` and how to get it."""
    with pytest.raises(ConfigurationError) as caught:
        DigestAccount("alice", "$2b$12$abcdefghijklmnopqrstuuJ")
    assert caught.value.argument == "ha1"
    assert "password hash cannot serve" in str(caught.value)

    with pytest.raises(ConfigurationError) as caught:
        MemoryDigests([Account("alice", "$2b$12$x")], realm=REALM)  # type: ignore[list-item]
    assert caught.value.argument == "accounts"


def test_denial_reasons_depend_on_the_options() -> None:
    """OpenAPI documents 429 only if there is a throttle."""
    assert [reason.status for reason in digest_scheme().denial_reasons] == [400, 429]
    assert [reason.status for reason in digest_scheme(throttle=None).denial_reasons] == [400]
    assert (digest_scheme().reads_body, digest_scheme(qop=("auth-int",)).reads_body) == (False, True)


def test_what_is_written_here_is_what_clients_write() -> None:
    """The client of these tests quotes its parameters as RFC 7616 section 3.4 asks."""
    params = answer_challenge(challenge(digest_scheme()), username='a"b')

    assert serialize(params).startswith(b'username="a\\"b", realm="orders", nonce="')
    assert b", algorithm=SHA-256, qop=auth, nc=00000001, cnonce=" in serialize(params)
