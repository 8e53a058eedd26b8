"""A key set as a key server publishes it (RFC 7517 section 5): what of it can be used, and what is to be told of it."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from authguard.errors import ConfigurationError
from authguard.keys.base import VerificationKey
from authguard.keys.fetching import FetchFailed
from authguard.keys.jwk import published

#: No issuer has more at once, and each that is left out is remembered, so that it is told once.
MOST_KEYS = 2000
_SHOWN = 64


@dataclass(frozen=True, slots=True)
class Remark:
    """What is to be told of one key, once. ``of`` tells the key from others, so that it is not told again."""

    text: str
    of: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class KeySet:
    """The keys of a set that can be used, how many members they are, how many were left out, and what is to be told."""

    keys: Sequence[VerificationKey]
    held: int
    skipped: int
    remarks: Sequence[Remark]


def read_json(octets: bytes) -> Mapping[str, Any]:
    """The JSON object of a server's answer; ``FetchFailed`` where it is none."""
    try:
        found = json.loads(octets)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, Mapping):
        raise FetchFailed("what it answers is no JSON object")
    return found


def read_keys(octets: bytes) -> KeySet:
    """The set in these octets.

    A key that cannot be used spoils no other. ``FetchFailed`` where it is no set or no key of it can be used.
    """
    keys: list[VerificationKey] = []
    kids: Counter[tuple[str | None, type]] = Counter()
    remarks: list[Remark] = []
    members = _members(octets)
    for index, member in enumerate(members):
        try:
            found = published(member)
        except Exception as error:  # noqa: BLE001 - what reads its numbers is not ours
            told = str(error).removeprefix("keys: ") if isinstance(error, ConfigurationError) else "it cannot be read"
            remarks.append(Remark(f"key {index}{_named(member)} is left out: {told}", _digest(member)))
        else:
            keys += found
            kids[found[0].kid, type(found[0].material)] += 1
    if not keys:
        raise NothingUsable(remarks)
    held = kids.total()
    for (kid, _), count in kids.items():
        if kid is not None and count > 1:
            remarks.append(Remark(f"{count} keys have the kid {_shown(kid)}; each is tried", ascii(kid).encode()))
    return KeySet(keys, held, len(members) - held, remarks)


def _members(octets: bytes) -> list[Any]:
    members = read_json(octets).get("keys")
    if not isinstance(members, list):
        raise FetchFailed("what it answers is no JWK Set")
    if not members:
        raise FetchFailed("its key set is empty")
    if len(members) > MOST_KEYS:
        raise FetchFailed(f"its key set holds more than {MOST_KEYS} keys")
    return members


class NothingUsable(FetchFailed):
    """A set in which no key can be used, and why each cannot."""

    def __init__(self, remarks: Sequence[Remark]) -> None:
        super().__init__("no key of its key set can be used")
        self.remarks = remarks


def _named(member: object) -> str:
    kid = member.get("kid") if isinstance(member, Mapping) else None
    return f" (kid {_shown(kid)})" if isinstance(kid, str) else ""


def _shown(kid: str) -> str:
    return ascii(kid[:_SHOWN])


def _digest(member: object) -> bytes:
    # Of its strings alone: what is nested may be nested too deep to be written.
    texts = [item for item in member.items() if isinstance(item[1], str)] if isinstance(member, Mapping) else []
    return hashlib.sha256(repr((type(member), sorted(texts))).encode()).digest()
