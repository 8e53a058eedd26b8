"""Keycloak: the access tokens of a realm."""

from __future__ import annotations

import re
from collections.abc import Iterable

from authguard.errors import ConfigurationError
from authguard.providers.arguments import check_base_url, check_clients, check_word, path_of
from authguard.providers.token_profile import TokenProfile, require_client, require_one_of

_EXAMPLE = "https://login.example"
# Keycloak percent-encodes anything else in `iss`.
_REALM = re.compile(r"[A-Za-z0-9._~-]+")
_CLIENT = re.compile(r"\S(?:.*\S)?")


def keycloak(
    url: str, realm: str, client: str, clients: Iterable[str] | None, *, insecure_http: bool = False
) -> TokenProfile:
    """The tokens of a realm for the API whose client ID is ``client``.

    ID, refresh, logout and registration tokens are of the same realm. The claim ``typ`` of an access token is Bearer.
    """
    base = check_base_url("url", url, insecure_http=insecure_http, example=_EXAMPLE)
    before, found, after = base.partition("/realms/")
    if found:
        raise ConfigurationError(
            "url", f'this is the URL of a realm; write Issuer.keycloak("{before}", "{after.partition("/")[0]}", ...)'
        )
    if path_of(base).startswith("/admin"):
        raise ConfigurationError("url", f'this is the URL of the admin console; write "{_EXAMPLE}"')
    name = check_word("realm", realm, _REALM, 'is not the name of a realm as it is in its URL; write "shop"')
    api = check_word("client", client, _CLIENT, 'is not the client ID of this API in Keycloak; write "orders"')
    listed = check_clients(clients)
    issuer = f"{base}/realms/{name}"
    rules = (require_one_of(("typ",), frozenset({"Bearer"})),)
    return TokenProfile(
        (issuer,),
        f"{issuer}/protocol/openid-connect/certs",
        # The roles of other clients are for other APIs.
        roles=(("realm_access", "roles"), ("resource_access", api, "roles")),
        scopes=(("scope",),),
        rules=rules if listed is None else (*rules, require_client(("azp",), listed)),
    )
