"""The order of Digest's checks: apart from being accepted or stale, a right response looks like a wrong one."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import anyio
import pytest

from authguard.concurrency.token_bucket import Rate
from authguard.errors import RequestBodyError
from authguard.model import Accepted, Moment, Rejected
from authguard.reasons import ATTEMPTS_EXCEEDED, BODY_TOO_LARGE
from authguard.request import AuthRequest
from authguard.schemes.digest.scheme import Digest
from authguard.schemes.throttle import LoginThrottle
from authguard.state.nonce_store import MemoryNonces, NonceStore
from authguard.testing import ManualClock
from tests.support.asgi import http_scope
from tests.support.clock import NOW
from tests.support.schemes.digest import (
    SECRET,
    DigestAccounts,
    DigestParams,
    SharedNonces,
    answer_challenge,
    authenticate,
    authentication_info,
    challenge,
    digest_request,
    digest_response,
    digest_scheme,
    ha1,
    rejection_code,
)

LATE = NOW + 300
OTHER_SECRET = "another secret of thirty-two octets"


def throttle(burst: int = 2, known_pair: int = 200) -> LoginThrottle:
    """A throttle with so many attempts, which the standing clock never refills."""
    return LoginThrottle(pair=Rate(burst, 60.0), known_pair=Rate(known_pair, 60.0), clock=ManualClock(1000))


async def exhaust(scheme: Digest, burst: int = 2) -> None:
    """Guess until no attempt is left."""
    for _ in range(burst):
        assert await rejection_code(scheme, answer_challenge(challenge(scheme), "guess")) == "response.wrong"


# --- Everything wrong with the nonce, and nothing else ----------------------------------------------------------------


class NonceCase:
    """A scheme and credentials whose nonce is not valid, and the reason for it."""

    def __init__(self, name: str, **options: Any) -> None:
        self.name = name
        self.request = digest_request()
        self.scheme = digest_scheme(**options)
        if name == "nonce.unknown":
            self.challenge = challenge(digest_scheme(secret=OTHER_SECRET))
        elif name == "nonce.not_yet":
            challenge(self.scheme)
            self.challenge = challenge(self.scheme, now=NOW + 61)
        elif name == "nonce.forgotten":
            self.challenge = challenge(self.scheme, now=NOW - 1)
            self.scheme = digest_scheme(**options)
        else:
            self.challenge = challenge(self.scheme)
        if name == "nonce.stale":
            self.request = digest_request(LATE)

    async def params(self, password: str = "wonderland") -> DigestParams:
        if self.name in {"nonce.replayed", "nonce.outside"}:
            await authentication_info(self.scheme, answer_challenge(self.challenge, count=200))
        count = {"nonce.replayed": 200, "nonce.outside": 1}.get(self.name, 300)
        return answer_challenge(self.challenge, password, count=count)


NONCES = ["nonce.unknown", "nonce.stale", "nonce.not_yet", "nonce.forgotten", "nonce.replayed", "nonce.outside"]


@pytest.mark.rfc("7616-5", "7616-6", "7616-9")
@pytest.mark.parametrize("name", NONCES)
async def test_a_right_response_under_a_bad_nonce_is_stale(name: str) -> None:
    """A right response with an invalid nonce is stale: the client retries by itself, and no attempt is used."""
    case = NonceCase(name, throttle=throttle(1))
    params = await case.params()

    codes = {await rejection_code(case.scheme, params, case.request) for _ in range(3)}
    outcome = await authenticate(case.scheme, params, case.request)

    assert isinstance(outcome, Rejected)
    assert codes == {name} == {outcome.reason.code}
    assert (outcome.subject, outcome.authenticated) == ("alice", False)
    again = challenge(case.scheme, outcome.reason, case.request.moment.now)
    assert again.get("stale") == "true"
    await authentication_info(case.scheme, answer_challenge(again), case.request)


@pytest.mark.rfc("7616-5")
@pytest.mark.parametrize("name", NONCES)
async def test_a_wrong_response_is_never_stale(name: str) -> None:
    """A wrong response is never stale, because stale reveals that the password was right."""
    case = NonceCase(name)
    params = await case.params("wrong")

    outcome = await authenticate(case.scheme, params, case.request)

    assert isinstance(outcome, Rejected)
    assert (outcome.reason.code, outcome.facts) == ("response.wrong", {})
    assert challenge(case.scheme, outcome.reason).get("stale") is None


@pytest.mark.parametrize("name", NONCES)
async def test_without_an_attempt_left_right_and_wrong_are_equal(name: str) -> None:
    """Without an attempt left, right and wrong responses get a 429, whatever the nonce, so that no guess is
    confirmed."""
    case = NonceCase(name, throttle=throttle(known_pair=2))
    right, wrong = await case.params(), answer_challenge(case.challenge, "wrong", count=200)
    await exhaust(case.scheme)

    told = [await authenticate(case.scheme, one, case.request) for one in (wrong, right, right)]

    assert all(isinstance(one, Rejected) for one in told)
    assert {one.reason for one in told if isinstance(one, Rejected)} == {ATTEMPTS_EXCEEDED}
    assert len({str(one.facts) for one in told if isinstance(one, Rejected)}) == 1


async def test_without_an_attempt_left_another_resource_is_a_429_too() -> None:
    """Without an attempt left, a response for another resource is a 429: the usual 400 would reveal that it was
    right."""
    scheme = digest_scheme(throttle=throttle())
    await exhaust(scheme)

    params = [answer_challenge(challenge(scheme), word, uri="/elsewhere") for word in ("wonderland", "wrong")]

    assert [await rejection_code(scheme, one) for one in params] == ["attempts.exceeded"] * 2


async def test_without_an_attempt_left_a_nonce_count_is_not_used() -> None:
    """A header that got a 429 is accepted once the throttle has refilled."""
    clock = ManualClock(1000)
    scheme = digest_scheme(throttle=LoginThrottle(pair=Rate(2, 60.0), clock=clock))
    params = answer_challenge(challenge(scheme))
    await exhaust(scheme)
    assert await rejection_code(scheme, params) == "attempts.exceeded"

    clock.move(120)
    await authentication_info(scheme, params)


async def test_an_unknown_name_and_a_disabled_account_run_out_of_attempts_as_any() -> None:
    """An unknown name, and a disabled account with the right password, run out of attempts like any account."""
    scheme = digest_scheme(throttle=throttle())

    for name, password in [("nobody", "x"), ("mallory", "secret")]:
        codes = [await rejection_code(scheme, answer_challenge(challenge(scheme), password, name)) for _ in range(3)]
        assert codes[2] == "attempts.exceeded"
        assert "attempts.exceeded" not in codes[:2]


async def test_without_attempts_guessing_is_not_slowed() -> None:
    """``throttle=None`` switches the throttle off."""
    scheme = digest_scheme(throttle=None)

    await exhaust(scheme, 30)
    await authentication_info(scheme, answer_challenge(challenge(scheme)))


async def test_guesses_of_others_do_not_lock_out_a_known_network() -> None:
    """The bucket of the account counts only for networks from which nobody has logged in to it."""
    scheme = digest_scheme(throttle=LoginThrottle(pair=Rate(5, 60.0), account=Rate(5, 60.0), clock=ManualClock(1000)))
    await authentication_info(scheme, answer_challenge(challenge(scheme)), digest_request(client="192.0.2.1"))

    for stranger in range(10):
        params = answer_challenge(challenge(scheme), "guess")
        await authenticate(scheme, params, digest_request(client=f"198.51.100.{stranger}"))
    strange = await rejection_code(scheme, answer_challenge(challenge(scheme)), digest_request(client="203.0.113.1"))

    assert strange == "attempts.exceeded"
    await authentication_info(scheme, answer_challenge(challenge(scheme)), digest_request(client="192.0.2.1"))


# --- What comes before what -------------------------------------------------------------------------------------------


async def test_each_check_hides_the_checks_after_it() -> None:
    """The order is: what was offered, the response, the attempts, the resource, the nonce, and at last its age."""
    scheme = digest_scheme(throttle=throttle(3))
    offer = challenge(scheme)
    await authentication_info(scheme, answer_challenge(offer, count=1))
    wrong: dict[str, Any] = {"realm": "x", "opaque": "x", "algorithm": "MD5", "qop": "x", "uri": "/elsewhere"}
    codes = []

    for name in ("realm", "opaque", "algorithm", "qop", "uri"):
        codes.append(await rejection_code(scheme, answer_challenge(offer, "wrong", **wrong), digest_request(LATE)))
        if name != "uri":
            del wrong[name]
    codes.append(await rejection_code(scheme, answer_challenge(offer, uri="/elsewhere"), digest_request(LATE)))
    codes.append(await rejection_code(scheme, answer_challenge(offer, count=1), digest_request(LATE)))
    codes.append(await rejection_code(scheme, answer_challenge(offer, count=1)))

    assert codes == [
        "realm.foreign",
        "opaque.foreign",
        "algorithm.unoffered",
        "qop.unoffered",
        "response.wrong",
        "uri.mismatch",
        "nonce.stale",
        "nonce.replayed",
    ]


@pytest.mark.rfc("7616-9")
async def test_an_unverified_request_uses_no_nonce_count() -> None:
    """gsm-sip-bridge PR #21: a stranger who sends the greatest nonce count does not lock the owner out."""
    scheme = digest_scheme(throttle=None)
    offer = challenge(scheme)
    strange: list[dict[str, Any]] = [
        {"password": "wrong"},
        {"username": "nobody"},
        {"username": "mallory", "password": "secret"},
        {"uri": "/elsewhere"},
        {"realm": "cameras"},
    ]

    for changes in strange:
        await rejection_code(scheme, answer_challenge(offer, count=2**32 - 1, **changes))

    for count in (1, 2, 3):
        await authentication_info(scheme, answer_challenge(offer, count=count))


async def test_a_nonce_is_not_bound_to_a_name() -> None:
    """Two users that share a cached nonce compete only for its counts."""
    scheme = digest_scheme()
    offer = challenge(scheme)

    await authentication_info(scheme, answer_challenge(offer, count=1))
    await authentication_info(scheme, answer_challenge(offer, "Secret, or not?", "Jäsøn", count=2))
    assert (
        await rejection_code(scheme, answer_challenge(offer, "Secret, or not?", "Jäsøn", count=1)) == "nonce.replayed"
    )


@pytest.mark.rfc("7616-9")
@pytest.mark.parametrize("store", [lambda: None, SharedNonces])
async def test_of_parallel_requests_with_one_count_one_is_accepted(store: Callable[[], NonceStore | None]) -> None:
    """Claiming a nonce count is atomic, however the requests interleave."""
    scheme = digest_scheme(DigestAccounts(answers_at_once=False), nonces=store())
    params = answer_challenge(challenge(scheme))
    codes: list[str] = []

    async def one() -> None:
        outcome = await authenticate(scheme, params)
        codes.append("" if isinstance(outcome, Accepted) else outcome.reason.code)

    async with anyio.create_task_group() as tasks:
        for _ in range(200):
            tasks.start_soon(one)

    assert sorted(codes) == ["", *["nonce.replayed"] * 199]


# --- Several processes, and several secrets ---------------------------------------------------------------------------


@pytest.mark.rfc("7616-6")
async def test_two_processes_with_one_secret_accept_each_others_nonces() -> None:
    """Each process accepts a count once, because ``MemoryNonces`` covers one process only."""
    one, other = digest_scheme(nonces=MemoryNonces()), digest_scheme(nonces=MemoryNonces())
    challenge(other)
    params = answer_challenge(challenge(one))

    await authentication_info(one, params)
    await authentication_info(other, params)
    assert [await rejection_code(scheme, params) for scheme in (one, other)] == ["nonce.replayed"] * 2


async def test_with_one_store_a_count_is_good_once_for_all() -> None:
    """Two schemes that share a nonce store start it twice, and a count is still accepted only once."""
    nonces = MemoryNonces()
    one, other = digest_scheme(nonces=nonces), digest_scheme(nonces=nonces)
    params = answer_challenge(challenge(one))
    challenge(other, now=NOW + 1)

    await authentication_info(one, params)
    assert await rejection_code(other, params) == "nonce.replayed"


async def test_a_redeploy_with_another_secret_prompts_nobody() -> None:
    """A nonce of an unknown secret is stale if the response is right, so the client retries without asking its user."""
    before, after = digest_scheme(), digest_scheme(secret=OTHER_SECRET)

    assert await rejection_code(after, answer_challenge(challenge(before))) == "nonce.unknown"


async def test_secrets_are_rotated() -> None:
    """The first secret makes new nonces, and nonces of all secrets are accepted."""
    old, both, new = digest_scheme(), digest_scheme(secret=[OTHER_SECRET, SECRET]), digest_scheme(secret=OTHER_SECRET)
    for scheme in (old, both, new):
        challenge(scheme, now=NOW - 1)

    await authentication_info(both, answer_challenge(challenge(old)))
    await authentication_info(new, answer_challenge(challenge(both)))
    assert await rejection_code(old, answer_challenge(challenge(both))) == "nonce.unknown"


async def test_a_nonce_of_another_realm_is_none_of_ours() -> None:
    """A nonce of another realm is unknown, even under the same secret."""
    elsewhere = challenge(digest_scheme(realm="cameras")).get("nonce")
    scheme = digest_scheme()

    assert await rejection_code(scheme, answer_challenge(challenge(scheme), nonce=elsewhere)) == "nonce.unknown"


# --- auth-int ---------------------------------------------------------------------------------------------------------


def with_body(body: bytes, method: str = "POST") -> AuthRequest:
    """A request with this body."""

    async def read(limit: int) -> bytes:
        return body[: limit + 1]

    return AuthRequest(http_scope(method=method), path="/", moment=Moment(NOW, 60.0), reader=read)


@pytest.mark.rfc("7616-11", "7616-14")
@pytest.mark.parametrize("algorithm", ["SHA-256", "SHA-256-sess"])
async def test_auth_int_protects_the_body(algorithm: str) -> None:
    """A request with auth-int is verified with its body, and answered with ``qop=auth``: the answer's body is not known
    yet."""
    scheme = digest_scheme(qop=("auth", "auth-int"), algorithms=[algorithm])
    offer = challenge(scheme)
    params = answer_challenge(offer, method="POST", body=b"ten pounds", qop="auth-int")

    assert await rejection_code(scheme, params, with_body(b"ten pounds!")) == "response.wrong"
    info = await authentication_info(scheme, params, with_body(b"ten pounds"))

    assert info["qop"] == "auth"
    assert info["rspauth"] == digest_response(params, ha1(params, "wonderland"), method="", qop="auth")


async def test_with_auth_beside_it_a_body_is_not_read() -> None:
    """If auth is offered too and the client chooses it, the body is not read."""
    scheme = digest_scheme(qop=("auth", "auth-int"))

    async def unread(limit: int) -> bytes:
        raise AssertionError

    request = AuthRequest(http_scope(), path="/", moment=Moment(NOW, 60.0), reader=unread)
    await authentication_info(scheme, answer_challenge(challenge(scheme)), request)


async def test_where_auth_int_alone_is_offered_auth_is_a_downgrade() -> None:
    """7616-8: if only auth-int is offered, a request with auth is rejected."""
    scheme = digest_scheme(qop=("auth-int",))
    params = answer_challenge(challenge(scheme), method="POST", body=b"x")

    assert params["qop"] == "auth-int"
    assert await rejection_code(scheme, answer_challenge(challenge(scheme), qop="auth")) == "qop.unoffered"
    await authentication_info(scheme, params, with_body(b"x"))


async def test_a_body_beyond_the_limit_is_a_413() -> None:
    """A body above the limit is a 413, whoever sent it. A body of exactly the limit is accepted."""
    scheme = digest_scheme(qop=("auth-int",), limit=10)

    for name in ("alice", "nobody"):
        params = {**answer_challenge(challenge(scheme), method="POST", body=b"x" * 11), "username": name}
        with pytest.raises(RequestBodyError) as caught:
            await authenticate(scheme, params, with_body(b"x" * 11))
        assert caught.value.reason is BODY_TOO_LARGE

    await authentication_info(
        scheme, answer_challenge(challenge(scheme), method="POST", body=b"x" * 10), with_body(b"x" * 10)
    )


async def test_without_an_attempt_left_no_body_is_read() -> None:
    """Without an attempt left, the body is not read, because a stranger could make the server buffer it for nothing."""
    scheme = digest_scheme(qop=("auth-int",), throttle=throttle())
    offer = challenge(scheme)
    params = answer_challenge(offer, "wrong", method="POST", body=b"x")
    said = [await rejection_code(scheme, params, with_body(b"x")) for _ in range(10)]

    assert said[-1] == "attempts.exceeded"
    assert await rejection_code(scheme, params, digest_request(method="POST")) == "attempts.exceeded"


async def test_a_nonce_ages_while_its_body_comes() -> None:
    """A body that takes longer to arrive than the nonce lives is rejected as stale."""
    clock = ManualClock(1000)
    scheme = digest_scheme(qop=("auth-int",), clock=clock)
    params = answer_challenge(challenge(scheme), method="POST", body=b"x")

    async def slowly(limit: int) -> bytes:
        clock.move(301)
        return b"x"

    settings = {**digest_request(method="POST").scope}
    request = AuthRequest(settings, settings["path"], Moment(NOW, 60.0), slowly)

    assert await rejection_code(scheme, params, request) == "nonce.stale"


async def test_a_429_does_not_reveal_the_owner_of_a_hashed_name() -> None:
    """Guesses at a name and at its hash are counted together, in either order. A name that nobody has gets the same
    answers."""
    for first in ("clear", "hashed"):
        answers = []
        for name in ("alice", "nobody"):
            scheme = digest_scheme(DigestAccounts(finds_hashed=True), throttle=throttle())
            digest = hashlib.sha256(f"{name}:orders".encode()).hexdigest()
            hashed: DigestParams = {"username": digest, "userhash": "true"}
            forms: dict[str, DigestParams] = {"clear": {"username": name}, "hashed": hashed}
            guesses = [forms.pop(first)] * 3 + [*forms.values()] * 3
            answers.append(
                [
                    await rejection_code(scheme, {**answer_challenge(challenge(scheme), "wrong"), **form})
                    == "attempts.exceeded"
                    for form in guesses
                ]
            )
        assert answers == [[False, False, True, True, True, True]] * 2
