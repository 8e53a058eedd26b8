"""The hashes of Digest, compared with published vectors and with other clients."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from typing import Any, NamedTuple, cast
from urllib.parse import urlsplit

import aiohttp
import httpx2
import pytest
from requests.auth import HTTPDigestAuth
from requests.utils import parse_dict_header
from yarl import URL

from authguard.accounts.digest_account import hash_of
from authguard.wire.authorization import auth_params, split
from authguard.wire.digest import DigestCredentials, expected_response, ha1, resource, session, user_hash
from tests.support.vectors import load_vectors


class Case(NamedTuple):
    field: bytes
    password: str
    method: bytes
    body: bytes | None
    name: str | None


CASES = [
    Case(
        case["field"].encode(),
        case["password"],
        case.get("method", "GET").encode(),
        case["body"].encode() if "body" in case else None,
        case.get("name"),
    )
    for source in load_vectors("digest.json")["sources"]
    for case in source["cases"]
]


def response_of(
    credentials: DigestCredentials, password: str, method: bytes, body: bytes | None, name: str | None = None
) -> bytes:
    """The response that these credentials have to carry for this password."""
    hash_function = hash_of(credentials.algorithm.removesuffix("-SESS"))
    a1 = ha1(hash_function, name or credentials.username, credentials.realm.decode(), password)
    if credentials.algorithm.endswith("-SESS"):
        a1 = session(hash_function, a1, credentials.nonce, credentials.cnonce)
    return expected_response(hash_function, a1, credentials, method, body)


@pytest.mark.rfc("7616-1", "7616-11")
@pytest.mark.parametrize("case", CASES, ids=[str(number) for number in range(len(CASES))])
def test_responses_are_those_that_others_computed(case: Case) -> None:
    """Vectors of RFC 7616 with erratum 4897, RFC 2617, SIP, SIPp, Chromium, lighttpd and curl verify."""
    credentials = DigestCredentials.from_auth_params(case.field)

    assert response_of(credentials, case.password, case.method, case.body, case.name) == credentials.response
    assert response_of(credentials, case.password + "x", case.method, case.body, case.name) != credentials.response


@pytest.mark.rfc("7616-12")
def test_the_hash_of_a_name_is_that_of_the_erratum() -> None:
    """The userhash equals that of RFC 7616 section 3.9.2, as corrected by erratum 4897."""
    hash_function = hash_of("SHA-512-256")

    assert user_hash(hash_function, "Jäsøn Doe", "api@example.org") == (
        b"793263caabb707a56211940d90411ea4a575adeccb7e360aeb624ed06ece9b0b"
    )


@pytest.mark.rfc("7616-13")
def test_names_realms_and_passwords_are_hashed_in_nfc() -> None:
    """Section 4: decomposed text, as macOS produces it, gives the same digest."""
    hash_function = hash_of("SHA-256")
    composed = ("Jäsøn", "Größe", "pässwörd")
    decomposed = [unicodedata.normalize("NFD", text) for text in composed]

    assert decomposed != list(composed)
    assert ha1(hash_function, *decomposed) == ha1(hash_function, *composed)
    assert user_hash(hash_function, *decomposed[:2]) == user_hash(hash_function, *composed[:2])


def by_requests(challenge: str, url: str) -> str:
    """The ``Authorization`` value that requests computes."""
    auth = HTTPDigestAuth("alice", "correct horse")
    auth.init_per_thread_state()
    auth._thread_local.chal = parse_dict_header(challenge)
    return cast("str", auth.build_digest_header("GET", url))


def by_httpx2(challenge: str, url: str) -> str:
    """The ``Authorization`` value that httpx2 computes."""
    flow = httpx2.DigestAuth("alice", "correct horse").auth_flow(httpx2.Request("GET", url))
    request = next(flow)
    response = httpx2.Response(401, headers={"www-authenticate": f"Digest {challenge}"}, request=request)
    return flow.send(response).headers["authorization"]


async def by_aiohttp(challenge: str, url: str) -> str:
    """The ``Authorization`` value that aiohttp computes."""
    auth = aiohttp.DigestAuthMiddleware("alice", "correct horse")
    auth._challenge = cast("Any", {name: value.decode() for name, value in auth_params(challenge.encode()).items()})
    return await auth._encode("GET", URL(url, encoded=True), b"")


CLIENTS = [
    *[(by_requests, name) for name in ("MD5", "MD5-SESS", "SHA-256")],
    *[(by_httpx2, name) for name in ("MD5", "MD5-SESS", "SHA-256", "SHA-256-SESS")],
    *[(by_aiohttp, name) for name in ("MD5", "MD5-SESS", "SHA-256", "SHA-256-SESS")],
]


@pytest.mark.parametrize(
    ("client", "algorithm"), CLIENTS, ids=[f"{client.__name__} {name}" for client, name in CLIENTS]
)
async def test_clients_compute_the_same(client: Callable[[str, str], Any], algorithm: str) -> None:
    """requests, httpx2 and aiohttp, each with its own cnonce, send the response that the server expects."""
    url = "http://testserver/a%2Fb%20c?x=%31&y"
    challenge = f'realm="orders", nonce="n0", qop="auth", opaque="o", algorithm={algorithm}, charset=UTF-8'
    result = client(challenge, url)
    field = result if isinstance(result, str) else await result

    credentials = DigestCredentials.from_auth_params(split(field.encode()).rest)

    assert (credentials.username, credentials.algorithm, credentials.opaque) == ("alice", algorithm, b"o")
    assert credentials.count == 1
    assert resource(credentials.uri) == urlsplit(url)._replace(scheme="", netloc="").geturl().encode()
    assert response_of(credentials, "correct horse", b"GET", None) == credentials.response
