"""Three verifiers with the same set-up at the same moment: authguard, PyJWT and joserfc."""

from __future__ import annotations

import datetime as dt
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias

import jwt
import jwt.api_jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa
from joserfc import jwk as joserfc_jwk
from joserfc import jwt as joserfc_jwt
from joserfc.jws import JWSRegistry
from joserfc.registry import HeaderParameter

from authguard import ANY_AUDIENCE, ANY_ISSUER, PEM, AuthRequest, Bearer, Credentials, Issuer, Moment, Rejected, Secret
from authguard.model import Outcome
from tests.support.clock import NOW
from tests.support.coroutines import run_without_waiting
from tests.support.tokens import AUDIENCE, HMAC_SECRET, ISSUER, claims, ec_key, ed_key, public_pem, raw_token, rsa_key

LEEWAY = 60


Part: TypeAlias = bytes | dict[str, Any]


class _LargeHeaders(JWSRegistry):
    # authguard limits only the token as a whole; joserfc limits a header to 512 bytes.
    max_header_length = 16 * 1024


# Header members that authguard ignores are ignored in joserfc too: RFC 7515 section 4.1 allows any member that is not
# critical.
_UNSEEN = {name: HeaderParameter("unseen", lambda _: None) for name in ("jku", "jwk", "x5u", "x5c", "x5t", "cty")}


@dataclass(frozen=True, slots=True)
class Verifiers:
    """One algorithm, one key and one policy for all three verifiers. An ``open`` policy requires nothing."""

    algorithm: str
    key: Any
    bearer: Bearer
    open: bool

    def authguard(self, token: bytes) -> Outcome:
        """The outcome of authguard's Bearer scheme."""
        request = AuthRequest({"type": "http", "headers": []}, path="/", moment=Moment(NOW, LEEWAY))
        return run_without_waiting(self.bearer.authenticate(request, Credentials("bearer", token)))

    def pyjwt(self, token: bytes) -> dict[str, Any] | None:
        """The claims that ``jwt.decode`` returns, or None if it raises."""
        key = self.key if isinstance(self.key, bytes) else self.key.public_key()
        try:
            return jwt.decode(
                token,
                key,
                algorithms=[self.algorithm],
                audience=None if self.open else AUDIENCE,
                issuer=None if self.open else ISSUER,
                leeway=LEEWAY,
                options={"require": [] if self.open else ["exp"], "verify_aud": not self.open},
            )
        except Exception:  # noqa: BLE001 - however it says no, it says no
            return None

    def joserfc(self, token: bytes) -> dict[str, Any] | None:
        """The claims that joserfc decodes and validates, or None if it raises."""
        registry = _LargeHeaders(_UNSEEN, [self.algorithm], strict_check_header=False)
        wanted: dict[str, Any] = {
            "iss": {"essential": True, "value": ISSUER},
            "aud": {"essential": True, "value": AUDIENCE},
            "exp": {"essential": True},
        }
        rules = joserfc_jwt.JWTClaimsRegistry(int(NOW), LEEWAY, **({} if self.open else wanted))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # it calls EdDSA deprecated, for the names of RFC 9864
                decoded = joserfc_jwt.decode(token, _joserfc_key(self.key), registry=registry)
            rules.validate(decoded.claims)
        except Exception:  # noqa: BLE001 - same
            return None
        return decoded.claims

    def token(self, header: Part | None = None, payload: Part | None = None) -> bytes:
        """A token with exactly this header and payload, and a valid signature."""
        stated = {"alg": self.algorithm, "typ": "JWT"} if header is None else header
        said = claims() if payload is None else payload
        return raw_token(stated, said, self.key, self.algorithm).encode()


@cache
def _joserfc_key(key: Any) -> Any:
    match key:
        case bytes():
            return joserfc_jwk.OctKey.import_key(key)
        case rsa.RSAPrivateKey():
            return joserfc_jwk.RSAKey.import_key(public_pem(key))
        case ec.EllipticCurvePrivateKey():
            return joserfc_jwk.ECKey.import_key(public_pem(key))
        case _:
            return joserfc_jwk.OKPKey.import_key(public_pem(key))


@cache
def verifiers_for(algorithm: str, *, open: bool = False) -> Verifiers:  # noqa: A002 - the word for it
    """The verifiers for an algorithm, made once in a test run."""
    keys: dict[str, Callable[[], Any]] = {"RS": rsa_key, "PS": rsa_key, "HS": lambda: HMAC_SECRET, "Ed": ed_key}
    keys["Ed448"] = ed448.Ed448PrivateKey.generate
    curves = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521", "ES256K": "secp256k1"}
    key = ec_key(curves[algorithm]) if algorithm in curves else keys.get(algorithm, keys[algorithm[:2]])()
    issuer = Issuer(
        ANY_ISSUER if open else ISSUER,
        audience=ANY_AUDIENCE if open else AUDIENCE,
        algorithms=[algorithm],
        keys=Secret(key) if isinstance(key, bytes) else PEM(public_pem(key), algorithm=algorithm),
        require_exp=not open,
    )
    return Verifiers(algorithm, key, Bearer(issuer, realm="orders"), open)


def denial_kind(rejected: Rejected) -> str:
    """The reason code, with the problem or the claim from the facts."""
    detail = rejected.facts.get("problem") or rejected.facts.get("claim")
    return f"{rejected.reason.code}: {detail}" if detail else rejected.reason.code


class _FixedDatetime(dt.datetime):
    @classmethod
    def now(cls, tz: dt.tzinfo | None = None) -> _FixedDatetime:
        return cls.fromtimestamp(NOW, tz)


@contextmanager
def pyjwt_at_now() -> Iterator[None]:
    """Stop PyJWT's clock at NOW, because PyJWT takes no clock as an argument."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jwt.api_jwt, "datetime", _FixedDatetime)
        yield
