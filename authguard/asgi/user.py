"""``request.user`` and ``request.auth`` as Starlette knows them."""

from __future__ import annotations

from functools import cached_property

from starlette.authentication import AuthCredentials, UnauthenticatedUser

from authguard.model import Principal

ANONYMOUS_USER = UnauthenticatedUser()


class PrincipalCredentials(AuthCredentials):
    """What Starlette is told of a principal. Drawn up when the app asks, which most requests never do."""

    def __init__(self, principal: Principal) -> None:
        self._principal = principal

    @cached_property
    def scopes(self) -> list[str]:  # type: ignore[override]
        # No scope of a token may pass for a role, or for more than itself.
        own = [name for name in self._principal.scopes if name != "authenticated" and not name.startswith("role:")]
        return ["authenticated", *own, *(f"role:{name}" for name in self._principal.roles)]


class AnonymousCredentials(AuthCredentials):
    """What Starlette is told where nobody was proved: one for all requests, which none of them can add to."""

    def __init__(self) -> None:
        pass

    @property
    def scopes(self) -> list[str]:  # type: ignore[override]
        return []


ANONYMOUS_CREDENTIALS = AnonymousCredentials()
