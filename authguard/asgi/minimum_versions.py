"""The oldest Starlette and FastAPI that authguard works with. An older one is an ImportError that says what to install.

pip asks for them too; this is for an environment where the framework was pinned, or installed, without asking pip.
"""

from __future__ import annotations

import re

import starlette

#: The first without a known vulnerability: before 1.0.1 a forged Host field changed ``request.url.path``
#: (CVE-2026-48710), before 1.1.0 any method name reached the attributes of an ``HTTPEndpoint`` (CVE-2026-48817), before
#: 1.3.0 a path changed ``request.url.hostname`` (PYSEC-2026-248), and before 1.3.1 a form had no limits
#: (CVE-2026-54283).
STARLETTE = (1, 3, 1)
#: The first that allows a Starlette from 1.0 on.
FASTAPI = (0, 133)


def check_starlette() -> None:
    """Raise ``ImportError`` if Starlette is too old."""
    _check("Starlette", starlette.__version__, STARLETTE)


def check_fastapi(version: str) -> None:
    """Raise ``ImportError`` if this version of FastAPI is too old."""
    _check("FastAPI", version, FASTAPI)


def _check(name: str, installed: str, oldest: tuple[int, ...]) -> None:
    # A pre-release counts as its release: "1.4.0rc1" as (1, 4, 0).
    numbers = tuple(map(int, re.findall(r"(?:^|\.)(\d+)", installed)[: len(oldest)]))
    if numbers < oldest:
        wanted = ".".join(map(str, oldest))
        raise ImportError(
            f"authguard needs {name} {wanted} or newer, and {installed} is installed: "
            f"pip install --upgrade '{name.lower()}>={wanted}'",
            name=name.lower(),
        )
