"""Which ``iss`` belongs to which issuer: several spellings, templates with a claim in them, and none at all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from authguard import ANY_ISSUER, ANY_TENANT, JWK, NO_ISSUER, Bearer, ConfigurationError, Issuer, Rejected
from tests.support.schemes.bearer import (
    accepted_principal,
    bearer,
    bearer_credentials,
    bearer_request,
    explained_rejection,
    issuer,
    rejection,
    signed_token,
)
from tests.support.schemes.introspection import OPAQUE_TOKEN, IntrospectionServer, active_response, introspection
from tests.support.tokens import ISSUER, claims, mint, public_jwk, rsa_key

TEMPLATE = "https://login.example/{tenantid}/v2.0"
HOME, OTHER = "72f988bf-86f1-41af-91ab-2d7cd011db47", "contoso.example"


def of_tenant(tenant: Any, tid: Any = ...) -> str:
    """A token whose ``iss`` names this tenant, and whose ``tid`` is the same, or this one."""
    stated = claims(iss=f"https://login.example/{tenant}/v2.0", tid=tenant if tid is ... else tid)
    return signed_token(payload={name: value for name, value in stated.items() if value is not None})


# --- several spellings ------------------------------------------------------------------------------------------------


def test_an_issuer_may_be_spelt_in_several_ways() -> None:
    """An issuer that writes its name in two ways, as Google did, is one issuer with one clock and one set of keys."""
    scheme = bearer(issuer(name=["https://accounts.example", "accounts.example"]))

    for iss in ("https://accounts.example", "accounts.example"):
        assert accepted_principal(scheme, mint(iss=iss)).subject == "alice"
    assert rejection(scheme, mint(iss="https://accounts.example/"))[0] == "token.issuer_unknown"
    assert list(scheme.health()["clocks"]) == ["https://accounts.example"]  # type: ignore[call-overload]


def test_the_spellings_of_two_issuers_differ() -> None:
    """A spelling that two issuers share raises, because ``iss`` chooses the keys."""
    with pytest.raises(ConfigurationError, match=r"^issuers: 'b' is listed twice"):
        bearer(issuer(name=["a", "b"]), issuer(name=["b", "c"]))


def test_the_clock_of_an_issuer_outlives_a_replacement() -> None:
    """What was learned of an issuer's clock stays when the issuers are replaced, whatever spelling is added."""
    scheme = bearer(issuer())
    accepted_principal(scheme, mint())
    scheme.replace(issuer(name=[ISSUER, "login.example"]))
    clocks: Any = scheme.health()["clocks"]

    assert clocks[ISSUER]["tokens"] == 1


# --- templates --------------------------------------------------------------------------------------------------------


def test_a_template_is_closed_by_a_list_of_tenants() -> None:
    """R016: an issuer whose ``iss`` has the tenant in it accepts the listed tenants, beside another issuer."""
    scheme = bearer(issuer(name=TEMPLATE, tenants=[HOME, OTHER]), issuer())

    for token in (of_tenant(HOME), of_tenant(OTHER), mint()):
        assert accepted_principal(scheme, token).subject == "alice"
    for tenant in ("fabrikam.example", "{tenantid}", HOME.upper(), f"{HOME}/x", ""):
        assert rejection(scheme, of_tenant(tenant))[0] == "token.issuer_unknown"


def test_a_template_is_opened_by_name() -> None:
    """R016: with ``ANY_TENANT`` every tenant is accepted, and nothing that is more than a name in one segment."""
    scheme = bearer(issuer(name=TEMPLATE, tenants=ANY_TENANT), issuer())

    for token in (of_tenant(HOME), of_tenant("anybody"), mint()):
        assert accepted_principal(scheme, token).subject == "alice"
    for tenant in ("", "a/b", "..", "a b", "é", "a\n", "a%2Fb", "x" * 129, "{tenantid}"):
        assert rejection(scheme, of_tenant(tenant))[0] == "token.issuer_unknown"


@pytest.mark.parametrize("tenants", [[HOME], ANY_TENANT], ids=["closed", "open"])
@pytest.mark.parametrize(
    ("tid", "expected"),
    [
        (OTHER, ("token.claim_invalid", {"claim": "tid", "found": OTHER, "wanted": HOME})),
        ([HOME], ("token.claim_invalid", {"claim": "tid", "found": "list", "wanted": HOME})),
        (None, ("token.claim_missing", {"claim": "tid", "wanted": HOME})),
    ],
)
def test_the_tenant_is_the_one_of_the_claim(tenants: Any, tid: Any, expected: tuple[str, Mapping[str, object]]) -> None:
    """R016: the claim must be what stands in ``iss``, because an app reads the claim to tell tenants apart."""
    assert explained_rejection(bearer(issuer(name=TEMPLATE, tenants=tenants)), of_tenant(HOME, tid)) == expected


@pytest.mark.parametrize("tenants", [[HOME, OTHER], ANY_TENANT], ids=["closed", "open"])
def test_a_key_of_one_tenant_signs_for_no_other(tenants: Any) -> None:
    """R016: Entra ID publishes keys of one tenant beside those of all, and says so in the member ``issuer``."""
    jwk = public_jwk(rsa_key())
    of_all, of_home, of_elsewhere, odd = (
        bearer(issuer(JWK({**jwk, "issuer": named}), name=TEMPLATE, tenants=tenants))
        for named in (TEMPLATE, f"https://login.example/{HOME}/v2.0", "https://sts.example/x/", 5)
    )

    for scheme in (of_all, of_elsewhere, odd):
        assert accepted_principal(scheme, of_tenant(OTHER)).subject == "alice"
    assert accepted_principal(of_home, of_tenant(HOME)).subject == "alice"
    assert rejection(of_home, of_tenant(OTHER))[0] == "token.signature_invalid"
    assert accepted_principal(bearer(issuer(JWK({**jwk, "issuer": "x"}))), mint()).subject == "alice"


def test_a_template_names_any_claim() -> None:
    """A template may name any claim, and may stand beside a fixed spelling of the same issuer."""
    scheme = bearer(issuer(name=["https://{org}.login.example/", ISSUER], tenants=["acme"]))

    assert accepted_principal(scheme, mint(iss="https://acme.login.example/", org="acme")).subject == "alice"
    assert accepted_principal(scheme, mint()).subject == "alice"
    assert rejection(scheme, mint(iss="https://acme.login.example/"))[0] == "token.claim_missing"


def test_an_exact_name_goes_before_an_open_template() -> None:
    """A tenant with an issuer of its own is that issuer's; an ``iss`` that two open templates fit is nobody's."""
    own = issuer(name=f"https://login.example/{HOME}/v2.0", audience="own")
    scheme = bearer(issuer(name=TEMPLATE, tenants=ANY_TENANT), own)
    two = bearer(
        issuer(name="https://login.example/{a}/v2.0", tenants=ANY_TENANT),
        issuer(name="https://login.example/x-{b}/v2.0", tenants=ANY_TENANT),
    )

    assert rejection(scheme, of_tenant(HOME))[0] == "token.audience_mismatch"
    assert rejection(two, of_tenant("x-y"))[0] == "token.issuer_unknown"


@pytest.mark.parametrize(
    ("argument", "problem", "name", "tenants"),
    [
        ("tenants", "list the values of tid that are accepted; or ANY_TENANT", TEMPLATE, None),
        ("tenants", "list the values of tid", TEMPLATE, ANY_ISSUER),
        ("tenants", "the list is empty", TEMPLATE, []),
        ("tenants", "is one string", TEMPLATE, HOME),
        ("tenants", "'a/b' is no part of a URL", TEMPLATE, ["a/b"]),
        ("tenants", "no spelling of issuer= has a", ISSUER, [HOME]),
        ("tenants", "with ANY_ISSUER there is nothing", ANY_ISSUER, ANY_TENANT),
        ("issuer", "is not a template with one claim", "https://login.example/{a}/{b}", [HOME]),
        ("issuer", "is not a template with one claim", "https://login.example/{}/", [HOME]),
        ("issuer", "is not a template with one claim", "https://login.example/{a/", [HOME]),
        ("issuer", "is not a template with one claim", "https://login.example/a}/", [HOME]),
        ("issuer", "is not a template with one claim", "{iss}", ANY_TENANT),
    ],
)
def test_a_mistake_in_a_template_raises(argument: str, problem: str, name: Any, tenants: Any) -> None:
    """A template without a list, a list without a template, and a template with anything but one claim raise."""
    with pytest.raises(ConfigurationError, match=problem) as caught:
        issuer(name=name, tenants=tenants)

    assert caught.value.argument == argument


def test_a_template_is_listed_once() -> None:
    """Two open issuers of one template raise, whatever the names in the braces."""
    with pytest.raises(ConfigurationError, match=r"'https://login.example/\{tid\}/v2.0' is listed twice"):
        bearer(*(issuer(name=TEMPLATE, tenants=ANY_TENANT) for _ in range(2)))


def test_a_template_cannot_be_discovered() -> None:
    """The metadata of a provider with tenants are at another URL, so a template takes the URL of its keys."""
    options: Any = {"audience": "x", "algorithms": ["RS256"], "tenants": ANY_TENANT}
    with pytest.raises(ConfigurationError, match=r"^issuer: a template has no metadata.*RemoteJWKS"):
        Issuer.discover(TEMPLATE, **options)


def test_the_first_spelling_is_discovered() -> None:
    """Of several spellings, the first is the one of the metadata."""
    options: Any = {"audience": "x", "algorithms": ["RS256"], "fetch": lambda url: None}
    found = Issuer.discover(["https://accounts.example", "accounts.example"], **options)

    assert repr(found.keys) == "Discovery('https://accounts.example')"
    with pytest.raises(ConfigurationError, match=r"^issuer:"):
        Issuer.discover([], **options)


# --- no iss -----------------------------------------------------------------------------------------------------------


def test_tokens_without_iss_have_an_issuer_by_name() -> None:
    """R014: tokens without ``iss``, such as SPIFFE's, belong to the issuer that says so, beside others."""
    scheme = bearer(issuer(name=NO_ISSUER, audience="spiffe"), issuer())

    assert accepted_principal(scheme, mint(iss=..., aud="spiffe")).subject == "alice"
    assert accepted_principal(scheme, mint()).subject == "alice"
    assert rejection(scheme, mint(iss="https://elsewhere.example/"))[0] == "token.issuer_unknown"
    assert rejection(scheme, signed_token(payload=claims(iss="")))[0] == "token.issuer_unknown"


@pytest.mark.parametrize("iss", [5, None, ["https://login.example/"]])
def test_an_iss_that_is_no_text_is_not_missing(iss: Any) -> None:
    """R014: a token whose ``iss`` has another type is refused where tokens without ``iss`` are accepted."""
    scheme = bearer(issuer(name=NO_ISSUER))

    assert rejection(scheme, signed_token(payload=claims(iss=iss))) == ("token.claim_invalid", {"claim": "iss"})


def test_one_issuer_has_the_tokens_without_iss() -> None:
    """Two issuers of tokens without ``iss`` raise."""
    with pytest.raises(ConfigurationError, match="NO_ISSUER is listed twice"):
        bearer(issuer(name=NO_ISSUER), issuer(name=[ISSUER, NO_ISSUER]))


# --- introspection ----------------------------------------------------------------------------------------------------


async def introspected(iss: Any, tid: Any = ..., **options: Any) -> str:
    """The subject of an opaque token whose answer names this issuer, or the reason of its refusal."""
    server = IntrospectionServer(active_response(iss=iss, tid=tid))
    scheme = Bearer(introspection(server, **options), realm="orders")
    result = await scheme.authenticate(bearer_request(), bearer_credentials(OPAQUE_TOKEN))
    return result.reason.code if isinstance(result, Rejected) else result.principal.subject


async def test_an_answer_may_name_its_issuer_in_each_of_these_ways() -> None:
    """Introspection takes the same ``issuer`` and ``tenants``: RFC 7662 does not require ``iss``."""
    home = f"https://login.example/{HOME}/v2.0"

    assert await introspected("b", issuer=["a", "b"]) == "alice"
    assert await introspected(..., issuer=[ISSUER, NO_ISSUER]) == "alice"
    assert await introspected(..., issuer=ISSUER) == "token.claim_missing"
    assert await introspected(5, issuer=[ISSUER, NO_ISSUER]) == "token.claim_invalid"
    assert await introspected(home, HOME, issuer=TEMPLATE, tenants=ANY_TENANT) == "alice"
    assert await introspected(home, OTHER, issuer=TEMPLATE, tenants=ANY_TENANT) == "token.claim_invalid"


async def test_a_jwt_is_introspected_by_each_spelling() -> None:
    """A JWT goes to the server if any spelling of its issuer fits; with ``ANY_ISSUER`` none does."""
    for name, sent in ((["a", ISSUER], 1), (ANY_ISSUER, 0)):
        server = IntrospectionServer()
        scheme = Bearer(issuer(name="x"), introspection(server, issuer=name), realm="orders")
        await scheme.authenticate(bearer_request(), bearer_credentials(mint()))

        assert len(server.requests) == sent
