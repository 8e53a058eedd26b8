"""A hierarchy of roles: who may publish may edit, who may edit may read. It is said once, beside the rules.

export ALICE_HASH="$(htpasswd -nB alice | cut -d: -f2)"  # and BOB_HASH and CAROL_HASH
uvicorn examples.hierarchy:app
"""

from __future__ import annotations

import os

from fastapi import FastAPI

from authguard import Account, Basic, Guard, MemoryUsers, Rule, role
from authguard.fastapi import CurrentPrincipal, install, requires

users = MemoryUsers(
    [
        Account("alice", os.environ["ALICE_HASH"], roles={"publisher"}),
        Account("bob", os.environ["BOB_HASH"], roles={"editor"}),
        Account("carol", os.environ["CAROL_HASH"], roles={"reader"}),
    ]
)
guard = Guard(
    Basic(users, realm="articles"),
    rules=[Rule("/articles/**", role("reader"))],
    # Transitive: a publisher is a reader too. A cycle is an error here, before anybody asks.
    role_hierarchy={"publisher": {"editor"}, "editor": {"reader"}},
)

app = FastAPI(title="articles")
install(app, guard)


@app.get("/articles/{name}")
def read(name: str) -> dict[str, str]:
    """What the rule asks is enough."""
    return {"article": name}


@app.put("/articles/{name}", dependencies=[requires(role("editor"))])
def edit(name: str) -> dict[str, str]:
    """A route adds to what the rule asks; it takes nothing away."""
    return {"edited": name}


@app.post("/articles/{name}/publish", dependencies=[requires(role("publisher"))])
def publish(name: str, who: CurrentPrincipal) -> dict[str, str]:
    """For publishers alone: what a role implies does not imply it."""
    return {"published": name, "by": who.subject}


@app.get("/me")
def me(who: CurrentPrincipal) -> dict[str, list[str]]:
    """The roles with all that they imply."""
    return {"roles": sorted(who.roles)}
