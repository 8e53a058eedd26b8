"""Authentication for ASGI apps: who is asking, what a route asks of them, and why a request was refused."""

from __future__ import annotations

from authguard.accounts.account import Account, AccountsAtHand, PasswordCheck, PasswordHasher, PasswordStore, Verdict
from authguard.accounts.digest_account import DigestAccount, DigestsAtHand, DigestsListed, DigestStore, digest_ha1
from authguard.accounts.digest_memory import DigestLookup, MemoryDigests
from authguard.accounts.htdigest import HtdigestFile
from authguard.accounts.htpasswd import HtpasswdFile
from authguard.accounts.memory import MemoryUsers, UserLookup
from authguard.accounts.password_hashes import LibpassHasher
from authguard.asgi.locks import allows
from authguard.asgi.request_context import AccessDenied
from authguard.core.guard import Check, Guard
from authguard.core.responses import Render
from authguard.errors import (
    AuthGuardError,
    BackendUnavailable,
    ConfigurationError,
    InvalidSignature,
    RequestBodyError,
)
from authguard.http_client import Fetch, Fetched, FetchFailed
from authguard.keys.remote import RemoteJWKS
from authguard.keys.source import KeysAtHand, KeySource, VerificationKey
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
from authguard.records.record import Hook, Record
from authguard.request import AuthRequest
from authguard.schemes.basic import Basic
from authguard.schemes.bearer.claim_mapping import claim
from authguard.schemes.bearer.claims import ANY_AUDIENCE, ANY_ISSUER
from authguard.schemes.bearer.introspection import Introspection
from authguard.schemes.bearer.issuer import Issuer
from authguard.schemes.bearer.protected_resource import ProtectedResource
from authguard.schemes.bearer.scheme import Bearer
from authguard.schemes.carriers import AUTHORIZATION
from authguard.schemes.digest.options import PER_PROCESS
from authguard.schemes.digest.scheme import Digest
from authguard.schemes.scheme import Carrier, Published, Scheme, Service
from authguard.schemes.throttle import LoginThrottle, Rate
from authguard.state.nonce_store import MemoryNonces, NoncesAtHand, NonceStore, NonceUse
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
    "OPTIONAL",
    "PEM",
    "PER_PROCESS",
    "PUBLIC",
    "Accepted",
    "AccessDenied",
    "Account",
    "AccountsAtHand",
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
    "LoginThrottle",
    "MemoryDigests",
    "MemoryNonces",
    "MemoryUsers",
    "Moment",
    "NonceStore",
    "NonceUse",
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
    "RemoteJWKS",
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
    "claim",
    "digest_ha1",
    "predicate",
    "role",
    "scopes",
    "step_up",
    "token68",
    "via",
]
