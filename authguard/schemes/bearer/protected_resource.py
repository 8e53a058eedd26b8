"""The metadata of a protected resource (RFC 9728), by which a client finds the server that issues its token."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field, replace
from urllib.parse import unquote_to_bytes, urlsplit

from authguard.errors import ConfigurationError
from authguard.http_client import check_url
from authguard.schemes.scheme import Published
from authguard.source_location import caller_location
from authguard.validation import check_int, names
from authguard.value_types import frozen

#: RFC 9728 section 3: this is inserted between the host and the path of the resource.
WELL_KNOWN = "/.well-known/oauth-protected-resource"

# A decoded path that contains these reaches no rule.
_UNREADABLE = re.compile(r"[\\\x00-\x1f\x7f-\x9f]|%[0-9A-Fa-f]{2}")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")

# The members of the document that arguments set.
_RESERVED = frozenset({"resource", "authorization_servers", "scopes_supported", "bearer_methods_supported"})


@frozen
class ProtectedResource:
    """``ProtectedResource("https://api.example/orders", authorization_servers=["https://login.example"])``.

    Give it to a ``Bearer(..., resource=...)``, to a ``Dpop``, or the same one to both. The guard then serves the
    metadata at ``metadata_url``, with the ``root_path`` of the server in front of it or not, and the challenges name
    that URL. A guard inside a ``Mount`` sees no request for it: give the scheme to the guard of the whole app.

    - ``resource``: the identifier of this API (section 1.2): the URL that clients know, never taken from a request. It
      is ``https``, ASCII, one resource and not a pattern, and has no query and no fragment.
    - ``authorization_servers``: their issuer identifiers, in order of preference.
    - ``scopes``: those that a client may ask for (``scopes_supported``).
    - ``metadata``: other members of section 2, such as ``{"resource_name": "Orders"}``. Empty ones are left out.
    - ``max_age``: for how many seconds the document may be cached.
    - ``insecure_http``: whether ``http`` is accepted, for local development.

    Raises ``ConfigurationError``.
    """

    resource: str
    metadata_url: str
    published: Published = field(repr=False)

    def __init__(
        self,
        resource: str,
        *,
        authorization_servers: Sequence[str] = (),
        scopes: Sequence[str] = (),
        metadata: Mapping[str, object] | None = None,
        max_age: int = 3600,
        insecure_http: bool = False,
    ) -> None:
        example = "https://api.example/orders"
        parts = urlsplit(check_url("resource", resource, insecure_http=insecure_http, example=example))
        if "?" in resource or "#" in resource:
            raise ConfigurationError("resource", "a resource identifier must not contain a query or a fragment")
        decoded_path = _decoded(resource, parts.path)
        check_int("max_age", max_age, least=0, most=31_536_000, unit="seconds")
        servers = _distinct("authorization_servers", authorization_servers)
        scopes = _distinct("scopes", scopes)
        for server in servers:
            check_url("authorization_servers", server, insecure_http=insecure_http, example="https://login.example")
        for scope in scopes:
            # RFC 6749 section 3.3.
            if not all("!" <= character <= "~" and character not in '"\\' for character in scope):
                raise ConfigurationError("scopes", f"{scope!r} is not a scope-token; give each scope as its own string")
        other_members = dict(metadata or {})
        if reserved := sorted(_RESERVED.intersection(other_members)):
            raise ConfigurationError("metadata", f"must not contain {reserved[0]}, which the other arguments set")
        document = {
            "resource": resource,
            "authorization_servers": servers,
            "scopes_supported": scopes,
            "bearer_methods_supported": ["header"],
            **other_members,
        }
        # Section 3.1: a slash that ends the URL right after the host is removed.
        path, served_path = (WELL_KNOWN + ("" if path == "/" else path) for path in (parts.path, decoded_path))
        put = object.__setattr__
        put(self, "resource", resource)
        put(self, "metadata_url", f"{parts.scheme}://{parts.netloc}{path}")
        # Section 3.2: members without a value are left out.
        body = _json({name: value for name, value in document.items() if value not in (None, "", [], (), {})})
        caching = (b"cache-control", f"public, max-age={max_age}".encode())
        put(self, "published", Published(served_path, "application/json", body, (caching,), caller_location(1)))

    def with_members(self, members: Mapping[str, object]) -> Published:
        """The document with these members too. Those that ``metadata`` has stay."""
        document = {**members, **json.loads(self.published.octets)}
        return replace(self.published, octets=_json(document))


def _decoded(resource: str, path: str) -> str:
    """The decoded path, as rules are matched with it. It must open no other path to everybody."""
    path_bytes = unquote_to_bytes(path)
    try:
        decoded = None if _BAD_ESCAPE.search(path) else path_bytes.decode()
    except UnicodeDecodeError:
        decoded = None
    if decoded is None or _UNREADABLE.search(decoded):
        problem = f"{resource!r} cannot be decoded; percent-encode it once, as UTF-8, without control characters"
        raise ConfigurationError("resource", problem)
    if set("{}*").intersection(decoded):
        problem = f"{resource!r} must not contain {{, }} or *, which would open other paths too; name one resource"
        raise ConfigurationError("resource", problem)
    if {"", ".", ".."}.intersection(decoded[1:].removesuffix("/").split("/")) and decoded not in {"", "/"}:
        problem = f"{resource!r} must not contain an empty or a dot segment: the guard refuses every such path"
        raise ConfigurationError("resource", problem)
    return decoded


def _distinct(argument: str, value: Sequence[str]) -> list[str]:
    """Each name once, in the order given."""
    if isinstance(value, str):
        raise ConfigurationError(argument, f"{value!r} is one string; write [{json.dumps(value)}]")
    listed = list(value) if isinstance(value, Iterable) else value
    names(argument, listed)
    return list(dict.fromkeys(listed))


def _json(document: Mapping[str, object]) -> bytes:
    try:
        if all(isinstance(name, str) for name in document):
            return json.dumps(document, allow_nan=False).encode()
    except (TypeError, ValueError):
        pass
    raise ConfigurationError("metadata", "must be JSON, with strings as keys")
