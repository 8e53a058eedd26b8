"""How keys are fetched and how long they are cached: the options of ``RemoteJWKS`` and ``Discovery``."""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import TypedDict

from authguard.app_code import async_function
from authguard.errors import ConfigurationError
from authguard.http_client import ClientFactory, Fetch, Fetched, FetchFailed, httpx2_fetch, response_too_long
from authguard.keys.jwk import SIGNATURE_USE, check_uses
from authguard.model import Clock
from authguard.state.shared_cache import LookAside, SharedCache
from authguard.validation import check_flag, check_int, check_seconds, functions
from authguard.value_types import frozen

DAY = 86_400.0
#: In seconds: the lifetime of keys if the server does not state one.
DEFAULT_LIFETIME = 600.0
#: The default ``limit`` in bytes: room for a thousand RSA keys of 4096 bits.
DEFAULT_LIMIT = 1024 * 1024
_MIN_LIMIT = 1024


class FetchArguments(TypedDict, total=False):
    """The keyword arguments of ``RemoteJWKS``, ``Discovery`` and ``Issuer.discover``. All durations are in seconds.

    - ``fetch``: an async function of a URL that returns the body as bytes, or as ``Fetched``. It replaces httpx2.
    - ``client``: a function that makes an ``httpx2.AsyncClient``, for a proxy or for a certificate authority of your
      own. The default client takes neither from the environment.
    - ``insecure_http``: True allows ``http:`` URLs too, for which anybody on the way can replace the keys. The URLs of
      this machine (localhost) are no exception.
    - ``timeout``: how long one fetch may take as a whole. Give less than the ``deadline`` of ``Bearer``, so that the
      record can say what was wrong.
    - ``cooldown``: an unknown ``kid`` causes a fetch: three at once for one network of clients, four for all networks,
      and then one per ``cooldown``. So does a signature that matches no key, because the key may have been replaced
      under its ``kid``. The two are counted separately; so are networks from which tokens were accepted before.
    - ``min_age``, ``max_age``: bounds of the lifetime that the server's ``Cache-Control`` states. While the server
      answers, a key that it withdrew is refused after ``max_age`` at the latest.
    - ``stale_if_error``: how long expired keys stay in use while the server does not answer.
    - ``limit``: the longest response body, in bytes.
    - ``use``: the values of the member ``use`` of the keys that are used, such as ``"jwt-svid"`` for SPIFFE. A key
      without ``use`` always is.
    - ``shared_cache``: a ``SharedCache``, such as ``RedisCache``, from which a process that has no keys yet takes the
      set that another one has fetched, while it is fresh. If it is away, the key server is asked. Whoever can write
      into it could make keys; ``RedisCache`` seals what it stores.
    - ``clock``: a monotonic clock in seconds, for all these durations.
    """

    fetch: Fetch | None
    client: ClientFactory | None
    insecure_http: bool
    timeout: float
    cooldown: float
    min_age: float
    max_age: float
    stale_if_error: float
    limit: int
    use: str | Collection[str]
    shared_cache: SharedCache | None
    clock: Clock


@frozen
class FetchOptions:
    """``FetchArguments`` with every value set and checked. ``fetch_options(...)`` makes it."""

    fetch: Fetch
    insecure_http: bool
    timeout: float
    cooldown: float
    min_age: float
    max_age: float
    stale_if_error: float
    limit: int
    uses: frozenset[str]
    shared: LookAside | None
    clock: Clock

    def lifetime(self, stated: float | None) -> float:
        """The lifetime of a key set in seconds, given what its server stated, if anything."""
        if not isinstance(stated, int | float) or not stated >= 0:  # not `< 0`, which is False for NaN
            stated = DEFAULT_LIFETIME
        return min(max(stated, self.min_age), self.max_age)

    async def fetch_url(self, url: str) -> Fetched:
        """The response of this URL. Raises ``FetchFailed``, and whatever the app's own ``fetch`` raises."""
        answer = await self.fetch(url)
        fetched = Fetched(answer) if isinstance(answer, bytes) else answer
        if not isinstance(fetched, Fetched) or not isinstance(fetched.body, bytes):
            raise FetchFailed("the fetch returned neither octets nor Fetched(...)")
        if len(fetched.body) > self.limit:
            raise response_too_long(self.limit)
        return fetched


def fetch_options(
    *,
    fetch: Fetch | None = None,
    client: ClientFactory | None = None,
    insecure_http: bool = False,
    timeout: float = 4.0,
    cooldown: float = 30.0,
    min_age: float = 60.0,
    max_age: float = 3600.0,
    stale_if_error: float = DAY,
    limit: int = DEFAULT_LIMIT,
    use: str | Collection[str] = SIGNATURE_USE,
    shared_cache: SharedCache | None = None,
    clock: Clock = time.monotonic,
) -> FetchOptions:
    """The checked options, with defaults. Raises ``ConfigurationError``."""
    if fetch is not None and client is not None:
        raise ConfigurationError("client", "it makes clients of httpx2, and fetch= takes their place; give one of them")
    if fetch is not None:
        async_function("fetch", fetch, "fetch(url)", "https://issuer.example/jwks")
    if client is not None:
        functions("client", [client])
    check_flag("insecure_http", insecure_http)
    check_int("limit", limit, least=_MIN_LIMIT, most=16 * DEFAULT_LIMIT, unit="bytes")
    check_seconds("min_age", min_age, most=DAY)
    if check_seconds("max_age", max_age, most=7 * DAY) < min_age:
        raise ConfigurationError("max_age", f"{max_age!r} is less than min_age, {min_age!r}")
    functions("clock", [clock])
    return FetchOptions(
        fetch=fetch or httpx2_fetch(client, limit=limit),
        insecure_http=insecure_http,
        timeout=check_seconds("timeout", timeout, most=60),
        cooldown=check_seconds("cooldown", cooldown, most=3600),
        min_age=min_age,
        max_age=max_age,
        stale_if_error=check_seconds("stale_if_error", stale_if_error, most=7 * DAY),
        limit=limit,
        uses=check_uses(use),
        shared=None if shared_cache is None else LookAside(shared_cache),
        clock=clock,
    )


def fetch_options_from(name: str, arguments: FetchArguments) -> FetchOptions:
    """The checked options of a class of this name. Raises ``TypeError`` for an unknown one, in the words of Python."""
    for argument in arguments:
        if argument not in FetchArguments.__annotations__:
            raise TypeError(f"{name}() got an unexpected keyword argument {argument!r}")
    return fetch_options(**arguments)
