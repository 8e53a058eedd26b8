"""A provider on loopback, which requests reach by a detour."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.providers import PUBLISHED, Detour
from tests.support.servers.key_server import running_key_server


@pytest.fixture
def detour() -> Iterator[Detour]:
    """The way to a server on loopback that publishes the key of the tests at every path."""
    with running_key_server(PUBLISHED) as server:
        yield Detour(server)
