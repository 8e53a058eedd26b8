"""Authentication for ASGI apps: who is asking, what a route asks of them, and why a request was refused."""

from __future__ import annotations

from authguard.access import allows
from authguard.errors import (
    AuthGuardError,
    BackendUnavailable,
    ConfigurationError,
    InvalidSignature,
    RequestBodyError,
)
from authguard.guard import Check, Guard
from authguard.keys.base import KeysAtHand, KeySource, VerificationKey
from authguard.keys.fetching import Fetch, Fetched, FetchFailed
from authguard.keys.jwks import JWKS
from authguard.keys.static import JWK, PEM, JWKSet, Secret
from authguard.middleware import AuthGuardMiddleware
from authguard.model import (
    Accepted,
    Denied,
    Granted,
    Moment,
    Outcome,
    Principal,
    Rejected,
    Requirement,
    Unmet,
)
from authguard.passage import AccessDenied
from authguard.policy.combine import all_of, any_of
from authguard.policy.requirement import (
    AUTHENTICATED,
    OPTIONAL,
    PUBLIC,
    all_roles,
    any_role,
    check,
    role,
    scopes,
    step_up,
    via,
)
from authguard.policy.rules import Rule
from authguard.reasons import Reason
from authguard.record import Hook, Record
from authguard.request import AuthRequest
from authguard.respond import Render
from authguard.schemes.attempts import Attempts, Rate
from authguard.schemes.base import Carrier, Published, Scheme, Service
from authguard.schemes.basic import Basic
from authguard.schemes.bearer import Bearer
from authguard.schemes.carriers import AUTHORIZATION
from authguard.schemes.claims import ANY_AUDIENCE, ANY_ISSUER, claim
from authguard.schemes.digest import Digest
from authguard.schemes.introspection import Introspection
from authguard.schemes.issuer import Issuer
from authguard.schemes.nonces import MemoryNonces
from authguard.schemes.offered import PER_PROCESS
from authguard.schemes.resource import ProtectedResource
from authguard.stores.base import Account, AccountsAtHand, PasswordCheck, PasswordHasher, PasswordStore, Verdict
from authguard.stores.digested import DigestLookup, MemoryDigests
from authguard.stores.digests import (
    Claim,
    DigestAccount,
    DigestsAtHand,
    DigestsListed,
    DigestStore,
    NoncesAtHand,
    NonceStore,
)
from authguard.stores.ha1 import digest_ha1
from authguard.stores.htdigest import HtdigestFile
from authguard.stores.htpasswd import HtpasswdFile
from authguard.stores.memory import MemoryUsers, UserLookup
from authguard.stores.passwords import LibpassHasher
from authguard.wire.authorization import Credentials, auth_params, token68
from authguard.wire.challenge import Challenge
from authguard.wire.grammar import WireError

__version__ = "0.1.0"

__all__ = [
    "ANY_AUDIENCE",
    "ANY_ISSUER",
    "AUTHENTICATED",
    "AUTHORIZATION",
    "JWK",
    "JWKS",
    "OPTIONAL",
    "PEM",
    "PER_PROCESS",
    "PUBLIC",
    "Accepted",
    "AccessDenied",
    "Account",
    "AccountsAtHand",
    "Attempts",
    "AuthGuardError",
    "AuthGuardMiddleware",
    "AuthRequest",
    "BackendUnavailable",
    "Basic",
    "Bearer",
    "Carrier",
    "Challenge",
    "Check",
    "Claim",
    "ConfigurationError",
    "Credentials",
    "Denied",
    "Digest",
    "DigestAccount",
    "DigestLookup",
    "DigestStore",
    "DigestsAtHand",
    "DigestsListed",
    "Fetch",
    "FetchFailed",
    "Fetched",
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
    "KeysAtHand",
    "LibpassHasher",
    "MemoryDigests",
    "MemoryNonces",
    "MemoryUsers",
    "Moment",
    "NonceStore",
    "NoncesAtHand",
    "Outcome",
    "PasswordCheck",
    "PasswordHasher",
    "PasswordStore",
    "Principal",
    "ProtectedResource",
    "Published",
    "Rate",
    "Reason",
    "Record",
    "Rejected",
    "Render",
    "RequestBodyError",
    "Requirement",
    "Rule",
    "Scheme",
    "Secret",
    "Service",
    "Unmet",
    "UserLookup",
    "Verdict",
    "VerificationKey",
    "WireError",
    "all_of",
    "all_roles",
    "allows",
    "any_of",
    "any_role",
    "auth_params",
    "check",
    "claim",
    "digest_ha1",
    "role",
    "scopes",
    "step_up",
    "token68",
    "via",
]
