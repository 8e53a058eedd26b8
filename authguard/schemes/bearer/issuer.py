"""An issuer of JWTs: who it is, what its tokens must say, and which keys verify them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self, Unpack

from authguard.concurrency.deadline import optional_method
from authguard.errors import ConfigurationError
from authguard.keys.cache import CachedKeys
from authguard.keys.options import FetchArguments
from authguard.keys.remote import Discovery
from authguard.keys.source import HeldKeys, KeyMaterial, KeySource, RefetchableKeys, as_source, check_algorithms
from authguard.schemes.bearer.claim_mapping import ClaimPath, Source, check_sources, claim
from authguard.schemes.bearer.claims import ACCESS_TOKEN, ANY_AUDIENCE, ANY_ISSUER, ClaimRules, Unchecked
from authguard.validation import names

_ROLES, _SCOPES, _SUBJECT = claim("roles"), claim("scope"), claim("sub")


@dataclass(frozen=True, slots=True, init=False)
class Issuer:
    """Who issues tokens, and what they must say.

    - ``issuer``: compared exactly with ``iss``; ``ANY_ISSUER`` says in words that it is not.
    - ``audience``: one name of this API or several, one of which ``aud`` must hold; or ``ANY_AUDIENCE``.
    - ``algorithms``: the only ones taken, such as ``["RS256"]``. HMAC and public keys do not mix.
    - ``keys``: ``PEM``, ``JWK``, ``JWKSet``, ``Secret``, a list of these; ``RemoteJWKS(url)``, or any ``KeySource``.
    - ``roles``, ``scopes``: ``claim(...)`` paths, whose union is taken, or functions of the claims.
    - ``subject``: where the subject stands. It must be a non-empty string.
    - ``typ``: None takes ``JWT``, ``at+jwt`` or no type. ``"at+jwt"`` takes access tokens of RFC 9068 alone, with all
      the claims of its section 2.2.
    - ``require_exp``: whether a token must say when it dies.

    Raises ``ConfigurationError``.
    """

    issuer: str | None
    algorithms: frozenset[str]
    keys: KeySource = field(repr=False)
    held: HeldKeys | None = field(repr=False)
    refetchable: RefetchableKeys | None = field(repr=False)
    roles: tuple[Source, ...] = field(repr=False)
    scopes: tuple[Source, ...] = field(repr=False)
    subject: ClaimPath = field(repr=False)
    typ: str | None
    rules: ClaimRules

    def __init__(
        self,
        issuer: str | Unchecked,
        *,
        audience: str | Sequence[str] | Unchecked,
        algorithms: Sequence[str],
        keys: KeySource | KeyMaterial | Sequence[KeyMaterial],
        roles: Source | Sequence[Source] = _ROLES,
        scopes: Source | Sequence[Source] = _SCOPES,
        subject: ClaimPath = _SUBJECT,
        typ: str | None = None,
        require_exp: bool = True,
    ) -> None:
        allowed = check_algorithms(algorithms)
        if typ is not None and (not isinstance(typ, str) or not typ):
            raise ConfigurationError("typ", f"{typ!r} is no type; None takes JWT, at+jwt or none")
        kind = None if typ is None else typ.lower().removeprefix("application/")
        if not isinstance(subject, ClaimPath):
            raise ConfigurationError("subject", f'{subject!r} is no claim; write claim("client_id")')
        put = object.__setattr__
        put(self, "issuer", check_issuer(issuer))
        put(self, "algorithms", allowed)
        source = as_source(keys, allowed)
        if isinstance(source, CachedKeys) and any(name.startswith("HS") for name in allowed):
            raise ConfigurationError("algorithms", "no key server publishes a secret; for HMAC give keys=Secret(...)")
        put(self, "keys", source)
        put(self, "held", optional_method(source, "held", beside="keys_for"))
        put(self, "refetchable", source if isinstance(source, RefetchableKeys) else None)
        put(self, "roles", check_sources("roles", roles))
        put(self, "scopes", check_sources("scopes", scopes))
        put(self, "subject", subject)
        put(self, "typ", kind)
        put(self, "rules", ClaimRules(check_audience(audience), require_exp, kind == ACCESS_TOKEN))

    @classmethod
    def discover(
        cls,
        issuer: str,
        *,
        audience: str | Sequence[str] | Unchecked,
        algorithms: Sequence[str],
        roles: Source | Sequence[Source] = _ROLES,
        scopes: Source | Sequence[Source] = _SCOPES,
        subject: ClaimPath = _SUBJECT,
        typ: str | None = None,
        require_exp: bool = True,
        **fetching: Unpack[FetchArguments],
    ) -> Self:
        """``Issuer.discover("https://login.example/", ...)``: its keys are where its own metadata say.

        OpenID Connect Discovery 1.0 and RFC 8414; ``issuer`` as the metadata and ``iss`` have it, octet by octet, the
        slash at the end included. Nothing is fetched while the app is built. ``algorithms`` stays the app's: of the
        metadata only the address of the keys is taken. ``fetching``: the options of ``RemoteJWKS``. Raises
        ``ConfigurationError``.
        """
        return cls(
            issuer,
            audience=audience,
            algorithms=algorithms,
            keys=Discovery(issuer, **fetching),
            roles=roles,
            scopes=scopes,
            subject=subject,
            typ=typ,
            require_exp=require_exp,
        )


def check_issuer(issuer: str | Unchecked) -> str | None:
    """The name of an issuer, None for ANY_ISSUER; ``ConfigurationError`` for anything else."""
    if issuer is ANY_ISSUER:
        return None
    if not isinstance(issuer, str) or not issuer:
        raise ConfigurationError("issuer", "give the exact `iss` of its tokens, or ANY_ISSUER")
    return issuer


def check_audience(audience: str | Sequence[str] | Unchecked) -> frozenset[str] | None:
    """The names of this API, None for ANY_AUDIENCE; ``ConfigurationError`` for anything else."""
    if audience is ANY_AUDIENCE:
        return None
    if isinstance(audience, Unchecked) or not audience:
        raise ConfigurationError(
            "audience", "give the name of this API as its issuer writes it in `aud`, or ANY_AUDIENCE"
        )
    return names("audience", (audience,) if isinstance(audience, str) else audience)
