"""The functions that an app gives: checked while it is built, and named in the record of a request that one fails.

A function that is not async, or that returns the wrong thing, would otherwise be a ``TypeError`` at each request.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar

from authguard.errors import ConfigurationError, WrongAnswer
from authguard.source_location import definition_location, name_of, short

T = TypeVar("T", bound=Callable[..., Any])
A = TypeVar("A")

# What a return annotation of a function that is not `async def`, and can be awaited all the same, is made of.
_AWAITED = ("Awaitable", "Coroutine", "Future", "Task")


def async_function(argument: str, function: T, called: str, /, *args: object, **kwargs: object) -> T:
    """The function, if it can be awaited when it is called with such arguments, as far as that can be seen.

    ``called`` shows a call, such as ``"find(username)"``. Raises ``ConfigurationError`` about ``argument`` for anything
    else. What a lambda returns, or the wrapper that a decorator has made, is seen only when it is called.
    """
    if inspect.iscoroutine(function):
        function.close()
        raise ConfigurationError(argument, f"give the function itself and not what it returns: {_name_of(function)}")
    if isinstance(function, type):
        raise ConfigurationError(argument, f"{function.__name__} is a class; give an async function: {called}")
    if not callable(function):
        raise ConfigurationError(argument, f"{function!r} is not an async function: async def {called}")
    code = _python_code(function)
    if inspect.isasyncgenfunction(code) or inspect.isgeneratorfunction(code):
        raise ConfigurationError(argument, f"{shown(function)} has a yield, so it returns nothing; write return")
    if code is not None and _is_plain(code):
        raise ConfigurationError(argument, f"{shown(function)} is not async; write async def {called}")
    _check_signature(argument, function, called, *args, **kwargs)
    return function


def plain_function(argument: str, function: T, called: str, /, *args: object, **kwargs: object) -> T:
    """The function, if it can be called with such arguments and answers at once, as far as that can be seen.

    ``called`` shows a call, such as ``"hook(record)"``. Raises ``ConfigurationError`` about ``argument`` for anything
    else.
    """
    if not callable(function):
        raise ConfigurationError(argument, f"{function!r} is not a function; give {called}")
    code = _python_code(function)
    if inspect.iscoroutinefunction(code) or inspect.isasyncgenfunction(code):
        raise ConfigurationError(
            argument, f"{shown(function)} must not be async: it is called while the request waits; write def"
        )
    _check_signature(argument, function, called, *args, **kwargs)
    return function


def _name_of(coroutine: Any) -> str:
    return str(coroutine.__qualname__).rpartition("<locals>.")[2]


def _python_code(function: Any) -> Any:
    """The function or method that runs; None if it is not written in Python, or is a mock that can be awaited."""
    function = _unwrap_partial(function)
    if inspect.isfunction(function) or inspect.ismethod(function):
        return function
    if any(hasattr(function, mark) for mark in ("_is_coroutine", "_is_coroutine_mark")):
        return None
    call = getattr(type(function), "__call__", None)  # noqa: B004 - the method, and not whether there is one
    return call if inspect.isfunction(call) else None


def _unwrap_partial(function: Any) -> Any:
    while isinstance(function, partial):
        function = function.func
    return function


def _is_plain(code: Any) -> bool:
    """Whether it is certain that the function returns nothing that can be awaited."""
    if inspect.iscoroutinefunction(code) or code.__name__ == "<lambda>" or hasattr(code, "__wrapped__"):
        return False
    if hasattr(code, "_is_coroutine") or hasattr(code, "_is_coroutine_mark"):
        return False
    returned = str(code.__annotations__.get("return", ""))
    return not any(word in returned for word in _AWAITED)


def _check_signature(argument: str, function: Any, called: str, *args: object, **kwargs: object) -> None:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # a function written in C may have none
        return
    for parameter in signature.parameters.values():
        if type(parameter.default).__module__.startswith("fastapi."):
            raise ConfigurationError(
                argument,
                f"{shown(function)} has {parameter.name} = {type(parameter.default).__name__}(...), which FastAPI "
                "fills in for endpoints alone; open what it needs inside of the function",
            )
    problem = None
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        problem = str(error)
    if problem is not None:
        raise ConfigurationError(argument, f"{shown(function)} is called as {called}: {problem}")


def shown(function: object) -> str:
    """The name of a function with file and line, as errors and records show it: ``known (shop/auth.py:12)``."""
    function = _unwrap_partial(function)
    location = short(definition_location(function))
    return f"{name_of(function)} ({location})" if location else name_of(function)


def awaitable(function: object, answer: Awaitable[A]) -> Awaitable[A]:
    """The answer of a function that should be async. Raises ``WrongAnswer`` for one that cannot be awaited."""
    if not inspect.isawaitable(answer):
        raise WrongAnswer(f"{shown(function)} is not async; write async def")
    return answer


def wrong_answer(function: object, answer: object, wanted: str) -> WrongAnswer:
    """The error for a function that has returned the wrong thing. It names the type: the value may be a secret."""
    if inspect.iscoroutine(answer):
        answer.close()  # Python would warn of it, at some later time
    kind = "None" if answer is None else f"a {type(answer).__name__}"
    return WrongAnswer(f"{shown(function)} returned {kind}; return {wanted}")
