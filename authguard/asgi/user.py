"""``request.user`` and ``request.auth`` as Starlette knows them."""

from __future__ import annotations

from functools import cached_property

from starlette.authentication import AuthCredentials, UnauthenticatedUser

from authguard.model import Principal

ANONYMOUS_USER = UnauthenticatedUser()


class PrincipalCredentials(AuthCredentials):
    """``request.auth`` of a principal. The scopes are listed when the app reads them, which most requests never do."""

    def __init__(self, principal: Principal) -> None:
        self._principal = principal

    @cached_property
    def scopes(self) -> list[str]:  # type: ignore[override]
        # A scope of a token must not pass for a role, nor for `authenticated`.
        own = [name for name in self._principal.scopes if name != "authenticated" and not name.startswith("role:")]
        return ["authenticated", *own, *(f"role:{name}" for name in self._principal.roles)]


class AnonymousCredentials(AuthCredentials):
    """``request.auth`` of an anonymous request. All requests share it, so nothing can be added to it."""

    def __init__(self) -> None:
        pass

    @property
    def scopes(self) -> list[str]:  # type: ignore[override]
        return []


ANONYMOUS_CREDENTIALS = AnonymousCredentials()
