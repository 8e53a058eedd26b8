"""The attempts of a Digest scheme, counted without a coroutine where the throttle answers at once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from functools import partial
from typing import Any, TypeAlias, TypeVar

from authguard.caching import KeyedHash
from authguard.concurrency.deadline import is_overtaken, optional_method
from authguard.schemes.throttle import AttemptKeys, CountedAttempt, LoginThrottle
from authguard.state.throttle_store import Exceeded

T = TypeVar("T")

#: Something that must be awaited.
Wait: TypeAlias = Callable[[], Awaitable[Any]]
#: Steps of a verification. They yield what must be awaited, are sent its result, and return a result of their own.
Steps: TypeAlias = Generator[Wait, Any, T]
#: By what an attempt is counted: the name, the address of the client, and the name as it was sent; None for a hash.
Counted: TypeAlias = tuple[str, str | None, str | None]


class AttemptCounter:
    """Counts attempts in this throttle."""

    def __init__(self, throttle: LoginThrottle) -> None:
        self._throttle = throttle
        self._acquire_now, self._remaining_now, self._allow_now = (
            optional_method(throttle, f"{name}_now", beside=name) for name in ("acquire", "remaining", "allow")
        )
        passes_now = optional_method(throttle, "passes_now", beside="allow")
        self._passes_now = None if self._remaining_now is None else passes_now
        #: None if it would bypass ``remaining`` of a subclass or a wrapper.
        self._check = None if is_overtaken(throttle, "check", by="remaining") else throttle.check
        self._hash = KeyedHash()

    def keys_to_check(self, counted: Counted) -> AttemptKeys | None:
        """For a right response: the keys for ``exceeded`` and ``allow``; None if they would change nothing.

        The keys are kept, so this is not called for names that a stranger has invented.
        """
        name, client, sent = counted
        # Neither an address nor a name that was sent contains a line feed. The name of an account may.
        names = f"{client or ''}\n{sent or ''}\n{name}".encode("utf-8", "surrogatepass")
        keys = self._throttle.keys(name, client, sent, kept_as=self._hash.of(names))
        return None if self._passes_now is not None and self._passes_now(keys) else keys

    def exceeded(self, counted: Counted, keys: AttemptKeys | None = None) -> Steps[Exceeded | None]:
        """``Exceeded`` if even a right response has to wait. The keys are those of ``counted``, if they are at hand."""
        if self._remaining_now is None or keys is None:
            exceeded: Exceeded | None = yield partial(self._throttle.remaining, *counted, authenticated=True, keys=keys)
        else:
            exceeded = self._remaining_now(keys, authenticated=True)
        return exceeded

    def check(self, counted: Counted, keys: AttemptKeys) -> Steps[tuple[Exceeded | None, bool]]:
        """``exceeded``, and whether somebody is known to have logged in, so that ``allow`` would change nothing."""
        if self._remaining_now is None and self._check is not None:
            checked: tuple[Exceeded | None, bool] = yield partial(self._check, keys)
            return checked
        return (yield from self.exceeded(counted, keys)), False

    def allow(self, counted: Counted, keys: AttemptKeys) -> Steps[None]:
        """Remember that somebody has logged in."""
        if self._allow_now is None:
            yield partial(self._throttle.allow, *counted, keys=keys)
        else:
            self._allow_now(keys)

    def acquire(self, counted: Counted) -> Steps[CountedAttempt | Exceeded]:
        """Count a failed attempt, if one is left."""
        attempt: CountedAttempt | Exceeded
        if self._acquire_now is None:
            attempt = yield partial(self._throttle.acquire, *counted)
        else:
            attempt = self._acquire_now(self._throttle.keys(*counted))
        return attempt
