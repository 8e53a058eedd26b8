"""Which tests are marked with which lines of the RFCs, found by reading them: nothing is imported or run."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TESTS = ROOT / "tests"
MARK = "pytest.mark.rfc"


class Unclear(ValueError):
    """A checklist or a marker cannot be read. The message begins with the file."""


@dataclass(frozen=True, slots=True, order=True)
class Shown:
    """A test that shows a line. ``file`` is relative to the root; ``name`` is as pytest has it, less the file."""

    file: str
    name: str


def shown(folder: Path = TESTS, root: Path = ROOT) -> dict[str, list[Shown]]:
    """By line, the tests that bear its marker: on a test, on its class, or on its module through ``pytestmark``."""
    found: dict[str, set[Shown]] = {}
    for file in sorted(folder.rglob("test_*.py")):
        source = file.read_text("utf-8")
        if MARK not in source:
            continue
        name = file.relative_to(root).as_posix()
        for test, ids in _marked(ast.parse(source).body, name):
            for each in ids:
                found.setdefault(each, set()).add(Shown(name, test))
    return {each: sorted(tests) for each, tests in found.items()}


def _marked(
    body: Iterable[ast.stmt], file: str, within: str = "", inherited: frozenset[str] = frozenset()
) -> Iterator[tuple[str, frozenset[str]]]:
    """Each test of a module or a class, by its name, with all the lines that it shows."""
    body = list(body)
    for node in body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(isinstance(target, ast.Name) and target.id == "pytestmark" for target in targets):
                many = node.value.elts if isinstance(node.value, ast.List | ast.Tuple) else [node.value]
                inherited |= _ids(many, file, "pytestmark")
    for node in body:
        if isinstance(node, ast.ClassDef):
            own = _ids(node.decorator_list, file, node.name)
            yield from _marked(node.body, file, f"{within}{node.name}::", inherited | own)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            ids = _ids(node.decorator_list, file, node.name)
            if node.name.startswith("test_"):
                yield within + node.name, inherited | ids
            elif ids:
                raise Unclear(f"{file}: {node.name} bears {MARK}, and is no test")


def _ids(marks: Iterable[ast.expr], file: str, bearer: str) -> frozenset[str]:
    found: set[str] = set()
    for mark in marks:
        call = mark.func if isinstance(mark, ast.Call) else mark
        if ast.unparse(call) != MARK:
            continue
        given = mark.args if isinstance(mark, ast.Call) else []
        texts = [each.value for each in given if isinstance(each, ast.Constant) and isinstance(each.value, str)]
        if not texts or len(texts) < len(given) or (isinstance(mark, ast.Call) and mark.keywords):
            raise Unclear(f'{file}: {bearer}: write the lines out, as in @{MARK}("9110-1")')
        found.update(texts)
    return frozenset(found)
