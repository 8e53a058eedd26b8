"""Who acts for a guard in a test.

A call in this process switches it on and nothing else does: no request, setting or environment variable is looked at.
A context variable tells who acts, so that it holds for what is called from the block: in the same thread, in tasks that
are started there, through a ``TestClient``. A server in a thread or a process of its own knows nothing of it, and a
task that outlives the block acts no more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from contextvars import ContextVar
from functools import partial
from typing import Protocol, TypeVar

from authguard.core.guard import Guard
from authguard.errors import ConfigurationError
from authguard.model import Denied, Principal
from authguard.reasons import CREDENTIALS_MISSING, SCHEME_UNSUPPORTED
from authguard.records.record import Record
from authguard.testing.recording import LOCK, OPEN, GuardListener

P = TypeVar("P", bound=Principal | None)
P_co = TypeVar("P_co", bound=Principal | None, covariant=True)


class Acting(GuardListener[P_co]):
    """While it is open, somebody acts for a guard."""

    def __init__(self, guard: Guard, principal: P_co) -> None:
        super().__init__((guard,), principal)
        known = [scheme.name for scheme in guard.schemes]
        if not isinstance(principal, Principal | None):
            raise ConfigurationError("principal", f"{principal!r} is neither a Principal(...) nor None")
        if principal is not None and principal.scheme not in {None, *known}:
            raise ConfigurationError("principal", f"the guard has no scheme {principal.scheme!r}: {', '.join(known)}")
        self.guard = guard
        self.outer: Acting[Principal | None] | None = None

    def open(self) -> None:
        with LOCK:
            if not self.is_open:
                self.outer = next(acting(), None)
                _INNERMOST.set(self)
                self.guard.test_override = partial(_who, self.guard)
                super().open()

    def close(self) -> None:
        with LOCK:
            if self.is_open:
                super().close()
                if _INNERMOST.get() is self:  # what was opened in another context is found closed there
                    _INNERMOST.set(self.outer)
                if not any(isinstance(one, Acting) and one.guard is self.guard for one in OPEN):
                    del self.guard.test_override

    def note(self, record: Record) -> None:
        # Others may act for the same guard at the same time.
        if self in acting():
            super().note(record)


_INNERMOST: ContextVar[Acting[Principal | None] | None] = ContextVar("authguard.testing", default=None)


def acting() -> Iterator[Acting[Principal | None]]:
    """Who acts for what is called from here, innermost first."""
    block = _INNERMOST.get()
    while block is not None:
        if block.is_open:
            yield block
        block = block.outer


def _who(guard: Guard, accepted: frozenset[str], refuse: Callable[..., Denied]) -> Principal | Denied | None:
    block = next((block for block in acting() if block.guard is guard), None)
    if block is None:
        return None
    principal = block.value
    if principal is None:
        return refuse(CREDENTIALS_MISSING)
    if principal.scheme is None:
        first = next(scheme.name for scheme in guard.schemes if scheme.name in accepted)
        return principal.seen_by(first, principal.roles)
    if principal.scheme not in accepted:
        return refuse(SCHEME_UNSUPPORTED, facts={"presented": principal.scheme})
    return principal


def acting_as(guard: Guard, principal: P) -> AbstractContextManager[P]:
    """``with acting_as(guard, Principal("alice", roles={"admin"})):`` is who asks in what is called meanwhile.

    What a request presents is not looked at: a scheme accepted this principal. All that follows is as in production:
    implied roles, the guard's checks, its rules and locks, and the challenge of a 403. ``Principal(...,
    scheme="basic")`` proved it by that scheme, and is refused where a route does not take it; without a scheme it is
    the first that the route takes. ``None`` presents nothing. On PUBLIC nobody is asked, and whom an outer guard proved
    asks the inner one, here too.

    Of two blocks the inner one counts. What the guard records is kept for ``assert_denied`` until the block ends.
    Raises ``ConfigurationError`` for what is no guard, no principal, or a scheme that the guard does not have.
    """
    return Acting(guard, principal)


class ActingAs(Protocol):
    """``acting_as(guard, Principal("alice"))``: from here until the test ends, or to the end of a ``with``."""

    def __call__(self, guard: Guard, principal: P) -> AbstractContextManager[P]: ...
