"""``authguard.starlette.requires``: how it finds the request, and what it refuses to be laid on."""

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
from starlette.requests import Request as Asked
from starlette.responses import Response

from authguard import ConfigurationError
from authguard.starlette import requires
from tests.support.guards import PUBLIC_RULES, RecordingGuard
from tests.test_starlette import ADMIN, BOSS, FINE, status

if TYPE_CHECKING:
    from somewhere import Something  # type: ignore[import-not-found]


# --- How it finds the request ----------------------------------------------------------------------------------------


class Own(Request):
    """A request of the app's own."""


def _by_name(request):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    return FINE


def _by_annotation(asked: Request) -> Response:
    return FINE


def _by_module(asked: starlette.requests.Request) -> Response:
    return FINE


def _by_alias(asked: Asked) -> Response:
    return FINE


def _by_kind(asked: HTTPConnection) -> Response:
    return FINE


def _by_subclass(asked: Own) -> Response:
    return FINE


def _with_state(asked: Request[Any]) -> Response:
    return FINE


def _annotated(asked: Annotated[Request, "whose"]) -> Response:
    return FINE


def _beside_what_is_unknown(asked: Request, other: Something = None) -> Response:
    return FINE


def _with_state_beside_what_is_unknown(asked: starlette.requests.Request[Any], other: Something = None) -> Response:
    return FINE


def _not_first(request: int = 0, asked: Request = None) -> Response:  # type: ignore[assignment]
    return FINE


FOUND = [_by_name, _by_annotation, _by_module, _by_alias, _by_kind, _by_subclass, _with_state, _annotated]
FOUND += [_beside_what_is_unknown, _with_state_beside_what_is_unknown]


@pytest.mark.parametrize("endpoint", FOUND)
@pytest.mark.parametrize("strings", [True, False])
async def test_the_request_is_found(endpoint: Any, strings: bool) -> None:
    """By its annotation, a string or not, and where there is none by its name."""
    if not strings and "unknown" not in endpoint.__name__:
        own = FunctionType(endpoint.__code__, endpoint.__globals__, endpoint.__name__)
        own.__annotations__ = inspect.get_annotations(endpoint, eval_str=True)
        endpoint = own

    assert (await status(ADMIN(endpoint)), await status(BOSS(endpoint))) == (200, 403)


async def test_an_annotation_says_more_than_a_name() -> None:
    """What is called ``request`` may be what is ordered."""
    app = FastAPI()
    app.get("/")(BOSS(_not_first))

    assert (await RecordingGuard(rules=PUBLIC_RULES).request(app)).status == 403


# --- What it refuses -------------------------------------------------------------------------------------------------


class Endpoint(HTTPEndpoint):
    """What is locked method by method."""

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


NO_FUNCTIONS = [
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


@pytest.mark.parametrize("odd", NO_FUNCTIONS)
def test_what_is_no_function_is_refused(odd: Any) -> None:
    """At the decoration; the message says what can be locked."""
    with pytest.raises(ConfigurationError, match=r"^requires: .* is no function; lock the methods of"):
        BOSS(odd)


@pytest.mark.parametrize("endpoint", [_without, _of_another_kind, lambda: FINE, Endpoint.dispatch])
def test_a_function_without_a_request_is_refused(endpoint: Any) -> None:
    """At the decoration; the message names the function and the mend."""
    with pytest.raises(ConfigurationError, match=r"^requires: \S+ has no parameter .* annotate one with Request"):
        BOSS(endpoint)


@pytest.mark.parametrize("odd", ["boss", None, _by_name])
def test_what_is_no_requirement_is_refused(odd: Any) -> None:
    """Also where the parentheses were forgotten."""
    with pytest.raises(ConfigurationError, match=r"^requirement: .* is no requirement"):
        requires(odd)


@pytest.mark.parametrize("given", [(), (1,), ("request", 2)])
async def test_what_is_called_without_a_request_stays_closed(given: tuple[object, ...]) -> None:
    """By a decorator that changes what it passes on: a mistake, told as one, and never a pass."""
    with pytest.raises(ConfigurationError, match=r"^requires: asked of _by_annotation got no request; lay requires"):
        await ADMIN(_by_annotation)(*given)
