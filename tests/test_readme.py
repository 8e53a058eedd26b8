"""The README is true: its code runs, its log lines are those of authguard, and its list of reasons is complete."""

from __future__ import annotations

import logging
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import jwt
import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient, WebSocketDenialResponse

from authguard import PUBLIC, Issuer, Principal, Reason, Rule, digest_ha1, reasons
from authguard.fastapi import install
from authguard.testing import acting_as, pytest_plugin
from tests.fastapi.users import guarded
from tests.support.markdown import README, code_blocks
from tests.support.tokens import public_pem, rsa_key

QUICK_START, CLAIMS, SERVERS, PASSWORDS, DIGEST, RULES, CHECKS, LOCKS, OPEN, LOGGING, STRUCTLOG, TESTING = code_blocks(
    "python"
)


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
    """/health is public, other paths need a token, the app knows the caller, and /users is for admins."""
    health = client.get("/health")
    anonymous = client.get("/orders")
    alice = client.get("/orders", headers={"authorization": f"Bearer {_token()}"})
    bob = client.get("/admin/users", headers={"authorization": f"Bearer {_token(sub='bob')}"})
    admin = client.get("/admin/users", headers={"authorization": f"Bearer {_token(roles=['admin'])}"})

    assert health.status_code == 200
    assert (anonymous.status_code, anonymous.headers["www-authenticate"]) == (401, 'Bearer realm="orders"')
    assert (alice.status_code, alice.json()) == (200, {"orders of": "alice"})
    assert [bob.status_code, admin.status_code] == [403, 200]


def test_an_expired_token_is_answered_as_the_readme_shows(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    """The challenge is the printed one, and so is the log line, apart from its numbers."""
    import time

    (shown,) = (block for block in code_blocks("text") if "denied token.expired" in block)
    *head, line = shown.strip().splitlines()

    response = client.get("/admin/users", headers={"authorization": f"Bearer {_token(exp=time.time() - 64)}"})

    assert f"www-authenticate: {response.headers['www-authenticate']}" in head
    assert f"cache-control: {response.headers['cache-control']}" in head
    assert _without_figures(line) == _without_figures(caplog.messages[-1])


def _without_figures(line: str) -> str:
    return re.sub(r"token=\w+", "token=", re.sub(r"=[\d.]+s", "=s", line))


def test_the_issuer_block_builds_an_issuer() -> None:
    """The issuer has roles from two nested claims, and keys from a given key set."""
    assert isinstance(_run(CLAIMS)["keycloak"], Issuer)


def test_the_key_servers_block_builds_a_scheme(monkeypatch: pytest.MonkeyPatch) -> None:
    """Building the scheme fetches nothing."""
    monkeypatch.setenv("INTROSPECTION_SECRET", "s3cret")

    bearer = _run(SERVERS)["bearer"]

    assert sorted(bearer.health()["clocks"]) == ["https://id.partner.example", "https://sso.example/realms/shop"]
    assert [each["fetches"] for each in bearer.health()["keys"]] == [0, 0]


def test_the_digest_block_builds_a_guard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The guard is built from a file as the named command writes it."""
    line = f"alice:cameras:{digest_ha1('alice', 'cameras', 'wonderland')}\n"
    (tmp_path / "users.htdigest").write_text(line)
    (tmp_path / "users.groups").write_text("operator: alice\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DIGEST_SECRET", "a secret of thirty-two octets or so")

    (digest,) = _run(DIGEST)["guard"].schemes

    assert digest.roles_given() == {"operator"}


def test_the_passwords_block_builds_a_guard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The guard is built from the named files."""
    (tmp_path / "users.htpasswd").write_text("alice:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=\n")
    (tmp_path / "users.groups").write_text("admin: alice\n")
    monkeypatch.chdir(tmp_path)

    assert [scheme.name for scheme in _run(PASSWORDS)["guard"].schemes] == ["basic"]


def test_the_rules_block_builds_a_table_that_is_accepted() -> None:
    """The rules neither contradict each other nor repeat a pattern."""
    from authguard.policy.rules import RuleTable

    rules = _run(RULES)["rules"]

    assert all(isinstance(rule, Rule) for rule in rules)
    assert RuleTable(rules).rules == tuple(rules)


async def test_the_check_block_denies_and_enriches() -> None:
    """The check denies unknown users, and adds the roles of known ones."""
    known = _run(CHECKS)["known"]

    assert (await known(None, Principal("alice", roles={"admin"}))).roles == {"admin", "editor"}
    assert (await known(None, Principal("mallory"))).reason == Reason("user.removed", 403)


def test_the_quick_start_adds_eight_lines_to_the_app() -> None:
    """Eight lines remain without FastAPI, the app and its endpoints."""
    own = ("from fastapi import", "app = FastAPI(", "@app.", "def ", "    ")

    added = [line for line in QUICK_START.splitlines() if line and not line.startswith(own)]

    assert len(added) <= 8


@pytest.mark.parametrize(("name", "block"), [("quick_start", QUICK_START), ("checks", CHECKS), ("locks", LOCKS)])
def test_the_type_checkers_read_the_block(name: str, block: str) -> None:
    """The block is a file of the type tests, word for word below a docstring."""
    typed = (Path(__file__).parent / "typing" / f"{name}.py").read_text(encoding="utf-8")

    assert typed.partition("\n\n")[2] == block


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
    written = _run(OPEN)["test_nothing_else_is_open"]

    written()
    app.get("/late")(lambda: None)

    with pytest.raises(AssertionError, match="GET /late: no rule names it and no lock is on it"):
        written()


def test_the_logging_block_makes_info_visible() -> None:
    """With its two lines, missing credentials are logged too."""
    logger = logging.getLogger("authguard")
    before = logger.level
    try:
        _run(LOGGING)

        assert logger.isEnabledFor(logging.INFO)
    finally:
        logger.setLevel(before)


def test_the_structlog_block_takes_the_facts_over() -> None:
    """The processor of structlog copies the facts that a record carries as ``extra``."""
    record = logging.makeLogRecord({"authguard.reason": "token.expired", "msg": "denied"})
    first = _run(STRUCTLOG)["processors"][0]

    assert first(None, "warning", {"_record": record, "event": "denied"})["authguard.reason"] == "token.expired"


def test_the_testing_block_tests_the_quick_start(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests of the block pass for the quick start."""
    orders = ModuleType("orders")
    vars(orders).update(_run(QUICK_START))
    monkeypatch.setitem(sys.modules, "orders", orders)

    _run(TESTING)["test_users_are_for_admins"]()


def test_the_readme_names_the_fixtures_of_the_plugin() -> None:
    """The README lists exactly the fixtures of the plugin."""
    _, _, rest = README.read_text(encoding="utf-8").partition('pytest_plugin"]` gives the fixtures ')
    fixtures = [name for name, value in vars(pytest_plugin).items() if hasattr(value, "_fixture_function_marker")]

    assert fixtures == re.findall(r"`(\w+)`", rest.partition(".")[0])


def test_every_reason_is_listed_with_its_status() -> None:
    """The README lists the reasons of reasons.py in the same order."""
    known = [value for value in vars(reasons).values() if isinstance(value, Reason)]
    listed = re.findall(r"^\| `([a-z_.]+)` \| (\d+) \|", README.read_text(encoding="utf-8"), re.MULTILINE)

    assert [(reason.code, str(reason.status)) for reason in known] == listed
