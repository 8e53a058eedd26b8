"""The example of Basic with a password file, with further routes, and with every login logged."""

from __future__ import annotations

import logging

from fastapi import Request, WebSocket

from examples.htpasswd import app

logging.basicConfig()
logging.getLogger("authguard").setLevel("DEBUG")


@app.api_route("/mine/{number}", methods=["GET", "POST"])
async def mine(request: Request, number: int) -> dict[str, str]:
    """Answer with the caller and the request body. A number that is used once makes its records easy to find."""
    return {"by": request.user.subject, "body": (await request.body()).decode()}


@app.websocket("/feed/{number}")
async def feed(websocket: WebSocket, number: int) -> None:
    """Send the name of the caller, and close."""
    await websocket.accept()
    await websocket.send_text(f"hello {websocket.user.subject}")
    await websocket.close()
