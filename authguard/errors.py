"""The exceptions of authguard.

The tree::

    AuthGuardError                  the base class; never raised itself
    ├── ConfigurationError          a wrong setting; raised while the app is built, never during a request
    ├── InvalidSignature            a signature does not match; raised by ``VerificationKey.verify``
    ├── RequestBodyError            the body that a scheme asked for is too large or incomplete
    └── BackendUnavailable          a key source, a store or a service cannot answer; the response is a 503

``ConfigurationError`` and ``InvalidSignature`` are subclasses of ``ValueError`` too. Malformed input raises
``authguard.wire.grammar.WireError``, a ``ValueError`` that the scheme or the guard catches.
"""

from __future__ import annotations

from authguard.reasons import BODY_INCOMPLETE, Reason


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


class RequestBodyError(AuthGuardError):
    """The request body that a scheme asked for cannot be read.

    ``reason`` is ``body.too_large`` or ``body.incomplete``.
    """

    def __init__(self, reason: Reason = BODY_INCOMPLETE) -> None:
        super().__init__(reason.code)
        self.reason = reason


class BackendUnavailable(AuthGuardError):
    """A key source, a store or a service cannot answer at the moment. The response is a 503.

    ``detail`` is for the log and must not contain a secret. ``reason`` must have the status 503; the default is
    ``keys.unavailable`` for a key source and ``store.unavailable`` for everything else. ``retry_after`` is in whole
    seconds.
    """

    def __init__(self, detail: str = "", *, reason: Reason | None = None, retry_after: int | None = None) -> None:
        super().__init__(detail or (reason.code if reason else "unavailable"))
        if reason is not None and not reason.outage:
            msg = f"reason: {reason.code!r} has the status {reason.status}; an outage must have the status 503"
            raise ValueError(msg)
        self.reason = reason
        self.retry_after = retry_after
        self.detail = detail
