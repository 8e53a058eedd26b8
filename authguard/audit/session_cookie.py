"""The session that the scheme ``Session`` rides on: whether it finds one, and how safe the cookie is."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from authguard.asgi.framework_code import class_path
from authguard.audit.endpoint import Endpoint, SessionCookie
from authguard.audit.findings import Finding
from authguard.core.guard import Guard

_MIDDLEWARE = "starlette.middleware.sessions.SessionMiddleware"
_MOVE = "Add SessionMiddleware after the guard, so that it is outside: app.add_middleware(SessionMiddleware, ...)"


def cookie_of(middleware: Any) -> SessionCookie | None:
    """The cookie of a middleware that exists; None if it is not Starlette's SessionMiddleware."""
    if class_path(type(middleware)) != _MIDDLEWARE:
        return None
    parts = [part.strip().partition("=") for part in str(middleware.security_flags).split(";")]
    flags = {name: value for name, _, value in parts}
    return SessionCookie(
        middleware.session_cookie, middleware.max_age, flags.get("samesite", ""), "secure" in flags, "domain" in flags
    )


def declared_cookie(factory: Any, arguments: Sequence[object], options: Mapping[str, object]) -> SessionCookie | None:
    """The same of a middleware that an app will make with these arguments."""
    if class_path(factory) != _MIDDLEWARE:
        return None
    try:
        bound = inspect.signature(factory).bind(None, *arguments, **options)
    except TypeError:  # the app does not start with it
        return None
    bound.apply_defaults()
    given: Any = bound.arguments
    return SessionCookie(
        given["session_cookie"],
        given["max_age"],
        given["same_site"],
        given["https_only"] is True,
        given.get("domain") is not None,
    )


def about_sessions(endpoints: Iterable[Endpoint], guard: Guard, *, is_whole: bool) -> Iterator[Finding]:
    """The findings about the sessions that the schemes of a guard need; none for a guard without such a scheme.

    ``is_whole``: whether everything that the server runs is among the layers. Otherwise a session may come from further
    out. A middleware that is not known may bring one, too.
    """
    schemes: list[Any] = [scheme for scheme in guard.schemes if getattr(scheme, "needs_session", False)]
    cookies: dict[SessionCookie, None] = {}
    is_inside = is_absent = False
    for endpoint in endpoints if schemes else ():
        at = next((index for index, layer in enumerate(endpoint.layers) if layer.guard is guard), None)
        if at is None:
            continue
        outside = endpoint.layers[:at]
        here = [layer.session for layer in outside if layer.session is not None]
        cookies.update(dict.fromkeys(here))
        is_inside = is_inside or (not here and any(layer.session for layer in endpoint.layers[at:]))
        is_absent = is_absent or (is_whole and not here and all(map(_is_known, outside)))
    if is_inside or is_absent:
        problem = "SessionMiddleware is inside of the guard" if is_inside else "no SessionMiddleware is outside of it"
        names = ", ".join(scheme.name for scheme in schemes)
        yield Finding("session.absent", names, f"{problem}, so every request is a 503", "", _MOVE, opens=True)
    for cookie in cookies:
        yield from _about_cookie(cookie, [scheme for scheme in schemes if scheme.cookie == cookie.name] or schemes)


def _is_known(layer: Any) -> bool:
    return class_path(layer.implementation).startswith(("starlette.", "fastapi.", "uvicorn."))


def _about_cookie(cookie: SessionCookie, schemes: Sequence[Any]) -> Iterator[Finding]:
    """What is wrong with the cookie of a middleware, for the schemes that use its session."""
    found: list[tuple[str, str]] = []
    if all(scheme.cookie != cookie.name for scheme in schemes):
        found.append(
            (
                f"Session(cookie={schemes[0].cookie!r}) names another, so two cookies of one name are not noticed",
                f"Write Session(..., cookie={cookie.name!r})",
            )
        )
    if not cookie.secure:
        found.append(("it is sent over plain HTTP, where anybody can read it", "Write https_only=True"))
    if cookie.same_site.lower() == "none":
        found.append(
            ("same_site is none, so browsers send it with the requests of every site", 'Write same_site="lax"')
        )
    if cookie.has_domain:
        found.append(("domain is given, so every host of that domain gets it and can set it", "Leave domain out"))
    longest = max(scheme.idle for scheme in schemes)
    if cookie.max_age is not None and cookie.max_age < longest:
        found.append(
            (
                f"max_age={cookie.max_age} is shorter than idle={longest:g}, so a session ends before it is idle",
                f"Write max_age={max(scheme.absolute for scheme in schemes):.0f}",
            )
        )
    for problem, fix in found:
        yield Finding("session.cookie", cookie.name, problem, "", fix, opens=True)
