"""A role hierarchy: publishers may edit, and editors may read. The guard knows it, so no rule has to repeat it.

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
    # Transitive: a publisher is a reader too. A cycle raises ConfigurationError here.
    role_hierarchy={"publisher": {"editor"}, "editor": {"reader"}},
)

app = FastAPI(title="articles")
install(app, guard)


@app.get("/articles/{name}")
def read(name: str) -> dict[str, str]:
    """For readers, by the rule."""
    return {"article": name}


@app.put("/articles/{name}", dependencies=[requires(role("editor"))])
def edit(name: str) -> dict[str, str]:
    """For editors: the requirement of a route is checked in addition to that of the rule."""
    return {"edited": name}


@app.post("/articles/{name}/publish", dependencies=[requires(role("publisher"))])
def publish(name: str, principal: CurrentPrincipal) -> dict[str, str]:
    """For publishers only: a role implies the roles below it, and not those above it."""
    return {"published": name, "by": principal.subject}


@app.get("/me")
def me(principal: CurrentPrincipal) -> dict[str, list[str]]:
    """All roles of the user, including the implied ones."""
    return {"roles": sorted(principal.roles)}
