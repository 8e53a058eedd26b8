"""The HTTP client that is used if an app does not bring one."""

from __future__ import annotations

import ssl
import sys
from pathlib import Path
from typing import Any

import httpx2
import pytest

from authguard import ConfigurationError, Introspection, RemoteJWKS, http_client
from authguard.http_client import HttpPost
from tests.support.schemes.introspection import CLIENT_OPTIONS
from tests.support.servers.key_server import running_key_server
from tests.support.servers.raw_server import running_raw_server
from tests.support.tokens import key_set, rsa_key

GOOD = key_set(a=rsa_key())


@pytest.fixture
def broken_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An environment with a proxy that does not exist, and with certificates that do not exist."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
        monkeypatch.setenv(name.lower(), "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "nowhere.pem"))
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login alice password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    http_client._ssl_context.renew()


@pytest.mark.usefixtures("broken_environment")
async def test_nothing_is_taken_from_the_environment() -> None:
    """The client takes neither a proxy nor certificates nor passwords from the environment."""
    with pytest.raises(FileNotFoundError):
        httpx2.AsyncClient()
    with running_key_server(GOOD) as server:
        await RemoteJWKS(server.url, insecure_http=True).warm()

        assert [path for path, _ in server.requests] == ["/jwks"]
        assert "authorization" not in server.requests[0][1]


@pytest.mark.peer
@pytest.mark.usefixtures("broken_environment")
async def test_a_post_takes_nothing_from_the_environment() -> None:
    """POST requests use the same client, which ignores the environment."""
    async with running_raw_server(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}") as server:
        assert await HttpPost()(server.url, {}, b"token=x") == (200, b"{}")

    assert b"authorization" not in server.requests[0].lower()


def test_certificates_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The certificates are read once while the app is built, for all key servers, from where httpx2 reads them by
    default."""
    instances: list[dict[str, Any]] = []

    def create(**options: Any) -> ssl.SSLContext:
        instances.append(options)
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

    http_client._ssl_context.renew()
    with monkeypatch.context() as patched:
        patched.setattr(httpx2, "create_ssl_context", create)
        for _ in range(3):
            RemoteJWKS("https://login.example/jwks")
            Introspection("https://login.example/introspect", issuer="x", audience="y", **CLIENT_OPTIONS)
        for _ in range(3):
            http_client.default_client()
    http_client._ssl_context.renew()

    assert instances == [{"trust_env": False}]


def test_servers_are_verified() -> None:
    """The client verifies the certificate of a server and its host name."""
    trusted = http_client._ssl_context()

    assert (trusted.verify_mode, trusted.check_hostname) == (ssl.CERT_REQUIRED, True)


def test_a_client_follows_no_redirect_and_has_no_time_out_of_its_own() -> None:
    """The client follows no redirect. It has no timeout, because each fetch has a deadline as a whole."""
    made = http_client.default_client()

    assert (made.follow_redirects, made.trust_env, made.timeout) == (False, False, httpx2.Timeout(None))


@pytest.mark.parametrize("argument", ["fetch", "post"])
def test_httpx2_is_an_extra(argument: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without httpx2 the error names the extra, and the function that can replace it."""
    monkeypatch.setitem(sys.modules, "httpx2", None)

    with pytest.raises(ConfigurationError, match=f"^{argument}: .* or give {argument}=") as caught:
        http_client.check_httpx2(argument)

    assert caught.value.__context__ is None
