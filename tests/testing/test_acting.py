"""``acting_as``: the principal of every request that is made in the block, in this context, until it ends."""

from __future__ import annotations

import gc
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from authguard import AuthGuardMiddleware, ConfigurationError, Guard, Principal, role
from authguard.testing import acting_as, assert_denied, basic_auth, recording
from authguard.testing.acting import _INNERMOST
from authguard.testing.record_list import OPEN_LISTENERS
from tests.support.schemes.badge import Badge, PlainBadge
from tests.testing.shop import ISSUER, app_behind, client_of, guard_of

EDITOR = Principal("alice", roles={"editor"})
CLERK = Principal("bob", roles={"clerk"})


@pytest.fixture(params=["asyncio", "trio"])
def backend(request: pytest.FixtureRequest) -> str:
    """The event loop of a ``TestClient``."""
    return str(request.param)


def test_requests_come_from_the_principal_of_the_block(backend: str) -> None:
    """They carry no credentials. The app sees the principal with the first scheme that the route accepts."""
    guard = guard_of()
    client = client_of(guard, backend=backend)

    with acting_as(guard, EDITOR) as value:
        answers = [client.get(path).json() for path in ("/", "/admin", "/basic", "/news", "/desk", "/open/desk")]

    schemes = ["bearer", "bearer", "basic", "bearer", "bearer", "bearer"]
    assert answers == [["alice", scheme, ["editor"]] for scheme in schemes]
    assert value is EDITOR


def test_a_missing_role_is_403_as_in_production() -> None:
    """Rules and locks run. The challenge, the body and the record are those of real credentials."""
    guard = guard_of()
    client = client_of(guard)

    for path in ("/admin", "/desk", "/open/desk", "/pay", "/either"):
        real = client.get(path, headers=ISSUER.headers("bob", roles={"clerk"}))
        with acting_as(guard, CLERK):
            acting = client.get(path)

        assert (acting.status_code, acting.headers, acting.content) == (403, real.headers, real.content)


def test_implied_roles_and_checks_run() -> None:
    """The role hierarchy makes an admin an editor, and the guard's check bans mallory."""
    guard = guard_of()
    client = client_of(guard)

    with acting_as(guard, Principal("root", roles={"admin"})):
        assert client.get("/admin").json() == ["root", "bearer", ["admin", "editor"]]
    with acting_as(guard, Principal("mallory", roles={"admin"})):
        assert_denied(client.get("/admin"), 403, reason="user.banned")


def test_none_acts_as_a_request_without_credentials() -> None:
    """Credentials in the request do not count. It is 401 with every challenge, and anonymous on OPTIONAL."""
    guard = guard_of()
    client = client_of(guard)
    valid = ISSUER.headers("alice", roles={"editor"})

    with acting_as(guard, None) as value:
        denied, news, desk, hall = (
            client.get(path, headers=valid) for path in ("/", "/news", "/open/desk", "/open/hall")
        )

        assert_denied(denied, 401, reason="credentials.missing", challenge="basic")
        assert_denied(desk, 401, reason="credentials.missing", challenge='Bearer realm="shop"')
    assert (news.json(), hall.json(), value) == (None, None, None)


@pytest.mark.parametrize("presented", [{"Authorization": "Bearer nonsense"}, basic_auth("zoë", "wrong")])
def test_credentials_of_a_request_are_ignored_in_the_block(presented: dict[str, str]) -> None:
    """A client may send headers of its own: the principal counts as accepted already."""
    guard = guard_of()

    with acting_as(guard, EDITOR):
        answer = client_of(guard).get("/admin", headers=presented)

    assert answer.json() == ["alice", "bearer", ["editor"]]


def test_a_principal_may_name_its_scheme() -> None:
    """A route that does not accept this scheme answers as in production."""
    guard = guard_of()
    client = client_of(guard)

    with acting_as(guard, Principal("alice", scheme="bearer")):
        assert client.get("/").json() == ["alice", "bearer", []]
        assert_denied(client.get("/basic"), 401, reason="scheme.unsupported")
    with acting_as(guard, Principal("bob", scheme="basic")):
        forbidden = client.get("/admin")
        assert_denied(forbidden, 403, reason="role.missing")
    assert "www-authenticate" not in forbidden.headers


def test_a_cross_origin_request_is_denied_for_basic() -> None:
    """Browsers send Basic by themselves, so the guard checks the origin as in production."""
    guard = guard_of()
    client = client_of(guard)
    foreign = {"Origin": "https://evil.example"}

    with acting_as(guard, Principal("bob", scheme="basic")):
        assert_denied(client.post("/", headers=foreign), 403, reason="origin.foreign")
    with acting_as(guard, Principal("bob")):
        assert client.post("/", headers=foreign).status_code == 200


def test_on_public_a_request_stays_anonymous() -> None:
    """It is so in production too, unless a lock asks."""
    guard = guard_of()

    with acting_as(guard, EDITOR):
        assert client_of(guard).get("/open/hall").json() is None


def test_of_two_blocks_the_inner_one_applies() -> None:
    """When it ends, even by an exception, the outer one applies again. After the last one nobody acts."""
    guard, other = guard_of(), guard_of()
    client = client_of(guard)

    def subject_or_status() -> Any:
        answer = client.get("/")
        return answer.json()[0] if answer.status_code == 200 else answer.status_code

    results = [subject_or_status()]
    with acting_as(guard, EDITOR), acting_as(other, Principal("zoë")):
        results.append(subject_or_status())
        with acting_as(guard, CLERK):
            results.append(subject_or_status())
            with acting_as(guard, None):
                results.append(subject_or_status())
        with suppress(AssertionError), acting_as(guard, None):
            raise AssertionError("a test fails")
        results.append(subject_or_status())
    results.append(subject_or_status())

    assert results == [401, "alice", "bob", 401, "alice", 401]


def test_a_block_may_be_entered_again() -> None:
    """Entering it twice changes nothing, leaving it once ends it, and it can be opened anew."""
    guard = guard_of()
    client = client_of(guard)
    block = acting_as(guard, EDITOR)

    with block, block:
        inside = client.get("/").status_code
    outside = client.get("/").status_code
    with block:
        again = client.get("/").status_code

    assert (inside, outside, again) == (200, 401, 200)


def test_the_guard_is_restored_after_the_last_block() -> None:
    """The order in which the blocks end does not matter."""
    records: list[object] = []
    guard = guard_of(hooks=[records.append])
    attributes, hooks = dict(vars(guard)), guard._recorder.hooks
    outer, inner = acting_as(guard, EDITOR), acting_as(guard, CLERK)

    outer.__enter__()
    inner.__enter__()
    while_open = guard.test_override
    outer.__exit__(None, None, None)
    with_inner = client_of(guard).get("/").json()
    inner.__exit__(None, None, None)

    assert (vars(guard), guard._recorder.hooks, guard.test_override) == (attributes, hooks, None)
    assert (while_open is None, with_inner[0], len(records)) == (False, "bob", 1)


def test_the_context_does_not_keep_ended_blocks() -> None:
    """A test suite has thousands of them."""
    guard = guard_of()

    with acting_as(guard, EDITOR), acting_as(guard, CLERK):
        pass

    assert (_INNERMOST.get(), OPEN_LISTENERS) == (None, [])


def test_an_inner_guard_takes_over_the_principal_of_the_outer_one() -> None:
    """A block of the inner guard applies only where the outer guard lets the request through anonymously."""
    inner, outer = guard_of(), guard_of()
    nested = Starlette(routes=[Mount("/open", app_behind(inner)), Mount("/", app_behind(inner))])
    client = TestClient(AuthGuardMiddleware(nested, guard=outer))

    with acting_as(inner, EDITOR):
        on_public, behind_outer = client.get("/open/admin"), client.get("/admin")
    with acting_as(inner, EDITOR), acting_as(outer, Principal("root", roles={"admin"})):
        as_both = client.get("/admin")

    assert (on_public.json()[0], behind_outer.status_code, as_both.json()[0]) == ("alice", 401, "root")


def test_a_scheme_of_the_app_can_be_acted_for() -> None:
    """The scheme is not called, and its challenge is sent with the 403 if it has one."""
    badge, plain = Badge(), PlainBadge("plain")
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
        (lambda: acting_as("guard", EDITOR), "guard: 'guard' is not a Guard"),  # type: ignore[arg-type]
        (lambda: acting_as(guard_of(), "alice"), "principal: 'alice' is neither"),  # type: ignore[type-var]
        (
            lambda: acting_as(guard_of(), Principal("a", scheme="digest")),
            "no scheme 'digest'; its schemes are bearer, basic",
        ),
    ],
)
def test_wrong_arguments_are_an_error_at_once(make: Callable[[], object], message: str) -> None:
    """A block for a wrong guard would change nothing, and nobody would notice."""
    with pytest.raises(ConfigurationError, match=message):
        make()


def test_a_block_is_not_a_decorator() -> None:
    """Around an ``async def`` it would end before the test runs."""
    block = acting_as(guard_of(), EDITOR)

    with block:
        assert not callable(block)


def test_production_has_no_test_override() -> None:
    """A new guard authenticates requests."""
    assert Guard.test_override is None
    assert "test_override" not in vars(guard_of())


# --- slips ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [lambda: acting_as(guard_of(), EDITOR), lambda: recording(guard_of())])
def test_a_block_that_is_never_entered_is_a_warning(make: Callable[[], object]) -> None:
    """N15: without ``with`` nobody acts and nothing is recorded, and the test would go on in silence."""

    def forget() -> None:
        make()
        gc.collect()

    with pytest.warns(RuntimeWarning, match=r"^(acting_as|recording)\(.*\) was never entered: write with \1"):
        forget()


ELSEWHERE = (
    "this guard decided no request of the block, and another one did; give acting_as the guard that is in front of the "
    "app"
)


def test_a_block_of_another_guard_raises() -> None:
    """N15: the app has a guard of its own, so nobody acted in the request."""
    client = client_of(guard_of())

    with pytest.raises(ConfigurationError, match=f"^guard: {ELSEWHERE}"), acting_as(guard_of(), EDITOR):
        assert client.get("/").status_code == 401


def test_a_failed_assertion_tells_of_another_guard() -> None:
    """N15: the note stands below the assertion that failed because of it."""
    client = client_of(guard_of())

    with pytest.raises(AssertionError) as caught, acting_as(guard_of(), EDITOR):
        assert client.get("/").status_code == 200

    assert caught.value.__notes__ == [f"acting_as: {ELSEWHERE}"]


def test_a_block_without_a_decision_is_no_mistake() -> None:
    """A PUBLIC route asks nobody, and another guard may decide beside this one."""
    guard, other = guard_of(), guard_of()

    with acting_as(guard, EDITOR):
        assert client_of(guard).get("/open/hall").status_code == 200
    with acting_as(guard, EDITOR):
        assert client_of(other).get("/").status_code == 401
        assert client_of(guard).get("/").status_code == 200
    assert Guard.test_override is None
