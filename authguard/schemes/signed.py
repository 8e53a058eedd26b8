"""Whether a token was signed with a key."""

from __future__ import annotations

from collections.abc import Sequence

from authguard.errors import InvalidSignature
from authguard.keys.base import VerificationKey
from authguard.wire import jws


def signed_by_one_of(keys: Sequence[VerificationKey], token: jws.Jws) -> bool:
    """Whether one of them verifies it (RFC 7515 section 5.2)."""
    for key in keys:
        if key.algorithm != token.header.alg:  # a source of somebody else's may answer with more than it was asked for
            continue
        try:
            key.verify(token.signing_input, token.signature)
        except InvalidSignature:
            continue
        return True
    return False
