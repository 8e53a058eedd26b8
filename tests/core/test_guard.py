"""The guard without ASGI: who is asked, in which order, and what comes of it."""

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


def made(*schemes: Scheme, **options: Any) -> Guard:
    """A guard with one scheme, if no other is named, and the clock of tests."""
    return Guard(*(schemes or (Badge(),)), **{"clock": lambda: NOW, "log": False, **options})


async def decide(
    guard: Guard,
    authorization: str | None = "Badge alice",
    path: str = "/",
    method: str = "GET",
    authenticated: Principal | None = None,
    **others: str,
) -> Decision:
    """What the guard decides."""
    match = guard.table.match(method, path)
    assert isinstance(match, Match)
    scope = http_scope(path, method, header_list(authorization, **others))
    return await guard.decide(AuthRequest(scope, path=path, moment=guard.moment()), match, authenticated)


async def refusal(*asked: Any, **more: Any) -> Denied:
    """The denial that the guard decides on."""
    decision = await decide(*asked, **more)
    assert isinstance(decision, Denied)
    return decision


# --- Who passes -------------------------------------------------------------------------------------------------------


async def test_a_scheme_that_accepts_lets_its_principal_pass() -> None:
    """The decision tells who, by which scheme, for which requirement, with the scheme's headers and facts."""
    outcome = Accepted(Principal("alice"), [(b"x-a", b"1")], {"tolerated": 1})
    guard = made(Badge(table={"alice": outcome}))

    decision = await decide(guard)

    assert decision == Granted(Principal("alice", scheme="badge"), AUTHENTICATED, [(b"x-a", b"1")], {"tolerated": 1})


async def test_a_principal_that_names_its_scheme_is_passed_on_as_it_is() -> None:
    """No copy is made on the path of every request."""
    outcome = Accepted(ALICE)

    decision = await decide(made(Badge(table={"alice": outcome})))

    assert isinstance(decision, Granted)
    assert decision.principal is ALICE


async def test_a_scheme_that_rejects_is_told_with_all_it_said() -> None:
    """Reason, subject and whether that was proven, facts, headers; and the scheme that was tried."""
    outcome = Rejected(TOKEN_EXPIRED, "alice", {"expired_by": 4.2}, [(b"x-a", b"1")], authenticated=True)

    denied = await refusal(made(Badge(table={"alice": outcome})))

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


async def test_a_principal_without_the_role_is_told_with_what_it_has() -> None:
    """What is missing, what was offered in order, and the headers of the scheme that accepted."""
    bob = Accepted(Principal("bob", roles={"b", "a"}, scopes={"s"}), [(b"x-a", b"1")])
    guard = made(Badge(table={"bob": bob}), rules=[Rule("/**", role("admin"))])

    denied = await refusal(guard, "Badge bob")

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


async def test_where_scopes_are_asked_for_scopes_are_what_was_offered() -> None:
    """Not the roles."""
    denied = await refusal(made(rules=[Rule("/**", scopes("write"))]))

    assert (denied.reason, denied.missing, denied.offered) == (SCOPE_MISSING, ("write",), ("read",))


async def test_optional_is_anonymous_only_where_nothing_was_presented() -> None:
    """Bad credentials, and such for a scheme that is not accepted, are refused."""
    guard = made(default=OPTIONAL)

    assert await decide(guard, None) == Granted(None, OPTIONAL)
    assert (await refusal(guard, "Badge wrong")).reason is BADGE_WRONG
    assert (await refusal(guard, "Basic abc")).reason is SCHEME_UNSUPPORTED


async def test_an_unlisted_method_is_closed_to_everybody() -> None:
    """401 for nobody, 403 for somebody."""
    guard = made(rules=[Rule("/a", AUTHENTICATED, methods={"GET"})])

    assert (await refusal(guard, None, "/a", "PUT")).reason is CREDENTIALS_MISSING
    assert (await refusal(guard, "Badge alice", "/a", "PUT")).reason is METHOD_UNLISTED


async def test_the_parameters_of_the_pattern_reach_a_check_of_the_policy() -> None:
    """Owners only."""
    owner = predicate("owner", lambda principal, params: params["name"] == principal.subject)
    guard = made(rules=[Rule("/o/{name}", owner)])

    assert isinstance(await decide(guard, path="/o/alice"), Granted)
    assert isinstance(await decide(guard, path="/o/bob"), Denied)


# --- Implied roles ----------------------------------------------------------------------------------------------------

IMPLIES = {"admin": {"editor"}, "editor": {"reader"}}


@pytest.mark.parametrize("wanted", ["admin", "editor", "reader"])
async def test_implied_roles_are_had(wanted: str) -> None:
    """However far down."""
    guard = made(rules=[Rule("/**", role(wanted))], role_hierarchy=IMPLIES)

    decision = await decide(guard)

    assert isinstance(decision, Granted)
    assert decision.principal == replace(ALICE, roles=frozenset({"admin", "editor", "reader"}))


async def test_roles_are_implied_downward_only() -> None:
    """A reader is no admin."""
    table = {"alice": Accepted(Principal("alice", roles={"reader", "other"}))}
    guard = made(Badge(table=table), rules=[Rule("/**", role("admin"))], role_hierarchy=IMPLIES)

    assert (await refusal(guard)).offered == ("other", "reader")


# --- Checks -----------------------------------------------------------------------------------------------------------


async def test_a_check_sees_the_principal_as_the_guard_knows_it() -> None:
    """With its scheme and its implied roles, and beside it the request."""
    seen: list[tuple[str, Principal]] = []

    async def look(request: AuthRequest, principal: Principal) -> Principal:
        seen.append((request.path, principal))
        return principal

    decision = await decide(made(checks=[look], role_hierarchy=IMPLIES), path="/a")

    expected = replace(ALICE, roles=frozenset({"admin", "editor", "reader"}))
    assert seen == [("/a", expected)]
    assert decision == Granted(expected, AUTHENTICATED)


async def test_a_check_may_enrich_a_principal() -> None:
    """Roles of the app's own database count for the rule, imply others, and reach the next check."""
    seen: list[frozenset[str]] = []

    async def enrich(request: AuthRequest, principal: Principal) -> Principal:
        return replace(principal, roles=principal.roles | {"editor"}, scheme="another")

    async def look(request: AuthRequest, principal: Principal) -> Principal:
        seen.append(principal.roles)
        return principal

    guard = made(checks=[enrich, look], role_hierarchy=IMPLIES, rules=[Rule("/**", role("reader"))])

    decision = await decide(guard, "Badge bob")

    assert decision == Granted(Principal("bob", roles={"editor", "reader"}, scheme="badge"), role("reader"))
    assert seen == [frozenset({"editor", "reader"})]


async def refuse(request: AuthRequest, principal: Principal) -> Rejected:
    """A check that knows the account to be disabled."""
    return Rejected(DISABLED, "mallory", {"since": 7}, [(b"x-check", b"1")])


@pytest.mark.rfc("8725-3")
async def test_a_check_may_refuse() -> None:
    """Its reason is the denial's; the subject is the one that was proven, whatever the check says."""
    denied = await refusal(made(checks=[refuse]))

    assert (denied.reason, denied.scheme, denied.subject, denied.authenticated) == (DISABLED, "badge", "alice", True)
    assert denied.facts == {"since": 7}


async def test_a_check_that_refuses_does_not_take_the_schemes_headers_away() -> None:
    """9110-12: Authentication-Info and DPoP-Nonce go out on whatever answer passes the guard."""
    headers: list[Header] = [(b"authentication-info", b"x")]
    guard = made(Badge(table={"alice": Accepted(Principal("alice"), headers)}), checks=[refuse])

    denied = await refusal(guard)

    assert set(denied.response_headers) == {*headers, (b"x-check", b"1")}


async def test_the_first_check_that_refuses_ends_it() -> None:
    """Those behind it are not asked."""
    asked: list[str] = []

    async def look(request: AuthRequest, principal: Principal) -> Principal:
        asked.append(principal.subject)
        return principal

    await refusal(made(checks=[look, refuse, look]))

    assert asked == ["alice"]


@pytest.mark.parametrize("authorization", [None, "Badge wrong", "Basic abc"])
async def test_checks_run_after_a_success_only(authorization: str | None) -> None:
    """Neither for nobody nor for who was rejected."""
    decision = await decide(made(checks=[refuse], default=OPTIONAL), authorization)

    assert not isinstance(decision, Denied) or decision.reason is not DISABLED


async def _raise(request: AuthRequest, principal: Principal) -> Principal:
    raise LookupError("s3cr3t")


async def _down(request: AuthRequest, principal: Principal) -> Principal:
    raise BackendUnavailable("replica lags", reason=STORE_UNAVAILABLE, retry_after=9)


def _not_async(request: AuthRequest, principal: Principal) -> Any:
    return principal


def _returns(value: Any) -> Callable[[AuthRequest, Principal], Any]:
    async def answer(request: AuthRequest, principal: Principal) -> Any:
        return value

    return answer


BROKEN: list[tuple[Any, str]] = [(_raise, "builtins.LookupError"), (_not_async, "builtins.TypeError")]
BROKEN += [(_returns(value), "builtins.TypeError") for value in (None, True, "alice", Accepted(ALICE))]


@pytest.mark.parametrize(("broken", "error"), BROKEN)
async def test_a_check_that_fails_closes_the_door(broken: Any, error: str) -> None:
    """Whatever it raises, and whatever it returns that is no Principal: 503, told by type and frames."""
    denied = await refusal(made(checks=[broken]))

    assert (denied.reason, denied.facts["error"]) == (BACKEND_FAILED, error)
    assert "s3cr3t" not in repr(denied)


async def test_a_check_may_say_that_it_cannot_tell() -> None:
    """Its reason, its detail and its time are told."""
    denied = await refusal(made(checks=[_down]))

    assert denied.reason is STORE_UNAVAILABLE
    assert denied.facts == {"detail": "replica lags", "retry_after": 9}


async def test_a_check_has_a_deadline() -> None:
    """One that never answers is an outage; its task is cancelled."""
    ended: list[str] = []

    async def hang(request: AuthRequest, principal: Principal) -> Principal:
        try:
            await anyio.sleep_forever()
        finally:
            ended.append("cancelled")
        return principal

    denied = await refusal(made(checks=[hang], deadline=0.001))

    assert (denied.reason, ended) == (STORE_TIMEOUT, ["cancelled"])
    assert denied.facts == {"detail": "no answer within 0.001 s", "retry_after": None}


async def test_a_time_out_of_a_checks_own_is_not_our_deadline() -> None:
    """Else the log would send its reader after a deadline that nobody missed."""

    async def connect(request: AuthRequest, principal: Principal) -> Principal:
        raise TimeoutError("s3cr3t")

    denied = await refusal(made(checks=[connect]))

    assert (denied.reason, denied.facts.get("error")) == (BACKEND_FAILED, "builtins.TimeoutError")


# --- Which credentials ------------------------------------------------------------------------------------------------

KEY, COOKIE = FieldCarrier("key", b"x-key"), FieldCarrier("cookie", b"x-cookie", sent_by_browsers=True)
THREE = {"key": Badge("key", carrier=KEY), "cookie": Badge("cookie", carrier=COOKIE), "badge": Badge()}

#: Fields by name, the rule's requirement, and who passes by which scheme or why nobody does.
CHOICES: list[tuple[dict[str, str], Any, str | Reason]] = [
    ({"x_key": "alice"}, AUTHENTICATED, "key"),
    ({"x_cookie": "alice"}, AUTHENTICATED, "cookie"),
    ({"authorization": "Badge alice"}, AUTHENTICATED, "badge"),
    ({}, AUTHENTICATED, CREDENTIALS_MISSING),
    # An ambient credential yields to an explicit one, good or bad.
    ({"x_cookie": "alice", "x_key": "alice"}, AUTHENTICATED, "key"),
    ({"x_cookie": "alice", "x_key": "wrong"}, AUTHENTICATED, BADGE_WRONG),
    ({"x_cookie": "wrong", "authorization": "Badge alice"}, AUTHENTICATED, "badge"),
    # Two explicit ones are ambiguous, where both could be meant.
    ({"x_key": "alice", "authorization": "Badge alice"}, AUTHENTICATED, CREDENTIALS_AMBIGUOUS),
    ({"x_key": "alice", "authorization": "Badge alice"}, OPTIONAL, CREDENTIALS_AMBIGUOUS),
    ({"x_key": "alice", "authorization": "Badge alice"}, via("key"), "key"),
    ({"x_key": "alice", "authorization": "Badge alice"}, via("key", "cookie"), "key"),
    ({"x_key": "alice", "authorization": "Basic abc"}, AUTHENTICATED, "key"),
    # What the route does not accept is not verified; ambient ones the client may not even know of.
    ({"x_key": "alice"}, via("badge"), SCHEME_UNSUPPORTED),
    ({"x_cookie": "alice"}, via("badge"), CREDENTIALS_MISSING),
    ({"x_cookie": "alice"}, OPTIONAL, "cookie"),
    ({"x_cookie": "alice", "x_key": "alice"}, via("cookie"), "cookie"),
    ({"authorization": "Basic abc"}, AUTHENTICATED, SCHEME_UNSUPPORTED),
    # Octets that are no credentials.
    ({"authorization": "Badge\talice"}, AUTHENTICATED, CREDENTIALS_MALFORMED),
    ({"authorization": "Badge\talice"}, via("key"), SCHEME_UNSUPPORTED),
    ({"authorization": "="}, via("key"), CREDENTIALS_MALFORMED),
]


@pytest.mark.rfc("6750-3")
@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize(("sent", "requirement", "expected"), CHOICES)
async def test_which_credentials_are_judged(
    order: int, sent: dict[str, str], requirement: Any, expected: str | Reason
) -> None:
    """6750-3: those of one accepted scheme, whatever the order of the schemes in the guard."""
    guard = made(*list(THREE.values())[::order], rules=[Rule("/**", requirement)])

    others: dict[str, Any] = {name: value for name, value in sent.items() if name != "authorization"}
    decision = await decide(guard, sent.get("authorization"), **others)

    found = decision.reason if isinstance(decision, Denied) else decision.principal and decision.principal.scheme
    assert found == expected


async def test_two_sets_for_one_scheme_are_ambiguous() -> None:
    """Explicit or ambient, by one carrier as by two; the schemes are told, what was presented is not."""
    guard = made(*THREE.values())
    scope = http_scope(headers=[(b"x-cookie", b"s3cr3t"), (b"x-cookie", b"s3cr3t")])
    match = guard.table.match("GET", "/")
    assert isinstance(match, Match)

    decision = await guard.decide(AuthRequest(scope, path="/", moment=guard.moment()), match)

    assert isinstance(decision, Denied)
    assert (decision.reason, decision.facts) == (CREDENTIALS_AMBIGUOUS, {"presented": ["cookie", "cookie"]})
    assert "s3cr3t" not in repr(decision)


@dataclass(frozen=True)
class Fails(Carrier):
    """A carrier that cannot find."""

    error: Exception
    sent_by_browsers: bool = False

    def find(self, request: AuthRequest) -> Sequence[Credentials] | Rejected:
        raise self.error


async def test_a_malformed_ambient_credential_yields_to_an_explicit_one_too() -> None:
    """A cookie that another app left there does not lock a client out that sent a good token."""
    guard = made(
        Badge("cookie", carrier=Fails(WireError("no cookie of ours", "cookie"), sent_by_browsers=True)), Badge()
    )

    decision = await decide(guard)

    assert isinstance(decision, Granted)


@pytest.mark.parametrize(("requirement", "reason"), [(OPTIONAL, None), (via("badge"), CREDENTIALS_MISSING)])
async def test_a_malformed_ambient_credential_that_nobody_wants_is_nothing(
    requirement: Any, reason: Reason | None
) -> None:
    """As a well-formed one is: a scheme that the route does not accept is not judged, by its octets either."""
    broken = Fails(WireError("no cookie of ours", "session"), sent_by_browsers=True)
    guard = made(Badge("cookie", carrier=broken), Badge(), rules=[Rule("/**", requirement)])

    decision = await decide(guard, None)

    assert (decision.reason if isinstance(decision, Denied) else None) == reason


async def test_of_two_faults_the_explicit_one_is_told() -> None:
    """A malformed cookie hides nothing of a malformed field; alone it is what is told."""
    broken = Fails(WireError("no cookie of ours", "cookie"), sent_by_browsers=True)
    guard = made(Badge("cookie", carrier=broken), Badge("old", carrier=broken), Badge())

    told = [(await refusal(guard, field)).facts for field in ("Badge\talice", None, "Basic abc")]

    assert [facts["problem"] for facts in told] == ["no space after the auth-scheme"] + ["no cookie of ours"] * 2


async def test_an_ambient_carrier_whose_schemes_are_not_accepted_is_not_asked() -> None:
    """Whatever it would have said, this route did not want it."""
    cookie = Badge("cookie", carrier=Fails(WireError("no cookie of ours"), sent_by_browsers=True))
    guard = made(cookie, Badge(), default=via("badge"))

    assert (await refusal(guard, None)).reason is CREDENTIALS_MISSING


async def test_equal_carriers_are_one() -> None:
    """Else one field would be two sets of credentials."""
    guard = made(Badge("key", carrier=AuthorizationField()), Badge())

    assert isinstance(await decide(guard), Granted)


async def test_a_carrier_that_fails_closes_the_door() -> None:
    """503, told by type."""
    denied = await refusal(made(Badge("key", carrier=Fails(LookupError("s3cr3t")))), None)

    assert (denied.reason, denied.facts["error"]) == (BACKEND_FAILED, "builtins.LookupError")


async def test_a_malformed_field_is_told_by_a_phrase() -> None:
    """The problem and the scheme, never the octets."""
    denied = await refusal(made(), "Badge\ts3cr3t")

    assert (denied.scheme, denied.facts) == ("badge", {"problem": "no space after the auth-scheme"})


@pytest.mark.parametrize("field", ["{} abc", "{}\tabc", "{}"])
async def test_a_scheme_is_told_only_where_it_is_one(field: str) -> None:
    """Any other word there may be a key that somebody sent without a scheme before it."""
    told = [(await refusal(made(), field.format(word))).facts for word in ("Negotiate", "s3cr3t")]

    assert told == [{"presented": "negotiate"}, {"presented": "a word that is no registered scheme"}]


async def test_schemes_share_a_carrier() -> None:
    """It is asked once a request, however many schemes it serves."""
    found: list[str] = []

    class Counted(Carrier):
        def find(self, request: AuthRequest) -> Sequence[Credentials]:
            found.append(request.path)
            return [Credentials("badge", b"alice")]

    carrier = Counted()

    await decide(made(Badge(carrier=carrier), Badge("key", carrier=carrier)))

    assert found == ["/"]


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
async def test_a_scheme_that_raises_closes_the_door(error: Exception) -> None:
    """503 ``backend.failed``, on OPTIONAL too: told by type and frames, not by text, locals or cause."""
    error = error.with_traceback(None)
    error.__cause__ = KeyError("s3cr3t")
    guard = made(Badge(table={"alice": error}), default=OPTIONAL)

    denied = await refusal(guard)

    kind = type(error)
    assert denied.reason is BACKEND_FAILED
    assert denied.facts["error"] == f"{kind.__module__}.{kind.__qualname__}"
    assert str(denied.facts["frames"]).count("authenticate") == 1
    assert "s3cr3t" not in repr(denied)


def _nested(depth: int) -> None:
    if depth == 0:
        raise LookupError
    _nested(depth - 1)


class Deep(Badge):
    """It fails twenty calls down."""

    async def authenticate(self, request: AuthRequest, credentials: Credentials) -> Outcome:
        _nested(20)
        raise AssertionError


async def test_the_innermost_frames_are_told() -> None:
    """At most eight, by file, line and function, without the directories of this machine."""
    denied = await refusal(made(Deep()))
    frames = denied.facts["frames"]

    assert isinstance(frames, tuple)
    assert len(frames) == 8
    assert {frame.split(":")[0] for frame in frames} == {"core/test_guard.py"}
    assert {frame.split(" ")[1] for frame in frames} == {"_nested"}


@pytest.mark.parametrize("answer", [None, True, ALICE, Accepted("alice"), Accepted(None), Principal])  # type: ignore[arg-type]
async def test_a_scheme_that_returns_nonsense_closes_the_door(answer: Any) -> None:
    """Only ``Accepted`` with a Principal is a yes."""
    denied = await refusal(made(Badge(table={"alice": answer}), default=OPTIONAL))

    assert (denied.reason, denied.facts["error"]) == (BACKEND_FAILED, "builtins.TypeError")


async def test_a_scheme_may_let_a_wire_error_by() -> None:
    """Octets that are no credentials of its own: 401, told by the constant phrase of the error."""
    denied = await refusal(made(Badge(table={"alice": WireError("not a list of auth-params")})))

    assert (denied.reason, denied.scheme) == (CREDENTIALS_MALFORMED, "badge")
    assert denied.facts == {"problem": "not a list of auth-params"}


async def test_an_outage_is_told_with_the_scheme_that_met_it() -> None:
    """7662-4: it is no one's fault but ours, and whoever mends it must know where to look."""
    down = BackendUnavailable("no route", reason=STORE_UNAVAILABLE)

    denied = await refusal(made(Badge(table={"alice": down})))

    assert (denied.reason, denied.scheme, denied.facts) == (
        STORE_UNAVAILABLE,
        "badge",
        {"detail": "no route", "retry_after": None},
    )


async def test_a_requirement_of_ones_own_that_fails_closes_the_door() -> None:
    """503, and the request does not pass."""

    class Broken:
        def unmet(self, principal: Principal, params: Mapping[str, str], moment: Moment) -> Failure | None:
            raise LookupError("s3cr3t")

        def schemes(self, every: frozenset[str]) -> frozenset[str]:
            return every

        def scopes_named(self) -> tuple[str, ...]:
            return ()

    denied = await refusal(made(rules=[Rule("/**", Broken())]))

    assert (denied.reason, denied.facts["error"]) == (BACKEND_FAILED, "builtins.LookupError")


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])
async def test_what_ends_the_process_is_not_held_up(error: type[BaseException]) -> None:
    """It is no failure of a backend."""
    guard = made(Badge(table={"alice": error()}))

    with pytest.raises(error):
        await decide(guard)


@pytest.mark.parametrize("where", ["scheme", "check"])
async def test_cancellation_propagates(where: str) -> None:
    """A request that is cancelled gets no decision, neither yes nor outage."""
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

        decided.append(await decide(made(Cancelled(), checks=[cancel])))

    assert (scope.cancelled_caught, decided) == (True, [])


# --- Time -------------------------------------------------------------------------------------------------------------


class Clocks:
    """Two clocks that go only when told to."""

    def __init__(self) -> None:
        self.passed = 0.0
        self.reads = 0

    def wall(self) -> float:
        """The time of day."""
        self.reads += 1
        return NOW + self.passed

    def monotonic(self) -> float:
        """Our own durations."""
        return 1000.0 + self.passed


class Slow(Badge):
    """It takes its time."""

    def __init__(self, clocks: Clocks, seconds: float, principal: Principal) -> None:
        super().__init__(table={"alice": Accepted(principal, [(b"x-a", b"1")])}, reports_login_time=True)
        self.clocks, self.seconds = clocks, seconds

    async def authenticate(self, request: AuthRequest, credentials: Credentials) -> Outcome:
        self.clocks.passed += self.seconds
        return await super().authenticate(request, credentials)


async def waited(seconds: float, principal: Principal, **options: Any) -> tuple[Decision, int]:
    """What is decided after a scheme that took so long, and how often the clock was read."""
    clocks = Clocks()
    guard = made(
        Slow(clocks, seconds, principal), clock=clocks.wall, monotonic=clocks.monotonic, leeway=10.0, **options
    )
    return await decide(guard), clocks.reads


async def test_the_clock_is_read_once_a_request() -> None:
    """A wait of a second or less does not read it again: the verdict is of the moment at which the request came."""
    decision, reads = await waited(1.0, Principal("alice", expires_at=NOW - 9.5))

    assert (isinstance(decision, Granted), reads) == (True, 1)


async def test_a_long_wait_reads_the_clock_again_before_granting() -> None:
    """Who expired meanwhile, the leeway granted, is refused, and the facts say by how much."""
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
async def test_a_long_wait_alone_refuses_nobody(expires_at: float | None) -> None:
    """Whose end is still to come, the leeway granted, or who has none."""
    decision, reads = await waited(1.5, Principal("alice", expires_at=expires_at))

    assert (isinstance(decision, Granted), reads) == (True, 2)


async def test_a_wait_in_a_check_counts() -> None:
    """The wait is that of the whole request; a principal that the check made anew does not live longer for it."""
    clocks = Clocks()

    async def wait(request: AuthRequest, principal: Principal) -> Principal:
        clocks.passed += 20.0
        return principal

    scheme = Slow(clocks, 0.0, Principal("alice", expires_at=NOW + 5))
    guard = made(scheme, clock=clocks.wall, monotonic=clocks.monotonic, leeway=10.0, checks=[wait])

    assert (await refusal(guard)).facts["expired_by"] == 15.0


async def test_after_a_long_wait_the_requirement_is_judged_by_the_new_moment() -> None:
    """A login that was fresh when the request came is not so any more."""
    principal = Principal("alice", claims={"auth_time": NOW - 60})
    rules = [Rule("/**", step_up(max_age=60))]

    soon, _ = await waited(0.5, principal, rules=rules)
    late, _ = await waited(10.5, principal, rules=rules)

    assert isinstance(soon, Granted)
    assert isinstance(late, Denied)
    assert late.reason is STEP_UP_REQUIRED


async def test_who_expired_while_waiting_still_gets_the_schemes_headers() -> None:
    """The scheme accepted; what it has to say goes out on whatever answer follows."""
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


@pytest.mark.parametrize(("argument", "given", "named"), MISTAKES)
def test_a_guard_that_could_never_be_meant_is_refused(
    argument: str, given: tuple[Any, ...], named: dict[str, Any]
) -> None:
    """While the app is built, and the error names the argument."""
    with pytest.raises(ConfigurationError) as caught:
        Guard(*given, **named)

    assert caught.value.argument == argument


def test_a_guard_of_one_scheme_needs_nothing_more() -> None:
    """All else has a default: closed, a minute of leeway."""
    guard = Guard(Badge(table=OUTCOMES))

    assert (guard.table.default.requirement, guard.leeway, guard.reads_body) == (AUTHENTICATED, 60.0, False)


def test_a_step_up_needs_one_scheme_that_tells_the_login() -> None:
    """One of several will do."""
    rules = [Rule("/a", step_up(acr="gold"))]

    assert Guard(Badge(), Badge("bearer", reports_login_time=True), rules=rules).table.rules == tuple(rules)
