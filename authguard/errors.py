"""What authguard raises.

The tree::

    AuthGuardError                  never raised itself
    ├── ConfigurationError          the app is set up wrongly; raised while it is built, never for a request
    ├── InvalidSignature            a signature does not fit the key; raised by ``VerificationKey.verify``
    ├── RequestBodyError            the body that a scheme asked for is too large, or never came whole
    └── BackendUnavailable          something we depend on cannot answer; the request is answered with an outage

``ConfigurationError`` and ``InvalidSignature`` are kinds of ``ValueError`` too. Malformed octets raise
``authguard.wire.grammar.WireError``, a ``ValueError`` that never leaves the scheme or the guard.
"""

from __future__ import annotations

from authguard.reasons import BODY_INCOMPLETE, Reason


class AuthGuardError(Exception):
    """The base of all that authguard raises. Never raised itself."""


class ConfigurationError(AuthGuardError, ValueError):
    """The app is set up wrongly. The message names the argument and the mend."""

    def __init__(self, argument: str, problem: str) -> None:
        super().__init__(f"{argument}: {problem}")
        #: The argument at fault, as the caller spells it.
        self.argument = argument


class InvalidSignature(AuthGuardError, ValueError):
    """The signature was not made over these octets with this key."""


class RequestBodyError(AuthGuardError):
    """A scheme asked for the request's body and it cannot be had.

    ``reason`` is ``body.too_large`` or ``body.incomplete``.
    """

    def __init__(self, reason: Reason = BODY_INCOMPLETE) -> None:
        super().__init__(reason.code)
        self.reason = reason


class BackendUnavailable(AuthGuardError):
    """A key source, a store or a service cannot answer now.

    ``reason`` must be one of an outage (503); without one the asker names its own, ``keys.unavailable`` for a key
    source, ``store.unavailable`` for anything else. ``retry_after`` is in whole seconds. ``detail`` is for the log and
    must hold no secret.
    """

    def __init__(self, detail: str = "", *, reason: Reason | None = None, retry_after: int | None = None) -> None:
        super().__init__(detail or (reason.code if reason else "unavailable"))
        if reason is not None and not reason.outage:
            msg = "a BackendUnavailable is an outage: its reason's status must be 503"
            raise ValueError(msg)
        self.reason = reason
        self.retry_after = retry_after
        self.detail = detail
