"""Keyed hashes of names and passwords: what is kept of them can be compared, and not looked up."""

from __future__ import annotations

import hmac
import secrets


class Keyed:
    """HMAC-SHA-256 of several texts under a key that nothing outlives the process with."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)

    def __call__(self, *texts: str) -> bytes:
        # Each with its length before it, so that no two lists of texts are one message.
        octets = [text.encode("utf-8", "surrogatepass") for text in texts]
        message = b"".join(len(part).to_bytes(4, "big") + part for part in octets)
        return hmac.digest(self._key, message, "sha256")
