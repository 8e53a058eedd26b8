"""The pages of the schemes and of the guide are true: what their code does, and the lists that they keep.

Blocks that nothing here claims are run by test_blocks.py.
"""

from __future__ import annotations

import logging
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient, WebSocketDenialResponse

from authguard import PUBLIC, Issuer, Principal, Reason, Rule, digest_ha1, reasons
from authguard.audit.findings import CODES
from authguard.fastapi import install
from authguard.testing import acting_as, pytest_plugin
from tests.fastapi.users import guarded
from tests.support.markdown import DOCS, README, code_block, code_blocks
from tests.support.tokens import public_pem, rsa_key

QUICK_START = code_blocks("python", README)[0]
CHECKS = code_block("guide/rules.md", "async def known")
LOCKS = code_block("guide/locks.md", "NOT_OWNER")


def _run(code: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(compile(code, "docs", "exec", dont_inherit=True), names)
    return names


@pytest.mark.block("guide/principal.md", "keycloak")
def test_the_issuer_block_builds_an_issuer() -> None:
    """The issuer has roles from two nested claims, and keys from a given key set."""
    assert isinstance(_run(code_block("guide/principal.md", "keycloak"))["keycloak"], Issuer)


@pytest.mark.block("schemes/bearer.md", "Issuer.discover")
def test_the_key_servers_block_builds_a_scheme(monkeypatch: pytest.MonkeyPatch) -> None:
    """Building the scheme fetches nothing."""
    monkeypatch.setenv("INTROSPECTION_SECRET", "s3cret")

    bearer = _run(code_block("schemes/bearer.md", "Issuer.discover"))["bearer"]

    assert sorted(bearer.health()["clocks"]) == ["https://id.partner.example", "https://sso.example/realms/shop"]
    assert [each["fetches"] for each in bearer.health()["keys"]] == [0, 0]


@pytest.mark.block("schemes/basic.md", "HtpasswdFile")
def test_the_passwords_block_builds_a_guard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The guard is built from the named files."""
    (tmp_path / "users.htpasswd").write_text("alice:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=\n")
    (tmp_path / "users.groups").write_text("admin: alice\n")
    monkeypatch.chdir(tmp_path)

    assert [scheme.name for scheme in _run(code_block("schemes/basic.md", "HtpasswdFile"))["guard"].schemes] == [
        "basic"
    ]


@pytest.mark.block("schemes/digest.md", '["DIGEST_SECRET"]))')
def test_the_digest_block_builds_a_guard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The guard is built from a file as the named command writes it."""
    line = f"alice:cameras:{digest_ha1('alice', 'cameras', 'wonderland')}\n"
    (tmp_path / "users.htdigest").write_text(line)
    (tmp_path / "users.groups").write_text("operator: alice\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DIGEST_SECRET", "a secret of thirty-two octets or so")

    (digest,) = _run(code_block("schemes/digest.md", '["DIGEST_SECRET"]))'))["guard"].schemes

    assert digest.roles_given() == {"operator"}


@pytest.mark.block("guide/rules.md", "/reports/{id}")
def test_the_rules_block_builds_a_table_that_is_accepted() -> None:
    """The rules neither contradict each other nor repeat a pattern."""
    from authguard.policy.rules import RuleTable

    rules = _run(code_block("guide/rules.md", "/reports/{id}"))["rules"]

    assert all(isinstance(rule, Rule) for rule in rules)
    assert RuleTable(rules).rules == tuple(rules)


@pytest.mark.block("guide/rules.md", "async def known")
async def test_the_check_block_denies_and_enriches() -> None:
    """The check denies unknown users, and adds the roles of known ones."""
    known = _run(CHECKS)["known"]

    assert (await known(None, Principal("alice", roles={"admin"}))).roles == {"admin", "editor"}
    assert (await known(None, Principal("mallory"))).reason == Reason("user.removed", 403)


@pytest.mark.block("guide/locks.md", "NOT_OWNER")
def test_the_locks_block_locks_as_it_says() -> None:
    """The locks work in dependencies, in an endpoint, behind PUBLIC and on a router, and OpenAPI documents them."""
    app: FastAPI = _run(LOCKS)["app"]
    guard = guarded([Rule("/greeting", PUBLIC)])
    install(app, guard)

    def asked(path: str, who: Principal | None, method: str = "GET") -> tuple[int, Any]:
        with acting_as(guard, who):
            answer = TestClient(app).request(method, path)
        return answer.status_code, answer.json() if answer.is_success else answer.json()["code"]

    bob, cashier, editor = Principal("bob"), Principal("eve", roles={"cashier"}), Principal("ann", roles={"editor"})
    assert asked("/orders/5/refund", bob, "POST") == (403, "forbidden")
    assert asked("/orders/5/refund", cashier, "POST") == (200, {"refunded": 5, "by": "eve"})
    assert asked("/orders/5", bob) == (200, {"order": 5})
    assert asked("/orders/5", cashier) == (403, "forbidden")
    assert [asked("/greeting", who)[1] for who in (None, bob)] == ["hello", "hello bob"]
    assert [asked("/news", who)[1] for who in (bob, editor)] == [["news"], ["news", "drafts"]]
    assert app.openapi()["paths"]["/greeting"]["get"]["security"] == [{"bearer": []}, {"basic": []}, {}]
    with acting_as(guard, cashier), TestClient(app).websocket_connect("/tills/3") as till:
        assert till.receive_text() == "eve is at till 3"
    with acting_as(guard, bob), pytest.raises(WebSocketDenialResponse):
        TestClient(app).websocket_connect("/tills/3").__enter__()


@pytest.mark.block("guide/open-routes.md", "assert_closed")
def test_the_open_block_fails_for_a_route_that_is_added(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test of the block passes only while the public routes are those that it lists."""
    from authguard import AUTHENTICATED, PUBLIC, Guard
    from authguard.fastapi import docs, install
    from tests.support.schemes.badge import Badge

    app, opened = FastAPI(), [Rule("/health", PUBLIC), Rule("/login", PUBLIC, methods={"POST"})]
    app.get("/health")(app.post("/login")(lambda: None))
    guard = Guard(Badge(), rules=[*opened, *docs(app, AUTHENTICATED)])
    install(app, guard)
    monkeypatch.setitem(sys.modules, "shop", ModuleType("shop"))
    vars(sys.modules["shop"]).update(app=app, guard=guard)
    written = _run(code_block("guide/open-routes.md", "assert_closed"))["test_nothing_else_is_open"]

    written()
    app.get("/late")(lambda: None)

    with pytest.raises(AssertionError, match="GET /late: no rule names it and no lock is on it"):
        written()


@pytest.mark.block("guide/logs.md", "basicConfig")
def test_the_logging_block_makes_info_visible() -> None:
    """With its two lines, missing credentials are logged too."""
    logger = logging.getLogger("authguard")
    before = logger.level
    try:
        _run(code_block("guide/logs.md", "basicConfig"))

        assert logger.isEnabledFor(logging.INFO)
    finally:
        logger.setLevel(before)


@pytest.mark.block("guide/logs.md", "ExtraAdder")
def test_the_structlog_block_takes_the_facts_over() -> None:
    """The processor of structlog copies the facts that a record carries as ``extra``."""
    record = logging.makeLogRecord({"authguard.reason": "token.expired", "msg": "denied"})
    first = _run(code_block("guide/logs.md", "ExtraAdder"))["processors"][0]

    assert first(None, "warning", {"_record": record, "event": "denied"})["authguard.reason"] == "token.expired"


@pytest.mark.block("guide/testing.md", "test_users_are_for_admins")
def test_the_testing_block_tests_the_quick_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test of the block passes for the quick start of the README."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "public.pem").write_bytes(public_pem(rsa_key()))
    orders = ModuleType("orders")
    vars(orders).update(_run(QUICK_START))
    monkeypatch.setitem(sys.modules, "orders", orders)

    _run(code_block("guide/testing.md", "test_users_are_for_admins"))["test_users_are_for_admins"]()


def test_the_guide_names_the_fixtures_of_the_plugin() -> None:
    """The page about tests lists exactly the fixtures of the plugin."""
    _, _, rest = (DOCS / "guide/testing.md").read_text("utf-8").partition("pytest finds the fixtures ")
    fixtures = [name for name, value in vars(pytest_plugin).items() if hasattr(value, "_fixture_function_marker")]

    assert fixtures == re.findall(r"`(\w+)`", rest.partition(".")[0])


def test_every_reason_is_listed_with_its_status() -> None:
    """The page about responses lists the reasons of reasons.py in the same order."""
    known = [value for value in vars(reasons).values() if isinstance(value, Reason)]
    text = (DOCS / "guide/responses.md").read_text("utf-8")
    listed = re.findall(r"^\| `([a-z_.]+)` \| (\d+) \|", text, re.MULTILINE)

    assert [(reason.code, str(reason.status)) for reason in known] == listed


def test_every_finding_is_listed() -> None:
    """The page about what is open lists the codes of the audit in their order."""
    text = (DOCS / "guide/open-routes.md").read_text("utf-8")

    assert re.findall(r"^\| `([a-z._]+)` \|", text, re.MULTILINE) == list(CODES)


@pytest.mark.parametrize(("name", "block"), [("quick_start", QUICK_START), ("checks", CHECKS), ("locks", LOCKS)])
def test_the_type_checkers_read_the_block(name: str, block: str) -> None:
    """The block is a file of the type tests, word for word below a docstring."""
    typed = (Path(__file__).parents[1] / "typing" / f"{name}.py").read_text(encoding="utf-8")

    assert typed.partition("\n\n")[2] == block
