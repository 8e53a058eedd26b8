"""State that must be counted in one place: used nonces and login attempts. Each has an interface and a memory store."""

from __future__ import annotations

from authguard.state.nonce_store import MemoryNonces, NonceStore, NonceUse
from authguard.state.throttle_store import Bucket, Exceeded, MemoryThrottleStore, ThrottleStore

__all__ = [
    "Bucket",
    "Exceeded",
    "MemoryNonces",
    "MemoryThrottleStore",
    "NonceStore",
    "NonceUse",
    "ThrottleStore",
]
