"""What clients can find out about DPoP before they ask for a token: the metadata of RFC 9728, and OpenAPI."""

from __future__ import annotations

import json
from typing import Any

import pytest

from authguard import AUTHENTICATED, Bearer, ConfigurationError, Dpop, Guard, ProtectedResource, TokenLookup
from authguard.openapi import Operation, describe
from authguard.schemes.dpop.scheme import ALGORITHMS
from authguard.testing import TestIssuer
from tests.schemes.dpop.site import SECRET, URL

ALGS, REQUIRED = "dpop_signing_alg_values_supported", "dpop_bound_access_tokens_required"
RESOURCE = ProtectedResource("https://api.example/orders", metadata={"resource_name": "Orders"})


def dpop(**options: Any) -> Dpop:
    """The scheme, for the tokens of a test issuer."""
    return Dpop(TestIssuer().as_issuer(), realm="orders", public_url=URL, secret=SECRET, **options)


def bearer(**options: Any) -> Bearer:
    """The scheme for tokens that are not bound."""
    return Bearer(TestIssuer().as_issuer(), realm="orders", **options)


def document(guard: Guard) -> Any:
    """The only document that the guard publishes."""
    [octets] = {page.octets for page in guard.published.values()}
    return json.loads(octets)


@pytest.mark.rfc("9728-3")
def test_dpop_alone_says_that_it_accepts_bound_tokens_only() -> None:
    """9728-3: beside the members that all resources have, the algorithms, and that a bound token is required."""
    found = document(Guard(dpop(resource=RESOURCE, algorithms=["ES256", "PS256"])))

    assert (found["resource_name"], found[ALGS], found[REQUIRED]) == ("Orders", ["ES256", "PS256"], True)


@pytest.mark.parametrize("owners", [("dpop",), ("dpop", "bearer")], ids="-".join)
def test_beside_bearer_no_bound_token_is_required(owners: tuple[str, ...]) -> None:
    """Whether Bearer has the resource too, or not, and whichever scheme is listed first."""
    own: dict[str, Any] = {"resource": RESOURCE}
    schemes = [dpop(**own), bearer(**(own if "bearer" in owners else {}))]

    for listed in (schemes, schemes[::-1]):
        found = document(Guard(*listed))
        assert (found[ALGS], REQUIRED in found) == (list(ALGORITHMS), False)


def test_the_resource_of_bearer_alone_says_nothing_of_dpop() -> None:
    """Dpop has not been given this resource, and another guard of the same resource has no DPoP."""
    assert ALGS not in document(Guard(dpop(), bearer(resource=RESOURCE)))
    assert ALGS not in document(Guard(bearer(resource=RESOURCE)))


def test_what_the_app_says_itself_stays() -> None:
    """``metadata=`` comes first, for a gateway that accepts less than the guard."""
    resource = ProtectedResource("https://api.example/orders", metadata={ALGS: ["ES256"]})

    assert document(Guard(dpop(resource=resource)))[ALGS] == ["ES256"]


def test_two_resources_at_one_path_are_refused() -> None:
    """Equal documents are served once; others have no order."""
    other = ProtectedResource("https://api.example/orders", scopes=["read"])

    with pytest.raises(ConfigurationError, match="two schemes publish"):
        Guard(dpop(resource=RESOURCE), bearer(resource=other))


def test_openapi_describes_the_scheme() -> None:
    """Type http with the scheme dpop, also for opaque tokens. ``bearerFormat`` is for bearer alone."""

    async def find(digest: str) -> None:
        """Know no token."""

    opaque = Dpop(TokenLookup(find), realm="orders", public_url=URL, secret=SECRET)
    for scheme in (dpop(), opaque):
        operation = Operation("/", "GET", [AUTHENTICATED])
        empty = {"openapi": "3.1.0", "info": {"title": "x", "version": "1"}, "paths": {"/": {"get": {}}}}
        found = describe(empty, [operation], Guard(scheme))["components"]["securitySchemes"]["dpop"]
        assert (found["type"], found["scheme"], set(found)) == ("http", "dpop", {"type", "scheme", "description"})
        assert "DPoP-Nonce" in found["description"]
