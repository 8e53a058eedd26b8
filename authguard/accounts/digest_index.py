"""An index of a store's users by realm and algorithm, and in each by name and by hashed name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import field
from typing import Generic, TypeVar

from authguard.accounts.digest_account import hash_of
from authguard.errors import ConfigurationError
from authguard.value_types import frozen
from authguard.wire.digest import user_hash
from authguard.wire.text import nfc

T = TypeVar("T")


@frozen
class DigestIndex(Generic[T]):
    """The values of ``by_name``, which is keyed by (realm, algorithm) and then by name, both in NFC.

    All names are hashed while the index is built, and not for each request.
    """

    by_name: Mapping[tuple[str, str], Mapping[str, T]] = field(repr=False)
    _names_by_hash: Mapping[tuple[str, str], Mapping[bytes, str]] = field(repr=False)

    def __init__(self, by_name: Mapping[tuple[str, str], Mapping[str, T]]) -> None:
        names_by_hash = {key: _names_by_hash(*key, names) for key, names in by_name.items()}
        object.__setattr__(self, "by_name", by_name)
        object.__setattr__(self, "_names_by_hash", names_by_hash)

    def find(self, username: str, realm: str, algorithm: str, hashed: bool) -> tuple[str, T] | None:
        """The name and its value; None if there is none. If ``hashed`` is True, ``username`` is ``H(name:realm)``."""
        key = nfc(realm), algorithm
        if key not in self.by_name:
            return None
        name = self._names_by_hash[key].get(username.encode()) if hashed else username
        value = None if name is None else self.by_name[key].get(name)
        return None if name is None or value is None else (name, value)


def _names_by_hash(realm: str, algorithm: str, names: Iterable[str]) -> dict[bytes, str]:
    try:
        hash_function = hash_of(algorithm)
    except ConfigurationError:
        # This platform forbids the algorithm. A scheme that asks for it fails while it is built; the rest still works.
        return {}
    return {user_hash(hash_function, name, realm): name for name in names}
