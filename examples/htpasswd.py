"""A FastAPI app behind Basic, with Apache's password and group files.

Serve it with ``make serve``, or with your own files:

htpasswd -B -c users.htpasswd alice
echo "admin: alice" > users.groups
USER_FILE=users.htpasswd GROUP_FILE=users.groups uvicorn examples.htpasswd:app
"""

from __future__ import annotations

import logging
import os

from fastapi import FastAPI, Request

from authguard import PUBLIC, AuthGuardMiddleware, Basic, Guard, HtpasswdFile, Rule, role

logging.basicConfig()
logging.getLogger("authguard").setLevel(os.environ.get("LOG_LEVEL", "NOTSET"))

users = HtpasswdFile(os.environ["USER_FILE"], groups=os.environ["GROUP_FILE"])
guard = Guard(
    Basic(users, realm="orders"),
    rules=[Rule("/health", PUBLIC), Rule("/admin/**", role("admin"))],
)

app = FastAPI(title="orders")
app.add_middleware(AuthGuardMiddleware, guard=guard)


@app.get("/health")
def health() -> dict[str, str]:
    """Public, by its rule."""
    return {"status": "up"}


@app.get("/orders")
def orders(request: Request) -> dict[str, str]:
    """For everybody in the password file."""
    return {"orders of": request.user.subject}


@app.post("/orders")
def order(request: Request) -> dict[str, str]:
    """Browsers send the password by themselves, so the guard refuses a request that another site made them send."""
    return {"ordered by": request.user.subject}


@app.get("/admin/users")
def administer(request: Request) -> dict[str, str]:
    """For users who are admins in the group file."""
    return {"asked by": request.user.subject}
