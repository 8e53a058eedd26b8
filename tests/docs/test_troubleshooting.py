"""The page about troubleshooting is true: each symptom is caused here, and writes the records that the page shows.

A line of the page has its words, in order, in the line of the record. So a record may say more than the page does.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.testclient import TestClient, WebSocketDenialResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from authguard import (
    PEM,
    PUBLIC,
    Account,
    Basic,
    Bearer,
    Digest,
    DigestAccount,
    Guard,
    Issuer,
    MemoryDigests,
    MemoryUsers,
    Principal,
    RemoteJWKS,
    Rule,
    claim,
    digest_ha1,
    role,
    via,
)
from authguard.fastapi import CurrentPrincipal, docs, install
from authguard.keys import FetchFailed
from authguard.testing import ManualClock, acting_as, basic_auth, digest_auth
from tests.examples.callers import hash_of
from tests.support.clock import NOW
from tests.support.markdown import DOCS
from tests.support.tokens import mint, public_pem, rsa_key

pytestmark = pytest.mark.block("troubleshooting.md")

PAGE = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
ISSUER, API = "https://shop.eu.auth0.com/", "https://api.shop.example"


def sections() -> dict[str, str]:
    """The text of each symptom, by its heading."""
    _, *parts = re.split(r"^## (.+)\n", PAGE, flags=re.MULTILINE)
    return dict(zip(parts[::2], parts[1::2], strict=True))


SECTIONS = sections()


def shown(heading: str) -> list[str]:
    """The lines of records that the page shows for a symptom."""
    found = re.findall(r"^```text\n(.*?)^```$", SECTIONS[heading], re.DOTALL | re.MULTILINE)
    return [line for block in found for line in block.splitlines()]


def words(line: str) -> list[str]:
    """The words of a line. A token has another fingerprint in each run."""
    return re.findall(r'(?:[^\s"\[]|"[^"]*"|\[[^\]]*\])+', re.sub(r"token=\w+", "token=", line))


def has_words(line: str, wanted: str) -> bool:
    """Whether the words of ``wanted`` are in the line, in this order."""
    rest = iter(words(line))
    return all(word in rest for word in words(wanted))


# --- The app that is asked -------------------------------------------------------------------------------------------


def bearer(**options: Any) -> Bearer:
    """The scheme of the page's app, with the issuer of an Auth0 tenant."""
    given = {"audience": API, "algorithms": ["RS256"], "keys": PEM(public_pem(rsa_key())), **options}
    return Bearer(Issuer(ISSUER, **given), realm="shop")


def guard_of(*schemes: Any, **options: Any) -> Guard:
    """A guard whose clock stands still."""
    rules = [Rule("/health", PUBLIC), Rule("/admin/**", role("admin"))]
    return Guard(*(schemes or (bearer(),)), **{"rules": rules, "clock": lambda: NOW, **options})


def app_of(guard: Guard | None = None, **options: Any) -> FastAPI:
    """The app of the page."""
    app = FastAPI(**options)
    install(app, guard or guard_of())

    @app.api_route("/orders", methods=["GET", "POST"])
    def orders(principal: CurrentPrincipal) -> str:
        return principal.subject

    @app.get("/admin/users")
    def users() -> str:
        return "all"

    @app.websocket("/live")
    async def live(websocket: Any) -> None:
        raise AssertionError

    return app


def token(**changes: Any) -> str:
    """A token that the app accepts, with these changes."""
    key = changes.pop("key", rsa_key())
    return mint(key, headers=changes.pop("headers", None), **{"iss": ISSUER, "aud": API, "roles": [], **changes})


def with_token(**changes: Any) -> dict[str, str]:
    """The header with such a token."""
    return {"Authorization": f"Bearer {token(**changes)}"}


def get(path: str = "/orders", app: ASGIApp | None = None, **options: Any) -> Any:
    """The response of the app to one request from 203.0.113.7."""
    client = TestClient(app or app_of(), client=("203.0.113.7", 50000), raise_server_exceptions=False)
    return client.request(options.pop("method", "GET"), path, **options)


# --- The symptoms ----------------------------------------------------------------------------------------------------


def _expired() -> None:
    get(headers=with_token(exp=NOW - 64))
    get(headers=with_token(exp=NOW - 4))
    get(headers=with_token(iat=NOW + 90))


def _issuer_by_a_slash() -> None:
    get(headers=with_token(iss=ISSUER.rstrip("/")))


def _audience() -> None:
    get(headers=with_token(aud=f"{API}/"))
    get(headers={"Authorization": "Bearer kVqQ3Qn6Jm0w2Xr7"})
    get(headers=with_token(aud=...))


def _role_not_found() -> None:
    get("/admin/users", app_of(guard_of(bearer(roles=claim("roles")))), headers=with_token(roles=..., realm_access={}))


def _signature() -> None:
    get(headers=with_token(key=rsa_key(which=1)))


def _missing_header() -> None:
    get()
    get(headers={"X-Forwarded-Authorization": f"Bearer {token()}"})
    get(headers={"Authorization": "Basic YWxpY2U6YQ=="})


def _doubled() -> None:
    value = f"Bearer {token()}"
    get(headers=[("Authorization", value), ("Authorization", value)])
    get(headers={"Authorization": f"{value}, {value}"})


def _redirected() -> None:
    """A proxy takes TLS away, and the server does not know of it."""
    app = app_of()

    async def without_tls(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, "scheme": "http"}, receive, send)

    client = TestClient(without_tls, base_url="https://api.shop.example", client=("203.0.113.7", 50000))
    assert client.get("/orders/", headers={"X-Forwarded-Proto": "https", **with_token()}).status_code == 401


PREFLIGHT = {
    "Origin": "https://app.example",
    "Access-Control-Request-Method": "GET",
    "Access-Control-Request-Headers": "authorization",
}


def _preflight() -> None:
    assert get(method="OPTIONS", headers=PREFLIGHT).status_code == 401
    app = app_of()
    app.add_middleware(CORSMiddleware, allow_origins=["https://app.example"], allow_headers=["Authorization"])
    assert get(app=app, method="OPTIONS", headers=PREFLIGHT).status_code == 200


def _cors_inside() -> None:
    """The guard is added last, so that CORSMiddleware is inside."""
    app = FastAPI()
    app.add_middleware(CORSMiddleware, allow_origins=["https://app.example"])
    install(app, guard_of())
    answer = get(app=app, headers={"Origin": "https://app.example"})
    assert "access-control-allow-origin" not in answer.headers


def _websocket() -> None:
    client = TestClient(app_of(), client=("203.0.113.7", 50000))
    for offered in ([], ["bearer", token()]):
        with pytest.raises(WebSocketDenialResponse):
            client.websocket_connect("/live", subprotocols=offered or None).__enter__()


def _closed_docs() -> None:
    get("/docs")
    app = FastAPI()
    install(app, guard_of(rules=[*docs(app)]))
    assert get("/docs", app).status_code == 200


def _basic() -> Basic:
    return Basic(MemoryUsers([Account("alice", hash_of("a"))]), realm="shop")


def _popup() -> None:
    answer = get(app=app_of(guard_of(bearer(), _basic())))
    assert [one.partition(" ")[0] for one in answer.headers.get_list("www-authenticate")] == ["Bearer", "Basic"]


def _foreign_origin() -> None:
    app = app_of(guard_of(_basic()))
    sent = {**basic_auth("alice", "a"), "Host": "app:8000", "Origin": "https://shop.example"}
    get(app=app, method="POST", headers=sent)


def _guessed() -> None:
    app = app_of(guard_of(_basic(), monotonic=ManualClock(), clock=ManualClock()))
    for _ in range(11):
        get(app=app, headers=basic_auth("alice", "guess"))


def _outages() -> None:
    async def down(url: str) -> bytes:
        raise FetchFailed("it cannot be reached")

    keys = RemoteJWKS("https://shop.eu.auth0.com/.well-known/jwks.json", fetch=down)
    get(app=app_of(guard_of(bearer(keys=keys))), headers=with_token(headers={"kid": "1"}))

    async def broken(request: Any, principal: Principal) -> Principal:
        raise LookupError

    get(app=app_of(guard_of(checks=[broken])), headers=with_token())


def _ambiguous_paths() -> None:
    get("/api//orders", headers=with_token())
    app = app_of()
    app.mount("/files", FastAPI())

    async def below_a_prefix(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, "root_path": "/api"} if scope["type"] == "http" else scope, receive, send)

    get("/files/a.txt", below_a_prefix, headers=with_token())


def _digest_behind_a_prefix() -> None:
    account = DigestAccount("alice", digest_ha1("alice", "shop", "a"))
    scheme = Digest(MemoryDigests([account], realm="shop"), realm="shop", secret="a secret of thirty-two octets or so")
    app = app_of(guard_of(scheme))
    challenge = get(app=app).headers["www-authenticate"]
    get(app=app, headers=digest_auth(challenge, "alice", "a", uri="/api/orders"))


def _in_tests() -> None:
    app = app_of(guard := guard_of())
    with acting_as(guard, Principal("alice")):
        assert get(app=app).json() == "alice"
    get(app=app)


#: What causes each symptom of the page.
SYMPTOMS: Mapping[str, Callable[[], None]] = {
    "The token expired seconds ago": _expired,
    "The issuer differs by a slash": _issuer_by_a_slash,
    "The token is for another audience": _audience,
    "The signature is invalid": _signature,
    "The role is in the token, and not found": _role_not_found,
    "The header never arrives": _missing_header,
    "A redirect drops the header": _redirected,
    "The header arrives twice": _doubled,
    "The preflight fails": _preflight,
    "A script cannot read the refusal": _cors_inside,
    "A WebSocket from a browser": _websocket,
    "The browser asks for a password": _popup,
    "A browser is refused as a foreign origin": _foreign_origin,
    "Swagger UI is closed": _closed_docs,
    "The path is ambiguous": _ambiguous_paths,
    "Digest fails behind a proxy": _digest_behind_a_prefix,
    "Too many attempts": _guessed,
    "The response is 503": _outages,
    "Tests are refused": _in_tests,
}


@pytest.mark.parametrize("heading", SYMPTOMS)
def test_the_records_are_those_of_the_page(heading: str, caplog: pytest.LogCaptureFixture) -> None:
    """What causes the symptom writes each line that the page shows."""
    caplog.set_level(logging.DEBUG, "authguard")

    SYMPTOMS[heading]()

    written = [record.getMessage() for record in caplog.records if record.name == "authguard"]
    assert [line for line in shown(heading) if not any(has_words(one, line) for one in written)] == []


def test_each_symptom_is_caused() -> None:
    """Every section is caused above, and only the last, about an empty log, shows no record."""
    assert [heading for heading in SECTIONS if heading not in SYMPTOMS] == ["Nothing is in the log"]
    assert [heading for heading in SYMPTOMS if not shown(heading)] == []


def test_each_symptom_says_why_and_what_to_do() -> None:
    """Each section with a record has both."""
    assert [
        heading for heading in SYMPTOMS if not all(f"**{one}**" in SECTIONS[heading] for one in ("Why.", "What to do."))
    ] == []


def test_the_table_leads_to_each_symptom() -> None:
    """The table at the top links every section but the last, which is linked above it."""
    top = PAGE.partition("\n## ")[0]
    anchors = [re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in SECTIONS]

    assert [anchor for anchor in anchors if f"(#{anchor})" not in top] == []


def test_cors_outside_of_the_guard_is_the_way_of_the_page() -> None:
    """With the function of the page, the preflight is answered, and a refusal has the fields that a script needs."""
    names: dict[str, Any] = {}
    (program,) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    exec(compile(program, "troubleshooting.md", "exec", dont_inherit=True), names)
    app = FastAPI()
    names["protect"](app, guard_of())

    asked = get(app=app, method="OPTIONS", headers=PREFLIGHT)
    refused = get(app=app, headers={"Origin": "https://app.example"})

    assert (asked.status_code, asked.headers["access-control-allow-headers"]) == (
        200,
        "Accept, Accept-Language, Authorization, Content-Language, Content-Type",
    )
    assert (refused.status_code, refused.headers["access-control-expose-headers"]) == (401, "WWW-Authenticate")
    assert refused.headers["access-control-allow-origin"] == "https://app.example"


def test_a_route_for_scripts_has_no_challenge_of_a_dialog() -> None:
    """With ``default=via("bearer")`` the only challenge is Bearer, as the page says."""
    app = app_of(guard_of(bearer(), _basic(), default=via("bearer")))

    assert get(app=app).headers.get_list("www-authenticate") == ['Bearer realm="shop"']


def test_a_token_in_the_query_is_not_read(caplog: pytest.LogCaptureFixture) -> None:
    """A good token in ``access_token`` is a 401, and the record names the parameter as the page does."""
    caplog.set_level(logging.INFO, "authguard")

    assert get(f"/orders?access_token={token()}").status_code == 401
    (said,) = re.findall(r'`(found_in=\["query access_token"\])`', PAGE)
    assert caplog.messages[-1].endswith(said)


def test_words_are_compared_in_order() -> None:
    """A line may have more words than the page, and none less."""
    assert has_words("denied a.b: GET / 401 x=1 y=[a, b] token=12ab", "denied a.b: GET / 401 y=[a, b] token=ffff")
    assert not has_words("denied a.b: GET / 401 x=1", "denied a.b: GET / 401 x=2")
