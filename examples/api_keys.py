"""A service whose clients have API keys: scopes for each key, and routes for an administrator who makes and ends them.

KEY_FILE=keys.json python examples/api_keys.py          # makes a key for an administrator, and shows it once
KEY_FILE=keys.json uvicorn examples.api_keys:app
curl -H "X-API-Key: acme_live_..." http://127.0.0.1:8000/orders
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from dataclasses import replace
from typing import Annotated

from fastapi import FastAPI
from pydantic import BaseModel, Field

from authguard import (
    ApiKey,
    ApiKeyFile,
    ApiKeyStore,
    Guard,
    Principal,
    Rule,
    StoredKey,
    new_key,
    role,
    rotate_key,
    scopes,
)
from authguard.accounts import ApiKeyAdmin, ApiKeyFileAdmin
from authguard.fastapi import CurrentPrincipal, install, requires

logging.basicConfig()
logging.getLogger("authguard").setLevel(os.environ.get("LOG_LEVEL", "NOTSET"))

PREFIX, ENVIRONMENT = "acme", os.environ.get("KEY_ENVIRONMENT", "live")
DAY = 86_400

RULES = [
    Rule("/orders", scopes("orders:read"), methods={"GET"}),
    Rule("/orders", scopes("orders:write"), methods={"POST"}),
    Rule("/keys/**", role("key-admin")),
]


class KeyRequest(BaseModel):
    """What an administrator sends to make a key."""

    owner: str = Field(min_length=1, max_length=100)
    name: str = Field(min_length=1, max_length=100)
    scopes: frozenset[str] = frozenset({"orders:read"})
    days: int = Field(default=90, ge=1, le=366)


class KeyMade(BaseModel):
    """A new key. The text is shown once, and only its hash is kept."""

    id: str
    key: str


def make_app(store: ApiKeyStore, admin: ApiKeyAdmin) -> FastAPI:
    """The app, with the keys of this store, and what changes them."""
    keys = ApiKey(store, realm="orders", prefix=PREFIX, environment=ENVIRONMENT)
    app = FastAPI(title="orders")
    install(app, Guard(keys, rules=RULES))

    @app.get("/orders")
    def orders(principal: CurrentPrincipal) -> dict[str, str]:
        return {"orders of": principal.subject, "asked with": principal.claims["key_name"]}

    @app.post("/orders", status_code=201)
    def order(principal: CurrentPrincipal) -> dict[str, str]:
        return {"ordered by": principal.subject}

    @app.get("/keys")
    async def listed() -> list[dict[str, object]]:
        return [
            {"id": key.id, "owner": key.owner, "name": key.name, "expires": key.expires, "last_used": key.last_used}
            for key in await admin.keys()
        ]

    @app.post("/keys", status_code=201)
    async def make(asked: KeyRequest) -> KeyMade:
        now = time.time()
        new = new_key(
            asked.owner,
            asked.name,
            prefix=PREFIX,
            environment=ENVIRONMENT,
            scopes=asked.scopes,
            expires=now + asked.days * DAY,
            now=now,
        )
        await admin.add(new.stored)
        return KeyMade(id=new.stored.id, key=new.text)

    @app.post("/keys/{key_id}/rotate", status_code=201)
    async def rotate(key_id: str) -> KeyMade:
        """Both keys are good for a day, in which the owner replaces the old one."""
        made: list[str] = []

        def change(old: StoredKey) -> list[StoredKey]:
            rotation = rotate_key(old, overlap=DAY, now=time.time())
            made.append(rotation.new.text)
            return [rotation.new.stored, rotation.old]

        new, _ = await admin.change(key_id, change)
        return KeyMade(id=new.id, key=made[0])

    @app.delete("/keys/{key_id}", status_code=204)
    async def revoke(key_id: str, who: Annotated[Principal, requires(role("key-admin"))]) -> None:
        await admin.change(key_id, lambda key: [replace(key, revoked=time.time())])

    return app


async def first_key(path: str) -> str:
    """Make a key for an administrator, in a file that may not exist yet."""
    new = new_key("root", "first", prefix=PREFIX, environment=ENVIRONMENT, roles={"key-admin"}, now=time.time())
    await ApiKeyFileAdmin(path).add(new.stored)
    return new.text


if __name__ == "__main__":
    print(asyncio.run(first_key(os.environ["KEY_FILE"])))
elif "KEY_FILE" in os.environ:
    app = make_app(ApiKeyFile(os.environ["KEY_FILE"]), ApiKeyFileAdmin(os.environ["KEY_FILE"]))
