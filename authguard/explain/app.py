"""The guard in front of an app, as its middleware: what reads a request before the guard, and the locks behind it."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from authguard.asgi.framework_code import is_framework_code
from authguard.asgi.locks import Lock
from authguard.asgi.router_paths import chain
from authguard.audit.cross_origin import expose_fix, exposed_fields, unexposed
from authguard.audit.route_discovery import discover_endpoints
from authguard.core.guard import Guard
from authguard.errors import ConfigurationError
from authguard.middleware import AuthGuardMiddleware, is_true_preflight, rule_method
from authguard.policy.requirements import AUTHENTICATED
from authguard.policy.rules import AMBIGUOUS, Match, Rule, RuleTable
from authguard.source_location import name_of
from authguard.value_types import frozen


@frozen
class GuardedApp:
    """The outermost guard of an app as its middleware, and the middleware outside of it, the outermost first."""

    middleware: AuthGuardMiddleware
    outside: Sequence[object] = ()

    @classmethod
    def of(cls, app: object) -> GuardedApp:
        """The guard of an app. Its middleware is built, if the app has not started yet, and nothing is started.

        Raises ``ConfigurationError`` if no guard is in front of the whole app.
        """
        outside: list[object] = []
        for link in _links(app):
            if isinstance(link, AuthGuardMiddleware):
                return cls(link, tuple(outside))
            outside.append(link)
        raise ConfigurationError("app", "it has no AuthGuardMiddleware in front of all its routes")

    @property
    def guard(self) -> Guard:
        """The guard."""
        return self.middleware.guard

    async def prepared(self, scope: Mapping[str, Any]) -> tuple[dict[str, Any], Sequence[str]]:
        """The scope as the guard gets it, as far as that is known, and what is not known of it, in words.

        Starlette's SessionMiddleware reads the session out of its cookie. Other middleware outside of the guard is not
        run, because it may do anything.
        """
        prepared, notes = dict(scope), []
        for link in self.outside:
            name = name_of(type(link))
            if not is_framework_code(type(link)):
                notes.append(f"{name} is outside of the guard and was not run. It may change the request.")
            elif name == "SessionMiddleware" and scope["type"] in {"http", "websocket"}:
                prepared = await _with_session(link, prepared)
            elif name == "CORSMiddleware" and scope["type"] == "http":
                notes += self._about_cors(link, prepared)
        return prepared, notes

    def _about_cors(self, link: object, scope: Mapping[str, Any]) -> Iterator[str]:
        """What a CORSMiddleware outside of the guard does about this request."""
        if is_true_preflight(dict(scope)):
            yield "CORSMiddleware is outside of the guard and answers this preflight before the guard."
            return
        hidden = unexposed(self.guard, exposed_fields(link) or frozenset())
        if hidden and any(name == b"origin" for name, _ in scope["headers"]):
            fields = " and ".join(hidden)
            yield f"CORSMiddleware hides {fields} from scripts of other origins. {expose_fix(self.guard)}."


def _links(app: object) -> Iterator[object]:
    """The app, its middleware and all that these wrap. A Starlette app wraps the stack that it builds."""
    for link in chain(app):
        build = getattr(link, "build_middleware_stack", None)
        if build is None or isinstance(link, type):
            yield link
            continue
        stack = getattr(link, "middleware_stack", None)
        yield from chain(build() if stack is None else stack)


async def _with_session(link: object, scope: dict[str, Any]) -> dict[str, Any]:
    """The scope with the session that SessionMiddleware reads from the cookie."""
    reader: Any = copy.copy(link)
    found: list[dict[str, Any]] = []

    async def keep(inner: dict[str, Any], receive: object, send: object) -> None:
        found.append(dict(inner))

    reader.app = keep
    await reader(scope, None, None)
    return found[0] if found else scope


def locks_of(app: object, scope: Mapping[str, Any], path: str) -> Sequence[tuple[Lock, Match]]:
    """The locks of the route that serves this path, each with what it matches; empty if that is not known."""
    method = rule_method(dict(scope))
    for endpoint in discover_endpoints(app):
        kind = "websocket" if scope["type"] == "websocket" else "http"
        if not endpoint.locks or endpoint.kind != kind:
            continue
        if kind == "http" and not {method, "GET" if method == "HEAD" else method, "*"} & set(endpoint.methods):
            continue
        try:
            table = RuleTable((Rule(endpoint.path, AUTHENTICATED),))
        except ConfigurationError:
            continue  # a path that no rule could be written for
        match = table.match(method, path)
        if match is AMBIGUOUS or match.rule is None:
            continue
        rules = ((lock, Rule(endpoint.path, lock.requirement)) for lock in endpoint.locks)
        return [(lock, _with_params(rule, method, path)) for lock, rule in rules]
    return ()


def _with_params(rule: Rule, method: str, path: str) -> Match:
    """What applies to a lock: its requirement, and the parameters of the path."""
    names = {name: path[1:].split("/")[position] for name, position in rule.positions.items()}
    return Match(rule.requirement, None, names)
