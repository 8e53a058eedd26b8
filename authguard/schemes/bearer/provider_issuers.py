"""``Issuer.auth0(...)`` and the like: an issuer made of what is known of a provider's tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self, TypeAlias, TypedDict, TypeVar, Unpack

from authguard.errors import ConfigurationError
from authguard.keys.source import KeyMaterial, KeySource
from authguard.model import Failure
from authguard.schemes.bearer.claim_mapping import (
    ClaimCheck,
    ClaimPath,
    Source,
    SubjectSource,
    check_claim_check,
    check_failure,
)
from authguard.schemes.bearer.claims import ANY_TENANT, Claims, Unchecked
from authguard.value_types import frozen

if TYPE_CHECKING:
    from authguard.http_client import ClientFactory, Fetch
    from authguard.keys.options import FetchArguments
    from authguard.model import Clock
    from authguard.providers.token_profile import TokenProfile
    from authguard.state.shared_cache import SharedCache

    class ProviderArguments(TypedDict, total=False):
        """The keyword arguments that all providers take: some of ``Issuer``, and those of ``RemoteJWKS``.

        - ``roles``, ``scopes``, ``subject``, ``check``, ``algorithms``: as for ``Issuer``. Each takes the place of what
          is known of the provider. ``check`` comes in addition to the provider's own.
        - ``keys``: the keys, in place of those that are fetched from the provider.
        - ``http_client``: the ``client`` of ``RemoteJWKS``. All others: as for ``RemoteJWKS``.
        """

        roles: Source | Sequence[Source]
        scopes: Source | Sequence[Source]
        subject: SubjectSource | Sequence[SubjectSource]
        check: ClaimCheck
        algorithms: Sequence[str]
        keys: KeySource | KeyMaterial | Sequence[KeyMaterial]
        http_client: ClientFactory | None
        fetch: Fetch | None
        insecure_http: bool
        timeout: float
        cooldown: float
        min_age: float
        max_age: float
        stale_if_error: float
        limit: int
        shared_cache: SharedCache | None
        clock: Clock


T = TypeVar("T")
#: The argument ``audience``.
AudienceArgument: TypeAlias = str | Sequence[str] | Unchecked


class ProviderIssuers:
    """The class methods of ``Issuer`` that make an issuer of what is known of a provider's tokens.

    docs/providers.md says for each provider what is checked, what is refused, and how it is known. All of them take
    ``roles``, ``scopes``, ``subject``, ``check`` and ``algorithms`` of ``Issuer`` too, in place of what is known of the
    provider (``check`` in addition to it); ``keys`` in place of those that are fetched; and the options of
    ``RemoteJWKS``, of which ``client`` is called ``http_client`` here. Nothing is fetched while the app is built. Each
    raises ``ConfigurationError``.
    """

    __slots__ = ()

    # A provider's module is imported by the app that names it, and by no other.

    @classmethod
    def auth0(
        cls,
        domain: str,
        *,
        audience: AudienceArgument,
        clients: Iterable[str] | None = None,
        **options: Unpack[ProviderArguments],
    ) -> Self:
        """``Issuer.auth0("shop.eu.auth0.com", audience="https://api.shop.example")``: access tokens of Auth0.

        ``domain``: the host of the tenant, or a custom domain. ``audience``: the identifier of the API, and not a
        client ID. ``clients``: the client IDs of the applications whose tokens are accepted; without it, of all.
        The roles are the ``permissions`` of the user; the roles that Auth0 knows are in no token unless an Action adds
        them: ``roles=claim("https://shop.example/roles")``. Raises ``ConfigurationError``.
        """
        from authguard.providers.auth0 import auth0  # noqa: PLC0415

        return _issuer(cls, "auth0", auth0(domain, audience, clients), audience, options)

    @classmethod
    def keycloak(
        cls,
        url: str,
        realm: str,
        *,
        client: str,
        audience: AudienceArgument | None = None,
        clients: Iterable[str] | None = None,
        **options: Unpack[ProviderArguments],
    ) -> Self:
        """``Issuer.keycloak("https://login.example", "shop", client="orders")``: access tokens of a Keycloak realm.

        ``url``: the server as browsers see it, with ``/auth`` if it has that. ``client``: the client ID of this API,
        which must be in ``aud`` (by an audience mapper) unless ``audience`` says otherwise. The roles are those of the
        realm and of this client. ``clients``: the client IDs of the applications whose tokens are accepted; without
        it, of all. Raises ``ConfigurationError``.
        """
        from authguard.providers.keycloak import keycloak  # noqa: PLC0415

        insecure = options.get("insecure_http", False)
        profile = keycloak(url, realm, client, clients, insecure_http=insecure)
        return _issuer(cls, "keycloak", profile, client if audience is None else audience, options)

    @classmethod
    def entra(
        cls,
        tenant: str | Iterable[str] | Unchecked,
        *,
        audience: AudienceArgument,
        versions: Sequence[str] = ("1.0", "2.0"),
        clients: Iterable[str] | None = None,
        **options: Unpack[ProviderArguments],
    ) -> Self:
        """``Issuer.entra("1111...", audience="6666...")``: access tokens of Microsoft Entra ID, formerly Azure AD.

        ``tenant``: the ID of the tenant, a list of several, or ``ANY_TENANT`` for an API that is open to all of them.
        ``audience``: the client ID of the API, which is the ``aud`` of v2.0 tokens; those of v1.0 may have the URI of
        the API, such as ``api://...``, which is listed beside it. ``versions``: the versions of tokens that are
        accepted. ``clients``: the applications whose tokens are accepted; without it, of all, and then a token must
        have ``scp`` or ``roles``. Raises ``ConfigurationError``.
        """
        from authguard.providers.entra import entra  # noqa: PLC0415

        if isinstance(tenant, Unchecked) and tenant is not ANY_TENANT:
            raise ConfigurationError("tenant", f"{tenant!r} is no tenant; give the ID of one, a list, or ANY_TENANT")
        profile = entra(None if isinstance(tenant, Unchecked) else tenant, audience, versions, clients)
        return _issuer(cls, "entra", profile, audience, options, is_open=tenant is ANY_TENANT)

    @classmethod
    def cognito(
        cls,
        region: str,
        pool: str,
        *,
        clients: Iterable[str],
        audience: AudienceArgument = Unchecked.ANY_AUDIENCE,
        **options: Unpack[ProviderArguments],
    ) -> Self:
        """``Issuer.cognito("eu-central-1", "eu-central-1_AbCdEfGhI", clients=["..."])``: access tokens of a user pool.

        ``clients``: the IDs of the app clients whose tokens are accepted. An access token has no ``aud``, unless its
        client asked for a resource: give ``audience`` if all do. The roles are the groups of the user. Raises
        ``ConfigurationError``.
        """
        from authguard.providers.cognito import cognito  # noqa: PLC0415

        return _issuer(cls, "cognito", cognito(region, pool, clients), audience, options)

    @classmethod
    def google(
        cls,
        *,
        audience: AudienceArgument,
        domains: Iterable[str] | None = None,
        **options: Unpack[ProviderArguments],
    ) -> Self:
        """``Issuer.google(audience="1234-abcd.apps.googleusercontent.com")``: ID tokens of Google.

        ``audience``: the client IDs of your apps, or what service accounts ask for. ``domains``: the Google Workspace
        domains whose members are accepted; without it, everybody with a Google account is. The tokens have neither
        roles nor scopes. Raises ``ConfigurationError``.
        """
        from authguard.providers.google import google  # noqa: PLC0415

        return _issuer(cls, "google", google(domains), audience, options)

    @classmethod
    def okta(
        cls,
        domain: str,
        *,
        audience: AudienceArgument,
        server: str | None = "default",
        clients: Iterable[str] | None = None,
        **options: Unpack[ProviderArguments],
    ) -> Self:
        """``Issuer.okta("shop.okta.com", audience="api://default")``: access tokens of an authorization server of Okta.

        ``server``: the ID of a custom authorization server. Tokens of the org authorization server are for Okta alone.
        ``clients``: the client IDs whose tokens are accepted; without it, of all. The roles are the claim ``groups``,
        which the server must be told to add. Raises ``ConfigurationError``.
        """
        from authguard.providers.okta import okta  # noqa: PLC0415

        return _issuer(cls, "okta", okta(domain, server, clients), audience, options)

    @classmethod
    def firebase(
        cls,
        project: str,
        *,
        tenants: Iterable[str] | None = None,
        anonymous: bool = False,
        **options: Unpack[ProviderArguments],
    ) -> Self:
        """``Issuer.firebase("shop-1a2b3")``: ID tokens of Firebase Authentication.

        ``project``: the ID of the project. ``tenants``: the tenants of Identity Platform that are accepted; without
        it, all. ``anonymous``: whether users of the anonymous sign-in are accepted. Roles are custom claims:
        ``roles=claim("roles")``. Raises ``ConfigurationError``.
        """
        from authguard.providers.firebase import firebase  # noqa: PLC0415

        return _issuer(cls, "firebase", firebase(project, tenants, anonymous=anonymous), project, options)

    @classmethod
    def supabase(
        cls,
        url: str,
        *,
        secret: KeyMaterial | None = None,
        anonymous: bool = False,
        audience: AudienceArgument = "authenticated",
        **options: Unpack[ProviderArguments],
    ) -> Self:
        """``Issuer.supabase("https://abcdefghijklmnopqrst.supabase.co")``: access tokens of Supabase Auth.

        ``url``: that of the project. ``secret``: ``Secret(...)`` with the old JWT secret, as long as tokens of both
        kinds are in use; it verifies HS256 alone, and the fetched keys verify ES256 and RS256. ``anonymous``: whether
        users of the anonymous sign-in are accepted. The role is the claim ``role``; never take one from
        ``user_metadata``, which users change themselves. Raises ``ConfigurationError``.
        """
        from authguard.providers.supabase import supabase  # noqa: PLC0415

        insecure = options.get("insecure_http", False)
        profile = supabase(url, with_secret=secret is not None, anonymous=anonymous, insecure_http=insecure)
        for argument, sources in (("roles", options.get("roles", ())), ("scopes", options.get("scopes", ()))):
            for source in sources if isinstance(sources, Sequence) else (sources,):
                if isinstance(source, ClaimPath) and source.path[0] == "user_metadata":
                    raise ConfigurationError(argument, "users change user_metadata themselves; use app_metadata")
        return _issuer(cls, "supabase", profile, audience, options, secret=secret)

    @classmethod
    def github_actions(
        cls,
        *,
        audience: AudienceArgument,
        repositories: Iterable[str],
        owner_ids: Iterable[str] | None = None,
        refs: Iterable[str] | None = None,
        environments: Iterable[str] | None = None,
        workflows: Iterable[str] | None = None,
        server: str | None = None,
        enterprise: str | None = None,
        **options: Unpack[ProviderArguments],
    ) -> Self:
        """``Issuer.github_actions(audience="shop", repositories=["octo-org/shop"])``: tokens of workflow runs.

        ``repositories``: ``owner/name``, or ``owner/*``. Each further list narrows it: ``owner_ids``
        (``repository_owner_id``), ``refs`` (``refs/heads/main``), ``environments``, and ``workflows``
        (``job_workflow_ref``). ``server``: the host of a GitHub Enterprise Server, or that of an enterprise at ghe.com.
        ``enterprise``: the short name, if the enterprise has an ``iss`` of its own. The subject is ``sub``; the tokens
        have neither roles nor scopes. Raises ``ConfigurationError``.
        """
        from authguard.providers.github_actions import github_actions  # noqa: PLC0415

        profile = github_actions(repositories, owner_ids, refs, environments, workflows, server, enterprise)
        return _issuer(cls, "github_actions", profile, audience, options)


#: The arguments of ``ProviderArguments`` that go to ``Issuer`` itself.
_OF_ISSUER = ("roles", "scopes", "subject", "check", "algorithms")


@frozen
class _BothChecks:
    """The check of a provider, and then that of the app."""

    provider: ClaimCheck
    app: ClaimCheck

    def __call__(self, claims: Claims) -> bool | Failure:
        failure = check_failure(self.provider, claims) or check_failure(self.app, claims)
        return failure or True


def _issuer(
    make: Callable[..., T],
    name: str,
    profile: TokenProfile,
    audience: AudienceArgument,
    options: Mapping[str, Any],
    *,
    is_open: bool = False,
    secret: KeyMaterial | None = None,
) -> T:
    """Make an issuer of the profile and the options of the app. ``name`` is that of the method, for a ``TypeError``."""
    # Key fetching is imported by the app that fetches keys.
    from authguard.keys.options import FetchArguments  # noqa: PLC0415
    from authguard.providers.token_profile import ProviderCheck  # noqa: PLC0415

    fetching: Any = {key: value for key, value in options.items() if key not in {*_OF_ISSUER, "keys"}}
    for argument in fetching:
        if argument not in (FetchArguments.__annotations__.keys() - {"client", "use"}) | {"http_client"}:
            raise TypeError(f"Issuer.{name}() got an unexpected keyword argument {argument!r}")
    if "http_client" in fetching:
        fetching["client"] = fetching.pop("http_client")
    arguments: dict[str, Any] = {
        "roles": [ClaimPath(path) for path in profile.roles],
        "scopes": [ClaimPath(path) for path in profile.scopes],
        "algorithms": profile.algorithms,
        "typ": profile.typ,
        **{key: options[key] for key in _OF_ISSUER if key in options},
    }
    if profile.rules:
        check: ClaimCheck = ProviderCheck(profile.rules)
        own = check_claim_check(options.get("check"))
        arguments["check"] = check if own is None else _BothChecks(check, own)
    if is_open or profile.tenants is not None:
        arguments["tenants"] = ANY_TENANT if is_open else profile.tenants
    if "keys" not in options:
        arguments["keys"] = _keys(profile, arguments["algorithms"], fetching, secret)
    elif fetching.keys() - {"insecure_http"} or secret is not None:
        other = "secret" if secret is not None else min(fetching).replace("client", "http_client")
        raise ConfigurationError(other, "keys= are given, so nothing else is used; leave one of them out")
    else:
        arguments["keys"] = options["keys"]
    return make(list(profile.issuers), audience=audience, **arguments)


def _keys(
    profile: TokenProfile, algorithms: Sequence[str], fetching: FetchArguments, secret: KeyMaterial | None
) -> Any:
    """The keys at the provider; with the secret, only for the algorithms that are not HMAC."""
    from authguard.keys.remote import Discovery, RemoteJWKS  # noqa: PLC0415

    issuer, url = profile.issuers[0], profile.keys_url
    fetched = Discovery(issuer, **fetching) if url is None else RemoteJWKS(url, **fetching)
    if secret is None:
        return fetched
    return {"HS256": secret, tuple(name for name in algorithms if name != "HS256"): fetched}
