"""Keys that are rotated and revoked in their file while requests go on."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

from starlette.types import Receive, Scope, Send

from authguard import ApiKeyFile
from authguard.accounts.api_key import StoredKey, rotate_key
from authguard.accounts.api_key_file import ApiKeyFileAdmin
from authguard.accounts.watched_file import CHECK_INTERVAL
from authguard.testing import ManualClock
from tests.support.asgi import http_scope, run_app
from tests.support.clock import NOW
from tests.support.guards import RecordingGuard
from tests.support.schemes.api_key import KEY_ID, api_key_scheme, key_text, stored_key

STEP = CHECK_INTERVAL / 100


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """An app that answers 200."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body"})


async def test_no_request_is_refused_during_a_rotation(tmp_path: Path) -> None:
    """Of 10,000 requests, half before and half after the rotation, none is refused: neither with the old key nor, once
    the file has been read, with the new one. Each use of the old key after that is recorded as rotating."""
    admin, clock = ApiKeyFileAdmin(tmp_path / "keys.json"), ManualClock(1000)
    await admin.add(stored_key())
    guard = RecordingGuard(api_key_scheme(store=ApiKeyFile(tmp_path / "keys.json", clock=clock)))
    guarded, statuses = guard.wrap(app), Counter[int]()

    async def ask(text: str) -> int:
        clock.move(STEP)
        return (await run_app(guarded, http_scope(headers=[(b"x-api-key", text.encode())]))).status

    for _ in range(5_000):
        statuses[await ask(key_text())] += 1
    made: list[str] = []

    def change(old: StoredKey) -> list[StoredKey]:
        rotation = rotate_key(old, overlap=3600.0, now=NOW)
        made.append(rotation.new.text)
        return [rotation.new.stored, rotation.old]

    await admin.change(KEY_ID, change)
    while await ask(made[0]) != 200:
        statuses[await ask(key_text())] += 1
    guard.records.clear()
    for number in range(5_000):
        statuses[await ask(made[number % 2] if number % 2 == 0 else key_text())] += 1

    assert set(statuses) == {200}
    assert statuses[200] >= 10_000
    rotating = ["rotating" in record.facts for record in guard.records]
    assert rotating == [number % 2 == 1 for number in range(5_000)]


async def test_a_revocation_counts_within_two_checks(tmp_path: Path) -> None:
    """A request refuses the key as soon as the file has been read: a second after the change, if requests go on."""
    admin, clock = ApiKeyFileAdmin(tmp_path / "keys.json"), ManualClock(1000)
    await admin.add(stored_key())
    guard = RecordingGuard(api_key_scheme(store=ApiKeyFile(tmp_path / "keys.json", clock=clock)))
    guarded = guard.wrap(app)
    scope = http_scope(headers=[(b"x-api-key", key_text().encode())])
    assert (await run_app(guarded, scope)).status == 200

    await admin.change(KEY_ID, lambda key: [replace(key, revoked=NOW)])
    revoked_at = clock()
    while (await run_app(guarded, scope)).status == 200:
        clock.move(STEP)

    assert clock() - revoked_at <= 2 * CHECK_INTERVAL + 4 * STEP
    assert guard.records[-1].reason == "api_key.revoked"
