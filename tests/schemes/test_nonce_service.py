"""The nonces of a Digest scheme: how long they are good, by whose clock, and what a store says of them."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from authguard.errors import BackendUnavailable, ConfigurationError
from authguard.model import Failure, Moment
from authguard.reasons import STORE_TIMEOUT
from authguard.schemes.digest.nonce_service import STALE, NonceService
from authguard.state.nonce_store import MemoryNonces, NonceStore, NonceUse
from authguard.wire.nonce import Nonce, nonce_key
from tests.support.clock import NOW

SECRET = b"s" * 32
LEEWAY = 60.0
LIFE = 300.0


def mint(*secrets: bytes, realm: str = "orders", **options: Any) -> NonceService:
    """A mint of these secrets."""
    given: dict[str, Any] = {"life": LIFE, "store": None, "deadline": 5.0, **options}
    return NonceService(secrets or (SECRET,), realm, **given)


async def use(one: NonceService, text: str, count: int = 1, now: float = NOW) -> str:
    """The code of the refusal; empty where it may be used."""
    said = await one.use(text.encode(), count, Moment(now, LEEWAY))
    return "" if isinstance(said, Nonce) else said.reason.code


class Elsewhere(NonceStore):
    """A store that is asked over a network: it says what it is told to, when it is told to."""

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
async def test_each_nonce_is_another_and_is_good_once_a_count() -> None:
    """Section 3.3: one for each 401, of the same microsecond too."""
    one = mint()
    texts = {one.mint(NOW) for _ in range(1000)}

    assert len(texts) == 1000
    assert [await use(one, text, count) for text in list(texts)[:2] for count in (1, 2, 1)] == [
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
    """The clock that stamped it is ours."""
    one = mint()

    assert await use(one, one.mint(NOW), now=NOW + after) == code


@pytest.mark.parametrize(
    ("ahead", "code"), [(1.0, ""), (LEEWAY, ""), (LEEWAY + 0.01, "nonce.not_yet"), (1e6, "nonce.not_yet")]
)
async def test_a_host_may_be_ahead_by_the_leeway(ahead: float, code: str) -> None:
    """Of two that share a secret the clocks differ a little; what is further ahead is no nonce yet."""
    here, there = mint(), mint()
    here.mint(NOW)

    assert await use(here, there.mint(NOW + ahead)) == code


async def test_the_facts_say_by_how_much() -> None:
    """In seconds, for whoever looks for a clock that is wrong."""
    one = mint()

    late = await one.use(one.mint(NOW).encode(), 1, Moment(NOW + LIFE + 2.5, LEEWAY))
    early = await one.use(one.mint(NOW + 90.5).encode(), 1, Moment(NOW, LEEWAY))

    assert isinstance(late, Failure)
    assert isinstance(early, Failure)
    assert (late.facts, early.facts) == ({"expired_by": 2.5}, {"early_by": 90.5})


@pytest.mark.rfc("7616-6")
async def test_a_nonce_of_another_secret_or_realm_is_unknown() -> None:
    """And so is what is none at all."""
    one = mint()
    texts = [mint(b"t" * 32).mint(NOW), mint(realm="cameras").mint(NOW), "", "null", one.mint(NOW)[:-1]]

    assert [await use(one, text) for text in texts] == ["nonce.unknown"] * 5


async def test_secrets_are_rotated_without_a_prompt() -> None:
    """The new one mints, the old one is known; when it is gone, so are its nonces."""
    old, new = b"o" * 32, b"n" * 32
    before, during, after = mint(old), mint(new, old), mint(new)
    for one in (before, during, after):
        one.mint(NOW - 1)

    assert await use(during, before.mint(NOW)) == ""
    assert await use(after, during.mint(NOW)) == ""
    assert await use(before, during.mint(NOW)) == "nonce.unknown"
    assert await use(after, before.mint(NOW)) == "nonce.unknown"


async def test_a_nonce_of_before_the_start_is_forgotten() -> None:
    """A process that was started anew does not know what was used; the first thing that it sees may be such a one."""
    before, after = mint(), mint()
    text = before.mint(NOW)

    assert await use(before, text) == ""
    assert await use(after, text, now=NOW + 1) == "nonce.forgotten"
    assert await use(after, after.mint(NOW + 1), now=NOW + 1) == ""


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
    """It is told who, how often, since when, until when, and what time it is; and before, that nonces begin."""
    store = Elsewhere(answer)
    one = mint(store=store)
    text = one.mint(NOW)
    nonce = Nonce.from_text(text.encode(), [nonce_key(SECRET, "orders")])

    said = await use(one, text, 7, NOW + 5)

    assert nonce is not None
    assert said == code
    assert store.begun == [NOW, NOW + 5]
    assert store.claimed == [(nonce.identity, 7, NOW, NOW + LIFE, NOW + 5)]


async def test_a_store_is_not_asked_of_what_is_no_good_anyway() -> None:
    """Neither of a stranger's nonce nor of one that is too old or too young."""
    store = Elsewhere()
    one = mint(store=store)

    for text, now in [("null", NOW), (one.mint(NOW), NOW + LIFE), (one.mint(NOW + 100), NOW)]:
        assert await use(one, text, now=now) != ""

    assert store.claimed == []


@pytest.mark.parametrize("answer", [BackendUnavailable("down"), KeyError("nonce"), None, True])
async def test_a_store_that_cannot_answer_lets_nobody_in(answer: Any) -> None:
    """What it raises passes through, and an answer that is none is an error too."""
    one = mint(store=Elsewhere(answer))

    with pytest.raises(type(answer) if isinstance(answer, Exception) else KeyError):
        await use(one, one.mint(NOW))


async def test_a_store_is_not_waited_for_for_ever() -> None:
    """The deadline of the scheme is that of its store."""

    class Silent(Elsewhere):
        async def claim(self, nonce: bytes, count: int, **_: float) -> NonceUse:
            await anyio.sleep_forever()
            raise AssertionError

    one = mint(store=Silent(), deadline=0.01)

    with pytest.raises(BackendUnavailable) as caught:
        await use(one, one.mint(NOW))

    assert caught.value.reason is STORE_TIMEOUT


@pytest.mark.rfc("7616-14")
@pytest.mark.parametrize(("after", "next_too"), [(0.0, False), (224.9, False), (225.0, True), (299.0, True)])
async def test_the_next_nonce_is_given_in_the_last_quarter(after: float, next_too: bool) -> None:
    """It is good at once, and as long as any."""
    one = mint()
    said = await one.use(one.mint(NOW).encode(), 1, Moment(NOW + after, LEEWAY))
    assert isinstance(said, Nonce)

    following = one.after(said, NOW + after)

    assert (following is not None) is next_too
    if following is not None:
        assert await use(one, following, now=NOW + after + LIFE - 1) == ""


def test_all_that_is_wrong_with_a_nonce_is_stale() -> None:
    """So that a client answers again without asking anybody for a password."""
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
    """Half a store."""

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
    """By the name of the scheme's argument, while the app is built."""
    with pytest.raises(ConfigurationError) as caught:
        mint(**{argument: value})

    assert caught.value.argument == {"store": "nonces"}.get(argument, argument)
