"""The ports that tests reserve for programs."""

from __future__ import annotations

import errno
import socket

import pytest

from tests.support.servers.ports import free_port


def test_nobody_listens_at_a_reserved_port() -> None:
    """A connection is refused, so that a test can have an address without a server."""
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", free_port()))


def test_a_server_can_listen_at_a_reserved_port_again_and_again() -> None:
    """A test may end a server and start another one at the same port."""
    place = ("127.0.0.1", free_port())
    for _ in range(2):
        with socket.create_server(place):
            socket.create_connection(place).close()


def test_a_reserved_port_is_given_to_nobody_else() -> None:
    """A socket without SO_REUSEADDR, as a connection is, cannot have it; and each call reserves another port."""
    ports = [free_port() for _ in range(20)]
    problems = []
    for port in ports:
        with socket.socket() as other, pytest.raises(OSError, match="in use") as caught:
            other.bind(("127.0.0.1", port))
        problems.append(caught.value.errno)

    assert len(set(ports)) == 20
    assert set(problems) == {errno.EADDRINUSE}
