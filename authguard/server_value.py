"""Values that only the server makes: FastAPI and pydantic must not build one from what a client sends.

FastAPI reads a parameter whose type is a dataclass from the body of the request, so ``def pay(who: Principal)`` would
let the client say who it is.
"""

from __future__ import annotations

from typing import Any, Final, NoReturn

from authguard.errors import ConfigurationError

_FIX: Final = "Write who: CurrentPrincipal, from authguard.fastapi"


class ServerValue:
    """The base of a value that only the guard and the app's own code make.

    pydantic asks a type for its schema by ``__get_pydantic_core_schema__``. FastAPI does so when a route is added: for
    each parameter, and for the type of the response. Here it raises ``ConfigurationError``.
    """

    __slots__ = ()

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> NoReturn:
        raise ConfigurationError(
            cls.__name__,
            f"as a parameter it would come from the client. {_FIX}. As the type of a response, return a model of your "
            "own, or write response_model=None",
        )


class _ServerArgument:
    """The metadata of ``SERVER_ARGUMENT``."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> NoReturn:
        raise ConfigurationError("Depends", f"the arguments of this class would come from the client. {_FIX}")


#: ``Annotated[str, SERVER_ARGUMENT]`` marks an argument of a constructor. FastAPI fills in the arguments of a
#: dependency from the request, so that ``who: Principal = Depends()`` would let the client say who it is too.
SERVER_ARGUMENT: Final = _ServerArgument()
