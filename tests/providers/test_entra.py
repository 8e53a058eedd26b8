"""``Issuer.entra``: access tokens of Microsoft Entra ID in the versions 1.0 and 2.0, of one tenant and of several."""

from __future__ import annotations

from typing import Any

import pytest

from authguard import ANY_AUDIENCE, ANY_ISSUER, ANY_TENANT, ConfigurationError, Issuer
from tests.support.providers import KEYS, TIMES, accepted, options, refused

TENANT, OTHER = "aaaabbbb-0000-cccc-1111-dddd2222eeee", "bbbbcccc-1111-dddd-2222-eeee3333ffff"
API, WEB = "00001111-aaaa-2222-bbbb-3333cccc4444", "11112222-bbbb-3333-cccc-4444dddd5555"
V2 = {
    "aud": API,
    "iss": f"https://login.microsoftonline.com/{TENANT}/v2.0",
    "nbf": TIMES["iat"],
    "aio": "AXQAi/8TAAAA",
    "azp": WEB,
    "azpacr": "0",
    "name": "Abe Lincoln",
    "oid": "22223333-cccc-4444-dddd-5555eeee6666",
    "scp": "Orders.Read Orders.Write",
    "sub": "HKZpfaHyWadeOouYlitjrI-KffTm222X5rrV3xDqfKQ",
    "tid": TENANT,
    "ver": "2.0",
    **TIMES,
}
V1 = {
    **{name: value for name, value in V2.items() if name not in {"azp", "azpacr"}},
    "aud": f"api://{API}",
    "iss": f"https://sts.windows.net/{TENANT}/",
    "appid": WEB,
    "appidacr": "0",
    "ver": "1.0",
}
#: A daemon, which has roles and no scopes.
APP = {"scp": ..., "roles": ["Orders.Read.All"], "idtyp": "app", "sub": "a-service-principal"}


def entra(tenant: Any = TENANT, **changes: Any) -> Issuer:
    """The issuer of these tokens."""
    return Issuer.entra(tenant, **options({"audience": [API, f"api://{API}"], "keys": KEYS}, changes))


def of_tenant(claims: dict[str, Any], tenant: str) -> dict[str, Any]:
    """The same claims in another tenant."""
    return {"iss": claims["iss"].replace(TENANT, tenant), "tid": tenant}


@pytest.mark.parametrize("claims", [V1, V2], ids=["1.0", "2.0"])
def test_both_versions_are_accepted(claims: dict[str, Any]) -> None:
    """A user has scopes, and a daemon has roles."""
    user, daemon = accepted(entra(), claims), accepted(entra(), claims, APP)

    assert (user.subject, set(user.scopes), set(user.roles)) == (V2["sub"], {"Orders.Read", "Orders.Write"}, set())
    assert (daemon.subject, set(daemon.scopes), set(daemon.roles)) == (
        "a-service-principal",
        set(),
        {"Orders.Read.All"},
    )


def test_one_version_refuses_the_other() -> None:
    """The version of a token is in its ``iss``."""
    assert refused(entra(versions=["2.0"]), V1)[0] == "token.issuer_unknown"
    assert refused(entra(versions=["1.0"]), V2)[0] == "token.issuer_unknown"


@pytest.mark.parametrize("claims", [V1, V2], ids=["1.0", "2.0"])
def test_other_tenants_and_apis_are_refused(claims: dict[str, Any]) -> None:
    """A token of another tenant is refused, and so is one for Microsoft Graph."""
    assert refused(entra(), claims, of_tenant(claims, OTHER))[0] == "token.issuer_unknown"
    graph = {"aud": "https://graph.microsoft.com"}
    assert refused(entra(), claims, graph)[0] == "token.audience_mismatch"


@pytest.mark.parametrize("claims", [V1, V2], ids=["1.0", "2.0"])
def test_several_tenants_are_listed(claims: dict[str, Any]) -> None:
    """Each tenant of the list is accepted, no other, and ``tid`` must be the tenant in ``iss``."""
    issuer = entra([TENANT, OTHER])
    third = "ccccdddd-2222-eeee-3333-ffff4444aaaa"

    assert accepted(issuer, claims).subject == accepted(issuer, claims, of_tenant(claims, OTHER)).subject
    assert refused(issuer, claims, of_tenant(claims, third))[0] == "token.issuer_unknown"
    assert refused(issuer, claims, {"tid": OTHER})[0] == "token.claim_invalid"


def test_an_api_may_be_open_to_every_tenant() -> None:
    """``ANY_TENANT`` accepts each, whose ``tid`` must still be the tenant in ``iss``."""
    issuer = entra(ANY_TENANT)

    assert accepted(issuer, V2, of_tenant(V2, OTHER)).claims["tid"] == OTHER
    assert refused(issuer, V2, {"tid": OTHER})[0] == "token.claim_invalid"


def test_an_id_token_is_refused() -> None:
    """If web app and API are one registration, the ID token has the same audience, and even roles. It has no client."""
    assert refused(entra(), V2, {"azp": ..., "azpacr": ..., "scp": ..., "roles": ["Admin"], "nonce": "12345"}) == (
        "token.claim_missing",
        {"claim": "azp or appid", "wanted": "the client of an access token"},
    )


@pytest.mark.parametrize("typ", ["at+jwt", ...])
def test_the_type_in_the_header_is_jwt(typ: object) -> None:
    """Microsoft documents that it always is, for both versions."""
    assert refused(entra(), V2, typ=typ)[0] == "token.type_refused"


@pytest.mark.parametrize("changes", [{"scp": ...}, {"scp": ""}, {"scp": ..., "roles": []}, {"scp": 7}])
def test_a_token_that_grants_nothing_is_refused(changes: dict[str, Any]) -> None:
    """Every app of a tenant can get a token for every API in it, so a token without a permission is refused."""
    assert refused(entra(), V2, changes) == (
        "token.claim_missing",
        {"claim": "scp or roles", "wanted": "a permission, or clients="},
    )


def test_listed_clients_need_no_permission() -> None:
    """An API that lists its clients accepts their tokens alone, with or without a permission."""
    issuer = entra(clients=[WEB])

    assert accepted(issuer, V2, {"scp": ...}).scopes == set()
    assert accepted(issuer, V1).scopes == {"Orders.Read", "Orders.Write"}
    assert refused(issuer, V1, {"appid": OTHER}) == (
        "token.claim_invalid",
        {"claim": "appid", "found": OTHER, "wanted": (WEB,)},
    )


@pytest.mark.parametrize(
    ("tenant", "fix"),
    [
        ("common", "'common' is in no `iss`; list the IDs"),
        ("organizations", "or give ANY_TENANT"),
        ("contoso.onmicrosoft.com", "the GUID in `iss`, in lower case, and not a domain"),
        (TENANT.upper(), "in lower case"),
        ([TENANT, "contoso.com"], "not a domain"),
        ([], "the list is empty"),
        (ANY_ISSUER, "ANY_ISSUER is no tenant"),
    ],
)
def test_a_tenant_is_an_id(tenant: Any, fix: str) -> None:
    """Names that stand in the URLs of Microsoft, and in no token, are refused."""
    with pytest.raises(ConfigurationError, match=fix) as caught:
        entra(tenant)

    assert caught.value.argument == "tenant"


@pytest.mark.parametrize("versions", [["2"], [], ["1.0", "3.0"]])
def test_versions_are_known_ones(versions: list[str]) -> None:
    """There are the versions 1.0 and 2.0."""
    with pytest.raises(ConfigurationError, match=r'versions: .* write \["1.0"\], \["2.0"\] or both'):
        entra(versions=versions)


def test_the_audience_of_version_2_is_a_client_id() -> None:
    """The URI of an API is in no v2.0 token, so it alone is refused unless only version 1.0 is accepted."""
    for versions, fix in ((["2.0"], "and not the URI of the API"), (["1.0", "2.0"], r'or versions=\["1.0"\]')):
        with pytest.raises(ConfigurationError, match=rf"audience: in v2.0 tokens .*{fix}"):
            entra(audience=f"api://{API}", versions=versions)

    assert accepted(entra(audience=f"api://{API}", versions=["1.0"]), V1).subject
    assert accepted(entra(audience=API), V2).subject
    assert accepted(entra(audience=ANY_AUDIENCE), V1).subject
