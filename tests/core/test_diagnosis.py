"""What the record of a refused request says about its cause: where credentials seem to be, and what is wrong with
them."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import pytest

from authguard import AUTHORIZATION, Credentials, Denied, Guard, Rejected
from authguard.core.diagnosis import (
    MAX_QUERY,
    UNKNOWN_WORD,
    explain_missing,
    explained,
    malformed_facts,
    missing_facts,
    shown_scheme,
)
from authguard.reasons import CREDENTIALS_MALFORMED, CREDENTIALS_MISSING, TOKEN_MALFORMED, Reason
from tests.support.asgi import RecordingApp, auth_request, header_list, http_scope, run_app
from tests.support.guards import RecordingGuard
from tests.support.schemes.badge import Badge, FieldCarrier
from tests.support.schemes.basic import basic_scheme
from tests.support.schemes.digest import digest_scheme


def missing(query: bytes = b"", scheme: str = "https", **fields: str) -> dict[str, object]:
    """The facts of a request without credentials."""
    headers = [(name.replace("_", "-").encode(), value.encode()) for name, value in fields.items()]
    return dict(missing_facts(auth_request(http_scope(query_string=query, scheme=scheme, headers=headers))))


@pytest.mark.parametrize(
    ("query", "names"),
    [
        (b"access_token=s3cr3t", ["query access_token"]),
        (b"page=2&API_KEY=s3cr3t", ["query api_key"]),
        (b"token=s3cr3t&token=s3cr3t&sig=s3cr3t", ["query token", "query sig"]),
        (b"token=s3cr3t".rjust(MAX_QUERY, b"&"), ["query token"]),
    ],
)
def test_a_credential_in_the_query_is_named(query: bytes, names: list[str]) -> None:
    """R069: the record says which parameters seem to hold a credential, each once, and no part of a value."""
    assert missing(query) == {"found_in": names}


@pytest.mark.parametrize(
    "query",
    [
        b"",
        b"page=2",
        b"token=",
        b"token=&page=2",
        b"tokens=7",
        b"my_token=7",
        b"x=token=7",
        b"&" * MAX_QUERY + b"token=x",
    ],
)
def test_another_query_is_not(query: bytes) -> None:
    """A parameter without a value, a longer name, and what comes after 8 KiB are no credentials."""
    assert missing(query) == {}


@pytest.mark.parametrize(
    "field",
    ["cf_access_jwt_assertion", "x_goog_iap_jwt_assertion", "x_amzn_oidc_data", "x_forwarded_access_token"],
)
def test_a_token_in_a_field_of_a_proxy_is_named(field: str) -> None:
    """R064: a proxy that logs users in sends their token in a field of its own, which ``Bearer(header=)`` reads. The
    record names the field."""
    assert missing(b"", **{field: "eyJ.eyJ.x"}) == {"found_in": [field.replace("_", "-")]}


def test_a_credential_in_another_field_is_named() -> None:
    """The record names fields in which other APIs take credentials, if they are not empty."""
    assert missing(x_api_key="s3cr3t", proxy_authorization="Basic s3cr3t", x_auth_token="", cookie="s3cr3t") == {
        "found_in": ["x-api-key", "proxy-authorization"]
    }


@pytest.mark.parametrize(
    ("offered", "is_told"),
    [
        ("bearer, s3cr3t", True),
        ("Bearer ,s3cr3t", True),
        ("chat, eyJhbGciOiJub25lIn0.s3cr3t", True),
        ("chat, bearer", False),
        ("bearers, chat", False),
        ("", False),
    ],
)
def test_a_token_among_the_subprotocols_is_named(offered: str, is_told: bool) -> None:
    """A script that offers its token as a subprotocol, where no scheme looks, is told from one that has none."""
    assert missing(sec_websocket_protocol=offered) == ({"found_in": ["sec-websocket-protocol"]} if is_told else {})


@pytest.mark.parametrize(
    ("scheme", "proxy", "is_told"),
    [
        ("http", "https", True),
        ("ws", "HTTPS, http", True),
        ("https", "https", False),
        ("http", "http", False),
        ("http", "", False),
        ("http", "none", False),
    ],
)
def test_a_server_that_was_not_told_of_tls_is_named(scheme: str, proxy: str, is_told: bool) -> None:
    """R083: if a proxy says https and the server says http, redirects lose Authorization, and the record says so."""
    assert ("tls" in missing(scheme=scheme, x_forwarded_proto=proxy)) is is_told


@pytest.mark.parametrize(("method", "is_told"), [("OPTIONS", True), ("POST", False)])
def test_a_preflight_is_named(method: str, is_told: bool) -> None:
    """The preflight of a browser has no credentials, whatever the script does. The record says that it is one."""
    headers = [(b"origin", b"https://shop.example"), (b"access-control-request-method", b"POST")]

    facts = missing_facts(auth_request(http_scope(method=method, headers=headers)))

    assert facts == ({"preflight": True} if is_told else {})


def test_both_fields_of_proxies_are_read() -> None:
    """R083: some proxies send ``Forwarded`` in place of ``X-Forwarded-Proto``."""
    assert "tls" in missing(scheme="http", forwarded="for=192.0.2.43;proto=https")


async def test_the_denial_is_the_same_object_for_all_requests() -> None:
    """The denial of a request without credentials is made once. Only its record says what the request shows."""
    guard = RecordingGuard()
    match: Any = guard.guard.table.match("GET", "/")
    requests = auth_request(), auth_request(http_scope(query_string=b"token=x"))

    plain, odd = [await guard.guard.decide(request, match) for request in requests]
    for request, decision in zip(requests, (plain, odd), strict=True):
        guard.guard.record(request, decision)

    assert plain is odd
    assert [dict(record.facts) for record in guard.records] == [{}, {"found_in": ("query token",)}]


async def test_another_denial_says_nothing_of_a_query() -> None:
    """A query is looked through only if no credentials were found."""
    guard = RecordingGuard()

    await guard.request(RecordingApp(), field="Badge nobody", query_string=b"token=x")
    await guard.request(RecordingApp(), query_string=b"token=x")

    assert [dict(record.facts) for record in guard.records] == [{}, {}]


def test_a_reason_of_the_app_keeps_its_own_facts() -> None:
    """A denial without credentials for a reason of the app is not explained: the app has other places to look at."""
    denied = Denied(Reason("session.absent", 401, presented=False))

    assert explain_missing(auth_request(http_scope(query_string=b"token=x")), denied) is denied


def test_nothing_is_looked_for_unless_a_record_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that is neither logged nor given to a hook costs no search."""
    request = auth_request(http_scope(query_string=b"token=x"))
    monkeypatch.setattr(request, "headers", None)  # a search would fail
    guard = Guard(Badge(), log=False)

    guard.record(request, Denied(CREDENTIALS_MISSING))


async def test_its_response_is_the_same() -> None:
    """A client learns nothing of what was found."""
    guard = RecordingGuard()

    answers = [await guard.request(RecordingApp(), field=None, query_string=query) for query in (b"", b"token=x")]

    assert answers[0].sent == answers[1].sent


JOINED = "several credentials in one field, joined on the way"


def malformed(field: bytes, problem: str = "not a token68") -> dict[str, Any]:
    """The facts of this field, of which a scheme has said ``problem``."""
    (credentials,) = AUTHORIZATION.find(auth_request(http_scope(headers=header_list(field))))  # type: ignore[misc]
    return dict(malformed_facts(credentials, {"problem": problem}))


@pytest.mark.parametrize(
    ("field", "count", "all_equal"),
    [
        (b"Bearer a.b.c, Bearer a.b.c", 2, True),
        (b"Bearer a,bearer a ,BEARER  a", 3, True),
        (b"Bearer a, Bearer b", 2, False),
        (b"Bearer a, Basic a", 2, False),
        (b"HeaderToken eyJh.eyJi.c,eyJh.eyJi.c", 2, True),
        (b"HeaderToken eyJh.eyJi.c, eyJh.eyJi.d", 2, False),
        (b'Digest username="x", realm="y", Digest username="x", realm="y"', 2, True),
    ],
)
def test_credentials_that_were_joined_on_the_way(field: bytes, count: int, all_equal: bool) -> None:
    """R059: the record says how many credentials a proxy has joined, and whether all are the same."""
    assert malformed(field) == {"problem": JOINED, "joined": count, "all_equal": all_equal}


@pytest.mark.parametrize(
    ("field", "problem"),
    [
        (b"Bearer Bearer a", "the auth-scheme is there twice"),
        (b"Bearer bearer a", "the auth-scheme is there twice"),
        (b'Bearer "a.b.c"', "the credentials are in quotes"),
        (b"Bearer 'a.b.c'", "the credentials are in quotes"),
        (b"Bearer a.b.c, d", "not a token68: a comma inside"),
        (b"Bearer a b", "not a token68: a space inside"),
        (b"Bearer a\tb", "not a token68: a tab inside"),
        (b'Bearer a"b', "not a token68: a quote inside"),
        (b"Bearer {token}", "not a token68: a brace inside, of a template that was not filled in"),
        (b"Bearer <token>", "not a token68: an angle bracket inside, of a template that was not filled in"),
        (b"Bearer token=a", "not a token68: an equals sign that is not at its end"),
        (b"Bearer \xff", "not a token68: a character that it must not have"),
    ],
)
def test_a_common_mistake_has_a_name(field: bytes, problem: str) -> None:
    """The record names a word that is there twice, quotes, and the kind of character that a token must not have."""
    assert malformed(field) == {"problem": problem}


@pytest.mark.parametrize(
    ("field", "facts"),
    [
        (b"Badge: alice", {"problem": "no space after the auth-scheme", "found": "a colon after it"}),
        (b" Badge=alice", {"problem": "no space after the auth-scheme", "found": "an equals sign after it"}),
        (b"Badge\talice", {"problem": "no space after the auth-scheme", "found": "a tab after it"}),
        (b"Badge\xffalice", {"problem": "no space after the auth-scheme"}),
        (b'"Badge alice"', {"problem": "no auth-scheme", "found": "a quote before it"}),
        (b"<token>", {"problem": "no auth-scheme", "found": "an angle bracket before it"}),
        (b"\xe4", {"problem": "no auth-scheme"}),
        (b"", {"problem": "empty"}),
    ],
)
async def test_what_stands_around_an_auth_scheme(field: bytes, facts: dict[str, str]) -> None:
    """``Bearer: eyJ...`` and a whole field in quotes are common mistakes. The record names the character."""
    guard = RecordingGuard()

    await run_app(guard.wrap(RecordingApp()), http_scope(headers=header_list(field)))

    assert guard.records[-1].reason == "credentials.malformed"
    assert guard.records[-1].facts == facts


def test_what_a_scheme_says_otherwise_stays() -> None:
    """A problem that a scheme has found is not replaced if the field shows no common mistake."""
    assert malformed(b"Basic YWxpY2U=", "no colon in the user-pass") == {"problem": "no colon in the user-pass"}
    assert malformed(b'Digest a="x, y"', "no qop") == {"problem": "no qop"}


def basic(user_pass: bytes) -> bytes:
    """A field with these credentials of Basic."""
    return b"Basic " + b64encode(user_pass)


@pytest.mark.parametrize(
    ("field", "found"),
    [
        (basic(b"alice:wonderland\n"), "U+000A at the end of the password"),
        (basic(b"alice:won\0derland\n"), "U+0000 in the password"),
        (basic(b"al\tice:wonder\nland"), "U+0009 in the name"),
        (basic("alice:\x85x".encode()), "U+0085 in the password"),
        (b"Basic YWxpY2U6eA", "no padding"),
        (b"Basic YWxpY2U6-_8=", "the alphabet for URLs"),
        (b"Basic YWxpY2U6eB==", None),
        (b'Digest nonce="a", qop=auth, nonce="b"', "nonce twice"),
        (b'Digest qop=auth, NC=1, nc=2, x="nonce=1, nonce=2"', "nc twice"),
        (b'Digest s3cr3t="a", s3cr3t="b"', None),
        (b'Digest nonce="a", qop=auth, uri="/', "what follows qop is no parameter"),
        (b"Digest YWxpY2U6eA", "nothing that is a parameter"),
        (b"Digest s3cr3t=a, nonsense", None),
        (b"Digest a=1, a=2" + b"," * 100, None),
    ],
)
async def test_where_credentials_cannot_be_read(field: bytes, found: str | None) -> None:
    """The record says which parameter is there twice, after which one the list breaks off, which control character a
    user-pass has, and how another base64 is written. Of a name or a value that a client chose it repeats nothing."""
    scheme: Any = basic_scheme() if field.startswith(b"Basic") else digest_scheme()
    guard = RecordingGuard(scheme)

    await run_app(guard.wrap(RecordingApp()), http_scope(headers=header_list(field)))

    (record,) = guard.records
    assert (record.reason, record.facts.get("found")) == ("credentials.malformed", found)
    assert "s3cr3t" not in str(record)


def test_a_name_that_was_not_utf_8_is_looked_through() -> None:
    """What the search finds depends on the bytes alone: it cannot fail where the scheme has read another encoding."""
    facts = {"problem": "a control character in the user-pass"}

    sent = [Credentials("basic", b64encode(text)) for text in (b"\xff:\n", b"\xff:\x85")]

    found = [malformed_facts(credentials, facts).get("found") for credentials in sent]

    assert found == ["U+000A at the end of the password", None]


@pytest.mark.parametrize(
    "rest", [b" " * 60_000 + b",", b"a" + b" ," * 30_000, b"a, " * 20_000, b"," + b" " * 60_000 + b"a"]
)
def test_it_takes_linear_time(rest: bytes) -> None:
    """Credentials of 60 KB take as many steps as they have bytes, and not the square of that."""
    credentials = Credentials("bearer", rest)

    for problem in ("not a token68", "duplicate auth-param", "not a list of auth-params"):
        malformed_facts(credentials, {"problem": problem})


@pytest.mark.parametrize("rest", [b64encode(b"alice:ab\n").rstrip(b"="), b"YWxpY2U6_-8K", b"YWxpY2U6eAo"])
async def test_base64_that_is_read_by_name_is_looked_through_too(rest: bytes) -> None:
    """A control character in base64 without padding, or of the alphabet for URLs, is a 401 and no outage."""
    guard = RecordingGuard(basic_scheme(loose_base64=True, latin1=True))

    await run_app(guard.wrap(RecordingApp()), http_scope(headers=header_list(b"Basic " + rest)))

    (record,) = guard.records
    assert (record.reason, record.facts["found"]) == ("credentials.malformed", "U+000A at the end of the password")


def test_an_explanation_that_fails_changes_nothing() -> None:
    """If credentials cannot be looked through, their rejection stays as it is: a client must not cause an outage."""
    problem = "a control character in the user-pass"
    rejected = Rejected(CREDENTIALS_MALFORMED, facts={"problem": problem})

    assert explained(rejected, Credentials("basic", b"YWxpY2U6e")) is rejected


def test_only_credentials_that_cannot_be_read_are_explained() -> None:
    """Another rejection is returned as it is."""
    other = Rejected(TOKEN_MALFORMED, facts={"problem": "x"})
    plain = Rejected(CREDENTIALS_MALFORMED, facts={"problem": "x"})

    assert explained(other, Credentials("bearer", b"Bearer a")) is other
    assert explained(plain, None) is plain
    assert explained(plain, Credentials("bearer", b"Bearer a")).facts == {"problem": "the auth-scheme is there twice"}


@pytest.mark.parametrize(
    ("scheme", "shown"),
    [
        ("basic", "basic"),
        ("s3cr3t", UNKNOWN_WORD),
        ("eyjhbgcioijiuzi1nij9.eyjzdwiioiiifq.x", "a JWT without Bearer before it"),
        ("eyj", UNKNOWN_WORD),
    ],
)
def test_a_scheme_as_records_name_it(scheme: str, shown: str) -> None:
    """A registered word is named, a JWT is recognised, and no other word is repeated: it may be a key."""
    assert shown_scheme(scheme) == shown


async def test_two_carriers_are_named() -> None:
    """The record of two credentials names their schemes and where each of them was."""
    guard = RecordingGuard(Badge("key", carrier=FieldCarrier("key", b"x-key")), Badge())

    await run_app(guard.wrap(RecordingApp()), http_scope(headers=header_list("Badge alice", x_key="bob")))

    assert guard.records[-1].facts == {"presented": ("key", "badge"), "carriers": ("FieldCarrier", "authorization")}
