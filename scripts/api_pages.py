"""The pages of the API reference: every public name, with the docstring or the comment that it has in the code."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent

#: The public packages, and what each is for.
PACKAGES = {
    "authguard": "What an app uses to build its guard.",
    "authguard.fastapi": "For apps on FastAPI.",
    "authguard.starlette": "For apps on Starlette.",
    "authguard.testing": "For the tests of an app.",
    "authguard.reasons": "Every reason for which a request is refused. Each is a ``Reason``.",
    "authguard.schemes": "For authors of schemes.",
    "authguard.wire": "For authors of schemes: what stands in header fields.",
    "authguard.accounts": "For authors of account stores.",
    "authguard.keys": "For authors of key sources.",
    "authguard.state": "For authors of stores that several processes share.",
    "authguard.records": "What hooks and tests are given for each decision.",
    "authguard.inspector": "A page that shows decisions as they happen.",
    "authguard.telemetry": "Metrics and span events of OpenTelemetry.",
    "authguard.explain": "Why a request is refused, and what to do about it.",
}
#: The names of ``authguard`` itself, by subject. Names that are in no group come last.
GROUPS = {
    "The guard": ["Guard", "AuthGuardMiddleware", "Check", "Render", "allows", "AccessDenied"],
    "Rules and requirements": [
        *("Rule", "PUBLIC", "OPTIONAL", "AUTHENTICATED", "role", "any_role", "all_roles", "scopes", "via", "step_up"),
        *("predicate", "all_of", "any_of", "Requirement"),
    ],
    "Tokens": [
        *("Bearer", "Issuer", "claim", "PEM", "JWK", "JWKSet", "Secret", "RemoteJWKS", "Introspection"),
        *("ProtectedResource", "ANY_AUDIENCE", "ANY_ISSUER", "ANY_TENANT", "NO_ISSUER", "KeySource", "VerificationKey"),
    ],
    "Passwords": [
        *("Basic", "HtpasswdFile", "MemoryUsers", "UserLookup", "Account", "LibpassHasher", "LoginThrottle", "Rate"),
        *("PasswordStore", "PasswordCheck", "PasswordHasher"),
    ],
    "Digest": [
        *("Digest", "HtdigestFile", "MemoryDigests", "DigestLookup", "DigestAccount", "DigestStore", "digest_ha1"),
        *("MemoryNonces", "PER_PROCESS"),
    ],
    "Where credentials travel": ["Header", "Cookie", "WebSocketProtocol", "LoggedQuery"],
    "Who, why and when": ["Principal", "Reason", "Record", "Hook", "Moment"],
    "Schemes of your own": [
        *("Scheme", "Carrier", "AUTHORIZATION", "AuthRequest", "Credentials", "Challenge", "Accepted", "Rejected"),
        *("Granted", "Denied", "Failure"),
    ],
    "Errors": [],
}


@dataclass(frozen=True, slots=True)
class Page:
    """A page of the reference. ``names`` are the full names that it documents."""

    package: str
    names: tuple[str, ...]
    text: str


def public_names(package: str) -> list[str]:
    """The names that a package exports; of ``reasons``, the reasons and their class."""
    module = importlib.import_module(package)
    if package == "authguard.reasons":
        return [name for name, value in vars(module).items() if isinstance(value, module.Reason)]
    return list(module.__all__)


def packages() -> list[str]:
    """The public packages that exist."""
    return [package for package in PACKAGES if importlib.util.find_spec(package)]


def pages() -> list[Page]:
    """One page for each package. What several packages export is documented in the first one, and linked elsewhere."""
    homes: dict[tuple[str, int], str] = {}
    return [_page(package, homes) for package in packages()]


def _page(package: str, homes: dict[tuple[str, int], str]) -> Page:
    """The page of a package. ``homes`` is the package that documents a name and its value; those of this one follow."""
    names = public_names(package)
    home = {name: homes.setdefault((name, id(_value(package, name))), package) for name in names}
    own = [name for name in names if home[name] == package]
    parts = [_heading(package, "="), PACKAGES[package]]
    if package == "authguard":
        for title, group in _grouped(own):
            parts += [_heading(title, "-"), *(entry(package, name) for name in group)]
    elif package == "authguard.reasons":
        parts.append(_reasons(package, own))
    else:
        parts += [entry(package, name) for name in own]
    shared = [f":py:obj:`~{home[name]}.{name}`" for name in sorted(names) if home[name] != package]
    if shared:
        parts.append(f"It also exports {', '.join(shared)}.")
    return Page(package, tuple(f"{package}.{name}" for name in names), "\n\n".join(parts) + "\n")


def _heading(text: str, line: str) -> str:
    return f"{text}\n{line * len(text)}"


def _grouped(names: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """The groups, each with the names that exist; exceptions are found by what they are."""
    left = dict.fromkeys(names)
    for title, group in GROUPS.items():
        members = [name for name in group if name in left]
        if title == "Errors":
            members = [name for name in left if _is_error(_value("authguard", name))]
        for name in members:
            del left[name]
        yield title, members
    if left:
        yield "More", list(left)


def _value(package: str, name: str) -> Any:
    return getattr(importlib.import_module(package), name)


def _is_error(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, BaseException)


def entry(package: str, name: str) -> str:
    """The directive that documents a name."""
    value = _value(package, name)
    full = f"{package}.{name}"
    if _is_error(value):
        return f".. autoexception:: {full}"
    if isinstance(value, type):
        # The methods of Issuer for providers by name are in a base class that is no public name.
        inherited = "\n   :inherited-members:" if name == "Issuer" else ""
        return f".. autoclass:: {full}\n   :members:{inherited}"
    if inspect.isfunction(value):
        return f".. autofunction:: {full}"
    comment = comments()[name]
    return f".. py:data:: {full}\n\n" + "\n".join(f"   {line}".rstrip() for line in comment.splitlines())


@cache
def comments() -> dict[str, str]:
    """The comments ``#:`` above the assignments of the package, by the name that is assigned. The first one counts."""
    found: dict[str, str] = {}
    for file in sorted((ROOT / "authguard").rglob("*.py")):
        for match in re.finditer(r"((?:^#:.*\n)+)^(\w+)(?:: [^=\n]+)? = ", file.read_text("utf-8"), re.MULTILINE):
            found.setdefault(match[2], re.sub(r"^#: ?", "", match[1], flags=re.MULTILINE))
    return found


def _reasons(package: str, names: Sequence[str]) -> str:
    rows = [
        ".. list-table::\n   :header-rows: 1\n\n   * - name\n     - code\n     - status\n     - what the client is told"
    ]
    for name in names:
        reason = _value(package, name)
        rows.append(
            f"   * - .. py:data:: {name}\n            :module: {package}\n"
            f"     - ``{reason.code}``\n     - {reason.status}\n     - {reason.detail}"
        )
    return "\n".join(rows)
