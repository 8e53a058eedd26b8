"""Attacks on Digest through the middleware, with and without a captured request."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from authguard.state.nonce_store import NonceStore
from authguard.wire.authorization import MAX_FIELD
from tests.security.digest_app import DigestApp
from tests.support.guards import REASON_CODES
from tests.support.schemes.digest import (
    DigestAccounts,
    DigestParams,
    SharedNonces,
    answer_challenge,
    digest_scheme,
    serialize,
    userhash,
)

# --- Tampering --------------------------------------------------------------------------------------------------------

MALFORMED = "credentials.malformed"

#: For each parameter another value, and the reason codes if it is missing, altered, empty and very long.
TAMPERED: dict[str, tuple[str, ...]] = {
    "username": ("mallory", MALFORMED, "response.wrong", MALFORMED, "user.unknown"),
    "realm": ("cameras", MALFORMED, "realm.foreign", MALFORMED, "realm.foreign"),
    "nonce": ("A" * 48, MALFORMED, "response.wrong", MALFORMED, "response.wrong"),
    "uri": ("/admin", MALFORMED, "response.wrong", MALFORMED, "response.wrong"),
    "response": ("0" * 64, MALFORMED, "response.wrong", MALFORMED, MALFORMED),
    "qop": ("auth-int", MALFORMED, "qop.unoffered", MALFORMED, "qop.unoffered"),
    "cnonce": ("x", MALFORMED, "response.wrong", MALFORMED, "response.wrong"),
    "nc": ("00000002", MALFORMED, "response.wrong", MALFORMED, MALFORMED),
    "algorithm": ("MD5", *["algorithm.unoffered"] * 4),
    "opaque": ("x", *["opaque.foreign"] * 4),
    "userhash": ("false", "user.unknown", "user.unknown", MALFORMED, MALFORMED),
}


def _altered(told: DigestParams, name: str, value: str) -> bytes:
    return serialize({**told, name: value})


TAMPERINGS: list[tuple[str, Callable[[DigestParams, str, str], bytes], int]] = [
    ("missing", lambda told, name, value: serialize({**told, name: None}), 1),
    ("altered", _altered, 2),
    ("emptied", lambda told, name, value: serialize({**told, name: ""}), 3),
    ("very long", lambda told, name, value: _altered(told, name, value * (8000 // len(value))), 4),
    ("doubled", lambda told, name, value: serialize(told) + b", " + serialize({name: told[name]}), 0),
    ("doubled with another", lambda told, name, value: serialize({name: value}) + b", " + serialize(told), 0),
    ("doubled in capitals", lambda told, name, value: serialize(told) + b", " + serialize({name.upper(): value}), 0),
]


@pytest.mark.rfc("7616-7", "7616-8")
@pytest.mark.parametrize("name", TAMPERED)
@pytest.mark.parametrize(("how", "tamper", "which"), TAMPERINGS, ids=[how for how, _, _ in TAMPERINGS])
async def test_a_changed_parameter_is_rejected_and_changes_nothing(
    name: str, how: str, tamper: Callable[[DigestParams, str, str], bytes], which: int
) -> None:
    """Each changed parameter is a 401 with a challenge, and uses no count: the original request is still accepted."""
    app = DigestApp(digest_scheme(DigestAccounts(finds_hashed=True), throttle=None))
    params = answer_challenge(await app.challenge())
    if name == "userhash":
        params = {**params, "username": userhash("alice"), "userhash": "true"}

    answer = await app.request(b"Digest " + tamper(params, name, TAMPERED[name][0]))

    assert (answer.status, answer.reason) == (401, TAMPERED[name][which] if which else MALFORMED)
    assert answer.challenge.get("stale") is None
    assert app.inner.scopes == []
    assert (await app.request_with(params)).status == 200


async def test_of_two_names_none_is_chosen() -> None:
    """``username`` and ``username*`` together are rejected, whichever of them was digested."""
    app = DigestApp()
    params = {**answer_challenge(await app.challenge()), "username*": "UTF-8''mallory"}

    assert (await app.request_with(params)).reason == MALFORMED


@pytest.mark.parametrize("name", [name for name in TAMPERED if name != "userhash"])
async def test_a_field_beyond_the_limit_is_not_read(name: str) -> None:
    """A field above the limit is not parsed, whichever parameter makes it too long."""
    app = DigestApp()
    params = answer_challenge(await app.challenge())

    answer = await app.request_with({**params, name: "0" * MAX_FIELD})

    assert (answer.status, answer.reason) == (400, "header.too_long")


@pytest.mark.rfc("7616-10")
@pytest.mark.parametrize(
    ("scope", "status", "reason"),
    [
        ({"method": "DELETE"}, 401, "response.wrong"),
        ({"method": "HEAD"}, 401, "response.wrong"),
        ({"path": "/admin", "raw_path": b"/admin"}, 400, "uri.mismatch"),
        ({"query_string": b"role=admin"}, 400, "uri.mismatch"),
        ({"path": "/a", "raw_path": b"/%61"}, 400, "uri.mismatch"),
    ],
)
async def test_a_captured_header_is_good_for_its_request_alone(scope: dict[str, Any], status: int, reason: str) -> None:
    """Twisted #3453, Flask-HTTPAuth: it is rejected with another path, query or method, and a second time."""
    app = DigestApp()
    params = answer_challenge(await app.challenge())

    elsewhere = await app.request_with(params, **scope)
    once, again = await app.request_with(params), await app.request_with(params)

    assert (elsewhere.status, elsewhere.reason) == (status, reason)
    assert (once.status, again.status, again.reason) == (200, 401, "nonce.replayed")
    assert again.challenge.get("stale") == "true"


async def test_a_client_without_a_challenge_cannot_make_a_nonce() -> None:
    """Cakephp #9668: a client with the right password and an invented nonce is challenged, and accepted with the
    server's."""
    app = DigestApp()
    offer = await app.challenge()

    invented = await app.request_with(answer_challenge(offer, nonce="0" * 48))

    assert (invented.status, invented.reason, invented.challenge.get("stale")) == (401, "nonce.unknown", "true")
    assert (await app.request_with(answer_challenge(invented.challenge))).status == 200


def _bare(field: bytes) -> bytes:
    return field.lower().translate(None, b', "\t\\')


@pytest.mark.parametrize("seed", range(8))
async def test_a_damaged_header_is_rejected(seed: int) -> None:
    """Two hundred variants of a valid header with removed, added or changed bytes are rejected, without a 500."""
    rng, app = random.Random(seed), DigestApp()
    good = b"Digest " + serialize(answer_challenge(await app.challenge()))

    for _ in range(200):
        noise = bytearray(good)
        for _ in range(rng.randrange(1, 5)):
            place = rng.randrange(len(noise))
            noise[place : place + rng.randrange(3)] = bytes(rng.choices(range(256), k=rng.randrange(3)))
        answer = await app.request(bytes(noise))
        if answer.status == 200:
            # Variants with the same meaning: one more space, or another case.
            assert _bare(bytes(noise)) == _bare(good)
            good = b"Digest " + serialize(answer_challenge(await app.challenge()))
        else:
            assert answer.status in {400, 401}
            assert answer.reason in REASON_CODES


# --- Twice, and at once -----------------------------------------------------------------------------------------------


@pytest.mark.rfc("7616-9")
@pytest.mark.parametrize("store", [lambda: None, SharedNonces])
async def test_of_200_parallel_replays_exactly_one_passes(store: Callable[[], NonceStore | None]) -> None:
    """Of requests with one nonce and one count, one is accepted. The others are stale."""
    app = DigestApp(digest_scheme(DigestAccounts(answers_at_once=False), nonces=store(), throttle=None))
    field = b"Digest " + serialize(answer_challenge(await app.challenge()))
    statuses: list[int] = []
    app.records.clear()

    async def one() -> None:
        statuses.append((await app.exchange(field)).status)

    async with anyio.create_task_group() as tasks:
        for _ in range(200):
            tasks.start_soon(one)

    assert sorted(statuses) == [200, *[401] * 199]
    assert len(app.inner.scopes) == 1
    assert sorted(record.reason or "" for record in app.records) == ["", *["nonce.replayed"] * 199]


@pytest.mark.rfc("7616-9")
async def test_200_parallel_requests_on_one_nonce_all_pass_in_any_order() -> None:
    """Counts within the window are accepted in any order. SensESP #885 had to switch its check off because of
    Chrome."""
    app = DigestApp()
    offer = await app.challenge()
    counts = list(range(1, 201))
    rng = random.Random(7)
    for start in range(0, 200, 100):
        batch = counts[start : start + 100]
        rng.shuffle(batch)
        for count in batch:
            assert (await app.request_with(answer_challenge(offer, count=count))).status == 200


# --- One to the client ------------------------------------------------------------------------------------------------


async def test_unknown_wrong_and_disabled_get_the_same_response() -> None:
    """Status, body and fields have the same bytes, apart from the nonce."""
    app = DigestApp()
    seen = set()

    for name, password in [("alice", "wrong"), ("nobody", "wrong"), ("mallory", "wrong"), ("mallory", "secret")]:
        answer = await app.request_with(answer_challenge(await app.challenge(), password, name))
        nonce = (answer.challenge.get("nonce") or "").encode()
        fields = [(field, value.replace(nonce, b"")) for field, value in answer.exchange.headers]
        seen.add((answer.status, answer.exchange.body, tuple(fields)))

    assert len(seen) == 1
