"""The metadata of a protected resource (RFC 9728): their content, and where they are published."""

from __future__ import annotations

import json
from typing import Any

import pytest

from authguard import Bearer, ConfigurationError, Denied, ProtectedResource, any_of, role, scopes
from authguard.model import Requirement
from authguard.reasons import (
    CREDENTIALS_MISSING,
    HEADER_TOO_LONG,
    ROLE_MISSING,
    SCHEME_UNSUPPORTED,
    SCOPE_MISSING,
    STEP_UP_REQUIRED,
    TOKEN_EXPIRED,
)
from tests.support.schemes.bearer import bearer_request, issuer

URL = "https://api.example/orders"
METADATA = "https://api.example/.well-known/oauth-protected-resource/orders"


def document(made: ProtectedResource) -> Any:
    """The document that the resource publishes."""
    return json.loads(made.published.octets)


@pytest.mark.parametrize(
    ("resource", "url", "path"),
    [
        (URL, METADATA, "/.well-known/oauth-protected-resource/orders"),
        ("https://api.example", "https://api.example/.well-known/oauth-protected-resource", None),
        ("https://api.example/", "https://api.example/.well-known/oauth-protected-resource", None),
        ("https://api.example:8443/a/b", "https://api.example:8443/.well-known/oauth-protected-resource/a/b", None),
        ("https://api.example/a%20b", "https://api.example/.well-known/oauth-protected-resource/a%20b", "/a b"),
    ],
)
@pytest.mark.rfc("9728-1")
def test_the_well_known_path_is_between_host_and_path(resource: str, url: str, path: str | None) -> None:
    """9728-1: the well-known path goes between the host and the path (RFC 9728 section 3.1), without a slash at the
    end."""
    metadata = ProtectedResource(resource)

    assert metadata.metadata_url == url
    assert metadata.published.path.endswith(path or "")
    assert document(metadata)["resource"] == resource


@pytest.mark.rfc("9728-3")
def test_the_document_has_the_members_of_section_2() -> None:
    """9728-2, 9728-3: the document has the members of RFC 9728 section 2, and ``resource`` is exactly the
    identifier."""
    resource = ProtectedResource(
        URL,
        authorization_servers=["https://login.example", "https://other.example/"],
        scopes=["read", "write"],
        metadata={
            "resource_name": "Orders",
            "resource_name#de": "Bestellungen",
            "dpop_bound_access_tokens_required": False,
        },
    )

    assert document(resource) == {
        "resource": URL,
        "authorization_servers": ["https://login.example", "https://other.example/"],
        "scopes_supported": ["read", "write"],
        "bearer_methods_supported": ["header"],
        "resource_name": "Orders",
        "resource_name#de": "Bestellungen",
        "dpop_bound_access_tokens_required": False,
    }
    assert resource.published.media_type == "application/json"
    assert resource.published.headers == ((b"cache-control", b"public, max-age=3600"),)


def test_names_may_come_from_any_iterable() -> None:
    """Names are listed once each, in their order, whatever iterable they come from."""
    resource = ProtectedResource(URL, scopes=(name for name in ("b", "a", "b")))  # type: ignore[arg-type]

    assert document(resource)["scopes_supported"] == ["b", "a"]


@pytest.mark.rfc("9728-2")
def test_what_is_empty_is_left_out() -> None:
    """RFC 9728 section 3.2: a member without values must be omitted."""
    resource = ProtectedResource(URL, metadata={"resource_name": "", "jwks_uri": None, "x": [], "y": {}, "z": 0})

    assert document(resource) == {"resource": URL, "bearer_methods_supported": ["header"], "z": 0}


@pytest.mark.parametrize(
    ("argument", "problem", "resource", "options"),
    [
        ("resource", "pass insecure_http=True", "http://api.example/", {}),
        ("resource", "a query or a fragment", "https://api.example/?a=b", {}),
        ("resource", "a query or a fragment", "https://api.example/?", {}),
        ("resource", "a query or a fragment", "https://api.example/#", {}),
        ("resource", "must not contain a fragment", "https://api.example/#top", {}),
        ("resource", r'absolute https URL; write "https://api\.example/orders"$', "/orders", {}),
        ("resource", "a character outside ASCII; write the host in Punycode", "https://ex\u00e4mple/x", {}),
        ("resource", "a character outside ASCII; write the host in Punycode", "https://api.example/\u00e4", {}),
        *[
            ("resource", "which would open other paths too", f"https://api.example{path}", {})
            for path in ("/**", "/*", "/{tenant}", "/{rest:path}", "/x%7By%7D", "/%2A%2a", "/a}", "/a%7d")
        ],
        *[
            ("resource", "an empty or a dot segment", f"https://api.example{path}", {})
            for path in ("//", "/x//y", "/x//", "/../y", "/x/.", "/%2e%2E/y", "/x/.%2e", "/x%2F%2Fy", "/./")
        ],
        *[
            ("resource", "cannot be decoded", f"https://api.example{path}", {})
            for path in ("/%ff", "/%C3", "/%ED%A0%80", "/%", "/%2", "/%zz", "/x%0d%0ay", "/%5C", "/a\\b", "/%2541")
        ],
        ("authorization_servers", r'write \["https://y"\]', URL, {"authorization_servers": "https://y"}),
        ("authorization_servers", r'URL; write "https://login\.example"$', URL, {"authorization_servers": ["login"]}),
        ("authorization_servers", "pass insecure_http", URL, {"authorization_servers": ["http://login.example"]}),
        ("scopes", r'write \["read write"\]', URL, {"scopes": "read write"}),
        ("scopes", "is not a set of names", URL, {"scopes": 5}),
        ("scopes", "is not a scope-token", URL, {"scopes": ["read write"]}),
        ("scopes", "is not a scope-token", URL, {"scopes": ['"']}),
        ("metadata", "must not contain resource, which the other arguments set", URL, {"metadata": {"resource": "x"}}),
        ("metadata", "must be JSON", URL, {"metadata": {"x": object()}}),
        ("metadata", "must be JSON", URL, {"metadata": {"x": float("nan")}}),
        ("metadata", "must be JSON", URL, {"metadata": {5: "x"}}),
        ("max_age", "is not a whole number of seconds", URL, {"max_age": -1}),
        ("max_age", "is not a whole number of seconds", URL, {"max_age": True}),
        ("max_age", "is not a whole number of seconds", URL, {"max_age": "5"}),
    ],
)
def test_an_invalid_argument_raises(argument: str, problem: str, resource: str, options: Any) -> None:
    """An invalid argument raises while the app is built, and the error names the argument."""
    with pytest.raises(ConfigurationError, match=problem) as caught:
        ProtectedResource(resource, **options)

    assert caught.value.argument == argument


def test_http_is_accepted_where_it_is_allowed() -> None:
    """``insecure_http=True`` allows an http URL, for tests on one machine."""
    resource = ProtectedResource(
        "http://127.0.0.1:8000/mcp", authorization_servers=["http://127.0.0.1:9000"], insecure_http=True
    )

    assert resource.metadata_url == "http://127.0.0.1:8000/.well-known/oauth-protected-resource/mcp"


def test_a_scheme_takes_a_resource_and_nothing_else() -> None:
    """``Bearer(resource=...)`` takes a ``ProtectedResource``, and no URL."""
    with pytest.raises(ConfigurationError, match=r"is not a ProtectedResource") as caught:
        Bearer(issuer(), realm="orders", resource=URL)  # type: ignore[arg-type]

    assert caught.value.argument == "resource"


# --- challenges -------------------------------------------------------------------------------------------------------

WHERE = f'resource_metadata="{METADATA}"'


def challenge_line(why: Denied | None, *, asked: Requirement | None = None, resource: bool = True) -> str:
    """The only challenge, as it is sent on a route with this requirement."""
    scheme = Bearer(issuer(), realm="orders", resource=ProtectedResource(URL) if resource else None)
    of = bearer_request()
    of.scopes_asked = () if asked is None else asked.scopes_named()
    (challenge,) = scheme.challenges(of, why)
    return challenge.to_header().decode()


@pytest.mark.parametrize(
    "why", [None, Denied(CREDENTIALS_MISSING), Denied(SCHEME_UNSUPPORTED)], ids=["none", "missing", "unsupported"]
)
@pytest.mark.rfc("9728-4", "6750-6")
def test_the_challenge_without_a_token_points_to_the_metadata(why: Denied | None) -> None:
    """9728-4, 6750-6: without a token the challenge has the metadata URL and the scopes of the route, and no error."""
    assert challenge_line(why) == f'Bearer realm="orders", {WHERE}'
    assert challenge_line(why, asked=scopes("read", "write")) == f'Bearer realm="orders", scope="read write", {WHERE}'
    assert challenge_line(why, asked=scopes("read"), resource=False) == 'Bearer realm="orders", scope="read"'


@pytest.mark.parametrize(
    ("why", "params"),
    [
        (
            Denied(TOKEN_EXPIRED, requirement=scopes("read")),
            'error="invalid_token", error_description="The access token expired", scope="read", ',
        ),
        (Denied(TOKEN_EXPIRED), 'error="invalid_token", error_description="The access token expired", '),
        (Denied(SCOPE_MISSING, requirement=scopes("read")), 'error="insufficient_scope", scope="read", '),
        (
            Denied(ROLE_MISSING, requirement=any_of(role("admin"), scopes("read"))),
            'error="insufficient_scope", ',
        ),
        (Denied(HEADER_TOO_LONG, requirement=scopes("read")), 'error="invalid_request", '),
        (
            Denied(STEP_UP_REQUIRED, requirement=scopes("read"), facts={"acr_values": "gold", "max_age": 60}),
            'error="insufficient_user_authentication", acr_values="gold", max_age="60", scope="read", ',
        ),
    ],
    ids=["expired", "expired without", "scope", "role", "long", "step-up"],
)
@pytest.mark.rfc("9728-4")
def test_each_challenge_names_the_metadata(why: Denied, params: str) -> None:
    """9728-4, 9470-1: every challenge has the metadata URL, and the scopes where a token with them would be
    accepted."""
    assert challenge_line(why, asked=scopes("other")) == f'Bearer realm="orders", {params}{WHERE}'
