"""An outage of a key server: what the client gets, and which requests do not notice."""

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
from tests.support.schemes.bearer import bearer, essential, issuer
from tests.support.servers.key_server import TIMEOUT, hang, publish_metadata, respond_with, running_key_server
from tests.support.tokens import ISSUER, b64url, ec_key, key_set, mint, rsa_key


def guarded_app(source: StubbedSource, **changes: Any) -> GuardedApp:
    """An app whose keys come from this source."""
    return GuardedApp(bearer(issuer(source.keys, **changes)))


def summary(answer: Answer) -> tuple[int, str | None, dict[str, Any]]:
    """The status, the reason, and the facts without the fingerprint of the token."""
    code, facts = answer.reason, {name: fact for name, fact in answer.record.facts.items() if name != "token"}
    unchecked = {name: fact for name, fact in facts.items() if name == "signature"}
    return answer.status, code, {**essential(code or "", facts)[1], **unchecked}


def token(kid: str | None = "a", **changes: Any) -> str:
    """A valid token that names this key, with these changes."""
    return mint(headers={} if kid is None else {"kid": kid}, **changes)


EXPIRED = {"expired_by": 600.0, "leeway": 60.0}


async def test_an_outage_is_no_fault_of_the_token() -> None:
    """An outage is a 503 with the source's own retry time and no challenge. The record says which server failed, and
    why."""
    source = StubbedSource("a")
    source.server.answer = OSError()
    app = guarded_app(source)
    await app.get_with_token(token())
    source.clock.move(1)
    await app.get_with_token(token())

    answer = await app.get_with_token(token())

    detail = "https://login.example/jwks: the fetch raised OSError"
    assert summary(answer) == (503, "keys.unavailable", {"detail": detail, "retry_after": 2})
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
async def test_a_token_that_no_key_could_make_valid_is_rejected_during_an_outage(
    changes: dict[str, Any], reason: str, facts: dict[str, Any]
) -> None:
    """During an outage, an expired token is a 401: a retry cannot help. The record says that the signature was not
    checked."""
    source = StubbedSource("a")
    source.server.answer = OSError()

    answer = await guarded_app(source).get_with_token(token(**changes))

    assert summary(answer) == (401, reason, {**facts, "signature": "unchecked"})
    assert not answer.record.subject_proven
    assert b"www-authenticate" in dict(answer.headers)


async def test_an_outage_calls_no_function_of_the_app_with_unverified_claims() -> None:
    """Functions for roles run only after the signature has been verified."""
    called: list[Any] = []
    source = StubbedSource("a")
    source.server.answer = OSError()

    def roles(claims: Any) -> set[str]:
        called.append(claims)
        return set()

    answer = await guarded_app(source, roles=roles, subject=claim("sub")).get_with_token(token())

    assert (answer.status, called) == (503, [])


async def test_a_subject_of_several_claims_is_looked_for_during_an_outage() -> None:
    """R015: a token that names nobody is a 401 during an outage too, unless a function of the app must say who."""
    called: list[Any] = []
    source = StubbedSource("a")
    source.server.answer = OSError()

    def subject(claims: Any) -> str | None:
        called.append(claims)
        return None

    several = guarded_app(source, subject=[claim("sub"), claim("client_id")])
    with_function = guarded_app(source, subject=[claim("sub"), subject])
    answers = [await app.get_with_token(token(sub=...)) for app in (several, with_function)]

    assert [answer.record.reason for answer in answers] == ["token.claim_missing", "keys.unavailable"]
    assert called == []


async def test_with_a_held_key_the_signature_is_checked_first() -> None:
    """If the key is held, the signature is checked first: an expired token with a wrong signature is a forgery."""
    source = StubbedSource("a")
    app = guarded_app(source)
    assert (await app.get_with_token(token())).status == 200
    source.server.answer = OSError()
    source.clock.move(700)
    forged = mint(rsa_key(which=1), headers={"kid": "a"}, exp=NOW - 600)

    assert (await app.get_with_token(token())).status == 200
    expired = summary(await app.get_with_token(token(exp=NOW - 600)))
    assert expired == (401, "token.expired", {**EXPIRED, "issuer": ISSUER})
    assert summary(await app.get_with_token(forged))[1] == "token.signature_invalid"


async def test_an_unknown_key_is_the_tokens_fault_once_the_server_has_answered() -> None:
    """An unknown kid is a 401 after a successful fetch, a 503 while the last fetch failed, and a 401 when the server is
    back."""
    source = StubbedSource("a")
    app = guarded_app(source)
    facts = {"kid": "b", "algorithm": "RS256", "keys_age": 0.0}

    assert summary(await app.get_with_token(token("b"))) == (401, "key.unknown", facts)
    source.clock.move(30)
    source.server.answer = OSError()
    assert summary(await app.get_with_token(token("b")))[:2] == (503, "keys.unavailable")
    assert summary(await app.get_with_token(token("b", exp=NOW - 600)))[1] == "token.expired"
    source.server.publish("a")
    source.clock.move(1)
    assert summary(await app.get_with_token(token("b"))) == (401, "key.unknown", facts)


async def test_a_server_that_hangs_disturbs_nobody_else() -> None:
    """While a key server hangs, tokens with known keys, and tokens that are rejected anyway, are answered at once."""
    with running_key_server(key_set(a=rsa_key())) as server:
        keys = RemoteJWKS(server.url, insecure_http=True, timeout=30)
        app = GuardedApp(bearer(issuer(keys)))
        assert (await app.get_with_token(token())).status == 200
        server.behaviour = hang

        async def others() -> None:
            with anyio.fail_after(20):
                assert (await app.get_with_token(token())).status == 200
                assert (await app.get_with_token(token(iss="https://evil.example/"))).status == 401
            server.released.set()

        (waited,) = await run_together([partial(app.get_with_token, token("b"))], others)

    assert waited.status == 503
    assert server.request_count == 2


async def test_five_hundred_first_requests_are_one_request_to_the_server() -> None:
    """Over the network, five hundred first requests cause one fetch, even if the first of them is cancelled."""
    with running_key_server(key_set(a=rsa_key())) as server:
        good = server.behaviour
        server.behaviour = lambda each: (server.released.wait(TIMEOUT), good(each))[1]
        app = GuardedApp(bearer(issuer(RemoteJWKS(server.url, insecure_http=True, timeout=30)), deadline=30))
        leaving = anyio.CancelScope()

        async def first() -> None:
            with leaving:
                await app.get_with_token(token())

        async def leave() -> None:
            leaving.cancel()
            server.released.set()

        _, *answers = await run_together([first, *[partial(app.get_with_token, token())] * 499], leave)

    assert {answer.status for answer in answers} == {200}
    assert server.request_count == 1


async def test_a_thousand_random_kids_are_four_requests_to_the_server() -> None:
    """Over the network, a thousand random kids cause four fetches. Each gets a 401, and valid tokens in between
    pass."""
    rest = mint().partition(".")[2]
    with running_key_server(key_set(a=rsa_key())) as server:
        app = GuardedApp(bearer(issuer(RemoteJWKS(server.url, insecure_http=True, clock=ManualClock()))))
        for number in range(1000):
            named = b64url(json.dumps({"alg": "RS256", "kid": f"random-{number}"}).encode())
            answer = await app.get_with_token(f"{named}.{rest}")
            assert (answer.status, answer.reason) == (401, "key.unknown")
            if number % 100 == 0:
                assert (await app.get_with_token(token())).status == 200

    assert server.request_count == 4


async def test_a_deadline_that_is_shorter_than_the_fetch_does_not_stop_it() -> None:
    """The request fails at its deadline, the fetch goes on, and the next request uses its result."""
    source = StubbedSource("a")
    source.server.released.clear()
    app = GuardedApp(bearer(issuer(source.keys), deadline=0.01))

    first = await app.get_with_token(token())
    assert (first.status, first.reason) == (503, "keys.timeout")
    source.server.released.set()
    await source.wait_for_fetch()

    assert (await app.get_with_token(token())).status == 200
    assert source.server.count == 1


@pytest.mark.parametrize(("key", "algorithm"), [(rsa_key(), "PS256"), (ec_key(), "ES256")])
async def test_a_key_of_an_algorithm_that_is_not_allowed_is_ignored(key: Any, algorithm: str) -> None:
    """A key server cannot widen the algorithms that the app allows."""
    source = StubbedSource()
    source.server.answer = key_set(a=key)

    answer = await guarded_app(source).get_with_token(mint(key, algorithm, headers={"kid": "a"}))

    assert (answer.status, answer.reason) == (401, "token.algorithm_refused")
    assert source.server.count == 0


def test_no_key_server_publishes_a_secret() -> None:
    """HMAC with a key server raises while the app is built."""
    with pytest.raises(ConfigurationError, match=r"^algorithms: a key server publishes no HMAC secret"):
        issuer(StubbedSource("a").keys, algorithms=["HS256"])


async def test_an_unknown_issuer_costs_no_fetch() -> None:
    """With two issuers, the keys of one never verify tokens of the other, and a third issuer's token causes no
    fetch."""
    one, other = StubbedSource("a"), StubbedSource("a")
    other.server.answer = key_set(a=rsa_key(which=1))
    app = GuardedApp(bearer(issuer(one.keys), issuer(other.keys, "https://other.example/")))

    assert (await app.get_with_token(token(iss="https://evil.example/"))).reason == "token.issuer_unknown"
    assert (one.server.count, other.server.count) == (0, 0)
    assert (await app.get_with_token(token(iss="https://other.example/"))).reason == "token.signature_invalid"
    assert (one.server.count, other.server.count) == (0, 2)  # one for the set, one to see whether it has changed


# --- on a guard -------------------------------------------------------------------------------------------------------


def _who(request: Request) -> PlainTextResponse:
    return PlainTextResponse(request.user.display_name)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("lifespan", [True, False])
def test_a_test_client_is_accepted_with_and_without_a_lifespan(backend: Any, lifespan: bool) -> None:
    """Without a lifespan each request has a new event loop, and the keys that the first one fetched serve all of
    them."""
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


async def test_a_guard_warms_its_keys_and_reports_their_health() -> None:
    """A source that several issuers share is fetched once. All failures are raised together."""
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


async def test_discovery_works_over_the_network() -> None:
    """A token is accepted with keys that were found from the issuer's name. A restart of the server disturbs no known
    key."""
    with running_key_server(key_set(a=rsa_key())) as server:
        name = publish_metadata(server)
        clock = ManualClock()
        discovered = Issuer.discover(name, audience="orders", algorithms=["RS256"], insecure_http=True, clock=clock)
        app = GuardedApp(bearer(discovered))
        assert (await app.get_with_token(token(iss=name))).status == 200
        server.stop()
        clock.move(4000)
        assert (await app.get_with_token(token(iss=name))).status == 200
        assert (await app.get_with_token(token("b", iss=name))).status == 503
        server.start()
        server.behaviour = respond_with(key_set(b=rsa_key()))
        clock.move(30)

        assert (await app.get_with_token(token("b", iss=name))).status == 200
