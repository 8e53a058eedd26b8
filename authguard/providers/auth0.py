"""Auth0: the access tokens of a tenant, in both of its profiles."""

from __future__ import annotations

from collections.abc import Iterable

from authguard.errors import ConfigurationError
from authguard.providers.arguments import check_clients, check_host, texts_of
from authguard.providers.token_profile import TokenProfile, require_client


def auth0(domain: str, audience: object, clients: Iterable[str] | None) -> TokenProfile:
    """The tokens of the tenant at this domain, which may be a custom domain.

    In the Auth0 profile the client is ``azp``, in the profile of RFC 9068 it is ``client_id``. An ID token has neither.
    """
    host = check_host("domain", domain, example="shop.eu.auth0.com")
    listed = check_clients(clients)
    issuer = f"https://{host}/"  # with the slash
    for text in texts_of(audience):
        if text in {f"{issuer}userinfo", f"{issuer}api/v2/"}:
            raise ConfigurationError(
                "audience", f"tokens for {text} are for Auth0's own API; give the identifier of an API of yours"
            )
    return TokenProfile(
        (issuer,),
        f"{issuer}.well-known/jwks.json",
        # Of a user with RBAC, `permissions` has all that the user may do, and `scope` what the client asked for.
        roles=(("permissions",),),
        scopes=(("scope",),),
        typ=("JWT", "at+jwt"),
        rules=(require_client(("azp", "client_id"), listed),),
    )
