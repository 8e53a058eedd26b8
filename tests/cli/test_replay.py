"""``authguard replay``: the report, the exit status, and a long file."""

from __future__ import annotations

import io
import json
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, BinaryIO, cast

import pytest

from authguard.cli.replay import printable_lines
from authguard.explain import replay as module
from authguard.explain.replay import Judgement, Replay, lines_of, read_line, replay
from tests.cli.programs import run, start
from tests.explain.test_replay import LINE, starlette

APP = """
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Route
from authguard import AuthGuardMiddleware, Bearer, Guard, Issuer, PEM, Rule, role, predicate
from tests.support.schemes.badge import Badge

guard = Guard(Badge("bearer"), rules=[Rule("/orders", {requirement})])
app = Starlette(routes=[Route("/orders", print)], middleware=[Middleware(AuthGuardMiddleware, guard=guard)])
"""


@pytest.fixture(name="folder")
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with two apps and a file of decisions."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    for name, requirement in {
        "replay_same": 'role("a")',
        "replay_other": 'role("b")',
        "replay_untold": 'predicate("of", lambda p, _: p.claims["x"])',
    }.items():
        (tmp_path / f"{name}.py").write_text(APP.format(requirement=requirement))
    granted = {**LINE, "roles": ["a"]}
    refused = {**LINE, "roles": ["b"], "outcome": "denied", "reason": "role.missing", "subject": "b\x1b[31m"}
    decisions = [*({**granted, "subject": f"user{number}"} for number in range(7)), refused]
    (tmp_path / "decisions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in decisions))
    yield tmp_path
    for name in ("replay_same", "replay_other", "replay_untold"):
        sys.modules.pop(name, None)


def test_no_change_is_0(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line says so."""
    assert run("replay", "replay_same:app", "decisions.jsonl") == 0
    assert capsys.readouterr().out == "8 requests: 0 refused now, 0 let in now, 0 untold\n"


def test_a_change_is_1(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each group has its rule, its line in the app, the reason, a request, and subjects, which are escaped."""
    assert run("replay", "replay_other:app", "decisions.jsonl") == 1
    out = capsys.readouterr().out
    assert out.startswith("8 requests: 7 refused now, 1 let in now, 0 untold\n\nrefused now: 7 under /orders role(b) (")
    assert "replay_other.py:8)\n  role.missing, such as GET /orders\n        1 user0\n" in out
    assert "and 2 more; --json names them" in out
    assert "let in now: 1 under /orders role(b)" in out
    assert "  was role.missing, such as GET /orders\n        1 b\\x1b[31m\n" in out


def test_json_has_all_subjects(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And the same status."""
    assert run("replay", "replay_other:app", "decisions.jsonl", "--json") == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["requests"], told["refused"], told["let_in"], told["untold"], told["not_judged"]) == (8, 7, 1, {}, [])
    assert (told["changes"][0]["count"], len(told["changes"][0]["subjects"])) == (7, 7)


def test_what_is_untold_is_listed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is no change."""
    assert run("replay", "replay_untold:app", "decisions.jsonl") == 0
    assert capsys.readouterr().out.endswith(
        "untold, because the file does not hold what decides:\n        8 check(of) reads the claim 'x'\n"
    )


def test_notes_and_nobody_are_listed() -> None:
    """What is never judged, and a change for requests without credentials, on a default that has no line."""
    found = Replay(notes=["the check x of the guard"])
    line = read_line(
        json.dumps({**LINE, "subject": None, "outcome": "granted"} | {"roles": ["a"], "subject": "x"}).encode()
    )
    judgement = Judgement(False, "(default)", "AUTHENTICATED", "", "credentials.missing")
    anonymous = {name: text for name, text in LINE.items() if name not in {"subject", "roles", "scopes"}}
    found.add(read_line(json.dumps(anonymous).encode()), judgement, judgement)
    found.add(line, judgement, judgement)
    text = printable_lines(found)
    assert "refused now: 2 under (default) AUTHENTICATED\n" in text
    assert "1 (nobody)" in text
    assert text.endswith("        - the check x of the guard")


def test_a_pipe_is_read(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """``-`` is standard input; one that is closed is named."""
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO((folder / "decisions.jsonl").read_bytes())))
    assert run("replay", "replay_other:app", "-") == 1
    monkeypatch.setattr(sys, "stdin", None)
    assert run("replay", "replay_other:app", "-") == 2
    assert capsys.readouterr().err == "standard input: it is closed; name a file\n"


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("replay_same:app", "absent.jsonl"), "FILE: absent.jsonl: No such file or directory"),
        (("replay_same:app", "bad.jsonl"), "bad.jsonl:2: it is not JSON; a line that is cut off can be removed"),
        (("nowhere:app", "decisions.jsonl"), "app: there is no module 'nowhere'"),
    ],
    ids=["file", "line", "app"],
)
def test_bad_input_is_2(
    arguments: tuple[str, str], problem: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line says what and where, and nothing is printed."""
    (folder / "bad.jsonl").write_text(json.dumps(LINE) + '\n{"v":1,"at"')
    assert run("replay", *arguments) == 2
    printed = capsys.readouterr()
    assert (printed.out, printed.err[: len(problem)]) == ("", problem)


def test_the_program_imports_an_app_that_writes_decisions_and_writes_none(tmp_path: Path) -> None:
    """The app's own hook is not called, so that the file does not grow while it is read."""
    (tmp_path / "shop.py").write_text(
        APP.format(requirement='role("a")').replace("rules=", 'hooks=[DecisionFile("written.jsonl")], rules=') + ""
    )
    text = (tmp_path / "shop.py").read_text()
    (tmp_path / "shop.py").write_text("from authguard.records import DecisionFile\n" + text)
    (tmp_path / "decisions.jsonl").write_text(json.dumps({**LINE, "roles": ["a"]}) + "\n")
    done = start("replay", "shop:app", "decisions.jsonl", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert not (tmp_path / "written.jsonl").exists()


class _LongFile(io.RawIOBase):
    """A file of so many lines, each with a subject and a path of its own, which is never in memory as a whole."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self._left = number

    def readline(self, size: int | None = -1) -> bytes:
        self._left -= 1
        if self._left < 0:
            return b""
        line: dict[str, Any] = {**LINE, "subject": f"user{self._left}", "path": f"/orders/{self._left}"}
        return json.dumps(line).encode() + b"\n"


def test_a_long_file_needs_no_more_memory_than_a_short_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines are judged one after another. Ten times as many need the same, once the caches are warm."""
    monkeypatch.setattr(module, "MAX_ROUTES", 128)
    app, guard = starlette()
    peaks = []
    for number in (500, 500, 3_000):
        tracemalloc.start()
        replay(app, guard, lines_of("long", cast("BinaryIO", _LongFile(number))))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[2] < 1.2 * peaks[1]
