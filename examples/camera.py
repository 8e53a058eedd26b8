"""A camera behind Digest: the password is never sent, and an intercepted header cannot be used again.

Serve it with ``make serve``, or with your own files:

authguard htdigest cameras alice >> users.htdigest
echo "operator: alice" > users.groups
export DIGEST_SECRET=$(authguard secret)
USER_FILE=users.htdigest GROUP_FILE=users.groups uvicorn examples.camera:app
curl --digest -u alice "http://127.0.0.1:8000/snapshot?width=640"
"""

from __future__ import annotations

import logging
import os

from fastapi import FastAPI, Request

from authguard import PUBLIC, AuthGuardMiddleware, Digest, Guard, HtdigestFile, Rule, role

logging.basicConfig()
logging.getLogger("authguard").setLevel(os.environ.get("LOG_LEVEL", "NOTSET"))

users = HtdigestFile(os.environ["USER_FILE"], groups=os.environ["GROUP_FILE"])
guard = Guard(
    # All processes share the secret, so each accepts the nonces of the others.
    Digest(users, realm="cameras", secret=os.environ["DIGEST_SECRET"]),
    rules=[Rule("/health", PUBLIC), Rule("/ptz/**", role("operator"))],
)

app = FastAPI(title="camera")
app.add_middleware(AuthGuardMiddleware, guard=guard)


@app.get("/health")
def health() -> dict[str, str]:
    """Public, by its rule."""
    return {"status": "up"}


@app.get("/snapshot")
def snapshot(request: Request, width: int = 320) -> dict[str, object]:
    """For everybody in the file. The client's digest covers the path and the query."""
    return {"snapshot for": request.user.subject, "width": width}


@app.post("/ptz/{direction}")
def move(request: Request, direction: str) -> dict[str, str]:
    """For users who are operators in the group file."""
    return {"moved": direction, "by": request.user.subject}
