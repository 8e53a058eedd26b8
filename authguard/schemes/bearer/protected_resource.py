"""What a protected resource says of itself (RFC 9728), so that a client finds the server that gives it a token."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes, urlsplit

from authguard.errors import ConfigurationError
from authguard.http_client import check_url
from authguard.schemes.scheme import Published
from authguard.source_location import caller_location
from authguard.validation import check_int, names

#: RFC 9728 section 3: it stands between the host and the path of the resource.
WELL_KNOWN = "/.well-known/oauth-protected-resource"

# What no path that reaches a rule holds (it is decoded by then), and an escape that is none.
_UNREADABLE = re.compile(r"[\\\x00-\x1f\x7f-\x9f]|%[0-9A-Fa-f]{2}")
_NO_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")

_OWN = frozenset({"resource", "authorization_servers", "scopes_supported", "bearer_methods_supported"})


@dataclass(frozen=True, slots=True, init=False)
class ProtectedResource:
    """``ProtectedResource("https://api.example/orders", authorization_servers=["https://login.example"])``.

    Given to a ``Bearer``, whose challenges then name the metadata, which the guard serves at ``metadata_url``: also
    where the server puts its ``root_path`` in front of that. A guard inside a ``Mount`` sees no request for it: give
    the scheme to the guard of the whole app.

    - ``resource``: the identifier of this API (section 1.2), as clients know it. It is said here and taken from no
      request; ``https``, in ASCII, one resource and no pattern, without a query and a fragment.
    - ``authorization_servers``: their issuer identifiers, in order of preference.
    - ``scopes``: those that a client may ask for (``scopes_supported``).
    - ``metadata``: other members of section 2, such as ``{"resource_name": "Orders"}``. What is empty is left out.
    - ``max_age``: for how many seconds the document may be kept.
    - ``insecure_http``: whether ``http`` is taken, for a machine of one's own.

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
            raise ConfigurationError("resource", "a query or a fragment belongs into no resource identifier")
        below = _decoded(resource, parts.path)
        check_int("max_age", max_age, least=0, most=31_536_000, unit="seconds")
        servers, wanted = _listed("authorization_servers", authorization_servers), _listed("scopes", scopes)
        for server in servers:
            check_url("authorization_servers", server, insecure_http=insecure_http, example="https://login.example")
        for scope in wanted:
            # RFC 6749 section 3.3.
            if not all("!" <= character <= "~" and character not in '"\\' for character in scope):
                raise ConfigurationError("scopes", f"{scope!r} is no scope-token; give each as a name of its own")
        more = dict(metadata or {})
        if own := sorted(_OWN.intersection(more)):
            raise ConfigurationError("metadata", f"{own[0]} is made of the other arguments")
        document = {
            "resource": resource,
            "authorization_servers": servers,
            "scopes_supported": wanted,
            "bearer_methods_supported": ["header"],
            **more,
        }
        # Section 3.1: the terminating slash that follows the host goes; section 3.2: what has no value is left out.
        path, opened = (WELL_KNOWN + ("" if given == "/" else given) for given in (parts.path, below))
        put = object.__setattr__
        put(self, "resource", resource)
        put(self, "metadata_url", f"{parts.scheme}://{parts.netloc}{path}")
        octets = _json({name: value for name, value in document.items() if value not in (None, "", [], (), {})})
        cached = (b"cache-control", f"public, max-age={max_age}".encode())
        put(self, "published", Published(opened, "application/json", octets, (cached,), caller_location(1)))


def _decoded(resource: str, path: str) -> str:
    """The path as a rule is held against it: one that opens itself alone, to everybody."""
    octets = unquote_to_bytes(path)
    try:
        decoded = None if _NO_ESCAPE.search(path) else octets.decode()
    except UnicodeDecodeError:
        decoded = None
    if decoded is None or _UNREADABLE.search(decoded):
        told = f"{resource!r} cannot be read back: percent-encode characters of UTF-8, once, and no control characters"
        raise ConfigurationError("resource", told)
    if set("{}*").intersection(decoded):
        told = f"{resource!r} would open more than itself: {{, }} and * stand for others; name one resource"
        raise ConfigurationError("resource", told)
    if {"", ".", ".."}.intersection(decoded[1:].removesuffix("/").split("/")) and decoded not in {"", "/"}:
        told = f"{resource!r} has an empty or a dot segment, and such paths are always refused"
        raise ConfigurationError("resource", told)
    return decoded


def _listed(argument: str, given: Sequence[str]) -> list[str]:
    """Each name once, in its order."""
    if isinstance(given, str):
        raise ConfigurationError(argument, f"{given!r} is one string; write [{json.dumps(given)}]")
    found = list(given) if isinstance(given, Iterable) else given
    names(argument, found)
    return list(dict.fromkeys(found))


def _json(document: Mapping[str, object]) -> bytes:
    problem = "it must be JSON, with strings for names"
    try:
        if all(isinstance(name, str) for name in document):
            return json.dumps(document, allow_nan=False).encode()
    except (TypeError, ValueError):
        pass
    raise ConfigurationError("metadata", problem)
