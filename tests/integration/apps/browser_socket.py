"""The example with a browser's WebSocket."""

from __future__ import annotations

from examples import browser_socket

app = browser_socket.app
