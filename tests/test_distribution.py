"""The wheel and the source distribution, as an index and a user's type checker see them."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import tarfile
from pathlib import Path
from zipfile import ZipFile

import pytest

import authguard

pytestmark = pytest.mark.peer

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = Path(sys.executable).parent


def output(*command: str | Path, cwd: Path, status: int = 0) -> str:
    """What the program prints. It must end with this status."""
    done = subprocess.run(list(map(str, command)), cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module", name="dist")
def _dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the source distribution and the wheel."""
    folder = tmp_path_factory.mktemp("dist")
    output(sys.executable, "-m", "hatchling", "build", "--directory", folder, cwd=ROOT)
    return folder


@pytest.fixture(scope="module", name="wheel")
def _wheel(dist: Path) -> Path:
    (wheel,) = dist.glob("*.whl")
    return wheel


@pytest.fixture(scope="module", name="sdist")
def _sdist(dist: Path) -> Path:
    (sdist,) = dist.glob("*.tar.gz")
    return sdist


@pytest.fixture(scope="module", name="installed")
def _installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment that has authguard from the wheel alone, beside the libraries of this one."""
    home = tmp_path_factory.mktemp("environment")
    output(sys.executable, "-m", "venv", "--without-pip", home, cwd=home)
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(home), "platbase": str(home)}))
    with ZipFile(wheel) as archive:
        archive.extractall(packages)
    (packages / "libraries.pth").write_text(sysconfig.get_path("purelib"), "utf-8")
    return home / "bin" / "python"


@pytest.fixture(scope="module", name="programs")
def _programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder outside of the tree, with programs that use authguard as the type checkers should read it."""
    folder = tmp_path_factory.mktemp("programs")
    for file in (ROOT / "tests" / "typing").glob("*.py"):
        shutil.copy(file, folder)
    return folder


def test_an_index_accepts_the_metadata(dist: Path, wheel: Path) -> None:
    """The README renders, and the wheel holds no file by mistake."""
    told = output(PROGRAMS / "twine", "check", "--strict", *sorted(dist.iterdir()), cwd=dist)
    assert told.count("PASSED") == 2

    assert output(PROGRAMS / "check-wheel-contents", wheel, cwd=dist) == f"{wheel}: OK\n"


def test_the_metadata_lack_an_address_and_nothing_else(sdist: Path) -> None:
    """There is no address of the authors that an index could show."""
    told = output(PROGRAMS / "pyroma", sdist, cwd=sdist.parent)

    remarks = [line for line in told.splitlines() if line.startswith(("Your ", "The ", "You "))]
    assert remarks == ["Your package does not have author-email data."]


def test_the_source_distribution_builds_the_same_wheel(wheel: Path, sdist: Path, tmp_path: Path) -> None:
    """A system that builds from source gets the files that everybody else gets."""
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    output(sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", tmp_path, cwd=source)

    with ZipFile(tmp_path / wheel.name) as built, ZipFile(wheel) as ours:
        assert {(file.filename, file.CRC) for file in built.infolist()} == {
            (file.filename, file.CRC) for file in ours.infolist()
        }


def test_what_is_installed_is_the_wheel(installed: Path, tmp_path: Path) -> None:
    """The tests below do not read the types of this tree."""
    folder = output(installed, "-c", "import authguard; print(authguard.__file__)", cwd=tmp_path).strip()

    assert Path(folder).is_relative_to(installed.parents[1])
    assert Path(folder) != Path(authguard.__file__)


def test_the_command_is_installed_with_the_wheel(installed: Path, tmp_path: Path) -> None:
    """An installer makes the program ``authguard`` of this entry point."""
    code = (
        "from importlib.metadata import entry_points\n"
        "(script,) = entry_points(group='console_scripts', name='authguard')\n"
        "script.load()(['--version'])"
    )

    assert output(installed, "-c", code, cwd=tmp_path) == f"authguard {authguard.__version__}\n"


def test_type_checkers_read_the_types_of_the_wheel(installed: Path, programs: Path) -> None:
    """mypy, pyright and pyrefly accept each program as it is, and find a wrong argument."""
    checkers = (
        (PROGRAMS / "mypy", "--strict", "--python-executable", installed, "--cache-dir", programs / ".cache", "."),
        (PROGRAMS / "pyright", "--pythonpath", installed, "."),
        (PROGRAMS / "pyrefly", "check", "--preset", "default", "--python-interpreter-path", installed, "."),
    )
    wrong = programs / "wrong.py"
    wrong.unlink(missing_ok=True)
    for checker in checkers:
        output(*checker, cwd=programs)

    wrong.write_text('from authguard import Rule, role\n\nRule("/admin", role(1))\n', "utf-8")
    for checker in checkers:
        assert "wrong.py" in output(*checker, cwd=programs, status=1)


def test_without_the_marker_there_would_be_no_types(installed: Path, tmp_path: Path) -> None:
    """The file ``py.typed`` (PEP 561) is what makes mypy read them."""
    home = tmp_path / "environment"
    shutil.copytree(installed.parents[1], home, symlinks=True)
    (marker,) = home.rglob("authguard/py.typed")
    marker.unlink()
    (tmp_path / "program.py").write_text("from authguard import Rule\n", "utf-8")

    told = output(
        *(PROGRAMS / "mypy", "--python-executable", home / "bin" / "python", "--cache-dir", tmp_path / ".cache"),
        "program.py",
        cwd=tmp_path,
        status=1,
    )

    assert "py.typed marker" in told
