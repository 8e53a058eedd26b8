"""User accounts, the stores that find them, and the ports for stores of your own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from authguard.lazy_exports import lazy_exports as _lazy_exports

if TYPE_CHECKING:
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
    from authguard.accounts.api_key import (
        ApiKeyAdmin,
        ApiKeyStore,
        LastUseStore,
        NewKey,
        Rotation,
        StoredKey,
        key_digest,
        new_key,
        rotate_key,
    )
    from authguard.accounts.api_key_file import (
        ApiKeyFile,
        ApiKeyFileAdmin,
    )
    from authguard.accounts.api_key_memory import (
        ApiKeyLookup,
        MemoryApiKeys,
    )
    from authguard.accounts.api_key_sql import SqlApiKeys
    from authguard.accounts.digest_account import DigestAccount, DigestStore, digest_ha1
    from authguard.accounts.digest_memory import DigestLookup, MemoryDigests
    from authguard.accounts.htdigest import HtdigestFile
    from authguard.accounts.htpasswd import HtpasswdFile
    from authguard.accounts.memory import MemoryUsers, UserLookup
    from authguard.accounts.password_hashes import LibpassHasher
    from authguard.accounts.revocation_file import RevocationFile, RevocationFileAdmin, StoredRevocation
    from authguard.accounts.revocation_sql import SqlRevocations
else:
    __getattr__, __dir__ = _lazy_exports(
        __name__,
        {
            "authguard.accounts.api_key_file": (
                "ApiKeyFile",
                "ApiKeyFileAdmin",
            ),
            "authguard.accounts.api_key_memory": (
                "ApiKeyLookup",
                "MemoryApiKeys",
            ),
            "authguard.accounts.api_key": (
                "ApiKeyAdmin",
                "ApiKeyStore",
                "LastUseStore",
                "NewKey",
                "Rotation",
                "StoredKey",
                "key_digest",
                "new_key",
                "rotate_key",
            ),
            "authguard.accounts.account": (
                "NOT_NOW",
                "Account",
                "NotNow",
                "PasswordCheck",
                "PasswordHasher",
                "PasswordStore",
                "RolesListed",
                "SampledStore",
                "Verdict",
            ),
            "authguard.accounts.api_key_sql": ("SqlApiKeys",),
            "authguard.accounts.digest_account": ("DigestAccount", "DigestStore", "digest_ha1"),
            "authguard.accounts.digest_memory": ("DigestLookup", "MemoryDigests"),
            "authguard.accounts.htdigest": ("HtdigestFile",),
            "authguard.accounts.htpasswd": ("HtpasswdFile",),
            "authguard.accounts.memory": ("MemoryUsers", "UserLookup"),
            "authguard.accounts.password_hashes": ("LibpassHasher",),
            "authguard.accounts.revocation_file": ("RevocationFile", "RevocationFileAdmin", "StoredRevocation"),
            "authguard.accounts.revocation_sql": ("SqlRevocations",),
        },
    )

__all__ = [
    "NOT_NOW",
    "Account",
    "ApiKeyAdmin",
    "ApiKeyFile",
    "ApiKeyFileAdmin",
    "ApiKeyLookup",
    "ApiKeyStore",
    "DigestAccount",
    "DigestLookup",
    "DigestStore",
    "HtdigestFile",
    "HtpasswdFile",
    "LastUseStore",
    "LibpassHasher",
    "MemoryApiKeys",
    "MemoryDigests",
    "MemoryUsers",
    "NewKey",
    "NotNow",
    "PasswordCheck",
    "PasswordHasher",
    "PasswordStore",
    "RevocationFile",
    "RevocationFileAdmin",
    "RolesListed",
    "Rotation",
    "SampledStore",
    "SqlApiKeys",
    "SqlRevocations",
    "StoredKey",
    "StoredRevocation",
    "UserLookup",
    "Verdict",
    "digest_ha1",
    "key_digest",
    "new_key",
    "rotate_key",
]
