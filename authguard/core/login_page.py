"""The login page: where a browser that opens a page without credentials is sent, in place of a 401."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from urllib.parse import quote

from authguard.errors import ConfigurationError
from authguard.model import Denied
from authguard.policy.requirements import PUBLIC
from authguard.policy.rules import AMBIGUOUS, RuleTable
from authguard.reasons import CREDENTIALS_MISSING, LOGIN_REQUIRED
from authguard.request import AuthRequest
from authguard.schemes.scheme import Scheme
from authguard.wire.local_path import is_local_path

# One of the media types of `Accept`. RFC 9110 section 12.5.1.
_HTML = re.compile(rb"(?:\A|,)[ \t]*+text/html[ \t]*+(?:[;,]|\Z)", re.IGNORECASE)


def login_pages(schemes: Sequence[Scheme], table: RuleTable) -> LoginPages | None:
    """The login pages of a guard; None if no scheme has one. Raises ``ConfigurationError`` for one that is not open."""
    urls = {scheme.name: scheme.login_url for scheme in schemes if scheme.login_url}
    for url in urls.values():
        match = table.match("GET", url)
        if match is AMBIGUOUS:
            raise ConfigurationError("login_url", f"{url} can be read in two ways; write a plain path")
        if match.requirement is not PUBLIC:
            raise ConfigurationError(
                "login_url",
                f"GET {url} requires {match.requirement}, so it would lead to itself for ever; add "
                f'Rule("{url}", PUBLIC, methods={{"GET", "POST"}})',
            )
    return LoginPages(urls) if urls else None


class LoginPages:
    """The login page of each scheme that has one, by the name of the scheme."""

    __slots__ = ("_urls",)

    def __init__(self, urls: dict[str, str]) -> None:
        self._urls = urls

    def redirect(self, request: AuthRequest, denied: Denied) -> Denied:
        """The denial that sends a browser to the login page, if it opens a page and a login is all that is missing.

        ``cause`` and the other facts say why there is no session. A script of a page stays with its 401, but learns of
        this scheme alone: the challenge of Basic would open a dialog. Any other denial stays as it is.
        """
        name = self._scheme_of(denied)
        if name is None:
            return denied
        if not is_navigation(request):
            is_script = any(field == b"sec-fetch-mode" for field, _ in request.headers)
            return replace(denied, accepted=frozenset({name})) if is_script and len(denied.accepted) > 1 else denied
        page = quote(str(request.scope.get("root_path", ""))) + self._urls[name]
        if not is_local_path(page):
            return denied
        target = request.target.decode("latin-1")
        location = f"{page}?next={quote(target)}" if is_local_path(target) else page
        return replace(
            denied,
            reason=LOGIN_REQUIRED,
            facts={"cause": denied.reason.code, **denied.facts},
            response_headers=(*denied.response_headers, (b"location", location.encode("ascii"))),
        )

    def _scheme_of(self, denied: Denied) -> str | None:
        """The scheme whose login is missing: nothing was presented, or its own credentials were refused with 401."""
        if denied.reason is CREDENTIALS_MISSING:
            return next((name for name in self._urls if name in denied.accepted), None)
        is_own = denied.scheme in self._urls and denied.scheme in denied.accepted
        return denied.scheme if is_own and denied.reason.challenges_needed else None


def is_navigation(request: AuthRequest) -> bool:
    """Whether a browser opens a page, and no script asks for data.

    ``Sec-Fetch-Mode`` says so (https://www.w3.org/TR/fetch-metadata/#sec-fetch-mode-header). Browsers leave it out over
    plain HTTP, and old ones always: ``Accept`` with ``text/html`` decides then.
    """
    if request.kind != "http" or request.method != "GET":
        return False
    modes = request.lines(b"sec-fetch-mode")
    if modes:
        return modes == [b"navigate"]
    return any(_HTML.search(line) for line in request.lines(b"accept"))
