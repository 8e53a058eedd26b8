"""Key sources of one's own: how they are asked, and what happens where they cannot answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import anyio
import pytest

from authguard import Accepted, BackendUnavailable, Rejected, VerificationKey
from authguard.reasons import KEYS_UNAVAILABLE, STORE_UNAVAILABLE, TOKEN_EXPIRED
from tests.support.guards import GuardedApp
from tests.support.schemes.bearer import CountingKeySource, bearer, bearer_credentials, bearer_request, issuer
from tests.support.tokens import mint, rsa_key

GOOD = VerificationKey("RS256", None, rsa_key().public_key())
BAD = VerificationKey("RS256", None, rsa_key(which=1).public_key())


class Waiting:
    """A source that answers when it was told to, and not before."""

    def __init__(self) -> None:
        self.told = anyio.Event()
        self.cancelled = False

    async def keys_for(self, *, kid: str | None, algorithm: str) -> Sequence[VerificationKey]:
        try:
            await self.told.wait()
        except anyio.get_cancelled_exc_class():
            self.cancelled = True
            raise
        return [GOOD]


class Failing:
    """A source that raises."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    async def keys_for(self, *, kid: str | None, algorithm: str) -> Sequence[VerificationKey]:
        raise self.error


class AtHand(CountingKeySource):
    """A source that has its answer at hand, or not yet."""

    def __init__(self, *keys: VerificationKey, held: Sequence[VerificationKey] | None) -> None:
        super().__init__(*keys)
        self._held = held
        self.looked: list[tuple[str | None, str]] = []

    def held(self, *, kid: str | None, algorithm: str) -> Sequence[VerificationKey] | None:
        self.looked.append((kid, algorithm))
        return self._held


async def test_a_source_is_asked_for_what_the_header_names() -> None:
    """By id and algorithm, once for each token."""
    source = CountingKeySource(GOOD)
    scheme = bearer(issuer(source))

    for token in (mint(), mint(headers={"kid": "2026"})):
        assert isinstance(await scheme.authenticate(bearer_request(), bearer_credentials(token)), Accepted)

    assert source.calls == [(None, "RS256"), ("2026", "RS256")]


async def test_a_source_may_take_its_time() -> None:
    """Other tasks run meanwhile."""
    source, outcomes = Waiting(), []
    scheme = bearer(issuer(source))

    async def ask() -> None:
        outcomes.append(await scheme.authenticate(bearer_request(), bearer_credentials(mint())))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask)
        await anyio.wait_all_tasks_blocked()
        assert outcomes == []
        source.told.set()

    assert [type(outcome) for outcome in outcomes] == [Accepted]


async def test_a_source_that_never_answers_is_an_outage() -> None:
    """Its deadline passes, it is cancelled, and the client hears that it is not its fault."""
    source = Waiting()
    door = GuardedApp(bearer(issuer(source), deadline=0.01))

    answer = await door.get_with_token(mint())

    assert (answer.status, answer.reason) == (503, "keys.timeout")
    assert dict(answer.headers)[b"retry-after"] == b"5"
    assert b"www-authenticate" not in dict(answer.headers)
    assert answer.record.facts == {"detail": "no answer within 0.01 s", "retry_after": None}
    assert source.cancelled


async def test_a_timeout_inside_the_source_is_told_as_its_own() -> None:
    """Else the log would send its reader after a deadline of ours that nobody missed."""
    answer = await GuardedApp(bearer(issuer(Failing(TimeoutError("10.0.0.1:443"))))).get_with_token(mint())

    assert (answer.status, answer.reason) == (503, "backend.failed")
    assert answer.record.facts["error"] == "builtins.TimeoutError"


async def test_a_cancelled_request_stays_cancelled() -> None:
    """Neither a denial nor a grant comes of it."""
    scheme, outcomes = bearer(issuer(Waiting())), []

    with anyio.CancelScope() as scope:
        scope.cancel()
        outcomes.append(await scheme.authenticate(bearer_request(), bearer_credentials(mint())))

    assert scope.cancelled_caught
    assert outcomes == []


@pytest.mark.parametrize(
    ("error", "reason", "facts", "retry_after"),
    [
        (BackendUnavailable(), "keys.unavailable", {"detail": None, "retry_after": None}, b"5"),
        (
            BackendUnavailable("no route", retry_after=30),
            "keys.unavailable",
            {"detail": "no route", "retry_after": 30},
            b"30",
        ),
        (
            BackendUnavailable(reason=STORE_UNAVAILABLE),
            "store.unavailable",
            {"detail": None, "retry_after": None},
            b"5",
        ),
    ],
)
async def test_a_source_says_that_it_cannot_answer(
    error: BackendUnavailable, reason: str, facts: dict[str, object], retry_after: bytes
) -> None:
    """By ``BackendUnavailable``, with its reason and when to come again."""
    answer = await GuardedApp(bearer(issuer(Failing(error)))).get_with_token(mint())

    assert (answer.status, answer.reason, answer.record.facts) == (503, reason, facts)
    assert dict(answer.headers)[b"retry-after"] == retry_after


def test_what_is_no_outage_is_no_reason_for_one() -> None:
    """A key server that is down never makes a token expired."""
    with pytest.raises(ValueError, match="must have the status 503"):
        BackendUnavailable(reason=TOKEN_EXPIRED)
    assert BackendUnavailable(reason=KEYS_UNAVAILABLE).reason is KEYS_UNAVAILABLE


@pytest.mark.parametrize("error", [RuntimeError("CANARY"), KeyError("CANARY"), ExceptionGroup("CANARY", [OSError()])])
async def test_a_source_that_breaks_closes_the_door(error: Exception) -> None:
    """An outage, told by its type and its frames, and never by its text."""
    answer = await GuardedApp(bearer(issuer(Failing(error)))).get_with_token(mint())

    assert (answer.status, answer.reason) == (503, "backend.failed")
    assert answer.record.facts["error"] == f"builtins.{type(error).__name__}"
    assert "CANARY" not in repr(answer)


class Nonsense:
    """A source that knows no types."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    async def keys_for(self, *, kid: str | None, algorithm: str) -> Any:
        return self.answer


class Blocking:
    """A source that is no coroutine."""

    def keys_for(self, *, kid: str | None, algorithm: str) -> Any:
        return [GOOD]


@pytest.mark.parametrize("source", [*map(Nonsense, [None, 5, [None], ["key"], "keys", {1: GOOD}]), Blocking()])
async def test_a_source_that_answers_nonsense_closes_the_door(source: Any) -> None:
    """Whatever it returns instead of a sequence of keys."""
    answer = await GuardedApp(bearer(issuer(source))).get_with_token(mint())

    assert (answer.status, answer.reason) == (503, "backend.failed")


async def test_no_key_is_an_answer() -> None:
    """The token's fault, not an outage; a list or a tuple, empty."""
    for source in (CountingKeySource(), AtHand(held=())):
        answer = await GuardedApp(bearer(issuer(source))).get_with_token(mint(headers={"kid": "x"}))
        assert (answer.status, answer.reason) == (401, "key.unknown")
        assert answer.record.facts["kid"] == "x"


async def test_an_answer_at_hand_is_not_waited_for() -> None:
    """``keys_for`` is not called, and no timer runs."""
    source = AtHand(held=[GOOD])

    outcome = await bearer(issuer(source)).authenticate(
        bearer_request(), bearer_credentials(mint(headers={"kid": "a"}))
    )

    assert isinstance(outcome, Accepted)
    assert source.looked == [("a", "RS256")]
    assert source.calls == []


async def test_an_answer_that_is_not_at_hand_is_waited_for() -> None:
    """None is not an empty answer."""
    source = AtHand(GOOD, held=None)

    outcome = await bearer(issuer(source)).authenticate(bearer_request(), bearer_credentials(mint()))

    assert isinstance(outcome, Accepted)
    assert source.looked == source.calls == [(None, "RS256")]


@pytest.mark.rfc("limits-4")
@pytest.mark.parametrize("at_hand", [True, False])
async def test_a_token_is_tried_with_so_many_keys_and_no_more(at_hand: bool) -> None:
    """Work does not grow with the key set: the last that is tried is the eighth."""

    async def tried(keys: list[VerificationKey]) -> object:
        source = AtHand(held=keys) if at_hand else CountingKeySource(*keys)
        outcome = await bearer(issuer(source)).authenticate(bearer_request(), bearer_credentials(mint()))
        return outcome.reason.code if isinstance(outcome, Rejected) else "accepted"

    assert await tried([BAD] * 7 + [GOOD]) == "accepted"
    assert await tried([BAD] * 8 + [GOOD]) == "token.signature_invalid"


@pytest.mark.rfc("limits-4")
async def test_an_unsigned_header_reaches_no_source() -> None:
    """What is refused by its header alone costs no look-up."""
    source = AtHand(held=[GOOD])
    scheme = bearer(issuer(source))

    for headers in ({"typ": "dpop+jwt"}, {"crit": ["x"]}, {"alg": "RS512"}):
        outcome = await scheme.authenticate(bearer_request(), bearer_credentials(mint(headers=headers)))
        assert isinstance(outcome, Rejected)

    assert source.looked == []


async def test_a_function_for_roles_that_breaks_closes_the_door() -> None:
    """It is the app's own, so its fault is an outage, and no token's."""

    def broken(said: Mapping[str, Any]) -> set[str]:
        return {said["CANARY"]}

    answer = await GuardedApp(bearer(issuer(roles=broken))).get_with_token(mint())

    assert (answer.status, answer.reason) == (503, "backend.failed")
    assert answer.record.facts["error"] == "builtins.KeyError"
    assert "CANARY" not in repr(answer)
