"""An index of a store's users by realm and algorithm, and in each by name and by hashed name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import field
from typing import Generic, TypeVar

from authguard.accounts.digest_account import hash_of
from authguard.concurrency.slices import STEPS, Slices
from authguard.errors import ConfigurationError
from authguard.value_types import frozen
from authguard.wire.text import nfc

T = TypeVar("T")


@frozen
class DigestIndex(Generic[T]):
    """The values of ``by_name``, which is keyed by (realm, algorithm) and then by name, both in NFC.

    ``index_digests`` makes one. It hashes all names, so that no request has to.
    """

    by_name: Mapping[tuple[str, str], Mapping[str, T]] = field(repr=False)
    _names_by_hash: Mapping[tuple[str, str], Mapping[str, str]] = field(repr=False)

    def find(self, username: str, realm: str, algorithm: str, hashed: bool) -> tuple[str, T] | None:
        """The name and its value; None if there is none. If ``hashed`` is True, ``username`` is ``H(name:realm)``."""
        key = nfc(realm), algorithm
        by_name = self.by_name.get(key)
        if by_name is None:
            return None
        name = self._names_by_hash[key].get(username) if hashed else username
        value = None if name is None else by_name.get(name)
        return None if name is None or value is None else (name, value)


def index_digests(by_name: Mapping[tuple[str, str], Mapping[str, T]]) -> Slices[DigestIndex[T]]:
    """The index of these values."""
    names_by_hash: dict[tuple[str, str], Mapping[str, str]] = {}
    for (realm, algorithm), names in by_name.items():
        names_by_hash[realm, algorithm] = yield from _hash_names(realm, algorithm, names)
    return DigestIndex(by_name, names_by_hash)


def _hash_names(realm: str, algorithm: str, names: Iterable[str]) -> Slices[Mapping[str, str]]:
    try:
        hash_function = hash_of(algorithm)
    except ConfigurationError:
        # This platform forbids the algorithm. A scheme that asks for it fails while it is built; the rest still works.
        return {}
    hashed: dict[str, str] = {}
    end = f":{realm}".encode()
    for index, name in enumerate(names, 1):
        # As ``user_hash`` does, but these names and the realm are in NFC already.
        hashed[hash_function(name.encode() + end).hex()] = name
        if index % STEPS == 0:
            yield
    return hashed
