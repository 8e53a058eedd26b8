"""The scheme DPoP (RFC 9449): a token that is bound to a key of the client, and with each request a proof of that key.

Who steals the token cannot use it, because the proof is signed with a key that never leaves the client.
"""

from __future__ import annotations

import hmac
import math
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from hashlib import sha256
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

from cryptography.hazmat.primitives.asymmetric import rsa

from authguard.caching import BoundedCache
from authguard.concurrency.deadline import ask, optional_method
from authguard.errors import BackendUnavailable, ConfigurationError, InvalidSignature
from authguard.fork import renew_after_fork
from authguard.keys.jwk import from_published_jwk
from authguard.keys.source import VerificationKey
from authguard.model import Accepted, Clock, Facts, Failure, Header, Moment, Outcome, Rejected, claims_to_read
from authguard.reasons import (
    PROOF_ALGORITHM_REFUSED,
    PROOF_AMBIGUOUS,
    PROOF_EXPIRED,
    PROOF_FORGOTTEN,
    PROOF_KEY_REFUSED,
    PROOF_MALFORMED,
    PROOF_METHOD_MISMATCH,
    PROOF_MISSING,
    PROOF_NONCE_MISSING,
    PROOF_NONCE_STALE,
    PROOF_NONCE_UNKNOWN,
    PROOF_NOT_YET_VALID,
    PROOF_REPLAYED,
    PROOF_SIGNATURE_INVALID,
    PROOF_TOKEN_MISMATCH,
    PROOF_TYPE_REFUSED,
    PROOF_URI_MISMATCH,
    TOKEN_KEY_MISMATCH,
    TOKEN_UNBOUND,
    Reason,
)
from authguard.request import AuthRequest
from authguard.schemes.bearer.claims import bound_failure
from authguard.schemes.bearer.issuer_registry import Member
from authguard.schemes.bearer.protected_resource import ProtectedResource
from authguard.schemes.bearer.scheme import Bearer
from authguard.schemes.carriers import field_for
from authguard.schemes.dpop.target import check_public_urls, target_uris
from authguard.schemes.nonce_secret import SecretArgument, check_secrets, mint_nonce, nonce_keys
from authguard.schemes.scheme import Continuation
from authguard.state.proof_store import MemoryProofs, ProofStore, ProofUse, proof_key
from authguard.validation import check_flag, check_seconds, names
from authguard.wire import jws
from authguard.wire.authorization import Credentials
from authguard.wire.challenge import Challenge
from authguard.wire.dpop_proof import DpopProof, base64url, parse_proof
from authguard.wire.grammar import WireError
from authguard.wire.http_uri import normal_uri
from authguard.wire.nonce import Nonce

if TYPE_CHECKING:
    from authguard.schemes.bearer.client_certificate import CertificateSource

DPOP = "dpop"
#: The asymmetric algorithms of RFC 7518 and RFC 8037 that clients use. RSA with PKCS #1 v1.5 is left out: new protocols
#: have no reason for it.
ALGORITHMS = ("ES256", "EdDSA", "Ed25519", "PS256", "ES384", "ES512", "PS384", "PS512")
_ALLOWED = frozenset({*ALGORITHMS, "RS256", "RS384", "RS512", "ES256K", "Ed448"})

# A longer RSA key makes a verification, which a client asks of us, many times as long.
_MAX_RSA_BITS = 4096
# Public keys of clients whose tokens were valid, ready to verify with.
_MAX_KEYS = 1024
_NO_STORE: Header = (b"cache-control", b"no-store")

_FRESH, _REPLAYED = ProofUse.FRESH, ProofUse.REPLAYED
_REASON_OF_PART: Mapping[str, Reason] = MappingProxyType(
    {
        "form": PROOF_MALFORMED,
        "typ": PROOF_TYPE_REFUSED,
        "alg": PROOF_ALGORITHM_REFUSED,
        "jwk": PROOF_KEY_REFUSED,
    }
)


class Dpop(Bearer):
    """The DPoP scheme: ``Dpop(Issuer(...), realm="orders", public_url="https://api.example", secret=SECRET)``.

    It takes the same issuers as ``Bearer``. A guard may have both: ``Bearer`` then takes the tokens that are not bound
    to a key, and refuses the bound ones. A rule that wants a bound token says ``via("dpop")``.

    - ``public_url``: the URL, or several, by which clients reach the app, with the prefix that a proxy removes from the
      path, if there is one. The proof names the URI of its request, which is compared with these. ``Host`` and
      forwarded fields are never asked.
    - ``secret``: at least 32 bytes, the same in all processes. It signs the nonces that clients put into proofs. Of
      several secrets, the first makes the nonces, and those of all are accepted. ``PER_PROCESS`` is a random secret of
      this process.
    - ``require_nonce``: whether each proof must contain a nonce, so that nobody can make proofs in advance. It costs a
      client one more request at the start. ``nonce_life``: for how many seconds a nonce is good.
    - ``window``: for how many seconds after its ``iat`` a proof without a nonce is accepted, beside the leeway.
    - ``algorithms``: those that a proof may be signed with.
    - ``proofs``: the store that remembers which proofs were used; by default in the memory of this process.
    - ``resource``: as for ``Bearer``; the same one, if both have it. Its metadata then name the algorithms, and say
      whether the guard accepts bound tokens alone (RFC 9728 section 2).
    - ``realm``, ``limit``, ``cache``, ``deadline``, ``client_certificate``, ``name`` and ``clock``: as for ``Bearer``.
      A token may be bound to a key and to a certificate; both are then compared.

    Denies with ``proof.*``, ``token.unbound``, ``token.key_mismatch`` and the reasons of ``Bearer``; with ``store.*``
    (503) if the store of proofs is away. Raises ``ConfigurationError``. RFC 9449 sections 4.3, 7 and 9.
    """

    name = DPOP
    auth_scheme = DPOP
    confirmations = frozenset({"jkt"})
    requires_dpop = True
    #: What a script of another origin must be able to read of a response, to go on with the nonce.
    fields_to_expose = ("WWW-Authenticate", "DPoP-Nonce")
    openapi: Mapping[str, object] = MappingProxyType(
        {
            "type": "http",
            "scheme": DPOP,
            "description": "An access token that is bound to a key of the client, and a proof of that key in the field "
            "DPoP (RFC 9449). After a 401 with a field DPoP-Nonce, repeat the request with this nonce in the proof.",
        }
    )

    def __init__(
        self,
        *issuers: Member,
        realm: str,
        public_url: str | Sequence[str],
        secret: SecretArgument | None = None,
        require_nonce: bool = False,
        nonce_life: float = 300.0,
        window: float = 60.0,
        algorithms: Collection[str] = ALGORITHMS,
        proofs: ProofStore | None = None,
        resource: ProtectedResource | None = None,
        limit: int = jws.MAX_TOKEN,
        cache: int = 4096,
        deadline: float = 5.0,
        client_certificate: CertificateSource | None = None,
        name: str = DPOP,
        clock: Clock = time.monotonic,
    ) -> None:
        super().__init__(
            *issuers,
            realm=realm,
            resource=resource,
            limit=limit,
            cache=cache,
            deadline=deadline,
            client_certificate=client_certificate,
            name=name,
            clock=clock,
        )
        self._public_urls = check_public_urls(public_url)
        self._algorithms = _check_algorithms(algorithms)
        self._require_nonce = check_flag("require_nonce", require_nonce)
        self._nonce_life = check_seconds("nonce_life", nonce_life, most=86_400)
        self._window = check_seconds("window", window, most=3600)
        self._secrets = check_secrets(secret)
        self._proofs: ProofStore = MemoryProofs() if proofs is None else _check_store(proofs)
        self._claim_now = optional_method(self._proofs, "claim_now", beside="claim")
        #: Puts what the store wants to know of a nonce into its random bytes.
        self._mark: Callable[[bytes], bytes] | None = optional_method(self._proofs, "mark", beside="claim")
        self._proof_deadline = deadline
        self._client_keys = BoundedCache[VerificationKey](_MAX_KEYS)
        self.carrier = field_for(DPOP, self._limit)
        self._auth_scheme = "DPoP"
        self.resource_members = {
            **self.resource_members,
            "dpop_signing_alg_values_supported": list(self._algorithms),
        }
        # RFC 9449 section 7.1: `algs` is a list with spaces.
        self._params = {**self._params, "algs": " ".join(self._algorithms)}
        self._plain_challenges = (Challenge(self._auth_scheme, {**self._params, **self._metadata}),)
        self.renew()
        renew_after_fork(self)

    def renew(self) -> None:
        """Make the secret of this process, if none is shared. A forked child is another process."""
        # The realm of Digest cannot begin with NUL, so no nonce of the one is one of the other.
        self._nonce_keys = nonce_keys(self._secrets, f"\0dpop\0{self.realm}")

    def state_stores(self) -> Mapping[str, object]:
        """The store of proofs, beside those of ``Bearer``."""
        stores = {**super().state_stores(), "proofs": self._proofs}
        return {**stores, "secret": "PER_PROCESS"} if self._secrets is None else stores

    def authenticate_now(self, request: AuthRequest, credentials: Credentials) -> Outcome | Continuation:
        """What ``authenticate`` returns, if nothing must be awaited for it."""
        proof = self._read_proof(request)
        if isinstance(proof, Rejected):
            return proof
        answer = super().authenticate_now(request, credentials)
        if callable(answer):
            later = answer
            return lambda: self._finish(later, proof, credentials.rest, request)
        return self._check_binding(answer, proof, credentials.rest, request)

    async def _finish(self, answer: Continuation, proof: _Proof, token: bytes, request: AuthRequest) -> Outcome:
        """The outcome where the token itself had to be awaited."""
        outcome = self._check_binding(await answer(), proof, token, request)
        return await outcome() if callable(outcome) else outcome

    # --- the proof ----------------------------------------------------------------------------------------------------

    def _read_proof(self, request: AuthRequest) -> _Proof | Rejected:
        """The proof of the request, if it is for this request and of this time. Its signature is not verified yet.

        RFC 9449 section 4.3, checks 1 to 5 and 7 to 11.
        """
        lines = request.lines(b"dpop")
        if len(lines) != 1:
            if not lines:
                return self._reject(PROOF_MISSING, request.moment)
            return self._reject(PROOF_AMBIGUOUS, request.moment, {"fields": len(lines)})
        try:
            parsed = parse_proof(lines[0].strip(b" \t"))
        except WireError as error:
            reason = _REASON_OF_PART[cast("str", error.part)]
            return self._reject(reason, request.moment, {"problem": error.problem})
        if parsed.alg not in self._algorithms:
            facts: Facts = {"algorithm": parsed.alg, "wanted": self._algorithms}
            return self._reject(PROOF_ALGORITHM_REFUSED, request.moment, facts)
        if parsed.htm != request.method:
            return self._reject(PROOF_METHOD_MISMATCH, request.moment, {"htm": parsed.htm, "wanted": request.method})
        failure = self._uri_failure(parsed.htu, request)
        if failure is None:
            nonce = self._find_nonce(parsed, request.moment)
            if not isinstance(nonce, Failure):
                return _Proof(parsed, nonce)
            failure = nonce
        return self._reject(failure.reason, request.moment, failure.facts)

    def _uri_failure(self, htu: str, request: AuthRequest) -> Failure | None:
        wanted = target_uris(self._public_urls, request.scope)
        try:
            uri = normal_uri(htu)
        except WireError as error:
            return Failure(PROOF_URI_MISMATCH, {"problem": error.problem, "wanted": tuple(wanted)})
        return None if uri in wanted else Failure(PROOF_URI_MISMATCH, {"htu": uri, "wanted": tuple(wanted)})

    def _find_nonce(self, proof: DpopProof, moment: Moment) -> Nonce | Failure | None:
        """The nonce in the proof; None if there is none, and none is required. Or why the proof is not of this time.

        A nonce says when the proof can have been made at the earliest, so that the clock of the client does not count
        (RFC 9449 section 4.3, check 11).
        """
        if proof.nonce is None:
            if self._require_nonce:
                return Failure(PROOF_NONCE_MISSING, {})
            ends = proof.iat + self._window
            if moment.not_yet(proof.iat):
                return Failure(PROOF_NOT_YET_VALID, {"early_by": -moment.by(proof.iat), "leeway": moment.leeway})
            if moment.expired(ends):
                return Failure(
                    PROOF_EXPIRED, {"expired_by": moment.by(ends), "window": self._window, "leeway": moment.leeway}
                )
            return None
        nonce = Nonce.from_text(proof.nonce.encode("utf-8", "replace"), self._nonce_keys)
        if nonce is None:
            return Failure(PROOF_NONCE_UNKNOWN, {})
        ends = nonce.issued_at + self._nonce_life
        if not moment.between(-math.inf, ends) or moment.not_yet(nonce.issued_at):
            return Failure(PROOF_NONCE_STALE, {"expired_by": moment.by(ends), "life": self._nonce_life})
        return nonce

    # --- the token and the proof --------------------------------------------------------------------------------------

    def _check_binding(
        self, outcome: Outcome, proof: _Proof, token: bytes, request: AuthRequest
    ) -> Outcome | Continuation:
        """Whether the token of an accepted outcome, the proof and its key belong together. RFC 9449 section 4.3, checks
        6 and 12, and section 11.1.
        """
        if not isinstance(outcome, Accepted):
            return self._with_nonce(outcome, request.moment)
        parsed = proof.parsed
        failure = (
            _token_failure(parsed, token)
            or self._key_failure(claims_to_read(outcome.principal).get("cnf"), parsed)
            or self._signature_failure(parsed)
        )
        if failure is not None:
            return self._reject(failure.reason, request.moment, failure.facts, outcome.principal.subject)
        # Asked last: nobody without a valid token, and the key that it is bound to, can fill the store.
        key, moment = proof_key(parsed.thumbprint, parsed.jti), request.moment
        not_before, expires_at = self._times(proof, moment)
        if self._claim_now is not None:
            use = self._claim_now(key, not_before=not_before, expires_at=expires_at, now=moment.now)
            return self._answer(use, outcome, request)

        more: Mapping[str, Any] = {}
        if self._mark is not None:
            more = {"nonce": b"" if proof.nonce is None else proof.nonce.identity}

        async def claim() -> Outcome:
            asked = self._proofs.claim(key, not_before=not_before, expires_at=expires_at, now=moment.now, **more)
            return await self._claim(asked, outcome, request)

        return claim

    async def _claim(self, claim: Awaitable[ProofUse], outcome: Accepted, request: AuthRequest) -> Outcome:
        try:
            use = await ask(claim, self._proof_deadline)
        except BackendUnavailable:
            if not request.pass_unchecked("proofs", self._proofs):
                raise
            use = _FRESH
        return self._answer(use, outcome, request)

    def _times(self, proof: _Proof, moment: Moment) -> tuple[float, float]:
        """From when to when the proof can be accepted, by the clock of the guard."""
        if proof.nonce is not None:
            return proof.nonce.issued_at, proof.nonce.issued_at + self._nonce_life
        iat = proof.parsed.iat
        return iat - moment.leeway, iat + self._window + moment.leeway

    def _answer(self, use: ProofUse, outcome: Accepted, request: AuthRequest) -> Outcome:
        if use is _FRESH:
            return self._with_nonce(outcome, request.moment)
        reason = PROOF_REPLAYED if use is _REPLAYED else PROOF_FORGOTTEN
        return self._reject(reason, request.moment, subject=outcome.principal.subject)

    def _key_failure(self, confirmation: Any, proof: DpopProof) -> Failure | None:
        """Whether the token is bound to the key of the proof, and to nothing else that is not checked.

        RFC 9449 section 6.1.
        """
        jkt = confirmation.get("jkt") if isinstance(confirmation, Mapping) else None
        if not isinstance(jkt, str):
            members = tuple(map(str, confirmation)) if isinstance(confirmation, Mapping) else ()
            return Failure(TOKEN_UNBOUND, {"cnf": members, "wanted": "jkt"})
        if not hmac.compare_digest(jkt.encode("utf-8", "replace"), proof.thumbprint.encode("ascii")):
            return Failure(TOKEN_KEY_MISMATCH, {"found": "the proof of another key"})
        return None if len(confirmation) == 1 else bound_failure(confirmation, self.confirmations)

    def _signature_failure(self, proof: DpopProof) -> Failure | None:
        place = f"{proof.alg} {proof.thumbprint}".encode()
        key = self._client_keys.get(place)
        if key is None:
            found = _verification_key(proof)
            if isinstance(found, Failure):
                return found
            key = found
        try:
            key.verify(proof.signing_input, proof.signature)
        except InvalidSignature:
            return Failure(PROOF_SIGNATURE_INVALID, {"algorithm": proof.alg})
        self._client_keys.put(place, key)
        return None

    # --- nonces and answers -------------------------------------------------------------------------------------------

    def _new_nonce(self, moment: Moment) -> tuple[Header, ...]:
        """RFC 9449 section 8.2: an answer with a nonce must not be cached."""
        nonce = mint_nonce(self._nonce_keys[0], moment.now, self._mark)
        return (b"dpop-nonce", nonce.encode("ascii")), _NO_STORE

    def _with_nonce(self, outcome: Outcome, moment: Moment) -> Outcome:
        """The same outcome. While nonces are required, each answer brings the next one."""
        if not self._require_nonce:
            return outcome
        headers = (*outcome.response_headers, *self._new_nonce(moment))
        if isinstance(outcome, Accepted):
            return Accepted(outcome.principal, headers, outcome.facts)
        return Rejected(outcome.reason, outcome.subject, outcome.facts, headers, outcome.authenticated)

    def _reject(
        self, reason: Reason, moment: Moment, facts: Facts = MappingProxyType({}), subject: str | None = None
    ) -> Rejected:
        wants_nonce = self._require_nonce or reason.error == "use_dpop_nonce"
        headers = self._new_nonce(moment) if wants_nonce else ()
        return Rejected(reason, subject, facts, headers, authenticated=subject is not None)


class _Proof:
    """A proof that is for this request, and the nonce of ours that it contains, if any."""

    __slots__ = ("nonce", "parsed")

    def __init__(self, parsed: DpopProof, nonce: Nonce | None) -> None:
        self.parsed, self.nonce = parsed, nonce


def _token_failure(proof: DpopProof, token: bytes) -> Failure | None:
    """Whether the proof was made for this token: ``ath`` is its SHA-256."""
    if proof.ath is None:
        return Failure(PROOF_TOKEN_MISMATCH, {"found": "no ath"})
    if not hmac.compare_digest(proof.ath.encode("utf-8", "replace"), base64url(sha256(token).digest()).encode("ascii")):
        return Failure(PROOF_TOKEN_MISMATCH, {"found": "the hash of another token"})
    return None


def _verification_key(proof: DpopProof) -> VerificationKey | Failure:
    """The key in the proof, for the algorithm of the proof."""
    try:
        keys = from_published_jwk(dict(proof.jwk))
    except ConfigurationError as error:
        return Failure(PROOF_KEY_REFUSED, {"problem": str(error).removeprefix(f"{error.argument}: ")})
    key = next((key for key in keys if key.algorithm == proof.alg), None)
    if key is None:
        return Failure(PROOF_KEY_REFUSED, {"problem": "the key is not one for the algorithm", "algorithm": proof.alg})
    if isinstance(key.material, rsa.RSAPublicKey) and key.material.key_size > _MAX_RSA_BITS:
        problem = f"an RSA key of {key.material.key_size} bits; {_MAX_RSA_BITS} is the maximum"
        return Failure(PROOF_KEY_REFUSED, {"problem": problem})
    return key


def _check_algorithms(algorithms: Collection[str]) -> tuple[str, ...]:
    listed = tuple(algorithms) if not isinstance(algorithms, str) else (algorithms,)
    if not listed or not names("algorithms", listed) <= _ALLOWED:
        raise ConfigurationError("algorithms", f"{listed!r} must be some of {', '.join(sorted(_ALLOWED))}")
    return listed


def _check_store(proofs: ProofStore) -> ProofStore:
    if isinstance(proofs, type) or not callable(getattr(proofs, "claim", None)):
        raise ConfigurationError("proofs", "give MemoryProofs(), or a store with async claim(key, ...)")
    return proofs
