"""A stranger sends logins at three times the capacity of a real server, and owners log in as if nobody did.

A hash takes a fixed time (a sleep in the server's only thread), so that other programs on the machine change little.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterator

import anyio
import pytest

from tests.integration.login_flood import OWNERS, FloodLogin, LoginFlood
from tests.support.servers.app_server import AppServer, running_servers

pytestmark = pytest.mark.peer

STRANGER = "198.51.100.9"
#: How many of the owners' logins must be accepted; the goal is all. The rest is for a very busy machine.
ENOUGH = 0.98


def invented_names(address: str = STRANGER) -> Iterator[FloodLogin]:
    """Names that nobody has, from one address."""
    return (FloodLogin(f"user{number}", "123456", address) for number in itertools.count())


def many_networks() -> Iterator[FloodLogin]:
    """Names that nobody has, each from another network."""
    return (FloodLogin(f"user{n}", "123456", f"203.{n >> 16}.{n >> 8 & 255}.{n & 255}") for n in itertools.count())


def accounts_of_owners() -> Iterator[FloodLogin]:
    """Passwords for the accounts of the owners, each from another network."""
    return (FloodLogin(OWNERS[n % len(OWNERS)], f"{n}", f"203.0.{n >> 8}.{n & 255}") for n in itertools.count())


def slow_clients() -> Iterator[FloodLogin]:
    """Clients that send half a request, clients that do not wait for the answer, and others, by turns."""
    behaviours = itertools.cycle(["slow", "gone", "complete", "gone"])
    return (login._replace(behaviour=next(behaviours)) for login in invented_names())


def flood(
    name: str, stranger: Iterator[FloodLogin] | None, seconds: float, *, newcomers: int = 0, shared: str | None = None
) -> float:
    """The share of the owners' logins that a new server accepts during the flood. Prints the figures."""

    async def run(port: int) -> float:
        load = LoginFlood(port, seconds, address_of=lambda number: shared or f"127.0.1.{number}")
        tally = await load.run(stranger, newcomers=newcomers)
        sys.stdout.write(tally.line(name))
        assert tally.owners.total() >= seconds
        return tally.success

    with running_servers(lambda: AppServer("flood:app", "--log-level", "info", "--no-access-log")) as (server,):
        return anyio.run(run, server.port)


def test_a_flood_of_invented_names_keeps_no_owner_out() -> None:
    """For 30 seconds, one address sends invented names. The owners' success rate is what it is without them."""
    without = flood("no stranger", None, 6)
    during = flood("invented names from one address", invented_names(), 30)

    assert without == 1
    assert during >= ENOUGH


@pytest.mark.parametrize(
    ("name", "stranger"),
    [
        ("invented names from many networks", many_networks),
        ("the accounts of the owners, from many networks", accounts_of_owners),
        ("slow clients, and clients that go away", slow_clients),
    ],
)
def test_no_other_flood_keeps_them_out_either(name: str, stranger: Callable[[], Iterator[FloodLogin]]) -> None:
    """Owners who have logged in before are served first, whatever the stranger sends."""
    assert flood(name, stranger(), 6) >= ENOUGH


def test_a_stranger_at_the_address_of_the_owners_keeps_none_out() -> None:
    """Behind a proxy that hides the addresses, owners and stranger are one network. The accounts tell them apart."""
    assert flood("invented names from the owners' address", invented_names("10.0.0.1"), 6, shared="10.0.0.1") >= ENOUGH


def test_owners_who_log_in_for_the_first_time_are_served_too() -> None:
    """While one address floods, networks take turns, so that nobody has to be known."""
    assert flood("new owners, invented names from one address", invented_names(), 6, newcomers=len(OWNERS)) >= ENOUGH
