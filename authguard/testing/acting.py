"""Act as a principal in a test, without credentials.

Only a call in this process switches it on: no request, setting or environment variable can. A context variable holds
the acting principal, so it applies to what the block calls: in the same thread, in tasks that are started there, and
through a ``TestClient``. It does not reach a server in another thread or process, and it ends with the block even for a
task that runs on.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from contextvars import ContextVar
from functools import partial
from types import TracebackType
from typing import Any, Protocol, TypeVar, cast

from authguard.core.authorization import ResolvedRequirement
from authguard.core.guard import Guard
from authguard.errors import ConfigurationError
from authguard.model import Denied, Principal
from authguard.reasons import CREDENTIALS_MISSING, SCHEME_UNSUPPORTED
from authguard.records.record import Record
from authguard.testing.record_list import LOCK, OPEN_LISTENERS, GuardListener

P = TypeVar("P", bound=Principal | None)
P_co = TypeVar("P_co", bound=Principal | None, covariant=True)


class Acting(GuardListener[P_co]):
    """A block in which a principal, or nobody, acts for a guard."""

    written = "acting_as(guard, principal)"

    def __init__(self, guard: Guard, principal: P_co) -> None:
        super().__init__((guard,), principal)
        self.is_unused = False
        schemes = [scheme.name for scheme in guard.schemes]
        if not isinstance(principal, Principal | None):
            raise ConfigurationError("principal", f"{principal!r} is neither a Principal nor None")
        if principal is not None and principal.scheme not in {None, *schemes}:
            raise ConfigurationError(
                "principal", f"the guard has no scheme {principal.scheme!r}; its schemes are {', '.join(schemes)}"
            )
        self.guard = guard
        #: Whether this guard has asked who acts, and whether another guard has decided meanwhile.
        self.was_asked = self.was_elsewhere = False
        self.outer: Acting[Principal | None] | None = None
        self.is_unused = True

    def open(self) -> None:
        with LOCK:
            if not self.is_open:
                self.outer = next(acting_blocks(), None)
                _INNERMOST.set(self)
                self.guard.test_override = partial(_override, self.guard)
                cast("Any", Guard).test_override = _note_elsewhere  # of all other guards
                super().open()

    def close(self) -> None:
        with LOCK:
            if self.is_open:
                super().close()
                # A block may be closed in another context. acting_blocks() skips it where it was opened.
                if _INNERMOST.get() is self:
                    _INNERMOST.set(self.outer)
                if not any(isinstance(block, Acting) and block.guard is self.guard for block in OPEN_LISTENERS):
                    del self.guard.test_override
                if not any(isinstance(block, Acting) for block in OPEN_LISTENERS):
                    Guard.test_override = None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        if self.was_asked or not self.was_elsewhere:
            return
        self.was_elsewhere = False
        problem = (
            "this guard decided no request of the block, and another one did; give acting_as the guard that is in "
            "front of the app"
        )
        if error is None:
            raise ConfigurationError("guard", problem)
        error.add_note(f"acting_as: {problem}")

    def note(self, record: Record) -> None:
        # Another context may act for the same guard at the same time.
        if self in acting_blocks():
            super().note(record)


_INNERMOST: ContextVar[Acting[Principal | None] | None] = ContextVar("authguard.testing", default=None)


def acting_blocks() -> Iterator[Acting[Principal | None]]:
    """The open blocks of this context, the innermost first."""
    block = _INNERMOST.get()
    while block is not None:
        if block.is_open:
            yield block
        block = block.outer


def _note_elsewhere(guard: Guard, resolved: ResolvedRequirement) -> None:
    """The override of a guard that nobody acts for: its credentials decide."""
    for block in acting_blocks():
        block.was_elsewhere = True


def _override(guard: Guard, resolved: ResolvedRequirement) -> Principal | Denied | None:
    block = next((block for block in acting_blocks() if block.guard is guard), None)
    if block is None:
        return None
    block.was_asked = True
    principal = block.value
    if principal is None:
        return resolved.deny(CREDENTIALS_MISSING)
    if principal.scheme is None:
        first = next(scheme.name for scheme in guard.schemes if scheme.name in resolved.accepted)
        return principal.seen_by(first, principal.roles)
    if principal.scheme not in resolved.accepted:
        return resolved.deny(SCHEME_UNSUPPORTED, facts={"presented": principal.scheme})
    return principal


def acting_as(guard: Guard, principal: P) -> AbstractContextManager[P]:
    """``with acting_as(guard, Principal("alice", roles={"admin"})):`` makes every request in the block come from alice.

    The guard ignores the credentials of these requests and takes the principal as if a scheme had accepted it. All the
    rest is as in production: the role hierarchy, the guard's checks, its rules and locks, and the challenge of a 403.

    - ``Principal(..., scheme="basic")`` counts as authenticated by that scheme, and is denied where a route does not
      accept the scheme. Without a scheme it is the first one that the route accepts.
    - ``None`` acts as a request without credentials.
    - On PUBLIC the guard asks nobody. An inner guard takes over the principal of an outer guard, here too.

    Of two blocks the inner one applies. The guard's records are kept for ``assert_denied`` until the block ends.

    Raises ``ConfigurationError`` for anything but a ``Guard``, for anything but a ``Principal`` or None, and for a
    scheme that the guard does not have.
    """
    return Acting(guard, principal)


class ActingAs(Protocol):
    """The fixture: ``acting_as(guard, Principal("alice"))`` acts until the test ends, or to the end of a ``with``."""

    def __call__(self, guard: Guard, principal: P) -> AbstractContextManager[P]: ...
