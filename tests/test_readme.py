"""The README tells the truth: its code runs, its log lines are ours, its list of reasons is whole."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import jwt
import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from authguard import Issuer, Principal, Reason, Rule, reasons
from tests.minting import public_pem, rsa_key
from tests.readme import README, blocks

QUICK_START, CLAIMS, PASSWORDS, RULES, CHECKS, LOGGING, STRUCTLOG = blocks("python")


def _run(code: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(compile(code, "README.md", "exec"), names)
    return names


@pytest.fixture(name="client")
def _client(monkeypatch: pytest.MonkeyPatch) -> TestClient:
    monkeypatch.setenv("ISSUER_PUBLIC_KEY", public_pem(rsa_key()).decode())
    app: FastAPI = _run(QUICK_START)["app"]
    return TestClient(app)


def _token(**changes: Any) -> str:
    # The quick start reads the real clock, as a user's app does.
    import time

    now = time.time()
    good = {"iss": "https://login.example/", "aud": "orders", "sub": "alice", "exp": now + 600, **changes}
    return jwt.encode(good, rsa_key(), algorithm="RS256")


def test_the_quick_start_answers_as_it_says(client: TestClient) -> None:
    """Closed without a token, open to one, and the app sees who asks."""
    anonymous = client.get("/orders")
    alice = client.get("/orders", headers={"authorization": f"Bearer {_token()}"})
    admin = client.get("/admin/users", headers={"authorization": f"Bearer {_token()}"})

    assert (anonymous.status_code, anonymous.headers["www-authenticate"]) == (401, 'Bearer realm="orders"')
    assert (alice.status_code, alice.json()) == (200, {"orders of": "alice"})
    assert admin.status_code == 403


def test_an_expired_token_is_told_as_the_readme_shows(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    """The challenge is the one that is printed there, and the line is but for its figures."""
    import time

    (shown,) = (block for block in blocks("text") if "denied token.expired" in block)
    *head, line = shown.strip().splitlines()

    response = client.get("/admin/users", headers={"authorization": f"Bearer {_token(exp=time.time() - 64)}"})

    assert f"www-authenticate: {response.headers['www-authenticate']}" in head
    assert f"cache-control: {response.headers['cache-control']}" in head
    assert _without_figures(line) == _without_figures(caplog.messages[-1])


def _without_figures(line: str) -> str:
    return re.sub(r"token=\w+", "token=", re.sub(r"=[\d.]+s", "=s", line))


def test_the_issuer_block_builds_an_issuer() -> None:
    """Roles come from two nested claims, out of a key set that is given."""
    assert isinstance(_run(CLAIMS)["keycloak"], Issuer)


def test_the_passwords_block_builds_a_guard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the files that it names."""
    (tmp_path / "users.htpasswd").write_text("alice:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=\n")
    (tmp_path / "users.groups").write_text("admin: alice\n")
    monkeypatch.chdir(tmp_path)

    assert [scheme.name for scheme in _run(PASSWORDS)["guard"].schemes] == ["basic"]


def test_the_rules_block_builds_a_table_that_is_accepted() -> None:
    """Its rules neither cross nor stand twice."""
    from authguard.policy.table import RuleTable

    rules = _run(RULES)["rules"]

    assert all(isinstance(rule, Rule) for rule in rules)
    assert RuleTable(rules).rules == tuple(rules)


async def test_the_check_block_refuses_and_enriches() -> None:
    """Who is not known is refused, and who is gets the roles that the app keeps."""
    known = _run(CHECKS)["known"]

    assert (await known(None, Principal("alice", roles={"admin"}))).roles == {"admin", "editor"}
    assert (await known(None, Principal("mallory"))).reason == Reason("user.disabled", 403)


def test_the_logging_block_makes_info_visible() -> None:
    """Two lines, and what nobody presented is told too."""
    logger = logging.getLogger("authguard")
    before = logger.level
    try:
        _run(LOGGING)

        assert logger.isEnabledFor(logging.INFO)
    finally:
        logger.setLevel(before)


def test_the_structlog_block_takes_the_facts_over() -> None:
    """Structlog's own processor copies what a record carries as ``extra``."""
    record = logging.makeLogRecord({"authguard.reason": "token.expired", "msg": "denied"})
    first = _run(STRUCTLOG)["processors"][0]

    assert first(None, "warning", {"_record": record, "event": "denied"})["authguard.reason"] == "token.expired"


def test_every_reason_is_listed_with_its_status() -> None:
    """The README's list is that of reasons.py, in its order."""
    known = [value for value in vars(reasons).values() if isinstance(value, Reason)]
    listed = re.findall(r"^\| `([a-z_.]+)` \| (\d+) \|", README.read_text(encoding="utf-8"), re.MULTILINE)

    assert [(reason.code, str(reason.status)) for reason in known] == listed
