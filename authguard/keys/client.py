"""The client of httpx2 that is used where an app brings none: one for all that is fetched or asked."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, TypeAlias

from authguard.errors import ConfigurationError

if TYPE_CHECKING:
    import httpx2

#: Makes a client, in the thread and on the loop that use it.
ClientFactory: TypeAlias = "Callable[[], httpx2.AsyncClient]"


def check_httpx2(argument: str) -> None:
    """Raises ``ConfigurationError`` where httpx2 lacks; ``argument`` takes its place."""
    try:
        import httpx2  # noqa: F401, PLC0415 - an extra, which only those need who fetch or ask
    except ImportError:
        lacks = True
    else:
        lacks = False
    if lacks:
        problem = 'asking a server needs httpx2: pip install "authguard[oidc]"'
        raise ConfigurationError(argument, f"{problem}, or give {argument}=...")


def plain() -> ClientFactory:
    """Makes clients that do as the app says, and as nothing in the environment says.

    Neither proxies nor certificates nor passwords are taken from variables or files of the user's, which nobody passed
    in: who needs a proxy, or a certificate authority of his own, gives ``client=``. Servers are verified as httpx2
    does it by default, redirects are not followed, and there is no time-out beside that of whoever asks.
    """
    import httpx2  # noqa: PLC0415 - an extra

    trusted = _trusted()
    return lambda: httpx2.AsyncClient(verify=trusted, trust_env=False, follow_redirects=False, timeout=None)


@cache
def _trusted() -> ssl.SSLContext:
    """httpx2's own, read once while the app is built: that takes longer than a request should wait."""
    import httpx2  # noqa: PLC0415 - an extra

    return httpx2.create_ssl_context(trust_env=False)
