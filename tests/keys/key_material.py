"""Bind key material to algorithms, and read why it cannot be bound."""

from __future__ import annotations

import pytest

from authguard import ConfigurationError, VerificationKey
from authguard.keys.source import KeyMaterial

RS256 = frozenset({"RS256"})
PUBLIC = frozenset({"RS256", "ES256", "EdDSA"})
HS = frozenset({"HS256", "HS384", "HS512"})


def bound_key(material: KeyMaterial, *algorithms: str) -> VerificationKey:
    """The only key that the material makes for these algorithms."""
    (key,) = material.bind(frozenset(algorithms))
    return key


def binding_problem(material: KeyMaterial, *algorithms: str) -> str:
    """Why the material cannot be bound to these algorithms."""
    with pytest.raises(ConfigurationError) as caught:
        material.bind(frozenset(algorithms or ["RS256"]))
    assert caught.value.argument == "keys"
    return str(caught.value).removeprefix("keys: ")
