"""State that must be kept in one place: used nonces and proofs, login attempts and revocations.

Each has an interface and a memory store.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from authguard.lazy_exports import lazy_exports as _lazy_exports

if TYPE_CHECKING:
    from authguard.state.nonce_store import WITHOUT_COUNT, MemoryNonces, NonceStore, NonceUse
    from authguard.state.proof_store import MemoryProofs, ProofStore, ProofUse, proof_key
    from authguard.state.revocations import (
        MemoryRevocations,
        Revocation,
        RevocationKind,
        Revocations,
        RevocationSource,
        RevocationStore,
        RevokedKey,
        revocation_key,
    )
    from authguard.state.shared_cache import MemoryCache, SharedCache
    from authguard.state.throttle_store import Bucket, Exceeded, MemoryThrottleStore, ThrottleStore
else:
    __getattr__, __dir__ = _lazy_exports(
        __name__,
        {
            "authguard.state.nonce_store": ("WITHOUT_COUNT", "MemoryNonces", "NonceStore", "NonceUse"),
            "authguard.state.proof_store": ("MemoryProofs", "ProofStore", "ProofUse", "proof_key"),
            "authguard.state.revocations": (
                "MemoryRevocations",
                "Revocation",
                "RevocationKind",
                "Revocations",
                "RevocationSource",
                "RevocationStore",
                "RevokedKey",
                "revocation_key",
            ),
            "authguard.state.shared_cache": ("MemoryCache", "SharedCache"),
            "authguard.state.throttle_store": ("Bucket", "Exceeded", "MemoryThrottleStore", "ThrottleStore"),
        },
    )

__all__ = [
    "WITHOUT_COUNT",
    "Bucket",
    "Exceeded",
    "MemoryCache",
    "MemoryNonces",
    "MemoryProofs",
    "MemoryRevocations",
    "MemoryThrottleStore",
    "NonceStore",
    "NonceUse",
    "ProofStore",
    "ProofUse",
    "Revocation",
    "RevocationKind",
    "RevocationSource",
    "RevocationStore",
    "Revocations",
    "RevokedKey",
    "SharedCache",
    "ThrottleStore",
    "proof_key",
    "revocation_key",
]
