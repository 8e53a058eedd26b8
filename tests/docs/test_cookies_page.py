"""The page about cookies is true: its tables, its program, and the warning that it shows."""

from __future__ import annotations

import re
import time
from types import ModuleType
from typing import Any

import pytest
from starlette.responses import Response
from starlette.testclient import TestClient

import authguard
from authguard import Bearer, Guard, Header
from authguard.testing import recording
from tests.asgi.test_other_carriers import app as answering
from tests.docs.pages import run_program
from tests.support.asgi import http_scope, run_app
from tests.support.guards import RecordingGuard
from tests.support.markdown import DOCS, code_blocks
from tests.support.schemes.badge import Badge
from tests.support.schemes.bearer import bearer
from tests.support.tokens import mint, public_pem, rsa_key

pytestmark = pytest.mark.block("schemes/cookies.md")

PAGE = DOCS / "schemes" / "cookies.md"
TEXT = PAGE.read_text("utf-8")
SHOP, ATTRIBUTES = code_blocks("python", PAGE)
(WARNING,) = code_blocks("text", PAGE)
COOKIE = "__Host-session-token"

#: The cells of a carrier's row: the carrier, what it reads, the challenge, and where OpenAPI says that it is.
CARRIERS = re.findall(r"^\| `(\w+\(.+?\))` \| (.+?) \| `(.+?)` \| `apiKey` in `(\w+)` \|$", TEXT, re.MULTILINE)
#: The cells of a decision: what the request has, what the route accepts, and the answer.
DECISIONS = re.findall(
    r"^\| (an? .+?|two .+?) \| (both|.+? alone) \| (\d+)(?: `([\w.]+)`|, by the (\w+)) \|$", TEXT, re.MULTILINE
)


@pytest.fixture(name="shop")
def _shop(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setenv("ISSUER_PUBLIC_KEY", public_pem(rsa_key()).decode())
    return run_program("schemes/cookies", SHOP, "shop")


def token(**changes: Any) -> str:
    """A token that is valid by the real clock."""
    now = time.time()
    return mint(rsa_key(), **{"iat": now - 60, "exp": now + 600, **changes})


def test_the_tables_are_read() -> None:
    """No row of the two tables escapes the tests below."""
    assert (len(CARRIERS), len(DECISIONS)) == (6, 9)


@pytest.mark.parametrize(("code", "reads", "challenge", "place"), CARRIERS, ids=[row[0] for row in CARRIERS])
async def test_each_carrier_is_named_as_the_table_says(code: str, reads: str, challenge: str, place: str) -> None:
    """The challenge and OpenAPI of each carrier are those of its row."""
    scheme = bearer(
        carrier=eval(code, vars(authguard) | {name: getattr(authguard, name) for name in authguard.__all__})
    )
    exchange = await run_app(RecordingGuard(scheme).wrap(answering()), http_scope("/"))

    assert [value.decode() for name, value in exchange.headers if name == b"www-authenticate"] == [challenge]
    assert (scheme.openapi["type"], scheme.openapi["in"]) == ("apiKey", place)


def test_the_program_tells_the_two_places_apart(shop: ModuleType) -> None:
    """A browser with the cookie and a program with the header get the same orders, by another scheme."""
    client = TestClient(shop.app)

    by_cookie = client.get("/orders", headers={"Cookie": f"{COOKIE}={token()}"})
    by_header = client.get("/orders", headers={"Authorization": f"Bearer {token()}"})

    assert by_cookie.json() == {"orders of": "alice", "by": "web"}
    assert by_header.json() == {"orders of": "alice", "by": "bearer"}


def _sent(description: str) -> dict[str, str]:
    """The fields of a request that is described so."""
    fields: dict[str, str] = {}
    old = token(exp=time.time() - 3600)
    if "token in `Authorization`" in description:
        fields["Authorization"] = f"Bearer {old if 'expired token' in description else token()}"
    if "two cookies" in description and "expired" not in description:
        fields["Cookie"] = f"{COOKIE}={token()}; {COOKIE}=x"
    elif "cookie" in description:
        fields["Cookie"] = f"{COOKIE}={old if 'expired cookie' in description else token()}"
    if "X-API-Key" in description:
        fields["X-API-Key"] = "alice"
    return fields


@pytest.mark.parametrize("row", DECISIONS, ids=lambda row: f"{row[0]}, {row[1]}")
def test_each_decision_is_that_of_the_table(row: tuple[str, ...], shop: ModuleType) -> None:
    """Which of two credentials counts, and what is answered, is as its row says."""
    description, accepted, status, reason, by = row
    web = Bearer(shop.issuer, realm="orders", carrier=authguard.Cookie(COOKIE), name="web")
    schemes: list[Any] = [Bearer(shop.issuer, realm="orders"), web]
    if "X-API-Key" in description:
        schemes.append(Badge("key", carrier=Header("X-API-Key")))
    default = {"both": authguard.AUTHENTICATED, "the cookie alone": authguard.via("web")}
    guard = Guard(*schemes, default=default.get(accepted, authguard.via("bearer")))

    with recording(guard) as records:
        answer = TestClient(authguard.AuthGuardMiddleware(answering(), guard=guard)).get(
            "/", headers=_sent(description)
        )

    (record,) = records
    expected = {"token": "bearer", "cookie": "web"}.get(by, "")
    assert (str(answer.status_code), record.reason or "") == (status, reason)
    assert not by or record.scheme == expected


async def test_the_functions_set_and_remove_the_cookie_safely(caplog: pytest.LogCaptureFixture) -> None:
    """No attribute is missing in either line, and without ``httponly`` the guard warns as the page shows it."""
    functions = run_program("schemes/cookies", ATTRIBUTES)
    guard = RecordingGuard(Badge(carrier=authguard.Cookie(COOKIE)), rules=[authguard.Rule("/**", authguard.PUBLIC)])
    response = Response()
    functions.log_in(response, "eyJ")
    functions.log_out(response)
    await run_app(guard.wrap(response), http_scope("/"))
    assert caplog.messages == []

    response = Response()
    response.set_cookie(COOKIE, "eyJ", secure=True, samesite="lax", path="/")
    await run_app(guard.wrap(response), http_scope("/"))
    assert caplog.messages == [WARNING.strip()]
