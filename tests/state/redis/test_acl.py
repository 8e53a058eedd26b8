"""The commands that an ACL must allow: those of the page, and no others."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterator

import pytest
from redis.asyncio import Redis, RedisCluster

import authguard.state.redis as package
from authguard.errors import BackendUnavailable
from authguard.inspector import shared_decisions
from authguard.state.redis import RedisBackend, Script
from tests.state.redis.servers import command, running_cluster, server_program
from tests.support.markdown import pages

#: What connections send, beside scripts. redis-py also sends CLIENT, and goes on if it is forbidden.
OF_CONNECTIONS = {"ping", "info", "evalsha", "eval"}
OF_CLUSTERS = {"cluster|slots", "asking"}


def acl_on_page(prefix: str) -> list[str]:
    """The words of the line of docs/shared-state.md that begins so."""
    page = next(page for page in pages() if page.name == "shared-state.md")
    line = next(line for line in page.read_text().splitlines() if line.startswith(prefix))
    return line.split()


def scripts() -> Iterator[Script]:
    """All scripts of the package."""
    for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        for value in vars(importlib.import_module(module.name)).values():
            if isinstance(value, Script):
                yield value


def commands_of(words: list[str]) -> set[str]:
    """The commands that such a line allows."""
    return {word[1:] for word in words if word.startswith("+")}


@pytest.mark.block("shared-state.md", "ACL SETUSER authguard on")
def test_the_page_lists_the_commands_of_all_scripts() -> None:
    """Each command that a script calls, each one that a connection sends, and nothing else."""
    called = {name.lower() for script in scripts() for name in re.findall(rb"redis\.call\('(\w+)'", script.source)}
    in_scripts = {name.decode() for name in called}

    assert commands_of(acl_on_page("ACL SETUSER authguard ")) == in_scripts | OF_CONNECTIONS


def test_the_page_of_the_inspector_lists_what_it_needs_besides() -> None:
    """The commands of its scripts that the stores do not have."""
    sources = b"".join(value.source for value in vars(shared_decisions).values() if isinstance(value, Script))
    called = {name.decode().lower() for name in re.findall(rb"redis\.call\('(\w+)'", sources)}
    page = next(page for page in pages() if page.name == "inspector.md").read_text()
    line = next(line for line in page.splitlines() if line.startswith("  `+"))

    assert commands_of(line.strip(" `.").split()) == called - commands_of(acl_on_page("ACL SETUSER authguard "))


def test_every_command_of_a_script_is_written_out() -> None:
    """Otherwise this test could not find it."""
    for script in scripts():
        assert script.source.count(b"redis.call(") == len(re.findall(rb"redis\.call\('\w+'", script.source))
        assert b"redis.pcall" not in script.source


@pytest.mark.peer
async def test_a_user_of_the_page_can_do_all(redis_port: int) -> None:
    """A user with these commands and keys can run scripts, and can do nothing with other keys."""
    line = acl_on_page("ACL SETUSER authguard ")
    assert command(redis_port, *line) == b"+OK\r\n"
    try:
        password = next(word[1:] for word in line if word.startswith(">"))
        backend = RedisBackend(lambda: Redis(port=redis_port, username="authguard", password=password))
        await backend.warm()
        assert await backend.run(Script("set", "return redis.call('SET', KEYS[2], 'a')"), b"p", [b"k"]) == b"OK"
        elsewhere = RedisBackend(
            lambda: Redis(port=redis_port, username="authguard", password=password), prefix="elsewhere"
        )
        with pytest.raises(BackendUnavailable, match=r"docs/shared-state\.md"):
            await elsewhere.warm()
    finally:
        command(redis_port, "ACL", "DELUSER", "authguard")


@pytest.mark.peer
@pytest.mark.parametrize("kind", ["redis", "valkey"])
@pytest.mark.block("shared-state.md", "+cluster|slots")
async def test_a_cluster_needs_two_commands_more(kind: str) -> None:
    """The layout, and ASKING while keys move."""
    line, more = acl_on_page("ACL SETUSER authguard on"), acl_on_page("ACL SETUSER authguard +cluster")
    assert commands_of(more) == OF_CLUSTERS
    program = server_program(kind)
    if program is None:
        pytest.skip(f"{kind}-server is not installed")
    with running_cluster(program) as servers:
        for port in servers.ports:
            assert command(port, *line) == command(port, *more) == b"+OK\r\n"
        password = next(word[1:] for word in line if word.startswith(">"))
        backend = RedisBackend(
            lambda: RedisCluster(host="127.0.0.1", port=servers.ports[0], username="authguard", password=password)
        )
        await backend.warm()
        assert backend.health()["state"] == "ok"
        await backend.aclose()
