"""An issuer of JWTs: its name, the rules for its tokens, and the keys that verify them."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import field
from typing import TYPE_CHECKING, Any, Self, TypeAlias, Unpack, cast

from authguard.concurrency.deadline import optional_method
from authguard.errors import ConfigurationError
from authguard.keys.by_algorithm import KeysByAlgorithm, check_not_published, keys_by_algorithm
from authguard.keys.source import (
    HeldKeys,
    KeyMaterial,
    KeySource,
    RefetchableKeys,
    VerificationKey,
    as_source,
    check_algorithms,
    takes_requester,
)
from authguard.schemes.bearer.claim_mapping import (
    ClaimCheck,
    ClaimPath,
    Source,
    SubjectSource,
    SubjectSources,
    check_claim_check,
    check_sources,
    check_subject,
    claim,
)
from authguard.schemes.bearer.claims import ACCESS_TOKEN, ANY_AUDIENCE, ClaimRules, Types, Unchecked, check_types
from authguard.schemes.bearer.issuer_names import IssuerArgument, IssuerNames, TenantsArgument, check_issuer
from authguard.schemes.bearer.provider_issuers import ProviderIssuers
from authguard.validation import check_flag, names
from authguard.value_types import frozen
from authguard.wire.jws import JoseHeader

if TYPE_CHECKING:
    from authguard.keys.fetch_budget import Requester
    from authguard.keys.options import FetchArguments

#: One source of keys.
Keys: TypeAlias = KeySource | KeyMaterial | Sequence[KeyMaterial]

_ROLES, _SCOPES, _SUBJECT = claim("roles"), claim("scope"), claim("sub")


@frozen
class Issuer(ProviderIssuers):
    """An issuer of tokens, the rules for its tokens, and the keys that verify them.

    For well-known providers there are ``Issuer.auth0(...)``, ``.keycloak``, ``.entra``, ``.cognito``, ``.google``,
    ``.okta``, ``.firebase``, ``.supabase`` and ``.github_actions``; ``Issuer.discover(...)`` is for any other.

    - ``issuer``: compared exactly with ``iss``. Give a list if the issuer writes it in several ways. ``NO_ISSUER``,
      alone or in the list, is for tokens without ``iss``; ``ANY_ISSUER`` switches the check off.
    - ``tenants``: for an ``issuer`` with a claim in it, such as ``https://login.example/{tid}/v2.0``: the values of the
      claim that are accepted, or ``ANY_TENANT``. The claim must be what stands in ``iss``. ``{tenantid}``, as Microsoft
      writes it, is the claim ``tid``.
    - ``audience``: the name of this API, or several, one of which must be in ``aud``; ``ANY_AUDIENCE`` switches the
      check off.
    - ``algorithms``: the accepted ones, such as ``["RS256"]``. HMAC and public-key algorithms cannot share a source.
    - ``keys``: ``PEM``, ``JWK``, ``JWKSet``, ``Secret``, a list of these; ``RemoteJWKS(url)``, or any ``KeySource``. Or
      several by the algorithms that each is for: ``{"HS256": Secret(...), "ES256": RemoteJWKS(url)}``, for an issuer
      that changes from a secret to a key pair. No key is tried for an algorithm of another source.
    - ``roles``, ``scopes``: ``claim(...)`` paths or functions of the claims; of several, the union is used.
    - ``subject``: the ``claim(...)`` of the subject, a function of the claims, or several in order. The first one that
      is present and not empty is used. Tokens of the client credentials grant often have no ``sub``: for these write
      ``[claim("sub"), claim("client_id")]``. Claims that name the client come last, and a token that names a user in
      another claim never becomes its client. If ``sub`` is not the subject, nothing is required of it.
    - ``numeric_subject``: whether the subject may be a whole number, which RFC 7519 does not allow. It becomes a string
      and is recorded as ``tolerated``. 42 and "42" are then the same subject.
    - ``check``: a function of the claims of a token with a valid signature, not async, which is asked for each request.
      True accepts the token, False is ``token.check_refused``, and a ``Reason`` is that reason. A ``Failure`` has facts
      for the record too.
    - ``typ``: None accepts ``JWT``, ``at+jwt`` and no type. ``"at+jwt"`` accepts only access tokens of RFC 9068, with
      all claims of its section 2.2. A list accepts exactly its types; None in it is "no type".
    - ``id_tokens``: whether tokens are accepted whose claims say that they are ID tokens, as Keycloak's ``typ`` and
      Cognito's ``token_use`` do. An ID token is for the client that asked for it. Refresh tokens are never accepted.
    - ``require_exp``: whether a token must have ``exp``.

    Raises ``ConfigurationError``.
    """

    issuer: str | None
    names: IssuerNames = field(repr=False)
    algorithms: frozenset[str]
    keys: KeySource = field(repr=False)
    held: HeldKeys | None = field(repr=False)
    refetchable: RefetchableKeys | None = field(repr=False)
    takes_requester: frozenset[str] = field(repr=False)
    roles: tuple[Source, ...] = field(repr=False)
    scopes: tuple[Source, ...] = field(repr=False)
    subject: ClaimPath | SubjectSources = field(repr=False)
    typ: Types
    check: ClaimCheck | None = field(repr=False)
    rules: ClaimRules
    calls_functions: bool = field(repr=False)

    def __init__(
        self,
        issuer: IssuerArgument,
        *,
        tenants: TenantsArgument = None,
        audience: str | Sequence[str] | Unchecked,
        algorithms: Sequence[str],
        keys: Keys | Mapping[str | tuple[str, ...], Keys],
        roles: Source | Sequence[Source] = _ROLES,
        scopes: Source | Sequence[Source] = _SCOPES,
        subject: SubjectSource | Sequence[SubjectSource] = _SUBJECT,
        numeric_subject: bool = False,
        check: ClaimCheck | None = None,
        typ: str | Sequence[str | None] | None = None,
        id_tokens: bool = False,
        require_exp: bool = True,
    ) -> None:
        if isinstance(keys, Mapping):
            allowed, source = keys_by_algorithm(algorithms, keys)
        else:
            allowed = check_algorithms(algorithms)
            source = as_source(keys, allowed)
            check_not_published(source, allowed)
        kind = check_types(typ)
        put = object.__setattr__
        put(self, "names", check_issuer(issuer, tenants))
        put(self, "issuer", self.names.label if self.names.exact or self.names.templates else None)
        put(self, "algorithms", allowed)
        put(self, "keys", source)
        put(self, "held", optional_method(source, "held", beside="keys_for"))
        is_refetchable = source.is_refetchable if isinstance(source, KeysByAlgorithm) else True
        put(self, "refetchable", source if is_refetchable and isinstance(source, RefetchableKeys) else None)
        methods = (name for name in ("keys_for", "refetch") if takes_requester(getattr(source, name, None)))
        put(self, "takes_requester", frozenset(methods))
        put(self, "roles", check_sources("roles", roles))
        put(self, "scopes", check_sources("scopes", scopes))
        put(self, "subject", check_subject(subject, numeric=numeric_subject))
        put(self, "check", check_claim_check(check))
        subjects = self.subject.sources if isinstance(self.subject, SubjectSources) else (self.subject,)
        sources = (*self.roles, *self.scopes, *subjects)
        functions = [source for source in sources if not isinstance(source, ClaimPath)]
        # The answer of such a check is kept with a token whose signature was verified.
        is_kept = getattr(check, "depends_on_claims_alone", check is None)
        put(self, "calls_functions", bool(functions) or not is_kept)
        put(self, "typ", kind)
        rules = ClaimRules(
            check_audience(audience),
            require_exp,
            kind == ACCESS_TOKEN,
            checks_sub=self.subject == _SUBJECT,
            tenant=self.names.tenant_failure if self.names.templates else None,
            id_tokens=check_flag("id_tokens", id_tokens),
        )
        put(self, "rules", rules)

    @classmethod
    def discover(
        cls,
        issuer: str | Sequence[str],
        *,
        audience: str | Sequence[str] | Unchecked,
        algorithms: Sequence[str],
        roles: Source | Sequence[Source] = _ROLES,
        scopes: Source | Sequence[Source] = _SCOPES,
        subject: SubjectSource | Sequence[SubjectSource] = _SUBJECT,
        numeric_subject: bool = False,
        check: ClaimCheck | None = None,
        typ: str | Sequence[str | None] | None = None,
        id_tokens: bool = False,
        require_exp: bool = True,
        **fetching: Unpack[FetchArguments],
    ) -> Self:
        """``Issuer.discover("https://login.example/", ...)``: an issuer whose metadata says where its keys are.

        OpenID Connect Discovery 1.0 and RFC 8414. ``issuer`` must be byte for byte what the metadata and ``iss`` say, a
        final slash included; of several spellings, the first is that of the metadata. A template has no metadata of its
        own: write ``Issuer(..., keys=RemoteJWKS(url))``. Nothing is fetched while the app is built. Only the URL of the
        keys is taken from the metadata: the app itself names the ``algorithms``. ``fetching``: the options of
        ``RemoteJWKS``. Raises ``ConfigurationError``.
        """
        # An app whose keys are in its configuration does not import this.
        from authguard.keys.remote import Discovery  # noqa: PLC0415

        first = issuer[0] if isinstance(issuer, list | tuple) and issuer else issuer
        if isinstance(first, str) and "{" in first:
            raise ConfigurationError(
                "issuer", "a template has no metadata of its own; write Issuer(..., keys=RemoteJWKS(url of the keys))"
            )
        return cls(
            issuer,
            audience=audience,
            algorithms=algorithms,
            keys=Discovery(cast("str", first), **fetching),
            roles=roles,
            scopes=scopes,
            subject=subject,
            numeric_subject=numeric_subject,
            check=check,
            typ=typ,
            id_tokens=id_tokens,
            require_exp=require_exp,
        )

    @property
    def sources(self) -> tuple[KeySource, ...]:
        """Its key sources: one, or those of ``keys`` by algorithm."""
        return self.keys.sources if isinstance(self.keys, KeysByAlgorithm) else (self.keys,)

    def find_keys(self, header: JoseHeader, requester: Requester) -> Awaitable[Sequence[VerificationKey]]:
        """The call of ``KeySource.keys_for`` for a token."""
        source: Any = self.keys
        extra = {"requester": requester} if "keys_for" in self.takes_requester else {}
        answer: Awaitable[Sequence[VerificationKey]] = source.keys_for(kid=header.kid, algorithm=header.alg, **extra)
        return answer

    def refetch_keys(
        self, tried: Sequence[VerificationKey], header: JoseHeader, requester: Requester
    ) -> Awaitable[Sequence[VerificationKey] | None]:
        """The call of ``RefetchableKeys.refetch`` for a token."""
        source: Any = self.refetchable
        extra = {"requester": requester} if "refetch" in self.takes_requester else {}
        answer: Awaitable[Sequence[VerificationKey] | None] = source.refetch(
            tried, kid=header.kid, algorithm=header.alg, **extra
        )
        return answer


def check_audience(audience: str | Sequence[str] | Unchecked) -> frozenset[str] | None:
    """The names of this API; None for ``ANY_AUDIENCE``. Raises ``ConfigurationError`` for anything else."""
    if audience is ANY_AUDIENCE:
        return None
    if isinstance(audience, Unchecked) or not audience:
        raise ConfigurationError(
            "audience", "give the name of this API as its issuer writes it in `aud`, or ANY_AUDIENCE"
        )
    return names("audience", (audience,) if isinstance(audience, str) else audience)
