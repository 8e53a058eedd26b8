"""What a guard serves itself: the metadata of a protected resource, public, at their own path."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from starlette.testclient import TestClient

from authguard import (
    PUBLIC,
    AuthGuardMiddleware,
    Bearer,
    ConfigurationError,
    Guard,
    ProtectedResource,
    Rule,
    role,
    scopes,
)
from authguard.fastapi import install, requires
from authguard.schemes import Published
from authguard.starlette import assert_closed, audit
from tests.support.asgi import RecordingApp, http_scope, run_app, websocket_scope
from tests.support.schemes.badge import Badge
from tests.support.schemes.bearer import issuer

URL = "https://api.example/orders"
PATH = "/.well-known/oauth-protected-resource/orders"


def resource(url: str = URL) -> ProtectedResource:
    """The metadata of the orders API."""
    return ProtectedResource(url, authorization_servers=["https://login.example"])


def guarded(*rules: Rule, url: str = URL, **options: Any) -> Guard:
    """A guard that publishes these metadata."""
    return Guard(Bearer(issuer(), realm="orders", resource=resource(url)), rules=rules, **options)


async def _hello(request: Request) -> PlainTextResponse:
    return PlainTextResponse("hello")


def app(guard: Guard, *more: Middleware, **options: Any) -> Starlette:
    """An app whose every path answers, behind this guard."""
    routes = [Route("/{rest:path}", _hello, methods=["GET", "POST", "OPTIONS"])]
    return Starlette(routes=routes, middleware=[*more, Middleware(AuthGuardMiddleware, guard=guard, **options)])


@pytest.mark.rfc("9728-1")
def test_everybody_may_read_the_document() -> None:
    """9728-1, 9728-4: the metadata are answered with 200 and application/json, to any script, and may be cached."""
    answer = TestClient(app(guarded())).get(PATH)

    assert (answer.status_code, answer.json()["resource"]) == (200, URL)
    assert dict(answer.headers) == {
        "content-type": "application/json",
        "content-length": str(len(answer.content)),
        "access-control-allow-origin": "*",
        "cache-control": "public, max-age=3600",
    }


@pytest.mark.rfc("9728-1")
def test_head_is_get_without_a_body() -> None:
    """9110-11: HEAD of the metadata has the headers of GET and no body."""
    client = TestClient(app(guarded()))

    got, head = client.get(PATH), client.head(PATH)

    assert (head.status_code, head.content, dict(head.headers)) == (200, b"", dict(got.headers))


@pytest.mark.parametrize("path", [PATH, PATH + "/"])
def test_a_trailing_slash_is_the_same_path(path: str) -> None:
    """The path of the metadata with a trailing slash serves them too, as for a rule."""
    assert TestClient(app(guarded())).get(path).status_code == 200


def test_the_app_is_not_called_for_the_metadata() -> None:
    """The app is not called for the metadata path, and credentials in the request are ignored."""
    answer = TestClient(app(guarded())).get(PATH, headers={"Authorization": "Bearer nonsense"})

    assert answer.json()["authorization_servers"] == ["https://login.example"]


def test_no_other_path_is_public() -> None:
    """Other methods, neighbouring paths and the metadata path of the root stay protected."""
    client = TestClient(app(guarded()))

    assert [client.post(PATH).status_code, client.options(PATH).status_code] == [401, 401]
    others = [PATH + "/5", PATH + "x", "/.well-known/oauth-protected-resource", "/orders", PATH.upper()]
    assert [client.get(path).status_code for path in others] == [401] * 5


def test_the_rules_do_not_apply_to_the_metadata() -> None:
    """The metadata are public, whatever the rules require for the paths around them."""
    client = TestClient(app(guarded(Rule("/**", role("admin")))))

    assert [client.get(PATH).status_code, client.get("/x").status_code] == [200, 401]


@pytest.mark.rfc("9728-4")
def test_a_preflight_with_custom_fields_is_answered() -> None:
    """A CORS preflight is answered, because a client in a browser sends its protocol version in a field of its own."""
    fields = {"Origin": "https://app.example", "Access-Control-Request-Method": "GET"}

    answer = TestClient(app(guarded())).options(PATH, headers=fields)

    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["access-control-allow-headers"] == "*"
    assert answer.headers["access-control-allow-methods"] == "GET, HEAD"


def test_a_cors_middleware_outside_has_the_last_word() -> None:
    """With a CORS middleware outside of the guard, its CORS header is the only one in the response."""
    cors = Middleware(CORSMiddleware, allow_origins=["https://app.example"])

    answer = TestClient(app(guarded(), cors)).get(PATH, headers={"Origin": "https://app.example"})

    assert answer.headers.get_list("access-control-allow-origin") == ["https://app.example"]


@pytest.mark.rfc("9728-4")
def test_the_url_does_not_come_from_the_request() -> None:
    """9728-4: a forged Host changes neither the metadata nor the challenge."""
    client = TestClient(app(guarded()))
    fields = {"Host": "evil.example", "X-Forwarded-Host": "evil.example"}

    document, denied = client.get(PATH, headers=fields), client.get("/orders", headers=fields)

    assert document.json()["resource"] == URL
    assert denied.headers["www-authenticate"] == (
        f'Bearer realm="orders", resource_metadata="https://api.example{PATH}"'
    )


@pytest.mark.parametrize("path", [PATH, "/api" + PATH, "/api" + PATH + "/"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_server_that_puts_its_root_path_in_front_changes_nothing(path: str, method: str) -> None:
    """Uvicorn prefixes paths with its root path. The guard still serves its own path, and the app is not called
    for it."""
    inner = RecordingApp()

    answer = await run_app(AuthGuardMiddleware(inner, guard=guarded()), http_scope(path, method, root_path="/api"))

    assert (answer.status, inner.scopes) == (200, [])
    assert (b"content-type", b"application/json") in answer.headers


@pytest.mark.parametrize("root", ["/api", "/api/"])
def test_an_app_with_a_root_path_of_its_own_is_not_asked_either(root: str) -> None:
    """FastAPI sets its root path only behind the guard, and the guard still serves the metadata itself."""
    api = FastAPI()
    api.root_path = root
    install(api, guarded())

    @api.get("/{rest:path}")
    def everything(rest: str) -> str:
        return "the app: " + rest

    client = TestClient(api)
    answers = [client.get(path) for path in (PATH, "/api" + PATH)]

    assert answers[0].json()["resource"] == URL
    assert not [answer.text for answer in answers if "the app" in answer.text]


async def test_another_path_below_the_root_path_stays_closed() -> None:
    """Other paths below the root path stay protected, and so does one that only begins with the same characters."""
    guard = AuthGuardMiddleware(RecordingApp(), guard=guarded())
    answers = [await run_app(guard, http_scope(path, root_path="/api")) for path in ("/apix" + PATH, "/api/x" + PATH)]

    assert [answer.status for answer in answers] == [400, 401]


def test_behind_a_root_path_the_metadata_are_at_the_root_of_the_host() -> None:
    """If a proxy or another app mounts the app at /orders, the metadata path is still at the root of the host."""
    guard = guarded(Rule("/items", PUBLIC))
    inner = Starlette(routes=[Mount("/sub", Route("/x", _hello)), Route("/items", _hello)])
    client = TestClient(AuthGuardMiddleware(inner, guard=guard), root_path="/orders")

    assert client.get(PATH).status_code == 200
    assert client.get("/orders/items").status_code == 200


async def test_a_websocket_is_not_served_a_document() -> None:
    """A WebSocket handshake at the metadata path is denied."""
    answer = await run_app(AuthGuardMiddleware(app(guarded()), guard=guarded()), websocket_scope(PATH))

    assert answer.sent[0]["type"] == "websocket.close"


async def test_a_document_is_sent_once_and_whole() -> None:
    """Over ASGI the metadata are one start message and one body message."""
    answer = await run_app(AuthGuardMiddleware(app(guarded()), guard=guarded()), http_scope(PATH))

    assert [message["type"] for message in answer.sent] == ["http.response.start", "http.response.body"]
    assert json.loads(answer.sent[1]["body"])["resource"] == URL


def test_an_app_that_must_not_start_serves_nothing() -> None:
    """If ``strict`` keeps the app from starting, the metadata are not served either."""
    client = TestClient(app(guarded(Rule("/a/**", PUBLIC)), strict=True), raise_server_exceptions=False)

    assert client.get(PATH).status_code == 503


# --- where it is listed -----------------------------------------------------------------------------------------------


@pytest.mark.rfc("9728-1")
def test_the_rule_table_lists_the_metadata_as_public() -> None:
    """The rule table lists the metadata path as PUBLIC, with the source line of the scheme."""
    (rule,) = guarded().table.rules

    assert (str(rule), rule.location.startswith(__file__)) == (f"GET {PATH} PUBLIC", True)


def test_the_audit_lists_the_metadata_path() -> None:
    """The audit lists the metadata path as a route that its rule covers, with or without the guard in front."""
    guard = guarded(Rule("/**", role("admin")))
    bare = Starlette(routes=[Route("/orders", _hello)])
    recording_guard = Starlette(
        routes=[Route("/orders", _hello)], middleware=[Middleware(AuthGuardMiddleware, guard=guard)]
    )

    for report in (audit(recording_guard, guard), audit(bare, guard, ignore=["guard.absent"])):
        assert [(row.about, [str(requirement) for requirement, _ in row.requirements]) for row in report.rows] == [
            ("GET /orders", ["role(admin)"]),
            (f"GET {PATH}", ["PUBLIC"]),
        ]
        assert report.findings == ()
    table = str(audit(recording_guard, guard)).partition("\n\n")[0].replace("\n", "")
    assert __file__.rpartition("/")[2] in "".join(table.split())


def test_assert_closed_reports_the_metadata_path() -> None:
    """``assert_closed`` expects the metadata path in its list, like every public path."""
    guard = guarded(Rule("/**", role("admin")))
    closed = app(guard)

    assert_closed(closed, guard, public=[PATH])
    with pytest.raises(AssertionError, match="oauth-protected-resource"):
        assert_closed(closed, guard)


def test_an_inner_guard_does_not_serve_the_metadata() -> None:
    """A guard in a mounted app never sees requests to the root of the host, and the audit reports that its rule is
    unused."""
    inner = guarded(Rule("/**", role("admin")))
    outer = Guard(Badge(), rules=[Rule("/in/**", PUBLIC)])
    mounted = Starlette(routes=[Route("/x", _hello)], middleware=[Middleware(AuthGuardMiddleware, guard=inner)])
    whole = Starlette(routes=[Mount("/in", mounted)], middleware=[Middleware(AuthGuardMiddleware, guard=outer)])

    assert TestClient(whole).get(PATH).status_code == 401
    assert ("rule.unmet", f"GET {PATH}") in {(one.code, one.about) for one in audit(whole, outer).findings}


def test_a_rule_for_the_same_path_is_refused() -> None:
    """A rule for the metadata path raises, because there would be two rules for it."""
    with pytest.raises(ConfigurationError, match="is listed twice"):
        guarded(Rule(PATH, role("admin"), methods={"GET"}))


@pytest.mark.parametrize("path", ["/**", "/{tenant}", "/x/{rest:path}"])
def test_a_document_has_one_path(path: str) -> None:
    """A metadata path must not be a pattern: a pattern would also open paths of the app."""
    other = Badge()
    other.published = [Published(path, "text/plain", b"a badge")]

    with pytest.raises(ConfigurationError, match="is a pattern; a scheme must publish") as caught:
        Guard(other)

    assert caught.value.argument == "schemes"


class _OwnBadge:
    """A scheme that does not derive from ``Scheme``: it has the attributes of one, and a document, and no methods that
    are optional.
    """

    def __init__(self) -> None:
        self._badge = Badge()
        self.published = [Published("/.well-known/badge", "text/plain", b"a badge")]

    def __getattr__(self, name: str) -> Any:
        if name == "published_beside":
            raise AttributeError(name)
        return getattr(self._badge, name)


def test_a_scheme_that_derives_from_nothing_may_publish() -> None:
    """Its documents are served like those of any other."""
    scheme: Any = _OwnBadge()

    assert set(Guard(scheme).published) == {"/.well-known/badge", "/.well-known/badge/"}


def test_two_documents_at_one_path_are_refused() -> None:
    """Two schemes must not publish at the same path. One document for each path is accepted."""
    other = Badge()
    other.published = [Published("/.well-known/badge", "text/plain", b"a badge")]
    both = Guard(other, Bearer(issuer(), realm="orders", resource=resource()))
    assert TestClient(app(both)).get("/.well-known/badge").text == "a badge"
    other.published = [Published(PATH, "text/plain", b"a badge")]

    with pytest.raises(ConfigurationError, match="two schemes publish") as caught:
        Guard(other, Bearer(issuer(), realm="orders", resource=resource()))

    assert caught.value.argument == "schemes"


def test_a_guard_without_documents_has_no_rule_more() -> None:
    """A guard that publishes nothing adds no rule, and still reports an invalid ``rules`` argument."""
    assert Guard(Badge()).table.rules == ()
    with pytest.raises(ConfigurationError, match="is not a list of Rule"):
        guarded().__class__(Bearer(issuer(), realm="r", resource=resource()), rules=5)  # type: ignore[arg-type]


# --- this route's scope -----------------------------------------------------------------------------------------------


def test_a_challenge_names_what_its_route_asks() -> None:
    """RFC 6750 section 3: the challenge names the scopes of the rule, or of the lock behind PUBLIC, if there are
    any."""
    guard = guarded(Rule("/read", scopes("read")), Rule("/locked", PUBLIC))
    api = FastAPI()
    install(api, guard)

    @api.get("/locked", dependencies=[requires(scopes("write", "read"))])
    def locked() -> None:
        """Locked."""

    client = TestClient(api)
    challenges = [client.get(path).headers["www-authenticate"] for path in ("/read", "/locked", "/else")]

    where = f'resource_metadata="https://api.example{PATH}"'
    assert challenges == [
        f'Bearer realm="orders", scope="read", {where}',
        f'Bearer realm="orders", scope="write read", {where}',
        f'Bearer realm="orders", {where}',
    ]
