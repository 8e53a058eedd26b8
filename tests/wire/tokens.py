"""Helpers of the wire tests: build tokens, and load test vectors."""

from __future__ import annotations

import json
import pkgutil
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from importlib import import_module

import authguard.wire

HEADER = b'{"alg":"RS256","kid":"2026-01","typ":"at+jwt"}'
PAYLOAD = b'{"sub":"alice"}'
SIGNATURE = bytes(range(256))


WIRE = [import_module(f"authguard.wire.{module.name}") for module in pkgutil.iter_modules(authguard.wire.__path__)]


def b64url(data: bytes) -> bytes:
    """Encode as base64url without padding, with the standard library."""
    return urlsafe_b64encode(data).rstrip(b"=")


def compact(
    header: bytes | Mapping[str, object] = HEADER,
    payload: bytes | Mapping[str, object] = PAYLOAD,
    signature: bytes = SIGNATURE,
) -> bytes:
    """Build a token from these parts. A mapping is written as JSON."""
    parts = (header, payload, signature)
    return b".".join(b64url(part if isinstance(part, bytes) else json.dumps(part).encode()) for part in parts)
