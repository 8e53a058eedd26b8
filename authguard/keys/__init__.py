"""Verification keys: where they come from, and ``KeySource``, the interface for a source of your own."""

from __future__ import annotations

from authguard.errors import KeysBusy
from authguard.http_client import Fetch, Fetched, FetchFailed
from authguard.keys.fetch_budget import Requester
from authguard.keys.remote import Discovery, RemoteJWKS
from authguard.keys.source import KeyMaterial, KeySource, RefetchableKeys, VerificationKey
from authguard.keys.static import JWK, PEM, JWKSet, Secret

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
