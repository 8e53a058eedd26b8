"""The example with a token endpoint, and Swagger UI from local files: its own page loads them from elsewhere."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from fastapi.openapi.docs import get_swagger_ui_html
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from examples import token_endpoint


def swagger(request: Request) -> Response:
    """Swagger UI."""
    return get_swagger_ui_html(
        openapi_url="/openapi.json",
        title="orders",
        swagger_js_url="/files/swagger-ui-bundle.js",
        swagger_css_url="/files/swagger-ui.css",
        swagger_favicon_url="/files/favicon.png",
    )


_offline = find_spec("fastapi_offline")
assert _offline is not None
assert _offline.origin is not None
_files = StaticFiles(directory=Path(_offline.origin).parent / "static")
app = Starlette(routes=[Route("/swagger", swagger), Mount("/files", _files), Mount("/", token_endpoint.app)])
