"""Decorators for classes of values: declare the fields as in a dataclass, and get a class with a slot for each.

``value`` is for what each request makes, ``frozen`` for what many requests share, ``mutable`` for state. A frozen
dataclass takes three times as long to build as a ``value``, and makes seven methods when its module is imported; these
make one, so that authguard is imported faster. ``dataclasses.replace``, ``fields`` and ``asdict`` take values too.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, Field, FrozenInstanceError
from operator import attrgetter
from typing import Any, TypeAlias, TypeVar, cast, dataclass_transform

T = TypeVar("T")
#: The annotation and the ``field(...)`` of each field, by name.
_Declared: TypeAlias = Mapping[str, tuple[str, "Field[Any]"]]


@dataclass_transform(frozen_default=True, field_specifiers=(dataclasses.field,))
def value(cls: type[T]) -> type[T]:
    """A class whose instances are equal if their fields are. Type checkers refuse every assignment to a field.

    At run time an assignment is possible, because preventing it costs more than the rest of ``__init__``. authguard
    itself makes none.
    """
    return _with_slots(cls, _COMPARED)


@dataclass_transform(frozen_default=True, field_specifiers=(dataclasses.field,))
def frozen(cls: type[T]) -> type[T]:
    """A ``value`` that raises ``FrozenInstanceError`` for an assignment at run time too."""
    return _with_slots(cls, {**_COMPARED, **_FROZEN})


@dataclass_transform(eq_default=False, field_specifiers=(dataclasses.field,))
def mutable(cls: type[T]) -> type[T]:
    """A class whose fields may be assigned to. An instance equals only itself."""
    return _with_slots(cls, {})


def _with_slots(cls: type[T], methods: Mapping[str, object]) -> type[T]:
    """The class again, with slots for its fields, and with each of the methods that it neither has nor inherits."""
    namespace = {name: item for name, item in vars(cls).items() if name not in {"__dict__", "__weakref__"}}
    own = {
        name: (text, _field(namespace.pop(name, MISSING)))
        for name, text in namespace.get("__annotations__", {}).items()
    }
    declared: _Declared = {**getattr(cls, "__declared__", {}), **own}
    fields = [(name, field) for name, (_, field) in declared.items()]
    namespace |= {
        "__slots__": tuple(own),
        "__match_args__": tuple(declared),
        "__declared__": declared,
        "__shown__": tuple(name for name, field in fields if field.repr),
        "__compared__": _getter(name for name, field in fields if field.compare),
        "__hashed__": _getter(name for name, field in fields if field.compare and field.hash is not False),
    }
    for name, method in {**_SHARED, **methods}.items():
        if getattr(cls, name, None) is getattr(object, name, None):
            namespace[name] = method
    if methods:
        namespace |= {name: _FromDataclass() for name in ("__dataclass_fields__", "__dataclass_params__")}
    # A class gets its slots when it is made, so it is made a second time, as dataclasses do.
    make_class: Callable[..., Any] = type(cls)
    slotted = make_class(cls.__name__, cls.__bases__, namespace)
    slotted.__qualname__ = cls.__qualname__
    if "__init__" not in namespace and (own or cls.__init__ is object.__init__):
        slotted.__init__ = _init(slotted, declared, is_frozen=slotted.__setattr__ is _refuse_to_set)
    return cast("type[T]", slotted)


def _field(default: Any) -> Field[Any]:
    """The ``field(...)`` of what a class body assigns to a name."""
    return default if isinstance(default, Field) else dataclasses.field(default=default)


def _getter(names: Iterable[str]) -> Callable[[object], object]:
    """Returns the values of these attributes, in one object that can be compared and hashed."""
    return attrgetter(*(tuple(names) or ("__class__",)))


def _init(cls: type, declared: _Declared, *, is_frozen: bool) -> Callable[..., None]:
    """Compile ``__init__``. It assigns to the slots, or calls ``object.__setattr__`` if the class is frozen."""
    given: dict[str, object] = {"_factory": _FACTORY, "_set": object.__setattr__}
    parameters, lines = ["self"], []
    for name, (_, field) in declared.items():
        assigned = name
        if field.default_factory is not MISSING:
            given[f"_make_{name}"] = field.default_factory
            parameters.append(f"{name}=_factory")
            assigned = f"_make_{name}() if {name} is _factory else {name}"
        elif field.default is not MISSING:
            given[f"_default_{name}"] = field.default
            parameters.append(f"{name}=_default_{name}")
        else:
            parameters.append(name)
        lines.append(f"_set(self, {name!r}, {assigned})" if is_frozen else f"self.{name} = {assigned}")
    if hasattr(cls, "__post_init__"):
        lines.append("self.__post_init__()")
    body = "\n  ".join(lines or ["pass"])
    source = f"def make({', '.join(given)}):\n def __init__({', '.join(parameters)}):\n  {body}\n return __init__"
    made: dict[str, Any] = {}
    exec(source, vars(sys.modules[cls.__module__]), made)  # noqa: S102 - it holds the names of fields, and no input
    init: Callable[..., None] = made["make"](**given)
    init.__qualname__ = f"{cls.__qualname__}.__init__"
    init.__annotations__ = {name: text for name, (text, _) in declared.items()} | {"return": "None"}
    return init


class _Factory:
    """The default of a parameter whose value a ``default_factory`` makes."""

    def __repr__(self) -> str:
        return "<factory>"


_FACTORY = _Factory()


class _FromDataclass:
    """An attribute of the frozen dataclass that has the same fields. It is made when somebody first reads it."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._owner, self._name = owner, name

    def __get__(self, instance: object, owner: type) -> object:
        declared: _Declared = vars(self._owner)["__declared__"]
        fields = [(name, text, field) for name, (text, field) in declared.items()]
        attribute = getattr(dataclasses.make_dataclass(self._owner.__name__, fields, frozen=True), self._name)
        setattr(self._owner, self._name, attribute)
        return attribute


def _repr(self: Any) -> str:
    fields = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__shown__)
    return f"{type(self).__qualname__}({fields})"


def _replace(self: Any, **changes: Any) -> Any:
    return dataclasses.replace(self, **changes)


def _getstate(self: Any) -> Sequence[object]:
    return [getattr(self, name) for name in self.__declared__]


def _setstate(self: Any, state: Sequence[object]) -> None:
    for name, item in zip(self.__declared__, state, strict=True):
        object.__setattr__(self, name, item)


def _equal(self: Any, other: Any) -> Any:
    if type(other) is not type(self):
        return NotImplemented
    return self is other or self.__compared__(self) == self.__compared__(other)


def _hash(self: Any) -> int:
    return hash(self.__hashed__(self))


def _refuse_to_set(self: Any, name: str, item: object) -> None:
    if name in self.__declared__ or "__declared__" in vars(type(self)):
        raise FrozenInstanceError(f"cannot assign to field {name!r}")
    object.__setattr__(self, name, item)  # a subclass may have attributes of its own


def _refuse_to_delete(self: Any, name: str) -> None:
    if name in self.__declared__ or "__declared__" in vars(type(self)):
        raise FrozenInstanceError(f"cannot delete field {name!r}")
    object.__delattr__(self, name)


_SHARED: Mapping[str, object] = {"__repr__": _repr, "__getstate__": _getstate, "__setstate__": _setstate}
_COMPARED: Mapping[str, object] = {"__eq__": _equal, "__hash__": _hash, "__replace__": _replace}
_FROZEN: Mapping[str, object] = {"__setattr__": _refuse_to_set, "__delattr__": _refuse_to_delete}
