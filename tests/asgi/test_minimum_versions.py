"""An app whose Starlette or FastAPI is too old is told so when it imports authguard."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata

import pytest
from packaging.requirements import Requirement

from authguard.asgi import minimum_versions
from authguard.asgi.minimum_versions import check_fastapi

AS_IF = "import {0}; {0}.__version__ = {1!r}; "


def error_of(code: str) -> str:
    """The last line that a fresh interpreter prints before it fails."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, text=True)
    assert done.returncode == 1
    return done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    "statement",
    [
        "from authguard import Guard, AuthGuardMiddleware",
        "from authguard.starlette import requires",
        "import authguard.fastapi",
        "import authguard.middleware",
    ],
)
def test_an_old_starlette_is_named_with_what_to_install(statement: str) -> None:
    """Whatever part of authguard the app imports first."""
    told = error_of(AS_IF.format("starlette", "1.3.0") + statement)

    assert told == (
        "ImportError: authguard needs Starlette 1.3.1 or newer, and 1.3.0 is installed: "
        "pip install --upgrade 'starlette>=1.3.1'"
    )


def test_an_old_fastapi_is_named_with_what_to_install() -> None:
    """It would pull Starlette down again, and has dependencies of another shape."""
    told = error_of(AS_IF.format("fastapi", "0.132.1") + "import authguard.fastapi")

    assert told == (
        "ImportError: authguard needs FastAPI 0.133 or newer, and 0.132.1 is installed: "
        "pip install --upgrade 'fastapi>=0.133'"
    )


@pytest.mark.parametrize("version", ["0.133", "0.133.0", "0.133.0rc1", "0.200", "1.0", "2"])
def test_a_newer_one_passes(version: str) -> None:
    """A pre-release counts as its release, and numbers are compared as numbers."""
    check_fastapi(version)


@pytest.mark.parametrize("version", ["0.132.99", "0.132.0rc1", "0.9", "0"])
def test_an_older_one_is_refused(version: str) -> None:
    """``0.9`` is older than ``0.133``."""
    with pytest.raises(ImportError, match=r"needs FastAPI 0\.133 or newer") as caught:
        check_fastapi(version)

    assert caught.value.name == "fastapi"


def test_the_metadata_ask_for_the_same() -> None:
    """The import accepts what pip installs."""
    required = {Requirement(line).name: Requirement(line) for line in metadata.requires("authguard") or ()}

    assert str(required["starlette"].specifier) == ">=" + ".".join(map(str, minimum_versions.STARLETTE))
    assert str(required["fastapi"].specifier) == ">=" + ".".join(map(str, minimum_versions.FASTAPI))
