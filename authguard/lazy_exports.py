"""Names of a package whose modules are imported when somebody asks for them (PEP 562).

An app with bearer tokens alone then imports no password hashing and no Digest. A class is imported with all that it
needs when the app names it, so no request waits for an import.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any


def lazy_exports(
    package: str, names: Mapping[str, Sequence[str]]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """The functions ``__getattr__`` and ``__dir__`` of a package that exports ``names``, which are listed by module.

    A module of the package that is listed is an attribute too, as if it had been imported. Type checkers need an
    ``import`` of the same names under ``TYPE_CHECKING``.
    """
    homes = {name: module for module, exported in names.items() for name in exported}
    modules = {module.removeprefix(package + "."): module for module in names}

    def find(name: str) -> Any:
        if name in homes:
            # From now on the attribute is found without this function.
            found = vars(sys.modules[package])[name] = getattr(import_module(homes[name]), name)
            return found
        if name in modules:
            return import_module(modules[name])
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    def list_names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *homes})

    return find, list_names
