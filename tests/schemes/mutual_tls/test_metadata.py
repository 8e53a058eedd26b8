"""What clients can find out about bound tokens before they ask for one: the metadata of RFC 9728, and OpenAPI."""

from __future__ import annotations

import json
from typing import Any

import pytest

from authguard import AUTHENTICATED, OPTIONAL, Bearer, Dpop, Guard, ProtectedResource, TlsExtension, scopes
from authguard.openapi import Operation, describe
from authguard.testing import TestIssuer

MEMBER, REQUIRED = "tls_client_certificate_bound_access_tokens", "dpop_bound_access_tokens_required"
RESOURCE = ProtectedResource("https://api.example/orders")


def bearer(**options: Any) -> Bearer:
    """A scheme for tokens of a test issuer."""
    return Bearer(TestIssuer().as_issuer(), realm="orders", resource=RESOURCE, **options)


def dpop(**options: Any) -> Dpop:
    """The same for DPoP."""
    url, secret = "https://api.example", "s" * 32
    return Dpop(TestIssuer().as_issuer(), realm="orders", public_url=url, secret=secret, resource=RESOURCE, **options)


def metadata(*schemes: Bearer) -> Any:
    """The only document that the guard publishes."""
    [octets] = {page.octets for page in Guard(*schemes).published.values()}
    return json.loads(octets)


@pytest.mark.rfc("9728-3")
def test_the_metadata_say_that_bound_tokens_are_accepted() -> None:
    """9728-3: only where a certificate is compared, and beside what DPoP says."""
    source = TlsExtension()

    assert metadata(bearer(client_certificate=source))[MEMBER] is True
    assert MEMBER not in metadata(bearer())
    both = metadata(dpop(client_certificate=source))
    assert (both[MEMBER], both[REQUIRED], "dpop_signing_alg_values_supported" in both) == (True, True, True)
    beside = metadata(dpop(), bearer(client_certificate=source))
    assert (beside[MEMBER], REQUIRED in beside) == (True, False)


def described(version: str, requirement: Any, **options: Any) -> Any:
    """The document of an app with one operation."""
    empty = {"openapi": version, "info": {"title": "x", "version": "1"}, "paths": {"/": {"get": {}}}}
    guard = Guard(bearer(client_certificate=TlsExtension(), **options))
    return describe(empty, [Operation("/", "GET", [requirement])], guard)


def test_openapi_says_that_a_certificate_is_required() -> None:
    """Both together, in 3.1, which has the type mutualTLS."""
    document = described("3.1.0", scopes("read"), require_bound=True)

    assert document["components"]["securitySchemes"]["mutual-tls"] == {"type": "mutualTLS"}
    assert document["paths"]["/"]["get"]["security"] == [{"bearer": ["read"], "mutual-tls": []}]
    optional = described("3.1.0", OPTIONAL, require_bound=True)
    assert optional["paths"]["/"]["get"]["security"] == [{"bearer": [], "mutual-tls": []}, {}]


@pytest.mark.parametrize(
    ("version", "options"), [("3.1.0", {}), ("3.0.3", {"require_bound": True})], ids=["may", "3.0"]
)
def test_openapi_says_nothing_of_certificates_otherwise(version: str, options: Any) -> None:
    """A token that is not bound needs none, and version 3.0 has no word for it."""
    document = described(version, AUTHENTICATED, **options)

    assert list(document["components"]["securitySchemes"]) == ["bearer"]
    assert document["paths"]["/"]["get"]["security"] == [{"bearer": []}]
