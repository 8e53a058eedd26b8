"""A Digest client that computes with ``hashlib`` alone, and account and nonce stores that a test can change."""

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

SECRET = "a secret of thirty-two octets, and more"
REALM = "orders"
PASSWORDS = {"alice": "wonderland", "mallory": "secret", "Jäsøn": "Secret, or not?"}

_HASHES = {"MD5": "md5", "SHA-256": "sha256", "SHA-512-256": "sha512_256"}
_BARE = {"algorithm", "qop", "nc", "userhash", "username*"}

#: What a client sends, by name. None is left out.
DigestParams = dict[str, str | None]


def digest_hash(algorithm: str, *parts: str | bytes) -> str:
    """``H(a:b:c)`` of RFC 7616 section 3.4.1, in hexadecimal digits, without our arithmetic."""
    octets = b":".join(part if isinstance(part, bytes) else part.encode("latin-1") for part in parts)
    return hashlib.new(_HASHES[algorithm.upper().removesuffix("-SESS")], octets).hexdigest()


def stored_ha1(username: str, password: str, realm: str = REALM, algorithm: str = "SHA-256") -> str:
    """What a store keeps of a password."""
    return digest_hash(algorithm, username.encode(), realm.encode(), password.encode())


def userhash(username: str) -> str:
    """What ``userhash=true`` sends for a name."""
    return digest_hash("SHA-256", username.encode(), REALM.encode())


def ha1(told: DigestParams, password: str, username: str = "alice") -> str:
    """``H(A1)`` of what is told."""
    algorithm = told["algorithm"] or "MD5"
    a1 = digest_hash(algorithm, username.encode(), told["realm"] or "", password.encode())
    if algorithm.upper().endswith("-SESS"):
        a1 = digest_hash(algorithm, a1, told["nonce"] or "", told["cnonce"] or "")
    return a1


def digest_response(told: DigestParams, a1: str, method: str = "GET", body: bytes = b"", qop: str | None = None) -> str:
    """The response, or with no method and the ``qop`` of the answer the ``rspauth``, that fits what is told."""
    algorithm = told["algorithm"] or "MD5"
    a2 = [method, told["uri"] or ""]
    if told["qop"] == "auth-int" and qop is None:
        a2.append(digest_hash(algorithm, body))
    parts = [told[name] or "" for name in ("nonce", "nc", "cnonce")]
    return digest_hash(algorithm, a1, *parts, qop or told["qop"] or "", digest_hash(algorithm, *a2))


def answer_challenge(
    challenge: Challenge,
    password: str = "wonderland",
    username: str = "alice",
    *,
    method: str = "GET",
    body: bytes = b"",
    count: int = 1,
    **told: Any,
) -> DigestParams:
    """What a client tells that answers the challenge rightly, but for what ``told`` says: that is digested too.

    Each character is one octet.
    """
    asked = dict(challenge.params)
    found: DigestParams = {
        "username": username.encode().decode("latin-1"),
        "realm": asked["realm"],
        "nonce": asked["nonce"],
        "uri": "/",
        "algorithm": asked["algorithm"],
        "qop": asked["qop"].partition(",")[0],
        "nc": f"{count:08x}",
        "cnonce": "0a4f113b",
        "opaque": asked["opaque"],
        **told,
    }
    found.setdefault("response", digest_response(found, ha1(found, password, username), method, body))
    return found


def serialize(told: Mapping[str, str | None]) -> bytes:
    """What stands after ``Digest``."""
    pairs = [(name, value) for name, value in told.items() if value is not None]
    return ", ".join(f"{name}={_value(name, value)}" for name, value in pairs).encode("latin-1")


def _value(name: str, value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return value if name in _BARE and value else f'"{escaped}"'


class DigestAccounts:
    """A store of accounts by name, which counts who was looked for. An exception in it is raised."""

    def __init__(self, algorithm: str = "SHA-256", *, finds_hashed: bool = False, at_hand: bool = True) -> None:
        self.finds_hashed, self.at_hand = finds_hashed, at_hand
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
        return self._find(username, realm, algorithm, hashed) if self.at_hand else NOT_NOW

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
    """A store in one place for all processes: it is waited for, and a claim is one step. An ``error`` is raised."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.used: set[tuple[bytes, int]] = set()
        self.lock = anyio.Lock()

    def begin(self, now: float) -> None:
        """It began long ago."""

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
    """A scheme whose attempts have a clock that stands still."""
    given: dict[str, Any] = {"realm": REALM, "secret": SECRET, "clock": ManualClock(1000), **options}
    return Digest(DigestAccounts() if accounts is None else accounts, **given)


def digest_request(now: float = NOW, *, leeway: float = 60.0, client: str = "192.0.2.7", **scope: Any) -> AuthRequest:
    """A request at a moment; ``scope`` is what is another than GET / of HTTP."""
    given = {**http_scope(client=(client, 1)), **scope}
    if given["type"] == "websocket":
        del given["method"]
    return AuthRequest(given, path=given["path"], moment=Moment(now, leeway))


def challenges(scheme: Digest, why: Reason | None = None, now: float = NOW) -> Sequence[Challenge]:
    """What the scheme asks for."""
    return scheme.challenges(digest_request(now), None if why is None else Denied(why, "digest"))


def challenge(scheme: Digest, why: Reason | None = None, now: float = NOW) -> Challenge:
    """The first that the scheme asks for."""
    return challenges(scheme, why, now)[0]


async def authenticate(scheme: Digest, told: DigestParams | bytes, asked: AuthRequest | None = None) -> Outcome:
    """What the scheme says to it."""
    rest = told if isinstance(told, bytes) else serialize(told)
    return await scheme.authenticate(asked or digest_request(), Credentials("digest", rest))


async def rejection_code(scheme: Digest, told: DigestParams | bytes, asked: AuthRequest | None = None) -> str:
    """The code of the refusal."""
    said = await authenticate(scheme, told, asked)
    assert isinstance(said, Rejected), said
    return said.reason.code


async def authentication_info(
    scheme: Digest, told: DigestParams | bytes, asked: AuthRequest | None = None
) -> dict[str, str]:
    """What the answer to who was let in says in ``Authentication-Info``."""
    said = await authenticate(scheme, told, asked)
    assert isinstance(said, Accepted), said
    ((name, value),) = said.response_headers
    assert name == b"authentication-info"
    return dict(Challenge.from_header(b"Info " + value).params)
