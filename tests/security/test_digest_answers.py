"""Digest through the middleware: response fields, bodies, cross-site requests, two guards, and failures."""

from __future__ import annotations

from typing import Any

import anyio
import anyio.lowlevel
import pytest

from authguard.core.guard import Guard
from authguard.middleware import AuthGuardMiddleware
from authguard.model import Header
from authguard.policy.requirements import role
from authguard.policy.rules import Rule
from authguard.schemes.digest.scheme import Digest
from tests.security.digest_app import DigestApp
from tests.support.asgi import RecordingApp
from tests.support.clock import NOW
from tests.support.schemes.digest import (
    DigestAccounts,
    SharedNonces,
    answer_challenge,
    digest_response,
    digest_scheme,
    ha1,
    serialize,
)

MALFORMED = "credentials.malformed"

# --- What goes back ---------------------------------------------------------------------------------------------------

CNONCES = [
    '"',
    "\\",
    '\\"',
    '", stale=true, x="',
    'a"b\\c',
    "\u00ff\u0080\u00a0",
    " ",
    "a\tb",
    ",",
    "x" * 4000,
    '"' * 1000,
]


@pytest.mark.rfc("7616-14")
@pytest.mark.parametrize("cnonce", CNONCES, ids=ascii)
async def test_nothing_is_injected_through_a_cnonce(cnonce: str) -> None:
    """The cnonce is sent back escaped, in one field. A CR or LF in it does not get that far."""
    app = DigestApp()
    params = answer_challenge(await app.challenge(), cnonce=cnonce)

    answer = await app.request_with(params)

    assert answer.status == 200
    rspauth = digest_response(params, ha1(params, "wonderland"), method="", qop="auth")
    escaped = cnonce.replace("\\", "\\\\").replace('"', '\\"')
    assert answer.info == f'rspauth="{rspauth}", qop=auth, cnonce="{escaped}", nc=00000001'


@pytest.mark.parametrize("octet", [b"\r", b"\n", b"\r\nset-cookie: a=b", b"\0", b"\x7f", b"\x1b"])
async def test_a_control_character_is_rejected(octet: bytes) -> None:
    """Servers block control characters. If one gets through, nothing of it is echoed."""
    app = DigestApp()
    field = serialize(answer_challenge(await app.challenge())).replace(b"0a4f113b", b"0a4f" + octet)

    answer = await app.request(b"Digest " + field)

    assert (answer.status, answer.reason) == (401, MALFORMED)
    assert all(octet not in value for _, value in answer.exchange.headers)


@pytest.mark.rfc("7616-14")
async def test_authentication_info_is_sent_with_every_response() -> None:
    """A 403 has Authentication-Info too: the credentials were accepted, and the count was used."""
    app = DigestApp(rules=[Rule("/boss", role("boss"))])
    params = answer_challenge(await app.challenge(), uri="/boss")

    answer = await app.request_with(params, path="/boss", raw_path=b"/boss")

    assert (answer.status, answer.reason) == (403, "role.missing")
    assert "nc=00000001" in answer.info
    again = await app.request_with(params, path="/boss", raw_path=b"/boss")
    assert (again.reason, again.exchange.lines(b"authentication-info")) == ("nonce.replayed", [])


async def test_a_websocket_handshake_is_accepted() -> None:
    """A WebSocket handshake with Digest is accepted, with Authentication-Info in its response."""
    app = DigestApp()
    params = answer_challenge(await app.challenge(), uri="/chat")

    answer = await app.request_with(
        params, {"type": "websocket.connect"}, type="websocket", scheme="wss", path="/chat", raw_path=b"/chat"
    )

    accepted = answer.exchange.sent[0]
    assert accepted["type"] == "websocket.accept"
    assert [name for name, _ in accepted["headers"]] == [b"authentication-info"]


@pytest.mark.rfc("7616-18")
async def test_digest_alone_offers_no_basic() -> None:
    """RFC 7616 section 5.6: Basic is offered and accepted only if the app names it."""
    app = DigestApp()

    answer = await app.request(b"Basic YWxpY2U6d29uZGVybGFuZA==")

    assert (answer.status, answer.reason, answer.challenge.scheme) == (401, "scheme.unsupported", "Digest")


# --- Bodies -----------------------------------------------------------------------------------------------------------


def _body(*parts: bytes) -> list[dict[str, Any]]:
    return [
        {"type": "http.request", "body": part, "more_body": number < len(parts)} for number, part in enumerate(parts, 1)
    ]


@pytest.mark.rfc("7616-11")
async def test_with_auth_int_the_app_receives_the_body_that_was_digested() -> None:
    """The app gets the verified body, in any number of parts. Another body is rejected, and one above the limit is a
    413."""
    app = DigestApp(digest_scheme(DigestAccounts(), qop=("auth-int",), limit=20, throttle=None))
    params = answer_challenge(await app.challenge(), method="POST", body=b"ten pounds to Bob")

    forged = await app.request_with(params, *_body(b"ten pounds to Eve"), method="POST")
    large = await app.request_with(params, *_body(b"ten pounds to Bob", b" and ten to Eve"), method="POST")
    good = await app.request_with(params, *_body(b"ten pounds", b"", b" to Bob"), method="POST")

    assert (forged.status, forged.reason) == (401, "response.wrong")
    assert (large.status, large.reason) == (413, "body.too_large")
    assert (good.status, good.exchange.body) == (200, b"ten pounds to Bob")
    assert "qop=auth," in good.info


async def test_an_incomplete_body_is_rejected() -> None:
    """If the client disconnects during the body, the request is not granted, because the digest covers the whole
    body."""
    app = DigestApp(digest_scheme(DigestAccounts(), qop=("auth-int",), throttle=None))
    params = answer_challenge(await app.challenge(), method="POST", body=b"ten")

    answer = await app.request_with(params, {"type": "http.request", "body": b"ten", "more_body": True}, method="POST")

    assert (answer.status, answer.reason) == (400, "body.incomplete")


# --- Other sites, and other guards ------------------------------------------------------------------------------------


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
async def test_a_cross_site_request_is_denied(site: str) -> None:
    """Browsers send Digest by themselves, so a cross-site request is denied without verifying it or using a count."""
    app = DigestApp()
    params = answer_challenge(await app.challenge(), method="POST")
    headers: list[Header] = [(b"sec-fetch-site", site.encode()), (b"origin", b"https://evil.example")]

    foreign = await app.request_with(params, method="POST", headers=headers)
    own = await app.request_with(params, method="POST", headers=[(b"sec-fetch-site", b"same-origin")])

    assert (foreign.status, foreign.reason) == (403, "origin.foreign")
    assert own.status == 200


async def test_a_guard_further_in_does_not_count_the_nonce_twice() -> None:
    """An inner guard, with the same scheme or one of its own, takes over the principal and claims no count again."""
    scheme, guard = digest_scheme(DigestAccounts(), throttle=None), RecordingApp()
    own = digest_scheme(DigestAccounts(), throttle=None)
    for inner_scheme in (scheme, own):
        inner = AuthGuardMiddleware(guard, guard=Guard(inner_scheme, clock=lambda: NOW, log=False))
        app = DigestApp(scheme, app=inner)
        params = answer_challenge(await app.challenge())

        assert (await app.request_with(params)).status == 200
        assert (await app.request_with(params)).reason == "nonce.replayed"
    assert [scope["user"].subject for scope in guard.scopes] == ["alice", "alice"]


async def test_two_guards_with_one_scheme_share_its_counts() -> None:
    """Two guards side by side with one scheme accept a count once between them."""
    scheme = digest_scheme(DigestAccounts(), throttle=None)
    left, right = DigestApp(scheme), DigestApp(scheme)
    offer = await left.challenge()

    assert (await left.request_with(answer_challenge(offer, count=1))).status == 200
    assert (await right.request_with(answer_challenge(offer, count=1))).reason == "nonce.replayed"
    assert (await right.request_with(answer_challenge(offer, count=2))).status == 200


async def test_the_life_of_a_nonce_costs_one_round_trip() -> None:
    """An expired nonce costs one response with ``stale=true``, and the client does not ask for the password."""
    app = DigestApp()
    offer = await app.challenge()
    assert (await app.request_with(answer_challenge(offer))).status == 200

    app.clock.move(300)
    stale = await app.request_with(answer_challenge(offer, count=2))

    assert (stale.status, stale.reason, stale.challenge.get("stale")) == (401, "nonce.stale", "true")
    assert (await app.request_with(answer_challenge(stale.challenge))).status == 200


async def test_a_failing_store_is_a_503() -> None:
    """A failure of the account store or the nonce store is a 503."""

    accounts = DigestAccounts()
    accounts.accounts["alice"] = RuntimeError()
    schemes: list[Digest] = [
        digest_scheme(accounts, throttle=None),
        digest_scheme(DigestAccounts(), nonces=SharedNonces(RuntimeError()), throttle=None),
    ]
    for scheme in schemes:
        app = DigestApp(scheme)
        answer = await app.request_with(answer_challenge(await app.challenge()))

        assert (answer.status, answer.reason) == (503, "backend.failed")
        assert app.inner.scopes == []


async def test_a_cancelled_request_is_not_granted() -> None:
    """A request that is cancelled while the store is asked is not granted, and the next one is."""

    class Stuck(DigestAccounts):
        stuck = True

        async def find(self, username: str, **asked: Any) -> Any:
            if self.stuck:
                await anyio.sleep_forever()
            return await super().find(username, **asked)

    accounts = Stuck(answers_at_once=False)
    app = DigestApp(digest_scheme(accounts, throttle=None))
    params = answer_challenge(await app.challenge())
    with anyio.move_on_after(0.01):
        await app.request_with(params)
    assert app.inner.scopes == []

    accounts.stuck = False
    assert (await app.request_with(params)).status == 200
