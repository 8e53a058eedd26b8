"""What says who somebody is comes from the guard: no framework builds it from what a client sends."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import operator
import subprocess
import sys
from collections.abc import Callable
from typing import Annotated, Any, NamedTuple

import pydantic
import pytest
from fastapi import APIRouter, Body, Cookie, Depends, FastAPI, File, Form, Header, Path, Query, Security
from fastapi.responses import PlainTextResponse
from fastapi.testclient import TestClient
from typing_extensions import TypedDict

from authguard import (
    PUBLIC,
    Accepted,
    Account,
    AuthRequest,
    ConfigurationError,
    Denied,
    DigestAccount,
    Failure,
    Granted,
    Guard,
    Moment,
    Principal,
    Record,
    Rejected,
    Rule,
    role,
)
from authguard.fastapi import CurrentPrincipal, MaybePrincipal, install, requires
from authguard.server_value import ServerValue
from tests.support.schemes.badge import Badge

#: Each class that says who somebody is, what was decided about a request, or when it was made.
SERVER_VALUES: list[Any] = [
    Accepted, Account, AuthRequest, Denied, DigestAccount, Failure, Granted, Moment, Principal, Record, Rejected, Rule,
]  # fmt: skip
#: Those whose constructors take plain values, which FastAPI could read from a query.
CONSTRUCTORS: list[Any] = [Account, AuthRequest, DigestAccount, Moment, Principal]
CASHIER = requires(role("cashier"))

# Type checkers do not read `list[kind]` where `kind` is a variable.
getitem: Callable[[Any, Any], Any] = operator.getitem


def add_route(
    annotation: Any = None, *, returns: Any = None, default: Any = inspect.Parameter.empty, **kw: Any
) -> None:
    """Add a route to an app: a parameter with this annotation, or a response of this type."""

    def endpoint(**values: Any) -> None: ...

    parameters = []
    if annotation is not None:
        parameters.append(
            inspect.Parameter("who", inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        )
    endpoint.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    endpoint.__annotations__ = {"return": returns} if returns is not None else {}
    if returns is not None:
        endpoint.__signature__ = inspect.Signature(parameters, return_annotation=returns)  # type: ignore[attr-defined]
    FastAPI().post("/pay/{order}", **kw)(endpoint)


def refusal(add: Callable[..., object], *args: Any, **kw: Any) -> str:
    """The error of a route that must not be."""
    with pytest.raises(ConfigurationError) as caught:
        add(*args, **kw)
    return str(caught.value)


@pytest.mark.parametrize("kind", SERVER_VALUES)
@pytest.mark.parametrize(
    "wrap",
    [
        lambda kind: kind,
        lambda kind: kind | None,
        lambda kind: getitem(Annotated, (kind, Body())),
        lambda kind: getitem(list, kind),
        lambda kind: getitem(dict, (str, kind)),
        lambda kind: getitem(tuple, (kind, ...)),
    ],
    ids=["bare", "optional", "body", "list", "dict", "tuple"],
)
def test_no_parameter_takes_a_server_value_from_the_client(kind: Any, wrap: Callable[[Any], Any]) -> None:
    """The error comes when the route is added, and names what to write."""
    text = refusal(add_route, wrap(kind))

    assert text.startswith(f"{kind.__name__}: as a parameter it would come from the client. ")
    assert "Write who: CurrentPrincipal, from authguard.fastapi" in text


@pytest.mark.parametrize(
    "where", [Body(embed=True), Query(), Header(), Cookie(), Form(), File(), Path(alias="order")], ids=repr
)
def test_no_part_of_a_request_is_a_principal(where: Any) -> None:
    """Neither with nor without a default, and not on a WebSocket."""

    async def talk(who) -> None: ...  # type: ignore[no-untyped-def]  # noqa: ANN001

    talk.__annotations__ = {"who": Annotated[Principal, where]}

    assert "CurrentPrincipal" in refusal(add_route, Annotated[Principal, where])
    assert "CurrentPrincipal" in refusal(APIRouter().websocket("/live/{order}"), talk)


@dataclasses.dataclass
class PaymentData:
    """A body with a principal in it."""

    amount: int
    who: Principal


class PaymentDict(TypedDict):
    """The same as a mapping."""

    amount: int
    who: Principal


class PaymentTuple(NamedTuple):
    """The same as a tuple."""

    amount: int
    who: Principal | None


@pytest.mark.parametrize("body", [PaymentData, PaymentDict, PaymentTuple])
def test_no_part_of_a_body_is_a_principal(body: Any) -> None:
    """FastAPI would read the parts of such a body from the client."""
    assert "Principal: as a parameter" in refusal(add_route, body)


def test_no_model_has_a_principal() -> None:
    """The error comes when the class is made."""
    assert "CurrentPrincipal" in refusal(pydantic.create_model, "Payment", who=(Principal, ...))
    assert "CurrentPrincipal" in refusal(pydantic.create_model, "Payment", who=(list[Principal] | None, None))
    assert "CurrentPrincipal" in refusal(pydantic.create_model, "Payment", who=(CurrentPrincipal, ...))
    assert "CurrentPrincipal" in refusal(pydantic.TypeAdapter, Principal)


class Staff(Principal):
    """A principal of the app's own."""


def test_a_subclass_is_refused_too() -> None:
    """It is named in the error."""
    assert refusal(add_route, Staff).startswith("Staff: as a parameter")
    assert "CurrentPrincipal" in refusal(add_route, Annotated[Any, Depends(Staff)])


@pytest.mark.parametrize("kind", CONSTRUCTORS)
@pytest.mark.parametrize(
    "depend",
    [
        lambda kind: (kind, Depends()),
        lambda kind: (Any, Depends(kind)),
        lambda kind: (getitem(Annotated, (kind, Depends())), inspect.Parameter.empty),
        lambda kind: (Annotated[Any, Security(kind)], inspect.Parameter.empty),
        lambda kind: (Annotated[Any, Depends(functools.partial(kind))], inspect.Parameter.empty),
    ],
    ids=["default", "given", "annotated", "security", "partial"],
)
def test_no_dependency_is_the_constructor_of_a_server_value(kind: Any, depend: Callable[[Any], Any]) -> None:
    """FastAPI would read the arguments of the constructor from the query."""
    annotation, default = depend(kind)

    text = refusal(add_route, annotation, default=default)

    assert text == (
        "Depends: the arguments of this class would come from the client. "
        "Write who: CurrentPrincipal, from authguard.fastapi"
    )


def test_no_dependency_is_another_way_to_make_a_principal() -> None:
    """Nor is one a dependency of a dependency, of a router or of an app."""

    def outer(who: Annotated[Principal, Depends()]) -> None: ...

    assert "Depends: " in refusal(add_route, Annotated[Any, Depends(Principal.checked)])
    assert "Depends: " in refusal(add_route, Annotated[None, Depends(outer)])
    app, router = FastAPI(dependencies=[Depends(outer)]), APIRouter(dependencies=[Depends(Principal)])
    assert "Depends: " in refusal(app.get("/"), lambda: None)
    assert "Depends: " in refusal(router.get("/"), lambda: None)


@pytest.mark.parametrize("kind", SERVER_VALUES)
@pytest.mark.parametrize(
    "wrap",
    [lambda kind: kind, lambda kind: kind | None, lambda kind: getitem(list, kind)],
    ids=["bare", "optional", "list"],
)
def test_no_response_is_a_server_value(kind: Any, wrap: Callable[[Any], Any]) -> None:
    """A principal has claims that are nobody else's business. The error says what to return."""
    for text in (
        refusal(add_route, returns=wrap(kind)),
        refusal(add_route, response_model=wrap(kind)),
        refusal(add_route, responses={404: {"model": wrap(kind)}}),
    ):
        assert text.endswith("As the type of a response, return a model of your own, or write response_model=None")


def test_a_route_may_return_a_principal_without_a_model() -> None:
    """With ``response_model=None`` FastAPI reads the annotation no further."""
    add_route(returns=Principal, response_model=None)


def known(who: CurrentPrincipal) -> Principal:
    """A dependency may return a principal: FastAPI reads no schema from that."""
    return Principal(who.subject, roles={"known"})


@dataclasses.dataclass
class Cashier:
    """A dependency whose arguments are dependencies."""

    who: CurrentPrincipal


def app_of_uses() -> FastAPI:
    """Each right way to the principal."""
    app = FastAPI()

    @app.get("/me")
    def me(who: CurrentPrincipal) -> str:
        return who.subject

    @app.get("/maybe")
    def maybe(who: MaybePrincipal) -> str:
        return "nobody" if who is None else who.subject

    @app.post("/pay")
    def pay(who: Annotated[Principal, requires(role("cashier"))], amount: Annotated[int, Body()]) -> str:
        return f"{who.subject} {amount}"

    @app.get("/known")
    def known_here(who: Annotated[Principal, Depends(known)]) -> str:
        return f"{who.subject} {sorted(who.roles)}"

    @app.get("/cashier")
    def cashier(here: Annotated[Cashier, Depends()]) -> str:
        return here.who.subject

    @app.get("/own", response_class=PlainTextResponse)
    def own(who: Principal = CASHIER) -> str:
        return who.subject

    table = {"alice": Accepted(Principal("alice", roles={"cashier"}))}
    install(app, Guard(Badge(table=table), rules=[Rule("/maybe", PUBLIC)], log=False))
    return app


def test_the_principal_of_the_guard_is_a_parameter() -> None:
    """In each way that the documentation shows, with a body beside it and in the OpenAPI document."""
    app = app_of_uses()
    client = TestClient(app, headers={"Authorization": "Badge alice"})

    assert [client.get(path).text for path in ("/me", "/maybe", "/known", "/cashier", "/own")] == [
        '"alice"', '"alice"', "\"alice ['known']\"", '"alice"', "alice",
    ]  # fmt: skip
    assert client.post("/pay", json=3).json() == "alice 3"
    assert TestClient(app).get("/maybe").json() == "nobody"
    operations = [item for path in app.openapi()["paths"].values() for item in path.values()]
    assert [operation.get("parameters") for operation in operations] == [None] * 6
    assert "Principal" not in str(app.openapi())


def test_a_body_that_names_a_principal_is_not_read() -> None:
    """N01: the client's own word about who it is reaches no endpoint."""
    client = TestClient(app_of_uses(), headers={"Authorization": "Badge alice"})

    reply = client.request("GET", "/me", json={"subject": "root", "roles": ["admin"]}, params={"subject": "root"})

    assert reply.json() == "alice"


@pytest.mark.parametrize("kind", CONSTRUCTORS)
def test_a_constructor_shows_its_arguments(kind: Any) -> None:
    """Help and editors read the signature."""
    assert len(inspect.signature(kind).parameters) > 1


def test_authguard_does_not_import_pydantic() -> None:
    """It refuses by the name of a method, and needs nobody's base class."""
    code = "import sys, authguard, authguard.starlette; sys.exit('pydantic' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("kind", SERVER_VALUES)
def test_server_values_have_one_base(kind: Any) -> None:
    """Instances keep their slots."""
    assert issubclass(kind, ServerValue)
    assert "__dict__" not in dir(kind)
