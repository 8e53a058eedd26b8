"""What Digest rejects: a response for another resource, parameters that were not offered, and a wrong password."""

from __future__ import annotations

import hmac
from typing import Any

import pytest

from authguard.accounts.digest_account import hash_of
from authguard.difference import _compare
from authguard.model import Rejected
from authguard.reasons import (
    CREDENTIALS_MALFORMED,
    URI_MISMATCH,
)
from authguard.schemes.digest import options
from authguard.wire.digest import Hash
from tests.support.schemes.digest import (
    DigestAccounts,
    answer_challenge,
    authenticate,
    authentication_info,
    challenge,
    digest_request,
    digest_scheme,
    rejection_code,
)

# --- The uri ----------------------------------------------------------------------------------------------------------

HOST = (b"host", b"testserver")

SAME: list[tuple[str, dict[str, Any]]] = [
    ("/", {}),
    ("/?", {}),
    ("https://testserver/", {"headers": [HOST]}),
    ("https://testserver", {"headers": [HOST]}),
    ("/a%2Fb", {"path": "/a/b", "raw_path": b"/a%2Fb"}),
    ("/%C3%A4?q=%20&r", {"path": "/ä", "raw_path": b"/%C3%A4", "query_string": b"q=%20&r"}),
    ("http://testserver/a?b", {"path": "/a", "raw_path": b"http://testserver/a", "query_string": b"b"}),
    ("/api/a", {"path": "/api/a", "raw_path": b"/api/a", "root_path": "/api"}),
    ("*", {"path": "*", "raw_path": b"*"}),
]


@pytest.mark.rfc("7616-10")
@pytest.mark.parametrize(("uri", "scope"), SAME, ids=[uri for uri, _ in SAME])
async def test_the_uri_may_name_the_resource_in_several_forms(uri: str, scope: dict[str, Any]) -> None:
    """The ``uri`` may be absolute, and a final question mark is ignored, because ASGI does not report it."""
    scheme = digest_scheme()

    await authentication_info(scheme, answer_challenge(challenge(scheme), uri=uri), digest_request(**scope))


ELSEWHERE: list[tuple[str, dict[str, Any], str]] = [
    ("/a", {}, "path"),
    ("", {}, "path"),
    ("//", {}, "path"),
    ("/#", {}, "path"),
    ("*", {}, "path"),
    ("/?x", {}, "query"),
    ("/", {"query_string": b"x"}, "query"),
    ("/?y", {"query_string": b"x"}, "query"),
    ("/?%78", {"query_string": b"x"}, "query"),
    ("/a/b", {"path": "/a/b", "raw_path": b"/a%2Fb"}, "path"),
    ("/a%2fb", {"path": "/a/b", "raw_path": b"/a%2Fb"}, "path"),
    ("/A", {"path": "/a", "raw_path": b"/a"}, "path"),
    ("/a", {"path": "/a/", "raw_path": b"/a/"}, "path"),
    ("/api/a", {"path": "/a", "raw_path": b"/a"}, "path"),
]


@pytest.mark.rfc("7616-10")
@pytest.mark.parametrize(("uri", "scope", "part"), [case for case in ELSEWHERE if case[0]])
async def test_a_captured_header_is_no_good_elsewhere(uri: str, scope: dict[str, Any], part: str) -> None:
    """RFC 7616 section 3.4.6: a valid response for another resource is a 400, and its query is not recorded."""
    scheme = digest_scheme()

    outcome = await authenticate(scheme, answer_challenge(challenge(scheme), uri=uri), digest_request(**scope))

    assert isinstance(outcome, Rejected)
    assert (outcome.reason, outcome.reason.status, outcome.facts["differs_in"]) == (URI_MISMATCH, 400, part)
    assert outcome.facts.get("digested") == (uri if part == "path" else None)
    assert outcome.subject == "alice"


PREFIXED: list[tuple[str, str, str, str | None]] = [
    ("/api/a", "/a", "", "a proxy removes the prefix: set public_prefix='/api'"),
    ("/a", "/api/a", "", "root_path or public_prefix adds '/api', which clients do not ask for"),
    ("/a", "/a", "/api", "root_path or public_prefix adds '/api', which clients do not ask for"),
    ("/b", "/a", "", None),
    ("*", "/a*", "", None),
]


@pytest.mark.parametrize(("uri", "path", "prefix", "hint"), PREFIXED)
async def test_both_paths_and_what_to_set_are_recorded(uri: str, path: str, prefix: str, hint: str | None) -> None:
    """N11: the record has the path that was digested beside the one that was requested. If one of them is the other
    with a prefix, it says what to set."""
    scheme = digest_scheme(public_prefix=prefix)

    outcome = await authenticate(
        scheme, answer_challenge(challenge(scheme), uri=uri), digest_request(path=path, raw_path=path.encode())
    )

    assert isinstance(outcome, Rejected)
    facts = {"differs_in": "path", "digested": uri, "requested": prefix + path, "hint": hint}
    assert {"hint": None, **outcome.facts} == facts


async def test_of_a_query_only_its_absence_is_recorded() -> None:
    """The record says if a query is on one side alone, and nothing of what is in it."""
    scheme = digest_scheme()
    pairs = [("/?s3cr3t", b""), ("/", b"s3cr3t"), ("/?s3cr3t", b"other")]

    outcomes = [
        await authenticate(scheme, answer_challenge(challenge(scheme), uri=uri), digest_request(query_string=query))
        for uri, query in pairs
    ]

    assert [dict(outcome.facts) for outcome in outcomes] == [
        {"differs_in": "query", "problem": "none was requested"},
        {"differs_in": "query", "problem": "none was digested"},
        {"differs_in": "query"},
    ]


async def test_a_nonce_of_another_server_is_told_from_one_of_another_secret() -> None:
    """The record says whether an unknown nonce has the form of ours, so that different secrets can be found."""
    scheme = digest_scheme()
    offer = challenge(scheme)
    others = [challenge(digest_scheme(secret="x" * 32)).get("nonce"), "dcd98b7102dd2f0e8b11d0f600bfb0c0"]

    outcomes = [await authenticate(scheme, answer_challenge(offer, nonce=nonce)) for nonce in others]

    assert [outcome.facts for outcome in outcomes] == [
        {"form": "ours, signed with another secret or realm"},
        {"form": "that of another server"},
    ]


async def test_a_hash_that_is_of_nobody_is_told_from_a_name() -> None:
    """The record says that an unknown name was sent as a hash, which is of name and realm together."""
    scheme = digest_scheme(DigestAccounts(finds_hashed=True))
    sent: dict[str, Any] = {"username": "0" * 64, "userhash": "true"}

    hashed = await authenticate(scheme, answer_challenge(challenge(scheme), **sent))
    plain = await authenticate(scheme, answer_challenge(challenge(scheme), username="nobody"))

    assert [outcome.reason.code for outcome in (hashed, plain)] == ["user.unknown"] * 2  # type: ignore[union-attr]
    assert (hashed.facts, plain.facts) == ({"userhash": True}, {})


@pytest.mark.rfc("7616-10")
async def test_the_prefix_that_a_proxy_removes_is_put_back() -> None:
    """Clients digest the URL that they see, so ``public_prefix`` is added, in origin-form and in absolute-form."""
    scheme = digest_scheme(public_prefix="/api")
    for raw_path in (b"/a", b"http://inside/a"):
        request = digest_request(path="/a", raw_path=raw_path)
        await authentication_info(scheme, answer_challenge(challenge(scheme), uri="/api/a"), request)
        assert await rejection_code(scheme, answer_challenge(challenge(scheme), uri="/a"), request) == "uri.mismatch"


# --- The host of an absolute uri --------------------------------------------------------------------------------------


def _hosts(*values: bytes, **scope: Any) -> dict[str, Any]:
    return {"headers": [(b"host", value) for value in values], **scope}


OWN_HOST: list[tuple[str, dict[str, Any]]] = [
    ("http://testserver/", _hosts(b"testserver")),
    ("HTTP://TestServer/", _hosts(b"testSERVER")),
    ("http://testserver:80/", _hosts(b"testserver")),
    ("http://testserver/", _hosts(b"testserver:80")),
    ("http://testserver:/", _hosts(b"testserver")),
    ("https://testserver:443/", _hosts(b"testserver", scheme="http")),  # a proxy terminates TLS
    ("wss://testserver/", _hosts(b"testserver:443", type="websocket", scheme="wss")),
    ("ws://testserver:80/", _hosts(b"testserver", type="websocket", scheme="ws")),
    ("coap://testserver:5683/", _hosts(b"testserver:5683")),
    ("http://[2001:DB8::1]:8080/", _hosts(b"[2001:db8::1]:8080")),
    ("http://alice:S3CR3T@testserver/", _hosts(b"testserver")),
    # RFC 9112 section 3.2.2: the authority of the request target takes the place of Host.
    ("http://testserver/", _hosts(b"inside", raw_path=b"http://testserver:80/")),
]


@pytest.mark.rfc("7616-10")
@pytest.mark.parametrize(("uri", "scope"), OWN_HOST, ids=[uri for uri, _ in OWN_HOST])
async def test_an_absolute_uri_may_name_the_host_in_several_forms(uri: str, scope: dict[str, Any]) -> None:
    """Hosts are compared without case and without the default port of the scheme, as RFC 9110 section 4.2.3 says."""
    scheme = digest_scheme()

    await authentication_info(scheme, answer_challenge(challenge(scheme), uri=uri), digest_request(**scope))


OTHER_HOST: list[tuple[str, dict[str, Any], str, str | None]] = [
    ("http://other.example/", _hosts(b"testserver"), "other.example", "testserver"),
    ("http://testserver.other.example/", _hosts(b"testserver"), "testserver.other.example", "testserver"),
    ("http://testserver:8080/", _hosts(b"testserver"), "testserver:8080", "testserver"),
    ("http://testserver:443/", _hosts(b"testserver"), "testserver:443", "testserver"),
    ("https://testserver/", _hosts(b"testserver:80"), "testserver", "testserver:80"),
    ("http://testserver@other.example/", _hosts(b"testserver"), "other.example", "testserver"),
    ("http://alice:S3CR3T@other.example/", _hosts(b"testserver"), "other.example", "testserver"),
    ("http:///", _hosts(b"testserver"), "", "testserver"),
    ("http:///", _hosts(b""), "", ""),
    ("http://testserver/", _hosts(), "testserver", None),
    ("http://testserver/", _hosts(b"testserver", b"testserver"), "testserver", None),
    ("http://testserver/", _hosts(b"testserver", raw_path=b"http://inside/"), "testserver", "inside"),
]


@pytest.mark.rfc("7616-10")
@pytest.mark.parametrize(("uri", "scope", "digested", "requested"), OTHER_HOST, ids=[case[0] for case in OTHER_HOST])
async def test_an_absolute_uri_of_another_host_is_a_400(
    uri: str, scope: dict[str, Any], digested: str, requested: str | None
) -> None:
    """The path alone would match. The record names both hosts, and no user information of the ``uri``."""
    scheme = digest_scheme()

    said = await authenticate(scheme, answer_challenge(challenge(scheme), uri=uri), digest_request(**scope))

    assert isinstance(said, Rejected)
    assert (said.reason, said.subject) == (URI_MISMATCH, "alice")
    assert said.facts.get("requested") == requested
    assert {**said.facts, "requested": None} == {"differs_in": "authority", "digested": digested, "requested": None}


@pytest.mark.rfc("7616-10")
@pytest.mark.parametrize("own", ["cameras.example", "Cameras.Example:80"])
async def test_a_public_authority_takes_the_place_of_the_host(own: str) -> None:
    """Behind a proxy that replaces ``Host``, an absolute ``uri`` must name the public host. A relative one passes."""
    scheme, asked = digest_scheme(public_authority=own), digest_request(**_hosts(b"10.0.0.1:8000"))

    for uri in ("http://cameras.example/", "/"):
        await authentication_info(scheme, answer_challenge(challenge(scheme), uri=uri), asked)
    for uri in ("http://10.0.0.1:8000/", "http://other.example/", "http://cameras.example:8080/"):
        assert await rejection_code(scheme, answer_challenge(challenge(scheme), uri=uri), asked) == "uri.mismatch"


# --- What is not an answer to a challenge of ours ---------------------------------------------------------------------

FOREIGN: list[tuple[dict[str, Any], str, dict[str, object]]] = [
    ({"realm": "cameras"}, "realm.foreign", {"wanted": "orders"}),
    ({"realm": "Orders"}, "realm.foreign", {"wanted": "orders", "differs_by": "upper and lower case"}),
    ({"realm": "\xe9"}, "realm.foreign", {"wanted": "orders"}),
    ({"opaque": "x"}, "opaque.foreign", {"problem": "it is that of another server"}),
    ({"opaque": ""}, "opaque.foreign", {"problem": "it is that of another server"}),
    (
        {"opaque": None},
        "opaque.foreign",
        {"missing": ("opaque",), "problem": "the client does not send it back"},
    ),
    ({"algorithm": "MD5"}, "algorithm.unoffered", {"algorithm": "MD5", "wanted": ("SHA-256",)}),
    ({"algorithm": None}, "algorithm.unoffered", {"algorithm": "MD5", "wanted": ("SHA-256",)}),
    ({"algorithm": "SHA-256-sess"}, "algorithm.unoffered", {"algorithm": "SHA-256-SESS", "wanted": ("SHA-256",)}),
    ({"algorithm": "SHA-512-256"}, "algorithm.unoffered", {"algorithm": "SHA-512-256", "wanted": ("SHA-256",)}),
    ({"qop": "auth-int"}, "qop.unoffered", {"qop": "auth-int", "wanted": ("auth",)}),
    ({"qop": "AUTH"}, "qop.unoffered", {"qop": "AUTH", "wanted": ("auth",)}),
    ({"qop": "none"}, "qop.unoffered", {"qop": "none", "wanted": ("auth",)}),
]


async def test_a_realm_that_a_client_sends_stays_nowhere() -> None:
    """It may be a password in the wrong place: neither the record nor a cache keeps it."""
    before = _compare.cache_info()
    scheme = digest_scheme()

    assert (
        await rejection_code(scheme, answer_challenge(challenge(scheme), realm="s3cr3t"), digest_request())
        == "realm.foreign"
    )
    assert _compare.cache_info() == before


@pytest.mark.rfc("7616-8")
@pytest.mark.parametrize(("changes", "code", "facts"), FOREIGN)
async def test_a_parameter_that_was_not_offered_is_rejected(
    changes: dict[str, Any], code: str, facts: dict[str, object]
) -> None:
    """RFC 7616 section 3.4: another realm, algorithm or qop than offered is rejected, although the response is
    right."""
    accounts = DigestAccounts()
    scheme = digest_scheme(accounts)

    outcome = await authenticate(scheme, answer_challenge(challenge(scheme), **changes))

    assert isinstance(outcome, Rejected)
    assert (outcome.reason.code, outcome.subject, outcome.facts) == (code, "alice", facts)
    assert accounts.lookups == []


@pytest.mark.rfc("7616-8")
async def test_an_algorithm_may_be_written_in_any_case() -> None:
    """The client may write the algorithm in any case."""
    scheme = digest_scheme()

    await authentication_info(scheme, answer_challenge(challenge(scheme), algorithm="sha-256"))


@pytest.mark.parametrize(
    ("rest", "problem"),
    [
        (b"", "no realm"),
        (b"foo", "not a list of auth-params"),
        (b'username="alice", realm="orders", nonce="n", uri="/", response="' + b"0" * 64 + b'"', "no qop"),
        (b"qop=auth, qop=auth", "duplicate auth-param"),
    ],
)
async def test_malformed_credentials_are_rejected_before_any_look_up(rest: bytes, problem: str) -> None:
    """The form of RFC 2069 is malformed too. ``Digest foo`` is a 401."""
    accounts = DigestAccounts()

    outcome = await authenticate(digest_scheme(accounts), rest)

    assert isinstance(outcome, Rejected)
    assert (outcome.reason, outcome.subject, outcome.facts) == (CREDENTIALS_MALFORMED, None, {"problem": problem})
    assert accounts.lookups == []


# --- Unknown, wrong, disabled: one answer -----------------------------------------------------------------------------

STRANGERS = [
    ("alice", "wrong", "response.wrong"),
    ("alice", "", "response.wrong"),
    ("nobody", "wonderland", "user.unknown"),
    ("mallory", "wrong", "response.wrong"),
    ("mallory", "secret", "account.disabled"),
]


@pytest.mark.rfc("7616-5", "7616-15")
@pytest.mark.parametrize(("username", "password", "code"), STRANGERS)
async def test_only_the_log_tells_rejected_logins_apart(username: str, password: str, code: str) -> None:
    """An unknown name, a wrong password and a disabled account all get a 401 without ``stale``."""
    scheme = digest_scheme()

    outcome = await authenticate(scheme, answer_challenge(challenge(scheme), password, username))

    assert isinstance(outcome, Rejected)
    assert (outcome.reason.code, outcome.reason.status, outcome.subject) == (code, 401, username)
    assert (outcome.authenticated, outcome.facts, outcome.response_headers) == (False, {}, ())
    assert challenge(scheme, outcome.reason).get("stale") is None


@pytest.mark.rfc("7616-17")
async def test_responses_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole expected response is compared with the whole response that was sent, for an unknown name too."""
    compared: list[tuple[bytes, bytes]] = []

    def spy(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return compare(one, other)

    compare = hmac.compare_digest
    scheme = digest_scheme()
    params = answer_challenge(challenge(scheme))
    monkeypatch.setattr(hmac, "compare_digest", spy)

    await authentication_info(scheme, params)
    await rejection_code(scheme, {**params, "username": "nobody"})

    right = (params["response"] or "").encode()
    assert (right, right) in compared
    assert compared[-1][1] == right != compared[-1][0]
    assert {len(one) for one, other in compared if other == right} == {64}


ALGORITHMS = ["SHA-256", "SHA-256-sess", "SHA-512-256", "SHA-512-256-sess", "MD5", "MD5-sess"]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_an_unknown_name_costs_as_much_as_a_known_one(algorithm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unknown name costs the same number of hashes over as many bytes, if the names have the same length."""
    sizes: list[int] = []

    def counting(name: str) -> Hash:
        hashed = hash_of(name)

        def count(octets: bytes) -> bytes:
            sizes.append(len(octets))
            return hashed(octets)

        return count

    monkeypatch.setattr(options, "hash_of", counting)
    scheme = digest_scheme(DigestAccounts(algorithm.removesuffix("-sess")), algorithms=[algorithm])
    costs = set()
    for username, password in [("alice", "wrong"), ("nobody", "x"), ("mallory", "secret"), ("mallory", "x")]:
        sizes.clear()
        assert isinstance(await authenticate(scheme, answer_challenge(challenge(scheme), password, username)), Rejected)
        costs.add(tuple(sizes))

    assert len(costs) == 1
