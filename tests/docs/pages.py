"""The migration pages: their programs, the rows of their tables of requests, and what an app answers, in the table's
words."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import pytest
from flask import Flask
from starlette.testclient import TestClient, WebSocketDenialResponse
from starlette.websockets import WebSocketDisconnect

from tests.support.markdown import DOCS, code_blocks
from tests.support.tokens import mint

SECRET = "b5c1e07d9a6f42e3b18470d2c69fa53e"

Fields = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class RequestParts:
    """The fields and the content behind a row's description. A POST without content sends an empty list."""

    fields: Fields = ()
    content: bytes | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """A request, and what two apps answer."""

    method: str
    path: str
    what: str
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.method} {self.path}, {self.what}"


def rows(page: str) -> list[Row]:
    """The rows of the table under "The same requests"."""
    text = (DOCS / f"{page}.md").read_text(encoding="utf-8")
    found = re.findall(r"^\| `([A-Z]+) (/\S*)`,? (.+?) \| (.+?) \| (.+?) \|$", text, re.MULTILINE)
    return [Row(*cells) for cells in found]


def each_row(page: str) -> Callable[[Any], Any]:
    """Parametrize a test with the rows of the page."""
    return pytest.mark.parametrize("row", rows(page), ids=str)


def programs(page: str) -> list[str]:
    """The Python programs of the page, in order."""
    return code_blocks("python", DOCS / f"{page}.md")


def run_program(page: str, program: str, name: str = "program") -> ModuleType:
    """Run the program as its reader would, without the future imports of this file, and return its module."""
    module = ModuleType(name)
    exec(compile(program, f"docs/{page}.md", "exec", dont_inherit=True), vars(module))
    return module


def token(secret: Any = SECRET, algorithm: str = "HS256", **changes: Any) -> tuple[str, str]:
    """A field with a token that is valid by the real clock, without roles and scopes."""
    now = time.time()
    good = {"iat": now - 60, "exp": now + 600, "roles": [], "scope": "", **changes}
    return "Authorization", f"Bearer {mint(secret, algorithm, **good)}"


def answer(app: Any, row: Row, sent: RequestParts) -> str:
    """What the app answers: the status and every challenge, each in backticks."""
    return " ".join(f"`{part}`" for part in _response_parts(app, row, sent))


def _response_parts(app: Any, row: Row, sent: RequestParts) -> Iterator[str]:
    fields, content = list(sent.fields), sent.content
    if row.method == "POST" and content is None:
        fields, content = [*fields, ("Content-Type", "application/json")], b"[]"
    if isinstance(app, Flask):
        flasks = app.test_client().open(row.path, method=row.method, headers=fields, data=content)
        yield from (str(flasks.status_code), *flasks.headers.getlist("WWW-Authenticate"))
    elif row.method == "WEBSOCKET":
        yield from _handshake(TestClient(app), row.path, fields)
    else:
        ours = TestClient(app).request(row.method, row.path, headers=fields, content=content)
        yield from (str(ours.status_code), *ours.headers.get_list("www-authenticate"))


def _handshake(client: TestClient, path: str, fields: Fields) -> Iterator[str]:
    try:
        with client.websocket_connect(path, headers=dict(fields)):
            yield "accepted"
    except WebSocketDenialResponse as denial:
        yield from (str(denial.status_code), *denial.headers.get_list("www-authenticate"))
    except WebSocketDisconnect as closed:
        yield f"closed {closed.code}"
