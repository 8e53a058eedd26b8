"""How these tests write what they read: tokens, and the vectors beside them."""

from __future__ import annotations

import json
import pkgutil
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import authguard.wire

VECTORS = Path(__file__).parent.parent / "vectors"

HEADER = b'{"alg":"RS256","kid":"2026-01","typ":"at+jwt"}'
PAYLOAD = b'{"sub":"alice"}'
SIGNATURE = bytes(range(256))


WIRE = [import_module(f"authguard.wire.{found.name}") for found in pkgutil.iter_modules(authguard.wire.__path__)]


def vectors(name: str) -> Any:
    """A file of vectors; it says itself where they come from."""
    return json.loads((VECTORS / name).read_text(encoding="utf-8"))


def b64url(octets: bytes) -> bytes:
    """Base64url without padding, as the standard library writes it."""
    return urlsafe_b64encode(octets).rstrip(b"=")


def compact(
    header: bytes | Mapping[str, object] = HEADER,
    payload: bytes | Mapping[str, object] = PAYLOAD,
    signature: bytes = SIGNATURE,
) -> bytes:
    """A token with exactly these octets in its parts. A mapping is written as JSON."""
    parts = (header, payload, signature)
    return b".".join(b64url(part if isinstance(part, bytes) else json.dumps(part).encode()) for part in parts)
