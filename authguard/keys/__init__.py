"""Verification keys: where they come from, and ``KeySource``, the interface for a source of your own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from authguard.errors import KeysBusy
from authguard.http_client import Fetch, Fetched, FetchFailed
from authguard.keys.fetch_budget import Requester
from authguard.keys.source import KeyMaterial, KeySource, RefetchableKeys, VerificationKey
from authguard.keys.static import JWK, PEM, JWKSet, Secret
from authguard.lazy_exports import lazy_exports as _lazy_exports

if TYPE_CHECKING:
    from authguard.keys.remote import Discovery, RemoteJWKS
else:
    __getattr__, __dir__ = _lazy_exports(__name__, {"authguard.keys.remote": ("Discovery", "RemoteJWKS")})

__all__ = [
    "JWK",
    "PEM",
    "Discovery",
    "Fetch",
    "FetchFailed",
    "Fetched",
    "JWKSet",
    "KeyMaterial",
    "KeySource",
    "KeysBusy",
    "RefetchableKeys",
    "RemoteJWKS",
    "Requester",
    "Secret",
    "VerificationKey",
]
