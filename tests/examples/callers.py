"""The users of the examples: password hashes, tokens that are valid by the real clock, and the recorded decisions."""

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
    """The bcrypt hash of this password, at the lowest cost."""
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()


def bearer(*roles: str, which: int = 0, **changes: Any) -> Mapping[str, str]:
    """A header with a token of a user with these roles; ``which`` selects the key that signs it."""
    now = time.time()
    claims = {"iat": now - 60, "exp": now + 600, "roles": list(roles), **changes}
    return {"Authorization": f"Bearer {mint(rsa_key(2048, which), **claims)}"}


def recorded(caplog: pytest.LogCaptureFixture, *facts: str) -> list[tuple[Any, ...]]:
    """The values of these facts in each decision record, in order. Other log lines are ignored."""
    records = [vars(record) for record in caplog.records if hasattr(record, "authguard.reason")]
    return [tuple(record[f"authguard.{fact}"] for fact in facts) for record in records]


def reasons(caplog: pytest.LogCaptureFixture) -> list[str | None]:
    """The reasons of the decision records, in order; None for a granted request."""
    return [reason for (reason,) in recorded(caplog, "reason")]
