"""An outage of a key server: what a client is told, and who is not disturbed."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import anyio
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from authguard import AuthGuardMiddleware, BackendUnavailable, ConfigurationError, Guard, Issuer, RemoteJWKS, claim
from authguard.testing import ManualClock
from tests.support.clock import NOW
from tests.support.coroutines import run_together
from tests.support.guards import Answer, GuardedApp
from tests.support.key_source import StubbedSource
from tests.support.schemes.bearer import bearer, issuer
from tests.support.servers.key_server import TIMEOUT, hang, publish_metadata, respond_with, running_key_server
from tests.support.tokens import b64url, ec_key, key_set, mint, rsa_key


def door(source: StubbedSource, **changes: Any) -> GuardedApp:
    """An app whose keys come from this source."""
    return GuardedApp(bearer(issuer(source.keys, **changes)))


def told(answer: Answer) -> tuple[int, str | None, dict[str, Any]]:
    """Its status, its reason, and its facts less the name of the token."""
    return answer.status, answer.reason, {name: fact for name, fact in answer.record.facts.items() if name != "token"}


def token(kid: str | None = "a", **changes: Any) -> str:
    """A good token that names this key, with changes."""
    return mint(headers={} if kid is None else {"kid": kid}, **changes)


EXPIRED = {"expired_by": 600.0, "leeway": 60.0}


async def test_an_outage_is_no_fault_of_the_token() -> None:
    """503 with the source's own next try, no challenge, and a record that says which server and why."""
    source = StubbedSource("a")
    source.server.answer = OSError()
    asked = door(source)
    await asked.get_with_token(token())
    source.clock.move(1)
    await asked.get_with_token(token())

    answer = await asked.get_with_token(token())

    detail = "https://login.example/jwks: the fetch raised OSError"
    assert told(answer) == (503, "keys.unavailable", {"detail": detail, "retry_after": 2})
    assert dict(answer.headers)[b"retry-after"] == b"2"
    assert b"www-authenticate" not in dict(answer.headers)
    assert source.server.count == 2


@pytest.mark.parametrize(
    ("changes", "reason", "facts"),
    [
        ({"exp": NOW - 600}, "token.expired", EXPIRED),
        ({"aud": "billing"}, "token.audience_mismatch", {"audience": ("billing",), "wanted": ("orders",)}),
        ({"nbf": NOW + 600}, "token.not_yet_valid", {"valid_in": 600.0, "leeway": 60.0}),
        ({"exp": ...}, "token.claim_missing", {"claim": "exp"}),
        ({"sub": ...}, "token.claim_missing", {"claim": "sub"}),
        ({"sub": ""}, "token.claim_invalid", {"claim": "sub"}),
        ({"cnf": {"jkt": "x"}}, "token.bound", {}),
    ],
)
async def test_a_token_that_any_key_would_not_save_is_refused_during_an_outage(
    changes: dict[str, Any], reason: str, facts: dict[str, Any]
) -> None:
    """401: to come again with it is no use. The record says that nobody looked at the signature."""
    source = StubbedSource("a")
    source.server.answer = OSError()

    answer = await door(source).get_with_token(token(**changes))

    assert told(answer) == (401, reason, {**facts, "signature": "unchecked"})
    assert not answer.record.subject_proven
    assert b"www-authenticate" in dict(answer.headers)


async def test_an_outage_calls_no_function_of_the_app_with_claims_that_nobody_proved() -> None:
    """Roles are read when the signature holds."""
    called: list[Any] = []
    source = StubbedSource("a")
    source.server.answer = OSError()

    def roles(claims: Any) -> set[str]:
        called.append(claims)
        return set()

    answer = await door(source, roles=roles, subject=claim("sub")).get_with_token(token())

    assert (answer.status, called) == (503, [])


async def test_where_the_key_is_at_hand_the_signature_comes_first() -> None:
    """Whatever the server does meanwhile: an expired token with a wrong signature is a forgery."""
    source = StubbedSource("a")
    asked = door(source)
    assert (await asked.get_with_token(token())).status == 200
    source.server.answer = OSError()
    source.clock.move(700)
    forged = mint(rsa_key(which=1), headers={"kid": "a"}, exp=NOW - 600)

    assert (await asked.get_with_token(token())).status == 200
    assert told(await asked.get_with_token(token(exp=NOW - 600))) == (401, "token.expired", EXPIRED)
    assert told(await asked.get_with_token(forged))[1] == "token.signature_invalid"


async def test_an_unknown_key_is_the_tokens_fault_once_the_server_has_answered() -> None:
    """401 after a fetch that succeeded; 503 while the last one failed; 401 again when the server is back."""
    source = StubbedSource("a")
    asked = door(source)
    facts = {"kid": "b", "algorithm": "RS256"}

    assert told(await asked.get_with_token(token("b"))) == (401, "key.unknown", facts)
    source.clock.move(30)
    source.server.answer = OSError()
    assert told(await asked.get_with_token(token("b")))[:2] == (503, "keys.unavailable")
    assert told(await asked.get_with_token(token("b", exp=NOW - 600)))[1] == "token.expired"
    source.server.publish("a")
    source.clock.move(1)
    assert told(await asked.get_with_token(token("b"))) == (401, "key.unknown", facts)


async def test_a_server_that_hangs_disturbs_nobody_else() -> None:
    """Who needs it waits and is told; who knows his key, and who is refused by other means, passes by."""
    with running_key_server(key_set(a=rsa_key())) as server:
        keys = RemoteJWKS(server.url, insecure_http=True, timeout=30)
        asked = GuardedApp(bearer(issuer(keys)))
        assert (await asked.get_with_token(token())).status == 200
        server.behaviour = hang

        async def others() -> None:
            with anyio.fail_after(5):
                assert (await asked.get_with_token(token())).status == 200
                assert (await asked.get_with_token(token(iss="https://evil.example/"))).status == 401
            server.released.set()

        (waited,) = await run_together([partial(asked.get_with_token, token("b"))], others)

    assert waited.status == 503
    assert server.request_count == 2


async def test_five_hundred_first_requests_are_one_request_to_the_server() -> None:
    """Over the wire; the first of them leaves, and all others are let in."""
    with running_key_server(key_set(a=rsa_key())) as server:
        good = server.behaviour
        server.behaviour = lambda each: (server.released.wait(TIMEOUT), good(each))[1]
        asked = GuardedApp(bearer(issuer(RemoteJWKS(server.url, insecure_http=True, timeout=30)), deadline=30))
        leaving = anyio.CancelScope()

        async def first() -> None:
            with leaving:
                await asked.get_with_token(token())

        async def leave() -> None:
            leaving.cancel()
            server.released.set()

        _, *answers = await run_together([first, *[partial(asked.get_with_token, token())] * 499], leave)

    assert {answer.status for answer in answers} == {200}
    assert server.request_count == 1


async def test_a_thousand_random_kids_are_four_requests_to_the_server() -> None:
    """Over the wire; each of them is 401, and the good ones in between are let in."""
    rest = mint().partition(".")[2]
    with running_key_server(key_set(a=rsa_key())) as server:
        asked = GuardedApp(bearer(issuer(RemoteJWKS(server.url, insecure_http=True, clock=ManualClock()))))
        for number in range(1000):
            named = b64url(json.dumps({"alg": "RS256", "kid": f"random-{number}"}).encode())
            answer = await asked.get_with_token(f"{named}.{rest}")
            assert (answer.status, answer.reason) == (401, "key.unknown")
            if number % 100 == 0:
                assert (await asked.get_with_token(token())).status == 200

    assert server.request_count == 4


async def test_a_deadline_that_is_shorter_than_the_fetch_leaves_it_under_way() -> None:
    """The request is told so, and the next finds what the fetch brought."""
    source = StubbedSource("a")
    source.server.released.clear()
    asked = GuardedApp(bearer(issuer(source.keys), deadline=0.01))

    first = await asked.get_with_token(token())
    assert (first.status, first.reason) == (503, "keys.timeout")
    source.server.released.set()
    await source.wait_for_fetch()

    assert (await asked.get_with_token(token())).status == 200
    assert source.server.count == 1


@pytest.mark.parametrize(("key", "algorithm"), [(rsa_key(), "PS256"), (ec_key(), "ES256")])
async def test_a_key_of_another_algorithm_than_the_issuers_is_none(key: Any, algorithm: str) -> None:
    """What a key server publishes widens nothing: the app said which algorithms are taken."""
    source = StubbedSource()
    source.server.answer = key_set(a=key)

    answer = await door(source).get_with_token(mint(key, algorithm, headers={"kid": "a"}))

    assert (answer.status, answer.reason) == (401, "token.algorithm_refused")
    assert source.server.count == 0


def test_no_key_server_publishes_a_secret() -> None:
    """HMAC and a key server do not go together, which is said while the app is built."""
    with pytest.raises(ConfigurationError, match=r"^algorithms: a key server publishes no HMAC secret"):
        issuer(StubbedSource("a").keys, algorithms=["HS256"])


async def test_an_unknown_issuer_costs_no_fetch() -> None:
    """Two issuers: the keys of one never verify the other's tokens, and a third's reach nobody."""
    one, other = StubbedSource("a"), StubbedSource("a")
    other.server.answer = key_set(a=rsa_key(which=1))
    asked = GuardedApp(bearer(issuer(one.keys), issuer(other.keys, "https://other.example/")))

    assert (await asked.get_with_token(token(iss="https://evil.example/"))).reason == "token.issuer_unknown"
    assert (one.server.count, other.server.count) == (0, 0)
    assert (await asked.get_with_token(token(iss="https://other.example/"))).reason == "token.signature_invalid"
    assert (one.server.count, other.server.count) == (0, 2)  # one for the set, one to see whether it has changed


# --- on a guard -------------------------------------------------------------------------------------------------------


def _who(request: Request) -> PlainTextResponse:
    return PlainTextResponse(request.user.display_name)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("lifespan", [True, False])
def test_a_test_client_with_or_without_a_lifespan_is_let_in(backend: Any, lifespan: bool) -> None:
    """Without one each request has a new loop, and the keys of the first serve them all."""
    source = StubbedSource("a")
    guard = Guard(bearer(issuer(source.keys)), clock=ManualClock(NOW), log=False)
    app = AuthGuardMiddleware(Starlette(routes=[Route("/", _who)]), guard=guard)
    client = TestClient(app, backend=backend, headers={"Authorization": f"Bearer {token()}"})

    if lifespan:
        with client:
            answers = [client.get("/").text for _ in range(3)]
    else:
        answers = [client.get("/").text for _ in range(3)]

    assert answers == ["alice"] * 3
    assert source.server.count == 1


async def test_a_guard_is_warmed_and_tells_how_its_keys_are() -> None:
    """One source that several issuers share is fetched once; what failed is told together."""
    one, other, failing = StubbedSource("a", "b"), StubbedSource("c"), StubbedSource()
    failing.server.answer = OSError()
    guard = Guard(
        bearer(issuer(one.keys), issuer(one.keys, "https://two.example/"), issuer(other.keys, "https://three.example/"))
    )

    await guard.warm()

    assert (one.server.count, other.server.count) == (1, 1)
    health: Any = guard.health()
    assert [(each["keys"], each["age"]) for each in health["bearer"]["keys"]] == [(2, 0.0), (1, 0.0)]

    with pytest.raises(BackendUnavailable) as caught:
        await Guard(bearer(issuer(one.keys), issuer(failing.keys, "https://four.example/"))).warm()
    assert str(caught.value) == "https://login.example/jwks: the fetch raised OSError"
    assert (caught.value.retry_after, caught.value.reason and caught.value.reason.code) == (1, "keys.unavailable")
    assert one.server.count == 2


async def test_discovery_lets_in_over_the_wire() -> None:
    """From a name, by way of its metadata, to a user; and its stop and start are seen by nobody whose key is known."""
    with running_key_server(key_set(a=rsa_key())) as server:
        name = publish_metadata(server)
        clock = ManualClock()
        found = Issuer.discover(name, audience="orders", algorithms=["RS256"], insecure_http=True, clock=clock)
        asked = GuardedApp(bearer(found))
        assert (await asked.get_with_token(token(iss=name))).status == 200
        server.stop()
        clock.move(4000)
        assert (await asked.get_with_token(token(iss=name))).status == 200
        assert (await asked.get_with_token(token("b", iss=name))).status == 503
        server.start()
        server.behaviour = respond_with(key_set(b=rsa_key()))
        clock.move(30)

        assert (await asked.get_with_token(token("b", iss=name))).status == 200
