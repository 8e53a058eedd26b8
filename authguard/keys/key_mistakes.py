"""What a key really is that cannot be read, and what to write instead. Nothing of the text itself is quoted."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_der_private_key, load_der_public_key
from cryptography.x509 import load_der_x509_certificate

_BEGIN = b"-----BEGIN "
_END = b"-----END "
_SSH = re.compile(rb"(?:ssh-(?:rsa|ed25519|dss)|ecdsa-sha2-\S+|sk-\S+@openssh\.com) |---- BEGIN SSH2 ")
_BASE64 = re.compile(rb"[A-Za-z0-9+/\s]{40,}={0,2}\s*")
_DER = b"\x30"  # a SEQUENCE, as every key and certificate begins
_PUBLIC_ONLY = "give only the public key: openssl pkey -in private.pem -pubout"
_TAKES_TEXT = "PEM(...) takes the text of the file, not its path"


def pem_problem(pem: bytes) -> str | None:
    """Why ``PEM(...)`` cannot read this text; None if it may be PEM."""
    text = pem.strip()
    if not text:
        return "this PEM is empty"
    if b"PRIVATE KEY-----" in text:
        return f"this PEM contains a private key; {_PUBLIC_ONLY}"
    if _BEGIN not in text:
        return _no_pem_problem(text)
    if b"\\n" in text:
        return (
            "this PEM has \\n as two characters in place of line feeds, as environment files keep them; write "
            'PEM(text.replace("\\\\n", "\\n"))'
        )
    if _END not in text:
        return "this PEM has no -----END line; it is cut off"
    if b"-----BEGIN CERTIFICATE REQUEST-----" in text:
        return "this PEM is a request for a certificate; give the certificate, or the public key"
    return None


def _no_pem_problem(text: bytes) -> str:
    if is_url(text):
        return "this is a URL and not PEM; for a key server write RemoteJWKS(...)"
    if _SSH.match(text):
        return "this is a key in the format of OpenSSH; convert it: ssh-keygen -e -m PKCS8 -f key.pub"
    if text.startswith(b"{"):
        return _json_problem(text)
    if text.startswith((b"\xff\xfe", b"\xfe\xff")) and b"\0" in text:
        return "this PEM is in UTF-16; save the file as UTF-8"
    if text.startswith(_DER) and (kind := _der_kind(text)):
        return f"this is {kind} in DER, which is not text; convert it: openssl x509 or openssl pkey with -inform der"
    if _BASE64.fullmatch(text) and (kind := _der_kind(_decoded(text))):
        if kind == "a private key":
            return f"this is a private key, in base64; {_PUBLIC_ONLY}"
        label = "CERTIFICATE" if kind == "a certificate" else "PUBLIC KEY"
        return (
            f"this is {kind} in base64 without the first and last line of PEM; put -----BEGIN {label}----- and "
            f"-----END {label}----- around it, each on a line of its own"
        )
    return f"this is not PEM; {_TAKES_TEXT}"


def _json_problem(text: bytes) -> str:
    try:
        jwk = json.loads(text)
    except (ValueError, RecursionError):
        jwk = None
    if isinstance(jwk, Mapping) and "keys" in jwk:
        return "this is a JWK Set and not PEM; write JWKSet(...)"
    if isinstance(jwk, Mapping) and "d" in jwk:
        return f"this is a private JWK and not PEM; write JWK(...) of the public key, without {private_members(jwk)}"
    return "this is JSON and not PEM; write JWK(...)"


def _decoded(text: bytes) -> bytes:
    joined = b"".join(text.split())
    try:
        return base64.b64decode(joined + b"=" * (-len(joined) % 4))
    except binascii.Error:
        return b""


def _der_kind(der: bytes) -> str | None:
    """What is in a DER text: ``a public key``, ``a certificate``, ``a private key``; None if it is none of these."""
    for kind, load in (("a public key", load_der_public_key), ("a certificate", load_der_x509_certificate)):
        try:
            load(der)
        except (ValueError, UnsupportedAlgorithm):
            continue
        return kind
    try:
        load_der_private_key(der, password=None)
    except TypeError:  # it is encrypted
        return "a private key"
    except (ValueError, UnsupportedAlgorithm):
        return None
    return "a private key"


def is_url(text: object) -> bool:
    """Whether it is a URL of a web server, as text or bytes."""
    if isinstance(text, bytes):
        text = text[:8].decode("latin-1")
    return isinstance(text, str) and text.lower().startswith(("http://", "https://"))


# RFC 7518 sections 6.2.2 and 6.3.2, RFC 8037 section 2.
_PRIVATE_MEMBERS = ("d", "p", "q", "dp", "dq", "qi", "oth")


def private_members(jwk: Mapping[str, Any]) -> str:
    """The names of its members that are private."""
    return ", ".join(name for name in _PRIVATE_MEMBERS if name in jwk)


def json_problem(value: object, kind: str) -> str:
    """Why a JWK or a JWK Set, as ``kind`` says, is not JSON."""
    if is_url(value):
        return f"this {kind} is a URL; for a key server write RemoteJWKS(...)"
    text = value.encode("utf-8", "replace") if isinstance(value, str) else value
    if isinstance(text, bytes) and _BEGIN in text:
        return f"this {kind} is PEM; write PEM(...)"
    return f"this {kind} is not JSON"


def document_problem(document: Mapping[str, Any], kind: str) -> str | None:
    """Whether a JSON object is another document than a JWK or a JWK Set, as ``kind`` says; None if it may be that."""
    if kind == "JWK" and isinstance(document.get("keys"), list):
        return "this is a JWK Set and not a JWK; write JWKSet(...)"
    if "jwks_uri" in document:
        return f"this is a discovery document and not a {kind}; write RemoteJWKS(...) with its jwks_uri"
    return None
