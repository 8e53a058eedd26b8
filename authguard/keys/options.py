"""How keys are fetched, how long they hold, and what is done meanwhile: the figures that an app may set."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TypedDict

from authguard.errors import ConfigurationError
from authguard.http_client import ClientFactory, Fetch, Fetched, FetchFailed, httpx2_fetch, response_too_long
from authguard.model import Clock
from authguard.validation import check_flag, check_int, check_seconds, functions

DAY = 86_400.0
#: A thousand RSA keys of 4096 bits fit.
MOST_OCTETS = 1024 * 1024
_LEAST_OCTETS = 1024


class FetchArguments(TypedDict, total=False):
    """What ``RemoteJWKS`` and ``Discovery`` may be given beside their address.

    - ``fetch``: an async function from an address to its octets (or ``Fetched``), in place of httpx2.
    - ``client``: a function that makes an ``httpx2.AsyncClient``: for a proxy, or a certificate authority of one's own.
      Without it neither is taken from the environment.
    - ``insecure_http``: True takes addresses of ``http:`` too. Whoever is on the way can then put in keys of his own;
      loopback is no exception.
    - ``timeout``: how many seconds a fetch may take, all in all. Less than the ``deadline`` of ``Bearer``, so that the
      record says what was wrong.
    - ``cooldown``: an unknown ``kid`` costs a fetch: three at once, and one more each so many seconds. So does a
      signature that fits no key, out of a budget of its own: the key may have been replaced under its ``kid``.
    - ``min_age``, ``max_age``: the bounds, in seconds, of what the server's ``Cache-Control`` says. A key that it
      withdrew is refused after ``max_age`` at the latest, while the server answers.
    - ``stale``: for how many seconds keys go on serving after that, where the server does not answer.
    - ``limit``: the longest answer, in octets.
    - ``clock``: seconds that only grow, for all these durations.
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
    clock: Clock


@dataclass(frozen=True, slots=True)
class FetchOptions:
    """The same, checked: ``terms(...)`` makes it."""

    fetch: Fetch
    insecure_http: bool
    timeout: float
    cooldown: float
    min_age: float
    max_age: float
    stale_if_error: float
    limit: int
    clock: Clock

    def lifetime(self, stated: float | None) -> float:
        """For how many seconds a set holds of which its server says so much, or nothing."""
        if not isinstance(stated, int | float) or not stated >= 0:  # nor is what is not a number
            stated = DEFAULT_AGE
        return min(max(stated, self.min_age), self.max_age)

    async def fetched(self, url: str) -> Fetched:
        """What is at this address. Raises ``FetchFailed``, and whatever a fetch of the app's own raises."""
        answer = await self.fetch(url)
        found = Fetched(answer) if isinstance(answer, bytes) else answer
        if not isinstance(found, Fetched) or not isinstance(found.body, bytes):
            raise FetchFailed("the fetch returned neither octets nor Fetched(...)")
        if len(found.body) > self.limit:
            raise response_too_long(self.limit)
        return found


#: For how long keys hold where the server does not say: ten minutes.
DEFAULT_AGE = 600.0


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
    limit: int = MOST_OCTETS,
    clock: Clock = time.monotonic,
) -> FetchOptions:
    """The options as terms; ``ConfigurationError`` for one that cannot be."""
    if fetch is not None and client is not None:
        raise ConfigurationError("client", "it is for httpx2; a fetch of your own makes its own")
    for name, given in (("fetch", fetch), ("client", client)):
        if given is not None:
            functions(name, [given])
    check_flag("insecure_http", insecure_http)
    check_int("limit", limit, least=_LEAST_OCTETS, most=16 * MOST_OCTETS, unit="bytes")
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
        clock=clock,
    )


def fetch_options_from(name: str, options: FetchArguments) -> FetchOptions:
    """The options of a source of this name; ``TypeError`` for one that there is not, as any call raises it."""
    for option in options:
        if option not in FetchArguments.__annotations__:
            raise TypeError(f"{name}() got an unexpected keyword argument {option!r}")
    return fetch_options(**options)
