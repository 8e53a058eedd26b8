"""The signature of a token: which keys of its issuer are tried, and when they are fetched again."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import NamedTuple, TypeVar, cast

from authguard.caching import BoundedCache, NegativeCache
from authguard.concurrency.deadline import ask
from authguard.concurrency.token_bucket import NetworkBuckets, Rate
from authguard.difference import difference
from authguard.errors import BackendUnavailable, InvalidSignature, KeysBusy
from authguard.keys.fetch_budget import Requester
from authguard.keys.source import VerificationKey, key_facts_of
from authguard.model import NO_FACTS, Clock, Failure, Moment
from authguard.reasons import KEY_UNKNOWN, KEYS_BUSY, KEYS_TIMEOUT, KEYS_UNAVAILABLE, TOKEN_SIGNATURE_INVALID
from authguard.request import AuthRequest, network_of
from authguard.schemes.bearer.claim_mapping import string_or_none, subject_failure
from authguard.schemes.bearer.claims import NO_CONFIRMATIONS
from authguard.schemes.bearer.issuer import Issuer
from authguard.wire import jws

#: With how many keys a token is tried, and what the verifications may cost together, in units of one with an RSA key of
#: 2048 bits. That is enough for two keys of the slowest curve: before and after a rotation. The first key is always
#: tried.
MAX_CANDIDATES, MAX_COST = 8, 40

#: How often tokens of one network are answered with ``keys.busy``: ten at once, and then ten a minute. A network from
#: which tokens were accepted before gets more.
BUSY_RATE, BUSY_RATE_KNOWN = Rate(10, 6.0), Rate(120, 0.5)
#: For how many networks that is counted, and how many known ones are remembered.
MAX_NETWORKS = 4096
#: For how many seconds a token is remembered whose key was not found by a fetch.
REFUSED_FOR = 300.0
#: By how many seconds the clock of an issuer may be behind, where ``iat`` is compared with the age of the keys.
MAX_SKEW = 10.0

_Keys = TypeVar("_Keys", bound=Sequence[VerificationKey] | None)


class Candidates(NamedTuple):
    """The keys that a token is tried with, and how many more there are."""

    keys: Sequence[VerificationKey]
    untried: int


def choose_candidates(
    keys: Sequence[VerificationKey], algorithm: str, tried: Sequence[VerificationKey] = ()
) -> Candidates:
    """The keys to try, without those that were ``tried``. Anybody may send a token without ``kid``, so they are few."""
    if len(keys) == 1 and keys[0].algorithm == algorithm and not tried:
        return Candidates(keys, 0)
    chosen: list[VerificationKey] = []
    cost = 0
    for number, key in enumerate(keys):
        if key.algorithm != algorithm or key in tried:  # a source of the app may return more than it was asked for
            continue
        cost += key.cost
        if chosen and (len(chosen) == MAX_CANDIDATES or cost > MAX_COST):
            return Candidates(chosen, len(keys) - number)
        chosen.append(key)
    return Candidates(chosen, 0)


def find_signing_key(issuer: Issuer, keys: Sequence[VerificationKey], token: jws.Jws) -> VerificationKey | None:
    """The first of the keys that verifies the token (RFC 7515 section 5.2); None if none does."""
    names = issuer.names
    for key in keys:
        if key.issuer is not None and not names.allow_key(key.issuer, token.claims.get("iss")):
            continue
        try:
            key.verify(token.signing_input, token.signature)
        except InvalidSignature:
            continue
        return key
    return None


class HeldKeysTried(NamedTuple):
    """What the keys in memory say about a token.

    ``keys``: those that may have signed it; None if the source must be awaited. ``tried``: those that were tried.
    ``signing_key``: the one that signed it; None if none of these did.
    """

    keys: Sequence[VerificationKey] | None
    tried: Candidates | None
    signing_key: VerificationKey | None


class SignatureVerifier:
    """Verifies the signatures of tokens with the keys of their issuers. ``deadline``: seconds for a key source.

    Where the source has no fetch left, nobody can tell whether a key exists that is newer than the fetched ones. A good
    token must not be refused for that, and a stranger must not be able to make any number of 503 answers. So the answer
    is 503 ``keys.busy`` for tokens that may be newer than the keys, a few times for each network, and otherwise 401.
    """

    def __init__(self, deadline: float, clock: Clock, *, confirmations: AbstractSet[str] = NO_CONFIRMATIONS) -> None:
        self._deadline, self._clock, self._confirmations = deadline, clock, confirmations
        #: The networks from which tokens were accepted, and the client of the last one.
        self._known = BoundedCache[bool](MAX_NETWORKS)
        self._last_client: str | None = None
        self._busy_answers = NetworkBuckets(BUSY_RATE, most=MAX_NETWORKS)
        self._busy_answers_known = NetworkBuckets(BUSY_RATE_KNOWN, most=MAX_NETWORKS)
        #: Tokens whose key was not in a set that was fetched after they came: these are not newer than the keys.
        self._refused = NegativeCache(seconds=REFUSED_FOR)

    def try_held(self, issuer: Issuer, token: jws.Jws) -> HeldKeysTried:
        """Try the keys in memory. Nothing is fetched or awaited."""
        keys = None if issuer.held is None else issuer.held(kid=token.header.kid, algorithm=token.header.alg)
        if keys is None:
            return _NOTHING_HELD
        tried = choose_candidates(keys, token.header.alg)
        return HeldKeysTried(keys, tried, find_signing_key(issuer, tried.keys, token))

    async def failure(
        self, issuer: Issuer, token: jws.Jws, request: AuthRequest, held: HeldKeysTried
    ) -> Failure | None:
        """Why the signature does not count; None if it does. ``held``: what the keys in memory say.

        Raises ``BackendUnavailable``.
        """
        try:
            return await self._failure_after_fetch(issuer, token, request, held.keys, held.tried)
        except BackendUnavailable as error:
            if error.reason is KEYS_TIMEOUT and (source := key_facts_of(issuer.keys, token.header.alg).get("source")):
                error.detail = f"{source}: {error.detail}"
            # A retry with a token that no key could make valid would be useless, so the answer is not 503.
            claims_failure = self._claims_failure(issuer, token, request)
            if claims_failure is None:
                error.reason = error.reason or KEYS_UNAVAILABLE
                raise
            return Failure(claims_failure.reason, {**claims_failure.facts, "signature": "unchecked"})

    def note_accepted(self, client: str | None) -> None:
        """Remember the network of a token that was accepted. A stranger cannot make a network known."""
        if client != self._last_client:
            self._last_client = client
            self._known.put(_key(network_of(client)), True)

    async def _failure_after_fetch(
        self,
        issuer: Issuer,
        token: jws.Jws,
        request: AuthRequest,
        keys: Sequence[VerificationKey] | None,
        tried: Candidates | None,
    ) -> Failure | None:
        """Why the signature does not count, with keys for which the source may have to be awaited.

        ``keys`` are those in memory, of which the ``tried`` ones do not match; None if there is no answer in memory.
        """
        requester, busy = self._requester(request), None
        if keys is None or tried is None:
            found = await self._ask(issuer.find_keys(token.header, requester))
            keys, busy = (found.keys, found) if isinstance(found, KeysBusy) else (found, None)
            tried = choose_candidates(keys, token.header.alg)
            if find_signing_key(issuer, tried.keys, token) is not None:
                return None
        if keys and busy is None and issuer.refetchable is not None:
            others = await self._ask(issuer.refetch_keys(keys, token.header, requester))
            if isinstance(others, KeysBusy):  # of a source of the app
                busy = others
            elif others is not None:
                keys, tried = others, choose_candidates(others, token.header.alg, tried.keys)
                if find_signing_key(issuer, tried.keys, token) is not None:
                    return None
        held = () if keys or issuer.refetchable is None else issuer.refetchable.algorithms_of(token.header.kid)
        failure = _unverified(issuer, token, tried, has_keys=bool(keys), held=held)
        if busy is not None:
            return self._busy_failure(busy, failure, issuer, token, request)
        if issuer.refetchable is not None:
            self._refused.add(*_texts(token), now=self._clock())
        return failure

    async def _ask(self, keys: Awaitable[_Keys]) -> _Keys | KeysBusy:
        try:
            return await ask(keys, self._deadline, KEYS_TIMEOUT)
        except KeysBusy as busy:
            return busy

    def _requester(self, request: AuthRequest) -> Requester:
        network = network_of(request.client)
        return Requester(network, known=_key(network) in self._known)

    def _busy_failure(
        self, busy: KeysBusy, failure: Failure, issuer: Issuer, token: jws.Jws, request: AuthRequest
    ) -> Failure:
        """503 if only a limit keeps us from knowing whether the token is good, and otherwise ``failure``."""
        now = self._clock()
        facts: dict[str, object] = {
            **failure.facts,
            "fetches_left": busy.fetches_left,
            "keys_age": round(float(busy.age), 3),
        }
        may_be_good = (
            self._claims_failure(issuer, token, request) is None
            and _may_be_newer(token, busy.age, request.moment)
            and not self._refused.has(*_texts(token), now=now)
        )
        if may_be_good and self._may_answer_busy(self._requester(request), now):
            return Failure(KEYS_BUSY, {**facts, "retry_after": busy.retry_after})
        return Failure(failure.reason, facts)

    def _claims_failure(self, issuer: Issuer, token: jws.Jws, request: AuthRequest) -> Failure | None:
        """Why the token would be refused with any key."""
        failure = issuer.rules.failure(token.claims, request.moment, confirmations=self._confirmations)
        return failure or subject_failure(token.claims, issuer)

    def _may_answer_busy(self, requester: Requester, now: float) -> bool:
        buckets = self._busy_answers_known if requester.known else self._busy_answers
        return buckets.acquire(requester.network, now)


_NOTHING_HELD = HeldKeysTried(None, None, None)


def _may_be_newer(token: jws.Jws, age: float, moment: Moment) -> bool:
    """Whether the token may have been issued since the keys were fetched: its key may be newer than they are.

    ``iat`` often has no fraction of a second, and the clock of the issuer may be a little behind.
    """
    iat = cast("float | None", token.claims.get("iat"))  # the claim rules have checked its type
    return iat is None or not Moment(iat + 1, min(moment.leeway, MAX_SKEW)).not_yet(moment.now - age)


def _texts(token: jws.Jws) -> tuple[str, str]:
    return token.signing_input.decode("ascii"), token.signature.hex()


def _key(network: str | None) -> bytes:
    return (network or "").encode()


def _unverified(issuer: Issuer, token: jws.Jws, tried: Candidates, *, has_keys: bool, held: Sequence[str]) -> Failure:
    """The failure for a token that no key verifies.

    A fact that is only claimed ends in a question mark: ``aud?``. It is left out where it is what it should be.
    """
    header = token.header
    facts: dict[str, object] = {"kid": header.kid, "algorithm": header.alg}
    if held:  # the key is known, but only for these algorithms
        facts["held"] = held
    if tried.untried:
        facts["untried"] = tried.untried
    if len(tried.keys) > 1:
        facts["tried"] = len(tried.keys)
    facts |= _claimed(issuer, token)
    if has_keys:
        if (source := getattr(issuer.keys, "name", None)) is not None:
            facts["source"] = source
        differs_by = _signature_difference(tried.keys, token)
        if "nonce" in header.notable:
            differs_by = "a nonce in the header: only the API that it is for can verify it"
        elif differs_by is None and facts.get("aud?"):
            differs_by = _audience_difference(issuer, facts["aud?"])
    else:
        sourced = key_facts_of(issuer.keys, header.alg)
        facts |= sourced
        known = cast("Sequence[str]", sourced.get("known", ()))
        differs_by = None if header.kid is None else difference(header.kid, known)
    if differs_by is not None:
        facts["differs_by"] = differs_by
    return Failure(TOKEN_SIGNATURE_INVALID if has_keys else KEY_UNKNOWN, facts)


def _claimed(issuer: Issuer, token: jws.Jws) -> Mapping[str, object]:
    """Which issuer and which API a token without a valid signature names, unless these are the only ones that it may
    name; and the members of its header that may be the cause."""
    stated, audience, notable = token.claims.get("aud"), issuer.rules.audience, token.header.notable
    is_ours = type(stated) is str and audience is not None and stated in audience
    if is_ours and not notable and not issuer.names.is_one_of_many:  # nearly always
        return NO_FACTS
    listed = tuple(map(str, stated[:MAX_LISTED])) if isinstance(stated, list) else ()
    facts = {
        "iss?": string_or_none(token.claims.get("iss")),
        "aud?": stated if isinstance(stated, str) else listed,
    }
    return {**facts, "header_has": notable} if notable else facts


def _audience_difference(issuer: Issuer, stated: object) -> str | None:
    listed, audience = (stated,) if isinstance(stated, str) else cast("Sequence[str]", stated), issuer.rules.audience
    if audience is None or not audience.isdisjoint(listed):
        return None
    return "an audience that is not ours: a token for another API, perhaps"


#: How many audiences of a token without a valid signature are looked at.
MAX_LISTED = 8


def _signature_difference(keys: Sequence[VerificationKey], token: jws.Jws) -> str | None:
    """What is wrong with the form of a signature, whichever of the keys it is of."""
    signature = token.signature
    if not signature:
        return "the signature is empty"
    if len(keys) == 1 and keys[0].signature_length == len(signature):  # nearly always
        return None
    lengths = {key.signature_length for key in keys}
    if None in lengths or len(signature) in lengths:
        return None
    if token.header.alg.startswith("ES") and signature[0] == DER_SEQUENCE:
        return "the signature is DER, and not the two numbers of RFC 7518 section 3.4"
    wanted = " or ".join(map(str, sorted(lengths, key=str)))
    return f"the signature has {len(signature)} bytes, and those of the key have {wanted}"


#: How a signature begins that OpenSSL or a key management service has written.
DER_SEQUENCE = 0x30
