"""Tokens that are bound to certificates, by curl with its certificate, through nginx that ends TLS, to real servers."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from authguard.testing import ClientCertificate
from tests.integration.apps.common import CERTIFICATE_HEADER as HEADER
from tests.integration.apps.common import TRUSTED
from tests.integration.nginx import NGINX, running_nginx
from tests.support.markdown import code_block
from tests.support.servers.app_server import AppServer, app_token, bearer_field, request_bytes

CURL = shutil.which("curl")

pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(NGINX is None or CURL is None, reason="nginx or curl is not here"),
]

MISMATCH, MISSING, SENDER = "certificate.mismatch", "certificate.missing", "certificate.sender_refused"
AUTHORITY = ClientCertificate("authority")
#: Those of the clients; each may have a key of its own.
ALICE, THIEF = (ClientCertificate(name, issuer=AUTHORITY) for name in ("alice", "thief"))
TOKEN = app_token("alice", cnf=ALICE.cnf)


@pytest.fixture(name="files", scope="module")
def _files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The certificates and keys of the server and of the clients, and the authority that has signed them all."""
    folder = tmp_path_factory.mktemp("certificates")
    server = ClientCertificate("127.0.0.1", issuer=AUTHORITY)
    (folder / "authority.pem").write_text(AUTHORITY.pem)
    for name, certificate in (("server", server), ("alice", ALICE), ("thief", THIEF)):
        (folder / f"{name}.pem").write_text(certificate.pem)
        (folder / f"{name}.key").write_text(certificate.key_pem)
    return folder


@contextmanager
def proxy(files: Path, target: str, fields: str = "") -> Iterator[str]:
    """The URL of nginx in front of the app, as the page configures it. Its clients may have a certificate."""
    block = code_block("schemes/mutual-tls.md", "ssl_verify_client")
    for old, new in (
        ("/etc/nginx/clients.pem", f"{files}/authority.pem"),
        ("http://unix:/run/app.sock", target),
        ("$ssl_client_escaped_cert;", f"$ssl_client_escaped_cert; {fields}"),
    ):
        assert old in block
        block = block.replace(old, new)
    block += f"ssl_certificate {files}/server.pem; ssl_certificate_key {files}/server.key;"
    with running_nginx(block, tls=True) as [url]:
        yield url


def call(url: str, files: Path, who: str | None, *fields: str, token: str = TOKEN) -> tuple[int, str]:
    """The status and the body that curl gets as this client; None has no certificate."""
    assert CURL is not None
    command = [CURL, "--silent", "--insecure", "--noproxy", "*", "--write-out", "\n%{http_code}"]
    if who is not None:
        command += ["--cert", str(files / f"{who}.pem"), "--key", str(files / f"{who}.key")]
    for field in (bearer_field(token), *fields):
        command += ["--header", field]
    done = subprocess.run([*command, f"{url}/orders"], capture_output=True, check=True, timeout=60)
    body, _, status = done.stdout.decode().rpartition("\n")
    return int(status), body


def check(server: AppServer, url: str, files: Path) -> None:
    """Alice gets in, and nobody else does, whatever is sent."""
    spoofed = f"{HEADER}: {ALICE.escaped_pem}"

    def refused(who: str | None, reason: str, *fields: str) -> None:
        before = len(server.lines)
        status, _ = call(url, files, who, *fields)
        assert status == 401
        assert f"denied {reason}" in server.wait_for("denied ", before)

    assert call(url, files, "alice") == (200, "alice")
    # The token is remembered by now.
    refused("thief", MISMATCH)
    refused(None, MISSING)
    # nginx replaces what a client writes, and removes it if there is nothing to replace it with.
    refused("thief", MISMATCH, spoofed)
    refused(None, MISSING, spoofed)
    assert call(url, files, "alice", f"{HEADER}: {THIEF.escaped_pem}") == (200, "alice")
    assert call(url, files, None, token=app_token("bob")) == (200, "bob")


@pytest.mark.block("schemes/mutual-tls.md", "ssl_verify_client")
@pytest.mark.parametrize(
    ("program", "trusted"), [("uvicorn", "unix:{}"), ("hypercorn", "unix:")], ids=["uvicorn", "hypercorn"]
)
def test_over_a_unix_socket(program: str, trusted: str, files: Path, tmp_path: Path) -> None:
    """Uvicorn tells the app the path, hypercorn only that it is none of TCP. Forwarded fields change nothing."""
    path = tmp_path / "app.sock"
    bind = {"uvicorn": ("--uds", str(path)), "hypercorn": ("--bind", f"unix:{path}")}[program]
    server = AppServer("certificates:app", *bind, program=program, **{TRUSTED: trusted.format(path)})
    try:
        server.wait_for(str(path))
        with proxy(files, f"http://unix:{path}", "proxy_set_header X-Forwarded-For $remote_addr;") as url:
            check(server, url, files)
        assert not [line for line in server.lines if "certificate.sender" in line or "Traceback" in line]
    finally:
        server.stop()


@pytest.mark.parametrize("program", ["uvicorn", "hypercorn"])
def test_over_a_port(program: str, files: Path) -> None:
    """The address of the proxy is believed where the server does not change it."""
    options = ("--no-proxy-headers",) if program == "uvicorn" else ()
    server = AppServer("certificates:app", *options, program=program, **{TRUSTED: "127.0.0.1"})
    try:
        with proxy(files, server.url) as url:
            check(server, url, files)
    finally:
        server.stop()


def sent_directly(server: AppServer, *fields: str) -> tuple[int, str]:
    """The status of a request that did not come through nginx, and the line of its refusal."""
    before = len(server.lines)
    status = server.send(request_bytes("/orders", bearer_field(TOKEN), *fields)).status
    return status, server.wait_for("denied ", before)


SPOOFED = f"{HEADER}: {ALICE.escaped_pem}"


def test_a_header_that_is_sent_directly_is_refused(files: Path) -> None:
    """The port is reachable by everybody, and the proxy has another address."""
    server = AppServer("certificates:app", **{TRUSTED: "10.0.0.0/8"})
    try:
        status, line = sent_directly(server, SPOOFED)
        assert (status, SENDER in line, "sender=127.0.0.1" in line) == (401, True, True)
        assert MISSING in sent_directly(server)[1]
        server.wait_for("This is logged once")
    finally:
        server.stop()


@pytest.mark.parametrize("address", ["10.0.0.7", "10.0.0.7:5555"], ids=["address", "with-port"])
def test_a_client_that_chooses_its_address_is_refused(address: str) -> None:
    """Uvicorn believes X-Forwarded-For of everybody here, and start-up has warned of it."""
    server = AppServer("certificates:app", "--forwarded-allow-ips", "*", **{TRUSTED: "10.0.0.0/8"})
    try:
        status, line = sent_directly(server, SPOOFED, f"X-Forwarded-For: {address}")
        assert (status, SENDER in line, "sender=10.0.0.7" in line) == (401, True, True)
        assert "X-Forwarded-For of everybody" in server.wait_for("certificate.sender client_certificate")
    finally:
        server.stop()


def test_a_server_that_replaces_the_address_of_the_proxy_is_told_of(files: Path) -> None:
    """Uvicorn does by default, if the proxy is on the same host and sends X-Forwarded-For. So nobody is believed."""
    server = AppServer("certificates:app", **{TRUSTED: "127.0.0.1"})
    try:
        with proxy(files, server.url, "proxy_set_header X-Forwarded-For $remote_addr;") as url:
            status, _ = call(url, files, "alice")
        line = server.wait_for("denied ")
        assert (status, SENDER in line, "port 0" in line) == (401, True, True)
        assert "replaces the address 127.0.0.1" in server.wait_for("certificate.sender client_certificate")
    finally:
        server.stop()
