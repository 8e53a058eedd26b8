"""The tutorial is true: its files are written into an empty folder, and its requests get the responses of the page."""

from __future__ import annotations

import importlib
import json
import logging
import logging.config
import re
import runpy
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from starlette.testclient import TestClient

import authguard
from tests.support.markdown import DOCS, code_blocks

pytestmark = pytest.mark.block("tutorial.md")

PAGE = DOCS / "tutorial.md"
OPEN, LOCKED, TESTS, LOGS, DISCOVER = code_blocks("python", PAGE)
(KEYGEN,) = (block for block in code_blocks("console", PAGE) if "authguard keygen" in block)
CONSOLE = "\n".join(code_blocks("console", PAGE))
RECORDS = code_blocks("text", PAGE)[0].splitlines()
LOGGING, RECORD = code_blocks("json", PAGE)


@pytest.fixture(name="folder")
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the reader, with the files up to step 3."""
    (tmp_path / "logs.py").write_text(LOGS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("orders", "logs"):
        # So that the import of this test reads the file of this test, and leaves nothing behind.
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
        del sys.modules[name]
    return tmp_path


def orders(folder: Path, program: str) -> ModuleType:
    """The module ``orders`` with this program in its file."""
    (folder / "orders.py").write_text(program)
    importlib.invalidate_caches()
    return importlib.import_module("orders")


Run = Callable[[str], str]


@pytest.fixture(name="run")
def _run(folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command of authguard in the folder, and returns what it prints on stdout and then on stderr."""

    def run(command: str) -> str:
        monkeypatch.setattr(sys, "argv", shlex.split(command))
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(authguard.__path__[0], run_name="__main__")
        assert ended.value.code == 0
        return "".join(capsys.readouterr())

    return run


@pytest.fixture(name="keys")
def _keys(run: Run) -> str:
    """Makes the key pair of step 3, and returns what the command printed."""
    return run(KEYGEN.splitlines()[0].removeprefix("$ "))


@pytest.fixture(name="tokens")
def _tokens(run: Run, keys: str) -> dict[str, str]:
    """The header with the token of each variable of step 3."""
    found = dict(re.findall(r'^\$ ([A-Z]+)="\$\((authguard token .+)\)"$', CONSOLE, re.MULTILINE))
    return {name: run(line).splitlines()[0].partition(": ")[2] for name, line in found.items()}


def _requests() -> list[tuple[str | None, str, str]]:
    """Whose token, which path, and the response: of each curl without ``-i`` of the page."""
    found = re.findall(r'^\$ curl (?:-H "\$(\w+)" )?http://127\.0\.0\.1:8000(\S+)\n(.+)$', CONSOLE, re.MULTILINE)
    return [(who or None, path, response) for who, path, response in found]


def test_the_first_app_tells_everything_to_everybody(folder: Path) -> None:
    """Step 2: a request without credentials gets the orders of all."""
    (who, path, response), *_ = _requests()

    answer = TestClient(orders(folder, OPEN).app).get(path)

    assert (who, answer.text) == (None, response)


def test_the_locked_app_answers_as_the_page_says(
    folder: Path, tokens: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    """Step 3: the four requests with tokens get these responses, and the two refusals are recorded so."""
    client = TestClient(orders(folder, LOCKED).app)
    _, *requests = _requests()

    answers = [client.get(path, headers={"Authorization": tokens[who or ""]}) for who, path, _ in requests]

    assert [answer.text for answer in answers] == [response for _, _, response in requests]
    assert [record.getMessage() for record in caplog.records if record.name == "authguard"] == RECORDS


@pytest.mark.usefixtures("keys")
def test_the_first_refusal_is_the_one_of_the_page(folder: Path) -> None:
    """Step 3: without a token, the status, the fields and the body are those that the page shows."""
    (shown,) = re.findall(
        r"^\$ curl -i http://127\.0\.0\.1:8000/orders/1\n(.*?\n\n.*?)\n", CONSOLE, re.DOTALL | re.MULTILINE
    )
    head, _, body = shown.partition("\n\n")
    first, *fields = head.splitlines()

    answer = TestClient(orders(folder, LOCKED).app).get("/orders/1")

    left_out = {"date", "server", "content-length"}
    assert first == f"HTTP/1.1 {answer.status_code} Unauthorized"
    assert fields == [f"{name}: {value}" for name, value in answer.headers.items() if name not in left_out]
    assert body == answer.text


@pytest.mark.usefixtures("keys")
def test_the_command_lists_the_routes_of_the_page(folder: Path, run: Run) -> None:
    """Step 4: ``authguard routes`` prints this table, and has no finding."""
    (shown,) = re.findall(r"^\$ authguard routes orders:app\n(.*?findings\n)", CONSOLE, re.DOTALL | re.MULTILINE)
    (folder / "orders.py").write_text(LOCKED)

    assert run("authguard routes orders:app") == shown


def test_the_command_makes_the_keys(keys: str) -> None:
    """Step 3: ``authguard keygen`` says what the page shows."""
    assert keys == KEYGEN.partition("\n")[2]


@pytest.mark.usefixtures("keys")
@pytest.mark.parametrize("step", ["own key pair", "login server"])
def test_the_tests_of_the_page_pass(folder: Path, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps 5 and 7: the three tests pass with the own key pair, and with a login server that nobody asks."""
    program = LOCKED
    if step == "login server":
        program = re.sub(r"^issuer = Issuer\(\n.*?^\)\n", DISCOVER, LOCKED, flags=re.DOTALL | re.MULTILINE)
        program = program.replace("from pathlib import Path", "import os").replace("import PEM, ", "import ")
        monkeypatch.setenv("ISSUER", "https://sso.example/realms/shop")
    orders(folder, program)
    names: dict[str, Any] = {}
    exec(compile(TESTS, "test_orders.py", "exec", dont_inherit=True), names)
    tests = [value for name, value in names.items() if name.startswith("test_")]

    for test in tests:
        test()

    assert f"{len(tests)} passed" in CONSOLE


@pytest.mark.usefixtures("keys")
def test_an_open_route_fails_the_last_test(folder: Path) -> None:
    """Step 5: a route that somebody opens makes the last test fail, with the file and the line of its rule."""
    opened = LOCKED.replace('Rule("/health", PUBLIC)', 'Rule("/prices", PUBLIC), Rule("/health", PUBLIC)')
    orders(folder, opened + '\n\n@app.get("/prices")\ndef prices() -> dict[str, int]:\n    return {}\n')
    names: dict[str, Any] = {}
    exec(compile(TESTS, "test_orders.py", "exec", dont_inherit=True), names)

    with pytest.raises(AssertionError, match=r"GET /prices[\s\S]*orders\.py:\d+"):
        names["test_nothing_else_is_open"]()


@pytest.fixture(name="unchanged_logging")
def _unchanged_logging(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The handlers and the level of the root logger, for the set-up of the page to replace."""
    root = logging.getLogger()
    before = root.level
    monkeypatch.setattr(root, "handlers", [])
    yield
    root.setLevel(before)  # loggers remember which levels are on, until this is called


@pytest.mark.usefixtures("unchanged_logging")
def test_the_log_is_one_json_object_a_line(
    folder: Path, tokens: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Step 6: the record of a refusal has the keys and values of the page; only the time differs."""
    headers = {"Authorization": tokens["ALICE"]}
    client = TestClient(orders(folder, LOCKED).app, client=("127.0.0.1", 50000))
    logging.config.dictConfig(json.loads(LOGGING))

    client.get("/orders/1")
    client.get("/admin/orders", headers=headers)

    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    first, second = [line for line in lines if line["logger"] == "authguard"]
    assert (first["level"], first["authguard.reason"]) == ("INFO", "credentials.missing")
    assert {**json.loads(RECORD), "time": ""} == {**second, "time": ""}
