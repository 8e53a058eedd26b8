"""Authentication for ASGI apps: who is asking, what a route asks of them, and why a request was refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

from authguard.asgi.locks import allows
from authguard.asgi.request_context import AccessDenied
from authguard.core.guard import Check, Guard
from authguard.core.responses import Render
from authguard.errors import AuthGuardError, BackendUnavailable, ConfigurationError, InvalidSignature, RequestBodyError
from authguard.keys import JWK, PEM, JWKSet, KeySource, Secret, VerificationKey
from authguard.lazy_exports import lazy_exports as _lazy_exports
from authguard.middleware import AuthGuardMiddleware
from authguard.model import Accepted, Denied, Failure, Granted, Moment, Principal, Rejected, Requirement
from authguard.policy.combinators import all_of, any_of
from authguard.policy.requirements import (
    AUTHENTICATED,
    OPTIONAL,
    PUBLIC,
    all_roles,
    any_role,
    predicate,
    role,
    scopes,
    step_up,
    via,
)
from authguard.policy.rules import Rule
from authguard.reasons import Reason
from authguard.records import Hook, Record
from authguard.request import AuthRequest
from authguard.schemes import (
    ANY_AUDIENCE,
    ANY_ISSUER,
    ANY_TENANT,
    AUTHORIZATION,
    NO_ISSUER,
    Bearer,
    Carrier,
    Issuer,
    ProtectedResource,
    Rate,
    Scheme,
    claim,
)
from authguard.wire import Challenge, Credentials

if TYPE_CHECKING:
    from authguard.accounts import (
        Account,
        DigestAccount,
        DigestLookup,
        DigestStore,
        HtdigestFile,
        HtpasswdFile,
        LibpassHasher,
        MemoryDigests,
        MemoryUsers,
        PasswordCheck,
        PasswordHasher,
        PasswordStore,
        UserLookup,
        digest_ha1,
    )
    from authguard.keys import RemoteJWKS
    from authguard.schemes import PER_PROCESS, Basic, Digest, Introspection, LoginThrottle
    from authguard.state import MemoryNonces
else:
    __getattr__, __dir__ = _lazy_exports(
        __name__,
        {
            "authguard.accounts": (
                "Account",
                "DigestAccount",
                "DigestLookup",
                "DigestStore",
                "HtdigestFile",
                "HtpasswdFile",
                "LibpassHasher",
                "MemoryDigests",
                "MemoryUsers",
                "PasswordCheck",
                "PasswordHasher",
                "PasswordStore",
                "UserLookup",
                "digest_ha1",
            ),
            "authguard.keys": ("RemoteJWKS",),
            "authguard.schemes": (
                "PER_PROCESS",
                "Basic",
                "Digest",
                "Introspection",
                "LoginThrottle",
            ),
            "authguard.state": ("MemoryNonces",),
        },
    )

__version__ = "0.1.0"

__all__ = [
    "ANY_AUDIENCE",
    "ANY_ISSUER",
    "ANY_TENANT",
    "AUTHENTICATED",
    "AUTHORIZATION",
    "JWK",
    "NO_ISSUER",
    "OPTIONAL",
    "PEM",
    "PER_PROCESS",
    "PUBLIC",
    "Accepted",
    "AccessDenied",
    "Account",
    "AuthGuardError",
    "AuthGuardMiddleware",
    "AuthRequest",
    "BackendUnavailable",
    "Basic",
    "Bearer",
    "Carrier",
    "Challenge",
    "Check",
    "ConfigurationError",
    "Credentials",
    "Denied",
    "Digest",
    "DigestAccount",
    "DigestLookup",
    "DigestStore",
    "Failure",
    "Granted",
    "Guard",
    "Hook",
    "HtdigestFile",
    "HtpasswdFile",
    "Introspection",
    "InvalidSignature",
    "Issuer",
    "JWKSet",
    "KeySource",
    "LibpassHasher",
    "LoginThrottle",
    "MemoryDigests",
    "MemoryNonces",
    "MemoryUsers",
    "Moment",
    "PasswordCheck",
    "PasswordHasher",
    "PasswordStore",
    "Principal",
    "ProtectedResource",
    "Rate",
    "Reason",
    "Record",
    "Rejected",
    "RemoteJWKS",
    "Render",
    "RequestBodyError",
    "Requirement",
    "Rule",
    "Scheme",
    "Secret",
    "UserLookup",
    "VerificationKey",
    "all_of",
    "all_roles",
    "allows",
    "any_of",
    "any_role",
    "claim",
    "digest_ha1",
    "predicate",
    "role",
    "scopes",
    "step_up",
    "via",
]
