"""Several processes that serve an app whose stores count in each of them are a warning at start-up."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.applications import Starlette

from authguard import (
    PER_PROCESS,
    ApiKey,
    AuthGuardMiddleware,
    Basic,
    Bearer,
    Digest,
    DigestAccount,
    Guard,
    MemoryApiKeys,
    MemoryDigests,
    MemoryUsers,
)
from authguard.audit.workers import about_workers, count_alike, sign_of_workers
from authguard.fastapi import audit
from authguard.schemes import ApiKeys
from authguard.schemes.scheme import Scheme
from authguard.state import MemoryNonces, MemoryRevocations, NonceUse
from tests.support.forks import needs_fork, run_in_child
from tests.support.schemes.badge import Badge

DIGESTS = MemoryDigests([DigestAccount("alice", "0" * 64)], realm="orders")
SECRET = b"s" * 32


class SharedNonces:
    """A store of the app's own, for all processes."""

    def begin(self, now: float) -> None: ...

    async def claim(self, nonce: bytes, count: int, **times: float) -> NonceUse:
        raise NotImplementedError


def digest(**options: Any) -> Digest:
    """A scheme with this store, or this secret."""
    return Digest(DIGESTS, realm="orders", **{"secret": SECRET, "throttle": None, **options})


def basic(**options: Any) -> Basic:
    """A scheme for passwords."""
    return Basic(MemoryUsers({}), realm="orders", **options)


def run_in_server(package: str, work: Callable[[], Any], **settings: Any) -> Any:
    """Call ``work`` from a function of the server, which has its settings in a variable."""
    namespace: dict[str, Any] = {"__name__": f"{package}.main"}
    exec("def serve(config, work):\n    return work()\n", namespace)
    return namespace["serve"](SimpleNamespace(**settings), work)


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the way in which the tests were started counts."""
    monkeypatch.delenv("WEB_CONCURRENCY", raising=False)


@pytest.fixture
def several(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes serve the app."""
    monkeypatch.setenv("WEB_CONCURRENCY", "2")


# --- Which processes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("package", "settings", "sign"),
    [
        ("uvicorn", {"workers": 2, "should_reload": False}, "uvicorn runs 2 workers"),
        ("uvicorn", {"workers": 2, "should_reload": True}, None),
        ("uvicorn", {"workers": 1, "should_reload": False}, None),
        ("hypercorn", {"workers": 3, "use_reloader": True}, "hypercorn runs 3 workers"),
        ("hypercorn", {"workers": None}, None),
        ("orders", {"workers": 4}, None),
    ],
)
def test_a_server_tells_how_many_workers_it_runs(package: str, settings: dict[str, Any], sign: str | None) -> None:
    """The settings of a known server do. uvicorn runs one where it reloads, whatever number it was given."""
    assert run_in_server(package, sign_of_workers, **settings) == sign


def test_a_server_under_another_one_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gunicorn with workers of uvicorn has the number of gunicorn, and ``WEB_CONCURRENCY`` is what a server makes of
    it."""
    monkeypatch.setenv("WEB_CONCURRENCY", "7")

    def worker() -> str | None:
        sign: str | None = run_in_server("uvicorn", sign_of_workers, workers=1)
        return sign

    assert run_in_server("gunicorn", worker, workers=3) == "gunicorn runs 3 workers"
    assert worker() is None


@pytest.mark.parametrize(
    ("value", "sign"), [("2", "WEB_CONCURRENCY=2"), ("1", None), ("0", None), ("", None), ("auto", None)]
)
def test_without_a_known_server_the_environment_counts(
    value: str, sign: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Platforms such as Heroku set it, and several servers read it."""
    monkeypatch.setenv("WEB_CONCURRENCY", value)

    assert sign_of_workers() == sign


def process(proc: Path, number: int, parent: int, *arguments: str, program: str = "/usr/bin/python3") -> None:
    """A process as Linux shows it."""
    folder = proc / str(number)
    folder.mkdir(parents=True)
    (folder / "exe").symlink_to(program)
    (folder / "stat").write_bytes(b"%d (a) b (python) S %d 1 1" % (number, parent))
    (folder / "cmdline").write_bytes(b"\0".join(argument.encode() for argument in arguments))


SPAWNED = "from multiprocessing.spawn import spawn_main; spawn_main(tracker_fd=5, pipe_handle={})"


def test_processes_of_one_parent_are_counted(tmp_path: Path) -> None:
    """Those that run the same program with the same arguments, but for the numbers in them; not those of another
    parent, not ``multiprocessing``'s own helper, and not what has ended meanwhile."""
    process(tmp_path, 10, 1, "python3", "serve.py")
    for number in (20, 21, 22):
        process(tmp_path, number, 10, "python3", "-c", SPAWNED.format(number))
    process(tmp_path, 23, 10, "python3", "-c", "from multiprocessing.resource_tracker import main;main(4)")
    process(tmp_path, 24, 11, "python3", "-c", SPAWNED.format(24))
    (tmp_path / "30").mkdir()
    (tmp_path / "22" / "cmdline").unlink()
    (tmp_path / "net").mkdir()

    assert count_alike(tmp_path, 20, 10) == 2


def test_the_children_of_a_shell_are_not_counted(tmp_path: Path) -> None:
    """A shell or an init system starts several apps, which have nothing to do with each other."""
    process(tmp_path, 1, 0, "/sbin/init", program="/lib/systemd/systemd")
    for number in (20, 21):
        process(tmp_path, number, 1, "python3", "serve.py")

    assert count_alike(tmp_path, 20, 1) == 1


def test_where_the_system_does_not_show_its_processes_nothing_is_counted(tmp_path: Path) -> None:
    """There is no ``/proc`` on macOS and Windows."""
    assert count_alike(tmp_path, 20, 1) is None


@pytest.mark.parametrize(
    ("alike", "sign"),
    [
        (2, "2 processes like this one have the same parent"),
        (1, None),
        (None, "this process was forked, or multiprocessing started it"),
    ],
)
def test_a_process_that_multiprocessing_started_has_others_beside_it(
    alike: int | None, sign: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the system shows them; where it cannot, each counts as one of several."""
    monkeypatch.setattr("multiprocessing.process._parent_process", object())
    monkeypatch.setattr("authguard.audit.workers.count_alike", lambda *_: alike)

    assert sign_of_workers() == sign


def test_where_nothing_is_counted_the_server_is_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    """For uvicorn starts a process to reload, and hypercorn one for a single worker."""
    monkeypatch.setattr("multiprocessing.process._parent_process", object())
    monkeypatch.setattr("authguard.audit.workers.count_alike", lambda *_: None)

    assert run_in_server("hypercorn", sign_of_workers, workers=1) is None


@needs_fork
def test_a_single_fork_is_no_sign() -> None:
    """A process that was forked, without others like it, is the only one."""
    assert run_in_child(sign_of_workers) == "None"


# --- Which stores -----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("several")
@pytest.mark.parametrize(
    ("scheme", "about"),
    [
        (basic(), ["throttle of basic"]),
        (basic(throttle=None), []),
        (digest(), ["nonces of digest"]),
        (digest(nonces=MemoryNonces()), ["nonces of digest"]),
        (digest(nonces=SharedNonces()), []),
        (digest(secret=PER_PROCESS, nonces=SharedNonces()), ["secret of digest"]),
        (digest(throttle="default"), ["nonces of digest", "throttle of digest"]),
        (ApiKey(MemoryApiKeys([]), realm="orders", prefix="acme"), ["throttle of api-key"]),
        (ApiKey(MemoryApiKeys([]), realm="orders", prefix="acme", throttle=None), []),
        (Bearer(ApiKeys(MemoryApiKeys([]), prefix="acme"), realm="orders"), ["throttle of bearer"]),
        (Badge(), []),
    ],
    ids=[
        *("basic", "no throttle", "digest", "given memory", "shared", "own secret", "default throttle", "api key"),
        *("api key without throttle", "api keys", "a scheme of the app"),
    ],
)
def test_stores_of_one_process_are_found(scheme: Scheme, about: list[str]) -> None:
    """Of each scheme, by the argument that they were given as, or that was left out."""
    assert [finding.about for finding in about_workers(Guard(scheme))] == about


@pytest.mark.usefixtures("several")
def test_revocations_in_memory_are_found() -> None:
    """The finding says what happens, and what to write."""
    guard = Guard(Badge(), revocations=MemoryRevocations())

    assert [str(finding) for finding in about_workers(guard)] == [
        (
            "state.unshared revocations: several processes serve the app (WEB_CONCURRENCY=2), and MemoryRevocations "
            "counts in each of them for itself: what one of them revokes, the others still accept. Write revocations="
            "RedisRevocations(redis, source=...), SqlRevocations(...) or RevocationFile(...)."
        )
    ]


@pytest.mark.usefixtures("several")
def test_shared_revocations_are_not_found() -> None:
    """A store of the app's own says nothing of processes, and is taken for one that they share."""

    class SharedRevocations:
        async def find(self, keys: Any) -> dict[Any, float]:
            return {}

    assert about_workers(Guard(Badge(), revocations=SharedRevocations())) == ()


def test_one_process_is_no_finding() -> None:
    """Memory is right for it."""
    assert about_workers(Guard(basic(), digest())) == ()


@pytest.mark.usefixtures("several")
def test_two_schemes_that_share_a_store_are_one_finding() -> None:
    """The schemes of a guard share a throttle."""
    guard = Guard(digest(throttle="default", nonces=SharedNonces()), basic())

    assert [finding.about for finding in about_workers(guard)] == ["throttle of digest, basic"]


# --- At start-up ------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("several")
async def test_start_up_warns_once(caplog: pytest.LogCaptureFixture) -> None:
    """One WARNING has a line for each store, and a strict app starts all the same: it would have in one process."""
    middleware = AuthGuardMiddleware(Starlette(), guard=Guard(digest(), basic()), strict=True)

    for _ in range(2):
        assert await middleware._startup.problem({"type": "lifespan"}) is None

    found = [record for record in caplog.records if "state.unshared" in record.getMessage()]
    assert [(record.levelno, record.getMessage().count("state.unshared")) for record in found] == [(logging.WARNING, 2)]


@pytest.mark.usefixtures("several")
@pytest.mark.parametrize(
    "ignore", ["state.unshared", "state.unshared throttle of basic"], ids=["all of the code", "one"]
)
async def test_start_up_is_silent_about_what_is_accepted(ignore: str, caplog: pytest.LogCaptureFixture) -> None:
    """By the code or by the very store, as other findings."""
    middleware = AuthGuardMiddleware(Starlette(), guard=Guard(basic()), ignore=[ignore])

    await middleware._startup.problem({"type": "lifespan"})

    assert "state.unshared" not in caplog.text


def test_what_is_accepted_for_several_processes_need_not_be_found_in_one() -> None:
    """The audit in a test does not ask to remove the entry."""
    guard = Guard(basic())
    findings = audit(AuthGuardMiddleware(Starlette(), guard=guard), guard, ignore=["state.unshared"]).findings

    assert [finding.code for finding in findings] == []


@pytest.mark.usefixtures("several")
async def test_a_store_that_raises_keeps_no_app_from_starting(caplog: pytest.LogCaptureFixture) -> None:
    """An ERROR says so, without what the exception says."""

    class Failing(Badge):
        def state_stores(self) -> dict[str, object]:
            raise RuntimeError("password=hunter2")

    middleware = AuthGuardMiddleware(Starlette(), guard=Guard(Failing()), strict=True)

    assert await middleware._startup.problem({"type": "lifespan"}) is None
    assert "the look at the server" in caplog.text
    assert "hunter2" not in caplog.text
