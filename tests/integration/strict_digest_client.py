"""A Digest client that follows RFC 7616 where few programs do: it goes on with nextnonce and verifies rspauth."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Generator, Sequence
from dataclasses import replace

import httpx2

from authguard.accounts.digest_account import hash_of
from authguard.wire.authorization import auth_params
from authguard.wire.challenge import Challenge
from authguard.wire.digest import DigestCredentials, expected_response, ha1
from tests.integration.accounts import Login
from tests.integration.digest_clients import Step

_SHA256 = hash_of("SHA-256")


class StrictDigestAuth(httpx2.Auth):
    """Digest for httpx2 with SHA-256 and ``qop=auth``, which uses nextnonce and verifies rspauth."""

    def __init__(self, login: Login) -> None:
        self._login = login
        self._sent: DigestCredentials | None = None

    def auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response]:
        """Send the credentials of the last response. If there are none, or they are stale, answer the challenge."""
        if self._sent is not None:
            self._present(request)
        response = yield request
        if response.status_code == 401 and (self._sent is None or "stale=true" in response.headers["www-authenticate"]):
            params = dict(Challenge.from_header(response.headers.get_list("www-authenticate")[0].encode()).params)
            realm, nonce, opaque = (params[name].encode() for name in ("realm", "nonce", "opaque"))
            self._sent = DigestCredentials(
                self._login.name, realm, nonce, b"", b"", b"auth", b"", b"", "SHA-256", opaque
            )
            self._present(request)
            response = yield request
        # The responses of public paths have no rspauth.
        if response.status_code == 200 and not request.url.path.startswith("/advance/"):
            self._verify(response)

    def _ha1(self, sent: DigestCredentials) -> bytes:
        return ha1(_SHA256, self._login.name, sent.realm.decode(), self._login.password)

    def _present(self, request: httpx2.Request) -> None:
        assert self._sent is not None
        nc = b"%08x" % (int(self._sent.nc or b"0", 16) + 1)
        sent = replace(self._sent, uri=request.url.raw_path, nc=nc, cnonce=secrets.token_hex(8).encode())
        self._sent = replace(sent, response=expected_response(_SHA256, self._ha1(sent), sent, request.method.encode()))
        request.headers["authorization"] = "Digest " + self._sent.to_auth_params().decode()

    def _verify(self, response: httpx2.Response) -> None:
        assert self._sent is not None
        info = auth_params(response.headers["authentication-info"].encode())
        assert hmac.compare_digest(info["rspauth"], expected_response(_SHA256, self._ha1(self._sent), self._sent, b""))
        assert (info["nc"], info["cnonce"]) == (self._sent.nc, self._sent.cnonce)
        if "nextnonce" in info:
            self._sent = replace(self._sent, nonce=info["nextnonce"], nc=b"")


def strict_client(url: str, login: Login, steps: Sequence[Step]) -> list[str]:
    """The ``Client`` with this authentication."""
    with httpx2.Client(auth=StrictDigestAuth(login), trust_env=False, timeout=20) as client:
        return [client.request("POST" if body else "GET", url + target, content=body).text for target, body in steps]
