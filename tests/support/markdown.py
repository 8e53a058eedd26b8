"""The fenced code blocks of the README and of the pages under docs/, and the tests that claim them.

``@pytest.mark.block("guide/logs.md", "structlog")`` says that a test runs or compares the one block of that page which
contains this text. Without the text, the test takes care of every block of the page.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

README = Path(__file__).parents[2] / "README.md"
DOCS = README.parent / "docs"
TESTS = README.parent / "tests"

FENCED = re.compile(r"^(?P<indent> *)```(?P<language>.*)\n(?P<text>(?:.*\n)*?)(?P=indent)```$", re.MULTILINE)


def code_blocks(language: str, page: Path = README) -> list[str]:
    """The fenced code blocks of one language, in order."""
    return [block.text for block in blocks(page) if block.language == language]


def code_block(page: str, part: str) -> str:
    """The one block of the page under docs/ that contains this text."""
    (found,) = (block.text for block in blocks(DOCS / page) if part in block.text)
    return found


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced code block. ``page`` is the path below docs/, ``line`` that of its first line of code."""

    page: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}: {self.language or 'a block without a language'}"


def page_name(page: Path) -> str:
    """The path below docs/, or the name of a page at the root."""
    return (page.relative_to(DOCS) if page.is_relative_to(DOCS) else page.relative_to(README.parent)).as_posix()


def pages() -> list[Path]:
    """The README and every page under docs/."""
    return [README, *sorted(DOCS.rglob("*.md"))]


def blocks(page: Path) -> list[Block]:
    """The blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    name = page_name(page)
    return [
        Block(name, text.count("\n", 0, found.start("text")) + 1, found["language"].strip(), found["text"])
        for found in FENCED.finditer(text)
    ]


@dataclass(frozen=True, slots=True)
class Claim:
    """A test takes care of the block of ``page`` that contains ``part``, or of all its blocks if ``part`` is empty."""

    file: str
    page: str
    part: str

    def covers(self, block: Block) -> bool:
        return self.page == block.page and self.part in block.text


def claims(folder: Path = TESTS) -> list[Claim]:
    """What the markers in the test files claim. The files are parsed; nothing is imported."""
    found: list[Claim] = []
    for file in sorted(folder.rglob("test_*.py")):
        source = file.read_text("utf-8")
        if "mark.block(" in source:
            name = file.relative_to(folder.parent).as_posix()
            found += [Claim(name, page, part) for page, part in _claimed(ast.parse(source))]
    return found


def _claimed(tree: ast.AST) -> Iterator[tuple[str, str]]:
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(attr="block", value=ast.Attribute(attr="mark")), args=args):
                page, *part = _strings(args)
                yield page, "".join(part)
            case _:
                pass


def _strings(args: Sequence[ast.expr]) -> list[str]:
    return [ast.literal_eval(one) for one in args]
