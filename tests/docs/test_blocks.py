"""Every code block of the documentation is run or compared.

A Python block is run here, unless a test claims it with ``@pytest.mark.block``. If its first line is ``# shop.py``, the
blocks below it on the page can import it as ``shop``. Its functions ``test_...`` are called.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from authguard import digest_ha1
from authguard.accounts import RevocationFileAdmin
from tests.support.markdown import README, Block, blocks, claims, page_name, pages
from tests.support.tokens import public_pem, rsa_key

CLAIMS = claims()
#: The formats that one can read without the program that they are for.
READERS = {"json": json.loads, "toml": tomllib.loads}


def _unclaimed(page: Path) -> list[Block]:
    return [block for block in blocks(page) if not any(claim.covers(block) for claim in CLAIMS)]


@pytest.fixture(name="folder")
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder, the environment and the logging that a program finds. Modules and logging are put back."""
    (tmp_path / "users.htpasswd").write_text("alice:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=\n")
    (tmp_path / "users.htdigest").write_text(f"alice:cameras:{digest_ha1('alice', 'cameras', 'wonderland')}\n")
    (tmp_path / "users.groups").write_text("admin: alice\noperator: alice\n")
    (tmp_path / "public.pem").write_bytes(public_pem(rsa_key()))
    RevocationFileAdmin(tmp_path / "revoked.json").make()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ISSUER_PUBLIC_KEY", public_pem(rsa_key()).decode())
    monkeypatch.setenv("INTROSPECTION_SECRET", "s3cret")
    monkeypatch.setenv("CACHE_SECRET", "a secret of thirty-two octets or so")
    monkeypatch.setenv("DPOP_SECRET", "a secret of thirty-two octets or so")
    monkeypatch.setenv("DIGEST_SECRET", "a secret of thirty-two octets or so")
    loggers = [logging.getLogger(), *(logging.getLogger(name) for name in ("authguard", "uvicorn", "httpx2"))]
    before = [
        (logger, logger.level, list(logger.handlers), list(logger.filters), logger.propagate) for logger in loggers
    ]
    modules = set(sys.modules)
    yield tmp_path
    for logger, level, handlers, filters, propagate in before:
        logger.setLevel(level)
        logger.handlers[:], logger.filters[:], logger.propagate = handlers, filters, propagate
    for name in set(sys.modules) - modules:
        if not getattr(sys.modules[name], "__file__", None):
            del sys.modules[name]


def run(block: Block) -> ModuleType:
    """Run the program as its reader would, then its tests. Its lines in a traceback are those of the page."""
    named = re.match(r"# (\w+)\.py\b", block.text)
    module = ModuleType(named[1] if named else "program")
    sys.modules[module.__name__] = module
    exec(compile("\n" * (block.line - 1) + block.text, block.page, "exec", dont_inherit=True), vars(module))
    for name, value in list(vars(module).items()):
        if name.startswith("test_"):
            value()
    return module


@pytest.mark.parametrize("page", [page for page in pages() if _unclaimed(page)], ids=page_name)
def test_the_blocks_run(page: Path, folder: Path) -> None:
    """The Python blocks of the page run, in order, and its JSON and TOML can be read."""
    for block in _unclaimed(page):
        if block.language == "python":
            run(block)
        elif block.language in READERS:
            READERS[block.language](block.text)


@pytest.mark.parametrize("page", pages(), ids=page_name)
def test_each_other_block_is_compared(page: Path) -> None:
    """What is neither Python, JSON nor TOML, nor commands without their output, is claimed by a test."""
    left = [
        block
        for block in _unclaimed(page)
        if block.language not in {"python", *READERS}
        and not (block.language == "console" and all(_is_command(line) for line in block.text.splitlines()))
    ]

    assert [str(block) for block in left] == []


def _is_command(line: str) -> bool:
    return line.startswith(("$ ", "  ", "#")) or not line


def test_each_claim_is_of_a_block_that_exists() -> None:
    """A marker names a page with blocks, and a text that is in one of them only."""
    known = {page_name(page): blocks(page) for page in pages()}
    found = {claim: [block for block in known.get(claim.page, []) if claim.covers(block)] for claim in CLAIMS}

    assert [claim for claim, covered in found.items() if not covered or (claim.part and len(covered) > 1)] == []


def test_each_page_is_read() -> None:
    """The pages of every folder under docs/ are among those that are read."""
    names = {page_name(page) for page in pages()}

    assert {README.name, "index.md", "schemes/bearer.md", "guide/logs.md"} <= names
