"""The steps with API keys, and the file of keys that they need."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from authguard import new_key, rotate_key
from authguard.accounts import ApiKeyFileAdmin
from examples.tour.step import Expected, IndependentRequests, Part, Request, Step

CHALLENGE = 'ApiKey realm="orders", header="X-API-Key"'
DAY = 86_400


def write_files(folder: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Write the keys into this folder. Returns the settings of examples/api_keys.py, and the keys by their names."""
    path, now = folder / "keys.json", time.time()
    reads = frozenset({"orders:read"})
    live = new_key("till", "live", prefix="acme", environment="live", scopes=reads, now=now)
    revoked = new_key("till", "leaked", prefix="acme", environment="live", scopes=reads, now=now)
    old = new_key("till", "nightly", prefix="acme", environment="live", scopes=reads, now=now)
    rotation = rotate_key(old.stored, overlap=DAY, now=now)
    test = new_key("till", "test", prefix="acme", environment="test", scopes=reads, now=now)
    stored = (live.stored, replace(revoked.stored, revoked=now - 60), rotation.old, rotation.new.stored, test.stored)

    async def add() -> None:
        admin = ApiKeyFileAdmin(path)
        for key in stored:
            await admin.add(key)

    asyncio.run(add())
    keys = {"KEY": live.text, "LEAKED": revoked.text, "OLD": old.text, "TEST": test.text, "CUT": live.text[:-1]}
    return {"KEY_FILE": str(path)}, keys


@dataclass(frozen=True, slots=True)
class KeyRequest(IndependentRequests):
    """A request with the API key of this name, or with none."""

    target: str
    key: str = ""
    method: str = "GET"
    served_by: str = "api_keys"

    @property
    def curl(self) -> str:
        """The request as a shell command, with the address in ``$KEYS`` and the keys in variables."""
        method = "" if self.method == "GET" else f"-X {self.method} "
        header = f'-H "X-API-Key: ${self.key}" ' if self.key else ""
        return f"curl -i {method}{header}$KEYS{self.target}"

    def requests(self, tokens: Mapping[str, str]) -> Sequence[Request]:
        """The one request."""
        return [Request(self.method, self.target, [("X-API-Key", tokens[self.key])] if self.key else [])]


STEPS = (
    Step(
        "A key that may read orders",
        KeyRequest("/orders", "KEY"),
        Expected(200, None, "granted"),
        "The file holds a hash of the key, its owner, its scopes and when it ends. Nobody can read a key from it.",
    ),
    Step(
        "The same key, for a route that needs another scope",
        KeyRequest("/orders", "KEY", "POST"),
        Expected(403, None, "denied scope.missing", "missing=[orders:write]"),
        "403: the key is good, and may not do this.",
    ),
    Step(
        "A key that was not copied to its end",
        KeyRequest("/orders", "CUT"),
        Expected(401, CHALLENGE, "denied api_key.malformed"),
        "A key ends with a checksum, so garbage is refused before anything is looked up. RFC 9110 has no challenge for "
        "API keys; this one names the field to send.",
    ),
    Step(
        "A test key in production",
        KeyRequest("/orders", "TEST"),
        Expected(401, CHALLENGE, "denied api_key.wrong_environment", "found=test wanted=live"),
        "A key says which environment it is for. The record names the mistake, and the client learns nothing.",
    ),
    Step(
        "A key that was revoked a minute ago",
        KeyRequest("/orders", "LEAKED"),
        Expected(401, CHALLENGE, "denied api_key.revoked", "revoked_for="),
        "To the client it is the same as a key that never was.",
    ),
    Step(
        "The old key of a rotation",
        KeyRequest("/orders", "OLD"),
        Expected(200, None, "granted", "rotating="),
        "Both keys are good for a day. The record of each use of the old one says when it ends, so that its owner can "
        "be told.",
    ),
)

KEYS = Part("API keys: examples/api_keys.py, with a file of hashed keys", STEPS)
