"""Authentication schemes, and the interfaces for a scheme of your own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from authguard.concurrency.token_bucket import Rate
from authguard.lazy_exports import lazy_exports as _lazy_exports
from authguard.model import Outcome
from authguard.schemes.bearer.claim_mapping import claim
from authguard.schemes.bearer.claims import ANY_AUDIENCE, ANY_ISSUER, ANY_TENANT, NO_ISSUER
from authguard.schemes.bearer.issuer import Issuer
from authguard.schemes.bearer.protected_resource import ProtectedResource
from authguard.schemes.bearer.scheme import Bearer
from authguard.schemes.carriers import AUTHORIZATION, Cookie, Header, LoggedQuery, WebSocketProtocol
from authguard.schemes.scheme import Carrier, Published, Scheme, Service

if TYPE_CHECKING:
    from authguard.schemes.api_key.scheme import (
        ApiKey,
    )
    from authguard.schemes.api_key.token_source import (
        ApiKeys,
    )
    from authguard.schemes.basic import Basic
    from authguard.schemes.bearer.client_certificate import (
        CertificateSource,
        ForwardedCertificate,
        TlsExtension,
    )
    from authguard.schemes.bearer.introspection import Introspection
    from authguard.schemes.bearer.token_lookup import (
        TokenLookup,
    )
    from authguard.schemes.digest.scheme import Digest
    from authguard.schemes.dpop.scheme import Dpop
    from authguard.schemes.nonce_secret import PER_PROCESS
    from authguard.schemes.session import Session, SessionRevocations
    from authguard.schemes.throttle import LoginThrottle
else:
    __getattr__, __dir__ = _lazy_exports(
        __name__,
        {
            "authguard.schemes.bearer.token_lookup": ("TokenLookup",),
            "authguard.schemes.api_key.token_source": ("ApiKeys",),
            "authguard.schemes.api_key.scheme": ("ApiKey",),
            "authguard.schemes.basic": ("Basic",),
            "authguard.schemes.bearer.client_certificate": (
                "CertificateSource",
                "ForwardedCertificate",
                "TlsExtension",
            ),
            "authguard.schemes.bearer.introspection": ("Introspection",),
            "authguard.schemes.nonce_secret": ("PER_PROCESS",),
            "authguard.schemes.digest.scheme": ("Digest",),
            "authguard.schemes.dpop.scheme": ("Dpop",),
            "authguard.schemes.session": ("Session", "SessionRevocations"),
            "authguard.schemes.throttle": ("LoginThrottle",),
        },
    )

__all__ = [
    "ANY_AUDIENCE",
    "ANY_ISSUER",
    "ANY_TENANT",
    "AUTHORIZATION",
    "NO_ISSUER",
    "PER_PROCESS",
    "ApiKey",
    "ApiKeys",
    "Basic",
    "Bearer",
    "Carrier",
    "CertificateSource",
    "Cookie",
    "Digest",
    "Dpop",
    "ForwardedCertificate",
    "Header",
    "Introspection",
    "Issuer",
    "LoggedQuery",
    "LoginThrottle",
    "Outcome",
    "ProtectedResource",
    "Published",
    "Rate",
    "Scheme",
    "Service",
    "Session",
    "SessionRevocations",
    "TlsExtension",
    "TokenLookup",
    "WebSocketProtocol",
    "claim",
]
