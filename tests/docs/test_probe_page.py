"""docs/probe.md: the command prints what the page shows, and the page lists each finding."""

from __future__ import annotations

import re
import sys
import threading
from pathlib import Path
from types import ModuleType

import pytest

from authguard.cli import echo
from tests.cli.programs import run
from tests.integration.nginx import NGINX, running_nginx
from tests.probe.servers import serving_asgi, wait_for
from tests.support.markdown import DOCS, code_block, code_blocks
from tests.support.servers.ports import free_port

PAGE = DOCS / "probe.md"
PACKAGE = DOCS.parent / "authguard" / "probe"


@pytest.mark.peer
@pytest.mark.block("probe.md", "$ uvicorn orders:app")
@pytest.mark.block("probe.md", "HTTPBearer")
def test_the_command_prints_what_the_page_shows(capsys: pytest.CaptureFixture[str]) -> None:
    """The app of the page is served, and probed."""
    module = ModuleType("orders")
    sys.modules["orders"] = module  # FastAPI looks the annotations up there
    try:
        exec(compile(code_blocks("python", PAGE)[0], "orders.py", "exec", dont_inherit=True), vars(module))
        with serving_asgi(module.app) as url:
            status = run("probe", f"{url}/orders")
    finally:
        del sys.modules["orders"]

    commands, _, shown = code_block("probe.md", "$ uvicorn orders:app").partition("/orders\n")
    assert commands.endswith("$ authguard probe http://127.0.0.1:8000")
    assert (status, capsys.readouterr().out.replace(url, "http://127.0.0.1:8000")) == (1, shown)


@pytest.mark.peer
@pytest.mark.skipif(NGINX is None, reason="nginx is not here")
@pytest.mark.block("probe.md", "location /api/")
@pytest.mark.block("probe.md", "$ authguard echo")
@pytest.mark.block("probe.md", "$ authguard probe http://api.example/api/")
def test_the_way_through_the_nginx_of_the_page(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The echo listens in a thread, behind an nginx with the lines of the page."""
    command, _, shown = code_block("probe.md", "$ authguard probe http://api.example/api/").partition("\n")
    mark = command.rpartition(" ")[2]
    port = free_port()
    monkeypatch.setattr(echo, "new_mark", lambda: mark)
    thread = threading.Thread(target=run, args=("echo", "--port", str(port)), daemon=True)
    thread.start()
    wait_for(port)
    out = err = ""
    while mark not in out:  # the port is open a moment before the mark is printed
        told = capsys.readouterr()
        out, err = out + told.out, err + told.err
    location = code_block("probe.md", "location /api/").replace(":8000", f":{port}")
    with running_nginx(location) as (url,):
        status = run("probe", f"{url}/api/", "--through", mark)
    thread.join()

    assert f"$ authguard echo --port 8000\n{err}{out}".replace(str(port), "8000") == code_block(
        "probe.md", "$ authguard echo"
    )
    assert (status, capsys.readouterr().out.replace(url, "http://api.example")) == (1, shown)


def test_the_page_has_each_code() -> None:
    """Each code that the package can find is in a table, and each code in a table can be found."""
    source = "".join(path.read_text("utf-8") for path in sorted(Path(PACKAGE).glob("*.py")))
    codes = set(re.findall(r'^ +"([a-z]+\.[a-z0-9_]+)",$', source, re.MULTILINE))
    codes |= {"basic.charset", "digest.charset", "digest.realm", "digest.nonce"}  # built from a name
    page = set(re.findall(r"`([a-z]+\.[a-z0-9_]+)`", PAGE.read_text("utf-8"))) - {"orders.py"}

    assert page == codes
