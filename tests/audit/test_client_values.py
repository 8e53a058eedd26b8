"""What slips past the refusal of ``ServerValue`` is a finding: a principal that the client fills in."""

from __future__ import annotations

import dataclasses
import functools
from typing import Annotated, Any

import pydantic
import pytest
from fastapi import APIRouter, Depends, FastAPI, WebSocket
from fastapi.routing import APIRoute
from pydantic_core import core_schema
from starlette.requests import Request
from typing_extensions import TypedDict

from authguard import AUTHENTICATED, Guard, Principal, Rule, role
from authguard.audit.audit import assert_closed, audit
from authguard.fastapi import CurrentPrincipal, install, requires
from tests.support.schemes.badge import Badge


class Staff(Principal):
    """A principal with a constructor of its own, which FastAPI can fill in."""

    def __init__(self, name: str) -> None:
        super().__init__(name, roles={"staff"})

    @classmethod
    def of(cls, name: str) -> Staff:
        """The same as a method."""
        return cls(name)


class Known(Principal):
    """A principal that is made of what the guard knows."""

    def __init__(self, who: CurrentPrincipal, request: Request) -> None:
        super().__init__(who.subject, roles={"known"})


class Sent(Principal):
    """A principal that brings a schema of its own."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        return core_schema.no_info_plain_validator_function(cls)


class Order(pydantic.BaseModel):
    """A model with a principal in it, which pydantic builds later."""

    model_config = pydantic.ConfigDict(defer_build=True)
    lines: list[Line]


class Line(pydantic.BaseModel):
    """A part of it."""

    model_config = pydantic.ConfigDict(defer_build=True)
    parent: Order | None = None
    who: Principal | None


@dataclasses.dataclass
class Data:
    """The same as a dataclass."""

    who: Sent


class Mapping(TypedDict):
    """The same as a mapping."""

    who: list[Sent]


class Unresolved(pydantic.BaseModel):
    """A model that names what only type checkers know."""

    model_config = pydantic.ConfigDict(defer_build=True)
    who: Nowhere  # type: ignore[name-defined]  # noqa: F821


def findings(annotation: Any, kind: str = "http", **options: Any) -> list[str]:
    """The findings about an app with one route: it has a parameter with this annotation."""

    async def endpoint(value) -> None: ...  # type: ignore[no-untyped-def]  # noqa: ANN001

    async def talk(socket: WebSocket, value) -> None: ...  # type: ignore[no-untyped-def]  # noqa: ANN001

    app, router = FastAPI(openapi_url=None), APIRouter(**options)
    called = endpoint if kind == "http" else talk
    called.__annotations__ = {"value": annotation, "socket": WebSocket}
    (router.post if kind == "http" else router.websocket)("/pay")(called)
    app.include_router(router)
    install(app, guard := Guard(Badge(), rules=[Rule("/**", AUTHENTICATED)], log=False))
    found = audit(app, guard).findings
    if found:
        with pytest.raises(AssertionError, match=r"identity\.client"):
            assert_closed(app, guard)
        assert {finding.code for finding in found} == {"identity.client"}
        assert found[0].location.startswith(__file__)
    return [f"{finding.key}: {finding.problem}" for finding in found]


@pytest.mark.parametrize(
    ("annotation", "name"),
    [
        (Annotated[Staff, Depends()], "Staff"),
        (Annotated[Any, Depends(Staff)], "Staff"),
        (Annotated[Any, Depends(Staff.of)], "Staff"),
        (Annotated[Any, Depends(functools.partial(Staff))], "Staff"),
        (Sent, "Sent"),
        (list[Sent] | None, "Sent"),
        (Data, "Sent"),
        (Mapping, "Sent"),
        (Line, "Principal"),
    ],
    ids=["depends", "given", "method", "partial", "schema", "list", "dataclass", "mapping", "model"],
)
@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_a_principal_that_the_client_fills_in_is_found(annotation: Any, name: str, kind: str) -> None:
    """It is in the annotation, in a model, or made by a dependency. ``assert_closed`` fails for it."""
    method = "POST" if kind == "http" else "WEBSOCKET"

    assert findings(annotation, kind) == [f"identity.client {method} /pay: the client fills in {name}"]


def outer(staff: Annotated[Staff, Depends()]) -> None:
    """A dependency with a dependency."""


def test_it_is_found_in_the_dependencies_of_routers_and_dependencies() -> None:
    """The whole tree is looked through; each class is named once."""
    assert findings(int, dependencies=[Depends(outer)]) == ["identity.client POST /pay: the client fills in Staff"]
    assert findings(Annotated[None, Depends(outer)], dependencies=[Depends(outer), Depends(Staff)]) == [
        "identity.client POST /pay: the client fills in Staff"
    ]


def test_it_is_found_on_a_route_with_a_handler_of_its_own() -> None:
    """The handler may read the same parameters."""

    class Cached(APIRoute):
        def get_route_handler(self) -> Any:
            return super().get_route_handler()

    assert findings(Sent, route_class=Cached) == ["identity.client POST /pay: the client fills in Sent"]


@pytest.mark.parametrize(
    "annotation",
    [
        CurrentPrincipal,
        Annotated[Principal, requires(role("any"))],
        Annotated[Known, Depends()],
        Annotated[Any, Depends(Known)],
        int,
        list[str],
        Unresolved,
    ],
    ids=["current", "requires", "depends", "given", "int", "list", "unresolved"],
)
def test_what_the_guard_gives_is_no_finding(annotation: Any) -> None:
    """Nor is a class that a dependency makes of what the guard gives."""
    assert findings(annotation) == []
