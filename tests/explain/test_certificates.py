"""An explanation says which certificate was found and which one the token is bound to, and writes no warning."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from authguard.explain import explain
from tests.docs.certificate_refusals import FIELD
from tests.schemes.mutual_tls.site import ALICE, HERS, HIS, PROXY, STRANGER, Site
from tests.support.asgi import http_scope


@pytest.mark.parametrize(
    ("fields", "client", "cnf", "reason", "shown"),
    [
        ([HERS], PROXY, ALICE.cnf, None, ALICE.cnf["x5t#S256"]),
        ([HIS], PROXY, ALICE.cnf, "certificate.mismatch", ALICE.cnf["x5t#S256"]),
        ([], PROXY, ALICE.cnf, "certificate.missing", "no Client-Cert"),
        ([FIELD, FIELD], PROXY, ALICE.cnf, "certificate.invalid", "2 lines of this name"),
        ([HERS], STRANGER, ALICE.cnf, "certificate.sender_refused", "203.0.113.9"),
        ([HERS], PROXY, ..., None, "no certificate"),
    ],
    ids=["hers", "mismatch", "missing", "invalid", "sender", "unbound"],
)
async def test_the_check_of_the_certificate_is_shown(
    fields: Any, client: Any, cnf: Any, reason: str | None, shown: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It is the last one, and the live decision agrees. Nothing is spent: the first live refusal still warns."""
    site = Site()
    token = site.issuer.token("alice", cnf=cnf)
    headers = [(b"authorization", f"Bearer {token}".encode()), *fields]

    with caplog.at_level(logging.WARNING, "authguard"):
        explanation = await explain(site.app, http_scope("/orders", headers=headers, client=client))

    assert explanation.reason == reason
    assert shown in str(explanation)
    assert "was refused" not in caplog.text
    assert await site.said(*fields, client=client, token=token) == reason
