"""The nonces of a Digest scheme: how long they are valid, by whose clock, and how the nonce store is asked."""

from __future__ import annotations

from functools import partial
from typing import Any

import anyio
import pytest

from authguard.errors import BackendUnavailable, ConfigurationError
from authguard.model import Failure, Moment
from authguard.reasons import STORE_TIMEOUT
from authguard.schemes.digest.nonce_service import MOST_GENUINE, STALE, NonceService
from authguard.state.nonce_store import MemoryNonces, NonceStore, NonceUse
from authguard.wire import nonce as wire_nonce
from authguard.wire.nonce import RANDOM, Nonce, nonce_key
from tests.support.clock import NOW
from tests.support.schemes.digest import digest_request

SECRET = b"s" * 32
LEEWAY = 60.0
LIFE = 300.0


def nonce_service(*secrets: bytes, realm: str = "orders", **options: Any) -> NonceService:
    """A nonce service with these secrets."""
    settings: dict[str, Any] = {"life": LIFE, "store": None, "deadline": 5.0, **options}
    return NonceService(secrets or (SECRET,), realm, **settings)


async def use_code(one: NonceService, text: str, count: int = 1, now: float = NOW) -> str:
    """The code of the reason for which a nonce is rejected; empty if it may be used."""
    outcome = await one.use(text.encode(), count, Moment(now, LEEWAY))
    return "" if isinstance(outcome, Nonce) else outcome.reason.code


class RemoteNonces(NonceStore):
    """A nonce store over a network, which answers as the test says and keeps its calls."""

    def __init__(self, answer: Any = NonceUse.FRESH) -> None:
        self.answer = answer
        self.begun: list[float] = []
        self.claimed: list[tuple[bytes, int, float, float, float]] = []

    def begin(self, now: float) -> None:
        self.begun.append(now)

    async def claim(self, nonce: bytes, count: int, *, minted_at: float, expires_at: float, now: float) -> NonceUse:
        await anyio.lowlevel.checkpoint()
        self.claimed.append((nonce, count, minted_at, expires_at, now))
        if isinstance(self.answer, Exception):
            raise self.answer
        answer: NonceUse = self.answer
        return answer


@pytest.mark.rfc("7616-6")
async def test_each_nonce_is_unique_and_each_count_is_accepted_once() -> None:
    """RFC 7616 section 3.3: each 401 has a nonce of its own, two in the same microsecond included."""
    one = nonce_service()
    texts = {one.mint(NOW) for _ in range(1000)}

    assert len(texts) == 1000
    assert [await use_code(one, text, count) for text in list(texts)[:2] for count in (1, 2, 1)] == [
        "",
        "",
        "nonce.replayed",
    ] * 2


@pytest.mark.rfc("7616-6")
@pytest.mark.parametrize(
    ("after", "code"),
    [(0.0, ""), (LIFE - 0.001, ""), (LIFE, "nonce.stale"), (LIFE + 0.001, "nonce.stale"), (1e6, "nonce.stale")],
)
async def test_a_nonce_ends_with_its_life_and_no_leeway_is_granted(after: float, code: str) -> None:
    """No leeway applies to the life of a nonce, because the server's own clock stamped it."""
    one = nonce_service()

    assert await use_code(one, one.mint(NOW), now=NOW + after) == code


@pytest.mark.parametrize(
    ("ahead", "code"), [(1.0, ""), (LEEWAY, ""), (LEEWAY + 0.01, "nonce.not_yet"), (1e6, "nonce.not_yet")]
)
async def test_a_host_may_be_ahead_by_the_leeway(ahead: float, code: str) -> None:
    """The clocks of two hosts with one secret may differ by the leeway. A nonce from further ahead is rejected."""
    here, there = nonce_service(), nonce_service()
    here.mint(NOW)

    assert await use_code(here, there.mint(NOW + ahead)) == code


async def test_the_facts_say_by_how_much() -> None:
    """The facts say by how many seconds a nonce is too old or too young, so that a wrong clock can be found."""
    one = nonce_service()

    late = await one.use(one.mint(NOW).encode(), 1, Moment(NOW + LIFE + 2.5, LEEWAY))
    early = await one.use(one.mint(NOW + 90.5).encode(), 1, Moment(NOW, LEEWAY))

    assert isinstance(late, Failure)
    assert isinstance(early, Failure)
    assert late.facts == {"expired_by": 2.5, "life": LIFE}
    assert early.facts == {"early_by": 90.5, "leeway": LEEWAY}


@pytest.mark.rfc("7616-6")
async def test_a_nonce_of_another_secret_or_realm_is_unknown() -> None:
    """A nonce of another secret or realm is unknown, and so is a malformed one."""
    one = nonce_service()
    texts = [
        nonce_service(b"t" * 32).mint(NOW),
        nonce_service(realm="cameras").mint(NOW),
        "",
        "null",
        one.mint(NOW)[:-1],
    ]

    assert [await use_code(one, text) for text in texts] == ["nonce.unknown"] * 5


async def test_secrets_are_rotated_without_a_prompt() -> None:
    """The new secret makes nonces and the old one is still accepted. Without the old secret, its nonces are unknown."""
    old, new = b"o" * 32, b"n" * 32
    before, during, after = nonce_service(old), nonce_service(new, old), nonce_service(new)
    for one in (before, during, after):
        one.mint(NOW - 1)

    assert await use_code(during, before.mint(NOW)) == ""
    assert await use_code(after, during.mint(NOW)) == ""
    assert await use_code(before, during.mint(NOW)) == "nonce.unknown"
    assert await use_code(after, before.mint(NOW)) == "nonce.unknown"


async def test_a_nonce_of_before_the_start_is_forgotten() -> None:
    """A process that has restarted does not know which counts were used, so it rejects nonces from before its start."""
    before, after = nonce_service(store=MemoryNonces()), nonce_service(store=MemoryNonces())
    text = before.mint(NOW)

    assert await use_code(before, text) == ""
    assert await use_code(after, text, now=NOW + 1) == "nonce.forgotten"
    assert await use_code(after, after.mint(NOW + 1), now=NOW + 1) == ""


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (NonceUse.FRESH, ""),
        (NonceUse.REPLAYED, "nonce.replayed"),
        (NonceUse.OUTSIDE, "nonce.outside"),
        (NonceUse.FORGOTTEN, "nonce.forgotten"),
    ],
)
async def test_a_store_of_the_apps_own_is_asked(answer: NonceUse, code: str) -> None:
    """The store gets the nonce, the count, its start, its end and the time, after it was told that nonces begin."""
    store = RemoteNonces(answer)
    one = nonce_service(store=store)
    text = one.mint(NOW)
    nonce = Nonce.from_text(text.encode(), [nonce_key(SECRET, "orders")])

    said = await use_code(one, text, 7, NOW + 5)

    assert nonce is not None
    assert said == code
    assert store.begun == [NOW, NOW + 5]
    assert store.claimed == [(nonce.identity, 7, NOW, NOW + LIFE, NOW + 5)]


async def test_a_store_is_not_asked_about_an_invalid_nonce() -> None:
    """The store is asked neither about an unknown nonce nor about one that is too old or too young."""
    store = RemoteNonces()
    one = nonce_service(store=store)

    for text, now in [("null", NOW), (one.mint(NOW), NOW + LIFE), (one.mint(NOW + 100), NOW)]:
        assert await use_code(one, text, now=now) != ""

    assert store.claimed == []


@pytest.mark.parametrize("answer", [BackendUnavailable("down"), KeyError("nonce"), None, True])
async def test_a_store_that_fails_accepts_no_nonce(answer: Any) -> None:
    """An error of the store passes through, and an answer of a wrong type raises."""
    one = nonce_service(store=RemoteNonces(answer))

    with pytest.raises(type(answer) if isinstance(answer, Exception) else KeyError):
        await use_code(one, one.mint(NOW))


async def test_a_store_has_the_deadline_of_the_scheme() -> None:
    """A store that misses the deadline of the scheme is an outage."""

    class Silent(RemoteNonces):
        async def claim(self, nonce: bytes, count: int, **_: float) -> NonceUse:
            await anyio.sleep_forever()
            raise AssertionError

    one = nonce_service(store=Silent(), deadline=0.01)

    with pytest.raises(BackendUnavailable) as caught:
        await use_code(one, one.mint(NOW))

    assert caught.value.reason is STORE_TIMEOUT


class Away(RemoteNonces):
    """A store that is away, and says what that means."""

    def __init__(self, on_outage: str, answer: Any) -> None:
        super().__init__(answer)
        self.on_outage = on_outage

    async def claim(self, nonce: bytes, count: int, **times: float) -> NonceUse:
        if self.answer is None:
            await anyio.sleep_forever()
        return await super().claim(nonce, count, **times)


@pytest.mark.parametrize("answer", [BackendUnavailable("down"), None], ids=["unavailable", "silent"])
@pytest.mark.parametrize(("on_outage", "passes"), [("deny", False), ("allow", True), ("memory", False)])
async def test_a_store_says_what_an_outage_means(on_outage: str, passes: bool, answer: Any) -> None:
    """By name, responses are accepted while the store is away or silent, and the request is noted as unchecked."""
    one = nonce_service(store=Away(on_outage, answer), deadline=0.01)
    request, text = digest_request(), one.mint(NOW).encode()

    try:
        use = await one.use(text, 1, Moment(NOW, LEEWAY), request)
    except BackendUnavailable:
        use = None

    assert isinstance(use, Nonce) is passes
    assert request.unchecked == (("nonces",) if passes else ())


@pytest.mark.parametrize("answer", [KeyError("nonce"), "yes"], ids=["raises", "wrong"])
async def test_a_store_that_fails_otherwise_is_no_outage(answer: Any) -> None:
    """An error of a store's own is a mistake of its author, so it is raised whatever an outage means."""
    one = nonce_service(store=Away("allow", answer))

    with pytest.raises(KeyError):
        await one.use(one.mint(NOW).encode(), 1, Moment(NOW, LEEWAY), digest_request())


async def test_a_store_may_mark_new_nonces() -> None:
    """It finds its mark again in the nonces that it is asked about."""

    class Marking(RemoteNonces):
        def mark(self, random: bytes) -> bytes:
            return b"mark" + random[4:]

    store = Marking()
    one = nonce_service(store=store)
    texts = {one.mint(NOW) for _ in range(100)}

    assert {await use_code(one, text) for text in texts} == {""}
    assert {nonce[-RANDOM:][:4] for nonce, *_ in store.claimed} == {b"mark"}
    assert len({nonce for nonce, *_ in store.claimed}) == 100


@pytest.mark.rfc("7616-14")
@pytest.mark.parametrize(("after", "next_too"), [(0.0, False), (224.9, False), (225.0, True), (299.0, True)])
async def test_the_next_nonce_is_given_in_the_last_quarter(after: float, next_too: bool) -> None:
    """The next nonce is given in the last quarter of a nonce's life. It is valid at once, for a whole life."""
    one = nonce_service()
    outcome = await one.use(one.mint(NOW).encode(), 1, Moment(NOW + after, LEEWAY))
    assert isinstance(outcome, Nonce)

    following = one.next_nonce(outcome, NOW + after)

    assert (following is not None) is next_too
    if following is not None:
        assert await use_code(one, following, now=NOW + after + LIFE - 1) == ""


# --- Genuine nonces are remembered ------------------------------------------------------------------------------------


async def test_the_tag_of_a_nonce_is_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A nonce that was used before is remembered, because its tag costs as much as the rest of a use."""
    one = nonce_service()
    text = one.mint(NOW)
    tags: list[bytes] = []
    tag = wire_nonce._tag

    def counting(key: bytes, identity: bytes) -> bytes:
        tags.append(identity)
        return tag(key, identity)

    monkeypatch.setattr(wire_nonce, "_tag", counting)

    assert [await use_code(one, text, count) for count in (1, 2, 2, 3)] == ["", "", "nonce.replayed", ""]
    assert len(tags) == 1


async def test_a_remembered_nonce_ends_with_its_life_too() -> None:
    """The time is asked for each use. A clock that is set back makes it a nonce of the future."""
    one = nonce_service(store=MemoryNonces())
    text = one.mint(NOW)
    one.mint(NOW - 1000)

    moments = (NOW, NOW + LIFE, NOW - LEEWAY - 1, NOW + LIFE - 1)
    codes = [await use_code(one, text, count, now) for count, now in enumerate(moments, 1)]

    assert codes == ["", "nonce.stale", "nonce.not_yet", ""]


async def test_a_forked_child_forgets_the_nonces_of_its_parent() -> None:
    """Its own random secret has signed none of them, and those that it mints are accepted."""
    one = nonce_service()
    one._shared = None
    one.renew()
    text = one.mint(NOW)
    assert await use_code(one, text) == ""

    one.renew()

    assert await use_code(one, text, 2) == "nonce.unknown"
    assert await use_code(one, one.mint(NOW)) == ""


async def test_nonces_of_all_secrets_are_remembered_with_their_own_store() -> None:
    """Two secrets have a memory each, in which the uses of a remembered nonce go on being counted."""
    old, new = b"old one, " * 4, b"new one, " * 4
    before, during = nonce_service(old), nonce_service(new, old)
    texts = [before.mint(NOW), during.mint(NOW)]

    codes = [[await use_code(during, text, count) for text in texts] for count in (1, 2, 2)]

    assert codes == [["", ""], ["", ""], ["nonce.replayed"] * 2]
    assert await use_code(before, texts[0], 2) == "nonce.replayed"


async def test_invented_nonces_are_not_remembered() -> None:
    """Whatever a flood brings, only nonces of these secrets take memory, and of these only the last ones."""
    one = nonce_service(store=MemoryNonces())
    genuine = [one.mint(NOW) for _ in range(MOST_GENUINE + 100)]
    invented = [text[:-2] + ("AA" if text[-2:] != "AA" else "BB") for text in genuine[:1000]]

    assert {await use_code(one, text) for text in (*invented, "", "null", "x" * 10_000)} == {"nonce.unknown"}
    assert len(one._genuine) == 0
    assert {await use_code(one, text) for text in genuine} == {""}
    assert 1000 < len(one._genuine) <= MOST_GENUINE
    assert {await use_code(one, text, 2) for text in genuine} == {""}


async def test_a_store_that_must_be_awaited_is_asked_once() -> None:
    """``use_now`` claims nothing itself then, and what it returns claims once. A bad nonce is refused at once."""
    store = RemoteNonces()
    one = nonce_service(store=store)

    use = one.use_now(one.mint(NOW).encode(), 1, Moment(NOW, LEEWAY))
    assert isinstance(use, partial)
    assert store.claimed == []

    assert isinstance(await use(), Nonce)
    assert len(store.claimed) == 1
    assert isinstance(one.use_now(b"null", 1, Moment(NOW, LEEWAY)), Failure)
    assert isinstance(one.use_now(one.mint(NOW).encode(), 1, Moment(NOW + LIFE, LEEWAY)), Failure)


def test_every_rejection_of_a_nonce_is_stale() -> None:
    """Every reason to reject a nonce is stale, so that the client retries without asking for a password."""
    assert {reason.code for reason in STALE} == {
        "nonce.unknown",
        "nonce.stale",
        "nonce.not_yet",
        "nonce.forgotten",
        "nonce.replayed",
        "nonce.outside",
    }
    assert {reason.status for reason in STALE} == {401}


class OnlyClaims:
    """A nonce store without ``begin``."""

    async def claim(self, *_: object, **__: object) -> NonceUse:
        raise AssertionError


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("store", MemoryNonces),
        ("store", {}),
        ("store", 0),
        ("store", OnlyClaims()),
        ("life", 0),
        ("life", -1),
        ("life", 86_401),
        ("life", True),
        ("life", "300"),
        ("life", float("nan")),
    ],
)
def test_bad_options_are_refused(argument: str, value: Any) -> None:
    """An invalid option raises while the app is built, and the error names the scheme's argument."""
    with pytest.raises(ConfigurationError) as caught:
        nonce_service(**{argument: value})

    assert caught.value.argument == {"store": "nonces"}.get(argument, argument)
