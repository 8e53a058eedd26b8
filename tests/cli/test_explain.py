"""``authguard explain``: a request of a file, of a curl line or of a record, and never a credential in an argument."""

from __future__ import annotations

import json
import sys
from base64 import b64encode
from collections.abc import Callable
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import Any

import pytest

from authguard import ConfigurationError
from authguard.cli.request_text import MAX_TEXT, RequestText, read_curl, read_fields
from tests.cli.programs import run, start
from tests.support.tokens import mint, public_pem, rsa_key

APP = """
from pathlib import Path

from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from authguard import PEM, PUBLIC, AuthGuardMiddleware, Bearer, Guard, Issuer, Principal, Rule, role

key = PEM((Path(__file__).parent / "public.pem").read_text())
issuer = Issuer("https://login.example/", audience="orders", algorithms=["RS256"], keys=key)


async def check(request, principal: Principal) -> Principal:
    return principal


def guard(**options):
    rules = [Rule("/admin/**", role("admin")), Rule("/health", PUBLIC)]
    return Guard(Bearer(issuer, realm="orders"), rules=rules, clock=lambda: 1_800_000_000.0, **options)


async def page(request):
    return PlainTextResponse("page")


def make(**options):
    app = Starlette(routes=[Route("/{path:path}", page)])
    app.add_middleware(AuthGuardMiddleware, guard=guard(**options))
    return app


app = make()
checked = make(checks=[check])
outer = Starlette(routes=[Mount("/in", AuthGuardMiddleware(Starlette(routes=[Route("/", page)]), guard=guard()))])
"""
LINE = (
    "2026-11-29 WARNING denied token.expired: GET /orders 401 bearer alice expired_by=64s leeway=60s token=1323fce6\n"
)


@pytest.fixture(name="folder")
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the app, its key and requests of alice, who is an admin, and of bob, who is not."""
    (tmp_path / "shop.py").write_text(APP)
    (tmp_path / "public.pem").write_bytes(public_pem(rsa_key()))
    for name, roles in (("alice", ["admin"]), ("bob", [])):
        (tmp_path / f"{name}.txt").write_text(f"Authorization: Bearer {mint(sub=name, roles=roles)}\n")
    return tmp_path


def explained(folder: Path, *arguments: str, stdin: str = "") -> tuple[int, str, str]:
    """The exit status of the command in this process, its output and its errors."""
    out, err, given = (TextIOWrapper(BytesIO(text), "utf-8") for text in (b"", b"", stdin.encode()))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "path", list(sys.path))
        patch.delitem(sys.modules, "shop", raising=False)
        for name, stream in (("stdin", given), ("stdout", out), ("stderr", err)):
            patch.setattr(sys, name, stream)
        status = run("explain", *arguments)
        sys.modules.pop("shop", None)
    printed, problem = (_text(stream) for stream in (out, err))
    assert "eyJ" not in printed + problem
    return status, printed, problem


def _text(stream: TextIOWrapper) -> str:
    stream.flush()
    buffer = stream.buffer
    assert isinstance(buffer, BytesIO)
    return buffer.getvalue().decode()


def test_the_program_reads_a_pipe(folder: Path) -> None:
    """The program itself, started with a record on its standard input."""
    done = start("explain", cwd=folder, stdin=LINE)
    assert (done.returncode, done.stdout.splitlines()[0]) == (1, "GET /orders: 401 token.expired")


def test_a_request_of_a_file_is_explained(folder: Path) -> None:
    """The exit status is 0 for a request that passes, and 1 for one that is refused, with rule, line and fix."""
    status, out, _ = explained(folder, "shop:app", "GET", "/admin/users", "-H", "@alice.txt")
    assert (status, out.splitlines()[0]) == (0, "GET /admin/users: granted")

    status, out, _ = explained(folder, "shop:app", "GET", "/admin/users", "-H", "@bob.txt")
    assert (status, out.splitlines()[0]) == (1, "GET /admin/users: 403 role.missing")
    line = next(number for number, text in enumerate(APP.splitlines(), 1) if "/admin/**" in text)
    assert f"shop.py:{line}" in out
    assert "What to do: Give the role to the account." in out


def test_the_time_may_be_given(folder: Path) -> None:
    """``--at`` decides by another time than the guard's clock."""
    status, out, _ = explained(
        folder, "shop:app", "GET", "/orders", "-H", "@alice.txt", "--at", "2027-01-15T09:00:00+00:00"
    )
    assert (status, out.splitlines()[0]) == (1, "GET /orders: 401 token.expired")
    assert "exp -- 1 min -- leeway ends -- 49 min -- NOW" in out


def test_a_curl_line_is_read_from_standard_input(folder: Path) -> None:
    """A line as a browser copies it is the request."""
    token = (folder / "bob.txt").read_text().strip()
    line = f"curl 'https://shop.example/admin/users?page=2' \\\n  -H '{token}' \\\n  --compressed"
    status, out, _ = explained(folder, "shop:app", stdin=line)
    assert (status, out.splitlines()[0]) == (1, "GET /admin/users: 403 role.missing")


@pytest.mark.parametrize("as_json", [False, True], ids=["line", "json"])
def test_a_record_is_explained_without_an_app(folder: Path, as_json: bool) -> None:
    """A line of the log and its JSON are explained alone, and ``--json`` prints JSON."""
    facts = {"authguard.expired_by": 64.0, "authguard.leeway": 60.0, "authguard.token": "1323fce6"}
    fields = {"event": "denied", "reason": "token.expired", "status": 401, "method": "GET", "path": "/orders"}
    document = json.dumps({**{f"authguard.{name}": value for name, value in fields.items()}, **facts})
    status, out, _ = explained(folder, "--json", stdin=document if as_json else LINE)
    told = json.loads(out)
    assert (status, told["reason"], told["cause"]) == (1, "token.expired", "The token has ended.")
    assert told["steps"][-1]["line"] == "exp -- 1 min -- leeway ends -- 4 s -- NOW"


def test_what_was_not_asked_is_told(folder: Path) -> None:
    """A check of the app runs with ``--run-checks`` alone."""
    request = ("shop:checked", "GET", "/orders", "-H", "@alice.txt")
    status, out, _ = explained(folder, *request)
    assert (status, out.splitlines()[0]) == (1, "GET /orders: undecided")
    assert "the check check (shop.py:14) was not asked" in " ".join(out.split()) or "check" in out
    assert explained(folder, *request, "--run-checks")[0] == 0


def test_a_guard_of_a_part_of_the_app_is_explained_alone(folder: Path) -> None:
    """Where the guard is further in, its rules are explained, and a note says so."""
    status, out, _ = explained(folder, "shop:outer", "GET", "/admin/users", "-H", "@alice.txt", "--offline", "--http")
    assert (status, "in front of a part of the app" in out) == (0, True)


def test_a_handshake_is_the_method_websocket(folder: Path) -> None:
    """``WEBSOCKET`` explains a handshake."""
    status, out, _ = explained(folder, "shop:app", "WEBSOCKET", "/live", "-H", "Origin: https://shop.example")
    assert (status, out.splitlines()[0]) == (1, "WEBSOCKET /live: 401 credentials.missing")


@pytest.mark.parametrize(
    ("arguments", "stdin", "error"),
    [
        (("shop:app", "GET", "/x", "-H", "Authorization: Bearer abc"), "", "-H: Authorization may hold a credential"),
        (("shop:app", "GET", "/x", "-H", "X-Api-Key: abc"), "", "-H: X-Api-Key may hold a credential"),
        (("shop:app", "GET", "/x", "-H", "abc"), "", "-H: write @FILE"),
        (("shop:app", "GET", "/x", "-H", "@missing.txt"), "", "-H: missing.txt: No such file"),
        (("shop:app", "GET", "/x", "--body", "abc"), "", "--body: write @FILE"),
        (("shop:app", "GET", "/x?access_token=abc"), "", "PATH: its query has access_token"),
        (("shop:app", "GET", "x"), "", "PATH: it is the path alone"),
        (("shop:app", "GET"), "", "PATH: name it after the method"),
        ((), "curl https://shop.example/", "APP: name the app"),
        ((), "curl 'https://shop.example/", "standard input: it is no whole curl line"),
        ((), "abc", "standard input: it is neither a curl line nor a record"),
        (("shop:app", "GET", "/x", "--at", "now"), "", "--at: it is not a time"),
    ],
    ids=[
        *("a token", "a key", "no field", "no file", "a body", "a query", "no path", "a path missing", "no app"),
        *("half a line", "no record", "no time"),
    ],
)
def test_what_cannot_be_explained_is_one_line(folder: Path, arguments: tuple[str, ...], stdin: str, error: str) -> None:
    """The exit status is 2, and the error names the argument and the other way; it never quotes a credential."""
    status, out, problem = explained(folder, *arguments, stdin=stdin)
    assert (status, out, problem.count("\n")) == (2, "", 1)
    assert problem.startswith(error)
    assert "Bearer abc" not in problem
    assert "=abc" not in problem


def test_a_terminal_is_asked_for_the_missing_part(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """At a terminal, nobody waits for input that nobody knows of."""

    class Terminal:
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr("sys.stdin", Terminal())
    assert run("explain") == 2
    assert "name METHOD and PATH" in capsys.readouterr().err
    monkeypatch.setattr("sys.stdin", None)
    assert run("explain", "shop:app") == 2


def test_a_file_that_is_too_long_is_refused(folder: Path) -> None:
    """A file of more than a megabyte is no request."""
    (folder / "long.txt").write_bytes(b"x" * (MAX_TEXT + 1))
    status, _, problem = explained(folder, "shop:app", "GET", "/orders", "-H", "@long.txt")
    assert (status, problem) == (2, "-H: long.txt is too long for a request\n")


def test_the_fields_may_come_from_standard_input(folder: Path) -> None:
    """``-H @-`` reads the fields from a pipe."""
    status, _, _ = explained(folder, "shop:app", "GET", "/orders", "-H", "@-", stdin=(folder / "alice.txt").read_text())
    assert status == 0


# --- texts ------------------------------------------------------------------------------------------------------------


def test_a_file_has_a_request_line_fields_and_a_body() -> None:
    """A whole request as it was captured is read, with its body; a blank line ends the fields."""
    request = RequestText()
    read_fields(request, "POST /orders?a=1 HTTP/1.1\r\nHost: shop.example\r\nX-A: b \r\n\r\n{}\n")
    assert (request.method, request.target, request.body) == ("POST", "/orders?a=1", b"{}\n")
    assert request.fields == [(b"host", b"shop.example"), (b"x-a", b"b")]
    scope = request.scope("192.0.2.1")
    assert (scope["path"], scope["query_string"], scope["client"]) == ("/orders", b"a=1", ("192.0.2.1", 0))
    assert "b'b'" not in repr(request)


@pytest.mark.parametrize(
    ("text", "problem"),
    [("x" * (MAX_TEXT + 1), "too long"), ("Host: a\nno field\n", "line 2 of the file")],
    ids=["long", "no field"],
)
def test_a_file_that_is_no_request_is_refused(text: str, problem: str) -> None:
    """The error names the line, and quotes nothing of it."""
    with pytest.raises(ConfigurationError, match=problem):
        read_fields(RequestText(), text)


def basic(text: str) -> bytes:
    """The field of a name and a password."""
    return b"Basic " + b64encode(text.encode())


def of(name: bytes) -> Callable[[RequestText], object]:
    """The value of a field of the request."""
    return lambda request: dict(request.fields)[name]


CURL: dict[str, tuple[str, Callable[[RequestText], object], object]] = {
    "method": ("-X DELETE https://a.example/x", lambda request: request.method, "DELETE"),
    "a method in one word": ("-XPUT https://a.example/x", lambda request: request.method, "PUT"),
    "an option with =": ("--request=PUT https://a.example/x", lambda request: request.method, "PUT"),
    "head": ("-I https://a.example/x", lambda request: request.method, "HEAD"),
    "data": ("-d a=1 -d b=2 https://a.example/x", lambda request: (request.method, request.body), ("POST", b"a=1&b=2")),
    "json": ("--json '{}' https://a.example/x", of(b"content-type"), b"application/json"),
    "user": ("-u alice:secret https://a.example/x", of(b"authorization"), basic("alice:secret")),
    "user in the URL": ("https://alice:s%20t@a.example/x", of(b"authorization"), basic("alice:s t")),
    "token": ("--oauth2-bearer abc https://a.example/x", of(b"authorization"), b"Bearer abc"),
    "cookie": ("-b sid=1 https://a.example/x", of(b"cookie"), b"sid=1"),
    "agent": ("-A me https://a.example/x", of(b"user-agent"), b"me"),
    "referer": ("-e https://b.example https://a.example/x", of(b"referer"), b"https://b.example"),
    "host": ("-k --url https://a.example:8443/x?y=1", of(b"host"), b"a.example:8443"),
    "target": ("-o out https://a.example/x?y=1", lambda request: request.target, "/x?y=1"),
    "no path": ("http://a.example", lambda request: (request.target, request.secure), ("/", False)),
    "no scheme": ("a.example/x", lambda request: (request.target, request.secure), ("/x", False)),
    "host given": ("-H 'Host: b.example' https://a.example/x", of(b"host"), b"b.example"),
    "options of one letter": ("-sSLu alice:secret https://a.example/x", of(b"authorization"), basic("alice:secret")),
    "no data": ("-d '' https://a.example/x", lambda request: (request.method, request.body), ("POST", b"")),
    "data and head": ("-d a=1 -I https://a.example/x", lambda request: request.method, "HEAD"),
    "a field that curl leaves out": ("-H 'Accept:' https://a.example/x", lambda request: len(request.fields), 1),
    "a user in another encoding": (
        "-u '\udcff:\udcfe' https://a.example/x",
        of(b"authorization"),
        b"Basic " + b64encode(b"\xff:\xfe"),
    ),
    "a user in another encoding in the URL": (
        "https://\udcff:p@a.example/x",
        of(b"authorization"),
        b"Basic " + b64encode(b"\xff:p"),
    ),
    "quotes of bash": ("-H $'X-A: b' https://a.example/x", of(b"x-a"), b"b"),
}


@pytest.mark.parametrize("name", CURL)
def test_a_curl_line_is_a_request(name: str) -> None:
    """The options of curl that change a request are read, and the others left out."""
    line, read, expected = CURL[name]
    assert read(read_curl(f"curl {line}")) == expected


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("curl -X", "ends after -X"),
        ("curl -s", "no URL"),
        ("curl -H nothing https://a.example/", "is not 'Name: value'"),
        ("curl -d @file https://a.example/", "is not read"),
        ("curl " + "x" * MAX_TEXT, "too long"),
        ("curl 'https://[::1/x'", "the URL of the curl line cannot be read$"),
        ("curl https://a.example/ --next -u b:c https://a.example/", "--next of the curl line is not read"),
        ("curl https://a.example/ https://b.example/", "two URLs"),
        ("curl -F a=@b https://a.example/", "-F of the curl line is not read"),
        ("curl -sK file https://a.example/", "-K of the curl line is not read"),
    ],
    ids=["half", "no URL", "no field", "a file", "long", "no address", "next", "two URLs", "a form", "a configuration"],
)
def test_a_curl_line_that_cannot_be_read_is_refused(line: str, problem: str) -> None:
    """The error says what is missing."""
    with pytest.raises(ConfigurationError, match=problem):
        read_curl(line)


def test_a_request_without_host_gets_one() -> None:
    """Every server has a Host field, which a file may leave out."""
    assert RequestText("GET", "/x", secure=False).scope("::1", websocket=True)["headers"] == [(b"host", b"localhost")]
