"""``request.user`` and ``request.auth`` as Starlette knows them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from starlette.authentication import AuthCredentials, UnauthenticatedUser

from authguard.model import Principal


class _SharedByAll:
    """An object that all anonymous requests have in common: one of them must not leave anything for the next."""

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError("all anonymous requests share this object; write to request.state")


_PRINCIPAL_ONLY = frozenset({"subject", "roles", "scopes", "claims", "expires_at", "scheme"})


class AnonymousUser(_SharedByAll, UnauthenticatedUser):
    """``request.user`` of an anonymous request.

    It has nothing that a ``Principal`` has: None as its subject could be equal to the owner of what nobody owns.
    """

    if not TYPE_CHECKING:  # a type checker would take it as a sign that every attribute exists

        def __getattr__(self, name: str) -> NoReturn:
            """Raises ``AttributeError`` that says what to ask first."""
            message = f"{type(self).__name__!r} object has no attribute {name!r}"
            if name in _PRINCIPAL_ONLY:
                message += (
                    ": this request is anonymous, which its rule allows; ask request.user.is_authenticated first, or "
                    "require a principal by a rule or a lock"
                )
            raise AttributeError(message)


ANONYMOUS_USER = AnonymousUser()


class PrincipalCredentials(AuthCredentials):
    """``request.auth`` of a principal. The scopes are listed when the app reads them, which most requests never do."""

    # Not a `cached_property`: in Python 3.11 its lock would stay locked for ever in a child that is forked meanwhile.
    _scopes: list[str] | None = None

    def __init__(self, principal: Principal) -> None:
        self._principal = principal

    @property
    def scopes(self) -> list[str]:  # type: ignore[override]
        if self._scopes is None:
            # A scope of a token must not pass for a role, nor for `authenticated`.
            own = [name for name in self._principal.scopes if name != "authenticated" and not name.startswith("role:")]
            self._scopes = ["authenticated", *own, *(f"role:{name}" for name in self._principal.roles)]
        return self._scopes


class AnonymousCredentials(_SharedByAll, AuthCredentials):
    """``request.auth`` of an anonymous request, which has no scopes."""

    def __init__(self) -> None:
        pass

    @property
    def scopes(self) -> list[str]:  # type: ignore[override]
        return []


ANONYMOUS_CREDENTIALS = AnonymousCredentials()
