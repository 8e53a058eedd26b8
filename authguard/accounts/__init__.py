"""User accounts, the stores that find them, and the ports for stores of your own."""

from __future__ import annotations

from authguard.accounts.account import (
    NOT_NOW,
    Account,
    NotNow,
    PasswordCheck,
    PasswordHasher,
    PasswordStore,
    RolesListed,
    SampledStore,
    Verdict,
)
from authguard.accounts.digest_account import DigestAccount, DigestStore, digest_ha1
from authguard.accounts.digest_memory import DigestLookup, MemoryDigests
from authguard.accounts.htdigest import HtdigestFile
from authguard.accounts.htpasswd import HtpasswdFile
from authguard.accounts.memory import MemoryUsers, UserLookup
from authguard.accounts.password_hashes import LibpassHasher

__all__ = [
    "NOT_NOW",
    "Account",
    "DigestAccount",
    "DigestLookup",
    "DigestStore",
    "HtdigestFile",
    "HtpasswdFile",
    "LibpassHasher",
    "MemoryDigests",
    "MemoryUsers",
    "NotNow",
    "PasswordCheck",
    "PasswordHasher",
    "PasswordStore",
    "RolesListed",
    "SampledStore",
    "UserLookup",
    "Verdict",
    "digest_ha1",
]
