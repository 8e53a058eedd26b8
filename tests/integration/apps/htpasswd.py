"""The Basic example as it stands, with what it has no use for, and with every login told."""

from __future__ import annotations

import logging

from fastapi import Request, WebSocket

from examples.htpasswd import app

logging.basicConfig()
logging.getLogger("authguard").setLevel("DEBUG")


@app.api_route("/mine/{number}", methods=["GET", "POST"])
async def mine(request: Request, number: int) -> dict[str, str]:
    """Who asks, and what was posted. A number that is asked for once is told of in records that are nobody else's."""
    return {"by": request.user.subject, "body": (await request.body()).decode()}


@app.websocket("/feed/{number}")
async def feed(websocket: WebSocket, number: int) -> None:
    """Says who is there, and closes."""
    await websocket.accept()
    await websocket.send_text(f"hello {websocket.user.subject}")
    await websocket.close()
