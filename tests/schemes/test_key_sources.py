"""Key sources of an app's own: how ``Bearer`` asks them, and what happens if they fail."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import Any

import anyio
import pytest
from cryptography.hazmat.primitives.asymmetric import ed448, rsa

from authguard import Accepted, BackendUnavailable, Rejected, VerificationKey
from authguard.keys.source import MAX_CURVE_COST
from authguard.reasons import KEYS_UNAVAILABLE, STORE_UNAVAILABLE, TOKEN_EXPIRED
from authguard.schemes.bearer.signature_verifier import MAX_COST
from tests.support.guards import GuardedApp
from tests.support.schemes.bearer import CountingKeySource, bearer, bearer_credentials, bearer_request, issuer
from tests.support.tokens import HMAC_SECRET, claims, ec_key, ed_key, mint, raw_token, rsa_key

GOOD = VerificationKey("RS256", None, rsa_key().public_key())
BAD = VerificationKey("RS256", None, rsa_key(which=1).public_key())


class WaitingSource:
    """A source that answers once ``released`` is set."""

    def __init__(self) -> None:
        self.released = anyio.Event()
        self.cancelled = False

    async def keys_for(self, *, kid: str | None, algorithm: str) -> Sequence[VerificationKey]:
        try:
            await self.released.wait()
        except anyio.get_cancelled_exc_class():
            self.cancelled = True
            raise
        return [GOOD]


class FailingSource:
    """A source that raises."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    async def keys_for(self, *, kid: str | None, algorithm: str) -> Sequence[VerificationKey]:
        raise self.error


class HoldingSource(CountingKeySource):
    """A source that holds its keys, or not yet."""

    def __init__(self, *keys: VerificationKey, held: Sequence[VerificationKey] | None) -> None:
        super().__init__(*keys)
        self._held = held
        self.look_ups: list[tuple[str | None, str]] = []

    def held(self, *, kid: str | None, algorithm: str) -> Sequence[VerificationKey] | None:
        self.look_ups.append((kid, algorithm))
        return self._held


async def test_a_source_is_asked_for_what_the_header_names() -> None:
    """A source is asked for the kid and the algorithm of the header, once for each token."""
    source = CountingKeySource(GOOD)
    scheme = bearer(issuer(source))

    for token in (mint(), mint(headers={"kid": "2026"})):
        assert isinstance(await scheme.authenticate(bearer_request(), bearer_credentials(token)), Accepted)

    assert source.calls == [(None, "RS256"), ("2026", "RS256")]


async def test_a_source_may_take_its_time() -> None:
    """While a source is awaited, other tasks run."""
    source, outcomes = WaitingSource(), []
    scheme = bearer(issuer(source))

    async def ask() -> None:
        outcomes.append(await scheme.authenticate(bearer_request(), bearer_credentials(mint())))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask)
        await anyio.wait_all_tasks_blocked()
        assert outcomes == []
        source.released.set()

    assert [type(outcome) for outcome in outcomes] == [Accepted]


async def test_a_source_that_never_answers_is_an_outage() -> None:
    """A source that misses the deadline is cancelled, and the request gets a 503."""
    source = WaitingSource()
    app = GuardedApp(bearer(issuer(source), deadline=0.01))

    answer = await app.get_with_token(mint())

    assert (answer.status, answer.reason) == (503, "keys.timeout")
    assert dict(answer.headers)[b"retry-after"] == b"5"
    assert b"www-authenticate" not in dict(answer.headers)
    assert answer.record.facts == {"detail": "WaitingSource: no answer within 0.01 s", "retry_after": None}
    assert source.cancelled


async def test_a_timeout_inside_the_source_is_not_the_deadline() -> None:
    """A ``TimeoutError`` raised inside the source is recorded as an error of the source, not as the deadline of the
    guard."""
    answer = await GuardedApp(bearer(issuer(FailingSource(TimeoutError("10.0.0.1:443"))))).get_with_token(mint())

    assert (answer.status, answer.reason) == (503, "backend.failed")
    assert answer.record.facts["error"] == "builtins.TimeoutError"


async def test_a_cancelled_request_stays_cancelled() -> None:
    """A cancelled request gets neither a denial nor a grant."""
    scheme, outcomes = bearer(issuer(WaitingSource())), []

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
async def test_a_source_may_report_an_outage(
    error: BackendUnavailable, reason: str, facts: dict[str, object], retry_after: bytes
) -> None:
    """A ``BackendUnavailable`` of a source keeps its reason and its ``retry_after``. Without a detail, the record says
    where it was raised."""
    answer = await GuardedApp(bearer(issuer(FailingSource(error)))).get_with_token(mint())

    recorded = dict(answer.record.facts)
    places = recorded.pop("frames", None)
    assert recorded.pop("error", None) == (None if facts["detail"] else "authguard.errors.BackendUnavailable")
    assert (places is None) is bool(facts["detail"])
    assert (answer.status, answer.reason, recorded) == (503, reason, facts)
    assert dict(answer.headers)[b"retry-after"] == retry_after


def test_a_source_cannot_report_a_rejection() -> None:
    """A source that raises with a reason of another kind is still an outage: a key server cannot make a token
    expired."""
    with pytest.raises(ValueError, match="must have the status 503"):
        BackendUnavailable(reason=TOKEN_EXPIRED)
    assert BackendUnavailable(reason=KEYS_UNAVAILABLE).reason is KEYS_UNAVAILABLE


@pytest.mark.parametrize("error", [RuntimeError("CANARY"), KeyError("CANARY"), ExceptionGroup("CANARY", [OSError()])])
async def test_a_source_that_raises_is_an_outage(error: Exception) -> None:
    """An error of a source is an outage, recorded by its type and frames and without its text."""
    answer = await GuardedApp(bearer(issuer(FailingSource(error)))).get_with_token(mint())

    assert (answer.status, answer.reason) == (503, "backend.failed")
    assert answer.record.facts["error"] == f"builtins.{type(error).__name__}"
    assert "CANARY" not in repr(answer)


class NonsenseSource:
    """A source that returns any value."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    async def keys_for(self, *, kid: str | None, algorithm: str) -> Any:
        return self.answer


class BlockingSource:
    """A source whose method is not a coroutine."""

    def __init__(self) -> None:
        self.keys_for = lambda *, kid, algorithm: [GOOD]


@pytest.mark.parametrize(
    "source", [*map(NonsenseSource, [None, 5, [None], ["key"], "keys", {1: GOOD}]), BlockingSource()]
)
async def test_a_source_that_returns_nonsense_is_an_outage(source: Any) -> None:
    """A source that returns anything but a sequence of keys is an outage."""
    answer = await GuardedApp(bearer(issuer(source))).get_with_token(mint())

    assert (answer.status, answer.reason) == (503, "backend.failed")


async def test_no_key_is_an_answer() -> None:
    """An empty list or tuple means that the key is unknown. The token is rejected, and there is no outage."""
    for source in (CountingKeySource(), HoldingSource(held=())):
        answer = await GuardedApp(bearer(issuer(source))).get_with_token(mint(headers={"kid": "x"}))
        assert (answer.status, answer.reason) == (401, "key.unknown")
        assert answer.record.facts["kid"] == "x"


async def test_held_keys_are_not_awaited() -> None:
    """If ``held`` returns keys, ``keys_for`` is not called and no timer runs."""
    source = HoldingSource(held=[GOOD])

    outcome = await bearer(issuer(source)).authenticate(
        bearer_request(), bearer_credentials(mint(headers={"kid": "a"}))
    )

    assert isinstance(outcome, Accepted)
    assert source.look_ups == [("a", "RS256")]
    assert source.calls == []


async def test_keys_that_are_not_held_are_awaited() -> None:
    """If ``held`` returns None, ``keys_for`` is awaited. None does not mean that there is no key."""
    source = HoldingSource(GOOD, held=None)

    outcome = await bearer(issuer(source)).authenticate(bearer_request(), bearer_credentials(mint()))

    assert isinstance(outcome, Accepted)
    assert source.look_ups == source.calls == [(None, "RS256")]


@pytest.mark.rfc("limits-4")
@pytest.mark.parametrize("at_hand", [True, False])
async def test_a_token_is_tried_with_at_most_eight_keys(at_hand: bool) -> None:
    """At most eight keys are tried, so that the work for a token does not grow with the key set."""

    async def tried(keys: list[VerificationKey]) -> object:
        source = HoldingSource(held=keys) if at_hand else CountingKeySource(*keys)
        outcome = await bearer(issuer(source)).authenticate(bearer_request(), bearer_credentials(mint()))
        return outcome.reason.code if isinstance(outcome, Rejected) else "accepted"

    assert await tried([BAD] * 7 + [GOOD]) == "accepted"
    assert await tried([BAD] * 8 + [GOOD]) == "token.signature_invalid"


class CountedKeys:
    """Counts the verifications with each key."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.used: list[VerificationKey] = []
        verify = VerificationKey.verify

        def counting(key: VerificationKey, signing_input: bytes, signature: bytes) -> None:
            self.used.append(key)
            verify(key, signing_input, signature)

        monkeypatch.setattr(VerificationKey, "verify", counting)

    @property
    def cost(self) -> int:
        """What these verifications cost together."""
        return sum(key.cost for key in self.used)


class ReplacedKeys(CountingKeySource):
    """A source whose keys are replaced when they are fetched again."""

    def __init__(self, before: Sequence[VerificationKey], after: Sequence[VerificationKey]) -> None:
        super().__init__(*before)
        self.after = after

    async def refetch(
        self, tried: Sequence[VerificationKey], *, kid: str | None, algorithm: str
    ) -> Sequence[VerificationKey] | None:
        return self.after

    def algorithms_of(self, kid: str | None) -> Sequence[str]:
        return ()


def ec_public(curve: str, number: int) -> Any:
    """A public key on this curve."""
    return ec_key(curve, number).public_key()


def long_rsa_key(bits: int, number: int) -> rsa.RSAPublicKey:
    """A public key of this size. Nobody has the private one: to make it would take a minute."""
    return rsa.RSAPublicNumbers(65537, (1 << bits - 1) + 2 * number + 1).public_key()


@cache
def ed448_key(number: int) -> ed448.Ed448PrivateKey:
    """An Ed448 key. ``number`` tells several keys apart."""
    return ed448.Ed448PrivateKey.generate()


#: A public key of each kind, its algorithm, and with how many of ten such keys a token is tried.
KINDS: dict[str, tuple[str, Callable[[int], Any], int]] = {
    "RSA 2048": ("RS256", lambda number: rsa_key(which=number).public_key(), 8),
    "RSA 4096": ("PS256", lambda number: long_rsa_key(4096, number), 8),
    "RSA 8192": ("RS256", lambda number: long_rsa_key(8192, number), 2),
    "RSA 16384": ("RS512", lambda number: long_rsa_key(16384, number), 1),
    "P-256": ("ES256", partial(ec_public, "P-256"), 8),
    "P-384": ("ES384", partial(ec_public, "P-384"), 2),
    "P-521": ("ES512", partial(ec_public, "P-521"), 2),
    "secp256k1": ("ES256K", partial(ec_public, "secp256k1"), 2),
    "Ed25519": ("EdDSA", lambda number: ed_key(number).public_key(), 8),
    "Ed448": ("EdDSA", lambda number: ed448_key(number).public_key(), 5),
    "secret": ("HS256", lambda number: b"%032d" % number, 8),
}


@pytest.mark.rfc("limits-4")
@pytest.mark.parametrize("kind", KINDS)
async def test_A09_the_keys_that_a_token_is_tried_with_have_a_budget(  # noqa: N802
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A09: an anonymous token without a kid costs as much as 40 verifications with RSA 2048 at most, or one with one
    key. With two keys of each curve a rotation works."""
    algorithm, make, number = KINDS[kind]
    keys = [VerificationKey(algorithm, None, make(each)) for each in range(10)]
    counted = CountedKeys(monkeypatch)
    token = raw_token({"alg": algorithm}, claims(), HMAC_SECRET, "HS256")

    outcome = await bearer(issuer(CountingKeySource(*keys), algorithms=[algorithm])).authenticate(
        bearer_request(), bearer_credentials(token)
    )

    assert isinstance(outcome, Rejected)
    assert (outcome.reason.code, outcome.facts["untried"]) == ("token.signature_invalid", 10 - number)
    assert counted.used == keys[:number]
    assert counted.cost <= MAX_COST or number == 1


@pytest.mark.rfc("limits-4")
@pytest.mark.parametrize(("kind", "number"), [("RSA 2048", 8), ("P-521", 2)])
async def test_A09_the_budget_holds_after_a_refetch_too(  # noqa: N802
    kind: str, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A09: keys that a fetch brings are tried within a budget of their own, and those that did not match before are not
    tried again."""
    algorithm, make, _ = KINDS[kind]
    before = [VerificationKey(algorithm, None, make(each)) for each in range(10)]
    after = [*before[:number], *[VerificationKey(algorithm, None, make(each)) for each in range(10, 20)]]
    counted = CountedKeys(monkeypatch)
    token = raw_token({"alg": algorithm}, claims(), HMAC_SECRET, "HS256")

    outcome = await bearer(issuer(ReplacedKeys(before, after), algorithms=[algorithm])).authenticate(
        bearer_request(), bearer_credentials(token)
    )

    assert isinstance(outcome, Rejected)
    assert (outcome.reason.code, outcome.facts["untried"]) == ("token.signature_invalid", 10 - number)
    assert counted.used == [*before[:number], *after[number : 2 * number]]


async def test_a_key_that_a_refetch_brings_behind_old_ones_is_tried() -> None:
    """A set of ES512 keys that gains a key beside two old ones verifies the tokens of the new key."""
    keys = [VerificationKey("ES512", None, ec_public("P-521", each)) for each in range(3)]
    scheme = bearer(issuer(ReplacedKeys(keys[:2], keys), algorithms=["ES512"]))

    token = mint(ec_key("P-521", 2), "ES512")

    assert isinstance(await scheme.authenticate(bearer_request(), bearer_credentials(token)), Accepted)


async def test_keys_of_another_algorithm_are_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A source may return more keys than it was asked for. Those for another algorithm cost nothing, and do not take
    the place of others."""
    others = [VerificationKey("ES512", None, ec_public("P-521", 0))] * 9
    counted = CountedKeys(monkeypatch)
    scheme = bearer(issuer(CountingKeySource(*others, GOOD)))

    assert isinstance(await scheme.authenticate(bearer_request(), bearer_credentials(mint())), Accepted)
    assert counted.used == [GOOD]


def test_material_that_is_no_public_key_counts_as_the_slowest() -> None:
    """An app's own source may return anything that PyJWT verifies with."""
    assert VerificationKey("RS256", None, object()).cost == MAX_CURVE_COST


@pytest.mark.rfc("limits-4")
async def test_an_unsigned_header_reaches_no_source() -> None:
    """A token that is rejected by its header costs no look-up of a key."""
    source = HoldingSource(held=[GOOD])
    scheme = bearer(issuer(source))

    for headers in ({"typ": "dpop+jwt"}, {"crit": ["x"]}, {"alg": "RS512"}):
        outcome = await scheme.authenticate(bearer_request(), bearer_credentials(mint(headers=headers)))
        assert isinstance(outcome, Rejected)

    assert source.look_ups == []


async def test_a_roles_function_that_raises_is_an_outage() -> None:
    """An error of the app's own function for roles is an outage, not a fault of the token."""

    def broken(said: Mapping[str, Any]) -> set[str]:
        return {said["CANARY"]}

    answer = await GuardedApp(bearer(issuer(roles=broken))).get_with_token(mint())

    assert (answer.status, answer.reason) == (503, "backend.failed")
    assert answer.record.facts["error"] == "builtins.KeyError"
    assert "CANARY" not in repr(answer)
