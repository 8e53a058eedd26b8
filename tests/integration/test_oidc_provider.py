"""A certified OpenID provider, and an API that knows only its name: tokens, introspection and step-up."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from authguard import AuthGuardMiddleware, Bearer, Guard, Introspection, Issuer, Record, Rule, claim, step_up
from authguard.testing import ManualClock
from tests.support.servers.oidc_provider import (
    ALGORITHMS,
    API,
    OIDC_PROVIDER,
    SECRET,
    STOCK,
    Provider,
    User,
    running_provider,
)

pytestmark = [pytest.mark.peer, pytest.mark.skipif(not OIDC_PROVIDER, reason="oidc-provider is not here")]

ROLES = claim("realm_access", "roles")
STALE = 'Bearer realm="orders", error="insufficient_user_authentication", '


@pytest.fixture(name="provider", scope="module")
def _provider() -> Iterator[Provider]:
    with running_provider(0) as provider:
        yield provider


async def _who(request: Request) -> JSONResponse:
    who = request.user
    return JSONResponse({"subject": who.subject, "roles": sorted(who.roles), "scopes": sorted(who.scopes)})


class ApiAnswer(NamedTuple):
    """A response, and the reason of its record."""

    status: int
    challenge: str | None
    retry_after: str | None
    reason: str | None
    body: Any


class Api:
    """An app behind a guard. ``ahead`` moves its wall clock, and ``monotonic`` is the clock of its caches."""

    def __init__(self, provider: Provider, *algorithms: str, secret: str = SECRET) -> None:
        self.ahead, self.monotonic = 0.0, ManualClock()
        self.records: list[Record] = []
        issuer = Issuer.discover(
            provider.url,
            audience="orders",
            algorithms=algorithms or ALGORITHMS,
            roles=ROLES,
            typ="at+jwt",
            insecure_http=True,
            clock=self.monotonic,
        )
        opaque = Introspection(
            provider.url + "/token/introspection",
            client_id=API,
            client_secret=secret,
            issuer=provider.url,
            audience="orders",
            roles=ROLES,
            subject=claim("client_id"),
            insecure_http=True,
            clock=self.monotonic,
        )
        guard = Guard(
            Bearer(issuer, opaque, realm="orders"),
            rules=[Rule("/pay", step_up(acr="mfa")), Rule("/close", step_up(max_age=300))],
            clock=lambda: time.time() + self.ahead,
            hooks=[self.records.append],
        )
        self._app = AuthGuardMiddleware(Starlette(routes=[Route("/{page}", _who)]), guard=guard)

    async def get(self, token: str, path: str = "/orders") -> ApiAnswer:
        """Send a request with this token."""
        transport = httpx2.ASGITransport(app=self._app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://orders.example") as client:
            answer = await client.get(path, headers={"Authorization": f"Bearer {token}"})
        challenge, retry_after = (answer.headers.get(name) for name in ("www-authenticate", "retry-after"))
        return ApiAnswer(answer.status_code, challenge, retry_after, self.records[-1].reason, answer.json())


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_its_access_tokens_are_accepted(provider: Provider, algorithm: str) -> None:
    """A token of each algorithm is accepted. Ten requests cost one fetch of the metadata and one of the keys."""
    api, token = Api(provider), provider.token(algorithm)
    paths = ("/.well-known/openid-configuration", "/jwks")
    before = [provider.request_count(path) for path in paths]

    answers = [await api.get(token) for _ in range(10)]

    who = {"subject": f"batch-{algorithm}", "roles": [f"batch-{algorithm}"], "scopes": ["read"]}
    assert [(answer.status, answer.body) for answer in answers] == [(200, who)] * 10
    assert [provider.request_count(path) - was for path, was in zip(paths, before, strict=True)] == [1, 1]


async def test_an_algorithm_that_the_app_does_not_name_is_refused(provider: Provider) -> None:
    """A token of an algorithm that the app does not list is rejected without a fetch, whatever the metadata say."""
    api, before = Api(provider, "ES256"), provider.request_count("/jwks")

    answer = await api.get(provider.token("RS256"))

    assert (answer.status, answer.reason) == (401, "token.algorithm_refused")
    assert provider.request_count("/jwks") == before


async def test_a_token_for_another_api_is_refused(provider: Provider) -> None:
    """A token of the same issuer and key with another ``aud`` is rejected."""
    answer = await Api(provider).get(provider.token(api=STOCK))

    assert (answer.status, answer.reason) == (401, "token.audience_mismatch")
    assert 'error="invalid_token"' in str(answer.challenge)


async def test_an_expired_token_is_rejected(provider: Provider) -> None:
    """A token is rejected after its ten minutes and the minute of leeway."""
    api, token = Api(provider), provider.token()
    seen = []

    for api.ahead in (0, 590, 650, 670):
        answer = await api.get(token)
        seen.append((answer.status, answer.reason))

    assert seen == [(200, None)] * 3 + [(401, "token.expired")]


async def test_an_id_token_is_no_access_token(provider: Provider) -> None:
    """An ID token is rejected although its issuer signed it, because it is meant for a client."""
    answer = await Api(provider).get(provider.user().tokens()["id_token"])

    assert (answer.status, answer.reason) == (401, "token.type_refused")


async def test_keys_that_cannot_be_fetched_are_an_outage(provider: Provider) -> None:
    """While the provider is down the API answers 503 with Retry-After, and then accepts the token."""
    api, token = Api(provider), provider.token()

    with provider.down():
        first, again = await api.get(token), await api.get(token)
    hasty = await api.get(token)
    api.monotonic.move(1)
    late = await api.get(token)

    told = (503, None, "1", "keys.unavailable")
    assert [answer[:4] for answer in (first, again, hasty)] == [told] * 3
    assert late.status == 200


# --- introspection ----------------------------------------------------------------------------------------------------


async def test_an_opaque_token_is_accepted_by_introspection(provider: Provider) -> None:
    """Opaque tokens of a machine and of a person are accepted, with one introspection each."""
    api, before = Api(provider), provider.request_count("/token/introspection")
    tokens = [provider.token("opaque"), provider.user("opaque").token()]

    answers = [await api.get(token) for token in tokens * 3]

    assert [(answer.status, answer.body["roles"]) for answer in answers] == [
        (200, ["batch-opaque"]),
        (200, ["admin", "cashier"]),
    ] * 3
    assert provider.request_count("/token/introspection") - before == 2


async def test_a_revocation_is_noticed_when_the_cache_expires(provider: Provider) -> None:
    """A revoked token is a 401 after at most half a minute, the cache time of the app."""
    api, token = Api(provider), provider.token("opaque")
    assert (await api.get(token)).status == 200
    seen = []

    provider.revoke(token)
    for seconds in (29.5, 0.5):
        api.monotonic.move(seconds)
        answer = await api.get(token)
        seen.append((answer.status, answer.reason))

    assert seen == [(200, None), (401, "token.inactive")]


async def test_a_token_that_nobody_issued_is_not_active(provider: Provider) -> None:
    """An invented token is a 401, like an expired access token."""
    answer = await Api(provider).get("2YotnFZFEjr1zCsicMWpAA")

    assert (answer.status, answer.reason) == (401, "token.inactive")
    assert 'error="invalid_token"' in str(answer.challenge)


async def test_a_provider_that_is_down_is_an_outage(provider: Provider) -> None:
    """Introspection while the provider is down is a 503, and cached answers are still used."""
    api, known, other = Api(provider), provider.token("opaque"), provider.token("opaque")
    assert (await api.get(known)).status == 200

    with provider.down():
        answers = [await api.get(token) for token in (other, known)]

    assert [(one.status, one.challenge, one.reason) for one in answers] == [
        (503, None, "introspection.unavailable"),
        (200, None, None),
    ]


async def test_a_wrong_client_secret_of_the_api_is_an_outage(provider: Provider) -> None:
    """A wrong client secret of the API is a 503, and not a 401 for a valid token."""
    api = Api(provider, secret="another secret")

    answer = await api.get(provider.token("opaque"))

    assert (answer.status, answer.challenge, answer.reason) == (503, None, "introspection.unavailable")


# --- step-up ----------------------------------------------------------------------------------------------------------


async def _stepped_up(api: Api, person: User, path: str, **asked: Any) -> tuple[ApiAnswer, ApiAnswer]:
    """The responses before and after a login that meets the challenge."""
    first = await api.get(person.token(**asked), path)
    wanted = dict(re.findall(r'(acr_values|max_age)="([^"]*)"', str(first.challenge)))
    return first, await api.get(person.token(**wanted), path)


@pytest.mark.parametrize("form", ["ES256", "opaque"])
async def test_a_login_is_stepped_up_to_the_class_that_the_challenge_names(provider: Provider, form: str) -> None:
    """RFC 9470: a 401 with ``acr_values`` leads to a login with a second factor, and to a 200."""
    api, alice = Api(provider), provider.user(form)

    first, second = await _stepped_up(api, alice, "/pay")

    assert (first.status, first.reason, second.status) == (401, "step_up.required", 200)
    assert first.challenge == STALE + 'acr_values="mfa"'
    assert alice.logins == [["user", "password"], ["user", "password", "otp"]]


@pytest.mark.parametrize("form", ["RS256", "opaque"])
async def test_a_login_is_renewed_where_the_challenge_asks_for_a_fresh_one(provider: Provider, form: str) -> None:
    """A login of an hour ago is accepted for all pages but one, whose ``max_age`` makes the provider ask again."""
    api, alice = Api(provider), provider.user(form)

    first, second = await _stepped_up(api, alice, "/close", ago=3600)

    assert (first.status, first.reason, second.status) == (401, "step_up.required", 200)
    assert first.challenge == STALE + 'max_age="300"'
    assert alice.logins == [["user", "password"]] * 2
