"""Locks on routes: they verify the caller if the rule did not, once, and can only restrict access further."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from authguard import (
    AUTHENTICATED,
    OPTIONAL,
    PUBLIC,
    AuthRequest,
    BackendUnavailable,
    Credentials,
    Principal,
    Requirement,
    Rule,
    all_of,
    predicate,
    role,
    scopes,
    step_up,
    via,
)
from authguard.asgi.locks import Lock
from authguard.schemes import Outcome
from tests.asgi.locked_apps import ALICE_BODY, WITH_EACH_RULE, BrokenRequirement, locked_app
from tests.support.guards import OPTIONAL_RULES, PUBLIC_RULES, RecordingGuard
from tests.support.schemes.badge import Badge, PlainBadge

# --- Who is verified, and when ---------------------------------------------------------------------------------------


@WITH_EACH_RULE
@pytest.mark.parametrize("locks", [1, 3])
async def test_a_caller_is_verified_once(rules: Any, locks: int) -> None:
    """The rule or the first lock verifies the caller. There is one record, and the endpoint knows the caller."""
    guard = RecordingGuard(rules=rules)

    answer = await guard.request(locked_app(*[role("admin"), AUTHENTICATED, OPTIONAL][:locks]))

    assert (answer.status, answer.body) == (200, ALICE_BODY)
    assert (guard.badge.presented, guard.outcomes) == (["alice"], ["granted"])


async def test_a_lock_that_verifies_is_what_the_record_names() -> None:
    """The record names the lock that verified the caller, and the rule that left the route public."""
    guard = RecordingGuard(rules=PUBLIC_RULES)

    await guard.request(locked_app(role("admin")))

    (record,) = guard.records
    assert (record.requirement, record.rule, record.subject, record.subject_proven) == (
        "role(admin)",
        "/**",
        "alice",
        True,
    )


@WITH_EACH_RULE
async def test_two_locks_at_the_same_time_verify_once(rules: Any) -> None:
    """Two locks at the same time verify the credentials once, because some credentials can be used only once."""

    class Waits(Badge):
        async def authenticate(self, request: AuthRequest, credentials: Credentials) -> Outcome:
            await anyio.lowlevel.checkpoint()
            return await super().authenticate(request, credentials)

    async def endpoint(request: Request) -> Response:
        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(Lock(role("admin")).open, request)
        return PlainTextResponse("fine")

    scheme = Waits()
    guard = RecordingGuard(scheme, rules=rules)

    answer = await guard.request(Starlette(routes=[Route("/", endpoint)]))

    assert (answer.status, scheme.presented, guard.outcomes) == (200, ["alice"], ["granted"])


@pytest.mark.parametrize(("field", "code"), [("Badge wrong", "badge.wrong"), ("Badge bob", "role.missing")])
async def test_two_locks_at_the_same_time_deny_once(field: str, code: str) -> None:
    """The second of two parallel locks uses the denial of the first and verifies nothing."""

    async def endpoint(request: Request) -> Response:
        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(swallowing, Lock(role("admin")), request)
        return PlainTextResponse("LEAK")

    async def swallowing(one: Lock, request: Request) -> None:
        with pytest.raises(Exception, match="Not a"):
            await one.open(request)

    guard = RecordingGuard(rules=PUBLIC_RULES)

    answer = await guard.request(Starlette(routes=[Route("/", endpoint)]), field=field)

    assert (answer.status, guard.outcomes, len(guard.badge.presented)) == (
        401 if "wrong" in field else 403,
        [code],
        1,
    )


async def test_a_cancelled_lock_can_be_asked_again() -> None:
    """A lock that was cancelled while it verified leaves nothing locked and nobody authenticated."""

    class Hangs(Badge):
        async def authenticate(self, request: AuthRequest, credentials: Credentials) -> Outcome:
            outcome = await super().authenticate(request, credentials)
            if len(self.presented) == 1:
                await anyio.sleep_forever()
            return outcome

    async def endpoint(request: Request) -> Response:
        with anyio.move_on_after(0.01):
            await Lock(AUTHENTICATED).open(request)
        assert not request.user.is_authenticated
        who = await Lock(AUTHENTICATED).open(request)
        return PlainTextResponse("nobody" if who is None else who.subject)

    guard = RecordingGuard(Hangs(), rules=PUBLIC_RULES)

    answer = await guard.request(Starlette(routes=[Route("/", endpoint)]))

    assert (answer.body, guard.outcomes) == (b"alice", ["granted"])


# --- What is denied --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rules", [PUBLIC_RULES, OPTIONAL_RULES], ids=["public", "optional"])
@pytest.mark.parametrize(
    ("requirement", "field", "status", "reason", "challenges"),
    [
        (role("admin"), None, 401, "credentials.missing", ['Badge realm="tests"', 'Pass realm="tests"']),
        (via("pass"), None, 401, "credentials.missing", ['Pass realm="tests"']),
        (OPTIONAL, "Badge wrong", 401, "badge.wrong", ['Badge realm="tests", error="invalid_token"', "Pass"]),
        (role("boss"), "Badge alice", 403, "role.missing", ['Badge realm="tests", error="insufficient_scope"']),
        (role("boss"), "Pass alice", 403, "role.missing", []),
        (scopes("write"), "Badge alice", 403, "scope.missing", ["Badge"]),
        (step_up(max_age=5), "Badge alice", 401, "step_up.required", ["Badge"]),
        (predicate("never", lambda principal, params: False), "Badge alice", 403, "check.refused", ["Badge"]),
    ],
)
async def test_a_lock_denies_as_a_rule_does(
    rules: Any, requirement: Requirement, field: str | None, status: int, reason: str, challenges: list[str]
) -> None:
    """A lock denies with the statuses of a rule, with challenges of the schemes that can meet it, and with one
    record."""
    guard = RecordingGuard(Badge(reports_login_time=True), PlainBadge("pass"), rules=rules)

    answer = await guard.request(locked_app(requirement), field=field)

    lines = answer.lines(b"www-authenticate")
    assert (answer.status, guard.denial_reasons) == (status, [reason])
    assert len(lines) >= len(challenges)
    assert all(line.startswith(start) for line, start in zip(lines, challenges, strict=False))
    assert guard.records[-1].requirement == str(requirement)


async def test_credentials_that_a_lock_does_not_accept_are_not_verified() -> None:
    """Behind a public rule a lock ignores credentials of other schemes. If the rule verified them, they do not meet the
    lock."""
    badge, other = Badge(), PlainBadge("pass")
    guard = RecordingGuard(badge, other, rules=[Rule("/", PUBLIC), Rule("/mine", AUTHENTICATED)])

    answers = [await guard.request(locked_app(via("badge"), path=path), path, "Pass alice") for path in ("/", "/mine")]

    assert [answer.status for answer in answers] == [401, 403]
    assert (guard.denial_reasons, other.presented) == (["scheme.unsupported", "scheme.insufficient"], ["alice"])


async def test_a_lock_never_loosens_a_rule() -> None:
    """If the rule denies, the lock and the endpoint are not reached."""
    guard = RecordingGuard(rules=[Rule("/", role("boss"))])

    answer = await guard.request(locked_app(OPTIONAL, AUTHENTICATED))

    assert (answer.status, guard.denial_reasons) == (403, ["role.missing"])


async def test_a_predicate_of_a_lock_gets_the_route_parameters_as_strings() -> None:
    """A predicate gets path parameters as strings, whatever the route's converters made of them."""
    seen: list[Mapping[str, str]] = []

    def is_seventh(principal: Principal, params: Mapping[str, str]) -> bool:
        seen.append(params)
        return params["number"] == "7"

    requirement = predicate("seventh", is_seventh)
    answer = await RecordingGuard(rules=PUBLIC_RULES).request(
        locked_app(requirement, path="/orders/{number:int}/{name}"), "/orders/7/x"
    )

    assert (answer.status, seen) == (200, [{"number": "7", "name": "x"}])


@WITH_EACH_RULE
@pytest.mark.parametrize("requirement", [via("nowhere"), step_up(max_age=5), all_of(via("badge"), via("pass"))])
async def test_a_lock_that_no_scheme_can_meet_denies_with_503(rules: Any, requirement: Requirement) -> None:
    """A lock that no scheme can meet denies with 503, and the record says why."""
    guard = RecordingGuard(Badge(), PlainBadge("pass"), rules=rules)

    answer = await guard.request(locked_app(requirement))

    assert (answer.status, guard.denial_reasons) == (503, ["backend.failed"])
    assert "scheme" in str(guard.records[-1].facts["problem"])


@WITH_EACH_RULE
@pytest.mark.parametrize("where", ["schemes", "unmet"])
async def test_a_lock_that_fails_denies_with_503(rules: Any, where: str) -> None:
    """An error in a lock denies with 503, as in a rule, and not with the framework's 500."""
    guard = RecordingGuard(rules=rules)

    answer = await guard.request(locked_app(BrokenRequirement(where)))

    assert (answer.status, guard.denial_reasons) == (503, ["backend.failed"])


async def test_an_outage_in_a_lock_is_a_503() -> None:
    """An outage in a lock is a 503 with its reason and its Retry-After."""
    table = {"alice": BackendUnavailable("down", retry_after=30)}
    guard = RecordingGuard(Badge(table=table), rules=PUBLIC_RULES)

    answer = await guard.request(locked_app(AUTHENTICATED))

    assert (answer.status, answer.lines(b"retry-after"), guard.denial_reasons) == (503, ["30"], ["store.unavailable"])
