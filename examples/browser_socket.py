"""A browser's WebSocket with a token. A script cannot set ``Authorization`` on it, so the token is a subprotocol.

ISSUER_PUBLIC_KEY="$(cat public.pem)" uvicorn examples.browser_socket:app
"""

from __future__ import annotations

import os

from fastapi import FastAPI, WebSocket
from fastapi.responses import HTMLResponse

from authguard import PEM, PUBLIC, Bearer, Guard, Issuer, Rule, WebSocketProtocol, via
from authguard.fastapi import CurrentPrincipal, install

issuer = Issuer(
    "https://login.example/", audience="orders", algorithms=["RS256"], keys=PEM(os.environ["ISSUER_PUBLIC_KEY"])
)
guard = Guard(
    Bearer(issuer, realm="orders"),
    Bearer(issuer, realm="orders", carrier=WebSocketProtocol("bearer"), name="socket"),
    rules=[
        Rule("/", PUBLIC, methods={"GET"}),
        Rule("/feed", via("socket", "bearer"), methods={"WEBSOCKET"}),  # programs send Authorization as usual
    ],
    default=via("bearer"),
)

app = FastAPI(title="orders")
install(app, guard)

PAGE = """<!doctype html>
<title>Feed</title>
<input id="token" placeholder="a token"> <button onclick="listen()">Listen</button>
<pre id="log"></pre>
<script>
const show = (text) => { document.getElementById("log").textContent += text + "\\n"; };
function listen() {
  const token = document.getElementById("token").value;
  const socket = new WebSocket(location.origin.replace("http", "ws") + "/feed", ["bearer", token]);
  socket.onopen = () => show(`open, ${socket.protocol}`);
  socket.onmessage = (event) => show(event.data);
  socket.onclose = (event) => show(`closed, ${event.code}`);
}
</script>
"""


@app.get("/", response_class=HTMLResponse)
def page() -> str:
    """A page that asks for a token and listens."""
    return PAGE


@app.websocket("/feed")
async def feed(websocket: WebSocket, principal: CurrentPrincipal) -> None:
    """The guard has verified the token. It answers with the subprotocol ``bearer``, and never with the token."""
    await websocket.accept()
    await websocket.send_text(f"hello {principal.subject}")
    await websocket.close()
