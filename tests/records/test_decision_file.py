# ruff: noqa: ASYNC240 - a small file of a test blocks nobody
"""``DecisionFile``: what a line holds and does not hold, and what becomes of requests when it cannot be written."""

from __future__ import annotations

import json
import logging
import os
import resource
import signal
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from authguard import AuthGuardMiddleware, ConfigurationError, Guard, Rule, role
from authguard.records import CountKey, DecisionFile
from authguard.records.record import DecisionHook
from tests.docs.refusals import bearer, token
from tests.support.asgi import RecordingApp, header_list, http_scope, run_app
from tests.support.clock import NOW

KEY = "0123456789abcdef"


@pytest.fixture(name="path")
def _path(tmp_path: Path) -> Path:
    return tmp_path / "decisions.jsonl"


def guarded(*hooks: Any, **options: Any) -> AuthGuardMiddleware:
    """An app whose guard has these hooks."""
    rules = [Rule("/admin", role("admin"))]
    guard = Guard(bearer(), rules=rules, clock=lambda: NOW, log=False, hooks=hooks, **options)
    return AuthGuardMiddleware(RecordingApp(), guard=guard)


async def status_of(app: AuthGuardMiddleware, field: str | None, path: str = "/admin", **more: Any) -> int:
    """The status of one request."""
    return (await run_app(app, http_scope(path, headers=header_list(field), **more))).status


def lines(path: Path) -> list[dict[str, Any]]:
    """The lines of the file."""
    return [json.loads(line) for line in path.read_text(encoding="ascii").splitlines()]


async def test_a_line_has_what_judging_needs(path: Path) -> None:
    """The claims that a step-up reads, and the roles without those that a hierarchy adds."""
    app = guarded(DecisionFile(path), role_hierarchy={"root": {"admin"}})
    field = token(sub="alice", roles=["root"], scope="read write", acr="gold", auth_time=NOW - 5, secret="hush")

    assert await status_of(app, field) == 200

    assert lines(path) == [
        {
            "v": 1,
            "at": NOW,
            "method": "GET",
            "path": "/admin",
            "outcome": "granted",
            "stage": "rule",
            "rule": "/admin",
            "requirement": "role(admin)",
            "subject": "alice",
            "hashed": False,
            "scheme": "bearer",
            "roles": ["root"],
            "scopes": ["read", "write"],
            "expires_at": NOW + 600,
            "acr": "gold",
            "auth_time": NOW - 5,
        }
    ]


async def test_a_refusal_has_its_reason_and_who_it_was(path: Path) -> None:
    """A name that nothing proves is left out: it may be a password that was typed into the wrong field."""
    app = guarded(DecisionFile(path))

    statuses = [
        await status_of(app, field)
        for field in (token(roles=[]), None, token(exp=NOW - 3600), token(sub="mallory")[:-5] + "AAAAA")
    ]

    assert statuses == [403, 401, 401, 401]
    seen = [(line["reason"], line.get("subject"), line.get("roles")) for line in lines(path)]
    assert seen == [
        ("role.missing", "alice", []),
        ("credentials.missing", None, None),
        ("token.expired", "alice", None),
        ("token.signature_invalid", None, None),
    ]


async def test_no_credential_and_no_query_is_written(path: Path) -> None:
    """The token, its other claims and the query are not in the file, and a line feed in the path stays escaped."""
    field = token(secret="hush")

    await status_of(guarded(DecisionFile(path)), field, "/a\nb", query_string=b"token=hush")

    text = path.read_text(encoding="ascii")
    assert "hush" not in text
    assert field.split(".")[1] not in text
    assert text.count("\n") == 1


async def test_subjects_are_hashed_by_choice(path: Path) -> None:
    """With the key, one subject has one hash; with another key, another one."""
    other = path.with_name("other.jsonl")
    first, second = (DecisionFile(path, hash_subjects=KEY), DecisionFile(other, hash_subjects=b"x" * 16))
    app = guarded(first, second)

    await status_of(app, token(sub="alice"))
    await status_of(app, token(sub="alice"))

    hashes = [line["subject"] for line in lines(path)]
    assert hashes[0] == hashes[1] != lines(other)[0]["subject"]
    assert (len(hashes[0]), lines(path)[0]["hashed"], "alice" in path.read_text(encoding="ascii")) == (32, True, False)
    assert KEY not in repr(first)


async def test_the_file_is_for_its_owner_alone_and_may_be_moved(path: Path) -> None:
    """It is made by the first decision, and made again after somebody has moved it away."""
    file = DecisionFile(str(path))
    app = guarded(file)
    assert not path.exists()
    old = os.umask(0)
    try:
        await status_of(app, token())
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600

    path.rename(path.with_name("old"))
    await status_of(app, token())
    assert len(lines(path)) == 1


@pytest.mark.parametrize("broken", ["folder", "missing", "link"])
async def test_a_file_that_cannot_be_written_breaks_no_request(
    broken: str, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One ERROR names the file and the cause; a symbolic link is not followed."""
    match broken:
        case "folder":
            path.mkdir()
        case "missing":
            path = path / "below" / "it"
        case _:
            path.symlink_to(path.with_name("other"))
    app = guarded(DecisionFile(path))

    assert [await status_of(app, token()) for _ in range(3)] == [200, 200, 200]

    (told,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert str(path) in told.getMessage()
    assert not path.with_name("other").exists()


@contextmanager
def full_after(size: int) -> Iterator[None]:
    """No file of this process may become longer, as on a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)


async def test_a_full_disk_breaks_no_request(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is told once. When there is room again, the next line begins on a line of its own."""
    app = guarded(DecisionFile(path))
    await status_of(app, token())
    size = path.stat().st_size

    with full_after(size + 100):
        assert [await status_of(app, token()) for _ in range(3)] == [200, 200, 200]
    assert await status_of(app, token()) == 200

    assert len([record for record in caplog.records if record.levelno == logging.ERROR]) == 1
    whole, torn, after = path.read_text(encoding="ascii").splitlines()
    assert (len(torn), json.loads(whole)) == (100, json.loads(after))


async def test_the_file_does_not_grow_beyond_its_limit(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Strangers make lines too."""
    path.write_bytes(b"\n" * 65_500)
    app = guarded(DecisionFile(path, max_bytes=65_536))

    assert [await status_of(app, None) for _ in range(3)] == [401, 401, 401]

    assert path.stat().st_size == 65_500
    assert "move it away, or raise max_bytes" in caplog.text


async def test_a_hook_of_decisions_that_raises_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """Its failure is logged as that of any hook. It gets no record, and other hooks do."""
    records: list[Any] = []
    hook = DecisionHook()
    app = guarded(hook, records.append)

    assert await status_of(app, token()) == 200

    assert (len(records), "a hook failed: builtins.NotImplementedError" in caplog.text) == (1, True)
    hook(records[0])
    assert app.guard.counts() == {CountKey("granted", None, "bearer", "/admin"): 1}


async def test_lines_of_many_threads_do_not_mix(path: Path) -> None:
    """Each is written by one call."""
    app = guarded(DecisionFile(path))
    import anyio

    def send() -> None:
        for _ in range(20):
            anyio.run(status_of, app, token())

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(lines(path)) == 80


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"path": ""}, "path"),
        ({"path": 1}, "path"),
        ({"path": "x", "hash_subjects": "short"}, "hash_subjects"),
        ({"path": "x", "hash_subjects": 1}, "hash_subjects"),
        ({"path": "x", "max_bytes": 10}, "max_bytes"),
    ],
    ids=["empty", "number", "short", "no key", "small"],
)
def test_wrong_arguments_are_refused(arguments: dict[str, Any], named: str) -> None:
    """Each by its name."""
    with pytest.raises(ConfigurationError, match=named):
        DecisionFile(**arguments)
