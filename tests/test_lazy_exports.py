"""What ``import authguard`` imports, and what it leaves until an app uses it."""

from __future__ import annotations

import ast
import importlib
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import authguard
from authguard.lazy_exports import lazy_exports

PACKAGE = Path(authguard.__file__).parent
LAZY_PACKAGES = (
    "authguard",
    "authguard.accounts",
    "authguard.keys",
    "authguard.schemes",
    "authguard.state",
    "authguard.testing",
)

#: What an app with bearer tokens alone does not need.
UNNEEDED = (
    "authguard.accounts.",
    "authguard.audit.",
    "authguard.cli",
    "authguard.concurrency.thread_pool",
    "authguard.fastapi",
    "authguard.keys.remote",
    "authguard.openapi",
    "authguard.schemes.basic",
    "authguard.schemes.bearer.introspection",
    "authguard.schemes.digest",
    "authguard.schemes.throttle",
    "authguard.state.",
    "authguard.testing",
    "authguard.wire.basic",
    "authguard.wire.digest",
    "bcrypt._bcrypt",
    "httpx2",
    "importlib.metadata",
    "passlib",
)


def run(code: str) -> str:
    """The output of a fresh interpreter."""
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout


def test_the_package_alone_imports_no_library() -> None:
    """The command and the pytest plugin import it too, and they start at once."""
    loaded = run("import sys, authguard; print(*sys.modules)").split()

    assert {name for name in loaded if name.startswith("authguard")} == {"authguard", "authguard.lazy_exports"}
    assert {"anyio", "cryptography", "jwt", "starlette"}.isdisjoint(loaded)


def test_an_app_with_tokens_imports_nothing_that_others_need() -> None:
    """No store, no password, no Digest, no introspection, no audit; the rest is found when an app names it."""
    names = "AuthGuardMiddleware, Bearer, Guard, Issuer, PEM, PUBLIC, Principal, Rule, role"
    loaded = run(f"import sys; from authguard import {names}; print(*sys.modules)").split()

    assert "authguard.schemes.bearer.scheme" in loaded
    assert [name for name in loaded if name.startswith(UNNEEDED)] == ["bcrypt._bcrypt"] * ("bcrypt" in loaded)


@pytest.mark.parametrize("name", LAZY_PACKAGES)
def test_every_name_of_all_can_be_imported(name: str) -> None:
    """By its name, by ``import *``, and it is in ``dir()`` before anybody has used it."""
    exported = set(importlib.import_module(name).__all__)

    listed, starred, found = json.loads(
        run(
            f"import json, {name} as package\n"
            "listed = dir(package)\n"
            f"space = {{}}; exec('from {name} import *', space)\n"
            "print(json.dumps([listed, list(space), [name for name in package.__all__ if hasattr(package, name)]]))"
        )
    )

    assert exported <= set(listed)
    assert exported <= set(starred)
    assert exported == set(found)


@pytest.mark.parametrize("name", LAZY_PACKAGES)
def test_type_checkers_see_each_name_where_it_is(name: str) -> None:
    """What a package imports for type checkers is what it imports when it is asked."""
    tree = ast.parse((PACKAGE.parent / name.replace(".", "/") / "__init__.py").read_text("utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    (call,) = (node for node in ast.walk(ast.Module(block.orelse, [])) if isinstance(node, ast.Call))

    imported = {
        node.module: tuple(alias.name for alias in node.names)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
    }

    assert ast.unparse(block.test) == "TYPE_CHECKING"
    assert imported == ast.literal_eval(call.args[1])


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    """A misspelt name fails as in any module."""
    with pytest.raises(AttributeError, match="module 'authguard' has no attribute 'Beerer'"):
        _ = authguard.Beerer  # type: ignore[attr-defined]
    with pytest.raises(ImportError, match="cannot import name 'Beerer'"):
        exec("from authguard import Beerer", {})


def test_a_package_is_an_attribute_as_if_it_had_been_imported() -> None:
    """``import authguard`` is enough for ``authguard.accounts.MemoryUsers``."""
    assert run("import authguard; print(authguard.accounts.MemoryUsers.__name__)") == "MemoryUsers\n"


def test_a_name_is_looked_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second time the package has the attribute, and no function is called."""
    package = ModuleType("parcels")
    monkeypatch.setitem(sys.modules, "parcels", package)
    find, names = lazy_exports("parcels", {"authguard.errors": ("AuthGuardError",)})

    assert "AuthGuardError" in names()
    assert "AuthGuardError" not in vars(package)
    assert find("AuthGuardError") is vars(package)["AuthGuardError"] is authguard.AuthGuardError


def test_a_module_that_is_listed_is_found_by_its_name() -> None:
    """It is imported with that, if nobody has imported it before."""
    find, _ = lazy_exports("authguard", {"authguard.errors": ("AuthGuardError",)})

    assert find("errors") is sys.modules["authguard.errors"]


APP = """
import asyncio, sys
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

guard = Guard(SCHEME, rules=[Rule("/**", role("admin"))])
app = AuthGuardMiddleware(Starlette(routes=[Route("/", lambda request: PlainTextResponse(""))]), guard=guard)

async def status_of(*headers):
    scope = {"type": "http", "method": "GET", "path": "/", "headers": headers, "query_string": b"", "scheme": "http",
             "client": ("192.0.2.1", 1), "asgi": {"version": "3.0"}, "http_version": "1.1", "root_path": ""}
    messages = []
    async def receive(): return {"type": "http.request", "body": b"", "more_body": False}
    async def send(message): messages.append(message)
    await app(scope, receive, send)
    return messages[0]["status"]

async def main():
    return [await status_of(), *[await status_of((b"authorization", field)) for field in FIELDS]]

def modules():
    return {name for name in sys.modules if name.startswith("authguard")}

before = modules()
statuses = asyncio.run(main())
print(statuses, sorted(modules() - before))
"""

BEARER = """
import jwt
from authguard import AuthGuardMiddleware, Bearer, Guard, Issuer, Rule, Secret, role

KEY = "0123456789abcdefghijklmnopqrstuv"
SCHEME = Bearer(Issuer("i", audience="a", algorithms=["HS256"], keys=Secret(KEY)), realm="r")
CLAIMS = {"iss": "i", "aud": "a", "sub": "s", "exp": 9_999_999_999}
FIELDS = [b"Bearer " + jwt.encode({**CLAIMS, "roles": roles}, KEY).encode() for roles in (["admin"], [])]
FIELDS += [b"Bearer x", b"Basic x"]
"""

BASIC = """
from base64 import b64encode
from authguard import Account, AuthGuardMiddleware, Basic, Guard, MemoryUsers, Rule, role

ACCOUNT = Account("a", "{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", roles={"admin"})
SCHEME = Basic(MemoryUsers([ACCOUNT]), realm="r")
FIELDS = [b"Basic " + b64encode(pair) for pair in (b"a:password", b"a:wrong", b"b:wrong")]
"""

DIGEST = """
from authguard import PER_PROCESS, AuthGuardMiddleware, Digest, Guard, MemoryDigests, Rule, role

SCHEME = Digest(MemoryDigests.of_cleartext({"a": "b"}, realm="r"), realm="r", secret=PER_PROCESS)
SENT = b'username="a", realm="r", nonce="x", uri="/", qop=auth, nc=00000001, cnonce="c", response="%b"' % (b"0" * 32)
FIELDS = [b"Digest " + SENT, b"Digest x"]
"""


@pytest.mark.parametrize(
    ("scheme", "statuses"),
    [(BEARER, [401, 200, 403, 401, 401]), (BASIC, [401, 200, 401, 401]), (DIGEST, [401, 401, 401])],
    ids=["bearer", "basic", "digest"],
)
def test_no_request_imports_a_module(scheme: str, statuses: list[int]) -> None:
    """What a scheme needs is imported when it is made. No client waits for an import, or makes others wait."""
    assert run(scheme + APP) == f"{statuses} []\n"
