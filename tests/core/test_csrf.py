"""The CSRF check: which requests count as sent by a page of another origin."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from authguard import AUTHENTICATED, PUBLIC, AuthGuardMiddleware, Guard, Record, Rule
from authguard.core.csrf import check_origins, is_cross_origin, origin_facts
from authguard.errors import ConfigurationError
from authguard.model import Header
from authguard.starlette import requires
from tests.support.asgi import RecordingApp, auth_request, http_scope, run_app, websocket_scope
from tests.support.clock import NOW
from tests.support.schemes.badge import Badge
from tests.support.schemes.basic import basic_scheme, memory_users, user_pass

TRUSTED = check_origins(["https://app.example", "https://app.example:8443"])


def lines(**fields: str | list[str]) -> list[Header]:
    """A header list. Names are written with ``_`` for ``-``, and a list gives several field lines."""
    headers: list[Header] = []
    for name, values in {"host": "api.example", **fields}.items():
        all_values = [values] if isinstance(values, str) else values
        headers += [(name.replace("_", "-").encode(), value.encode("latin-1")) for value in all_values]
    return headers


def cross_origin(method: str = "POST", scheme: str = "https", **fields: str | list[str]) -> bool:
    """Whether a request with these fields counts as cross-origin."""
    return is_cross_origin(auth_request(http_scope(method=method, headers=lines(**fields), scheme=scheme)), TRUSTED)


EVIL = "https://evil.example"

PASS: list[dict[str, Any]] = [
    {},
    {"sec_fetch_site": "same-origin"},
    {"sec_fetch_site": "none"},  # typed by the user, or a bookmark
    {"sec_fetch_site": "same-origin", "origin": "https://api.example"},
    {"origin": "https://api.example"},
    {"origin": "https://api.example", "host": "API.Example"},
    {"origin": "https://api.example:8443", "host": "api.example:8443"},
    {"origin": "https://[2001:db8::1]:8443", "host": "[2001:DB8::1]:8443"},
    {"origin": "https://api.example", "host": "api.example:443"},
    {"origin": "http://api.example", "host": "api.example:80", "scheme": "http"},
    {"origin": "http://api.example", "scheme": "http"},
    {"origin": "https://api.example", "scheme": "http"},  # a proxy terminates TLS
    # A Host that a proxy changed does not matter if the browser sends Sec-Fetch-Site.
    {"sec_fetch_site": "same-origin", "origin": "https://api.example", "host": "10.0.0.1:8000"},
    # Listed in ``origins``, whatever Sec-Fetch-Site is.
    {"sec_fetch_site": "cross-site", "origin": "https://app.example"},
    {"sec_fetch_site": "same-site", "origin": "https://app.example:8443"},
    {"origin": "https://app.example"},
]

REFUSED: list[dict[str, Any]] = [
    {"sec_fetch_site": "cross-site"},
    {"sec_fetch_site": "same-site"},
    {"sec_fetch_site": "cross-site", "origin": EVIL},
    {"sec_fetch_site": "cross-site", "origin": "https://api.example"},
    {"sec_fetch_site": ""},
    {"sec_fetch_site": "Same-Origin"},
    {"sec_fetch_site": "same-origin, cross-site"},
    {"sec_fetch_site": ["same-origin", "cross-site"]},
    {"sec_fetch_site": ["same-origin", "same-origin"]},
    {"sec_fetch_site": ["same-origin", "cross-site"], "origin": "https://app.example"},
    {"origin": EVIL},
    {"origin": "null"},
    {"origin": ""},
    {"origin": "null", "host": ""},
    {"origin": "", "host": ""},
    {"origin": "https://", "host": ""},
    {"origin": "api.example"},
    {"origin": ["https://api.example", EVIL]},
    {"origin": ["https://app.example", "https://app.example"]},
    {"origin": ["https://app.example", "https://app.example"], "sec_fetch_site": "same-origin"},
    {"origin": "https://api.example:8443"},
    {"origin": "https://api.example.evil.example"},
    {"origin": "https://evil.example/?https://api.example"},
    {"origin": "https://user@api.example"},
    {"origin": "http://api.example"},  # an attacker on the network could have written that page
    {"origin": "https://api.example", "host": "api.example:80"},
    {"origin": "http://api.example", "host": "api.example:443", "scheme": "http"},
    {"origin": "app://api.example", "host": "api.example:"},
    {"origin": "https://api.example", "host": []},
    {"origin": "https://api.example", "host": ["api.example", "api.example"]},
    {"origin": "https://APP.example"},
    {"origin": "http://app.example"},
    {"origin": "https://app.example:443"},
    {"origin": "https://sub.app.example"},
]


@pytest.mark.parametrize("fields", PASS, ids=repr)
def test_a_request_of_our_own_pages_is_not_cross_origin(fields: dict[str, Any]) -> None:
    """Same-origin requests, requests of clients that are not browsers, and those of an origin in ``origins`` pass."""
    assert cross_origin(**fields) is False


@pytest.mark.parametrize("fields", REFUSED, ids=repr)
def test_a_request_of_another_site_is_cross_origin(fields: dict[str, Any]) -> None:
    """A page of a sibling domain is cross-origin too, and so is any field that is repeated or not as browsers
    write it."""
    assert cross_origin(**fields) is True


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "TRACE"])
def test_a_safe_method_is_never_cross_origin(method: str) -> None:
    """Safe methods change nothing (RFC 9110 section 9.2.1), so a link on another site may lead to them."""
    assert cross_origin(method, sec_fetch_site="cross-site", origin=EVIL) is False


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "CONNECT", "QUERY", "get", "WEBSOCKET", ""])
def test_every_other_method_is_checked(method: str) -> None:
    """Every method that is not known to be safe is checked, unknown methods included."""
    assert cross_origin(method, sec_fetch_site="cross-site") is True


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, False),
        ({"origin": "https://api.example"}, False),
        ({"origin": "https://app.example"}, False),
        ({"origin": EVIL}, True),
        ({"origin": "null"}, True),
        ({"sec_fetch_site": "cross-site", "origin": EVIL}, True),
    ],
)
@pytest.mark.parametrize("named", [{}, {"method": "GET"}])
def test_a_websocket_handshake_is_checked_although_it_is_a_get(
    fields: dict[str, str], expected: bool, named: dict[str, str]
) -> None:
    """Browsers do not apply the same-origin policy to WebSockets (RFC 6455 section 10.2), so the server has to."""
    scope = websocket_scope(headers=lines(**fields), **named)

    assert is_cross_origin(auth_request(scope), TRUSTED) is expected


HIDDEN: list[tuple[dict[str, Any], bool, bool]] = [
    ({"origin": "null"}, True, False),
    ({"origin": "null", "sec_fetch_site": "same-origin"}, False, False),
    ({"origin": "null", "sec_fetch_site": "none"}, False, False),
    ({"origin": "null", "sec_fetch_site": "cross-site"}, True, True),
    ({"origin": "null", "sec_fetch_site": "same-site"}, True, True),
    ({"origin": ["null", "null"]}, True, True),
    ({"origin": ["null", "null"], "sec_fetch_site": "same-origin"}, True, True),
    ({"origin": EVIL}, True, True),
    ({"origin": "Null"}, True, True),
    ({"origin": ""}, True, True),
]


@pytest.mark.parametrize(("fields", "strict", "tolerant"), HIDDEN)
def test_a_hidden_origin_is_accepted_by_name(fields: dict[str, Any], strict: bool, tolerant: bool) -> None:
    """``Origin: null`` of a page that hides its origin from its own site is accepted with ``origins=["null"]``, and
    only where no ``Sec-Fetch-Site`` tells that it is of another site."""
    request = auth_request(http_scope(method="POST", headers=lines(**fields)))

    assert is_cross_origin(request, frozenset()) is strict
    assert is_cross_origin(request, check_origins(["null"])) is tolerant


def test_a_hidden_origin_opens_no_websocket() -> None:
    """No policy hides the origin of a WebSocket handshake, so ``null`` is that of a sandboxed page."""
    scope = websocket_scope(headers=lines(origin="null"))

    assert is_cross_origin(auth_request(scope), check_origins(["null"])) is True


async def granted(**fields: Any) -> Any:
    """What was tolerated of a form that is granted by a rule, and then of one that is granted by a lock."""
    records: list[Record] = []
    guard = Guard(
        basic_scheme(memory_users()), rules=[Rule("/locked", PUBLIC)], hooks=[records.append], clock=lambda: NOW
    )

    @requires(AUTHENTICATED)
    async def locked(request: Request) -> Response:
        return Response()

    app = Starlette(
        routes=[Route(path, locked if path == "/locked" else _answer, methods=["POST"]) for path in ("/", "/locked")]
    )
    for path in ("/", "/locked"):
        headers = [*lines(**fields), (b"authorization", b"Basic " + user_pass("alice", "wonderland"))]
        scope = http_scope(method="POST", path=path, headers=headers)
        await run_app(AuthGuardMiddleware(app, guard=guard, origins=["null", "https://app.example"]), scope)
    return [record.reason or record.facts.get("tolerated") for record in records if record.requirement != "PUBLIC"]


async def _answer(request: Request) -> Response:
    return Response()


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"origin": "null"}, {"origin": "null"}),
        ({"origin": "null", "sec_fetch_site": "same-origin"}, None),
        ({"origin": "https://app.example"}, None),
        ({}, None),
    ],
)
async def test_a_hidden_origin_is_recorded_as_tolerated(fields: dict[str, Any], said: Any) -> None:
    """The record of a grant says so if the request passes only because ``null`` is trusted, by a rule and by a lock."""
    assert await granted(**fields) == [said, said]


async def test_a_hidden_origin_of_a_token_is_not_tolerated_but_nothing() -> None:
    """A browser does not send the credentials of this scheme by itself, so its origin does not matter."""
    records: list[Record] = []
    guard = Guard(Badge(), hooks=[records.append], clock=lambda: NOW)
    headers = [*lines(origin="null"), (b"authorization", b"Badge alice")]

    await run_app(
        AuthGuardMiddleware(RecordingApp(), guard=guard, origins=["null"]), http_scope(method="POST", headers=headers)
    )

    assert [(record.reason, record.facts) for record in records] == [(None, {})]


def test_the_record_of_a_hidden_origin_says_what_to_set() -> None:
    """Where ``Sec-Fetch-Site`` shows that the page is of another site, and for a WebSocket, there is nothing to set."""
    hidden = http_scope(method="POST", headers=lines(origin="null"))
    foreign = http_scope(method="POST", headers=lines(origin="null", sec_fetch_site="cross-site"))
    socket = websocket_scope(headers=lines(origin="null"))

    hints = [origin_facts(auth_request(scope), frozenset()).get("hint") for scope in (hidden, foreign, socket)]

    assert "send Referrer-Policy: same-origin" in str(hints[0])
    assert hints[1:] == [None, None]


ORIGINS = [
    "https://app.example",
    "http://localhost:5173",
    "https://xn--bcher-kva.example",
    "http://[::1]:8080",
    "http://127.0.0.1",
    "https://app_1.example:80",
    "http://app.example:443",
    "moz-extension://0f3a-1",
    "moz-extension://0f3a-1:80",
    "capacitor://localhost",
]


def test_origins_are_taken_as_browsers_write_them() -> None:
    """``check_origins`` returns each origin once, as bytes, from any collection of them."""
    expected = {origin.encode() for origin in ORIGINS}

    assert check_origins(ORIGINS) == check_origins(iter(ORIGINS * 2)) == expected
    assert check_origins(()) == frozenset()


BAD: list[Any] = [
    "https://app.example",
    None,
    7,
    [None],
    [b"https://app.example"],
    ["*"],
    ["Null"],
    "null",
    [b"null"],
    [""],
    ["app.example"],
    ["https://"],
    ["https:app.example"],
    ["https://*.example"],
    ["https://App.example"],
    ["https://bücher.example"],
    ["https://app.example/"],
    ["https://app.example/path"],
    ["https://user@app.example"],
    ["https://app.example\n"],
    [" https://app.example"],
    ["https://app.example:"],
    ["https://app.example:443"],
    ["http://app.example:80"],
    ["https://app.example", "evil"],
]


@pytest.mark.parametrize("origins", BAD, ids=repr)
def test_an_origin_that_no_browser_sends_raises_while_the_app_is_built(origins: Any) -> None:
    """An origin that no browser writes would never match, or match more than was meant, so ``check_origins`` raises."""
    with pytest.raises(ConfigurationError) as caught:
        check_origins(origins)

    assert caught.value.argument == "origins"


def test_the_facts_name_the_origin_of_the_request() -> None:
    """R078: the facts of the denial hold every line of ``Origin`` and ``Sec-Fetch-Site``, and what ``Origin`` was
    compared with: every ``Host``, and ``origins=``. They hold nothing else of the request."""
    sent = lines(origin=["null", EVIL], sec_fetch_site="cross-site", host="internal:8000", cookie="s3cr3t")
    trusted = check_origins(["https://b.example", "https://a.example"])

    assert origin_facts(auth_request(http_scope(headers=sent)), trusted) == {
        "origin": ["null", EVIL],
        "sec_fetch_site": ["cross-site"],
        "host": ["internal:8000"],
        "origins": ["https://a.example", "https://b.example"],
    }
