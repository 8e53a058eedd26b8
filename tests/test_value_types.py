"""Classes of values: what they share with dataclasses, and that nothing in authguard changes a value."""

from __future__ import annotations

import ast
import copy
import dataclasses
import inspect
import operator
import pickle
from collections.abc import Iterator
from dataclasses import FrozenInstanceError, field
from pathlib import Path
from typing import Any, get_type_hints

import pytest

import authguard
from authguard import Denied, Moment, Principal
from authguard.reasons import ROLE_MISSING, TOKEN_EXPIRED
from authguard.value_types import frozen, mutable, value

PACKAGE = Path(authguard.__file__).parent


@value
class Parcel:
    """A value with each kind of field."""

    sender: str
    weight: float = 1.0
    code: str = field(default="", repr=False)
    seen: int = field(default=0, compare=False)
    stamps: list[str] = field(default_factory=list, hash=False)

    @property
    def heavy(self) -> bool:
        """Whether it weighs more than twenty."""
        return self.weight > 20


@frozen
class Label:
    """A value that many share."""

    text: str
    size: int = 1

    def __post_init__(self) -> None:
        if not self.text:
            msg = "no text"
            raise ValueError(msg)


@mutable
class Shelf:
    """A state."""

    parcels: list[Parcel] = field(default_factory=list)
    full: bool = False


@frozen
class Shape:
    """A value with a text of its own, and without fields."""

    def __repr__(self) -> str:
        return "a shape"


@frozen
class Box(Shape):
    """A value that inherits its text."""

    width: int


@frozen
class TallBox(Box):
    """A value that inherits a field."""

    height: int


class Outer:
    """A class with a value class inside."""

    @value
    class Inner:
        """The value class."""

        number: int


def test_values_are_equal_if_their_compared_fields_are() -> None:
    """A field with ``compare=False`` does not count, and a value of another class is never equal."""
    assert Parcel("a", 2.0, seen=1) == Parcel("a", 2.0, seen=2)
    assert Parcel("a", 2.0) != Parcel("a", 3.0)
    assert Box(1) != TallBox(1, 1)
    assert operator.ne(Label("1"), "1")
    assert Shape() == Shape()


def test_equal_values_have_one_hash() -> None:
    """A field that is not compared, or has ``hash=False``, is not hashed."""
    assert hash(Parcel("a", seen=1)) == hash(Parcel("a", seen=2, stamps=["b"]))
    assert len({Label("a"), Label("a"), Label("b"), TallBox(1, 2), TallBox(1, 2), TallBox(2, 1)}) == 4


def test_a_value_shows_its_fields_but_for_those_without_repr() -> None:
    """A secret is in no traceback. A class that has or inherits a ``__repr__`` keeps it."""
    assert repr(Parcel("a", code="s3cr3t")) == "Parcel(sender='a', weight=1.0, seen=0, stamps=[])"
    assert repr(Outer.Inner(1)) == "Outer.Inner(number=1)"
    assert (repr(Shape()), repr(Box(1)), repr(Shelf())) == ("a shape", "a shape", "Shelf(parcels=[], full=False)")


def test_each_value_has_its_own_default_of_a_factory() -> None:
    """A change of one list changes no other."""
    Parcel("a").stamps.append("x")

    assert Parcel("a").stamps == []
    assert Parcel("a", stamps=["y"]).stamps == ["y"]


def test_a_class_shows_the_arguments_of_its_constructor() -> None:
    """Editors, and FastAPI, read names, annotations and defaults."""
    signature = inspect.signature(Parcel)

    assert str(signature) == (
        "(sender: 'str', weight: 'float' = 1.0, code: 'str' = '', seen: 'int' = 0, "
        "stamps: 'list[str]' = <factory>) -> 'None'"
    )
    assert get_type_hints(Parcel.__init__)["stamps"] == list[str]
    assert (Parcel.__init__.__qualname__, Parcel.__doc__) == ("Parcel.__init__", "A value with each kind of field.")


def test_the_constructor_runs_the_checks_of_the_class() -> None:
    """``__post_init__`` sees the fields, and an error of it is an error of the constructor."""
    with pytest.raises(ValueError, match="no text"):
        Label("")


@pytest.mark.parametrize("one", [Parcel("a", 2.0, "b", 3, ["c"]), Label("a", 2), TallBox(1, 2)], ids=repr)
def test_a_copy_is_equal(one: Any) -> None:
    """By ``copy``, by ``pickle`` in each protocol (logging uses the second), and by ``copy.replace`` of Python 3.13."""
    pickled = [pickle.loads(pickle.dumps(one, protocol)) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)]
    copies = [copy.copy(one), copy.deepcopy(one), one.__replace__(), *pickled]

    assert all(each == one and each is not one for each in copies)
    assert {repr(each) for each in copies} == {repr(one)}


def test_the_functions_of_dataclasses_take_values() -> None:
    """``replace``, ``fields``, ``asdict`` and ``is_dataclass``, for inherited fields too."""
    assert dataclasses.replace(Parcel("a"), weight=30).heavy
    assert [each.name for each in dataclasses.fields(TallBox)] == ["width", "height"]
    assert dataclasses.asdict(TallBox(1, 2)) == {"width": 1, "height": 2}
    assert dataclasses.is_dataclass(Box)
    assert not dataclasses.is_dataclass(Shape.__base__)


def test_a_pattern_matches_the_fields_in_order() -> None:
    """``case TallBox(1, height)`` works as with a dataclass."""
    match TallBox(1, 2):
        case TallBox(1, height):
            assert height == 2
        case _:
            pytest.fail("it does not match")


def test_a_frozen_value_cannot_be_changed() -> None:
    """No field can be assigned to or deleted, and nothing can be added."""
    label: Any = Label("a")

    for name in ("text", "other"):
        with pytest.raises(FrozenInstanceError, match=f"cannot assign to field '{name}'"):
            setattr(label, name, "b")
        with pytest.raises(FrozenInstanceError, match=f"cannot delete field '{name}'"):
            delattr(label, name)
    assert label == Label("a")


@pytest.mark.parametrize("kind", [Parcel, Label, Shelf, Denied, Moment, Principal])
def test_an_instance_has_slots_alone(kind: type) -> None:
    """A misspelt attribute is an error, and an instance is small."""
    assert "__dict__" not in dir(kind)


def test_a_mutable_object_equals_itself_alone() -> None:
    """Two states that look the same are two states."""
    shelf = Shelf()
    shelf.full = True

    assert shelf.full
    assert shelf != Shelf(full=True)
    assert len({shelf, Shelf(full=True)}) == 2
    assert not dataclasses.is_dataclass(shelf)


class Staff(Principal):
    """A principal of an app, with an attribute of its own."""


@dataclasses.dataclass(frozen=True)
class OwnDenial(Denied):
    """A denial of an app, with a field of its own."""

    ticket: str = ""


def test_an_app_may_derive_a_class() -> None:
    """A plain subclass has attributes of its own; a dataclass has fields of its own. The inherited ones stay frozen."""
    staff: Any = Staff("a")
    staff.desk = 3
    del staff.desk
    denial = OwnDenial(TOKEN_EXPIRED, "bearer", ticket="7")

    with pytest.raises(FrozenInstanceError):
        staff.subject = "b"
    assert not hasattr(staff, "desk")
    assert repr(denial).endswith("response_headers=(), enforced=True, ticket='7')")
    assert denial != Denied(TOKEN_EXPIRED, "bearer")
    assert dataclasses.replace(denial, reason=ROLE_MISSING).ticket == "7"
    assert isinstance(denial, Denied)


# --- No assignment ---------------------------------------------------------------------------------------------------

#: Variables that hold no value, but something with attributes of the same names: a request context, a principal that
#: is being made, an exception, a login that waits, a flight, the text of a request, a minute of a count, what was seen.
OTHER_VARIABLES = {"context", "draft", "error", "login", "minute", "own", "request", "seen"}


def trees() -> Iterator[tuple[str, ast.Module]]:
    """The syntax tree of each module."""
    for file in sorted(PACKAGE.rglob("*.py")):
        yield str(file.relative_to(PACKAGE)), ast.parse(file.read_text("utf-8"))


def value_fields() -> dict[str, set[str]]:
    """The fields of each class that ``value`` decorates."""
    return {
        node.name: {ast.unparse(each.target) for each in node.body if isinstance(each, ast.AnnAssign)}
        for _, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and any(ast.unparse(each) == "value" for each in node.decorator_list)
    }


def assigned(node: ast.AST, kind: str = "", function: str = "") -> Iterator[tuple[str, str, str]]:
    """Each attribute that code assigns to or deletes, with its class and its function."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef):
            yield from assigned(child, child.name)
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from assigned(child, kind, child.name)
        else:
            if isinstance(child, ast.Attribute) and not isinstance(child.ctx, ast.Load):
                yield ast.unparse(child), kind, function
            yield from assigned(child, kind, function)


def test_no_value_is_assigned_to_after_it_was_built() -> None:
    """A value is shared: by the log, by hooks, by caches. Only ``__init__`` assigns to its fields."""
    fields = value_fields()
    names = set().union(*fields.values())

    found = {
        f"{file}: {target}"
        for file, tree in trees()
        for target, kind, function in assigned(tree)
        if target.rpartition(".")[2] in names
        and target.partition(".")[0] not in OTHER_VARIABLES
        and function != "__init__"
        and (kind in fields or not target.startswith("self."))
    }

    assert {"Moment", "Denied", "Accepted", "Jws", "Credentials", "Reply"} <= fields.keys()
    assert found == set()
