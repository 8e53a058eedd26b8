"""Ports for programs that must be told one before they start."""

from __future__ import annotations

import atexit
import socket
from contextlib import ExitStack

# An open socket keeps its port from everybody else.
_reserved = ExitStack()
atexit.register(_reserved.close)


def free_port() -> int:
    """A port on loopback, until the end of this process. Nobody listens there.

    A socket that is bound with SO_REUSEADDR, and does not listen, reserves it: the system gives the port to no other
    server that asks for any port, and to no connection, but a server that asks for this very port, as all do with
    SO_REUSEADDR, may listen there. So no other process of the test run can take it between this call and that.
    """
    reserved = _reserved.enter_context(socket.socket())
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    reserved.bind(("127.0.0.1", 0))
    port: int = reserved.getsockname()[1]
    return port
