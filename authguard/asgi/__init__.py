"""The ASGI side: one request through the app, locks on routes, what the router will read."""

from __future__ import annotations

from authguard.asgi.minimum_versions import check_starlette as _check_starlette

# Before any module of this package names something that an older Starlette may lack.
_check_starlette()
