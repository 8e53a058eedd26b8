"""Microsoft Entra ID (Azure AD): access tokens of one tenant, of several, or of all, in the versions 1.0 and 2.0."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from authguard.errors import ConfigurationError
from authguard.model import Failure
from authguard.providers.arguments import check_clients, check_word, texts_of
from authguard.providers.token_profile import ClaimRule, Claims, TokenProfile, require_client
from authguard.reasons import TOKEN_CLAIM_MISSING
from authguard.validation import names

_GUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_EXAMPLE = "11111111-2222-3333-4444-555555555555"
_HOST = "https://login.microsoftonline.com"
# The tenant of v1.0 tokens is at another host, with a slash at the end.
_ISSUERS = {"1.0": "https://sts.windows.net/{tid}/", "2.0": f"{_HOST}/{{tid}}/v2.0"}


def entra(
    tenants: str | Iterable[str] | None, audience: object, versions: Sequence[str], clients: Iterable[str] | None
) -> TokenProfile:
    """The tokens of this tenant, of several, or (None) of every tenant.

    Which version a token has is a setting of the API (``requestedAccessTokenVersion``), and not of the endpoint that
    issued it. The client is ``azp`` in v2.0 and ``appid`` in v1.0; an ID token has neither.
    """
    accepted = _check_versions(versions)
    if "2.0" in accepted:
        _check_v2_audience(audience, accepted)
    listed = check_clients(clients)
    rules: tuple[ClaimRule, ...] = (require_client(("azp", "appid"), listed),)
    if listed is None:
        rules += (_require_permission,)
    keys = f"{_HOST}/{tenants if isinstance(tenants, str) else 'common'}/discovery/{'v2.0/' * ('2.0' in accepted)}keys"
    templates = tuple(_ISSUERS[version] for version in sorted(accepted, reverse=True))
    if isinstance(tenants, str):
        tenant = _check_tenant(tenants)
        templates = tuple(template.replace("{tid}", tenant) for template in templates)
    elif tenants is not None:
        tenants = names("tenant", tenants)
        if not tenants:
            raise ConfigurationError("tenant", "the list is empty; nobody could log in")
        for tenant in tenants:
            _check_tenant(tenant)
    return TokenProfile(
        templates,
        keys,
        tenants=None if isinstance(tenants, str) or tenants is None else frozenset(tenants),
        roles=(("roles",),),
        scopes=(("scp",),),
        typ=("JWT",),
        rules=rules,
    )


def _check_versions(versions: Sequence[str]) -> frozenset[str]:
    accepted = names("versions", versions)
    if not accepted or not accepted <= _ISSUERS.keys():
        raise ConfigurationError("versions", f'{versions!r} are no versions of tokens; write ["1.0"], ["2.0"] or both')
    return accepted


def _check_tenant(tenant: str) -> str:
    if tenant in {"common", "organizations", "consumers"}:
        raise ConfigurationError(
            "tenant", f"{tenant!r} is in no `iss`; list the IDs of the tenants, or give ANY_TENANT for whoever has one"
        )
    problem = (
        f'is not the ID of a tenant, which is the GUID in `iss`, in lower case, and not a domain; write "{_EXAMPLE}"'
    )
    return check_word("tenant", tenant, _GUID, problem)


def _check_v2_audience(audience: object, accepted: frozenset[str]) -> None:
    texts = texts_of(audience)
    if texts and not any(_GUID.fullmatch(text) for text in texts):
        raise ConfigurationError(
            "audience",
            "in v2.0 tokens it is the client ID of the API, which is a GUID; give it too, "
            + ('or versions=["1.0"] if the API has them alone' if "1.0" in accepted else "and not the URI of the API"),
        )


def _require_permission(claims: Claims) -> Failure | None:
    """Refuse a token that grants nothing. Any client of the tenant can get one for any API."""
    if any(isinstance(claims.get(name), str | list) and claims[name] for name in ("scp", "roles")):
        return None
    return Failure(TOKEN_CLAIM_MISSING, {"claim": "scp or roles", "wanted": "a permission, or clients="})
