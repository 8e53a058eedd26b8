"""The guard without ASGI: which scheme verifies, which checks run, and what the guard decides."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from authguard.core.guard import Guard
from authguard.errors import BackendUnavailable, ConfigurationError, InvalidSignature
from authguard.model import Accepted, Decision, Denied, Failure, Granted, Header, Moment, Outcome, Principal, Rejected
from authguard.policy.combinators import all_of, any_of
from authguard.policy.requirements import AUTHENTICATED, OPTIONAL, PUBLIC, predicate, role, scopes, step_up, via
from authguard.policy.rules import Match, Rule
from authguard.reasons import (
    BACKEND_FAILED,
    CREDENTIALS_AMBIGUOUS,
    CREDENTIALS_EXPIRED,
    CREDENTIALS_MALFORMED,
    CREDENTIALS_MISSING,
    METHOD_UNLISTED,
    ROLE_MISSING,
    SCHEME_UNSUPPORTED,
    SCOPE_MISSING,
    STEP_UP_REQUIRED,
    STORE_TIMEOUT,
    STORE_UNAVAILABLE,
    TOKEN_EXPIRED,
    Reason,
)
from authguard.request import AuthRequest
from authguard.schemes.carriers import AuthorizationField
from authguard.schemes.scheme import Carrier, Scheme
from authguard.wire.authorization import Credentials
from authguard.wire.grammar import WireError
from tests.support.asgi import header_list, http_scope
from tests.support.clock import NOW
from tests.support.schemes.badge import BADGE_WRONG, OUTCOMES, Badge, FieldCarrier, PlainBadge

ALICE = Principal("alice", roles={"admin"}, scopes={"read"}, scheme="badge")
DISABLED = Reason("account.disabled", 401)


def make_guard(*schemes: Scheme, **options: Any) -> Guard:
    """A guard with these schemes, or with one ``Badge``, whose clock stands at NOW."""
    return Guard(*(schemes or (Badge(),)), **{"clock": lambda: NOW, "log": False, **options})


async def decide(
    guard: Guard,
    authorization: str | None = "Badge alice",
    path: str = "/",
    method: str = "GET",
    authenticated: Principal | None = None,
    **others: str,
) -> Decision:
    """The decision of the guard for this request."""
    match = guard.table.match(method, path)
    assert isinstance(match, Match)
    scope = http_scope(path, method, header_list(authorization, **others))
    return await guard.decide(AuthRequest(scope, path=path, moment=guard.moment()), match, authenticated)


async def denial(*request: Any, **more: Any) -> Denied:
    """The denial that the guard decides on."""
    decision = await decide(*request, **more)
    assert isinstance(decision, Denied)
    return decision


# --- Who passes -------------------------------------------------------------------------------------------------------


async def test_a_scheme_that_accepts_lets_its_principal_pass() -> None:
    """A grant carries the principal, the scheme, the requirement, and the headers and facts of the scheme."""
    outcome = Accepted(Principal("alice"), [(b"x-a", b"1")], {"tolerated": 1})
    guard = make_guard(Badge(table={"alice": outcome}))

    decision = await decide(guard)

    assert decision == Granted(Principal("alice", scheme="badge"), AUTHENTICATED, [(b"x-a", b"1")], {"tolerated": 1})


async def test_each_request_gets_a_principal_of_its_own() -> None:
    """A scheme may accept every request with one principal. Each of them gets another object that is equal."""
    guard = make_guard(Badge(table={"alice": Accepted(ALICE)}))

    decisions = [await decide(guard) for _ in range(2)]

    principals = [decision.principal for decision in decisions if isinstance(decision, Granted)]
    assert principals == [ALICE, ALICE]
    assert len({id(principal) for principal in (ALICE, *principals)}) == 3


async def test_the_denial_of_a_rejecting_scheme_carries_all_it_reported() -> None:
    """The denial holds the reason, the subject, whether it was authenticated, the facts and headers, and the scheme."""
    outcome = Rejected(TOKEN_EXPIRED, "alice", {"expired_by": 4.2}, [(b"x-a", b"1")], authenticated=True)

    denied = await denial(make_guard(Badge(table={"alice": outcome})))

    assert denied == Denied(
        TOKEN_EXPIRED,
        "badge",
        "alice",
        True,
        AUTHENTICATED,
        frozenset({"badge"}),
        facts={"expired_by": 4.2},
        response_headers=[(b"x-a", b"1")],
    )


async def test_the_denial_of_a_missing_role_lists_the_roles_that_are_held() -> None:
    """The denial lists what is missing, what the principal has, in order, and the headers of the scheme that
    accepted."""
    bob = Accepted(Principal("bob", roles={"b", "a"}, scopes={"s"}), [(b"x-a", b"1")])
    guard = make_guard(Badge(table={"bob": bob}), rules=[Rule("/**", role("admin"))])

    denied = await denial(guard, "Badge bob")

    assert denied == Denied(
        ROLE_MISSING,
        "badge",
        "bob",
        True,
        role("admin"),
        frozenset({"badge"}),
        ("admin",),
        ("a", "b"),
        response_headers=[(b"x-a", b"1")],
    )


async def test_the_denial_of_a_missing_scope_lists_the_scopes_that_are_held() -> None:
    """For a missing scope, ``offered`` lists the scopes of the principal and not its roles."""
    denied = await denial(make_guard(rules=[Rule("/**", scopes("write"))]))

    assert (denied.reason, denied.missing, denied.offered) == (SCOPE_MISSING, ("write",), ("read",))


async def test_optional_is_anonymous_only_without_credentials() -> None:
    """Under OPTIONAL, invalid credentials are denied, and so are credentials for a scheme that is not accepted."""
    guard = make_guard(default=OPTIONAL)

    assert await decide(guard, None) == Granted(None, OPTIONAL)
    assert (await denial(guard, "Badge wrong")).reason is BADGE_WRONG
    assert (await denial(guard, "Basic abc")).reason is SCHEME_UNSUPPORTED


async def test_an_unlisted_method_is_closed_to_everybody() -> None:
    """A method without a rule is denied to everybody: with 401 if the caller is anonymous, else with 403."""
    guard = make_guard(rules=[Rule("/a", AUTHENTICATED, methods={"GET"})])

    assert (await denial(guard, None, "/a", "PUT")).reason is CREDENTIALS_MISSING
    assert (await denial(guard, "Badge alice", "/a", "PUT")).reason is METHOD_UNLISTED


async def test_a_predicate_receives_the_parameters_of_the_pattern() -> None:
    """A predicate can compare a path parameter with the principal, so that only owners pass."""
    owner = predicate("owner", lambda principal, params: params["name"] == principal.subject)
    guard = make_guard(rules=[Rule("/o/{name}", owner)])

    assert isinstance(await decide(guard, path="/o/alice"), Granted)
    assert isinstance(await decide(guard, path="/o/bob"), Denied)


# --- Implied roles ----------------------------------------------------------------------------------------------------

IMPLIES = {"admin": {"editor"}, "editor": {"reader"}}


@pytest.mark.parametrize("wanted", ["admin", "editor", "reader"])
async def test_a_role_grants_the_roles_that_it_implies(wanted: str) -> None:
    """``role_hierarchy`` grants implied roles at any depth."""
    guard = make_guard(rules=[Rule("/**", role(wanted))], role_hierarchy=IMPLIES)

    decision = await decide(guard)

    assert isinstance(decision, Granted)
    assert decision.principal == replace(ALICE, roles=frozenset({"admin", "editor", "reader"}))


async def test_roles_are_implied_downward_only() -> None:
    """A role does not grant the roles that imply it: a reader is not an admin."""
    table = {"alice": Accepted(Principal("alice", roles={"reader", "other"}))}
    guard = make_guard(Badge(table=table), rules=[Rule("/**", role("admin"))], role_hierarchy=IMPLIES)

    assert (await denial(guard)).offered == ("other", "reader")


# --- Checks -----------------------------------------------------------------------------------------------------------


async def test_a_check_sees_the_principal_as_the_guard_knows_it() -> None:
    """A check receives the principal with its scheme and its implied roles, and the request."""
    seen: list[tuple[str, Principal]] = []

    async def look(request: AuthRequest, principal: Principal) -> Principal:
        seen.append((request.path, principal))
        return principal

    decision = await decide(make_guard(checks=[look], role_hierarchy=IMPLIES), path="/a")

    expected = replace(ALICE, roles=frozenset({"admin", "editor", "reader"}))
    assert seen == [("/a", expected)]
    assert decision == Granted(expected, AUTHENTICATED)


async def test_a_check_may_enrich_a_principal() -> None:
    """Roles that a check adds count for the rule, imply other roles, and reach the next check."""
    seen: list[frozenset[str]] = []

    async def enrich(request: AuthRequest, principal: Principal) -> Principal:
        return replace(principal, roles=principal.roles | {"editor"}, scheme="another")

    async def look(request: AuthRequest, principal: Principal) -> Principal:
        seen.append(principal.roles)
        return principal

    guard = make_guard(checks=[enrich, look], role_hierarchy=IMPLIES, rules=[Rule("/**", role("reader"))])

    decision = await decide(guard, "Badge bob")

    assert decision == Granted(Principal("bob", roles={"editor", "reader"}, scheme="badge"), role("reader"))
    assert seen == [frozenset({"editor", "reader"})]


async def refuse(request: AuthRequest, principal: Principal) -> Rejected:
    """A check that denies everybody: the account is disabled."""
    return Rejected(DISABLED, "mallory", {"since": 7}, [(b"x-check", b"1")])


@pytest.mark.rfc("8725-3")
async def test_a_check_may_refuse() -> None:
    """The denial has the reason of the check, and the subject that was authenticated, whatever subject the check
    names."""
    denied = await denial(make_guard(checks=[refuse]))

    assert (denied.reason, denied.scheme, denied.subject, denied.authenticated) == (DISABLED, "badge", "alice", True)
    assert denied.facts == {"since": 7}


async def test_a_check_that_refuses_does_not_take_the_schemes_headers_away() -> None:
    """9110-12: the headers of the scheme that accepted, such as Authentication-Info, are sent with any denial that
    follows."""
    headers: list[Header] = [(b"authentication-info", b"x")]
    guard = make_guard(Badge(table={"alice": Accepted(Principal("alice"), headers)}), checks=[refuse])

    denied = await denial(guard)

    assert set(denied.response_headers) == {*headers, (b"x-check", b"1")}


async def test_the_first_check_that_refuses_ends_it() -> None:
    """After the first check that denies, no further check runs."""
    subjects: list[str] = []

    async def look(request: AuthRequest, principal: Principal) -> Principal:
        subjects.append(principal.subject)
        return principal

    await denial(make_guard(checks=[look, refuse, look]))

    assert subjects == ["alice"]


@pytest.mark.parametrize("authorization", [None, "Badge wrong", "Basic abc"])
async def test_checks_run_only_for_an_accepted_principal(authorization: str | None) -> None:
    """Checks run neither for an anonymous request nor for rejected credentials."""
    decision = await decide(make_guard(checks=[refuse], default=OPTIONAL), authorization)

    assert not isinstance(decision, Denied) or decision.reason is not DISABLED


async def _raise(request: AuthRequest, principal: Principal) -> Principal:
    raise LookupError("s3cr3t")


async def _down(request: AuthRequest, principal: Principal) -> Principal:
    raise BackendUnavailable("replica lags", reason=STORE_UNAVAILABLE, retry_after=9)


def _returns(value: Any) -> Callable[[AuthRequest, Principal], Any]:
    async def answer(request: AuthRequest, principal: Principal) -> Any:
        return value

    return answer


BROKEN: list[tuple[Any, str]] = [(_raise, "builtins.LookupError")]
BROKEN += [(_returns(value), "authguard.errors.WrongAnswer") for value in (None, True, "alice", Accepted(ALICE))]
BROKEN += [(lambda request, principal: principal, "authguard.errors.WrongAnswer")]


@pytest.mark.parametrize(("broken", "error"), BROKEN)
async def test_a_check_that_fails_denies_with_503(broken: Any, error: str) -> None:
    """A check that raises, or returns anything but a Principal, denies with 503. The record has the type and the
    frames."""
    denied = await denial(make_guard(checks=[broken]))

    assert (denied.reason, denied.facts["error"]) == (BACKEND_FAILED, error)
    assert "s3cr3t" not in repr(denied)


async def test_a_check_may_report_an_outage() -> None:
    """The reason, the detail and the ``retry_after`` of a ``BackendUnavailable`` from a check reach the denial."""
    denied = await denial(make_guard(checks=[_down]))

    assert denied.reason is STORE_UNAVAILABLE
    assert denied.facts == {"detail": "replica lags", "retry_after": 9}


async def test_a_check_has_a_deadline() -> None:
    """A check that exceeds the deadline counts as an outage, and its task is cancelled."""
    ended: list[str] = []

    async def hang(request: AuthRequest, principal: Principal) -> Principal:
        try:
            await anyio.sleep_forever()
        finally:
            ended.append("cancelled")
        return principal

    denied = await denial(make_guard(checks=[hang], deadline=0.001))

    assert (denied.reason, ended) == (STORE_TIMEOUT, ["cancelled"])
    assert denied.facts == {"detail": f"{hang.__qualname__}: no answer within 0.001 s", "retry_after": None}


async def test_a_time_out_of_a_checks_own_is_not_our_deadline() -> None:
    """A ``TimeoutError`` raised inside a check is recorded as that, not as the deadline of the guard."""

    async def connect(request: AuthRequest, principal: Principal) -> Principal:
        raise TimeoutError("s3cr3t")

    denied = await denial(make_guard(checks=[connect]))

    assert (denied.reason, denied.facts.get("error")) == (BACKEND_FAILED, "builtins.TimeoutError")


# --- Which credentials ------------------------------------------------------------------------------------------------

KEY, COOKIE = FieldCarrier("key", b"x-key"), FieldCarrier("cookie", b"x-cookie", sent_by_browsers=True)
THREE = {"key": Badge("key", carrier=KEY), "cookie": Badge("cookie", carrier=COOKIE), "badge": Badge()}

#: The fields, the rule's requirement, and the scheme of the principal or the reason of the denial.
CHOICES: list[tuple[dict[str, str], Any, str | Reason]] = [
    ({"x_key": "alice"}, AUTHENTICATED, "key"),
    ({"x_cookie": "alice"}, AUTHENTICATED, "cookie"),
    ({"authorization": "Badge alice"}, AUTHENTICATED, "badge"),
    ({}, AUTHENTICATED, CREDENTIALS_MISSING),
    # An explicit credential, valid or not, wins over one that browsers send by themselves.
    ({"x_cookie": "alice", "x_key": "alice"}, AUTHENTICATED, "key"),
    ({"x_cookie": "alice", "x_key": "wrong"}, AUTHENTICATED, BADGE_WRONG),
    ({"x_cookie": "wrong", "authorization": "Badge alice"}, AUTHENTICATED, "badge"),
    # Two explicit ones are ambiguous if the route accepts both.
    ({"x_key": "alice", "authorization": "Badge alice"}, AUTHENTICATED, CREDENTIALS_AMBIGUOUS),
    ({"x_key": "alice", "authorization": "Badge alice"}, OPTIONAL, CREDENTIALS_AMBIGUOUS),
    ({"x_key": "alice", "authorization": "Badge alice"}, via("key"), "key"),
    ({"x_key": "alice", "authorization": "Badge alice"}, via("key", "cookie"), "key"),
    ({"x_key": "alice", "authorization": "Basic abc"}, AUTHENTICATED, "key"),
    # Credentials that the route does not accept are not verified. A client may not even know of its cookies.
    ({"x_key": "alice"}, via("badge"), SCHEME_UNSUPPORTED),
    ({"x_cookie": "alice"}, via("badge"), CREDENTIALS_MISSING),
    ({"x_cookie": "alice"}, OPTIONAL, "cookie"),
    ({"x_cookie": "alice", "x_key": "alice"}, via("cookie"), "cookie"),
    ({"authorization": "Basic abc"}, AUTHENTICATED, SCHEME_UNSUPPORTED),
    # Bytes that are not credentials.
    ({"authorization": "Badge\talice"}, AUTHENTICATED, CREDENTIALS_MALFORMED),
    ({"authorization": "Badge\talice"}, via("key"), SCHEME_UNSUPPORTED),
    ({"authorization": "="}, via("key"), CREDENTIALS_MALFORMED),
]


@pytest.mark.rfc("6750-3")
@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize(("sent", "requirement", "expected"), CHOICES)
async def test_the_credentials_of_one_accepted_scheme_are_selected(
    order: int, sent: dict[str, str], requirement: Any, expected: str | Reason
) -> None:
    """6750-3: the order of the schemes in the guard does not change which credentials are selected."""
    guard = make_guard(*list(THREE.values())[::order], rules=[Rule("/**", requirement)])

    others: dict[str, Any] = {name: value for name, value in sent.items() if name != "authorization"}
    decision = await decide(guard, sent.get("authorization"), **others)

    outcome = decision.reason if isinstance(decision, Denied) else decision.principal and decision.principal.scheme
    assert outcome == expected


async def test_two_sets_for_one_scheme_are_ambiguous() -> None:
    """Two credentials for one scheme are ambiguous. The facts name the schemes, but not what was presented."""
    guard = make_guard(*THREE.values())
    scope = http_scope(headers=[(b"x-cookie", b"s3cr3t"), (b"x-cookie", b"s3cr3t")])
    match = guard.table.match("GET", "/")
    assert isinstance(match, Match)

    decision = await guard.decide(AuthRequest(scope, path="/", moment=guard.moment()), match)

    assert isinstance(decision, Denied)
    assert (decision.reason, decision.facts) == (
        CREDENTIALS_AMBIGUOUS,
        {"presented": ["cookie", "cookie"], "carriers": ["FieldCarrier", "FieldCarrier"]},
    )
    assert "s3cr3t" not in repr(decision)


@dataclass(frozen=True)
class FailingCarrier(Carrier):
    """A carrier that raises."""

    error: Exception
    sent_by_browsers: bool = False

    def find(self, request: AuthRequest) -> Sequence[Credentials] | Rejected:
        raise self.error


async def test_a_malformed_ambient_credential_yields_to_an_explicit_one_too() -> None:
    """A malformed cookie of another app does not lock out a client that sent a valid token."""
    guard = make_guard(
        Badge("cookie", carrier=FailingCarrier(WireError("no cookie of ours", "cookie"), sent_by_browsers=True)),
        Badge(),
    )

    decision = await decide(guard)

    assert isinstance(decision, Granted)


@pytest.mark.parametrize(("requirement", "reason"), [(OPTIONAL, None), (via("badge"), CREDENTIALS_MISSING)])
async def test_a_malformed_cookie_of_a_scheme_that_is_not_accepted_is_ignored(
    requirement: Any, reason: Reason | None
) -> None:
    """A cookie of a scheme that the route does not accept is ignored, even if it is malformed."""
    broken = FailingCarrier(WireError("no cookie of ours", "session"), sent_by_browsers=True)
    guard = make_guard(Badge("cookie", carrier=broken), Badge(), rules=[Rule("/**", requirement)])

    decision = await decide(guard, None)

    assert (decision.reason if isinstance(decision, Denied) else None) == reason


async def test_of_two_malformed_credentials_the_explicit_one_is_reported() -> None:
    """A malformed header field is reported rather than a malformed cookie. A malformed cookie alone is reported."""
    broken = FailingCarrier(WireError("no cookie of ours", "cookie"), sent_by_browsers=True)
    guard = make_guard(Badge("cookie", carrier=broken), Badge("old", carrier=broken), Badge())

    facts_list = [(await denial(guard, field)).facts for field in ("Badge\talice", None, "Basic abc")]

    assert [facts["problem"] for facts in facts_list] == ["no space after the auth-scheme"] + ["no cookie of ours"] * 2


async def test_an_ambient_carrier_whose_schemes_are_not_accepted_is_not_asked() -> None:
    """A cookie carrier is not read if the route accepts none of its schemes."""
    cookie = Badge("cookie", carrier=FailingCarrier(WireError("no cookie of ours"), sent_by_browsers=True))
    guard = make_guard(cookie, Badge(), default=via("badge"))

    assert (await denial(guard, None)).reason is CREDENTIALS_MISSING


async def test_equal_carriers_are_one() -> None:
    """Two schemes with equal carriers share one field, so that it counts as one set of credentials."""
    guard = make_guard(Badge("key", carrier=AuthorizationField()), Badge())

    assert isinstance(await decide(guard), Granted)


async def test_a_carrier_that_fails_denies_with_503() -> None:
    """A carrier that raises denies with 503, and the record has the type of the error."""
    denied = await denial(make_guard(Badge("key", carrier=FailingCarrier(LookupError("s3cr3t")))), None)

    assert (denied.reason, denied.facts["error"]) == (BACKEND_FAILED, "builtins.LookupError")


async def test_a_malformed_field_is_reported_without_its_bytes() -> None:
    """The facts hold the problem and the scheme, never the bytes that were sent."""
    denied = await denial(make_guard(), "Badge\ts3cr3t")

    facts = {"problem": "no space after the auth-scheme", "found": "a tab after it"}
    assert (denied.scheme, denied.facts) == ("badge", facts)


@pytest.mark.parametrize("field", ["{} abc", "{}\tabc", "{}"])
async def test_only_a_registered_scheme_name_is_reported(field: str) -> None:
    """The facts repeat a scheme name only if it is registered: any other word may be a key without a scheme
    before it."""
    facts = [(await denial(make_guard(), field.format(word))).facts for word in ("Negotiate", "s3cr3t")]

    assert facts == [
        {"presented": "negotiate", "wanted": ["badge"]},
        {"presented": "a word that is no registered scheme", "wanted": ["badge"]},
    ]


async def test_schemes_share_a_carrier() -> None:
    """A carrier is read once for each request, however many schemes it serves."""
    paths: list[str] = []

    class Counted(Carrier):
        def find(self, request: AuthRequest) -> Sequence[Credentials]:
            paths.append(request.path)
            return [Credentials("badge", b"alice")]

    carrier = Counted()

    await decide(make_guard(Badge(carrier=carrier), Badge("key", carrier=carrier)))

    assert paths == ["/"]


# --- What fails -------------------------------------------------------------------------------------------------------

RAISED = [
    LookupError("s3cr3t"),
    ValueError("s3cr3t"),
    TimeoutError("s3cr3t"),
    OSError(5, "s3cr3t"),
    MemoryError("s3cr3t"),
    RecursionError("s3cr3t"),
    StopAsyncIteration("s3cr3t"),
    UnicodeDecodeError("utf-8", b"s3cr3t", 0, 1, "s3cr3t"),
    InvalidSignature("s3cr3t"),
    ConfigurationError("s3cr3t", "s3cr3t"),
    ExceptionGroup("s3cr3t", [KeyError("s3cr3t")]),
]


@pytest.mark.parametrize("error", RAISED, ids=lambda error: type(error).__name__)
async def test_a_scheme_that_raises_denies_with_503(error: Exception) -> None:
    """The denial is ``backend.failed``, under OPTIONAL too. The facts hold the type and the frames, not text, locals or
    cause."""
    error = error.with_traceback(None)
    error.__cause__ = KeyError("s3cr3t")
    guard = make_guard(Badge(table={"alice": error}), default=OPTIONAL)

    denied = await denial(guard)

    kind = type(error)
    assert denied.reason is BACKEND_FAILED
    assert denied.facts["error"] == f"{kind.__module__}.{kind.__qualname__}"
    assert str(denied.facts["frames"]).count("authenticate") == 1
    assert "s3cr3t" not in repr(denied)


def _nested(depth: int) -> None:
    if depth == 0:
        raise LookupError
    _nested(depth - 1)


class DeepFailure(Badge):
    """A scheme that fails twenty calls down."""

    async def authenticate(self, request: AuthRequest, credentials: Credentials) -> Outcome:
        _nested(20)
        raise AssertionError


async def test_the_innermost_frames_are_recorded() -> None:
    """The facts hold at most eight frames, each with file, line and function, and without the directories of the
    machine."""
    denied = await denial(make_guard(DeepFailure()))
    frames = denied.facts["frames"]

    assert isinstance(frames, tuple)
    assert len(frames) == 8
    assert {frame.split(":")[0] for frame in frames} == {"core/test_guard.py"}
    assert {frame.split(" ")[1] for frame in frames} == {"_nested"}


@pytest.mark.parametrize("answer", [None, True, ALICE, Accepted("alice"), Accepted(None), Principal])  # type: ignore[arg-type]
async def test_a_scheme_that_returns_nonsense_denies_with_503(answer: Any) -> None:
    """Only ``Accepted`` with a Principal lets a request pass. Any other value counts as a failed scheme."""
    denied = await denial(make_guard(Badge(table={"alice": answer}), default=OPTIONAL))

    error = "builtins.TypeError" if isinstance(answer, Accepted) else "authguard.errors.WrongAnswer"
    assert (denied.reason, denied.facts["error"]) == (BACKEND_FAILED, error)


async def test_a_wire_error_of_a_scheme_is_malformed_credentials() -> None:
    """A ``WireError`` from a scheme denies with 401, and the facts hold the constant phrase of the error."""
    denied = await denial(make_guard(Badge(table={"alice": WireError("not a list of auth-params")})))

    assert (denied.reason, denied.scheme) == (CREDENTIALS_MALFORMED, "badge")
    assert denied.facts == {"problem": "not a list of auth-params", "found": "nothing that is a parameter"}


async def test_an_outage_is_recorded_with_its_scheme() -> None:
    """7662-4: the denial of an outage names the scheme, so that the operator knows where to look."""
    down = BackendUnavailable("no route", reason=STORE_UNAVAILABLE)

    denied = await denial(make_guard(Badge(table={"alice": down})))

    assert (denied.reason, denied.scheme, denied.facts) == (
        STORE_UNAVAILABLE,
        "badge",
        {"detail": "no route", "retry_after": None},
    )


async def test_a_requirement_of_ones_own_that_fails_denies_with_503() -> None:
    """A requirement that raises denies with 503."""

    class Broken:
        def unmet(self, principal: Principal, params: Mapping[str, str], moment: Moment) -> Failure | None:
            raise LookupError("s3cr3t")

        def schemes(self, every: frozenset[str]) -> frozenset[str]:
            return every

        def scopes_named(self) -> tuple[str, ...]:
            return ()

    denied = await denial(make_guard(rules=[Rule("/**", Broken())]))

    assert (denied.reason, denied.facts["error"]) == (BACKEND_FAILED, "builtins.LookupError")


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])
async def test_what_ends_the_process_is_not_held_up(error: type[BaseException]) -> None:
    """An exception that ends the process, such as KeyboardInterrupt, passes through the guard."""
    guard = make_guard(Badge(table={"alice": error()}))

    with pytest.raises(error):
        await decide(guard)


@pytest.mark.parametrize("where", ["scheme", "check"])
async def test_cancellation_propagates(where: str) -> None:
    """A cancelled request gets no decision: neither a grant nor an outage."""
    decided: list[Decision] = []

    with anyio.CancelScope() as scope:

        class Cancelled(Badge):
            async def authenticate(self, request: AuthRequest, credentials: Credentials) -> Outcome:
                if where == "scheme":
                    scope.cancel()
                    await anyio.lowlevel.checkpoint()
                return Accepted(ALICE)

        async def cancel(request: AuthRequest, principal: Principal) -> Principal:
            scope.cancel()
            await anyio.lowlevel.checkpoint()
            return principal

        decided.append(await decide(make_guard(Cancelled(), checks=[cancel])))

    assert (scope.cancelled_caught, decided) == (True, [])


# --- Time -------------------------------------------------------------------------------------------------------------


class Clocks:
    """A wall clock and a monotonic clock that a test moves together. The wall clock counts its readings."""

    def __init__(self) -> None:
        self.passed = 0.0
        self.reads = 0

    def wall(self) -> float:
        """The time of day."""
        self.reads += 1
        return NOW + self.passed

    def monotonic(self) -> float:
        """The clock for durations."""
        return 1000.0 + self.passed


class SlowBadge(Badge):
    """A scheme that takes some seconds."""

    def __init__(self, clocks: Clocks, seconds: float, principal: Principal) -> None:
        super().__init__(table={"alice": Accepted(principal, [(b"x-a", b"1")])}, reports_login_time=True)
        self.clocks, self.seconds = clocks, seconds

    async def authenticate(self, request: AuthRequest, credentials: Credentials) -> Outcome:
        self.clocks.passed += self.seconds
        return await super().authenticate(request, credentials)


async def waited(seconds: float, principal: Principal, **options: Any) -> tuple[Decision, int]:
    """The decision after a scheme that took so many seconds, and how often the wall clock was read."""
    clocks = Clocks()
    guard = make_guard(
        SlowBadge(clocks, seconds, principal), clock=clocks.wall, monotonic=clocks.monotonic, leeway=10.0, **options
    )
    return await decide(guard), clocks.reads


async def test_the_clock_is_read_once_a_request() -> None:
    """A wait of up to one second does not read the clock again: the decision is as of the moment the request
    arrived."""
    decision, reads = await waited(1.0, Principal("alice", expires_at=NOW - 9.5))

    assert (isinstance(decision, Granted), reads) == (True, 1)


async def test_a_long_wait_reads_the_clock_again_before_granting() -> None:
    """After a long wait, a principal that has expired beyond the leeway is denied, and the facts say by how many
    seconds."""
    decision, reads = await waited(1.5, Principal("alice", expires_at=NOW - 8.6))

    assert isinstance(decision, Denied)
    assert reads == 2
    assert (decision.reason, decision.scheme, decision.subject, decision.authenticated) == (
        CREDENTIALS_EXPIRED,
        "badge",
        "alice",
        True,
    )
    assert decision.facts == {"expired_by": 10.1, "leeway": 10.0, "while_waiting": True}


@pytest.mark.parametrize("expires_at", [NOW - 8.4, NOW + 100, None])
async def test_a_long_wait_alone_denies_nobody(expires_at: float | None) -> None:
    """After a long wait, a principal that is not expired beyond the leeway, or never expires, is granted."""
    decision, reads = await waited(1.5, Principal("alice", expires_at=expires_at))

    assert (isinstance(decision, Granted), reads) == (True, 2)


async def test_a_wait_in_a_check_counts() -> None:
    """Waiting in a check counts as waiting for the request. A principal that the check made does not live longer for
    it."""
    clocks = Clocks()

    async def wait(request: AuthRequest, principal: Principal) -> Principal:
        clocks.passed += 20.0
        return principal

    scheme = SlowBadge(clocks, 0.0, Principal("alice", expires_at=NOW + 5))
    guard = make_guard(scheme, clock=clocks.wall, monotonic=clocks.monotonic, leeway=10.0, checks=[wait])

    assert (await denial(guard)).facts["expired_by"] == 15.0


async def test_after_a_long_wait_the_requirement_is_checked_at_the_new_moment() -> None:
    """A login that was recent enough when the request arrived may be too old after a long wait."""
    principal = Principal("alice", claims={"auth_time": NOW - 60})
    rules = [Rule("/**", step_up(max_age=60))]

    soon, _ = await waited(0.5, principal, rules=rules)
    late, _ = await waited(10.5, principal, rules=rules)

    assert isinstance(soon, Granted)
    assert isinstance(late, Denied)
    assert late.reason is STEP_UP_REQUIRED


async def test_a_principal_that_expired_while_waiting_gets_the_headers_of_the_scheme() -> None:
    """The headers of the scheme that accepted are sent even if the principal expired while the request waited."""
    decision, _ = await waited(1.5, Principal("alice", expires_at=NOW - 8.6))

    assert list(decision.response_headers) == [(b"x-a", b"1")]


# --- What is refused while it is built --------------------------------------------------------------------------------


def _scheme(name: Any) -> Badge:
    return Badge(name)


MISTAKES: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    ("schemes", (), {}),
    ("schemes", ("bearer",), {}),
    ("schemes", (None,), {}),
    ("schemes", (Badge,), {}),
    ("schemes", ([Badge()],), {}),
    ("schemes", (Rule("/", PUBLIC),), {}),
    ("schemes", (Badge(), Badge()), {}),
    ("schemes", (Badge("Badge"),), {}),
    ("schemes", (Badge("a b"),), {}),
    ("schemes", (Badge(""),), {}),
    ("schemes", (_scheme(None),), {}),
    ("rules", (Badge(),), {"rules": ["/admin"]}),
    ("rules", (Badge(),), {"rules": Rule("/", PUBLIC)}),
    ("rules", (Badge(),), {"rules": [Rule("/a", PUBLIC), Rule("/a", AUTHENTICATED)]}),
    ("rules", (Badge(),), {"rules": [Rule("/a", via("basic"))]}),
    ("rules", (Badge(), PlainBadge("plain")), {"rules": [Rule("/a", all_of(via("badge"), via("plain")))]}),
    ("rules", (Badge(),), {"rules": [Rule("/a", any_of(role("a"), step_up(acr="gold")))]}),
    ("default", (Badge(),), {"default": PUBLIC}),
    ("default", (Badge(),), {"default": "admin"}),
    ("default", (Badge(),), {"default": via("basic")}),
    ("default", (Badge(),), {"default": step_up(acr="gold")}),
    ("leeway", (Badge(),), {"leeway": -1}),
    ("leeway", (Badge(),), {"leeway": math.nan}),
    ("leeway", (Badge(),), {"leeway": 301}),
    ("role_hierarchy", (Badge(),), {"role_hierarchy": {"admin": "editor"}}),
    ("role_hierarchy", (Badge(),), {"role_hierarchy": {"a": {"b"}, "b": {"a"}}}),
    ("role_hierarchy", (Badge(),), {"role_hierarchy": [("a", {"b"})]}),
    ("checks", (Badge(),), {"checks": [None]}),
    ("checks", (Badge(),), {"checks": refuse}),
    ("hooks", (Badge(),), {"hooks": ["print"]}),
    ("hooks", (Badge(),), {"hooks": print}),
    ("hooks", (Badge(),), {"hooks": [_raise]}),
    ("deadline", (Badge(),), {"deadline": 0}),
    ("deadline", (Badge(),), {"deadline": -1}),
    ("deadline", (Badge(),), {"deadline": math.nan}),
    ("deadline", (Badge(),), {"deadline": math.inf}),
    ("deadline", (Badge(),), {"deadline": "5"}),
    ("clock", (Badge(),), {"clock": NOW}),
    ("monotonic", (Badge(),), {"monotonic": None}),
]


@pytest.mark.parametrize(("argument", "schemes", "options"), MISTAKES)
def test_a_guard_with_invalid_arguments_raises(
    argument: str, schemes: tuple[Any, ...], options: dict[str, Any]
) -> None:
    """Invalid arguments raise while the app is built, and the error names the argument."""
    with pytest.raises(ConfigurationError) as caught:
        Guard(*schemes, **options)

    assert caught.value.argument == argument


def test_a_guard_of_one_scheme_needs_nothing_more() -> None:
    """Every other argument of ``Guard`` has a default: AUTHENTICATED, and a leeway of 60 seconds."""
    guard = Guard(Badge(table=OUTCOMES))

    assert (guard.table.default.requirement, guard.leeway, guard.reads_body) == (AUTHENTICATED, 60.0, False)


def test_step_up_needs_one_scheme_that_reports_the_login_time() -> None:
    """``step_up`` needs at least one scheme with ``reports_login_time``."""
    rules = [Rule("/a", step_up(acr="gold"))]

    assert Guard(Badge(), Badge("bearer", reports_login_time=True), rules=rules).table.rules == tuple(rules)


async def test_an_outage_without_a_detail_shows_where_it_was_raised() -> None:
    """A store that says nothing of its outage is at least named by the file, the line and the function that raised."""
    badge = Badge(table={"alice": BackendUnavailable()})

    denied = await denial(make_guard(badge))

    assert denied.reason is STORE_UNAVAILABLE
    assert (denied.facts["error"], denied.facts["retry_after"]) == ("authguard.errors.BackendUnavailable", None)
    assert "badge.py" in str(denied.facts["frames"])
