"""Find the tests that are marked with a line of an RFC. The test files are parsed; nothing is imported or run."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TESTS = ROOT / "tests"
MARKER = "pytest.mark.rfc"


class UnreadableError(ValueError):
    """A checklist or a marker cannot be read. The message begins with the name of the file."""


@dataclass(frozen=True, slots=True, order=True)
class MarkedTest:
    """A test that shows a line. ``file`` is relative to the root; ``name`` is pytest's node id without the file."""

    file: str
    name: str


def marked_tests(folder: Path = TESTS, root: Path = ROOT) -> dict[str, list[MarkedTest]]:
    """For each line, the tests with its marker: on the test, on its class, or on its module through ``pytestmark``."""
    tests: dict[str, set[MarkedTest]] = {}
    for file in sorted(folder.rglob("test_*.py")):
        source = file.read_text("utf-8")
        if MARKER not in source:
            continue
        name = file.relative_to(root).as_posix()
        for test, lines in _marked(ast.parse(source).body, name):
            for line in lines:
                tests.setdefault(line, set()).add(MarkedTest(name, test))
    return {line: sorted(marked) for line, marked in tests.items()}


def _marked(
    body: Iterable[ast.stmt], file: str, prefix: str = "", inherited: frozenset[str] = frozenset()
) -> Iterator[tuple[str, frozenset[str]]]:
    """The name of each test in a module or a class, with all the lines that it shows."""
    body = list(body)
    for node in body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(isinstance(target, ast.Name) and target.id == "pytestmark" for target in targets):
                markers = node.value.elts if isinstance(node.value, ast.List | ast.Tuple) else [node.value]
                inherited |= _lines(markers, file, "pytestmark")
    for node in body:
        if isinstance(node, ast.ClassDef):
            own = _lines(node.decorator_list, file, node.name)
            yield from _marked(node.body, file, f"{prefix}{node.name}::", inherited | own)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = _lines(node.decorator_list, file, node.name)
            if node.name.startswith("test_"):
                yield prefix + node.name, inherited | lines
            elif lines:
                raise UnreadableError(f"{file}: {node.name} has the marker {MARKER} and is not a test")


def _lines(markers: Iterable[ast.expr], file: str, owner: str) -> frozenset[str]:
    lines: set[str] = set()
    for marker in markers:
        call = marker.func if isinstance(marker, ast.Call) else marker
        if ast.unparse(call) != MARKER:
            continue
        arguments = marker.args if isinstance(marker, ast.Call) else []
        texts = [node.value for node in arguments if isinstance(node, ast.Constant) and isinstance(node.value, str)]
        if not texts or len(texts) < len(arguments) or (isinstance(marker, ast.Call) and marker.keywords):
            raise UnreadableError(f'{file}: {owner}: write the lines as literal strings, as in @{MARKER}("9110-1")')
        lines.update(texts)
    return frozenset(lines)
