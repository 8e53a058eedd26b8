"""Two ``Digest`` schemes in one process accept the same nonces, and each response only once between them."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Sequence
from typing import Any

import pytest

from authguard import PUBLIC, AuthGuardMiddleware, Digest, Guard, MemoryDigests, Rule
from authguard.model import Accepted, Outcome, Rejected
from authguard.schemes.nonce_secret import PER_PROCESS
from authguard.state import nonce_store
from authguard.state.nonce_store import OTHER_CLOCK, MemoryNonces
from authguard.wire.authorization import Credentials
from authguard.wire.challenge import Challenge
from tests.support.asgi import Exchange, RecordingApp, header_list, http_scope, run_app
from tests.support.clock import NOW
from tests.support.coroutines import run_without_waiting
from tests.support.forks import needs_fork, run_in_child
from tests.support.schemes.digest import (
    REALM,
    DigestParams,
    answer_challenge,
    challenge,
    digest_request,
    serialize,
)

ACCOUNTS = MemoryDigests.of_cleartext({"alice": "wonderland"}, realm=REALM)


@pytest.fixture(name="secret")
def _secret(request: pytest.FixtureRequest) -> str:
    """A secret of this test alone: no other scheme of this process shares its memory."""
    return f"{request.node.nodeid}, and thirty-two bytes more"


def digest(secret: Any, realm: str = REALM, **options: Any) -> Digest:
    """A scheme without a throttle."""
    accounts = ACCOUNTS if realm == REALM else MemoryDigests.of_cleartext({"alice": "wonderland"}, realm=realm)
    return Digest(accounts, realm=realm, secret=secret, throttle=None, **options)


def present(scheme: Digest, params: DigestParams, now: float = NOW) -> str:
    """The reason code for a response, or "" if it is accepted."""
    outcome: Outcome = run_without_waiting(
        scheme.authenticate(digest_request(now), Credentials("digest", serialize(params)))
    )
    if isinstance(outcome, Rejected):
        return outcome.reason.code
    assert isinstance(outcome, Accepted)
    return ""


OPTIONS: Sequence[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {}),
    ({"life": 60.0}, {"life": 3600.0}),
    ({"life": 3600.0}, {"life": 60.0}),
    ({"algorithms": ("SHA-256",)}, {"qop": ("auth", "auth-int")}),
]


@pytest.mark.rfc("7616-6")
@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["to the one that asked first", "to the other one first"])
def test_two_schemes_of_one_secret_and_realm_accept_a_response_once(
    secret: str, options: tuple[dict[str, Any], dict[str, Any]], order: tuple[int, int]
) -> None:
    """Whichever is sent it first, and however long their nonces live."""
    schemes = [digest(secret, **each) for each in options]
    params = answer_challenge(challenge(schemes[0]))

    assert [present(schemes[index], params) for index in order] == ["", "nonce.replayed"]


@pytest.mark.rfc("7616-6")
async def test_of_two_guards_one_accepts_a_response(secret: str) -> None:
    """One guard is around the whole app, and the other one around a mounted part that is PUBLIC to the first."""
    inner = AuthGuardMiddleware(RecordingApp(), guard=Guard(digest(secret), clock=lambda: NOW, log=False))
    rules = [Rule("/in/**", PUBLIC)]
    outer = AuthGuardMiddleware(inner, guard=Guard(digest(secret), rules=rules, clock=lambda: NOW, log=False))

    async def request(path: str, params: DigestParams | None) -> Exchange:
        field = None if params is None else b"Digest " + serialize(params)
        return await run_app(outer, http_scope(path, headers=header_list(field)))

    for asked, first, second in (("/", "/", "/in/"), ("/in/", "/", "/in/"), ("/", "/in/", "/")):
        line = (await request(asked, None)).lines(b"www-authenticate")[0].encode()
        params = [answer_challenge(Challenge.from_header(line), uri=path) for path in (first, second)]

        statuses = [(await request(path, answer)).status for path, answer in zip((first, second), params, strict=True)]

        assert statuses == [200, 401]


def test_of_many_threads_one_has_its_response_accepted(secret: str) -> None:
    """The first uses of both schemes come at the same time, so that the memory is not shared before."""
    for _ in range(20):
        schemes = [digest(secret), digest(secret)]
        params = answer_challenge(challenge(digest(secret, nonces=MemoryNonces())), count=1)
        barrier, answers = threading.Barrier(8), list[str]()

        def work(scheme: Digest, barrier: Any = barrier, answers: Any = answers, params: Any = params) -> None:
            barrier.wait(30)
            answers.append(present(scheme, params))

        threads = [threading.Thread(target=work, args=(schemes[number % 2],)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)

        assert sorted(answers) == ["", *["nonce.replayed"] * 7]


def test_a_secret_in_common_is_enough(secret: str) -> None:
    """During a rotation one scheme accepts the nonces of both secrets. Each secret's nonces are counted together."""
    new = f"the new one of {secret}"
    before, during, after = digest(secret), digest([new, secret]), digest(new)
    old_params, new_params = answer_challenge(challenge(before)), answer_challenge(challenge(after))

    assert [present(scheme, old_params) for scheme in (during, before)] == ["", "nonce.replayed"]
    assert [present(scheme, new_params) for scheme in (during, after)] == ["", "nonce.replayed"]


def test_schemes_that_share_no_nonces_count_apart(secret: str) -> None:
    """Another secret, another realm, and PER_PROCESS: the other scheme does not know the nonce at all."""
    for one, other in (
        (digest(secret), digest(f"another than {secret}")),
        (digest(PER_PROCESS), digest(PER_PROCESS)),
    ):
        params = answer_challenge(challenge(one))
        assert [present(scheme, params) for scheme in (other, one)] == ["nonce.unknown", ""]
    one, other = digest(secret), digest(secret, "cameras")
    assert present(one, answer_challenge(challenge(other), realm=REALM, opaque=opaque(one))) == "nonce.unknown"


def opaque(scheme: Digest) -> str | None:
    """The ``opaque`` of a scheme."""
    return challenge(scheme).get("opaque")


def test_a_store_that_is_given_is_not_shared(secret: str) -> None:
    """The app decides then which schemes count together."""
    one, other = digest(secret, nonces=MemoryNonces()), digest(secret, nonces=MemoryNonces())
    challenge(other)
    params = answer_challenge(challenge(one))

    assert [present(scheme, params) for scheme in (one, other, one)] == ["", "", "nonce.replayed"]


def test_the_memory_ends_with_the_last_scheme(secret: str) -> None:
    """It is kept no longer than a scheme uses it, under a hash from which neither secret nor key can be computed."""
    schemes = [digest(secret), digest(secret)]
    challenge(schemes[0])
    challenge(schemes[1])
    (signer,) = signers(schemes[0])
    identities = [identity for identity, memory in nonce_store._shared.items() if memory is signer.store]
    memory = weakref.ref(signer.store)

    assert len(identities) == 1
    assert identities[0] not in {signer.key, secret.encode()}
    assert signers(schemes[1])[0].store is signer.store
    del schemes, signer
    gc.collect()
    assert memory() is None
    assert identities[0] not in nonce_store._shared


def signers(scheme: Digest) -> Any:
    """The keys of the nonces of a scheme, each with its store."""
    return scheme._nonce_service._signers


@pytest.mark.parametrize(("behind", "code"), [(OTHER_CLOCK, "nonce.replayed"), (OTHER_CLOCK + 0.1, "")])
def test_a_guard_with_another_clock_keeps_a_memory_of_its_own(secret: str, behind: float, code: str) -> None:
    """A test may leave an app behind whose clock it has moved. The next test begins with an earlier clock, and would
    find all its nonces forgotten. A request that was delayed by a few seconds is not of another clock."""
    left_behind, new = digest(secret), digest(secret)
    params = answer_challenge(challenge(left_behind, now=NOW))
    assert present(left_behind, params) == ""
    challenge(left_behind, now=NOW + behind)

    assert present(new, params) == code


@needs_fork
def test_two_schemes_share_a_memory_in_a_fork_too(secret: str) -> None:
    """A forked child begins anew, and its schemes count together."""
    schemes = [digest(secret), digest(secret)]
    challenge(schemes[0])

    def work() -> list[str]:
        later = NOW + 10
        for scheme in schemes:
            challenge(scheme, now=later)
        params = answer_challenge(challenge(schemes[0], now=later))
        return [present(scheme, params, later) for scheme in schemes]

    assert run_in_child(work) == repr(["", "nonce.replayed"])
