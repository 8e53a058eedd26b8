"""What a route asks of a principal, as values: they compare, they combine, they explain themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from inspect import iscoroutinefunction
from typing import Literal, TypeAlias, final

from authguard.errors import ConfigurationError
from authguard.model import Failure, Moment, Principal, Requirement
from authguard.reasons import (
    CHECK_REFUSED,
    METHOD_UNLISTED,
    ROLE_MISSING,
    SCHEME_INSUFFICIENT,
    SCOPE_MISSING,
    STEP_UP_REQUIRED,
)
from authguard.validation import names

Predicate: TypeAlias = Callable[[Principal, Mapping[str, str]], bool]


class _Anyone:
    """What the requirements share that look at no scheme and no scope."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)

    def schemes(self, every: frozenset[str]) -> frozenset[str]:
        return every

    def scopes_named(self) -> tuple[str, ...]:
        return ()

    def roles_named(self) -> tuple[str, ...]:
        return ()


@final
@dataclass(frozen=True, slots=True)
class Access(_Anyone):
    """A rule about authentication alone: one of the four constants below."""

    name: Literal["PUBLIC", "OPTIONAL", "AUTHENTICATED", "UNLISTED"]

    def unmet(self, principal: Principal, params: Mapping[str, str], moment: Moment) -> Failure | None:
        return Failure(METHOD_UNLISTED) if self.name == "UNLISTED" else None

    def __str__(self) -> str:
        return self.name

    __repr__ = __str__


#: Open to everybody: nothing is verified.
PUBLIC = Access("PUBLIC")
#: No credentials is anonymous; bad credentials are still refused.
OPTIONAL = Access("OPTIONAL")
#: Any principal.
AUTHENTICATED = Access("AUTHENTICATED")
#: What applies where rules name this path and none of them this method: nobody passes.
UNLISTED = Access("UNLISTED")


@dataclass(frozen=True, slots=True, repr=False)
class _Roles(_Anyone):
    wanted: tuple[str, ...]
    every: bool

    def unmet(self, principal: Principal, params: Mapping[str, str], moment: Moment) -> Failure | None:
        missing = tuple(name for name in self.wanted if name not in principal.roles)
        met = not missing if self.every else len(missing) < len(self.wanted)
        return None if met else Failure(ROLE_MISSING, missing=missing)

    def roles_named(self) -> tuple[str, ...]:
        return self.wanted

    def __str__(self) -> str:
        call = "role" if len(self.wanted) == 1 else "all_roles" if self.every else "any_role"
        return f"{call}({', '.join(self.wanted)})"


@dataclass(frozen=True, slots=True, repr=False)
class _Scopes(_Anyone):
    wanted: tuple[str, ...]

    def unmet(self, principal: Principal, params: Mapping[str, str], moment: Moment) -> Failure | None:
        missing = tuple(name for name in self.wanted if name not in principal.scopes)
        return Failure(SCOPE_MISSING, missing=missing) if missing else None

    def scopes_named(self) -> tuple[str, ...]:
        return self.wanted

    def __str__(self) -> str:
        return f"scopes({', '.join(self.wanted)})"


@dataclass(frozen=True, slots=True, repr=False)
class _Via(_Anyone):
    names: tuple[str, ...]

    def unmet(self, principal: Principal, params: Mapping[str, str], moment: Moment) -> Failure | None:
        return None if principal.scheme in self.names else Failure(SCHEME_INSUFFICIENT, missing=self.names)

    def schemes(self, every: frozenset[str]) -> frozenset[str]:
        return every.intersection(self.names)

    def __str__(self) -> str:
        return f"via({', '.join(self.names)})"


@dataclass(frozen=True, slots=True, repr=False)
class StepUp(_Anyone):
    acr: tuple[str, ...]
    max_age: int | None

    def unmet(self, principal: Principal, params: Mapping[str, str], moment: Moment) -> Failure | None:
        wanted: dict[str, object] = {}
        if self.acr and principal.claims.get("acr") not in self.acr:
            wanted["acr_values"] = " ".join(self.acr)
        if self.max_age is not None and not self._fresh(principal.claims.get("auth_time"), moment):
            wanted["max_age"] = self.max_age
        return Failure(STEP_UP_REQUIRED, wanted, missing=tuple(wanted)) if wanted else None

    def _fresh(self, auth_time: object, moment: Moment) -> bool:
        # A login stamped in our future proves no age, and neither does a value that is no number.
        if isinstance(auth_time, bool) or not isinstance(auth_time, int | float) or not abs(auth_time) < 1e15:
            return False
        return not moment.not_yet(auth_time) and not moment.expired(auth_time + (self.max_age or 0))

    def __str__(self) -> str:
        parts = [f"acr={' '.join(self.acr)}"] if self.acr else []
        parts += [f"max_age={self.max_age}"] if self.max_age is not None else []
        return f"step_up({', '.join(parts)})"


@dataclass(frozen=True, slots=True, repr=False)
class _Check(_Anyone):
    name: str
    predicate: Predicate

    def unmet(self, principal: Principal, params: Mapping[str, str], moment: Moment) -> Failure | None:
        try:
            passed = self.predicate(principal, params)
        except Exception as error:  # noqa: BLE001 - whatever it raises, it did not say yes
            return Failure(CHECK_REFUSED, {"raised": type(error).__name__}, missing=(self.name,))
        # Only True itself is a yes: a coroutine that was never awaited is truthy.
        if passed is True:
            return None
        facts: dict[str, object] = {} if passed is False else {"returned": type(passed).__name__}
        return Failure(CHECK_REFUSED, facts, missing=(self.name,))

    def __str__(self) -> str:
        return f"check({self.name})"


def role(name: str) -> Requirement:
    """The principal has this role. Denies with ``role.missing``."""
    return _Roles(_wanted("role", (name,)), every=True)


def any_role(*wanted: str) -> Requirement:
    """The principal has at least one of these roles. Denies with ``role.missing``."""
    return _Roles(_wanted("any_role", wanted), every=len(wanted) == 1)


def all_roles(*wanted: str) -> Requirement:
    """The principal has all these roles. Denies with ``role.missing``."""
    return _Roles(_wanted("all_roles", wanted), every=True)


def scopes(*wanted: str) -> Requirement:
    """The principal has all these scopes (RFC 6750 section 3.1). Denies with ``scope.missing``."""
    for name in _wanted("scopes", wanted):
        if not _is_scope_token(name):
            raise ConfigurationError(
                "scopes", f"{name!r} is no scope-token of RFC 6749 section 3.3; give each as an argument of its own"
            )
    return _Scopes(distinct(wanted))


def via(*schemes: str) -> Requirement:
    """Authenticated by one of these schemes; others are not accepted here. Names are compared in lower case."""
    return _Via(tuple(name.lower() for name in _wanted("via", schemes)))


def step_up(*, acr: str | Iterable[str] = (), max_age: int | None = None) -> Requirement:
    """A stronger or fresher login (RFC 9470). Denies with ``step_up.required``.

    ``acr`` is one authentication context class or several, most preferred first; ``max_age`` is in whole seconds since
    ``auth_time``, to which the leeway is added.
    """
    classes = distinct((acr,) if isinstance(acr, str) else acr)
    if max_age is not None and (isinstance(max_age, bool) or not isinstance(max_age, int) or max_age < 0):
        raise ConfigurationError("max_age", f"{max_age!r} is no whole number of seconds, 0 or more")
    if not all(map(_is_scope_token, classes)) or (not classes and max_age is None):
        raise ConfigurationError("step_up", "give acr= (printable names without spaces), max_age=, or both")
    return StepUp(classes, max_age)


def predicate(name: str, function: Predicate) -> Requirement:
    """``function(principal, params)`` returns True; ``params`` are those of the rule's pattern, as strings.

    It must not block. Denies with ``check.refused``, also where it raises or returns anything but True.
    """
    if not callable(function) or iscoroutinefunction(function):
        raise ConfigurationError("function", "give a function of (principal, params) that is not async")
    return _Check(_wanted("name", (name,))[0], function)


def _is_scope_token(name: str) -> bool:
    # RFC 6749 section 3.3: what may stand in the quoted list of a challenge.
    return bool(name) and all(0x21 <= ord(char) <= 0x7E and char not in '"\\' for char in name)


def distinct(found: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(found))


def _wanted(argument: str, wanted: tuple[str, ...]) -> tuple[str, ...]:
    for one in wanted:
        if isinstance(one, list | tuple | set | frozenset):
            raise ConfigurationError(argument, f"give them as arguments, not as a {type(one).__name__}")
    if not names(argument, wanted):
        raise ConfigurationError(argument, "name at least one; an empty requirement would let everybody in")
    return distinct(wanted)


def check_requirement(argument: str, value: object) -> None:
    """``ConfigurationError`` unless the value is a requirement: a bare list or a string never is."""
    if isinstance(value, type) or not all(
        callable(getattr(value, name, None)) for name in ("unmet", "schemes", "scopes_named")
    ):
        write = _as_requirement(value)
        raise ConfigurationError(argument, f"{value!r} is no requirement; write {write}")


def _as_requirement(value: object) -> str:
    if isinstance(value, str):
        return value if value in {"PUBLIC", "OPTIONAL", "AUTHENTICATED"} else f'role("{value}")'
    many = isinstance(value, list | tuple | set | frozenset)
    return "all_of(...) or any_of(...)" if many else "role(...), scopes(...), AUTHENTICATED, ..."


def expand_role_hierarchy(role_hierarchy: Mapping[str, AbstractSet[str]]) -> dict[str, frozenset[str]]:
    """For each role all that it implies, transitively. ``ConfigurationError`` for a circle or a bare string."""
    if not isinstance(role_hierarchy, Mapping):
        raise ConfigurationError("role_hierarchy", 'give a mapping such as {"admin": {"editor"}}')
    names("role_hierarchy", role_hierarchy)
    direct = {role: names("role_hierarchy", implied_roles) for role, implied_roles in role_hierarchy.items()}
    closed: dict[str, frozenset[str]] = {}
    for role, first in direct.items():
        found: set[str] = set()
        open_ = set(first)
        while open_:
            implied_roles = open_.pop()
            if implied_roles == role:
                raise ConfigurationError("role_hierarchy", f"{role!r} implies itself, by way of others")
            if implied_roles not in found:
                found.add(implied_roles)
                open_ |= direct.get(implied_roles, frozenset())
        closed[role] = frozenset(found)
    return closed
