"""Google: ID tokens of users who signed in with Google, and of service accounts."""

from __future__ import annotations

import re
from collections.abc import Iterable

from authguard.errors import ConfigurationError
from authguard.providers.arguments import check_listed
from authguard.providers.token_profile import TokenProfile, require_one_of

_DOMAIN = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)+[a-z0-9-]{2,63}")


def google(domains: Iterable[str] | None) -> TokenProfile:
    """ID tokens of Google. Its access tokens are opaque.

    ``domains``: the Google Workspace domains whose members are accepted, by ``hd``. Without it, everybody who has a
    Google account is. The domain of an e-mail address does not show who belongs to an organization.
    """
    listed = check_listed("domains", domains, "so nobody could log in; leave it out to accept every Google account")
    for domain in listed or ():
        if not _DOMAIN.fullmatch(domain):
            raise ConfigurationError("domains", f'{domain!r} is not a domain; write "example.com"')
    return TokenProfile(
        ("https://accounts.google.com", "accounts.google.com"),
        "https://www.googleapis.com/oauth2/v3/certs",
        rules=() if listed is None else (require_one_of(("hd",), listed),),
    )
