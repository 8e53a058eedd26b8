"""What each name has in a realm under an algorithm, found by the name or by its hash."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from authguard.accounts.digest_account import hash_of
from authguard.errors import ConfigurationError
from authguard.wire.digest import user_hash
from authguard.wire.text import nfc

T = TypeVar("T")


@dataclass(frozen=True, slots=True, init=False)
class DigestIndex(Generic[T]):
    """``named`` is by (realm, algorithm) and by name, both in the form NFC. All is hashed while it is built."""

    named: Mapping[tuple[str, str], Mapping[str, T]] = field(repr=False)
    _names: Mapping[tuple[str, str], Mapping[bytes, str]] = field(repr=False)

    def __init__(self, named: Mapping[tuple[str, str], Mapping[str, T]]) -> None:
        object.__setattr__(self, "named", named)
        object.__setattr__(self, "_names", {key: _hashed(*key, names) for key, names in named.items()})

    def find(self, username: str, realm: str, algorithm: str, hashed: bool) -> tuple[str, T] | None:
        """The name, and what it has. With ``hashed`` the name is looked up by ``H(name:realm)``."""
        key = nfc(realm), algorithm
        if key not in self.named:
            return None
        name = self._names[key].get(username.encode()) if hashed else username
        found = None if name is None else self.named[key].get(name)
        return None if name is None or found is None else (name, found)


def _hashed(realm: str, algorithm: str, names: Iterable[str]) -> dict[bytes, str]:
    try:
        digest = hash_of(algorithm)
    except ConfigurationError:
        # Forbidden on this platform. Who asks for it is told while the app is built, and the rest can be served.
        return {}
    return {user_hash(digest, name, realm): name for name in names}
