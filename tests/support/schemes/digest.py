"""A Digest client that computes with ``hashlib`` alone, and stores of accounts and nonces that a test can change."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import anyio.lowlevel

from authguard.accounts.account import NOT_NOW, NotNow
from authguard.accounts.digest_account import DigestAccount
from authguard.model import Accepted, Denied, Moment, Outcome, Rejected
from authguard.reasons import Reason
from authguard.request import AuthRequest
from authguard.schemes.digest.scheme import Digest
from authguard.state.nonce_store import NonceStore, NonceUse
from authguard.testing import ManualClock
from authguard.wire.authorization import Credentials
from authguard.wire.challenge import Challenge
from tests.support.asgi import http_scope
from tests.support.clock import NOW

SECRET = "a secret of thirty-two bytes, and more"
REALM = "orders"
PASSWORDS = {"alice": "wonderland", "mallory": "secret", "Jäsøn": "Secret, or not?"}

_HASHES = {"MD5": "md5", "SHA-256": "sha256", "SHA-512-256": "sha512_256"}
_BARE = {"algorithm", "qop", "nc", "userhash", "username*"}

#: The parameters that a client sends, by name. One that is None is left out.
DigestParams = dict[str, str | None]


def digest_hash(algorithm: str, *parts: str | bytes) -> str:
    """``H(a:b:c)`` of RFC 7616 section 3.4.1 in hexadecimal digits, computed without authguard."""
    data = b":".join(part if isinstance(part, bytes) else part.encode("latin-1") for part in parts)
    return hashlib.new(_HASHES[algorithm.upper().removesuffix("-SESS")], data).hexdigest()


def stored_ha1(username: str, password: str, realm: str = REALM, algorithm: str = "SHA-256") -> str:
    """``H(A1)`` of a password, as a store keeps it."""
    return digest_hash(algorithm, username.encode(), realm.encode(), password.encode())


def userhash(username: str) -> str:
    """The hash that a client sends for a name with ``userhash=true``."""
    return digest_hash("SHA-256", username.encode(), REALM.encode())


def ha1(params: DigestParams, password: str, username: str = "alice") -> str:
    """``H(A1)`` for these parameters, a session algorithm included."""
    algorithm = params["algorithm"] or "MD5"
    a1 = digest_hash(algorithm, username.encode(), params["realm"] or "", password.encode())
    if algorithm.upper().endswith("-SESS"):
        a1 = digest_hash(algorithm, a1, params["nonce"] or "", params["cnonce"] or "")
    return a1


def digest_response(
    params: DigestParams, a1: str, method: str = "GET", body: bytes = b"", qop: str | None = None
) -> str:
    """The ``response`` parameter for a request; with no method, and the ``qop`` of the answer, the ``rspauth``."""
    algorithm = params["algorithm"] or "MD5"
    a2 = [method, params["uri"] or ""]
    if params["qop"] == "auth-int" and qop is None:
        a2.append(digest_hash(algorithm, body))
    parts = [params[name] or "" for name in ("nonce", "nc", "cnonce")]
    return digest_hash(algorithm, a1, *parts, qop or params["qop"] or "", digest_hash(algorithm, *a2))


def answer_challenge(
    challenge: Challenge,
    password: str = "wonderland",
    username: str = "alice",
    *,
    method: str = "GET",
    body: bytes = b"",
    count: int = 1,
    **changes: Any,
) -> DigestParams:
    """The parameters of a client that answers a challenge correctly, apart from those given: they are hashed too.

    Each character stands for one byte.
    """
    offer = dict(challenge.params)
    params: DigestParams = {
        "username": username.encode().decode("latin-1"),
        "realm": offer["realm"],
        "nonce": offer["nonce"],
        "uri": "/",
        "algorithm": offer["algorithm"],
        "qop": offer["qop"].partition(",")[0],
        "nc": f"{count:08x}",
        "cnonce": "0a4f113b",
        "opaque": offer["opaque"],
        **changes,
    }
    params.setdefault("response", digest_response(params, ha1(params, password, username), method, body))
    return params


def serialize(params: Mapping[str, str | None]) -> bytes:
    """The parameters as they follow ``Digest`` in the field."""
    pairs = [(name, value) for name, value in params.items() if value is not None]
    return ", ".join(f"{name}={_value(name, value)}" for name, value in pairs).encode("latin-1")


def _value(name: str, value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return value if name in _BARE and value else f'"{escaped}"'


class DigestAccounts:
    """A store of accounts by name, which keeps its look-ups. An exception in it is raised."""

    def __init__(self, algorithm: str = "SHA-256", *, finds_hashed: bool = False, answers_at_once: bool = True) -> None:
        self.finds_hashed, self.answers_at_once = finds_hashed, answers_at_once
        self.accounts: dict[str, Any] = {
            name: DigestAccount(
                name,
                stored_ha1(name, password, algorithm=algorithm),
                roles={"admin"},
                scopes={"read"},
                claims={"mail": f"{name}@example.org"},
                disabled=name == "mallory",
            )
            for name, password in PASSWORDS.items()
        }
        self.hashes = {digest_hash(algorithm, name.encode(), REALM): name for name in self.accounts}
        self.lookups: list[tuple[str, str, str, bool]] = []

    async def find(self, username: str, *, realm: str, algorithm: str, hashed: bool) -> DigestAccount | None:
        return self._find(username, realm, algorithm, hashed)

    def find_now(self, username: str, *, realm: str, algorithm: str, hashed: bool) -> DigestAccount | NotNow | None:
        return self._find(username, realm, algorithm, hashed) if self.answers_at_once else NOT_NOW

    def _find(self, username: str, realm: str, algorithm: str, hashed: bool) -> DigestAccount | None:
        self.lookups.append((username, realm, algorithm, hashed))
        found: Any = self.accounts.get(self.hashes.get(username, username) if hashed else username)
        if isinstance(found, Exception):
            raise found
        account: DigestAccount | None = found
        return account

    def roles_given(self) -> frozenset[str]:
        return frozenset({"admin"})


class SharedNonces(NonceStore):
    """A nonce store that all processes share: every claim is awaited and atomic. ``error``, if set, is raised."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.used: set[tuple[bytes, int]] = set()
        self.lock = anyio.Lock()

    def begin(self, now: float) -> None:
        """Do nothing: the store was started long ago."""

    async def claim(self, nonce: bytes, count: int, *, minted_at: float, expires_at: float, now: float) -> NonceUse:
        await anyio.lowlevel.checkpoint()
        if self.error is not None:
            raise self.error
        async with self.lock:
            claim = NonceUse.REPLAYED if (nonce, count) in self.used else NonceUse.FRESH
            await anyio.lowlevel.checkpoint()
            self.used.add((nonce, count))
        return claim


def digest_scheme(accounts: Any = None, **options: Any) -> Digest:
    """A Digest scheme whose login throttle has a clock that stands still."""
    settings: dict[str, Any] = {"realm": REALM, "secret": SECRET, "clock": ManualClock(1000), **options}
    return Digest(DigestAccounts() if accounts is None else accounts, **settings)


def digest_request(now: float = NOW, *, leeway: float = 60.0, client: str = "192.0.2.7", **scope: Any) -> AuthRequest:
    """A request at this moment. ``scope`` overrides the scope of GET / over HTTP."""
    full_scope = {**http_scope(client=(client, 1)), **scope}
    if full_scope["type"] == "websocket":
        del full_scope["method"]
    return AuthRequest(full_scope, path=full_scope["path"], moment=Moment(now, leeway))


def challenges(scheme: Digest, why: Reason | None = None, now: float = NOW) -> Sequence[Challenge]:
    """The challenges of the scheme."""
    return scheme.challenges(digest_request(now), None if why is None else Denied(why, "digest"))


def challenge(scheme: Digest, why: Reason | None = None, now: float = NOW) -> Challenge:
    """The first challenge of the scheme."""
    return challenges(scheme, why, now)[0]


async def authenticate(scheme: Digest, params: DigestParams | bytes, request: AuthRequest | None = None) -> Outcome:
    """The outcome for these parameters."""
    rest = params if isinstance(params, bytes) else serialize(params)
    return await scheme.authenticate(request or digest_request(), Credentials("digest", rest))


async def rejection_code(scheme: Digest, params: DigestParams | bytes, request: AuthRequest | None = None) -> str:
    """The reason code with which these parameters are rejected."""
    outcome = await authenticate(scheme, params, request)
    assert isinstance(outcome, Rejected), outcome
    return outcome.reason.code


async def authentication_info(
    scheme: Digest, params: DigestParams | bytes, request: AuthRequest | None = None
) -> dict[str, str]:
    """The parameters of ``Authentication-Info`` in the response to an accepted request."""
    outcome = await authenticate(scheme, params, request)
    assert isinstance(outcome, Accepted), outcome
    ((name, value),) = outcome.response_headers
    assert name == b"authentication-info"
    return dict(Challenge.from_header(b"Info " + value).params)
