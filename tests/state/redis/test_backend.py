"""The backend of the stores in Redis, with servers of Redis and of Valkey."""

from __future__ import annotations

import asyncio
import datetime as dt
import gc
import logging
import re
import socket
import subprocess
import weakref
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from redis import Redis as BlockingRedis
from redis.asyncio import Redis

from authguard.errors import BackendUnavailable, ConfigurationError
from authguard.reasons import STORE_TIMEOUT, STORE_UNAVAILABLE
from authguard.state.redis import RedisBackend, Script
from authguard.state.redis.server import (
    _CODES,
    _EVICTION,
    _MEANINGS,
    FIRST_PAUSE,
    MAX_PAUSE,
    Server,
    _has_ended,
    pause,
)
from tests.state.redis.proxy import proxy_to
from tests.state.redis.servers import command, running_server, server_program, wait_for
from tests.support.forks import run_in_child
from tests.support.markdown import DOCS, code_block
from tests.support.servers.ports import free_port

peer = pytest.mark.peer

ECHO = Script("echo", "return {KEYS[2], ARGV[2], epoch, tostring(floor), tostring(now)}")
COUNT = Script("count", "return redis.call('INCR', KEYS[2])")
SAME = Script("same", "return ARGV[2]")
#: In seconds: a deadline that no call misses, however slow the machine is.
PATIENCE = 30.0
PASSWORD = "hunter2-a-secret"


def backend_at(port: int, **options: Any) -> RedisBackend:
    """A backend whose server is on this host."""
    return RedisBackend(lambda: Redis(port=port), **{"deadline": PATIENCE, **options})


@pytest.fixture
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next probe is due at once."""
    monkeypatch.setattr("authguard.state.redis.server.FIRST_PAUSE", 0.0)


# --- scripts ----------------------------------------------------------------------------------------------------------


@peer
async def test_the_reply_of_a_script_is_returned(redis_url: str) -> None:
    """A script gets its keys with the prefix, and its arguments."""
    backend = RedisBackend(lambda: Redis.from_url(redis_url), prefix="shop", clock=lambda: 1000.25)
    key, argument, epoch, floor, now = await backend.run(ECHO, b"p", [b"n:1"], [b"\x00\xff"])
    assert (key, argument, floor, now) == (b"shop:n:1", b"\x00\xff", b"1000.25", b"1000.25")
    assert epoch.endswith(b"-1000.250000")


@peer
@pytest.mark.parametrize(
    ("body", "reply"),
    [
        ("return nil", None),
        ("return false", None),
        ("", None),
        ("return {}", []),
        ("return {1, 'b', {2}}", [1, b"b", [2]]),
        ("return redis.status_reply('FINE')", b"FINE"),
    ],
)
async def test_a_reply_is_what_lua_returns(redis_port: int, body: str, reply: object) -> None:
    """No value is None, and a table is a list."""
    assert await backend_at(redis_port).run(Script("body", body), b"p", []) == reply


@peer
@pytest.mark.parametrize(
    ("argument", "sent"),
    [
        (7, b"7"),
        (0.1, b"0.1"),
        ("\u00e9", b"\xc3\xa9"),
        ("\ud800", b"\xed\xa0\x80"),
        (b"\xe9", b"\xe9"),
        (1764468000.123456, b"1764468000.123456"),
    ],
)
async def test_arguments_are_sent_whole(redis_port: int, argument: Any, sent: bytes) -> None:
    """A number has all of its digits, and text is UTF-8, whatever the encoding of the client is."""
    backend = RedisBackend(lambda: Redis(port=redis_port, encoding="utf-16"))
    assert await backend.run(SAME, b"p", [], [argument]) == sent


@peer
async def test_a_script_that_the_server_has_forgotten_is_sent_again(redis_port: int) -> None:
    """After SCRIPT FLUSH the next call sends the source of the script, and the one after it does not."""
    async with proxy_to(redis_port) as proxy:
        backend = backend_at(proxy.port)
        assert await backend.run(COUNT, b"p", [b"c"]) == 1
        command(redis_port, "SCRIPT", "FLUSH")
        assert await backend.run(COUNT, b"p", [b"c"]) == 2
        proxy.sent.clear()
        assert await backend.run(COUNT, b"p", [b"c"]) == 3
        assert COUNT.sha in proxy.sent
        assert b"INCR" not in proxy.sent


@peer
async def test_the_error_of_a_script_is_an_outage_that_quotes_nothing(redis_port: int) -> None:
    """The text of an error may hold a key or a value, so the record has its first word."""
    backend = backend_at(redis_port)
    for body, detail in (
        ("redis.call('HGET', KEYS[1])", "redis: the server answered with an error"),
        ("return redis.error_reply('WRONGTYPE of secret')", "redis: the server answered WRONGTYPE"),
    ):
        with pytest.raises(BackendUnavailable) as caught:
            await backend.run(Script("broken", body), b"p", [])
        assert (caught.value.detail, caught.value.reason) == (detail, STORE_UNAVAILABLE)
    assert backend.health()["state"] == "ok"


@peer
async def test_a_client_that_decodes_replies_is_used_all_the_same(redis_port: int) -> None:
    """Replies are bytes, whatever the client says: what a store keeps need not be text."""
    backend = RedisBackend(lambda: Redis(port=redis_port, decode_responses=True))
    assert await backend.run(SAME, b"p", [], [b"\xff"]) == b"\xff"


@peer
@pytest.mark.parametrize("protocol", [2, 3])
async def test_both_versions_of_the_protocol_are_spoken(redis_port: int, protocol: int) -> None:
    """The client chooses RESP2 or RESP3."""
    backend = RedisBackend(lambda: Redis(port=redis_port, protocol=protocol))
    assert await backend.run(Script("body", "return {1, 'b'}"), b"p", []) == [1, b"b"]


# --- epochs -----------------------------------------------------------------------------------------------------------


@peer
async def test_an_epoch_lasts_while_the_server_forgets_nothing(redis_port: int) -> None:
    """The epoch and its floor are the same at the next call."""
    times = iter([10.0, 20.0])
    backend = backend_at(redis_port, clock=lambda: next(times))
    first = await backend.run(ECHO, b"p", [b"n"], ["a"])
    second = await backend.run(ECHO, b"p", [b"n"], ["a"])
    assert (first[2:4], second[4]) == (second[2:4], b"20")


@peer
async def test_deleting_all_data_begins_an_epoch(redis_port: int, caplog: pytest.LogCaptureFixture) -> None:
    """After FLUSHALL the floor is the time of the next call, and the log says so once for several."""
    times = iter([10.0, 20.0, 30.0])
    backend = backend_at(redis_port, clock=lambda: next(times))
    first = await backend.run(ECHO, b"p", [b"n"], ["a"])
    assert backend.health()["epoch"] == first[2].decode()
    for floor in (b"20", b"30"):
        command(redis_port, "FLUSHALL")
        later = await backend.run(ECHO, b"p", [b"n"], ["a"])
        assert later[3] == floor
        assert later[2] != first[2]
        assert backend.health()["epoch"] == later[2].decode()
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert warnings[0].startswith("redis: the server has begun anew (a restart, a failover, or its data were deleted)")


@peer
async def test_a_clock_that_was_set_back_begins_an_epoch(redis_port: int) -> None:
    """Otherwise all that is new would be before the floor, until the clock has caught up."""
    times = iter([1000.0, 999.5, 500.0])
    backend = backend_at(redis_port, clock=lambda: next(times))
    first, drifted = [await backend.run(ECHO, b"p", [b"n"], ["a"]) for _ in range(2)]
    assert drifted[3] == first[3] == b"1000"
    command(redis_port, "HSET", "authguard:epoch", "loaded", "1000")
    later = await backend.run(ECHO, b"p", [b"n"], ["a"])
    assert later[3] == b"500"
    assert command(redis_port, "HGET", "authguard:epoch", "loaded") in {b"$-1\r\n", b"_\r\n"}


@peer
async def test_the_time_is_that_of_the_server(redis_port: int) -> None:
    """Without a clock, a script has the server's time with microseconds."""
    reply = command(redis_port, "TIME").split(b"\r\n")
    before = int(reply[2]) + int(reply[4]) / 1e6
    script = Script("now", "return string.format('%.6f', now)")
    assert 0.0 <= float(await backend_at(redis_port).run(script, b"p", [])) - before < 30.0


@peer
@pytest.mark.parametrize("kind", ["redis", "valkey"])
async def test_a_restart_begins_an_epoch_even_if_the_data_were_kept(kind: str, tmp_path: Path) -> None:
    """What was written after the last save is lost, so the floor is the time after the restart."""
    program, port = _program(kind), free_port()
    times = iter([10.0, 20.0, 30.0])
    backend = backend_at(port, clock=lambda: next(times))
    options = ("--dbfilename", "kept.rdb")
    with running_server(program, *options, port=port, folder=tmp_path):
        first = await backend.run(ECHO, b"p", [b"n"], ["a"])
        assert await backend.run(COUNT, b"p", [b"c"]) == 1
        command(port, "SAVE")
    with running_server(program, *options, port=port, folder=tmp_path):
        await _until_closed(backend)
        later = await backend.run(ECHO, b"p", [b"n"], ["a"])
        assert command(port, "GET", "authguard:c") == b"$1\r\n1\r\n"
        await backend.aclose()
    assert (first[3], later[3]) == (b"10", b"30")


@peer
@pytest.mark.parametrize("kind", ["redis", "valkey"])
async def test_a_replica_is_refused_and_left_for_the_master(kind: str) -> None:
    """A call that reaches a replica is an outage, and the next one connects anew: the address may have moved on."""
    program = _program(kind)
    with running_server(program) as master, running_server(program, "--replicaof", "127.0.0.1", str(master)) as replica:
        async with proxy_to(replica) as proxy:
            backend = backend_at(proxy.port)
            await _until(lambda: b"master_link_status:up" in command(replica, "INFO", "replication"))
            with pytest.raises(BackendUnavailable, match="the server is a replica; give the address of the master"):
                await backend.run(COUNT, b"p", [b"c"])
            proxy.target = master
            assert await backend.run(COUNT, b"p", [b"c"]) == 1
            assert proxy.connections == 2


@peer
@pytest.mark.parametrize("kind", ["redis", "valkey"])
async def test_a_promoted_replica_begins_an_epoch(kind: str) -> None:
    """Replication is asynchronous: the new master may not have heard of the last claims."""
    program = _program(kind)
    with running_server(program) as master, running_server(program, "--replicaof", "127.0.0.1", str(master)) as replica:
        await _until(lambda: b"master_link_status:up" in command(replica, "INFO", "replication"))
        async with proxy_to(master) as proxy:
            times = iter([10.0, 20.0, 30.0])
            backend = backend_at(proxy.port, clock=lambda: next(times))
            first = await backend.run(ECHO, b"p", [b"n"], ["a"])
            assert await backend.run(COUNT, b"p", [b"c"]) == 1
            await _until(lambda: command(replica, "GET", "authguard:c") == b"$1\r\n1\r\n")
            command(replica, "REPLICAOF", "NO", "ONE")
            proxy.target = replica
            await proxy.drop_all()
            await _until_closed(backend)
            later = await backend.run(ECHO, b"p", [b"n"], ["a"])
    assert (first[3], later[3]) == (b"10", b"30")


# --- outages ----------------------------------------------------------------------------------------------------------


async def test_no_server_is_an_outage(caplog: pytest.LogCaptureFixture) -> None:
    """Where nobody listens, a call is BackendUnavailable, and the log says once where nobody listens."""
    port = free_port()
    backend = backend_at(port)
    for retry_after in (None, 1, 1):
        outage = await _outage(backend)
        assert (outage.detail, outage.reason) == ("redis: Connection refused", STORE_UNAVAILABLE)
        assert outage.retry_after == retry_after
        assert outage.__context__ is None
        assert await _state(backend) == "unavailable"
    assert [record.getMessage() for record in caplog.records] == [
        f"redis: 127.0.0.1:{port} does not answer: Connection refused".replace("127.0.0.1", "localhost")
    ]


async def test_a_call_connects_once() -> None:
    """A request is waiting, so the retries of the client are not used: only the PING connects once more."""
    connected = []

    def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected.append(writer)
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    backend = backend_at(server.sockets[0].getsockname()[1])
    outage = await _outage(backend)
    assert outage.detail in {"redis: the connection broke", "redis: Connection reset by peer"}
    assert await _state(backend) == "unavailable"
    server.close()
    await server.wait_closed()
    assert len(connected) == 2


@peer
async def test_a_server_that_comes_back_is_used_again(caplog: pytest.LogCaptureFixture) -> None:
    """No restart of the app is needed, and the log says that the server answers again."""
    port = free_port()
    backend = backend_at(port)
    await _outage(backend)
    assert await _state(backend) == "unavailable"
    with running_server(_program("redis"), port=port):
        assert await _first_success(backend) == 1
        assert backend.health()["state"] == "ok"
        assert await backend.run(COUNT, b"p", [b"c"]) == 2
        await backend.aclose()
    assert f"redis: localhost:{port} answers again after" in caplog.records[-1].getMessage()


@peer
async def test_a_silent_server_is_an_outage_by_the_deadline(redis_port: int) -> None:
    """After the deadline a call is given up, and while a PING gets no answer either, calls fail at once."""
    async with proxy_to(redis_port) as proxy:
        backend = backend_at(proxy.port, deadline=0.2)
        first = await _first_success(backend)
        proxy.gate.clear()
        with pytest.raises(BackendUnavailable, match=r"redis: no answer within 0\.2 s") as caught:
            await backend.run(COUNT, b"p", [b"c"])
        assert caught.value.reason is STORE_TIMEOUT
        assert await _state(backend) == "unavailable"
        sent = len(proxy.sent)
        with pytest.raises(BackendUnavailable, match=r"redis: no answer within 0\.2 s"):
            await backend.run(COUNT, b"p", [b"c"])
        assert len(proxy.sent) == sent
        proxy.gate.set()
        assert await _first_success(backend) >= first + 2


@peer
async def test_a_script_is_not_sent_a_second_time_after_a_timeout(redis_port: int) -> None:
    """The server has counted, though nobody heard of it: a second time would count twice."""
    async with proxy_to(redis_port) as proxy:
        backend = backend_at(proxy.port, deadline=0.5)
        first = await _first_success(backend)
        proxy.gate.clear()
        await _outage(backend)
        assert proxy.sent.count(b"authguard:c") == first + 1
        assert command(redis_port, "GET", "authguard:c").endswith(b"\r\n%d\r\n" % (first + 1))


@peer
async def test_a_connection_that_the_server_closed_meanwhile_is_replaced(redis_port: int) -> None:
    """A restart between two calls fails none of them."""
    async with proxy_to(redis_port) as proxy:
        backend = backend_at(proxy.port)
        await backend.run(COUNT, b"p", [b"c"])
        await proxy.drop_all()
        await _until_closed(backend)
        assert await backend.run(COUNT, b"p", [b"c"]) == 2


@peer
async def test_a_connection_that_was_idle_for_long_is_replaced(
    redis_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A firewall may have dropped it silently, and the call would wait for the deadline."""
    monkeypatch.setattr("authguard.state.redis.server._MAX_IDLE", 0.0)
    async with proxy_to(redis_port) as proxy:
        backend = backend_at(proxy.port)
        for _ in range(3):
            await backend.run(COUNT, b"p", [b"c"])
        assert proxy.connections == 3


@peer
async def test_a_connection_that_breaks_during_a_call_is_an_outage_of_that_call_alone(redis_port: int) -> None:
    """The server answers a PING, so the next call is made."""
    async with proxy_to(redis_port) as proxy:
        backend = backend_at(proxy.port)
        await backend.run(COUNT, b"p", [b"c"])
        proxy.gate.clear()
        async with asyncio.TaskGroup() as tasks:
            call = tasks.create_task(_outage(backend))
            await _until(lambda: b"authguard:c" in proxy.sent[-200:])
            await _until(lambda: command(redis_port, "GET", "authguard:c") == b"$1\r\n2\r\n")
            await proxy.drop_all()
            proxy.gate.set()
        assert call.result().detail == "redis: the connection broke"
        assert call.result().reason is STORE_UNAVAILABLE
        assert await _state(backend) == "ok"
        assert await backend.run(COUNT, b"p", [b"c"]) == 3


@peer
async def test_calls_that_wait_for_a_connection_do_not_open_the_circuit(redis_port: int) -> None:
    """One call holds the only connection until the deadline, so others never get it; but a PING is answered."""
    async with proxy_to(redis_port) as proxy:
        backend = backend_at(proxy.port, deadline=0.5, max_connections=1)
        await _first_success(backend)
        proxy.silence()
        outages = await asyncio.gather(*[_outage(backend) for _ in range(20)])
        assert {outage.reason for outage in outages} == {STORE_TIMEOUT}
        assert await _state(backend) == "ok"
        assert await backend.run(SAME, b"p", [], ["a"]) == b"a"


@peer
async def test_no_more_connections_are_opened_than_the_limit(redis_port: int) -> None:
    """Calls beyond it wait for their turn."""
    async with proxy_to(redis_port) as proxy:
        backend = backend_at(proxy.port, max_connections=3)
        results = await asyncio.gather(*[backend.run(COUNT, b"p", [b"c"]) for _ in range(100)])
        assert sorted(results) == list(range(1, 101))
        assert proxy.connections == 3


@peer
@pytest.mark.usefixtures("no_pause")
async def test_one_call_makes_the_probe_and_the_others_fail_at_once(redis_port: int) -> None:
    """A server that is coming back is asked once, and not by all that wait for it."""
    async with proxy_to(redis_port) as proxy:
        backend = backend_at(proxy.port, deadline=0.2)
        proxy.gate.clear()
        await _outage(backend)
        assert await _state(backend) == "unavailable"
        await _until(lambda: proxy.connections == 2)  # for the call and its PING
        await asyncio.gather(*[_outage(backend) for _ in range(20)])
        await _until(lambda: proxy.connections == 3)


@peer
@pytest.mark.usefixtures("no_pause")
async def test_the_probe_of_a_cancelled_request_goes_on(redis_port: int) -> None:
    """The request that made it is gone, and its PING closes the circuit all the same."""
    async with proxy_to(redis_port) as proxy:
        backend = backend_at(proxy.port, deadline=0.3)
        proxy.gate.clear()
        await _outage(backend)
        assert await _state(backend) == "unavailable"
        object.__setattr__(_server(backend)._limits, "deadline", PATIENCE)
        probe = asyncio.create_task(backend.run(COUNT, b"p", [b"c"]))
        await _until(lambda: proxy.connections == 3)
        probe.cancel()
        await asyncio.wait([probe])
        assert backend.health()["state"] == "unavailable"
        proxy.gate.set()
        assert await _state(backend) == "ok"


@peer
@pytest.mark.usefixtures("no_pause")
async def test_calls_that_their_callers_cancel_open_the_circuit_too(redis_port: int) -> None:
    """A guard may have an earlier deadline than the backend: what it gives up is a reason to ask for a sign of life."""
    async with proxy_to(redis_port) as proxy:
        backend = backend_at(proxy.port)
        await backend.warm()
        proxy.gate.clear()
        server = _server(backend)
        with anyio.move_on_after(0.2):
            await backend.warm()
        assert server._pinging is not None
        server._pinging.cancel()  # before it begins
        object.__setattr__(server._limits, "deadline", 0.2)
        with anyio.move_on_after(0.15):
            await backend.warm()
        assert await _state(backend) == "unavailable"


@peer
async def test_a_call_that_is_cancelled_at_once_asks_for_no_sign_of_life(redis_port: int) -> None:
    """A client that hangs up makes no connection to the server."""
    async with proxy_to(redis_port) as proxy:
        backend = backend_at(proxy.port)
        await backend.warm()
        proxy.gate.clear()
        call = asyncio.create_task(backend.run(SAME, b"p", [], ["late"]))
        await asyncio.sleep(0)
        call.cancel()
        await asyncio.wait([call])
        assert _server(backend)._pinging is None


def test_the_pauses_between_probes_grow_and_differ() -> None:
    """From a tenth of a second to two seconds, and each process waits for another time."""
    assert all(FIRST_PAUSE / 2 <= pause(0) <= FIRST_PAUSE for _ in range(100))
    assert all(MAX_PAUSE / 2 <= pause(1000) <= MAX_PAUSE for _ in range(100))
    assert len({pause(3) for _ in range(100)}) > 90


@peer
async def test_a_server_that_refuses_a_ping_is_alive(redis_port: int) -> None:
    """An ACL may forbid PING: the refusal is a sign of life, and the circuit stays closed."""
    command(redis_port, "ACL", "SETUSER", "silent", "on", "nopass", "~*", "+@all", "-ping")
    async with proxy_to(redis_port) as proxy:
        backend = RedisBackend(lambda: Redis(port=proxy.port, username="silent", password="any"), deadline=0.5)
        await _first_success(backend)
        proxy.silence()
        assert (await _outage(backend)).reason is STORE_TIMEOUT
        assert await _state(backend) == "ok"


@peer
@pytest.mark.parametrize("kind", ["redis", "valkey"])
async def test_all_connections_to_a_server_that_was_demoted_are_left(kind: str) -> None:
    """The first call that meets a replica closes those that wait for others."""
    program = _program(kind)
    with running_server(program) as old, running_server(program) as new:
        backend = backend_at(old)
        await asyncio.gather(*[backend.run(COUNT, b"p", [b"c"]) for _ in range(3)])
        assert len(_idle(backend)) == 3
        command(old, "REPLICAOF", "127.0.0.1", str(new))
        with pytest.raises(BackendUnavailable, match="the server is a replica"):
            await backend.run(COUNT, b"p", [b"c"])
        assert _idle(backend) == []
        await backend.aclose()


async def test_a_connection_whose_state_cannot_be_read_has_ended() -> None:
    """redis-py raises where it finds a connection that was closed in the middle."""

    class Torn:
        is_connected = True

        async def can_read_destructive(self) -> bool:
            raise OSError

    assert await _has_ended(Torn())


# --- cancellation -----------------------------------------------------------------------------------------------------


@peer
async def test_no_call_gets_the_answer_of_a_cancelled_one(redis_port: int) -> None:
    """Calls are cancelled at every moment of their way, and those after them get their own answers."""
    async with proxy_to(redis_port) as proxy:
        backend = backend_at(proxy.port, max_connections=4)
        for number in range(150):
            calls = [asyncio.create_task(backend.run(SAME, b"p", [], [f"{number}.{one}"])) for one in range(8)]
            for _ in range(number % 30):
                await asyncio.sleep(0)
            for call in calls[::2]:
                call.cancel()
            answers = await asyncio.gather(*calls, return_exceptions=True)
            for one, answer in enumerate(answers):
                assert answer == f"{number}.{one}".encode() or (
                    one % 2 == 0 and isinstance(answer, asyncio.CancelledError)
                )
        # The answer of the cancelled call comes when the next one waits for its own.
        proxy.gate.clear()
        late = asyncio.create_task(backend.run(SAME, b"p", [], ["late"]))
        await _until(lambda: proxy.sent.endswith(b"late\r\n"))
        late.cancel()
        await asyncio.wait([late])
        following = asyncio.create_task(backend.run(SAME, b"p", [], ["following"]))
        await _until(lambda: proxy.sent.endswith(b"following\r\n"))
        proxy.gate.set()
        assert await following == b"following"
        await backend.aclose()


@peer
async def test_a_cancelled_connection_leaves_a_place_for_the_next(redis_port: int) -> None:
    """Calls that end in the middle of connecting do not use up the connections."""
    async with proxy_to(redis_port) as proxy:
        backend = backend_at(proxy.port, max_connections=1)
        proxy.gate.clear()
        for _ in range(5):
            with anyio.move_on_after(0.02):
                await backend.run(SAME, b"p", [], ["a"])
        proxy.gate.set()
        assert await backend.run(SAME, b"p", [], ["b"]) == b"b"


# --- ways to a server -------------------------------------------------------------------------------------------------


@peer
@pytest.mark.parametrize("kind", ["redis", "valkey"])
async def test_a_unix_socket_leads_to_a_server(kind: str, tmp_path: Path) -> None:
    """Its path is the address of the server."""
    path = str(tmp_path / "s")
    with running_server(_program(kind), "--unixsocket", path):
        backend = RedisBackend(lambda: Redis(unix_socket_path=path))
        await backend.warm()
        assert [server["server"] for server in _servers(backend)] == [path]
        await backend.aclose()


@peer
async def test_the_database_of_the_client_is_used(redis_url: str, redis_port: int) -> None:
    """Two apps may have a database each."""
    first, second = [RedisBackend(partial(Redis.from_url, f"{redis_url}/{number}")) for number in (1, 2)]
    assert [await first.run(COUNT, b"p", [b"c"]), await second.run(COUNT, b"p", [b"c"])] == [1, 1]
    assert command(redis_port, "DBSIZE") == b":0\r\n"


@peer
async def test_tls_is_spoken_and_a_stranger_is_refused(tmp_path: Path) -> None:
    """The certificate must be that of the authority that the client knows."""
    certificate, key = _certificate(tmp_path)
    tls = ("--port", "0", "--tls-auth-clients", "no", "--tls-cert-file", certificate, "--tls-key-file", key)
    port = free_port()
    with running_server(_program("redis"), *tls, "--tls-port", str(port), port=port, is_ready=_accepts):
        url = f"rediss://localhost:{port}"
        backend = RedisBackend(lambda: Redis.from_url(url, ssl_ca_certs=certificate))
        await backend.warm()
        await backend.aclose()
        stranger = RedisBackend(lambda: Redis.from_url(url))
        with pytest.raises(BackendUnavailable, match=r"redis: self.signed certificate"):
            await stranger.warm()
        await stranger.aclose()


# --- event loops ------------------------------------------------------------------------------------------------------


@peer
@pytest.mark.parametrize("use_uvloop", [False, True], ids=["asyncio", "uvloop"])
def test_a_factory_is_called_once_for_each_event_loop(redis_port: int, use_uvloop: bool) -> None:
    """The connections of a loop are closed when it ends, and nothing complains."""
    made: list[Redis] = []

    def make() -> Redis:
        made.append(Redis(port=redis_port))
        return made[-1]

    backend = RedisBackend(make)

    async def use() -> None:
        await asyncio.gather(*[backend.run(COUNT, b"p", [b"c"]) for _ in range(5)])

    for number in (1, 2, 3):
        anyio.run(use, backend_options={"use_uvloop": use_uvloop})
        gc.collect()
        assert len(made) == number
        assert backend.health()["servers"] == []


@peer
async def test_a_call_that_runs_while_the_backend_is_closed_closes_its_own_connection(redis_port: int) -> None:
    """Nobody would close it later."""
    async with proxy_to(redis_port) as proxy:
        backend = backend_at(proxy.port)
        await backend.warm()
        ((connection, _),) = _idle(backend)
        proxy.gate.clear()
        call = asyncio.create_task(backend.run(SAME, b"p", [], ["late"]))
        await _until(lambda: proxy.sent.endswith(b"late\r\n"))
        await backend.aclose()
        assert connection.is_connected
        proxy.gate.set()
        assert await call == b"late"
        assert not connection.is_connected


@peer
def test_a_loop_that_ends_without_closing_is_forgotten(redis_port: int) -> None:
    """The next loop removes what it has left behind."""
    backend = backend_at(redis_port)
    loop = asyncio.new_event_loop()
    loop.run_until_complete(backend.warm())
    link = backend._links[loop]
    loop.run_until_complete(link.close())
    loop.close()
    assert list(backend._links) == [loop]

    async def use() -> None:
        await backend.warm()
        assert list(backend._links) == [asyncio.get_running_loop()]

    anyio.run(use)


@peer
def test_a_client_serves_the_loop_that_first_uses_it(redis_port: int) -> None:
    """On a second loop it is an outage whose text says what to give instead."""
    backend = RedisBackend(Redis(port=redis_port))
    anyio.run(backend.warm)
    with pytest.raises(BackendUnavailable, match="a client serves one event loop of one process; give a function"):
        anyio.run(backend.warm)


@peer
async def test_a_client_that_was_given_stays_open(redis_port: int) -> None:
    """The app has made it, and the app closes it."""
    async with Redis(port=redis_port) as client:
        backend = RedisBackend(client)
        await backend.warm()
        await backend.aclose()
        assert await client.ping()


def test_trio_is_an_outage_that_names_asyncio() -> None:
    """redis-py has no version for trio."""
    backend = backend_at(1)
    for call in (backend.warm, backend.aclose):
        with pytest.raises(BackendUnavailable, match="redis-py does not run on trio; run the server on asyncio"):
            anyio.run(call, backend="trio")


@peer
async def test_a_forked_child_connects_anew(redis_port: int) -> None:
    """It closes none of the connections of its parent, and reads none of its answers."""
    async with proxy_to(redis_port):
        backend = backend_at(redis_port)
        assert await backend.run(COUNT, b"p", [b"c"]) == 1
        assert run_in_child(lambda: asyncio.run(backend.run(COUNT, b"p", [b"c"]))) == "2"
        assert await backend.run(COUNT, b"p", [b"c"]) == 3
        assert _servers(backend)[0]["failures"] == 0


@peer
async def test_a_fork_leaves_the_connections_of_the_parent_open(redis_port: int) -> None:
    """The child forgets them, and closes none: they are those of the parent."""
    backend = backend_at(redis_port)
    await backend.warm()
    ((connection, _),) = _idle(backend)
    of_parent = weakref.ref(connection)
    backend.renew()
    await backend.warm()
    assert _idle(backend)[0][0] is not connection
    del connection
    gc.collect()
    kept = of_parent()
    assert kept is not None
    assert kept.is_connected
    await backend.aclose()
    await kept.disconnect()


@peer
async def test_a_forked_child_does_not_use_the_client_of_its_parent(redis_port: int) -> None:
    """A client that was given is bound to the process that has used it."""
    backend = RedisBackend(Redis(port=redis_port))
    await backend.warm()

    def refused() -> bool:
        try:
            asyncio.run(backend.warm())
        except BackendUnavailable as error:
            return "one event loop of one process" in str(error)
        return False

    assert run_in_child(refused) == "True"
    await backend.warm()
    await backend.aclose()


# --- memory -----------------------------------------------------------------------------------------------------------


@peer
async def test_a_server_that_drops_keys_is_refused(redis_port: int) -> None:
    """It could drop the use of a nonce, and accept it again. The record names the setting."""
    backend, lax = backend_at(redis_port), backend_at(redis_port, allow_eviction=True)
    command(redis_port, "CONFIG", "SET", "maxmemory", "100mb")
    command(redis_port, "CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    try:
        with pytest.raises(BackendUnavailable, match=r"maxmemory-policy is allkeys-lru.*set it to noeviction"):
            await backend.warm()
        await lax.warm()
        command(redis_port, "CONFIG", "SET", "maxmemory-policy", "noeviction")
        await backend.warm()
    finally:
        command(redis_port, "CONFIG", "SET", "maxmemory-policy", "noeviction")
        command(redis_port, "CONFIG", "SET", "maxmemory", "0")


@peer
async def test_the_policy_of_another_server_behind_the_same_address_is_read(redis_port: int) -> None:
    """A new connection may lead to a server that drops keys."""
    with running_server(_program("redis"), "--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lfu") as other:
        async with proxy_to(redis_port) as proxy:
            backend = backend_at(proxy.port)
            await backend.warm()
            proxy.target = other
            await proxy.drop_all()
            await _until_closed(backend)
            with pytest.raises(BackendUnavailable, match="maxmemory-policy is allkeys-lfu"):
                await backend.warm()


@peer
async def test_a_policy_without_a_limit_is_accepted(redis_port: int) -> None:
    """Without maxmemory nothing is dropped, whatever the policy says."""
    command(redis_port, "CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    try:
        await backend_at(redis_port).warm()
    finally:
        command(redis_port, "CONFIG", "SET", "maxmemory-policy", "noeviction")


@peer
async def test_the_policy_is_read_again(redis_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """An operator may change it while connections are open."""
    backend = backend_at(redis_port)
    await backend.warm()
    monkeypatch.setattr("authguard.state.redis.server._POLICY_PAUSE", 0.0)
    command(redis_port, "CONFIG", "SET", "maxmemory", "100mb")
    command(redis_port, "CONFIG", "SET", "maxmemory-policy", "volatile-ttl")
    try:
        with pytest.raises(BackendUnavailable, match="maxmemory-policy is volatile-ttl"):
            await backend.warm()
        assert backend.health()["state"] == "ok"
    finally:
        command(redis_port, "CONFIG", "SET", "maxmemory-policy", "noeviction")
        command(redis_port, "CONFIG", "SET", "maxmemory", "0")


@peer
@pytest.mark.parametrize("kind", ["redis", "valkey"])
async def test_a_full_memory_is_an_outage_that_says_so(kind: str) -> None:
    """With noeviction the server refuses to write, and it forgets nothing."""
    with running_server(_program(kind)) as port:
        backend = backend_at(port)
        assert await backend.run(COUNT, b"p", [b"c"]) == 1
        command(port, "CONFIG", "SET", "maxmemory", "100kb")
        with pytest.raises(BackendUnavailable, match="redis: the memory of the server is full; raise maxmemory"):
            await backend.run(COUNT, b"p", [b"c"])
        await backend.aclose()


@peer
@pytest.mark.parametrize("kind", ["redis", "valkey"])
async def test_a_full_disk_is_an_outage_that_says_so(kind: str, tmp_path: Path) -> None:
    """A server that cannot save its data refuses to write. The circuit stays closed, because it answers."""
    in_the_way = tmp_path / "dump.rdb"
    with running_server(_program(kind), "--save", "3600", "1000", folder=tmp_path) as port:
        backend = backend_at(port)
        assert await backend.run(COUNT, b"p", [b"c"]) == 1
        in_the_way.mkdir()
        command(port, "BGSAVE")
        await _until(lambda: b"rdb_last_bgsave_status:err" in command(port, "INFO", "persistence"))
        outage = await _outage(backend)
        assert outage.detail == "redis: the server cannot save its data, so it accepts no more; look at its disk"
        assert await _state(backend) == "ok"
        in_the_way.rmdir()
        command(port, "BGSAVE")
        assert await _first_success(backend) == 2
        await backend.aclose()


@peer
async def test_too_few_replicas_are_an_outage_that_says_so(redis_port: int) -> None:
    """A master that is cut off from its replicas accepts no more."""
    backend = backend_at(redis_port)
    await backend.warm()
    command(redis_port, "CONFIG", "SET", "min-replicas-to-write", "1")
    try:
        assert (await _outage(backend)).detail == "redis: the server has fewer replicas than min-replicas-to-write"
    finally:
        command(redis_port, "CONFIG", "SET", "min-replicas-to-write", "0")
    assert await backend.run(COUNT, b"p", [b"c"]) == 1


@peer
async def test_a_script_of_somebody_else_is_an_outage_that_says_so(redis_port: int) -> None:
    """The server answers BUSY to everybody until that script has ended, also to a PING: it is not down."""
    backend = backend_at(redis_port)
    await backend.warm()
    command(redis_port, "CONFIG", "SET", "lua-time-limit", "50")
    endless = asyncio.create_task(asyncio.to_thread(command, redis_port, "EVAL", "while true do end", "0"))
    try:
        await _until(lambda: command(redis_port, "PING").startswith(b"-BUSY"))
        assert (await _outage(backend)).detail == "redis: the server runs a script of somebody else"
        assert await _state(backend) == "ok"
    finally:
        command(redis_port, "SCRIPT", "KILL")
        await endless
        command(redis_port, "CONFIG", "SET", "lua-time-limit", "5000")
    assert await backend.run(COUNT, b"p", [b"c"]) == 1


# --- who may do what --------------------------------------------------------------------------------------------------


@peer
@pytest.mark.parametrize("kind", ["redis", "valkey"])
async def test_a_password_is_shown_nowhere(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    """Neither in the record, nor in the log, nor in a repr."""
    caplog.set_level(logging.DEBUG)
    with running_server(_program(kind), "--requirepass", "another") as port:
        backend = RedisBackend(lambda: Redis.from_url(f"redis://:{PASSWORD}@127.0.0.1:{port}"))
        with pytest.raises(
            BackendUnavailable, match="redis: the server refuses the user name or the password"
        ) as caught:
            await backend.warm()
    shown = [repr(backend), str(backend.health()), repr(caught.value), caplog.text]
    assert not [text for text in shown if PASSWORD in text]


@peer
async def test_a_missing_password_is_an_outage_that_says_so() -> None:
    """A server that wants a password answers NOAUTH."""
    with running_server(_program("redis"), "--requirepass", PASSWORD) as port:
        backend = backend_at(port)
        with pytest.raises(BackendUnavailable, match="redis: the server refuses the user name or the password"):
            await backend.warm()


@peer
async def test_a_command_that_an_acl_forbids_is_an_outage_that_says_so(redis_port: int) -> None:
    """The record names the page that lists the commands. A server that refuses is not one that is down."""
    command(
        redis_port, "ACL", "SETUSER", "narrow", "on", "nopass", "~*", "+ping", "+info", "+evalsha", "+eval", "+time"
    )
    backend = RedisBackend(lambda: Redis(port=redis_port, username="narrow", password="any"))
    with pytest.raises(BackendUnavailable, match=r"docs/shared-state\.md lists what its ACL needs"):
        await backend.warm()
    assert backend.health()["state"] == "ok"


# --- arguments --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda: RedisBackend(f"redis://:{PASSWORD}@host"), "redis: a URL is no client; give a function"),  # type: ignore[arg-type]
        (lambda: RedisBackend(7), "redis: builtins.int is no client of redis.asyncio"),  # type: ignore[arg-type]
        (lambda: RedisBackend(BlockingRedis()), "redis: redis.client.Redis is no client of redis.asyncio"),  # type: ignore[arg-type]
        (lambda: RedisBackend(lambda host: Redis(host=host)), "redis: .* is called as make_client"),  # type: ignore[arg-type, misc]
        (lambda: backend_at(1, prefix=""), "prefix: '' must be ASCII text"),
        (lambda: backend_at(1, prefix="a{b}"), "prefix: .* without spaces and braces"),
        (lambda: backend_at(1, prefix=b"a"), "prefix: b'a' must be ASCII text"),
        (lambda: backend_at(1, deadline=0), "deadline: 0 is not a number of seconds"),
        (lambda: backend_at(1, max_connections=0), "max_connections: 0 is not a whole number"),
        (lambda: backend_at(1, allow_eviction=1), "allow_eviction: 1 is neither True nor False"),
        (lambda: backend_at(1, clock=5), "clock: 5 is not a function"),
    ],
    ids=[
        "url",
        "number",
        "blocking client",
        "factory with an argument",
        "empty prefix",
        "braces",
        "bytes",
        "deadline",
        "connections",
        "eviction",
        "clock",
    ],
)
def test_a_wrong_argument_is_named(make: Callable[[], RedisBackend], problem: str) -> None:
    """It is refused while the app is built, and no password is shown."""
    with pytest.raises(ConfigurationError, match=problem) as caught:
        make()
    assert PASSWORD not in str(caught.value)


def test_what_is_printed_has_names_alone() -> None:
    """A script shows its name, and a backend its prefix."""
    assert (repr(COUNT), repr(backend_at(1, prefix="shop"))) == ("Script('count')", "RedisBackend(prefix='shop')")


def test_redis_py_must_be_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the extra."""
    monkeypatch.setattr("authguard.state.redis.backend.find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match=r'redis-py is not installed; run pip install "authguard\[redis\]"'):
        backend_at(1)


def _make_number() -> Any:
    return 7


def _fail_to_make() -> Any:
    raise ValueError(PASSWORD)


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (_make_number, r"_make_number \(.*\) returned int; return a redis.asyncio.Redis"),
        (_fail_to_make, r"_fail_to_make \(.*\) raised ValueError"),
    ],
)
async def test_what_a_factory_does_wrong_is_an_outage_that_names_it(make: Callable[[], Any], problem: str) -> None:
    """A request finds out, and its record names the function."""
    with pytest.raises(BackendUnavailable, match=problem) as caught:
        await RedisBackend(make).warm()
    assert PASSWORD not in repr(caught.value)
    assert caught.value.__context__ is None


def test_a_factory_must_make_a_client_at_each_call() -> None:
    """Two loops that share a client would share its connections."""
    client = Redis(port=1)
    backend = RedisBackend(lambda: client)

    async def use() -> None:
        with pytest.raises(BackendUnavailable, match="refused"):
            await backend.warm()
        other = asyncio.to_thread(asyncio.run, _warm(backend))
        with pytest.raises(BackendUnavailable, match="returned the client of another event loop; make a new one"):
            await other

    asyncio.run(use())


async def test_a_client_of_one_server_is_no_cluster() -> None:
    """Stores put all keys of a request into one call then."""
    assert not backend_at(free_port()).is_cluster()


def test_a_backend_that_nobody_has_used_is_unused() -> None:
    """Its health says so, and asks no server."""
    assert backend_at(1).health() == {"state": "unused", "epoch": None, "servers": []}


def test_importing_the_package_does_not_import_redis() -> None:
    """An app without shared state does not pay for it."""
    code = "import sys, authguard.state.redis; sys.exit('redis' in sys.modules)"
    assert subprocess.run([__import__("sys").executable, "-c", code], check=False).returncode == 0


# --- the page ---------------------------------------------------------------------------------------------------------


@peer
@pytest.mark.block("shared-state.md", "has begun anew")
async def test_the_page_shows_the_warning_of_an_epoch(redis_port: int, caplog: pytest.LogCaptureFixture) -> None:
    """It is the message that the log has."""
    backend = backend_at(redis_port)
    await backend.warm()
    command(redis_port, "FLUSHALL")
    await backend.warm()
    assert caplog.records[-1].getMessage() + "\n" == code_block("shared-state.md", "has begun anew")


def test_the_page_explains_each_outage() -> None:
    """Its table has the beginning of each text that a record may have, and no other one."""
    texts = [*(meaning for _, meaning in _MEANINGS), *_CODES.values(), _EVICTION]
    texts += ["Connection refused", "the connection broke", "no answer within 1 s", "the cluster does not answer"]
    page = (DOCS / "shared-state.md").read_text()
    table = page.partition("| record | what to do |")[2].partition("\n\n")[0]
    shown = [text.removesuffix("...") for row in table.splitlines()[2:] for text in row.split("|")[1].split("`")[1::2]]

    assert [text for text in texts if not text.startswith(tuple(shown))] == []
    assert [text for text in shown if not any(each.startswith(text) for each in texts)] == []


@peer
@pytest.mark.block("shared-state.md", "answers again")
async def test_the_page_shows_the_lines_of_an_outage(caplog: pytest.LogCaptureFixture) -> None:
    """They are the messages that the log has, but for the port and the time."""
    port = free_port()
    backend = backend_at(port)
    for _ in range(3):
        await _outage(backend)
    with running_server(_program("redis"), port=port):
        await _first_success(backend)
        await backend.aclose()
    lines = [record.getMessage().replace(str(port), "6379") for record in caplog.records]
    shown = code_block("shared-state.md", "answers again").splitlines()
    assert [re.sub(r"[\d.]+ s", "4.2 s", line) for line in lines] == shown


# --- helpers ----------------------------------------------------------------------------------------------------------


def _servers(backend: RedisBackend) -> list[dict[str, object]]:
    servers = backend.health()["servers"]
    assert isinstance(servers, list)
    return servers


def _certificate(folder: Path) -> tuple[str, str]:
    """The files of a certificate for localhost, which is its own authority, and of its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    begin = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + dt.timedelta(days=30))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    files = folder / "server.crt", folder / "server.key"
    files[0].write_bytes(certificate.public_bytes(Encoding.PEM))
    files[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return str(files[0]), str(files[1])


def _accepts(port: int) -> None:
    """Wait until somebody listens."""

    def listens() -> bool:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
        except OSError:
            return False
        return True

    wait_for(listens)


async def _warm(backend: RedisBackend) -> None:
    await backend.warm()


async def _outage(backend: RedisBackend) -> BackendUnavailable:
    with pytest.raises(BackendUnavailable) as caught:
        await backend.run(COUNT, b"p", [b"c"])
    return caught.value


async def _state(backend: RedisBackend) -> object:
    """Whether the server answers, after a PING that may be under way."""
    server = _server(backend)
    await _until(lambda: server._pinging is None)
    return backend.health()["state"]


async def _first_success(backend: RedisBackend) -> Any:
    """The first reply after an outage, which comes within a few pauses."""
    with anyio.fail_after(4 * PATIENCE):
        while True:
            try:
                return await backend.run(COUNT, b"p", [b"c"])
            except BackendUnavailable:
                await asyncio.sleep(0.02)


def _server(backend: RedisBackend) -> Server:
    """The server, as this loop sees it."""
    link: Any = backend._links[asyncio.get_running_loop()]
    server: Server = link._server
    return server


def _idle(backend: RedisBackend) -> list[tuple[Any, float]]:
    """The connections of this loop that no call uses, and since when."""
    return _server(backend)._idle


async def _until_closed(backend: RedisBackend) -> None:
    """Wait until this process has heard that its connections were closed."""
    with anyio.fail_after(4 * PATIENCE):
        for connection, _ in _idle(backend):
            while not await _has_ended(connection):  # noqa: ASYNC110 - it is a process elsewhere that ends them
                await asyncio.sleep(0.01)


async def _until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(4 * PATIENCE):
        while not condition():  # noqa: ASYNC110 - another process makes it true
            await asyncio.sleep(0.01)


def _program(kind: str) -> str:
    program = server_program(kind)
    if program is None:
        pytest.skip(f"{kind}-server is not installed")
    return program
