"""Who calls the examples: people with passwords, and with tokens that are good by the real clock."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import cache
from typing import Any

import bcrypt
import pytest

from tests.support.tokens import mint, public_pem, rsa_key

PUBLIC_KEY = public_pem(rsa_key(2048, 0)).decode()
PARTNER_KEY = public_pem(rsa_key(2048, 1)).decode()


@cache
def hash_of(password: str) -> str:
    """As ``htpasswd -B`` writes it, at the least cost."""
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()


def bearer(*roles: str, which: int = 0, **changes: Any) -> Mapping[str, str]:
    """A field with a token for somebody who has these roles; ``which`` chooses the key that signs it."""
    now = time.time()
    good = {"iat": now - 60, "exp": now + 600, "roles": list(roles), **changes}
    return {"Authorization": f"Bearer {mint(rsa_key(2048, which), **good)}"}


def told(caplog: pytest.LogCaptureFixture, *facts: str) -> list[tuple[Any, ...]]:
    """These facts of each record of a decision, in order; what is told of the app itself is none."""
    records = [vars(record) for record in caplog.records if hasattr(record, "authguard.reason")]
    return [tuple(record[f"authguard.{fact}"] for fact in facts) for record in records]


def reasons(caplog: pytest.LogCaptureFixture) -> list[str | None]:
    """The reasons, in order; None for what was granted."""
    return [reason for (reason,) in told(caplog, "reason")]
