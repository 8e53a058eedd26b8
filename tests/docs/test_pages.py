"""The pages about the project itself are true: their code runs, and what they name exists."""

from __future__ import annotations

import hashlib
import importlib
import re
import sys
import tomllib
from textwrap import indent
from types import ModuleType
from typing import Any

import pytest

from authguard import AUTHENTICATED, Accepted, AuthRequest, Credentials, Granted, Guard, Moment, Rejected, Scheme
from authguard.policy.rules import Match
from authguard.schemes import Outcome
from tests.support.markdown import DOCS, README, code_blocks, page_name, pages

ROOT = README.parent
ARCHITECTURE, SCHEME, GLOSSARY = (DOCS / f"{name}.md" for name in ("architecture", "adding-a-scheme", "glossary"))
CONTRIBUTING, SECURITY = ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md"
PAGES = [*pages(), CONTRIBUTING, SECURITY]


def _first_cells(text: str) -> list[str]:
    """The first cell of each row of the tables, without the heads."""
    rows = re.findall(r"^\| (?!---)(.+?) \|", text, re.MULTILINE)
    heads = re.findall(r"^\| (.*?) \|.*\n\| ---", text, re.MULTILINE)
    return [cell for cell in rows if cell not in heads]


# --- The scheme of your own ------------------------------------------------------------------------------------------


@pytest.fixture(name="shop")
def _shop(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The app of the page, as the module that its tests import."""
    monkeypatch.setenv("SHOP_KEY_SHA256", hashlib.sha256(b"key-of-the-shop").hexdigest())
    module = ModuleType("shop")
    exec(compile(code_blocks("python", SCHEME)[0], "shop.py", "exec", dont_inherit=True), vars(module))
    monkeypatch.setitem(sys.modules, "shop", module)
    return module


@pytest.mark.block("adding-a-scheme.md")
def test_the_tests_of_the_custom_scheme_pass(shop: ModuleType) -> None:
    """The page has three tests for its app, and all pass."""
    names: dict[str, Any] = {}
    exec(compile(code_blocks("python", SCHEME)[1], "test_shop.py", "exec", dont_inherit=True), names)
    tests = [value for name, value in names.items() if name.startswith("test_")]

    for test in tests:
        test()

    assert len(tests) == 3


def test_the_method_that_is_not_async_answers_for_the_custom_scheme(shop: ModuleType) -> None:
    """With the two methods of the page, the same tests pass, and the guard calls the one that is not async."""
    names: dict[str, Any] = {**vars(shop), "Outcome": Outcome}
    exec("class Quick(ApiKey):\n" + indent(code_blocks("python", SCHEME)[2], "    "), names)
    quick = names["Quick"]({hashlib.sha256(b"key-of-the-shop").hexdigest(): "shop"}, realm="orders")
    request = AuthRequest({"type": "http", "method": "GET", "path": "/", "headers": []}, "/", Moment(0.0, 0.0))
    guard = Guard(quick)

    answers = [quick.authenticate_now(request, Credentials("apikey", key)) for key in (b"key-of-the-shop", b"guessed")]
    known = AuthRequest({**request.scope, "headers": [(b"x-api-key", b"key-of-the-shop")]}, "/", request.moment)

    assert [type(answer) for answer in answers] == [Accepted, Rejected]
    assert isinstance(guard.decide_now(known, Match(AUTHENTICATED)), Granted)


def test_openapi_describes_the_custom_scheme(shop: ModuleType) -> None:
    """The security scheme is the header ``X-API-Key``."""
    assert shop.app.openapi()["components"]["securitySchemes"] == {
        "apikey": {"type": "apiKey", "in": "header", "name": "X-API-Key"}
    }


def test_the_type_checkers_read_the_custom_scheme() -> None:
    """A file under ``tests/typing`` is the program of the page, below a docstring."""
    typed = (ROOT / "tests" / "typing" / "custom_scheme.py").read_text(encoding="utf-8")

    assert typed.partition("\n\n")[2] == code_blocks("python", SCHEME)[0]


def test_the_page_lists_every_optional_attribute_of_a_scheme() -> None:
    """The page lists exactly the attributes and methods of ``Scheme`` that a scheme may leave out."""
    required = {"name", "carrier", "authenticate", "challenges"}
    public = {name for name in (*vars(Scheme), *Scheme.__annotations__) if not name.startswith("_")}

    assert {cell.strip("`") for cell in _first_cells(SCHEME.read_text("utf-8"))} == public - required


# --- The architecture ------------------------------------------------------------------------------------------------


@pytest.mark.block("architecture.md", "ASGI scope")
def test_the_flow_names_what_exists() -> None:
    """Each word of the first drawing that looks like a class is in the glossary or in authguard."""
    drawing = code_blocks("text", ARCHITECTURE)[0]
    words = set(re.findall(r"\b(?:[A-Z][a-z]+){2,}\b", drawing)) | {
        "Accepted",
        "Rejected",
        "Granted",
        "Denied",
        "Reply",
    }
    code = " ".join(path.read_text("utf-8") for path in (ROOT / "authguard").rglob("*.py"))

    assert [word for word in words if word not in drawing or f"class {word}" not in code] == []


@pytest.mark.block("architecture.md", "its commands")
def test_the_layers_are_those_of_the_import_contract() -> None:
    """The drawing has each line of the contract, from top to bottom, without the planned packages in parentheses."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    (layers,) = (contract["layers"] for contract in contracts if contract["type"] == "layers")
    drawing = code_blocks("text", ARCHITECTURE)[1]

    drawn = [re.split(r" {2,}", line)[0] for line in drawing.splitlines()]

    assert drawn == [layer for layer in layers if not layer.startswith("(")]


def test_every_module_is_in_the_table_of_packages() -> None:
    """Each file and folder of ``authguard`` has a row, except for the two files that every package has."""
    _, _, after = ARCHITECTURE.read_text("utf-8").partition("## The packages")
    cells = " ".join(_first_cells(after.partition("\n## ")[0]))
    modules = {
        path.stem for path in (ROOT / "authguard").iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()
    }

    assert sorted(re.findall(r"(\w+)(?:/|\.py)`", cells)) == sorted(modules - {"__init__", "__main__"})


@pytest.mark.parametrize(("module", "name"), re.findall(r"`([\w.]+): ([\w.]+)`", ARCHITECTURE.read_text("utf-8")))
def test_every_function_on_the_way_of_a_request_exists(module: str, name: str) -> None:
    """The page names functions as ``module: Class.method``."""
    value: Any = importlib.import_module(f"authguard.{module}")
    for part in name.split("."):
        value = getattr(value, part)


# --- The glossary ----------------------------------------------------------------------------------------------------


def test_the_glossary_is_alphabetical() -> None:
    """Capitals and backticks do not count, and each word is there once."""
    words = [re.sub(r"[^a-z0-9 -]", "", cell.lower()) for cell in _first_cells(GLOSSARY.read_text("utf-8"))]

    assert words == sorted(set(words))


# --- Every page ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_every_path_and_make_target_exists(page: Any) -> None:
    """A page names a file by its path from the root, and a command by its target in the Makefile."""
    text = page.read_text("utf-8")
    paths = re.findall(r"`((?:authguard|docs|examples|scripts|tests)/[\w./-]*)`", text)
    targets = re.findall(
        r"\bmake ([a-z-]+)(?=[` \n])", "\n".join([*re.findall(r"`[^`\n]+`", text), *code_blocks("console", page)])
    )
    makefile = (ROOT / "Makefile").read_text("utf-8")

    assert [path for path in paths if not (ROOT / path).exists() and "NNNN" not in path] == []
    assert [target for target in targets if not re.search(rf"^{target}:", makefile, re.MULTILINE)] == []
