"""Apps with ``strict=True``, which must not start if the audit has a finding."""

from __future__ import annotations

from fastapi import FastAPI

from authguard import PUBLIC, Guard, Rule
from authguard.fastapi import install
from tests.integration.apps.common import bearer, clock


def _shop(path: str, *, strict: bool) -> FastAPI:
    app = FastAPI(openapi_url=None)

    @app.get(path)
    def order() -> dict[str, str]:
        return {}

    install(app, Guard(bearer(), rules=[Rule("/orders", PUBLIC)], clock=clock), strict=strict)
    return app


fitting = _shop("/orders", strict=True)
unnamed = _shop("/late/orders", strict=True)
lax = _shop("/late/orders", strict=False)
