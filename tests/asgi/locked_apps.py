"""Apps with locked routes, and requirements that fail."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from authguard import (
    Failure,
    Moment,
    Principal,
    Requirement,
)
from authguard.starlette import requires
from tests.support.guards import OPTIONAL_RULES, PUBLIC_RULES


def locked_app(*requirements: Requirement, path: str = "/") -> ASGIApp:
    """An app with one route under these locks, the first one outermost. It answers with the caller and its scopes."""

    async def endpoint(request: Request) -> Response:
        return JSONResponse([request.user.display_name, sorted(request.auth.scopes)])

    guarded: Any = endpoint
    for requirement in reversed(requirements):
        guarded = requires(requirement)(guarded)
    return Starlette(routes=[Route(path, guarded)])


ALICE_BODY = b'["alice",["authenticated","read","role:admin"]]'


WITH_EACH_RULE = pytest.mark.parametrize(
    "rules", [PUBLIC_RULES, OPTIONAL_RULES, []], ids=["public", "optional", "authenticated"]
)


class BrokenRequirement:
    """A requirement of an app's own that raises, in ``unmet`` or in ``schemes``."""

    def __init__(self, where: str) -> None:
        self.where = where

    def unmet(self, principal: Principal, params: Mapping[str, str], moment: Moment) -> Failure | None:
        raise LookupError

    def schemes(self, every: frozenset[str]) -> frozenset[str]:
        if self.where == "schemes":
            raise LookupError
        return every

    def scopes_named(self) -> tuple[str, ...]:
        return ()
