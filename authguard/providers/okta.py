"""Okta: the access tokens of a custom authorization server."""

from __future__ import annotations

import re
from collections.abc import Iterable

from authguard.errors import ConfigurationError
from authguard.providers.arguments import check_clients, check_host, check_word
from authguard.providers.token_profile import TokenProfile, require_client

_SERVER = re.compile(r"[A-Za-z0-9_-]+")


def okta(domain: str, server: str | None, clients: Iterable[str] | None) -> TokenProfile:
    """The tokens of the authorization server ``server`` of an organization. The client is ``cid``; ID tokens have none.

    Tokens of the organization's own authorization server are for Okta alone. Okta says that nobody else may verify
    them, and marks them with a ``typ`` that is refused.
    """
    host = check_host("domain", domain, example="shop.okta.com")
    if host.partition(".")[0].endswith("-admin"):
        fix = host.replace("-admin.", ".", 1)
        raise ConfigurationError("domain", f'this is the host of the admin console; write "{fix}"')
    if server is None:
        raise ConfigurationError(
            "server",
            "tokens of the org authorization server are for Okta alone; give the ID of a custom authorization server, "
            'such as "default"',
        )
    name = check_word("server", server, _SERVER, 'is not the ID of an authorization server; write "default"')
    listed = check_clients(clients)
    issuer = f"https://{host}/oauth2/{name}"
    return TokenProfile(
        (issuer,),
        f"{issuer}/v1/keys",
        roles=(("groups",),),
        scopes=(("scp",),),
        rules=(require_client(("cid",), listed),),
    )
