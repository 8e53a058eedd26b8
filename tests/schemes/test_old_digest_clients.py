"""Digest clients that do not keep to RFC 7616: what is read of them, and which option each of the others needs."""

from __future__ import annotations

from typing import Any

import pytest

from authguard.accounts.digest_account import DigestAccount, hash_of
from authguard.concurrency.token_bucket import Rate
from authguard.errors import ConfigurationError
from authguard.model import Accepted, Outcome, Rejected
from authguard.schemes.digest.scheme import Digest
from authguard.schemes.throttle import LoginThrottle
from authguard.state.nonce_store import WINDOW, WITHOUT_COUNT, MemoryNonces, NonceUse
from authguard.testing import ManualClock
from authguard.wire.authorization import Credentials
from authguard.wire.challenge import Challenge
from authguard.wire.digest import DigestCredentials, expected_response
from tests.support.asgi import header_list
from tests.support.clock import NOW
from tests.support.coroutines import run_without_waiting
from tests.support.schemes.digest import (
    DigestAccounts,
    DigestParams,
    SharedNonces,
    answer_challenge,
    authenticate,
    challenge,
    digest_hash,
    digest_request,
    digest_response,
    digest_scheme,
    ha1,
    rejection_code,
    serialize,
    stored_ha1,
)

ALGORITHMS = ("SHA-256", "MD5")
PATH: dict[str, Any] = {"path": "/x", "raw_path": b"/x", "query_string": b"a=1", "headers": header_list()}


def md5_scheme(**options: Any) -> Digest:
    """A scheme that offers MD5 alone, from a store that has it."""
    return digest_scheme(DigestAccounts("MD5"), algorithms=("MD5",), **options)


def answer_rfc2069(offer: Challenge, password: str = "wonderland", username: str = "alice", **more: Any) -> str:
    """What a client of RFC 2069 sends: the response covers the nonce, and there is no ``qop``."""
    realm, nonce, opaque = (offer.get(name) for name in ("realm", "nonce", "opaque"))
    uri = more.pop("uri", "/")
    a1 = digest_hash("MD5", username, realm or "", password)
    response = digest_hash("MD5", a1, nonce or "", digest_hash("MD5", "GET", uri))
    params = {"username": username, "realm": realm, "nonce": nonce, "uri": uri, "response": response, "opaque": opaque}
    return ", ".join(f'{name}="{value}"' for name, value in {**params, **more}.items() if value is not None)


async def send(scheme: Digest, rest: str, **scope: Any) -> Outcome:
    """The outcome for these parameters, as they stand in the field."""
    return await authenticate(scheme, rest.encode("latin-1"), digest_request(**scope))


def facts_of(outcome: Outcome) -> Any:
    """What was tolerated of an accepted request; the reason code of another one."""
    return outcome.facts.get("tolerated", {}) if isinstance(outcome, Accepted) else outcome.reason.code


# --- A uri without its query ------------------------------------------------------------------------------------------


@pytest.mark.rfc("7616-10")
async def test_a_uri_may_be_the_path_alone_by_name() -> None:
    """R023: ``uri="/x"`` for ``GET /x?a=1`` is ``uri.mismatch``. With ``uri_without_query`` it passes, and the record
    says so."""
    scheme, strict = digest_scheme(uri_without_query=True), digest_scheme()

    outcome = await authenticate(scheme, answer_challenge(challenge(scheme), uri="/x"), digest_request(**PATH))

    assert facts_of(outcome) == {"uri": "no query"}
    assert await rejection_code(strict, answer_challenge(challenge(strict), uri="/x"), digest_request(**PATH)) == (
        "uri.mismatch"
    )


@pytest.mark.rfc("7616-10")
@pytest.mark.parametrize(
    "uri", ["/", "/y", "/x?", "/x?a=2", "/x?b=1", "/x?a=1&b=2", "/x/", "/x#", "http://other.example/x", "//x", "/%78"]
)
async def test_only_a_missing_query_is_tolerated(uri: str) -> None:
    """R023: another path, another host, and a query that is another one or empty stay ``uri.mismatch``."""
    scheme = digest_scheme(uri_without_query=True)

    assert await rejection_code(scheme, answer_challenge(challenge(scheme), uri=uri), digest_request(**PATH)) == (
        "uri.mismatch"
    )


@pytest.mark.parametrize("uri", ["/x?a=1", "http://testserver/x?a=1"])
async def test_a_whole_uri_is_not_tolerated_but_right(uri: str) -> None:
    """R023: with the option a usual client is not recorded as tolerated."""
    scheme = digest_scheme(uri_without_query=True)

    outcome = await authenticate(scheme, answer_challenge(challenge(scheme), uri=uri), digest_request(**PATH))

    assert facts_of(outcome) == {}


async def test_an_absolute_uri_may_lack_its_query_too() -> None:
    """R023: an absolute ``uri`` of this host without its query passes."""
    scheme = digest_scheme(uri_without_query=True)

    outcome = await authenticate(
        scheme, answer_challenge(challenge(scheme), uri="http://testserver/x"), digest_request(**PATH)
    )

    assert facts_of(outcome) == {"uri": "no query"}


async def test_a_query_that_was_not_requested_is_refused() -> None:
    """R023: a response for ``/x?a=1`` is not one for ``/x``."""
    scheme = digest_scheme(uri_without_query=True)
    request = digest_request(path="/x", raw_path=b"/x")

    assert await rejection_code(scheme, answer_challenge(challenge(scheme), uri="/x?a=1"), request) == "uri.mismatch"


async def test_a_response_without_a_query_is_good_once_for_all_queries() -> None:
    """R023: a captured response that covers no query is a replay for another query of the path."""
    scheme = digest_scheme(uri_without_query=True)
    params = answer_challenge(challenge(scheme), uri="/x")
    assert isinstance(await authenticate(scheme, params, digest_request(**PATH)), Accepted)

    other = digest_request(**{**PATH, "query_string": b"a=2"})

    assert await rejection_code(scheme, params, other) == "nonce.replayed"


# --- RFC 2069 ---------------------------------------------------------------------------------------------------------


@pytest.mark.rfc("7616-7")
async def test_the_form_of_rfc_2069_is_accepted_by_name() -> None:
    """R024: a response without ``qop`` is malformed; with ``rfc2069`` it passes for MD5, and is recorded."""
    scheme, strict = md5_scheme(rfc2069=True), md5_scheme()

    outcome = await send(scheme, answer_rfc2069(challenge(scheme)))
    refused = await send(strict, answer_rfc2069(challenge(strict)))

    assert facts_of(outcome) == {"qop": "none"}
    assert isinstance(refused, Rejected)
    assert (refused.reason.code, refused.facts) == ("credentials.malformed", {"problem": "no qop"})


async def test_the_response_of_a_published_test_is_right() -> None:
    """R024: the response that curl's test 64 pins (testuser, testpass) is the one that is expected."""

    sent = DigestCredentials.from_auth_params(
        b'username="testuser", realm="testrealm", nonce="1053604145", uri="/64", '
        b'response="c55f7f30d83d774a3d2dcacf725abaca"',
        rfc2069=True,
    )
    a1 = digest_hash("MD5", "testuser", "testrealm", "testpass").encode()

    assert expected_response(hash_of("MD5"), a1, sent, b"GET") == b"c55f7f30d83d774a3d2dcacf725abaca"
    assert (sent.qop, sent.nc, sent.cnonce, sent.count) == (b"", b"", b"", 0)
    assert DigestCredentials.from_auth_params(sent.to_auth_params(), rfc2069=True) == sent


@pytest.mark.parametrize("more", [{"algorithm": "MD5"}, {"algorithm": "md5"}, {"nc": "00000001", "cnonce": "abc"}])
async def test_rfc_2069_with_parameters_that_are_in_no_hash(more: dict[str, str]) -> None:
    """R024: an algorithm that is MD5 changes nothing, and neither do ``nc`` and ``cnonce``, as digest-fetch sends."""
    scheme = md5_scheme(rfc2069=True)

    assert facts_of(await send(scheme, answer_rfc2069(challenge(scheme), **more))) == {"qop": "none"}


@pytest.mark.parametrize(("more", "code"), [({"password": "wrong"}, "response.wrong"), ({"uri": "/y"}, "uri.mismatch")])
async def test_rfc_2069_is_verified_as_any_other_response(more: dict[str, str], code: str) -> None:
    """R024: a wrong password and another path are refused with the usual reasons."""
    scheme = md5_scheme(rfc2069=True)

    assert facts_of(await send(scheme, answer_rfc2069(challenge(scheme), **more))) == code


@pytest.mark.parametrize("more", [{"algorithm": "SHA-256"}, {"algorithm": "MD5-sess"}, {"qop": ""}, {"response": ""}])
async def test_rfc_2069_knows_md5_alone(more: dict[str, str]) -> None:
    """R024: without ``qop`` every other algorithm stays malformed, and so does a ``qop`` that is empty."""
    scheme = digest_scheme(algorithms=("SHA-256", "MD5", "MD5-sess"), rfc2069=True)

    assert facts_of(await send(scheme, answer_rfc2069(challenge(scheme), **more))) == "credentials.malformed"


async def test_a_nonce_is_good_once_without_qop() -> None:
    """R024: a second response of RFC 2069 with the nonce is a replay, whatever it asks for."""
    scheme = md5_scheme(rfc2069=True)
    offer = challenge(scheme)

    assert facts_of(await send(scheme, answer_rfc2069(offer))) == {"qop": "none"}

    again = await send(scheme, answer_rfc2069(offer))
    elsewhere = await send(scheme, answer_rfc2069(offer, uri="/x"), path="/x", raw_path=b"/x")
    assert (facts_of(again), facts_of(elsewhere)) == ("nonce.replayed", "nonce.replayed")
    assert again.facts == {"count": "none"}


@pytest.mark.rfc("7616-7", "7616-9")
@pytest.mark.parametrize("count", [1, 2, 0xFFFF_FFFF])
async def test_a_nonce_that_was_used_without_qop_is_spent_for_both_forms(count: int) -> None:
    """R024: after a response of RFC 2069 no count of the nonce is accepted."""
    scheme = md5_scheme(rfc2069=True)
    offer = challenge(scheme)
    await send(scheme, answer_rfc2069(offer))

    assert await rejection_code(scheme, answer_challenge(offer, count=count)) == "nonce.outside"


@pytest.mark.parametrize("count", [1, 0xFFFF_FFFF])
async def test_a_nonce_that_was_used_with_qop_is_not_good_without(count: int) -> None:
    """R024: a nonce that has served with a count is not accepted without one, and goes on with its counts."""
    scheme = md5_scheme(rfc2069=True)
    offer = challenge(scheme)
    assert facts_of(await authenticate(scheme, answer_challenge(offer, count=count))) == {}

    assert facts_of(await send(scheme, answer_rfc2069(offer))) == "nonce.replayed"
    if count == 1:
        assert facts_of(await authenticate(scheme, answer_challenge(offer, count=2))) == {}


async def test_rfc_2069_is_spent_for_a_scheme_that_does_not_accept_it() -> None:
    """R024: two schemes of one secret share their nonces, so what one accepted without ``qop`` the other refuses."""
    secret = "of this test alone, and thirty-two bytes"
    scheme, strict = md5_scheme(rfc2069=True, secret=secret), md5_scheme(secret=secret)
    offer = challenge(scheme)
    await send(scheme, answer_rfc2069(offer))

    assert await rejection_code(strict, answer_challenge(offer)) == "nonce.outside"


async def test_an_answer_to_rfc_2069_brings_the_next_nonce() -> None:
    """R024: the nonce is spent, so ``Authentication-Info`` has the next one, which is good, and no ``rspauth``."""
    scheme = md5_scheme(rfc2069=True)

    outcome = await send(scheme, answer_rfc2069(challenge(scheme)))

    assert isinstance(outcome, Accepted)
    ((name, value),) = outcome.response_headers
    nonce = value.decode().removeprefix('nextnonce="').removesuffix('"')
    assert (name, len(nonce)) == (b"authentication-info", 48)
    offer = Challenge("Digest", {**dict(challenge(scheme).params), "nonce": nonce})
    assert facts_of(await send(scheme, answer_rfc2069(offer))) == {"qop": "none"}


async def test_a_store_of_the_app_is_told_that_there_is_no_count() -> None:
    """R024: a store claims ``WITHOUT_COUNT``, and one that waits gives the same answers."""
    nonces = SharedNonces()
    scheme = md5_scheme(rfc2069=True, nonces=nonces)
    offer = challenge(scheme)

    assert facts_of(await send(scheme, answer_rfc2069(offer))) == {"qop": "none"}
    assert facts_of(await send(scheme, answer_rfc2069(offer))) == "nonce.replayed"
    assert {count for _, count in nonces.used} == {WITHOUT_COUNT}


def test_no_count_is_within_a_window_of_a_use_without() -> None:
    """R024: the memory refuses every count after a use without one, and a use without one after every count."""
    nonces = MemoryNonces()
    nonces.begin(NOW - 1)
    times = {"minted_at": NOW, "expires_at": NOW + 300, "now": NOW}

    def claim(nonce: bytes, count: int) -> NonceUse:
        return nonces.claim_now(nonce, count, **times)

    assert claim(b"a", WITHOUT_COUNT) is NonceUse.FRESH
    assert claim(b"a", WITHOUT_COUNT) is NonceUse.REPLAYED
    assert {claim(b"a", count) for count in (0, 1, WINDOW, 2**32 - 1)} == {NonceUse.OUTSIDE}
    for number, count in enumerate((0, 1, 2**32 - 1 - WINDOW, 2**32 - 1)):
        assert claim(b"b%d" % number, count) is NonceUse.FRESH
        assert claim(b"b%d" % number, WITHOUT_COUNT) is NonceUse.REPLAYED


async def test_an_unknown_name_costs_as_much_without_qop(monkeypatch: pytest.MonkeyPatch) -> None:
    """R024: for an unknown name as many bytes are hashed as for a known one, and compared."""

    sizes: list[int] = []

    def counting(hash_function: Any, *args: Any, **options: Any) -> bytes:
        def hashed(data: bytes) -> bytes:
            sizes.append(len(data))
            return bytes(hash_function(data))

        return expected_response(hashed, *args, **options)

    monkeypatch.setattr("authguard.schemes.digest.scheme.expected_response", counting)
    scheme = md5_scheme(rfc2069=True)
    seen = []
    for username in ("alice", "nobod"):
        sizes.clear()
        outcome = await send(scheme, answer_rfc2069(challenge(scheme), "wrong", username))
        seen.append((facts_of(outcome), list(sizes)))

    assert [code for code, _ in seen] == ["response.wrong", "user.unknown"]
    assert seen[0][1] == seen[1][1] != []


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({}, 'add "MD5"'),
        ({"algorithms": ("SHA-256", "MD5-sess")}, 'add "MD5"'),
        ({"algorithms": ("MD5",), "qop": ("auth-int",)}, 'offer ("auth", "auth-int")'),
    ],
)
def test_rfc_2069_where_nobody_could_use_it_raises(options: dict[str, Any], told: str) -> None:
    """R024: without MD5 there is no such client, and beside ``auth-int`` alone it would leave the body unprotected."""
    with pytest.raises(ConfigurationError) as caught:
        digest_scheme(rfc2069=True, **options)

    assert (caught.value.argument, told in str(caught.value)) == ("rfc2069", True)


@pytest.mark.parametrize(
    "option", ["uri_without_query", "missing_opaque", "rfc2069", "loose_nc", "latin1", "literal_backslash"]
)
def test_an_option_for_old_clients_is_true_or_false(option: str) -> None:
    """A word or a number in place of a flag raises, and the error names the option."""
    with pytest.raises(ConfigurationError) as caught:
        digest_scheme(**{option: "yes"})

    assert caught.value.argument == option


# --- ISO-8859-1 -------------------------------------------------------------------------------------------------------

NAME = "J\u00e4s\u00f8n"


def in_latin1(scheme: Digest, password: str = "Secret, or not?", username: str = NAME) -> bytes:
    """What requests and digest-fetch send: the name in ISO-8859-1, and the digest of its UTF-8."""
    params = answer_challenge(challenge(scheme), password, username)
    return serialize({**params, "username": username})


@pytest.mark.rfc("7616-13")
async def test_a_name_in_iso_8859_1_is_read_by_name() -> None:
    """R020: a name that is no UTF-8 is malformed. With ``latin1`` it is ISO-8859-1, and the record says so."""
    scheme, strict = digest_scheme(latin1=True), digest_scheme()

    outcome = await authenticate(scheme, in_latin1(scheme))

    assert facts_of(outcome) == {"charset": "ISO-8859-1"}
    assert isinstance(outcome, Accepted)
    assert outcome.principal.subject == NAME
    assert await rejection_code(strict, in_latin1(strict)) == "credentials.malformed"


async def test_utf_8_stays_utf_8() -> None:
    """R020: with ``latin1`` a name in UTF-8 is read as before."""
    scheme = digest_scheme(latin1=True)

    assert facts_of(await authenticate(scheme, answer_challenge(challenge(scheme), "Secret, or not?", NAME))) == {}


async def test_attempts_in_both_encodings_are_counted_together() -> None:
    """R020: the throttle counts by the decoded name, one attempt for each request."""
    throttle = LoginThrottle(pair=Rate(2, 1000.0), clock=ManualClock(1000))
    scheme = digest_scheme(latin1=True, throttle=throttle)

    codes = [
        await rejection_code(scheme, in_latin1(scheme, "wrong")),
        await rejection_code(scheme, answer_challenge(challenge(scheme), "wrong", NAME)),
        await rejection_code(scheme, in_latin1(scheme, "wrong")),
    ]

    assert codes == ["response.wrong", "response.wrong", "attempts.exceeded"]


@pytest.mark.parametrize("name", [b'username="\xe4\x85"', b'username="\xe4\t"', b'username="\xc2\x85"'])
async def test_a_control_character_is_malformed_in_both_encodings(name: bytes) -> None:
    """R020: a control character is refused in ISO-8859-1, and one in UTF-8 is not read a second time."""
    scheme = digest_scheme(latin1=True)
    rest = in_latin1(scheme, username="x").replace(b'username="x"', name)

    assert await rejection_code(scheme, rest) == "credentials.malformed"


@pytest.mark.parametrize("extended", ["UTF-8''%E4", "ISO-8859-1''%E4"])
async def test_the_extended_name_says_its_encoding(extended: str) -> None:
    """R020: ``username*`` is in UTF-8 alone (RFC 7616 section 3.4), whatever ``latin1`` says."""
    scheme = digest_scheme(latin1=True)
    params: DigestParams = {**answer_challenge(challenge(scheme)), "username": None, "username*": extended}

    assert await rejection_code(scheme, params) == "credentials.malformed"


# --- A backslash ------------------------------------------------------------------------------------------------------

WINDOWS = "DOMAIN\\alice"


def windows_scheme(**options: Any) -> Digest:
    """A scheme with an account whose name has a backslash, and one whose name is the same without."""
    store = DigestAccounts()
    store.accounts |= {
        name: DigestAccount(name, stored_ha1(name, "wonderland")) for name in (WINDOWS, WINDOWS.replace("\\", ""))
    }
    return digest_scheme(store, **options)


def with_backslashes(scheme: Digest, name: bytes, username: str = WINDOWS) -> bytes:
    """The credentials of this user, with the name as it is written in quotes."""
    rest = serialize({**answer_challenge(challenge(scheme), "wonderland", username), "username": "x"})
    return rest.replace(b'username="x"', b'username="' + name + b'"')


@pytest.mark.parametrize(("name", "said"), [(rb"DOMAIN\alice", {"username": "a backslash"}), (rb"DOMAIN\\alice", {})])
async def test_a_backslash_stands_for_itself_by_name(name: bytes, said: dict[str, str]) -> None:
    """Requests and httpx escape no backslash. With ``literal_backslash`` one and two of them name the same account."""
    scheme = windows_scheme(literal_backslash=True)

    outcome = await authenticate(scheme, with_backslashes(scheme, name))

    assert facts_of(outcome) == said
    assert isinstance(outcome, Accepted)
    assert outcome.principal.subject == WINDOWS


async def test_a_backslash_is_an_escape_otherwise() -> None:
    """Without the option one backslash is no part of the name (RFC 9110 section 5.6.4), and two are one."""
    scheme = windows_scheme()

    assert await rejection_code(scheme, with_backslashes(scheme, rb"DOMAIN\alice")) == "response.wrong"
    assert facts_of(await authenticate(scheme, with_backslashes(scheme, rb"DOMAIN\\alice"))) == {}


@pytest.mark.parametrize("name", [rb"a\"b", rb"a\\\"b"])
async def test_a_quote_is_escaped_in_both_readings(name: bytes) -> None:
    """With ``literal_backslash`` a backslash before a quote is still an escape, and the value ends where it ended."""
    strict, tolerant = (
        DigestCredentials.from_auth_params(with_backslashes(digest_scheme(), name), literal_backslash=literal)
        for literal in (False, True)
    )

    assert (strict.username, strict.uri) == (tolerant.username, tolerant.uri)
    assert not tolerant.backslash


async def test_a_backslash_elsewhere_stays_an_escape() -> None:
    """With ``literal_backslash`` the other parameters are read as before."""
    scheme = windows_scheme(literal_backslash=True)
    rest = with_backslashes(scheme, rb"DOMAIN\\alice").replace(b'realm="orders"', rb'realm="or\ders"')

    assert facts_of(await authenticate(scheme, rest)) == {}


# --- opaque and nc ----------------------------------------------------------------------------------------------------


@pytest.mark.rfc("7616-8")
async def test_a_missing_opaque_is_tolerated_by_name() -> None:
    """``opaque`` may be missing with ``missing_opaque``, as axios-digest-auth and old cpp-httplib do."""
    scheme, strict = digest_scheme(missing_opaque=True), digest_scheme()

    assert facts_of(await authenticate(scheme, answer_challenge(challenge(scheme), opaque=None))) == {"opaque": "none"}
    assert await rejection_code(scheme, answer_challenge(challenge(scheme), opaque="f00")) == "opaque.foreign"
    assert await rejection_code(scheme, answer_challenge(challenge(scheme), opaque="")) == "opaque.foreign"
    assert await rejection_code(strict, answer_challenge(challenge(strict), opaque=None)) == "opaque.foreign"


@pytest.mark.rfc("7616-8")
@pytest.mark.parametrize(("nc", "said"), [("0", "short"), ("1", "short"), ("00000000", "zero"), ("0A", "short")])
async def test_a_loose_count_is_tolerated_by_name(nc: str, said: str) -> None:
    """With ``loose_nc``, ``nc`` may be short, and begin at zero, as net-http-digest_auth does. Each is good once."""
    scheme, strict = digest_scheme(loose_nc=True), digest_scheme()
    offer = challenge(scheme)
    params = answer_challenge(offer, nc=nc)

    assert facts_of(await authenticate(scheme, params)) == {"nc": said}
    assert await rejection_code(scheme, params) == "nonce.replayed"
    assert facts_of(await authenticate(scheme, answer_challenge(offer, count=11))) == {}
    assert await rejection_code(strict, answer_challenge(challenge(strict), nc=nc)) == "credentials.malformed"


@pytest.mark.parametrize("nc", ["", "000000001", "+1", "0x1", "g"])
async def test_a_loose_count_is_still_one_to_eight_digits(nc: str) -> None:
    """``loose_nc`` reads no other spelling of a number."""
    scheme = digest_scheme(loose_nc=True)

    assert await rejection_code(scheme, answer_challenge(challenge(scheme), nc=nc)) == "credentials.malformed"


async def test_several_options_are_recorded_together() -> None:
    """The record names everything that was tolerated."""
    scheme = md5_scheme(rfc2069=True, missing_opaque=True, uri_without_query=True)

    outcome = await send(scheme, answer_rfc2069(challenge(scheme), uri="/x", opaque=None), **PATH)

    assert facts_of(outcome) == {"uri": "no query", "opaque": "none", "qop": "none"}


OPTIONS: tuple[dict[str, Any], ...] = (
    {},
    {
        "rfc2069": True,
        "missing_opaque": True,
        "uri_without_query": True,
        "loose_nc": True,
        "latin1": True,
        "literal_backslash": True,
    },
)


@pytest.mark.parametrize("options", OPTIONS, ids=["strict", "tolerant"])
def test_a_usual_client_is_never_tolerated(options: dict[str, Any]) -> None:
    """Every option leaves a client that keeps to RFC 7616 as it is, and answers it at once."""
    scheme = digest_scheme(algorithms=ALGORITHMS, **options)
    params = answer_challenge(challenge(scheme))

    answer = scheme.authenticate_now(digest_request(), Credentials("digest", serialize(params)))

    assert isinstance(answer, Accepted)
    assert answer.facts == {}


def test_what_is_tolerated_is_answered_at_once() -> None:
    """The lean path grants a tolerated request too, with the same facts as the careful one."""
    scheme = md5_scheme(**OPTIONS[1])

    def rest() -> bytes:
        return answer_rfc2069(challenge(scheme), opaque=None).encode()

    now = scheme.authenticate_now(digest_request(), Credentials("digest", rest()))
    later = run_without_waiting(scheme.authenticate(digest_request(), Credentials("digest", rest())))

    assert facts_of(now if isinstance(now, Accepted | Rejected) else later) == facts_of(later)
    assert facts_of(later) == {"opaque": "none", "qop": "none"}


# --- Spellings that are read by everybody -----------------------------------------------------------------------------

SPELLINGS: list[tuple[str, dict[str, str]]] = [
    ("every value in quotes, as http-auth-utils and net-http-digest_auth write", {"quoted": "algorithm qop nc"}),
    ("values without quotes where they are tokens", {"bare": "username realm nonce response cnonce opaque"}),
    ("names in upper case", {"upper": "username realm uri nc"}),
    ("no blank after the comma", {"separator": ","}),
    ("blanks around the equals sign and the comma", {"equals": " = ", "separator": " , "}),
    ("empty elements and a comma at the end", {"separator": ",,", "end": ","}),
]


def spelled(params: DigestParams, how: dict[str, str]) -> bytes:
    """The parameters, in a spelling that few clients use."""
    quoted, bare, upper = (set(how.get(name, "").split()) for name in ("quoted", "bare", "upper"))
    unquoted = ({"algorithm", "qop", "nc"} - quoted) | bare
    parts = [
        f"{name.upper() if name in upper else name}{how.get('equals', '=')}"
        + (str(value) if name in unquoted else f'"{value}"')
        for name, value in params.items()
        if value is not None
    ]
    return (how.get("separator", ", ").join(parts) + how.get("end", "")).encode("latin-1")


@pytest.mark.parametrize(("_", "how"), SPELLINGS, ids=[name for name, _ in SPELLINGS])
async def test_a_spelling_that_means_the_same_is_read(_: str, how: dict[str, str]) -> None:
    """Quotes, case of names and blanks make no difference (RFC 9110 sections 5.6.1.2 and 11.2), so no option is
    needed."""
    scheme = digest_scheme()

    outcome = await authenticate(scheme, spelled(answer_challenge(challenge(scheme)), how))

    assert facts_of(outcome) == {}


@pytest.mark.parametrize(
    "change",
    [
        {"algorithm": "md5"},
        {"algorithm": None},
        {"uri": "http://testserver/"},
        {"stale": "false"},
        {"charset": "UTF-8"},
        {"nc": "0000000A"},
    ],
    ids=str,
)
async def test_a_value_that_means_the_same_is_read(change: dict[str, Any]) -> None:
    """The algorithm in lower case, or none for MD5; an absolute ``uri``; a parameter of the challenge sent back; a
    count in upper case."""
    scheme = md5_scheme()
    request = digest_request(headers=header_list())

    assert facts_of(await authenticate(scheme, answer_challenge(challenge(scheme), **change), request)) == {}


async def test_a_response_in_upper_case_is_read() -> None:
    """The hexadecimal digits of ``response`` may be in upper case."""
    scheme = digest_scheme()
    params = answer_challenge(challenge(scheme))
    params["response"] = (params["response"] or "").upper()

    assert facts_of(await authenticate(scheme, params)) == {}


# --- What stays refused -----------------------------------------------------------------------------------------------

REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("both qualities in qop: the hash is of which?", {"qop": "auth,auth-int"}, "qop.unoffered"),
    ("no cnonce beside qop", {"cnonce": None}, "credentials.malformed"),
    ("no nc beside qop", {"nc": None}, "credentials.malformed"),
    ("an empty uri", {"uri": ""}, "credentials.malformed"),
    ("a path that is encoded otherwise", {"uri": "/%78?a=1"}, "uri.mismatch"),
    ("a query that is encoded otherwise", {"uri": "/x?a=%31"}, "uri.mismatch"),
    ("no algorithm for SHA-256", {"algorithm": None}, "algorithm.unoffered"),
]


@pytest.mark.parametrize(("_", "change", "code"), REFUSED, ids=[name for name, _, _ in REFUSED])
async def test_what_no_option_covers_is_refused(_: str, change: dict[str, Any], code: str) -> None:
    """What can be read in two ways, or names another resource, is refused under every option."""
    scheme = digest_scheme(missing_opaque=True, uri_without_query=True, loose_nc=True)
    params = answer_challenge(challenge(scheme), **{"uri": "/x?a=1", **change})

    assert facts_of(await authenticate(scheme, spelled(params, {"quoted": "qop"}), digest_request(**PATH))) == code


async def test_a_backslash_that_is_not_escaped_is_no_part_of_the_name() -> None:
    """In quotes a backslash escapes what follows, so ``"DOMAIN\\user"`` names ``DOMAINuser``. It is read in one way."""
    scheme = digest_scheme()
    rest = serialize({**answer_challenge(challenge(scheme)), "username": "DOMAIN.alice"}).replace(b"N.a", b"N\\a")

    outcome = await authenticate(scheme, rest)

    assert isinstance(outcome, Rejected)
    assert (outcome.reason.code, outcome.subject) == ("user.unknown", "DOMAINalice")


@pytest.mark.parametrize("upper", [True, False])
async def test_h_a1_in_upper_case_is_another_password(upper: bool) -> None:
    """A client that hashes with digits in upper case computes another response, and cannot be told from a guess."""
    scheme = digest_scheme()
    params = answer_challenge(challenge(scheme))
    a1 = ha1(params, "wonderland")
    params["response"] = digest_response(params, a1.upper() if upper else a1)

    assert facts_of(await authenticate(scheme, params)) == ("response.wrong" if upper else {})
