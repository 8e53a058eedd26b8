"""The arithmetic of Digest: what others computed, and what clients compute."""

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
from authguard.wire.digest import DigestCredentials, expected, ha1, resource, session, user_hash
from tests.wire.tokens import vectors


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
    for source in vectors("digest.json")["sources"]
    for case in source["cases"]
]


def right(sent: DigestCredentials, password: str, method: bytes, body: bytes | None, name: str | None = None) -> bytes:
    """The response that the password makes."""
    hashed = hash_of(sent.algorithm.removesuffix("-SESS"))
    stored = ha1(hashed, name or sent.username, sent.realm.decode(), password)
    if sent.algorithm.endswith("-SESS"):
        stored = session(hashed, stored, sent.nonce, sent.cnonce)
    return expected(hashed, stored, sent, method, body)


@pytest.mark.rfc("7616-1", "7616-11")
@pytest.mark.parametrize("case", CASES, ids=[str(number) for number in range(len(CASES))])
def test_responses_are_those_that_others_computed(case: Case) -> None:
    """RFC 7616 and its erratum 4897, RFC 2617, SIP, SIPp, Chromium, lighttpd and curl: their credentials fit."""
    sent = DigestCredentials.from_auth_params(case.field)

    assert right(sent, case.password, case.method, case.body, case.name) == sent.response
    assert right(sent, case.password + "x", case.method, case.body, case.name) != sent.response


@pytest.mark.rfc("7616-12")
def test_the_hash_of_a_name_is_that_of_the_erratum() -> None:
    """RFC 7616 section 3.9.2 as erratum 4897 corrects it."""
    hashed = hash_of("SHA-512-256")

    assert user_hash(hashed, "Jäsøn Doe", "api@example.org") == (
        b"793263caabb707a56211940d90411ea4a575adeccb7e360aeb624ed06ece9b0b"
    )


@pytest.mark.rfc("7616-13")
def test_names_realms_and_passwords_are_hashed_in_nfc() -> None:
    """Section 4: decomposed, as macOS types them, they make the same digest."""
    hashed = hash_of("SHA-256")
    composed = ("Jäsøn", "Größe", "pässwörd")
    apart = [unicodedata.normalize("NFD", text) for text in composed]

    assert apart != list(composed)
    assert ha1(hashed, *apart) == ha1(hashed, *composed)
    assert user_hash(hashed, *apart[:2]) == user_hash(hashed, *composed[:2])


def by_requests(challenge: str, url: str) -> str:
    """What requests answers."""
    auth = HTTPDigestAuth("alice", "correct horse")
    auth.init_per_thread_state()
    auth._thread_local.chal = parse_dict_header(challenge)
    return cast("str", auth.build_digest_header("GET", url))


def by_httpx2(challenge: str, url: str) -> str:
    """What httpx2 answers."""
    flow = httpx2.DigestAuth("alice", "correct horse").auth_flow(httpx2.Request("GET", url))
    first = next(flow)
    answer = httpx2.Response(401, headers={"www-authenticate": f"Digest {challenge}"}, request=first)
    return flow.send(answer).headers["authorization"]


async def by_aiohttp(challenge: str, url: str) -> str:
    """What aiohttp answers."""
    auth = aiohttp.DigestAuthMiddleware("alice", "correct horse")
    auth._challenge = cast("Any", {name: value.decode() for name, value in auth_params(challenge.encode()).items()})
    return await auth._encode("GET", URL(url, encoded=True), b"")


OTHERS = [
    *[(by_requests, name) for name in ("MD5", "MD5-SESS", "SHA-256")],
    *[(by_httpx2, name) for name in ("MD5", "MD5-SESS", "SHA-256", "SHA-256-SESS")],
    *[(by_aiohttp, name) for name in ("MD5", "MD5-SESS", "SHA-256", "SHA-256-SESS")],
]


@pytest.mark.parametrize(("client", "algorithm"), OTHERS, ids=[f"{one.__name__} {name}" for one, name in OTHERS])
async def test_clients_compute_the_same(client: Callable[[str, str], Any], algorithm: str) -> None:
    """requests, httpx2 and aiohttp, each with a cnonce of its own, make the response that is expected of them."""
    url = "http://testserver/a%2Fb%20c?x=%31&y"
    challenge = f'realm="orders", nonce="n0", qop="auth", opaque="o", algorithm={algorithm}, charset=UTF-8'
    found = client(challenge, url)
    field = found if isinstance(found, str) else await found

    sent = DigestCredentials.from_auth_params(split(field.encode()).rest)

    assert (sent.username, sent.algorithm, sent.opaque, sent.count) == ("alice", algorithm, b"o", 1)
    assert resource(sent.uri) == urlsplit(url)._replace(scheme="", netloc="").geturl().encode()
    assert right(sent, "correct horse", b"GET", None) == sent.response
