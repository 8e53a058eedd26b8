"""What the package ships, and with which dependencies it is tested."""

from __future__ import annotations

import ast
import importlib
import os
import pkgutil
import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from types import ModuleType
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import authguard
import link_check

pytestmark = pytest.mark.once

ROOT = Path(__file__).resolve().parent.parent
CONSTRAINTS = ROOT / "scripts" / "constraints.txt"


def _packages() -> list[str]:
    packages = pkgutil.walk_packages(authguard.__path__, "authguard.")
    return ["authguard", *(module.name for module in packages if module.ispkg)]


def _public(module: ModuleType) -> set[str]:
    """The public names of a module, without its submodules, its future imports and ``TYPE_CHECKING``."""
    return {
        name for name in dir(module) if not name.startswith("_") and not isinstance(getattr(module, name), ModuleType)
    } - {"annotations", "TYPE_CHECKING"}


def test_the_version_is_defined_once() -> None:
    """The version in the metadata is ``authguard.__version__``."""
    assert metadata.version("authguard") == authguard.__version__


def test_the_metadata_require_the_oldest_tested_versions() -> None:
    """Installing authguard brings neither a Starlette nor a PyJWT with a known vulnerability."""
    required = {Requirement(line).name: str(Requirement(line)) for line in metadata.requires("authguard") or ()}

    assert required["starlette"] == "starlette>=1.3.1"
    assert required["pyjwt"] == "pyjwt[crypto]>=2.14"


@pytest.mark.parametrize("name", _packages())
def test_all_is_what_is_public(name: str) -> None:
    """`__all__` lists exactly the public names of each package, once each."""
    module = importlib.import_module(name)

    exported = [each for each in getattr(module, "__all__", ()) if each != "__version__"]

    assert sorted(exported) == sorted(_public(module))


def test_wire_imports_the_standard_library_only() -> None:
    """The package ``wire`` can be imported without any dependency."""
    imported: set[str] = set()
    for file in (ROOT / "authguard" / "wire").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add((node.module or "").partition(".")[0])

    assert imported - sys.stdlib_module_names <= {"authguard"}


def test_the_wheel_holds_the_package_and_nothing_else(tmp_path: Path) -> None:
    """The wheel has the package, the type marker and the licence, and no tests or tools."""
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")

    names = ZipFile(wheel).namelist()

    info = f"authguard-{authguard.__version__}.dist-info"
    assert {name.partition("/")[0] for name in names} == {"authguard", info}
    assert {"authguard/py.typed", f"{info}/licenses/LICENSE"} <= set(names)


def _locked() -> dict[str, list[str]]:
    """The lines of the lock for each package, one for each platform that differs."""
    locked: dict[str, list[str]] = {}
    for entry in CONSTRAINTS.read_text("utf-8").replace("\\\n", " ").splitlines():
        if not entry.startswith("#"):
            name = re.match(r"[\w.-]+", entry)
            assert name is not None, entry
            locked.setdefault(canonicalize_name(name[0]), []).append(entry)
    return locked


def test_every_line_of_the_lock_is_a_pin_with_hashes() -> None:
    """The lock has names, exact versions, markers and hashes: no index, URL, folder or option."""
    pin = re.compile(r"[a-z0-9._-]+==[A-Za-z0-9.]+( ; [A-Za-z0-9_.'\" ()<>=!]+)?(\s+--hash=sha256:[0-9a-f]{64})+")
    entries = [entry for entries in _locked().values() for entry in entries]

    strangers = [entry for entry in entries if not pin.fullmatch(entry.rstrip())]

    assert len(entries) > 40
    assert strangers == []


def test_the_lock_has_what_the_metadata_asks_for() -> None:
    """Everything that a user may install with an extra is tested."""
    locked = _locked()
    for line in metadata.requires("authguard") or ():
        wanted = Requirement(line)

        pinned = [entry.split(";")[0].split()[0].partition("==")[2] for entry in locked[canonicalize_name(wanted.name)]]

        assert [version for version in pinned if version not in wanted.specifier] == []


def test_no_file_names_a_registry_or_a_folder_of_a_machine() -> None:
    """No file depends on the machine where it is checked out."""
    registry = r"pypi[.]org|pythonhosted[.]org|registry[.]npmjs|deb[.]debian[.]org"
    folder = rf"(?<![\w.])/(root|Users/\w+|home/\w+)/|{re.escape(str(ROOT))}(?!\w)"
    forbidden = re.compile(f"{registry}|{folder}")

    told = [
        f"{file.relative_to(ROOT)}: {found[0]}"
        for file in link_check.tracked()
        for found in forbidden.finditer(file.read_text("utf-8", errors="replace"))
    ]

    assert told == []


NOT_RUN = (
    "@pytest.mark.skip\ndef test_it(): pass",
    "def test_it(): pytest.skip()",
    "pytest.importorskip('no_such_module')",
    "@pytest.mark.xfail(run=False)\ndef test_it(): pass",
    "@pytest.mark.xfail(strict=False)\ndef test_it(): pass",
)


def _suite(folder: Path, ci: str, *options: str) -> tuple[int, list[str]]:
    """Run one test that passes, and those above: the exit code, and the files that are listed as not run."""
    shutil.copy(Path(__file__).with_name("conftest.py"), folder)
    (folder / "pytest.ini").write_text("[pytest]\naddopts = --import-mode=importlib\n")
    for number, body in enumerate(("def test_it(): pass", *NOT_RUN)):
        (folder / f"test_{number}.py").write_text(f"import pytest\n\n{body}\n")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *options, str(folder)]
    done = subprocess.run(command, env={**os.environ, "CI": ci}, capture_output=True, check=False, text=True)
    return done.returncode, sorted(re.findall(r"^NOT RUN (test_\d)\.py(?:::test_it)?$", done.stdout, re.MULTILINE))


@pytest.mark.parametrize("options", [(), ("-n", "2")], ids=["one process", "two processes"])
def test_a_test_that_does_not_run_fails_the_run_where_ci_is_true(tmp_path: Path, options: tuple[str, ...]) -> None:
    """With CI=true a test that was skipped in any way fails the run, and is listed."""
    assert _suite(tmp_path, "true", *options) == (1, ["test_1", "test_2", "test_3", "test_4", "test_5"])


def test_a_test_may_skip_without_ci(tmp_path: Path) -> None:
    """Without CI=true a skipped test is allowed, so that a developer without curl can run the others."""
    assert _suite(tmp_path, "") == (0, [])


def test_a_brief_run_leaves_out_what_is_the_same_on_every_python(tmp_path: Path) -> None:
    """With --brief a test runs on asyncio, and on trio only if it has no run on asyncio; those marked `once` do not."""
    shutil.copy(Path(__file__).with_name("conftest.py"), tmp_path)
    (tmp_path / "pytest.ini").write_text(
        "[pytest]\naddopts = --import-mode=importlib\nanyio_mode = auto\nmarkers = once\n"
    )
    (tmp_path / "test_it.py").write_text(
        "import pytest\n\nasync def test_both(): pass\n\n"
        "@pytest.mark.parametrize('anyio_backend', ['trio'])\nasync def test_trio(anyio_backend): pass\n\n"
        "@pytest.mark.once\ndef test_once(): pass\n\n"
        "@pytest.mark.parametrize('name', ['trio'])\ndef test_name(name): pass\n"
    )
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--brief", "-rA", "-n", "0", str(tmp_path)]
    done = subprocess.run(command, env={**os.environ, "CI": ""}, capture_output=True, check=False, text=True)

    assert sorted(re.findall(r"^PASSED \S*test_it\.py::(\S+)$", done.stdout, re.MULTILINE)) == [
        "test_both[asyncio]",
        "test_name[trio]",
        "test_trio[trio]",
    ]


@pytest.mark.parametrize(
    ("text", "dead"),
    [
        ("[here](other.md)", []),
        ("[here](other.md#two-words) [here](#top)\n# Top", []),
        ("[here](other.md#two-words-1)", []),
        ("[a folder](folder)", []),
        ("[elsewhere](https://example.com/nothing.md#nowhere)", []),
        ("`[in code](nothing.md)`\n\n```\n[in code](nothing.md)\n```", []),
        ("[here](nothing.md)", ["page.md:1: nothing.md: no such file"]),
        ('\n\n![picture](nothing.svg "title")', ["page.md:3: nothing.svg: no such file"]),
        ("a [name] b\n\n[name]: nothing.md", ["page.md:3: nothing.md: no such file"]),
        ('<img width="1" src="nothing.svg">', ["page.md:1: nothing.svg: no such file"]),
        ("[here](other.md#three)", ["page.md:1: other.md#three: no such heading"]),
        ("[here](#top)\n```\n# Top\n```", ["page.md:1: #top: no such heading"]),
    ],
)
def test_a_dead_link_is_reported_with_its_line(tmp_path: Path, text: str, dead: list[str]) -> None:
    """A link must lead to a file of the repository and to a heading in it. Code and external URLs are not checked."""
    files = {name: tmp_path / name for name in ("page.md", "other.md", "folder/file.md")}
    for file in files.values():
        file.parent.mkdir(exist_ok=True)
        file.write_text("# Two *words*\n## Two words\n", "utf-8")
    files["page.md"].write_text(text, "utf-8")

    told = link_check.dead_links(files["page.md"], set(files.values()))

    assert told == dead
