"""Who acts for a guard: for what is called from the block, in this context, until it ends."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from authguard import AuthGuardMiddleware, ConfigurationError, Guard, Principal, role
from authguard.testing import acting_as, assert_denied, basic_auth
from authguard.testing.acting import _INNERMOST
from authguard.testing.recording import OPEN
from tests.support.schemes.badge import Badge, Plain
from tests.testing.shop import MINTING, app_behind, client_of, guard_of

EDITOR = Principal("alice", roles={"editor"})
CLERK = Principal("bob", roles={"clerk"})


@pytest.fixture(params=["asyncio", "trio"])
def backend(request: pytest.FixtureRequest) -> str:
    """The event loop of a ``TestClient``."""
    return str(request.param)


def test_whom_the_test_names_is_who_asks(backend: str) -> None:
    """Nothing is presented, and the app sees the principal, by the first scheme that the route takes."""
    guard = guard_of()
    client = client_of(guard, backend=backend)

    with acting_as(guard, EDITOR) as acting:
        answers = [client.get(path).json() for path in ("/", "/admin", "/basic", "/news", "/desk", "/open/desk")]

    by = ["bearer", "bearer", "basic", "bearer", "bearer", "bearer"]
    assert answers == [["alice", scheme, ["editor"]] for scheme in by]
    assert acting is EDITOR


def test_who_lacks_the_role_is_403_as_in_production() -> None:
    """Rules and locks are asked; the challenge, the body and the record are those of real credentials."""
    guard = guard_of()
    client = client_of(guard)

    for path in ("/admin", "/desk", "/open/desk", "/pay", "/either"):
        real = client.get(path, headers=MINTING.headers("bob", roles={"clerk"}))
        with acting_as(guard, CLERK):
            acted = client.get(path)

        assert (acted.status_code, acted.headers, acted.content) == (403, real.headers, real.content)


def test_implied_roles_and_checks_run() -> None:
    """An admin is an editor by the guard's word, and its check bans who it bans."""
    guard = guard_of()
    client = client_of(guard)

    with acting_as(guard, Principal("root", roles={"admin"})):
        assert client.get("/admin").json() == ["root", "bearer", ["admin", "editor"]]
    with acting_as(guard, Principal("mallory", roles={"admin"})):
        assert_denied(client.get("/admin"), 403, reason="user.banned")


def test_nobody_acts_where_none_is_named() -> None:
    """None presents nothing, even where the request does: 401 with every challenge, anonymous on OPTIONAL."""
    guard = guard_of()
    client = client_of(guard)
    good = MINTING.headers("alice", roles={"editor"})

    with acting_as(guard, None) as nobody:
        denied, news, desk, hall = (
            client.get(path, headers=good) for path in ("/", "/news", "/open/desk", "/open/hall")
        )

        assert_denied(denied, 401, reason="credentials.missing", challenge="basic")
        assert_denied(desk, 401, reason="credentials.missing", challenge='Bearer realm="shop"')
    assert (news.json(), hall.json(), nobody) == (None, None, None)


@pytest.mark.parametrize("presented", [{"Authorization": "Bearer nonsense"}, basic_auth("zoë", "wrong")])
def test_what_a_request_presents_meanwhile_is_not_looked_at(presented: dict[str, str]) -> None:
    """A client with headers of its own is no trouble: a scheme has accepted already."""
    guard = guard_of()

    with acting_as(guard, EDITOR):
        answer = client_of(guard).get("/admin", headers=presented)

    assert answer.json() == ["alice", "bearer", ["editor"]]


def test_a_principal_may_name_its_scheme() -> None:
    """Then that has proved it, and a route that does not take it answers as it would in production."""
    guard = guard_of()
    client = client_of(guard)

    with acting_as(guard, Principal("alice", scheme="bearer")):
        assert client.get("/").json() == ["alice", "bearer", []]
        assert_denied(client.get("/basic"), 401, reason="scheme.unsupported")
    with acting_as(guard, Principal("bob", scheme="basic")):
        forbidden = client.get("/admin")
        assert_denied(forbidden, 403, reason="role.missing")
    assert "www-authenticate" not in forbidden.headers


def test_a_foreign_site_is_refused_what_browsers_send_by_themselves() -> None:
    """The guard's own test of the origin holds for who proved it by Basic."""
    guard = guard_of()
    client = client_of(guard)
    foreign = {"Origin": "https://evil.example"}

    with acting_as(guard, Principal("bob", scheme="basic")):
        assert_denied(client.post("/", headers=foreign), 403, reason="origin.foreign")
    with acting_as(guard, Principal("bob")):
        assert client.post("/", headers=foreign).status_code == 200


def test_on_public_nobody_is_asked() -> None:
    """As in production: without a lock the app sees nobody there."""
    guard = guard_of()

    with acting_as(guard, EDITOR):
        assert client_of(guard).get("/open/hall").json() is None


def test_of_two_blocks_the_inner_one_counts() -> None:
    """And the outer one again when it ends, also by an exception; after the last nobody acts."""
    guard, other = guard_of(), guard_of()
    client = client_of(guard)

    def asked() -> Any:
        answer = client.get("/")
        return answer.json()[0] if answer.status_code == 200 else answer.status_code

    seen = [asked()]
    with acting_as(guard, EDITOR), acting_as(other, Principal("zoë")):
        seen.append(asked())
        with acting_as(guard, CLERK):
            seen.append(asked())
            with acting_as(guard, None):
                seen.append(asked())
        with suppress(AssertionError), acting_as(guard, None):
            raise AssertionError("a test fails")
        seen.append(asked())
    seen.append(asked())

    assert seen == [401, "alice", "bob", 401, "alice", 401]


def test_one_block_is_entered_once_and_left_once() -> None:
    """Entered again it stays what it is, left it is over, and it can be opened anew."""
    guard = guard_of()
    client = client_of(guard)
    block = acting_as(guard, EDITOR)

    with block, block:
        inside = client.get("/").status_code
    outside = client.get("/").status_code
    with block:
        again = client.get("/").status_code

    assert (inside, outside, again) == (200, 401, 200)


def test_nothing_is_left_in_the_guard() -> None:
    """After the last block it is as it was, whatever the order in which they end."""
    told: list[object] = []
    guard = guard_of(hooks=[told.append])
    before, hooks = dict(vars(guard)), guard._recorder.hooks
    first, second = acting_as(guard, EDITOR), acting_as(guard, CLERK)

    first.__enter__()
    second.__enter__()
    meanwhile = guard.test_override
    first.__exit__(None, None, None)
    with_one = client_of(guard).get("/").json()
    second.__exit__(None, None, None)

    assert (vars(guard), guard._recorder.hooks, guard.test_override) == (before, hooks, None)
    assert (meanwhile is None, with_one[0], len(told)) == (False, "bob", 1)


def test_nothing_is_left_in_the_context() -> None:
    """Blocks that end in order are not held on to: a suite has thousands of them."""
    guard = guard_of()

    with acting_as(guard, EDITOR), acting_as(guard, CLERK):
        pass

    assert (_INNERMOST.get(), OPEN) == (None, [])


def test_whom_an_outer_guard_proved_asks_the_inner_one() -> None:
    """A block of the inner guard counts where the outer one asked nobody; else nobody could be two at once."""
    inner, outer = guard_of(), guard_of()
    nested = Starlette(routes=[Mount("/open", app_behind(inner)), Mount("/", app_behind(inner))])
    client = TestClient(AuthGuardMiddleware(nested, guard=outer))

    with acting_as(inner, EDITOR):
        public, closed = client.get("/open/admin"), client.get("/admin")
    with acting_as(inner, EDITOR), acting_as(outer, Principal("root", roles={"admin"})):
        both = client.get("/admin")

    assert (public.json()[0], closed.status_code, both.json()[0]) == ("alice", 401, "root")


def test_a_scheme_of_ones_own_can_be_acted() -> None:
    """It is not asked, and its challenge goes out with the 403, where it has one."""
    badge, plain = Badge(), Plain("plain")
    guard = guard_of(badge, plain, rules=[], default=role("editor"))
    client = client_of(guard)

    with acting_as(guard, CLERK):
        assert_denied(client.get("/"), 403, challenge='Badge realm="tests", error="insufficient_scope"')
    with acting_as(guard, Principal("bob", scheme="plain")):
        assert "www-authenticate" not in client.get("/").headers

    assert badge.presented == plain.presented == []


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: acting_as("guard", EDITOR), "guard: 'guard' is no Guard"),  # type: ignore[arg-type]
        (lambda: acting_as(guard_of(), "alice"), "principal: 'alice' is neither"),  # type: ignore[type-var]
        (lambda: acting_as(guard_of(), Principal("a", scheme="digest")), "no scheme 'digest': bearer, basic"),
    ],
)
def test_what_cannot_act_is_named_at_once(make: Callable[[], object], message: str) -> None:
    """A block of a wrong guard or of no principal would else open nothing, or everything, in silence."""
    with pytest.raises(ConfigurationError, match=message):
        make()


def test_a_block_is_no_decorator() -> None:
    """Round an ``async def`` it would be over before the test runs."""
    assert not callable(acting_as(guard_of(), EDITOR))


def test_production_has_no_test_override() -> None:
    """A new guard looks at what is presented."""
    assert Guard.test_override is None
    assert "test_override" not in vars(guard_of())
