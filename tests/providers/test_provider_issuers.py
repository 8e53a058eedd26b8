"""What the issuers of all providers have in common: where keys are fetched, what may be changed, what is remembered."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

import httpx2
import pytest

from authguard import ANY_TENANT, Accepted, Bearer, ConfigurationError, Failure, Issuer, Rejected, claim
from authguard.reasons import TOKEN_CHECK_REFUSED
from tests.providers import (
    test_auth0,
    test_cognito,
    test_entra,
    test_firebase,
    test_github_actions,
    test_google,
    test_keycloak,
    test_okta,
    test_supabase,
)
from tests.support.providers import Detour, accepted, refused, signed
from tests.support.schemes.bearer import bearer, bearer_credentials, bearer_request, outcome
from tests.support.servers.key_server import respond_with
from tests.support.tokens import key_set, public_pem, published_jwk, rsa_key

TENANT = test_entra.TENANT
MICROSOFT = "https://login.microsoftonline.com"
GITHUB = "https://token.actions.githubusercontent.com"

#: Each provider: its issuer, the claims of a token, and the URL of its keys.
PROVIDERS: Mapping[str, tuple[Callable[..., Issuer], Mapping[str, Any], str]] = {
    "auth0": (
        test_auth0.auth0,
        test_auth0.AUTH0_PROFILE,
        "https://my-domain.eu.auth0.com/.well-known/jwks.json",
    ),
    "keycloak": (
        test_keycloak.keycloak,
        test_keycloak.ACCESS_TOKEN,
        "https://login.example/realms/shop/protocol/openid-connect/certs",
    ),
    "entra": (test_entra.entra, test_entra.V2, f"{MICROSOFT}/{TENANT}/discovery/v2.0/keys"),
    "cognito": (
        test_cognito.cognito,
        test_cognito.ACCESS_TOKEN,
        "https://cognito-idp.us-east-1.amazonaws.com/us-east-1_EXAMPLE/.well-known/jwks.json",
    ),
    "google": (test_google.google, test_google.ID_TOKEN, "https://www.googleapis.com/oauth2/v3/certs"),
    "okta": (test_okta.okta, test_okta.ACCESS_TOKEN, "https://shop.okta.com/oauth2/default/v1/keys"),
    "firebase": (
        test_firebase.firebase,
        test_firebase.ID_TOKEN,
        "https://www.googleapis.com/service_accounts/v1/jwk/securetoken@system.gserviceaccount.com",
    ),
    "supabase": (
        test_supabase.supabase,
        test_supabase.ACCESS_TOKEN,
        "https://abcdefghijklmnopqrst.supabase.co/auth/v1/.well-known/jwks.json",
    ),
    "github_actions": (
        test_github_actions.github,
        test_github_actions.TOKEN,
        f"{GITHUB}/.well-known/openid-configuration",
    ),
}
each_provider = pytest.mark.parametrize(("make", "claims", "url"), PROVIDERS.values(), ids=PROVIDERS)


def fetching(make: Callable[..., Issuer], detour: Detour, **changes: Any) -> Issuer:
    """The issuer, with keys that are fetched by the detour."""
    return make(keys=..., fetch=detour.fetch, **changes)


@each_provider
async def test_keys_are_fetched_where_the_provider_publishes_them(
    make: Callable[..., Issuer], claims: Mapping[str, Any], url: str, detour: Detour
) -> None:
    """The first token causes the fetch, and a second one causes no other."""
    metadata = {"issuer": GITHUB, "jwks_uri": f"{GITHUB}/.well-known/jwks"}
    detour.server.pages["/.well-known/openid-configuration"] = respond_with(json.dumps(metadata).encode())
    scheme = Bearer(fetching(make, detour), realm="orders")
    for jti in ("one", "two"):
        token = signed(claims, {"jti": jti})
        assert isinstance(await scheme.authenticate(bearer_request(), bearer_credentials(token)), Accepted)

    assert detour.urls == [url] if make is not test_github_actions.github else [url, metadata["jwks_uri"]]


# The members that each provider's documents have beside `kty`, `kid`, `n` and `e`.
X5C = {"x5t": "jTDCD3v-sq1C8h7m7wR6qE8OZ2Y", "x5c": ["MIIDBTCCAe2gAwIBAgIQ"]}
SIGNATURE = {"alg": "RS256", "use": "sig"}
OF_ANY_TENANT = {"use": "sig", "issuer": f"{MICROSOFT}/{{tenantid}}/v2.0", "cloud_instance_name": "microsoftonline.com"}
OF_CONSUMERS = {**OF_ANY_TENANT, "issuer": f"{MICROSOFT}/9188040d-6c67-4c5b-b112-36a304b66dad/v2.0"}


@pytest.mark.parametrize(
    ("provider", "changes", "claims", "members", "others"),
    [
        ("auth0", {}, test_auth0.AUTH0_PROFILE, {**SIGNATURE, **X5C}, [{**SIGNATURE, **X5C}]),
        # Every realm of Keycloak has a key for encryption too.
        ("keycloak", {}, test_keycloak.ACCESS_TOKEN, {**SIGNATURE, **X5C}, [{"alg": "RSA-OAEP", "use": "enc", **X5C}]),
        ("entra", {}, test_entra.V2, {**OF_ANY_TENANT, **X5C}, [{**OF_CONSUMERS, **X5C}]),
        ("entra", {}, test_entra.V1, {"use": "sig", "issuer": f"{MICROSOFT}/{TENANT}/v2.0", **X5C}, []),
        ("entra", {"tenant": [TENANT]}, test_entra.V1, {**OF_ANY_TENANT, **X5C}, [{**OF_CONSUMERS, **X5C}]),
        ("entra", {"tenant": ANY_TENANT}, test_entra.V2, {**OF_ANY_TENANT, **X5C}, [{**OF_CONSUMERS, **X5C}]),
        ("google", {}, test_google.ID_TOKEN, SIGNATURE, [SIGNATURE]),
        ("supabase", {}, test_supabase.ACCESS_TOKEN, {**SIGNATURE, "key_ops": ["verify"], "ext": True}, []),
    ],
)
async def test_key_sets_are_read_as_they_are_published(
    provider: str,
    changes: Mapping[str, Any],
    claims: Mapping[str, Any],
    members: Mapping[str, Any],
    others: list[Mapping[str, Any]],
    detour: Detour,
) -> None:
    """Keys without ``alg``, with certificates, for encryption, and of other tenants stand beside the one that signs."""
    keys = [published_jwk(f"other-{number}", rsa_key(2048, 1), **other) for number, other in enumerate(others)]
    detour.server.behaviour = respond_with(key_set(*keys, published_jwk("k1", rsa_key(), **members)))
    scheme = Bearer(fetching(PROVIDERS[provider][0], detour, **changes), realm="orders")
    result = await scheme.authenticate(bearer_request(), bearer_credentials(signed(claims)))

    assert isinstance(result, Accepted), result


async def test_a_key_of_one_tenant_signs_for_no_other(detour: Detour) -> None:
    """Microsoft publishes the keys of personal accounts beside those of all tenants."""
    detour.server.behaviour = respond_with(key_set(published_jwk("k1", rsa_key(), **OF_CONSUMERS)))
    scheme = Bearer(fetching(test_entra.entra, detour, tenant=ANY_TENANT), realm="orders")
    result = await scheme.authenticate(bearer_request(), bearer_credentials(signed(test_entra.V2)))

    assert isinstance(result, Rejected)
    assert result.reason.code == "token.signature_invalid"


@pytest.mark.parametrize(
    ("tenant", "versions", "url"),
    [
        ([TENANT], ["2.0"], f"{MICROSOFT}/common/discovery/v2.0/keys"),
        (ANY_TENANT, ["1.0", "2.0"], f"{MICROSOFT}/common/discovery/v2.0/keys"),
        (TENANT, ["1.0"], f"{MICROSOFT}/{TENANT}/discovery/keys"),
    ],
)
async def test_the_keys_of_entra_depend_on_tenant_and_version(
    tenant: Any, versions: list[str], url: str, detour: Detour
) -> None:
    """Several tenants have their keys at ``common``, and version 1.0 alone has its own URL."""
    scheme = Bearer(fetching(test_entra.entra, detour, tenant=tenant, versions=versions), realm="orders")
    claims = test_entra.V2 if "2.0" in versions else test_entra.V1
    result = await scheme.authenticate(bearer_request(), bearer_credentials(signed(claims)))

    assert isinstance(result, Accepted)
    assert detour.urls == [url]


async def test_a_client_of_the_app_fetches_the_keys(detour: Detour) -> None:
    """``http_client`` makes it, for a proxy or a certificate authority; http is allowed by name."""
    url = f"http://127.0.0.1:{detour.server.port}"
    made: list[httpx2.AsyncClient] = []

    def make_client() -> httpx2.AsyncClient:
        made.append(httpx2.AsyncClient(trust_env=False))
        return made[-1]

    issuer = Issuer.keycloak(url, "shop", client="orders", insecure_http=True, http_client=make_client)
    token = signed(test_keycloak.ACCESS_TOKEN, {"iss": f"{url}/realms/shop"})
    result = await Bearer(issuer, realm="orders").authenticate(bearer_request(), bearer_credentials(token))

    assert isinstance(result, Accepted)
    assert len(made) == 1
    assert [path for path, _ in detour.server.requests] == ["/realms/shop/protocol/openid-connect/certs"]


@each_provider
def test_a_verified_token_is_remembered(make: Callable[..., Issuer], claims: Mapping[str, Any], url: str) -> None:
    """The provider's own check depends on the claims alone, so a repeated token has the very same outcome."""
    scheme, credentials = bearer(make()), bearer_credentials(signed(claims))
    _, second, third = (scheme.authenticate_now(bearer_request(), credentials) for _ in range(3))

    assert isinstance(third, Accepted)
    assert second is third


@each_provider
def test_a_check_of_the_app_is_asked_too(make: Callable[..., Issuer], claims: Mapping[str, Any], url: str) -> None:
    """It comes after the provider's own, is asked for each request, and may refuse with facts of its own."""
    asked: list[object] = []

    def check(read: Mapping[str, Any]) -> bool | Failure:
        asked.append(read["sub"])
        return len(asked) < 3 or Failure(TOKEN_CHECK_REFUSED, {"wanted": "fewer requests"})

    scheme, token = bearer(make(check=check)), signed(claims)
    first, second, third = (outcome(scheme, token) for _ in range(3))

    assert isinstance(first, Accepted)
    assert isinstance(second, Accepted)
    assert (third.reason.code, third.facts["wanted"]) == ("token.check_refused", "fewer requests")  # type: ignore[union-attr]
    assert asked == [claims["sub"]] * 3


def test_a_check_of_the_app_decides_nothing_that_the_provider_refuses() -> None:
    """The provider's rules stay, whatever the app's check returns."""
    issuer = test_keycloak.keycloak(check=lambda read: True)

    assert refused(issuer, test_keycloak.ACCESS_TOKEN, {"typ": "DPoP"})[0] == "token.claim_invalid"


def test_a_check_that_returns_the_wrong_thing_is_named() -> None:
    """The error names the app's function, and not what calls it."""

    def forgot_to_return(read: Mapping[str, Any]) -> Any:
        return None

    with pytest.raises(TypeError, match=r"forgot_to_return.*return True, False, a Reason or a Failure"):
        accepted(test_auth0.auth0(check=forgot_to_return), test_auth0.AUTH0_PROFILE)


def test_a_check_that_is_not_a_function_is_refused() -> None:
    """As for every issuer, while the app is built."""
    with pytest.raises(ConfigurationError, match="check: 'yes' is not a function"):
        test_auth0.auth0(check="yes")


def test_what_is_known_of_a_provider_can_be_changed() -> None:
    """Roles, scopes, subject and algorithms of the app take the place of the provider's."""
    issuer = test_okta.okta(
        roles=claim("teams"), scopes=claim("rights"), subject=claim("uid"), algorithms=["RS256", "PS256"]
    )
    who = accepted(issuer, test_okta.ACCESS_TOKEN, {"teams": ["a"], "rights": "b c"})

    assert (who.subject, set(who.roles), set(who.scopes)) == (test_okta.ACCESS_TOKEN["uid"], {"a"}, {"b", "c"})
    assert issuer.algorithms == {"RS256", "PS256"}


@pytest.mark.parametrize("option", ["timeout", "http_client"])
def test_keys_are_given_or_fetched(option: str) -> None:
    """Options for fetching are refused where nothing is fetched."""
    with pytest.raises(ConfigurationError, match=f"{option}: keys= are given, so nothing else is used"):
        test_auth0.auth0(**{option: 3})


@pytest.mark.parametrize("option", ["client", "use", "tenants", "audiences"])
def test_an_unknown_option_is_refused(option: str) -> None:
    """The error is Python's own, and names the method."""
    unknown: dict[str, Any] = {option: None}
    with pytest.raises(TypeError, match=rf"Issuer.auth0\(\) got an unexpected keyword argument '{option}'"):
        Issuer.auth0("shop.eu.auth0.com", audience="api", **unknown)


def test_a_bad_option_for_fetching_is_named() -> None:
    """The values are checked as those of ``RemoteJWKS`` are."""
    with pytest.raises(ConfigurationError, match="timeout: 0 is not"):
        Issuer.google(audience="api", timeout=0)


def test_no_provider_is_imported_before_it_is_named() -> None:
    """An app without providers imports none of them, and one with a provider imports that one alone."""
    program = (
        "import sys; from authguard import Issuer\n"
        "print([name for name in sys.modules if name.startswith('authguard.providers')])\n"
        "Issuer.google(audience='api', keys=__import__('authguard').PEM(sys.argv[1]))\n"
        "print(sorted(name for name in sys.modules if name.startswith('authguard.providers.')))"
    )
    run = subprocess.run(
        [sys.executable, "-c", program, public_pem(rsa_key()).decode()], capture_output=True, text=True, check=True
    )

    assert run.stdout.splitlines() == [
        "[]",
        "['authguard.providers.arguments', 'authguard.providers.google', 'authguard.providers.token_profile']",
    ]
