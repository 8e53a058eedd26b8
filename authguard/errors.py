"""The exceptions of authguard.

The tree::

    AuthGuardError                  the base class; never raised itself
    ├── ConfigurationError          a wrong setting; raised while the app is built, never during a request
    ├── InvalidSignature            a signature does not match; raised by ``VerificationKey.verify``
    ├── WrongAnswer                 a function of the app returned or raised what it must not; the response is a 503
    ├── RequestBodyError            the body that a scheme asked for is too large or incomplete
    └── BackendUnavailable          a key source, a store or a service cannot answer; the response is a 503
        └── KeysBusy                a key source does not know a key, and may not fetch its keys again yet

``ConfigurationError`` and ``InvalidSignature`` are subclasses of ``ValueError`` too, and ``WrongAnswer`` is one of
``TypeError``. Malformed input raises
``authguard.wire.grammar.WireError``, a ``ValueError`` that the scheme or the guard catches.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from authguard.reasons import BODY_INCOMPLETE, KEYS_BUSY, Reason


class AuthGuardError(Exception):
    """The base class of all exceptions here. Never raised itself."""


class ConfigurationError(AuthGuardError, ValueError):
    """A setting is wrong. The message names the argument, the problem and the fix."""

    def __init__(self, argument: str, problem: str) -> None:
        super().__init__(f"{argument}: {problem}")
        #: The name of the argument, as the caller writes it.
        self.argument = argument


class InvalidSignature(AuthGuardError, ValueError):
    """The signature does not match these bytes and this key."""


class WrongAnswer(AuthGuardError, TypeError):
    """A function of the app returned the wrong thing, or raised an exception that means nothing here.

    ``problem`` names the function, with file and line, and says what to return. It quotes no value.
    """

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem


class RequestBodyError(AuthGuardError):
    """The request body that a scheme asked for cannot be read.

    ``reason`` is ``body.too_large`` or ``body.incomplete``. ``facts`` are numbers for the record, such as ``limit``.
    """

    def __init__(self, reason: Reason = BODY_INCOMPLETE, **facts: object) -> None:
        super().__init__(reason.code)
        self.reason = reason
        self.facts = facts


class BackendUnavailable(AuthGuardError):
    """A key source, a store or a service cannot answer at the moment. The response is a 503.

    ``detail`` is for the log and must not contain a secret. ``reason`` must have the status 503; the default is
    ``keys.unavailable`` for a key source and ``store.unavailable`` for everything else. ``retry_after`` is in whole
    seconds. ``facts`` are further facts for the record.
    """

    def __init__(
        self,
        detail: str = "",
        *,
        reason: Reason | None = None,
        retry_after: int | None = None,
        facts: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(detail or (reason.code if reason else "unavailable"))
        if reason is not None and not reason.outage:
            msg = f"reason: {reason.code!r} has the status {reason.status}; an outage must have the status 503"
            raise ValueError(msg)
        self.reason = reason
        self.retry_after = retry_after
        self.detail = detail
        self.facts: Mapping[str, object] = {} if facts is None else facts


class KeysBusy(BackendUnavailable):
    """A key source does not know a key, and may not fetch its keys again yet.

    ``Bearer`` answers 503 ``keys.busy`` only to a token that may be newer than the keys. ``age``: how many seconds ago
    the keys were fetched. ``fetches_left``: how many fetches may start now for this requester. ``keys``: those that may
    have signed the token all the same, because they have no ``kid``.
    """

    def __init__(self, *, age: float, fetches_left: int, retry_after: int, keys: Sequence[Any] = ()) -> None:
        super().__init__(reason=KEYS_BUSY, retry_after=retry_after)
        self.age = age
        self.fetches_left = fetches_left
        self.keys = keys
