"""What the record of a refused request says about its cause: where credentials seem to be, and what is wrong with
them."""

from __future__ import annotations

from typing import Any

import pytest

from authguard import AUTHORIZATION, Credentials, Denied, Guard, Rejected
from authguard.core.diagnosis import MAX_QUERY, UNKNOWN_WORD, explained, malformed_facts, missing_facts, shown_scheme
from authguard.reasons import CREDENTIALS_MALFORMED, CREDENTIALS_MISSING, TOKEN_MALFORMED
from tests.support.asgi import RecordingApp, auth_request, header_list, http_scope, run_app
from tests.support.guards import RecordingGuard
from tests.support.schemes.badge import Badge, FieldCarrier


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
    ],
)
def test_a_server_that_was_not_told_of_tls_is_named(scheme: str, proxy: str, is_told: bool) -> None:
    """R083: if a proxy says https and the server says http, redirects lose Authorization, and the record says so."""
    assert ("tls" in missing(scheme=scheme, x_forwarded_proto=proxy)) is is_told


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


def test_what_a_scheme_says_otherwise_stays() -> None:
    """A problem that a scheme has found is not replaced if the field shows no common mistake."""
    assert malformed(b"Basic YWxpY2U=", "no colon in the user-pass") == {"problem": "no colon in the user-pass"}
    assert malformed(b'Digest a="x, y"', "no qop") == {"problem": "no qop"}


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
