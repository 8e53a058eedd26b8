"""The secrets that sign the nonces of Digest and of DPoP, and how a nonce is made with them."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Final, TypeAlias

from authguard.errors import ConfigurationError
from authguard.validation import MAKE_SECRET, MIN_SECRET, check_secret
from authguard.wire.nonce import RANDOM, Nonce, nonce_key


class PerProcess(Enum):
    """The ``secret`` that is never shared. It is a word, so that nobody chooses it by accident."""

    PER_PROCESS = "a secret of this process alone"

    def __repr__(self) -> str:
        return self.name


#: A random secret of this process. No other process accepts its nonces, and a restart ends them: for a single process,
#: and for tests.
PER_PROCESS: Final = PerProcess.PER_PROCESS

SecretArgument: TypeAlias = str | bytes | Sequence[str | bytes] | PerProcess


def check_secrets(secret: SecretArgument | None) -> tuple[bytes, ...] | None:
    """The secrets as bytes, the one that mints first; None for ``PER_PROCESS``. Raises ``ConfigurationError``."""
    if secret is PER_PROCESS:
        return None
    listed = [secret] if isinstance(secret, str | bytes) else secret
    if listed is None or isinstance(listed, PerProcess) or not isinstance(listed, Sequence) or not listed:
        raise ConfigurationError(
            "secret", f"give one that all processes share; {MAKE_SECRET}. PER_PROCESS is for a single process"
        )
    return tuple(check_secret(value) for value in listed)


def nonce_keys(shared: Sequence[bytes] | None, realm: str) -> tuple[bytes, ...]:
    """The keys of a realm, the one that mints first; those of a new random secret if none is shared."""
    accepted = (secrets.token_bytes(MIN_SECRET),) if shared is None else shared
    return tuple(nonce_key(secret, realm) for secret in accepted)


def mint_nonce(key: bytes, now: float, mark: Callable[[bytes], bytes] | None) -> str:
    """A new nonce that is signed with this key. ``mark`` puts what a store wants to know into its random bytes."""
    random = secrets.token_bytes(RANDOM)
    return Nonce.mint(now, random if mark is None else mark(random)).to_text(key)
