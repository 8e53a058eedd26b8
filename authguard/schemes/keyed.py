"""Keyed hashes of names and passwords: what is kept of them can be compared, and not looked up."""

from __future__ import annotations

import hmac
import secrets


class Keyed:
    """HMAC-SHA-256 of several texts under a key that nothing outlives the process with."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)

    def __call__(self, *texts: str) -> bytes:
        # The repr of a tuple tells any two lists of texts apart, and writes out what UTF-8 cannot say.
        return hmac.digest(self._key, repr(texts).encode(), "sha256")
