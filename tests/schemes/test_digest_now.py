"""``Digest.authenticate_now`` answers at once where nothing must be awaited, and otherwise hands over what it knows.

Whichever of the two ways a request takes, nothing is looked up, counted or claimed twice.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from authguard.accounts.digest_account import DigestAccount
from authguard.caching import KeyedHash
from authguard.concurrency.token_bucket import Rate
from authguard.errors import BackendUnavailable
from authguard.model import Accepted, Moment, Outcome, Rejected
from authguard.request import AuthRequest
from authguard.schemes.digest.scheme import Digest
from authguard.schemes.scheme import Continuation
from authguard.schemes.throttle import CountedAttempt, LoginThrottle
from authguard.state.nonce_store import MemoryNonces, NonceStore, NonceUse
from authguard.state.throttle_store import Exceeded
from authguard.testing import ManualClock
from authguard.wire.authorization import Credentials
from tests.support.asgi import http_scope
from tests.support.clock import NOW
from tests.support.coroutines import run_without_waiting
from tests.support.schemes.digest import (
    SECRET,
    DigestAccounts,
    DigestParams,
    SharedNonces,
    answer_challenge,
    challenge,
    digest_request,
    digest_scheme,
    serialize,
    userhash,
)

OTHER_SECRET = "another secret of thirty-two octets"


def now(scheme: Digest, params: DigestParams | bytes, request: AuthRequest | None = None) -> Outcome | Continuation:
    """What ``authenticate_now`` returns for these parameters."""
    rest = params if isinstance(params, bytes) else serialize(params)
    return scheme.authenticate_now(request or digest_request(), Credentials("digest", rest))


def outcome_now(scheme: Digest, params: DigestParams | bytes, request: AuthRequest | None = None) -> Outcome:
    """The outcome, which is there at once."""
    outcome = now(scheme, params, request)
    assert isinstance(outcome, Accepted | Rejected)
    return outcome


def hand_over(scheme: Digest, params: DigestParams, request: AuthRequest | None = None) -> Continuation:
    """The function that goes on, because something must be awaited."""
    answer = now(scheme, params, request)
    assert not isinstance(answer, Accepted | Rejected)
    return answer


def code(outcome: Outcome) -> str:
    """The code of a rejection; "" for an accepted response."""
    return outcome.reason.code if isinstance(outcome, Rejected) else ""


def throttle(burst: int = 2, kind: type[LoginThrottle] = LoginThrottle) -> LoginThrottle:
    """A throttle with so many attempts, which the standing clock never refills."""
    return kind(pair=Rate(burst, 60.0), known_pair=Rate(burst, 60.0), clock=ManualClock(1000))


class RemoteThrottle(LoginThrottle):
    """A throttle of an app that counts somewhere else, so that every answer must be awaited. It keeps its calls."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.calls: list[str] = []
        self.names: list[tuple[Any, ...]] = []

    async def acquire(self, *args: Any, **options: Any) -> CountedAttempt | Exceeded:
        self.calls.append("acquire")
        self.names.append(args)
        await anyio.lowlevel.checkpoint()
        return await super().acquire(*args, **options)

    async def remaining(self, *args: Any, **options: Any) -> Exceeded | None:
        self.calls.append("remaining")
        self.names.append(args)
        await anyio.lowlevel.checkpoint()
        return await super().remaining(*args, **options)

    async def allow(self, *args: Any, **options: Any) -> Exceeded | None:
        self.calls.append("allow")
        self.names.append(args)
        await anyio.lowlevel.checkpoint()
        return await super().allow(*args, **options)


class CountingNonces(MemoryNonces):
    """A nonce store in memory that keeps the counts that are claimed."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: list[int] = []

    def claim_now(self, nonce: bytes, count: int, **times: float) -> NonceUse:
        self.counts.append(count)
        return super().claim_now(nonce, count, **times)

    async def claim(self, nonce: bytes, count: int, **times: float) -> NonceUse:
        return self.claim_now(nonce, count, **times)


class RemoteNonces(NonceStore):
    """A nonce store over a network, in front of one in memory."""

    def __init__(self) -> None:
        self.memory = CountingNonces()

    def begin(self, now: float) -> None:
        self.memory.begin(now)

    async def claim(self, nonce: bytes, count: int, **times: float) -> NonceUse:
        await anyio.lowlevel.checkpoint()
        return self.memory.claim_now(nonce, count, **times)


# --- At once ----------------------------------------------------------------------------------------------------------

#: Changes of right parameters, and the code of the reason for which the response is then refused.
REFUSED: Sequence[tuple[Mapping[str, Any], str]] = [
    ({"realm": "cameras"}, "realm.foreign"),
    ({"opaque": None}, "opaque.foreign"),
    ({"algorithm": "MD5"}, "algorithm.unoffered"),
    ({"qop": "auth-conf"}, "qop.unoffered"),
    ({"password": "wrong"}, "response.wrong"),
    ({"username": "nobody"}, "user.unknown"),
    ({"username": "mallory", "password": "secret"}, "account.disabled"),
    ({"uri": "/elsewhere"}, "uri.mismatch"),
    ({"nonce": "A" * 48}, "nonce.unknown"),
    ({"count": 1}, "nonce.replayed"),
    ({"nc": "0"}, "credentials.malformed"),
]


@pytest.mark.parametrize(("changes", "wanted"), [({}, ""), *REFUSED], ids=str)
def test_what_is_in_memory_is_decided_at_once(changes: dict[str, Any], wanted: str) -> None:
    """The outcome is that of ``authenticate``, which needs no event loop either."""
    outcomes = []
    for authenticate in (outcome_now, run_at_once):
        scheme = digest_scheme(nonces=MemoryNonces())
        offer = challenge(scheme)
        assert code(outcome_now(scheme, answer_challenge(offer, count=1))) == ""
        params = answer_challenge(offer, **{"count": 2, **changes})
        outcomes.append(authenticate(scheme, params))

    assert [code(outcome) for outcome in outcomes] == [wanted] * 2
    assert [vars_of(outcome) for outcome in outcomes[:1]] == [vars_of(outcome) for outcome in outcomes[1:]]


def run_at_once(scheme: Digest, params: DigestParams) -> Outcome:
    """The outcome of ``authenticate``."""
    return run_without_waiting(scheme.authenticate(digest_request(), Credentials("digest", serialize(params))))


def vars_of(outcome: Outcome) -> tuple[object, ...]:
    """Everything that an outcome says, but the header, whose ``rspauth`` is another one for each nonce."""
    if isinstance(outcome, Accepted):
        return outcome.principal, outcome.principal.claims, outcome.facts, len(outcome.response_headers)
    return outcome.reason, outcome.subject, outcome.facts, outcome.response_headers, outcome.authenticated


@pytest.mark.rfc("7616-14")
def test_an_accepted_response_is_answered_with_authentication_info() -> None:
    """``rspauth``, and the next nonce in the last quarter of a nonce's life, are sent without waiting too."""
    scheme = digest_scheme()
    params = answer_challenge(challenge(scheme))

    outcome = outcome_now(scheme, params, digest_request(NOW + 226))

    assert isinstance(outcome, Accepted)
    ((name, value),) = outcome.response_headers
    assert name == b"authentication-info"
    assert value.startswith(b'nextnonce="')
    assert b'rspauth="' in value


def test_attempts_are_counted_at_once() -> None:
    """Wrong responses use up the attempts, and a right one waits then too. Its nonce is not used."""
    nonces = CountingNonces()
    scheme = digest_scheme(throttle=throttle(2), nonces=nonces)
    offer = challenge(scheme)

    told = [code(outcome_now(scheme, answer_challenge(offer, "wrong"))) for _ in range(3)]
    right = outcome_now(scheme, answer_challenge(offer))

    assert told == ["response.wrong", "response.wrong", "attempts.exceeded"]
    assert (code(right), nonces.counts) == ("attempts.exceeded", [])


def test_guesses_at_another_name_change_nothing_for_somebody_who_has_logged_in() -> None:
    """Such a response is neither slowed down nor counted, before and after the guesses."""
    scheme = digest_scheme(throttle=throttle(2))
    offer = challenge(scheme)
    codes = [code(outcome_now(scheme, answer_challenge(offer, count=1)))]

    for _ in range(3):
        outcome_now(scheme, answer_challenge(offer, "wrong", "mallory"))
    codes += [code(outcome_now(scheme, answer_challenge(offer, count=count))) for count in (2, 3, 4)]

    assert codes == [""] * 4


def test_somebody_who_has_logged_in_lately_is_not_looked_up_again() -> None:
    """Neither before the nonce is claimed nor after it, because nothing could come of it."""
    scheme = digest_scheme(throttle=throttle(5))
    offer, attempts = challenge(scheme), scheme._attempts
    assert attempts is not None
    assert code(outcome_now(scheme, answer_challenge(offer, count=1))) == ""
    assert code(outcome_now(scheme, answer_challenge(offer, "wrong"))) == "response.wrong"

    def refuse(*_: object, **__: object) -> None:
        raise LookupError

    attempts._remaining_now = attempts._allow_now = refuse

    assert code(outcome_now(scheme, answer_challenge(offer, count=2))) == ""
    with pytest.raises(LookupError):
        now(scheme, answer_challenge(offer, count=3), digest_request(client="192.0.2.8"))


@pytest.mark.rfc("7616-10")
@pytest.mark.parametrize(("uri", "wanted"), [("http://inside/", "uri.mismatch"), ("http://cameras.example/", "")])
def test_an_absolute_target_does_not_vouch_for_its_host(uri: str, wanted: str) -> None:
    """With ``public_authority``, that is the host to name, even if the ``uri`` equals the target byte for byte."""
    scheme = digest_scheme(public_authority="cameras.example")
    request = digest_request(raw_path=b"http://inside/")

    assert code(outcome_now(scheme, answer_challenge(challenge(scheme), uri=uri), request)) == wanted


@pytest.mark.parametrize("form", [{"username": "alice"}, {"username": userhash("alice"), "userhash": "true"}], ids=str)
def test_one_who_has_logged_in_is_known_by_the_name_and_by_its_hash(form: DigestParams) -> None:
    """A right response is remembered as a login under the form in which the name was sent."""
    limit = throttle(2)
    scheme = digest_scheme(DigestAccounts(finds_hashed=True), throttle=limit)
    params = answer_challenge(challenge(scheme))

    assert code(outcome_now(scheme, {**params, **form})) == ""

    known = [run_without_waiting(limit.knows(name, "192.0.2.7")) for name in ("alice", userhash("alice"))]
    assert known == ["userhash" not in form, "userhash" in form]


@pytest.mark.rfc("7616-9")
def test_of_200_responses_with_one_count_in_many_threads_one_is_accepted() -> None:
    """Each of them is decided at once. All others are replayed."""
    scheme = digest_scheme(nonces=MemoryNonces())
    params = answer_challenge(challenge(scheme))
    barrier, codes = threading.Barrier(8), list[str]()

    def work() -> None:
        barrier.wait(30)
        codes.extend([code(outcome_now(scheme, params)) for _ in range(25)])

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert sorted(codes) == ["", *["nonce.replayed"] * 199]


def test_a_nonce_that_was_remembered_ends_with_its_secret() -> None:
    """A scheme with another secret refuses it, as it refuses one that it has never seen."""
    old, both, new = (
        digest_scheme(secret=secret, nonces=MemoryNonces()) for secret in (SECRET, [OTHER_SECRET, SECRET], OTHER_SECRET)
    )
    for scheme in (old, both, new):
        challenge(scheme, now=NOW - 1)
    offer = challenge(old)

    codes = [code(outcome_now(both, answer_challenge(offer, count=count))) for count in (1, 2)]

    assert (codes, code(outcome_now(new, answer_challenge(offer, count=3)))) == (["", ""], "nonce.unknown")


# --- With something to wait for ---------------------------------------------------------------------------------------

ASYNC: dict[str, Callable[[], dict[str, Any]]] = {
    "accounts": lambda: {"accounts": DigestAccounts(answers_at_once=False)},
    "nonces": lambda: {"nonces": RemoteNonces()},
    "throttle": lambda: {"throttle": throttle(kind=RemoteThrottle)},
    "all": lambda: {
        "accounts": DigestAccounts(answers_at_once=False),
        "nonces": RemoteNonces(),
        "throttle": throttle(kind=RemoteThrottle),
    },
}


@pytest.mark.parametrize("name", ASYNC)
async def test_what_must_be_awaited_is_handed_over_and_done_once(name: str) -> None:
    """The account is looked for once, the count is claimed once, and a wrong response counts as one attempt."""
    options = {"accounts": DigestAccounts(), "nonces": CountingNonces(), "throttle": throttle(2), **ASYNC[name]()}
    accounts, nonces, limit = options["accounts"], options["nonces"], options["throttle"]
    counting: CountingNonces = nonces.memory if isinstance(nonces, RemoteNonces) else nonces
    scheme = digest_scheme(options.pop("accounts"), **options)
    offer = challenge(scheme)

    right = await hand_over(scheme, answer_challenge(offer))()
    looked_up = len(accounts.lookups)
    # A wrong response claims no nonce, so it needs no remote store of nonces.
    codes = []
    for _ in range(3):
        answer = now(scheme, answer_challenge(offer, "wrong", count=2))
        codes.append(code(await answer() if callable(answer) else answer))

    assert code(right) == ""
    assert codes == ["response.wrong", "response.wrong", "attempts.exceeded"]
    # ``find_now`` had no answer and is not asked again.
    assert (looked_up, len(accounts.lookups)) == (1, 4)
    assert counting.counts == [1]
    if isinstance(limit, RemoteThrottle):
        assert limit.calls == ["remaining", "allow", "acquire", "acquire", "acquire"]


async def test_a_remote_throttle_is_asked_for_each_response() -> None:
    """What the process remembers is not enough. A hashed name is counted by the hash alone."""
    limit = throttle(5, RemoteThrottle)
    assert isinstance(limit, RemoteThrottle)
    scheme = digest_scheme(DigestAccounts(finds_hashed=True), throttle=limit)
    offer, hashed = challenge(scheme), userhash("alice")
    plain = [answer_challenge(offer, count=count) for count in (1, 2)]
    for params in (*plain, {**answer_challenge(offer, count=3), "username": hashed, "userhash": "true"}):
        assert code(await hand_over(scheme, params)()) == ""

    assert limit.calls == ["remaining", "allow"] * 3
    assert limit.names == [("alice", "192.0.2.7", "alice")] * 4 + [(hashed, "192.0.2.7", None)] * 2


@pytest.mark.parametrize("name", ASYNC)
async def test_what_is_handed_over_does_nothing_before_it_is_awaited(name: str) -> None:
    """A request that ends before it waits uses neither a count nor an attempt. Its response may be sent again."""
    options = {"accounts": DigestAccounts(), "nonces": CountingNonces(), "throttle": throttle(2), **ASYNC[name]()}
    scheme = digest_scheme(options.pop("accounts"), **options)
    params = answer_challenge(challenge(scheme))

    for _ in range(5):
        hand_over(scheme, params)

    assert code(await hand_over(scheme, params)()) == ""


@pytest.mark.rfc("7616-9")
@pytest.mark.parametrize("name", ASYNC)
async def test_of_200_responses_that_wait_at_the_same_time_one_is_accepted(name: str) -> None:
    """All of them were handed over before the first one went on."""
    options = {"accounts": DigestAccounts(), "nonces": MemoryNonces(), **ASYNC[name]()}
    scheme = digest_scheme(options.pop("accounts"), **options)
    params = answer_challenge(challenge(scheme))
    codes: list[str] = []

    async def go_on(answer: Continuation) -> None:
        codes.append(code(await answer()))

    answers = [hand_over(scheme, params) for _ in range(200)]
    async with anyio.create_task_group() as tasks:
        for answer in answers:
            tasks.start_soon(go_on, answer)

    assert sorted(codes) == ["", *["nonce.replayed"] * 199]


async def test_only_what_has_to_be_awaited_is_awaited() -> None:
    """A wrong response is refused at once although the nonces are remote, because it claims none."""
    scheme = digest_scheme(nonces=SharedNonces())
    offer = challenge(scheme)

    assert code(outcome_now(scheme, answer_challenge(offer, "wrong"))) == "response.wrong"
    assert code(outcome_now(scheme, answer_challenge(offer, uri="/elsewhere"))) == "uri.mismatch"
    assert code(outcome_now(scheme, answer_challenge(offer, nonce="A" * 48))) == "nonce.unknown"
    assert code(await hand_over(scheme, answer_challenge(offer))()) == ""


@pytest.mark.parametrize("error", [BackendUnavailable("down"), KeyError("nonce")])
async def test_what_a_store_raises_passes_through(error: Exception) -> None:
    """At once, or when it is awaited."""
    scheme = digest_scheme(nonces=SharedNonces(error))
    with pytest.raises(type(error)):
        await hand_over(scheme, answer_challenge(challenge(scheme)))()

    accounts = DigestAccounts()
    accounts.accounts["alice"] = error
    scheme = digest_scheme(accounts)
    with pytest.raises(type(error)):
        now(scheme, answer_challenge(challenge(scheme)))


async def test_a_body_is_read_after_the_attempts_were_asked_for() -> None:
    """A response with auth-int is handed over, whatever the stores. Its body is read once."""
    reads: list[int] = []

    async def read(limit: int) -> bytes:
        reads.append(limit)
        return b"ten pounds"

    def request() -> AuthRequest:
        return AuthRequest(http_scope(method="POST"), path="/", moment=Moment(NOW, 60.0), reader=read)

    scheme = digest_scheme(qop=("auth-int",), throttle=throttle(1))
    offer = challenge(scheme)
    params = answer_challenge(offer, method="POST", body=b"ten pounds")
    answer = hand_over(scheme, params, request())
    assert reads == []

    wrong = answer_challenge(offer, "wrong", method="POST")
    codes = [code(await answer())]
    codes += [code(await hand_over(scheme, one, request())()) for one in (wrong, params)]

    assert (codes, len(reads)) == (["", "response.wrong", "attempts.exceeded"], 2)


async def test_a_store_that_overrides_find_alone_is_awaited() -> None:
    """The ``find_now`` that it inherits would bypass its own ``find``."""

    class Own(DigestAccounts):
        async def find(self, username: str, **names: Any) -> DigestAccount | None:
            return None

    scheme = digest_scheme(Own())

    assert code(await hand_over(scheme, answer_challenge(challenge(scheme)))()) == "user.unknown"


# --- Unknown and wrong cost the same ----------------------------------------------------------------------------------


@pytest.mark.parametrize("finds_hashed", [False, True])
def test_an_unknown_name_is_counted_by_as_many_hashes_as_a_wrong_password(
    finds_hashed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The throttle hashes names of one length equally often and in equal lengths, whoever has them."""
    sizes: list[int] = []
    keyed = KeyedHash.of

    def counting(self: KeyedHash, data: bytes) -> bytes:
        sizes.append(len(data))
        return keyed(self, data)

    monkeypatch.setattr(KeyedHash, "of", counting)
    scheme = digest_scheme(DigestAccounts(finds_hashed=finds_hashed), throttle=throttle(50))
    offer = challenge(scheme)
    costs = []
    for username, password in [("alice", "wrong"), ("carol", "x"), ("alice", ""), ("ellen", "wonderland")]:
        sizes.clear()
        outcome_now(scheme, answer_challenge(offer, password, username))
        costs.append(tuple(sizes))

    assert set(costs) == {costs[0]}
    assert len(costs[0]) >= 2
