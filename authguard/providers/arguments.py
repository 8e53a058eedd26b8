"""Checks of the arguments that several providers share. Each raises ``ConfigurationError`` with what to write."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import urlsplit

from authguard.errors import ConfigurationError
from authguard.http_client import check_url
from authguard.validation import names

_HOST = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9-]{2,63}(?::[0-9]{1,5})?")


def check_host(argument: str, value: object, *, example: str) -> str:
    """The name of a host, without ``https://`` and without a slash."""
    if not isinstance(value, str):
        raise ConfigurationError(argument, f'a {type(value).__name__} is not the name of a host; write "{example}"')
    host = value.rpartition("://")[2].partition("/")[0].rpartition("@")[2].lower()
    if not _HOST.fullmatch(host):
        raise ConfigurationError(argument, f'this is not the name of a host; write "{example}"')
    if host != value:
        raise ConfigurationError(
            argument, f'give the name of the host alone, without https:// or a slash, in lower case; write "{host}"'
        )
    return host


def check_base_url(argument: str, value: object, *, insecure_http: bool, example: str) -> str:
    """An absolute URL without a query and without a slash at its end."""
    url = check_url(argument, value, insecure_http=insecure_http, example=example)
    if "?" in url:
        raise ConfigurationError(argument, f'the URL must not contain a query (?...); write "{example}"')
    if url.endswith("/"):
        raise ConfigurationError(argument, f'leave out the slash at the end; write "{url.rstrip("/")}"')
    return url


def path_of(url: str) -> str:
    """The path of an absolute URL."""
    return urlsplit(url).path


def check_word(argument: str, value: object, pattern: re.Pattern[str], problem: str) -> str:
    """A text that the pattern matches. ``problem`` says what it is, and what to write."""
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise ConfigurationError(argument, f"{value!r} {problem}")
    return value


def check_listed(argument: str, value: Iterable[str] | None, problem: str) -> frozenset[str] | None:
    """A set of names, or None. ``problem`` says what an empty one would mean."""
    if value is None:
        return None
    listed = names(argument, value)
    if not listed:
        raise ConfigurationError(argument, f"the list is empty, {problem}")
    return listed


def check_clients(value: Iterable[str] | None) -> frozenset[str] | None:
    """The argument ``clients`` of a provider for which it is optional."""
    return check_listed("clients", value, "so nobody could log in; leave it out to accept every client")


def texts_of(audience: object) -> tuple[str, ...]:
    """The texts in an argument ``audience``, which ``Issuer`` itself checks."""
    if isinstance(audience, str):
        return (audience,)
    return tuple(text for text in audience if isinstance(text, str)) if isinstance(audience, Iterable) else ()
