"""The port to a key server: a function that fetches, and how it says that it could not."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeAlias
from urllib.parse import urlsplit

from authguard.errors import AuthGuardError, ConfigurationError

_MAX_AGE = re.compile(r'(?:^|[,\s])max-age="?([0-9]{1,9})"?(?:$|[,\s])', re.IGNORECASE)
_AT_ONCE = re.compile(r"(?:^|[,\s])(?:no-store|no-cache)(?:$|[,\s=])", re.IGNORECASE)
_AGE = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a server answered with status 200. ``max_age``: for how many seconds it holds, where the server says so."""

    body: bytes = field(repr=False)
    max_age: float | None = None


#: Fetches what is at an address: its octets, or ``Fetched``. It runs in a thread and an asyncio loop of its own, and
#: whatever it raises is an outage. Nothing of it may be bound to a loop of the app's.
Fetch: TypeAlias = Callable[[str], Awaitable[bytes | Fetched]]


class FetchFailed(AuthGuardError):
    """A server could not be asked, or its answer is of no use.

    ``problem`` is a constant phrase for the log, and quotes nothing that the server wrote.
    """

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem


def too_long(limit: int) -> FetchFailed:
    """What to raise for an answer of more than ``limit`` octets."""
    return FetchFailed(f"its answer is longer than {limit} octets")


def max_age(cache_control: str, age: str) -> float | None:
    """For how many seconds an answer holds (RFC 9111 sections 4.2.1 and 5.2.2), None where it says nothing of that."""
    if _AT_ONCE.search(cache_control):
        return 0.0
    stated = _MAX_AGE.search(cache_control)
    if stated is None:
        return None
    spent = int(age) if _AGE.fullmatch(age) else 0
    return float(max(0, int(stated[1]) - spent))


def address_fault(url: object, *, insecure_http: bool) -> str | None:
    """What is wrong with the address of a key server; None where nothing is."""
    if not isinstance(url, str):
        return "it is no string"
    if not url.isascii() or not url.isprintable() or " " in url:
        return "it holds a character that no address has"
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "it is no address"
    if parts.scheme not in {"https", "http"} or not host:
        return 'it is no address; write "https://login.example/jwks.json"'
    if parts.username is not None or parts.password is not None:
        return "it holds credentials, which are sent to no key server"
    if parts.fragment:
        return "it has a fragment, which is sent to no server"
    if parts.scheme == "http" and not insecure_http:
        return "keys that come over http may be anybody's; use https, or say insecure_http=True"
    return None


def check_address(argument: str, url: str, *, insecure_http: bool) -> str:
    """The address; ``ConfigurationError`` where it is none that keys may come from."""
    fault = address_fault(url, insecure_http=insecure_http)
    if fault is not None:
        raise ConfigurationError(argument, fault)
    return url


def shown(url: str) -> str:
    """The address without its query, which may hold a key of another kind."""
    return url.partition("?")[0]
