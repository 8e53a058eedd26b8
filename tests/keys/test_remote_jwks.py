"""``RemoteJWKS`` over the network: the request that it sends, and what each possible response leads to."""

from __future__ import annotations

import errno
import os
import ssl
import tracemalloc
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from authguard import BackendUnavailable, RemoteJWKS
from tests.support.key_source import fetch_problem
from tests.support.servers.key_server import (
    Behaviour,
    Flood,
    drip,
    hang,
    respond_with,
    running_key_server,
    speak_ssh,
    truncate,
)
from tests.support.tokens import ec_key, key_set, private_pem, rsa_key

GOOD = key_set(a=rsa_key())


async def test_keys_come_over_http_with_insecure_http() -> None:
    """One request is sent, with an Accept of its own, and without cookies, credentials or compression."""
    with running_key_server(GOOD) as server:
        keys = RemoteJWKS(server.url, insecure_http=True)

        held_keys = await keys.keys_for(kid="a", algorithm="RS256")

    assert [(key.kid, key.algorithm) for key in held_keys] == [("a", "RS256")]
    ((path, fields),) = server.requests
    assert path == "/jwks"
    assert fields["accept"] == "application/jwk-set+json, application/json"
    assert fields["accept-encoding"] == "identity"
    assert not {"authorization", "cookie", "referer", "origin"} & set(fields)


def test_nothing_is_fetched_while_the_app_is_built() -> None:
    """Nothing is fetched while the app is built, nor when ``held`` is called for the first time."""
    with running_key_server(GOOD) as server:
        keys = RemoteJWKS(server.url, insecure_http=True)

        assert keys.held(kid="a", algorithm="RS256") is None
        assert server.request_count == 0


@pytest.mark.parametrize(
    ("behaviour", "told"),
    [
        (hang, "it gave no answer within 0.2 s"),
        (drip, "it gave no answer within 0.2 s"),
        (respond_with(b"", 500), "it answers with status 500"),
        (respond_with(b"", 404), "it answers with status 404"),
        (respond_with(b"", 204), "it answers with status 204"),
        (respond_with(b"", 302, location="http://10.0.0.1/jwks"), "it redirects, which is not followed"),
        (respond_with(b"", 308, location="/elsewhere"), "it redirects, which is not followed"),
        (respond_with(b"<!doctype html><title>Sign in</title>"), "what it answers is no JSON object"),
        (respond_with(b""), "what it answers is no JSON object"),
        (respond_with(b"[]"), "what it answers is no JSON object"),
        (respond_with(b"[" * 100_000), "what it answers is no JSON object"),
        (respond_with(b'{"error": "nobody here"}'), "what it answers is no JWK Set"),
        (respond_with(b'{"keys": {}}'), "what it answers is no JWK Set"),
        (respond_with(key_set()), "its key set is empty"),
        (respond_with(key_set({"kty": "RSA"})), "no key of its key set can be used"),
        (respond_with(key_set(*[{}] * 2001)), "its key set holds more than 2000 keys"),
        (truncate, "its answer broke off, or is no HTTP"),
        (speak_ssh, "its answer broke off, or is no HTTP"),
        (Flood(announced=True), "its answer is longer than 1048576 octets"),
        (Flood(announced=False), "its answer is longer than 1048576 octets"),
        (respond_with(GOOD, content_encoding="gzip"), "its answer is compressed, which was not asked for"),
    ],
)
async def test_every_bad_response_has_a_phrase_of_its_own(behaviour: Behaviour, told: str) -> None:
    """Each bad response costs one request and no redirect, and the record has a fixed phrase and nothing of the
    response."""
    with running_key_server() as server:
        server.behaviour = behaviour
        late = behaviour in {hang, drip}
        keys = RemoteJWKS(server.url, insecure_http=True, timeout=0.2 if late else 10)

        assert await fetch_problem(keys) == told
        # On a busy machine the time may be over before anything was sent.
        assert server.request_count == 1 or (late and server.request_count == 0)


@pytest.mark.parametrize("announced", [True, False])
async def test_ten_megabytes_are_not_held(announced: bool) -> None:
    """A response that is too large is not read to its end, and the connection is closed."""
    flood = Flood(announced=announced)
    with running_key_server() as server:
        keys = RemoteJWKS(server.url, insecure_http=True, limit=64 * 1024)
        await fetch_problem(keys)  # imports are not part of the measurement
        server.behaviour, keys = flood, RemoteJWKS(server.url, insecure_http=True, limit=64 * 1024)
        tracemalloc.start()
        try:
            assert await fetch_problem(keys) == "its answer is longer than 65536 octets"
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert flood.over.wait(30)

    assert peak < 2 * 1024 * 1024
    assert flood.sent < 9 * 1024 * 1024


async def fetch_facts(keys: RemoteJWKS) -> Mapping[str, object]:
    """The facts of a failed fetch."""
    with pytest.raises(BackendUnavailable) as caught:
        await keys.warm()
    return caught.value.facts


async def test_an_unreachable_server_is_reported() -> None:
    """R006: a refused connection and a host name without an address are told apart in the record."""
    with running_key_server() as server:
        url = server.url

    refused, nameless = RemoteJWKS(url, insecure_http=True), RemoteJWKS("https://nobody.invalid/jwks")
    assert [await fetch_problem(keys) for keys in (refused, nameless)] == ["it cannot be reached"] * 2
    assert await fetch_facts(refused) == {"cause": os.strerror(errno.ECONNREFUSED)}
    assert await fetch_facts(nameless) == {"cause": "its name is not found"}


def _certificate(folder: Path) -> ssl.SSLContext:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    begin = datetime.now(UTC) - timedelta(days=1)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(ec_key().public_key())
        .serial_number(1)
        .not_valid_before(begin)
        .not_valid_after(begin + timedelta(days=2))
        .sign(ec_key(), hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(made.public_bytes(Encoding.PEM))
    (folder / "key.pem").write_bytes(private_pem(ec_key()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context


@pytest.mark.parametrize("certified", [True, False])
async def test_a_tls_failure_is_reported(certified: bool, tmp_path: Path) -> None:
    """R006: an untrusted certificate and a server without TLS are told apart in the record, in the words of OpenSSL."""
    with running_key_server(GOOD) as server:
        if certified:
            context = _certificate(tmp_path)
            server.stop()
            server.tls = lambda plain: context.wrap_socket(plain, server_side=True, do_handshake_on_connect=False)
            server.start()

        keys = RemoteJWKS(server.url.replace("http:", "https:"))
        assert await fetch_problem(keys) == "its TLS is at fault"
        cause = str((await fetch_facts(keys))["cause"])
        assert ("self" in cause and "signed" in cause) if certified else cause.isupper()
        assert server.request_count == 0
