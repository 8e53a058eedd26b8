"""The URI of a request as its client wrote it: the proof of DPoP names it as ``htu``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlsplit

from authguard.errors import ConfigurationError
from authguard.wire.grammar import WireError
from authguard.wire.http_uri import normal_path, normal_uri


def check_public_urls(public_url: str | Sequence[str]) -> tuple[str, ...]:
    """The argument ``public_url`` in its normal form, without a slash at the end. Raises ``ConfigurationError``."""
    listed = tuple(public_url) if isinstance(public_url, list | tuple) else (public_url,)
    if not listed:
        raise ConfigurationError("public_url", 'give the URL that clients use, such as "https://api.example"')
    return tuple(_checked(url) for url in listed)


def _checked(url: object) -> str:
    problem = "is no URL that clients use, such as https://api.example"
    try:
        if isinstance(url, str) and not urlsplit(url).query and "?" not in url and "#" not in url:
            return normal_uri(url).rstrip("/")
    except (WireError, ValueError):
        pass
    raise ConfigurationError("public_url", f"{url!r} {problem}")


def target_uris(public_urls: Sequence[str], scope: Mapping[str, Any]) -> Sequence[str]:
    """The normal forms of the URIs by which a client may have sent this request; none if its path has none.

    The path is the one that was sent, with all prefixes that the server has not removed. ``Host`` and forwarded fields
    are not read, because a client can write them.
    """
    raw: bytes | None = scope.get("raw_path")
    if raw is None:
        # A percent sign of the decoded path is one, and begins no escape: another request would have the same URI.
        raw = quote(scope["path"], safe="/:@!$&'()*+,;=~", errors="surrogatepass").encode("ascii")
    try:
        path = normal_path(raw.partition(b"?")[0])
    except WireError:
        return ()
    return [url + path for url in public_urls]
