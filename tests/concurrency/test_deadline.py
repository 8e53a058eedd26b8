"""How the faster method of a store, a key source or a scheme is found, and when it would bypass a newer one."""

from __future__ import annotations

from typing import Any

import pytest

from authguard import Rejected
from authguard.concurrency.deadline import is_overtaken, optional_method
from tests.support.guards import GuardedApp
from tests.support.schemes.badge import BADGE_WRONG
from tests.support.schemes.bearer import bearer
from tests.support.tokens import mint


class Plain:
    """A store with both methods."""

    is_fast = True

    def find_now(self) -> str:
        return "now"

    async def find(self) -> str:
        return "later"


class Inherits(Plain):
    """A store that changes nothing."""


class OverridesBoth(Plain):
    """A store with two methods of its own."""

    def find_now(self) -> str:
        return "own, now"

    async def find(self) -> str:
        return "own, later"


class OverridesFast(Plain):
    """A store that inherits the slow method."""

    def find_now(self) -> str:
        return "own, now"


class OverridesSlow(Plain):
    """A store that inherits the fast method, which knows nothing of the new slow one."""

    async def find(self) -> str:
        return "own, later"


class BelowIt(OverridesSlow):
    """A store two classes further on."""


class Logging:
    """A class to mix in, which overrides the slow method."""

    async def find(self) -> str:
        return "logged"


class Mixed(Logging, Plain):
    """A store whose slow method comes from the class that is mixed in."""


class Slotted(Plain):
    """A store without a ``__dict__``."""

    __slots__ = ()


class Without:
    """A store without the fast method."""

    async def find(self) -> str:
        return "later"


class NoMethod(Without):
    """A store whose ``find_now`` is no method."""

    find_now = None


class Proxy:
    """Passes every attribute on to another object."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


class Checking(Proxy):
    """A proxy with a slow method of its own."""

    async def find(self) -> str:
        return "checked"


class SlottedChecking:
    """The same without a ``__dict__``."""

    __slots__ = ("inner",)

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    async def find(self) -> str:
        return "checked"


def with_attribute(store: Any, name: str) -> Any:
    """The store with a function of its own in place of one of its methods."""
    setattr(store, name, lambda: "patched")
    return store


FOUND = [
    (Plain(), "now"),
    (Inherits(), "now"),
    (OverridesBoth(), "own, now"),
    (OverridesFast(), "own, now"),
    (Slotted(), "now"),
    (Proxy(Plain()), "now"),
    (with_attribute(Plain(), "find_now"), "patched"),
    (with_attribute(Without(), "find_now"), "patched"),
]


@pytest.mark.parametrize(("store", "answer"), FOUND, ids=lambda value: type(value).__name__)
def test_a_fast_method_is_found_where_the_slow_one_is_no_newer(store: Any, answer: str) -> None:
    """The fast method counts in a class that defines it, in subclasses, and through a proxy that changes nothing."""
    method = optional_method(store, "find_now", beside="find")

    assert method() == answer


BYPASSING = [
    OverridesSlow(),
    BelowIt(),
    Mixed(),
    Without(),
    NoMethod(),
    Checking(Plain()),
    SlottedChecking(Plain()),
    Checking(with_attribute(Plain(), "find_now")),
    SlottedChecking(with_attribute(Plain(), "find_now")),
    with_attribute(Plain(), "find"),
]


@pytest.mark.parametrize("store", BYPASSING, ids=lambda value: type(value).__name__)
def test_a_fast_method_that_would_bypass_a_newer_one_is_not_used(store: Any) -> None:
    """A subclass, a class that is mixed in, a wrapper or the object itself may have a newer slow method."""
    assert optional_method(store, "find_now", beside="find") is None


def test_an_attribute_is_overtaken_too() -> None:
    """What a class says of its method does not hold for the method of a subclass or a wrapper."""
    stores = [Plain(), OverridesFast(), OverridesSlow(), Checking(Plain())]

    assert [is_overtaken(store, "is_fast", by="find") for store in stores] == [False, False, True, True]


class Refusing(Proxy):
    """A wrapper of a scheme that lets nobody in."""

    async def authenticate(self, request: Any, credentials: Any) -> Rejected:
        return Rejected(BADGE_WRONG)


async def test_a_wrapper_of_a_scheme_is_not_bypassed() -> None:
    """A wrapper has the last word, although it passes ``authenticate_now`` on from the scheme that it wraps."""
    answer = await GuardedApp(Refusing(bearer())).get_with_token(mint())

    assert (answer.status, answer.reason) == (401, "badge.wrong")
