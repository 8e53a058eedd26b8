"""How ``authguard.starlette.requires`` finds the parameter for the request, and what it refuses to lock."""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncIterator, Iterator
from types import FunctionType
from typing import TYPE_CHECKING, Annotated, Any

import pytest
import starlette.requests
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint
from starlette.requests import HTTPConnection, Request
from starlette.requests import Request as Incoming
from starlette.responses import Response

from authguard import ConfigurationError
from authguard.starlette import requires
from tests.support.guards import PUBLIC_RULES, RecordingGuard
from tests.support.locks import ADMIN, BOSS, FINE, status

if TYPE_CHECKING:
    from somewhere import Something  # type: ignore[import-not-found]


# --- How it finds the request ----------------------------------------------------------------------------------------


class OwnRequest(Request):
    """A request class of the app."""


def _by_name(request):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    return FINE


def _by_annotation(incoming: Request) -> Response:
    return FINE


def _by_module(incoming: starlette.requests.Request) -> Response:
    return FINE


def _by_alias(incoming: Incoming) -> Response:
    return FINE


def _by_kind(incoming: HTTPConnection) -> Response:
    return FINE


def _by_subclass(incoming: OwnRequest) -> Response:
    return FINE


def _with_state(incoming: Request[Any]) -> Response:
    return FINE


def _annotated(incoming: Annotated[Request, "whose"]) -> Response:
    return FINE


def _beside_an_unknown_name(incoming: Request, other: Something = None) -> Response:
    return FINE


def _with_state_beside_an_unknown_name(incoming: starlette.requests.Request[Any], other: Something = None) -> Response:
    return FINE


def _not_first(request: int = 0, incoming: Request = None) -> Response:  # type: ignore[assignment]
    return FINE


WITH_REQUEST = [_by_name, _by_annotation, _by_module, _by_alias, _by_kind, _by_subclass, _with_state, _annotated]
WITH_REQUEST += [_beside_an_unknown_name, _with_state_beside_an_unknown_name]


@pytest.mark.parametrize("endpoint", WITH_REQUEST)
@pytest.mark.parametrize("strings", [True, False])
async def test_the_request_is_found(endpoint: Any, strings: bool) -> None:
    """The request parameter is found by its annotation, which may be a string, or else by its name."""
    if not strings and "unknown" not in endpoint.__name__:
        copy = FunctionType(endpoint.__code__, endpoint.__globals__, endpoint.__name__)
        copy.__annotations__ = inspect.get_annotations(endpoint, eval_str=True)
        endpoint = copy

    assert (await status(ADMIN(endpoint)), await status(BOSS(endpoint))) == (200, 403)


async def test_an_annotation_counts_more_than_a_name() -> None:
    """A parameter called ``request`` may be anything."""
    app = FastAPI()
    app.get("/")(BOSS(_not_first))

    assert (await RecordingGuard(rules=PUBLIC_RULES).request(app)).status == 403


# --- What it refuses -------------------------------------------------------------------------------------------------


class Endpoint(HTTPEndpoint):
    """A class whose methods are locked one by one."""

    def get(self, request: Request) -> Response:
        return FINE

    def __call__(self, request: Request) -> Response:
        return FINE


def _generator(request: Request) -> Iterator[bytes]:
    yield b""


async def _async_generator(request: Request) -> AsyncIterator[bytes]:
    yield b""


def _without(*request: Any, **websocket: Any) -> Response:
    return FINE


def _of_another_kind(order: int, text: str = "Request") -> Response:
    return FINE


NOT_FUNCTIONS = [
    Endpoint,
    Endpoint.__new__(Endpoint),
    Endpoint.__new__(Endpoint).get,
    functools.partial(_by_name),
    staticmethod(_by_name),
    _generator,
    _async_generator,
    print,
    None,
    Starlette(),
]


@pytest.mark.parametrize("value", NOT_FUNCTIONS)
def test_only_a_function_can_be_locked(value: Any) -> None:
    """The decorator raises, and the message says what can be locked."""
    with pytest.raises(ConfigurationError, match=r"^requires: .* is not a function; lock the methods of"):
        BOSS(value)


@pytest.mark.parametrize("endpoint", [_without, _of_another_kind, lambda: FINE, Endpoint.dispatch])
def test_a_function_without_a_request_cannot_be_locked(endpoint: Any) -> None:
    """The decorator raises, and the message names the function and the fix."""
    with pytest.raises(ConfigurationError, match=r"^requires: \S+ has no parameter .* annotate one with Request"):
        BOSS(endpoint)


@pytest.mark.parametrize("value", ["boss", None, _by_name])
def test_requires_takes_a_requirement_only(value: Any) -> None:
    """Any other argument raises, such as a function if the parentheses were forgotten."""
    with pytest.raises(ConfigurationError, match=r"^requirement: .* is not a requirement"):
        requires(value)


@pytest.mark.parametrize("arguments", [(), (1,), ("request", 2)])
async def test_a_call_without_a_request_is_an_error(arguments: tuple[object, ...]) -> None:
    """If another decorator passes other arguments on, the call raises, and the endpoint does not run."""
    with pytest.raises(
        ConfigurationError, match=r"^requires: _by_annotation was called without a request as 'incoming'; put requires"
    ):
        await ADMIN(_by_annotation)(*arguments)
