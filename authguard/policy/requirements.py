"""Requirements: what a route demands of a principal, as values that compare, combine and explain themselves.

In this order: the four access levels (such as ``PUBLIC``), roles, scopes, schemes, step-up logins, predicates, and the
checks of their arguments. The last function expands a role hierarchy: which roles a role brings with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import field
from typing import Literal, TypeAlias, TypeGuard, final

from authguard.app_code import plain_function, shown
from authguard.errors import ConfigurationError
from authguard.model import Facts, Failure, Moment, Principal, Requirement
from authguard.reasons import (
    CHECK_FAILED,
    CHECK_REFUSED,
    METHOD_UNLISTED,
    ROLE_MISSING,
    SCHEME_INSUFFICIENT,
    SCOPE_MISSING,
    STEP_UP_REQUIRED,
)
from authguard.source_location import raised_at
from authguard.validation import names
from authguard.value_types import frozen

#: ``function(principal, params) -> bool``, where ``params`` are the parameters of the rule's pattern, as strings.
Predicate: TypeAlias = Callable[[Principal, Mapping[str, str]], bool]


class _BaseRequirement:
    """The defaults of a requirement: all schemes can meet it, it names no scope and no role, and reads no parameter."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)

    def schemes(self, every: frozenset[str]) -> frozenset[str]:
        return every

    def scopes_named(self) -> tuple[str, ...]:
        return ()

    def roles_named(self) -> tuple[str, ...]:
        return ()

    def reads_params(self) -> bool:
        return False


@final
@frozen
class AccessLevel(_BaseRequirement):
    """A requirement about authentication alone: one of the four constants below."""

    name: Literal["PUBLIC", "OPTIONAL", "AUTHENTICATED", "UNLISTED"]
    #: For the record of a method that is not listed: the pattern, and the methods that its rules list.
    facts: Facts = field(default_factory=dict, repr=False, compare=False)

    def unmet(self, principal: Principal, params: Mapping[str, str], moment: Moment) -> Failure | None:
        return Failure(METHOD_UNLISTED, self.facts) if self.name == "UNLISTED" else None

    def __str__(self) -> str:
        return self.name

    __repr__ = __str__


#: Open to everybody: nothing is verified.
PUBLIC = AccessLevel("PUBLIC")
#: A request without credentials passes as anonymous. Credentials that cannot be verified are still refused.
OPTIONAL = AccessLevel("OPTIONAL")
#: Any principal passes.
AUTHENTICATED = AccessLevel("AUTHENTICATED")
#: Nobody passes. It applies if rules name the path, and none of them names the method.
UNLISTED = AccessLevel("UNLISTED")


def unlisted(pattern: str, methods: tuple[str, ...]) -> AccessLevel:
    """UNLISTED for the methods that no rule of this pattern lists; the record then names those that they list."""
    return AccessLevel("UNLISTED", {"rule": pattern, "listed": methods})


@frozen
class RoleRequirement(_BaseRequirement):
    """Some roles: all of them, or at least one."""

    roles: tuple[str, ...]
    needs_all: bool
    # Sets, so that the time does not grow with the roles, neither with these nor with those of the principal.
    _roles: frozenset[str] = field(repr=False, compare=False)

    def __init__(self, roles: tuple[str, ...], *, needs_all: bool) -> None:
        object.__setattr__(self, "roles", roles)
        object.__setattr__(self, "needs_all", needs_all)
        object.__setattr__(self, "_roles", frozenset(roles))

    def unmet(self, principal: Principal, params: Mapping[str, str], moment: Moment) -> Failure | None:
        if self._roles.issubset(principal.roles) if self.needs_all else not self._roles.isdisjoint(principal.roles):
            return None
        return Failure(ROLE_MISSING, missing=_missing(self.roles, principal.roles) if self.needs_all else self.roles)

    def roles_named(self) -> tuple[str, ...]:
        return self.roles

    def __str__(self) -> str:
        function = "role" if len(self.roles) == 1 else "all_roles" if self.needs_all else "any_role"
        return f"{function}({', '.join(self.roles)})"


def _missing(wanted: tuple[str, ...], held: AbstractSet[str]) -> tuple[str, ...]:
    """The names that are not held, in their order. The caller knows that it is one at least."""
    return wanted if len(wanted) == 1 else tuple([name for name in wanted if name not in held])


def role(name: str) -> Requirement:
    """The principal has this role. Denies with ``role.missing``."""
    return RoleRequirement(_check_names("role", (name,)), needs_all=True)


def any_role(*wanted: str) -> Requirement:
    """The principal has at least one of these roles. Denies with ``role.missing``."""
    # For one role, `any` and `all` are the same requirement, and compare equal.
    return RoleRequirement(_check_names("any_role", wanted), needs_all=len(wanted) == 1)


def all_roles(*wanted: str) -> Requirement:
    """The principal has all these roles. Denies with ``role.missing``."""
    return RoleRequirement(_check_names("all_roles", wanted), needs_all=True)


@frozen
class ScopeRequirement(_BaseRequirement):
    """Some scopes, all of them."""

    scopes: tuple[str, ...]
    _scopes: frozenset[str] = field(repr=False, compare=False)

    def __init__(self, scopes: tuple[str, ...]) -> None:
        object.__setattr__(self, "scopes", scopes)
        object.__setattr__(self, "_scopes", frozenset(scopes))

    def unmet(self, principal: Principal, params: Mapping[str, str], moment: Moment) -> Failure | None:
        if self._scopes.issubset(principal.scopes):
            return None
        return Failure(SCOPE_MISSING, missing=_missing(self.scopes, principal.scopes))

    def scopes_named(self) -> tuple[str, ...]:
        return self.scopes

    def __str__(self) -> str:
        return f"scopes({', '.join(self.scopes)})"


def scopes(*wanted: str) -> Requirement:
    """The principal has all these scopes (RFC 6750 section 3.1). Denies with ``scope.missing``."""
    checked = _check_names("scopes", wanted)
    for scope in checked:
        if not _is_scope_token(scope):
            raise ConfigurationError(
                "scopes",
                f"{scope!r} is not a scope-token (RFC 6749 section 3.3); give each scope as a separate argument",
            )
    return ScopeRequirement(checked)


def _is_scope_token(name: str) -> bool:
    # RFC 6749 section 3.3. A challenge carries it in a quoted list, separated by spaces.
    return bool(name) and all(0x21 <= ord(char) <= 0x7E and char not in '"\\' for char in name)


@frozen
class _SchemeRequirement(_BaseRequirement):
    names: tuple[str, ...]

    def unmet(self, principal: Principal, params: Mapping[str, str], moment: Moment) -> Failure | None:
        return None if principal.scheme in self.names else Failure(SCHEME_INSUFFICIENT, missing=self.names)

    def schemes(self, every: frozenset[str]) -> frozenset[str]:
        return every.intersection(self.names)

    def __str__(self) -> str:
        return f"via({', '.join(self.names)})"


def via(*schemes: str) -> Requirement:
    """Authenticated by one of these schemes; others are not accepted here. Names are compared in lower case.

    Denies with ``scheme.insufficient``.
    """
    return _SchemeRequirement(tuple(name.lower() for name in _check_names("via", schemes)))


@frozen
class StepUp(_BaseRequirement):
    acr: tuple[str, ...]
    max_age: int | None

    def unmet(self, principal: Principal, params: Mapping[str, str], moment: Moment) -> Failure | None:
        needed: dict[str, object] = {}
        found: dict[str, object] = {}
        if self.acr and (acr := principal.claims.get("acr")) not in self.acr:
            needed["acr_values"] = " ".join(self.acr)
            found["acr"] = acr if isinstance(acr, str) else _kind(acr)
        if self.max_age is not None and not self._is_fresh(auth_time := principal.claims.get("auth_time"), moment):
            needed["max_age"] = self.max_age
            found["auth_age"] = moment.by(auth_time) if _is_time(auth_time) else _kind(auth_time)
        return Failure(STEP_UP_REQUIRED, {**needed, **found}, missing=tuple(needed)) if needed else None

    def _is_fresh(self, auth_time: object, moment: Moment) -> bool:
        # A value that is not a number proves no age, and neither does a login in the future.
        return (
            _is_time(auth_time)
            and not moment.not_yet(auth_time)
            and not moment.expired(auth_time + (self.max_age or 0))
        )

    def __str__(self) -> str:
        arguments = [f"acr={' '.join(self.acr)}"] if self.acr else []
        arguments += [f"max_age={self.max_age}"] if self.max_age is not None else []
        return f"step_up({', '.join(arguments)})"


def _is_time(value: object) -> TypeGuard[int | float]:
    return not isinstance(value, bool) and isinstance(value, int | float) and abs(value) < 1e15


def _kind(claim: object) -> str:
    """What a record says of a claim that is not what it should be."""
    kind = type(claim).__name__
    return "absent" if claim is None else f"{'an' if kind == 'int' else 'a'} {kind}"


def step_up(*, acr: str | Iterable[str] = (), max_age: int | None = None) -> Requirement:
    """A stronger or fresher login (RFC 9470). Denies with ``step_up.required``.

    ``acr`` is one authentication context class or several, most preferred first; ``max_age`` is in whole seconds since
    ``auth_time``, to which the leeway is added.
    """
    classes = without_duplicates((acr,) if isinstance(acr, str) else acr)
    if max_age is not None and (isinstance(max_age, bool) or not isinstance(max_age, int) or max_age < 0):
        raise ConfigurationError("max_age", f"{max_age!r} is not a whole number of seconds, 0 or more")
    if not all(map(_is_scope_token, classes)) or (not classes and max_age is None):
        raise ConfigurationError("step_up", "give acr= (printable names without spaces), max_age=, or both")
    return StepUp(classes, max_age)


@frozen
class _PredicateRequirement(_BaseRequirement):
    name: str
    predicate: Predicate

    def unmet(self, principal: Principal, params: Mapping[str, str], moment: Moment) -> Failure | None:
        try:
            answer = self.predicate(principal, params)
        except Exception as error:  # noqa: BLE001 - whatever it raises, it did not return True
            raised = type(error).__name__
            problem = f"{shown(self.predicate)} raised {raised} at {raised_at(error)}"
            return Failure(CHECK_FAILED, {"raised": raised, "problem": problem}, missing=(self.name,))
        # Only True itself passes: a coroutine that was never awaited is truthy.
        if answer is True:
            return None
        facts: dict[str, object] = {}
        if answer is not False:
            returned = type(answer).__name__
            facts = {"returned": returned, "problem": f"{shown(self.predicate)} must return True or False"}
        return Failure(CHECK_REFUSED, facts, missing=(self.name,))

    def reads_params(self) -> bool:
        return True

    def __str__(self) -> str:
        return f"check({self.name})"


def predicate(name: str, function: Predicate) -> Requirement:
    """``function(principal, params)`` returns True; ``params`` are those of the rule's pattern, as strings.

    It must not block. Denies with ``check.refused``, also if it returns anything but True, and with ``check.failed``,
    which is logged at ERROR, if it raises. ``name`` stands for it in records and in the audit.
    """
    (checked,) = _check_names("name", (name,))
    plain_function("function", function, "function(principal, params)", None, {})
    return _PredicateRequirement(checked, function)


def reads_params(requirement: Requirement) -> bool:
    """Whether a requirement may look at the parameters of the path. One that the app has written may."""
    reads: Callable[[], bool] | None = getattr(requirement, "reads_params", None)
    return reads is None or reads()


def check_requirement(argument: str, value: object) -> None:
    """Raises ``ConfigurationError`` about ``argument`` unless the value is a requirement."""
    if isinstance(value, _BaseRequirement):
        return
    if isinstance(value, type) or not all(
        callable(getattr(value, name, None)) for name in ("unmet", "schemes", "scopes_named")
    ):
        raise ConfigurationError(argument, f"{value!r} is not a requirement; write {_suggestion(value)}")


def _suggestion(value: object) -> str:
    if isinstance(value, str):
        return value if value in {"PUBLIC", "OPTIONAL", "AUTHENTICATED"} else f'role("{value}")'
    is_collection = isinstance(value, list | tuple | set | frozenset)
    return "all_of(...) or any_of(...)" if is_collection else "role(...), scopes(...), AUTHENTICATED, ..."


def _check_names(argument: str, values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        if isinstance(value, list | tuple | set | frozenset):
            raise ConfigurationError(argument, f"give the names as separate arguments, not as a {type(value).__name__}")
    if not names(argument, values):
        raise ConfigurationError(argument, "give at least one name; an empty requirement would let everybody in")
    return without_duplicates(values)


def without_duplicates(values: Iterable[str]) -> tuple[str, ...]:
    """The values in their order, each of them once."""
    return tuple(dict.fromkeys(values))


def expand_role_hierarchy(role_hierarchy: Mapping[str, AbstractSet[str]]) -> dict[str, frozenset[str]]:
    """For each role all roles that it implies, directly or through other roles.

    Raises ``ConfigurationError`` for a role that implies itself, and for a string in place of a set of roles.
    """
    if not isinstance(role_hierarchy, Mapping):
        raise ConfigurationError("role_hierarchy", 'give a mapping such as {"admin": {"editor"}}')
    names("role_hierarchy", role_hierarchy)
    direct = {senior: names("role_hierarchy", juniors) for senior, juniors in role_hierarchy.items()}
    expanded: dict[str, frozenset[str]] = {}
    for senior, juniors in direct.items():
        implied: set[str] = set()
        to_visit = set(juniors)
        while to_visit:
            junior = to_visit.pop()
            if junior == senior:
                raise ConfigurationError(
                    "role_hierarchy", f"{senior!r} implies itself, directly or through other roles"
                )
            if junior not in implied:
                implied.add(junior)
                to_visit |= direct.get(junior, frozenset())
        expanded[senior] = frozenset(implied)
    return expanded
