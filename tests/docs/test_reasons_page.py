"""The page of the reasons is true: each reason is caused here, and writes the lines and the facts of the page."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import authguard
import tests.docs.certificate_refusals
import tests.docs.proof_refusals
import tests.docs.token_refusals  # noqa: F401 - they register their refusals
from authguard import reasons
from authguard.model import Denied
from authguard.reasons import Reason
from authguard.records.record import record_of
from tests.docs.refusals import REFUSALS, shown
from tests.support.asgi import auth_request
from tests.support.markdown import DOCS

pytestmark = pytest.mark.block("reasons.md")

REASONS = {value.code: value for value in vars(reasons).values() if isinstance(value, Reason)}
PAGE = (DOCS / "reasons.md").read_text(encoding="utf-8")
HEADING = re.compile(r"^### (.+)\n", re.MULTILINE)
#: A fact, at the beginning of its line: `- `name`, found: ...`.
FACT = re.compile(r"^- (`\w+\??`(?:, `\w+\??`)*)[:,] ", re.MULTILINE)


def sections() -> dict[str, str]:
    """The text below each reason."""
    _, *parts = HEADING.split(PAGE)
    return {code: text.partition("\n## ")[0] for code, text in zip(parts[::2], parts[1::2], strict=True)}


def named(text: str) -> set[str]:
    """The facts that a text explains."""
    return {name for line in FACT.findall(text) for name in re.findall(r"\w+\??", line)}


SECTIONS = sections()
#: The names of the fields of a record, in its keys for programs.
FIELDS = {name.partition(".")[2] for name in record_of(auth_request(), Denied(reasons.CREDENTIALS_MISSING)).extra()}
#: The facts that mean the same everywhere.
GENERAL = named(HEADING.split(PAGE)[0])


def test_every_reason_has_its_section() -> None:
    """The page has all reasons, in the order of ``reasons.py``, each with its status and with what to do."""
    assert list(SECTIONS) == list(REASONS)
    for code, text in SECTIONS.items():
        assert text.lstrip().startswith(f"**{REASONS[code].status}.** "), code
        assert "\n**What to do:** " in text, code


@pytest.mark.parametrize("code", REASONS)
async def test_a_refusal_writes_the_lines_and_the_facts_of_its_section(code: str) -> None:
    """R059, R069, R078, R083, N11, N14: what is refused writes the lines that the page shows, and the page explains
    each fact in them and no other one."""
    section = SECTIONS[code]
    records = [await refusal() for refusal in REFUSALS[code]]

    assert [record.reason for record in records] == [code] * len(records)
    (block,) = re.findall(r"^```text\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)
    assert block.splitlines() == [shown(record) for record in records]
    written = {name for record in records for name, value in record.facts.items() if value is not None}
    assert named(section) - written == set()
    # A fact of the same name as a field would be lost to programs. The field `rule` has the same value, and `problem`
    # says the same as that `missing`.
    assert written & FIELDS <= {"rule", "missing"}
    assert written - named(section) - GENERAL == set()


#: What is called with facts: by position, as ``facts=``, or (the last one) as keywords.
TAKE_FACTS = {"Failure", "Rejected", "Denied", "deny", "RequestBodyError"}
#: Facts that only a request has that was granted, and names in dictionaries for other things.
NO_FACTS = {"tolerated", "ahead", "behind", "late", "used"}


def _facts_in(tree: ast.Module) -> Iterator[str]:
    """The names of facts that a module writes, as far as its text shows: in calls, and in functions by their names."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
            if name == "RequestBodyError":
                yield from (keyword.arg for keyword in node.keywords if keyword.arg)
            if name in TAKE_FACTS:
                yield from _keys_in(node)
        elif isinstance(node, ast.FunctionDef) and node.name.strip("_").endswith(("facts", "failure", "hint")):
            yield from (key for inner in ast.walk(node) for key in _keys_in(inner))
        elif isinstance(node, ast.Assign | ast.AnnAssign) and "facts" in ast.unparse(node).partition("=")[0]:
            yield from _keys_in(node)


def _keys_in(node: ast.AST) -> Iterator[str]:
    for inner in ast.walk(node):
        if isinstance(inner, ast.Dict):
            yield from (key.value for key in inner.keys if isinstance(key, ast.Constant) and isinstance(key.value, str))


def test_every_fact_of_the_code_is_explained() -> None:
    """The page explains each fact that the code of a scheme, of the guard or of a requirement writes."""
    package = Path(authguard.__file__).parent
    modules = [
        path for folder in ("core", "schemes", "policy", "asgi", "keys") for path in (package / folder).rglob("*.py")
    ]
    written = {fact: path.name for path in modules for fact in _facts_in(ast.parse(path.read_text(encoding="utf-8")))}

    explained = GENERAL.union(*map(named, SECTIONS.values()))
    assert {fact: module for fact, module in written.items() if fact not in explained | NO_FACTS} == {}
