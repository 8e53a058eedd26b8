"""One request's change to ``request.user`` is not the next one's: neither to its claims, nor to anything inside them.

That holds for every scheme, whatever object its store, its check or its test hands out for each request.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from authguard import (
    AUTHORIZATION,
    PUBLIC,
    Accepted,
    Account,
    AuthGuardMiddleware,
    AuthRequest,
    Basic,
    Bearer,
    Challenge,
    Credentials,
    Denied,
    DigestAccount,
    DigestLookup,
    Guard,
    MemoryDigests,
    Principal,
    Rule,
    Scheme,
    UserLookup,
    predicate,
    role,
)
from authguard.model import Outcome
from authguard.policy.rules import Match
from authguard.starlette import requires
from authguard.testing import TestIssuer, acting_as, digest_auth
from tests.support.asgi import RecordingApp, auth_request, header_list, http_scope, run_app
from tests.support.clock import NOW
from tests.support.schemes.badge import Badge
from tests.support.schemes.basic import Ldap, SpyHasher, basic_scheme, memory_users, user_pass
from tests.support.schemes.bearer import bearer
from tests.support.schemes.digest import REALM, digest_scheme, stored_ha1
from tests.support.schemes.introspection import OPAQUE_TOKEN, IntrospectionServer, active_response, introspection
from tests.support.tokens import mint

#: Claims of a store, with something inside that can change.
CLAIMS: dict[str, Any] = {"teams": [{"name": "a", "members": ["alice"]}], "tenant": {"id": 7}}
#: Makes the value of ``Authorization`` for a request to this guard.
AuthorizationOf = Callable[[Guard], str]


def _account() -> Account:
    return Account("alice", "$fast$wonderland", claims=copy.deepcopy(CLAIMS))


def _digest_account() -> DigestAccount:
    return DigestAccount("alice", stored_ha1("alice", "wonderland"), claims=copy.deepcopy(CLAIMS))


def _basic(guard: Guard) -> str:
    return "Basic " + user_pass("alice", "wonderland").decode()


def _digest(guard: Guard) -> str:
    challenge = guard.schemes[0].challenges(auth_request(), None)[0].to_header().decode()
    return digest_auth(challenge, "alice", "wonderland")["Authorization"]


def _token(guard: Guard) -> str:
    return f"Bearer {mint(more=CLAIMS)}"


def _opaque(guard: Guard) -> str:
    return f"Bearer {OPAQUE_TOKEN}"


def _badge(guard: Guard) -> str:
    return "Badge alice"


def _lookup() -> Basic:
    account = _account()

    async def find(username: str) -> Account | None:
        return account

    return basic_scheme(UserLookup(find, hasher=SpyHasher()))


def _digest_lookup() -> Any:
    account = _digest_account()

    async def find(username: str, /, *, realm: str, algorithm: str) -> DigestAccount | None:
        return account

    return DigestLookup(find)


def _test_issuer() -> tuple[Guard, AuthorizationOf]:
    issuer = TestIssuer(clock=lambda: NOW)
    authorization = issuer.headers("alice", **CLAIMS)["Authorization"]
    return _guard(Bearer(issuer.as_issuer(), realm="orders")), lambda guard: authorization


def _guard(scheme: Any, **options: Any) -> Guard:
    return Guard(scheme, clock=lambda: NOW, log=False, **options)


def _one_principal() -> Principal:
    return Principal("alice", roles={"admin"}, claims=copy.deepcopy(CLAIMS), scheme="badge")


def _returning(principal: Principal) -> Guard:
    """A guard whose check always returns the same principal."""

    async def check(request: AuthRequest, given: Principal) -> Principal:
        return principal

    return _guard(Badge(), checks=[check])


def _enriching() -> Guard:
    """A guard whose check adds the claims of a cache."""
    cached = copy.deepcopy(CLAIMS)

    async def check(request: AuthRequest, given: Principal) -> Principal:
        return replace(given, claims=cached)

    return _guard(Badge(), checks=[check])


GUARDS: Mapping[str, Callable[[], tuple[Guard, AuthorizationOf]]] = {
    "basic in memory": lambda: (_guard(basic_scheme(memory_users(_account()))), _basic),
    "basic by a lookup": lambda: (_guard(_lookup()), _basic),
    "basic by a directory": lambda: (_guard(basic_scheme(Ldap(_account()))), _basic),
    "basic without claims": lambda: (_guard(basic_scheme(memory_users(Account("alice", "$fast$wonderland")))), _basic),
    "digest in memory": lambda: (_guard(digest_scheme(MemoryDigests([_digest_account()], realm=REALM))), _digest),
    "digest by a lookup": lambda: (_guard(digest_scheme(_digest_lookup())), _digest),
    "bearer": lambda: (_guard(bearer()), _token),
    "introspection": lambda: (
        _guard(Bearer(introspection(IntrospectionServer(active_response(**CLAIMS))), realm="orders")),
        _opaque,
    ),
    "a test issuer": _test_issuer,
    "a scheme of one principal": lambda: (_guard(Badge(table={"alice": Accepted(_one_principal())})), _badge),
    "a scheme of one principal, and a role hierarchy": lambda: (
        _guard(Badge(table={"alice": Accepted(_one_principal())}), role_hierarchy={"admin": {"editor"}}),
        _badge,
    ),
    "a check that returns one principal": lambda: (_returning(_one_principal()), _badge),
    "a check that adds the claims of a cache": lambda: (_enriching(), _badge),
}


class ChangingApp:
    """An app that keeps a copy of the claims that it finds, and then changes them and everything inside them."""

    def __init__(self) -> None:
        self.found: list[Any] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await RecordingApp()(scope, receive, send)
        claims: Any = scope["user"].claims
        self.found.append(copy.deepcopy(claims))
        for team in claims.get("teams", []):
            team["name"] = "root"
            team["members"].append("mallory")
        claims.setdefault("tenant", {})["id"] = 8
        claims["added"] = True


async def _two_requests(guard: Guard, field: AuthorizationOf, app: Any) -> None:
    for _ in range(2):
        exchange = await run_app(AuthGuardMiddleware(app, guard=guard), http_scope(headers=header_list(field(guard))))
        assert exchange.status == 200


@pytest.mark.parametrize("make", GUARDS.values(), ids=GUARDS)
async def test_a_change_to_the_claims_ends_with_its_request(make: Callable[[], tuple[Guard, AuthorizationOf]]) -> None:
    """The next request of the same user finds the claims as the store, the token or the check has them."""
    guard, field = make()
    app = ChangingApp()

    await _two_requests(guard, field, app)

    assert app.found[0] == app.found[1]
    assert "added" not in app.found[0]


async def test_a_store_keeps_its_claims_whatever_a_request_does() -> None:
    """A request that changes its claims changes neither the store nor what the app has put into its accounts."""
    account, digest_account = _account(), _digest_account()

    await _two_requests(_guard(basic_scheme(memory_users(account))), _basic, ChangingApp())
    await _two_requests(_guard(digest_scheme(MemoryDigests([digest_account], realm=REALM))), _digest, ChangingApp())

    assert (account.claims, digest_account.claims) == (CLAIMS, CLAIMS)


async def test_the_principal_of_a_test_keeps_its_claims() -> None:
    """``acting_as`` gives each request a principal of its own too."""
    guard, alice, app = _guard(Badge()), Principal("alice", claims=copy.deepcopy(CLAIMS)), ChangingApp()

    with acting_as(guard, alice):
        await _two_requests(guard, lambda guard: "", app)

    assert app.found == [CLAIMS, CLAIMS]
    assert alice.claims == CLAIMS


def _change(principal: Principal, params: Mapping[str, str]) -> bool:
    """A predicate that finds the claims untouched, and changes them."""
    claims: Any = principal.claims
    teams = claims["teams"]
    return claims == {**CLAIMS, "teams": teams} and teams[0]["members"] == ["alice"] and not teams[0].update(members=[])


@pytest.mark.parametrize("rules", [[Rule("/**", PUBLIC)], [Rule("/**", predicate("untouched", _change))]])
async def test_a_predicate_and_a_lock_see_the_claims_of_their_own_request(rules: list[Rule]) -> None:
    """A predicate of a rule, or of a lock on a public route, changes the claims of its own request alone."""
    guard = _guard(Badge(table={"alice": Accepted(_one_principal())}), rules=rules)

    @requires(predicate("untouched", _change) if rules[0].requirement is PUBLIC else role("admin"))
    async def endpoint(request: Request) -> Response:
        assert request.user.claims["teams"][0]["members"] == []
        return Response()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await (await endpoint(Request(scope, receive)))(scope, receive, send)

    await _two_requests(guard, _badge, app)


async def test_within_a_request_the_claims_are_one_mapping() -> None:
    """What a middleware or a check adds to the claims is there for the endpoint."""

    async def check(request: AuthRequest, principal: Principal) -> Principal:
        added: Any = principal.claims
        added["checked"] = True
        return principal

    guard, app = _guard(Badge(table={"alice": Accepted(_one_principal())}), checks=[check]), ChangingApp()

    await _two_requests(guard, _badge, app)

    assert app.found == [{**CLAIMS, "checked": True}] * 2


@pytest.mark.parametrize("make", GUARDS.values(), ids=GUARDS)
async def test_an_inner_guard_takes_over_what_a_middleware_adds(
    make: Callable[[], tuple[Guard, AuthorizationOf]],
) -> None:
    """What code between two guards changes in the claims is there behind the inner one, and ends with the request."""
    guard, field = make()
    app = ChangingApp()
    inner = AuthGuardMiddleware(app, guard=_guard(guard.schemes[0]))

    async def between(scope: Scope, receive: Receive, send: Send) -> None:
        claims: Any = scope["user"].claims
        claims.setdefault("added between", []).append(len(app.found))
        await inner(scope, receive, send)

    await _two_requests(guard, field, between)

    assert [claims["added between"] for claims in app.found] == [[0], [1]]


class Wrapping(Scheme):
    """A scheme that asks another one, and adds to the claims that it finds."""

    carrier = AUTHORIZATION

    def __init__(self, inner: Scheme) -> None:
        self.inner, self.name = inner, inner.name
        self.count = 0

    async def authenticate(self, request: AuthRequest, credentials: Credentials) -> Outcome:
        outcome = await self.inner.authenticate(request, credentials)
        assert isinstance(outcome, Accepted)
        claims: Any = outcome.principal.claims
        self.count += 1
        claims[f"added {self.count}"] = self.count
        return outcome

    def challenges(self, request: AuthRequest, why: Denied | None) -> Sequence[Challenge]:
        return self.inner.challenges(request, why)


SHIPPED = [name for name in GUARDS if name.startswith(("b", "d", "i", "a test issuer"))]


@pytest.mark.parametrize("name", SHIPPED)
async def test_a_scheme_that_wraps_another_may_add_claims(name: str) -> None:
    """What it adds is there for the app, in the first request as in a later one, and not in that of anybody else."""
    guard, field = GUARDS[name]()
    app = RecordingApp()

    for _ in range(2):
        await _two_requests(_guard(Wrapping(guard.schemes[0])), field, app)

    found = [{key for key in scope["user"].claims if key.startswith("added")} for scope in app.scopes]
    assert found == [{"added 1"}, {"added 2"}] * 2


async def test_the_anonymous_user_cannot_be_changed() -> None:
    """All anonymous requests share ``request.user`` and ``request.auth``, so neither takes an attribute."""
    guard = _guard(Badge(), rules=[Rule("/**", PUBLIC)])
    errors: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for shared in (scope["user"], scope["auth"]):
            with pytest.raises(AttributeError) as caught:
                shared.tenant = 7
            errors.append(str(caught.value))
        await RecordingApp()(scope, receive, send)

    await run_app(AuthGuardMiddleware(app, guard=guard), http_scope())

    assert errors == ["all anonymous requests share this object; write to request.state"] * 2


async def test_the_parameters_of_a_path_without_any_cannot_be_changed() -> None:
    """A rule without parameters has one mapping for all requests. A predicate that writes to it is refused."""

    def write(principal: Principal, params: Any) -> bool:
        params["seen"] = principal.subject
        return True

    guard = _guard(Badge(), rules=[Rule("/a", predicate("writes", write))])
    app = AuthGuardMiddleware(RecordingApp(), guard=guard)

    exchange = await run_app(app, http_scope("/a", headers=header_list("Badge alice")))

    assert exchange.status == 403
    match = guard.table.match("GET", "/a")
    assert isinstance(match, Match)
    assert match.params == {}
