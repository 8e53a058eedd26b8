"""What is wrong in the rest of a refusal: its status, where it redirects to, whether it is cached, and CORS."""

from __future__ import annotations

import re
from collections.abc import Iterator
from http import HTTPStatus
from urllib.parse import urljoin, urlsplit

from authguard.probe.challenges import Refusal
from authguard.probe.exchange import Answer, Target
from authguard.probe.finding import Finding, fault, note, shown, warning

_PASSWORD_FIELD = re.compile(rb"""type[ ]?=[ ]?["']?password""", re.IGNORECASE)
_MAX_AGE = re.compile(r"(?:s-maxage|max-age)=\"?0*[1-9]")

# RFC 9110 section 15.1: caches may keep these without being told how long.
_CACHED_BY_DEFAULT = frozenset(
    {
        *(HTTPStatus.MOVED_PERMANENTLY, HTTPStatus.PERMANENT_REDIRECT),
        *(HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED),
    }
)
_REDIRECTS = frozenset(
    {
        *(HTTPStatus.MOVED_PERMANENTLY, HTTPStatus.FOUND, HTTPStatus.SEE_OTHER),
        *(HTTPStatus.TEMPORARY_REDIRECT, HTTPStatus.PERMANENT_REDIRECT),
    }
)


def judge_status(answer: Answer, refusal: Refusal, target: Target) -> Iterator[Finding]:
    """Whether a request without credentials gets the right status."""
    status = answer.status
    if answer.lines("www-authenticate") and not refusal.challenges:
        yield fault(
            "challenge.empty",
            "WWW-Authenticate has no challenge",
            "A client cannot know how to log in",
            "RFC 9110 section 11.6.1",
            'Send a challenge, such as Bearer realm="orders".',
        )
    if status == HTTPStatus.UNAUTHORIZED:
        if not answer.lines("www-authenticate"):
            yield _no_challenge("a 401 without WWW-Authenticate")
    elif status in _REDIRECTS:
        yield from _redirect(answer, target)
    elif status < HTTPStatus.MULTIPLE_CHOICES:
        yield _open(answer)
    else:
        yield from _other_status(status, refusal)
    if refusal.challenges and target.scheme == "http" and not target.is_loopback:
        yield fault(
            "clear.text",
            "credentials are asked for over http",
            "Anybody on the way can read them, and send them again",
            "RFC 7617 section 4, RFC 6750 section 5.3",
            "Serve it over https, and over http not at all.",
        )


def _no_challenge(what: str) -> Finding:
    return fault(
        "challenge.missing",
        what,
        "A 401 must have one, because a client cannot know how to log in without it",
        "RFC 9110 section 15.5.2",
        'Send WWW-Authenticate: Bearer realm="orders", or that of the scheme that is accepted.',
    )


def _open(answer: Answer) -> Finding:
    is_html = answer.get("content-type").lower().startswith(("text/html", "application/xhtml"))
    if is_html and _PASSWORD_FIELD.search(answer.body):
        return fault(
            "status.login_page",
            f"a login page with status {answer.status}",
            "A program takes it for the answer, and a cache for the page",
            "RFC 9110 section 15.3.1",
            "Answer with 401 and a challenge, or redirect browsers alone to the page.",
        )
    return fault(
        "status.open",
        f"it answers with {answer.status} without credentials",
        "Nothing was refused, so anybody may do this",
        "RFC 9110 section 11.4",
        "Require credentials; if it is meant to be open, probe a path that is not.",
    )


def _other_status(status: int, refusal: Refusal) -> Iterator[Finding]:
    match status:
        case HTTPStatus.FORBIDDEN:
            yield fault(
                "status.forbidden",
                "a 403 for a request without credentials" + ("" if refusal.challenges else ", and no challenge"),
                "It says that no login would help, so clients ask for no password and renew no token",
                "RFC 9110 sections 11.4 and 15.5.4",
                "Answer with 401 and a challenge; 403 is for credentials that are good and not enough.",
            )
        case HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
            yield fault(
                "status.proxy",
                "a 407 from the server itself",
                "It is for proxies, and clients send it the credentials of their proxy",
                "RFC 9110 section 15.5.8",
                "Answer with 401 and WWW-Authenticate.",
            )
        case HTTPStatus.NOT_FOUND:
            yield note(
                "status.hidden",
                "a 404 without credentials",
                "Nothing is there, or the server hides it, which it may, and a client cannot know that it can log in",
                "RFC 9110 section 15.5.4",
                "Probe a path that is there.",
            )
        case HTTPStatus.METHOD_NOT_ALLOWED:
            yield note(
                "status.method",
                "a 405: the method is not served there",
                "Nothing was asked about credentials",
                "RFC 9110 section 15.5.6",
                "Give another one with --method.",
            )
        case HTTPStatus.TOO_MANY_REQUESTS:
            yield note(
                "status.limited",
                "a 429: the server limits requests",
                "Nothing can be said of its refusal",
                "RFC 6585 section 4",
                "Probe again later.",
            )
        case _ if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            yield fault(
                "status.error",
                f"a {status} without credentials",
                "A client retries it and never logs in",
                "RFC 9110 section 15.6",
                "Answer with 401 and a challenge; look into the log of the server.",
            )
        case _:
            yield fault(
                "status.other",
                f"a {status} for a request without credentials",
                "It says that the request is wrong, so a client neither logs in nor retries",
                "RFC 9110 section 11.4",
                "Answer with 401 and a challenge.",
            )


def _redirect(answer: Answer, target: Target) -> Iterator[Finding]:
    location = answer.get("location")
    try:
        parts = urlsplit(urljoin(target.url, location))
        host = parts.hostname
    except ValueError:
        parts, host = urlsplit(""), None
    if not location or not host:
        yield fault(
            "redirect.location",
            f"a {answer.status} without a Location that can be read",
            "A client has nowhere to go",
            "RFC 9110 section 10.2.2",
            "Send a Location, or 401 and a challenge.",
        )
        return
    shown_place = shown(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}")
    if target.scheme == "https" and parts.scheme == "http":
        yield fault(
            "redirect.http",
            f"it redirects from https to {shown_place}",
            "What the client sends next, cookies and passwords too, anybody on the way can read",
            "RFC 9110 section 17.16.1",
            "Tell the server that it is behind https (X-Forwarded-Proto), or write a relative Location.",
        )
    elif target.scheme == "http" and parts.scheme == "https":
        yield warning(
            "redirect.https",
            f"http is redirected to {shown_place}",
            "A client has sent its credentials in clear text before it is redirected",
            "RFC 6797 section 2.3",
            "Give the https URL to clients, send Strict-Transport-Security, and probe that URL.",
        )
    else:
        elsewhere = "" if host == target.host else ", which is another host"
        yield warning(
            "redirect.login",
            f"a {answer.status} to {shown_place}{elsewhere}",
            "Programs follow it, and take a login page for the answer",
            "RFC 9110 section 15.5.2",
            "Redirect what asks for text/html alone, and answer all else with 401 and a challenge.",
        )


def judge_caching(answer: Answer) -> Iterator[Finding]:
    """Whether a cache may keep a refusal, and give it to somebody who may have the page, or the reverse."""
    words = answer.words("cache-control")
    if "no-store" in words or "private" in words:
        return
    is_error = answer.status >= HTTPStatus.BAD_REQUEST
    if is_error and ("public" in words or any(_MAX_AGE.match(word) for word in words)):
        yield fault(
            "cache.kept",
            f"the refusal may be cached: Cache-Control is {shown(answer.get('cache-control'))}",
            "A cache gives it to those who have logged in meanwhile",
            "RFC 9111 section 3",
            "Send Cache-Control: no-store with each refusal.",
        )
    elif answer.status in _CACHED_BY_DEFAULT and not words:
        yield warning(
            "cache.default",
            f"a {answer.status} without Cache-Control",
            "Caches and browsers may keep this status for as long as they like, after a login too",
            "RFC 9111 section 4.2.2",
            "Send Cache-Control: no-store.",
        )
    elif is_error and not words:
        yield note(
            "cache.unsaid",
            "the refusal has no Cache-Control",
            "Caches do not keep this status by themselves; some proxies are set up to",
            "RFC 9111 section 3",
            "Send Cache-Control: no-store.",
        )


# --- CORS -------------------------------------------------------------------------------------------------------------

_ORIGIN, _CREDENTIALS = "access-control-allow-origin", "access-control-allow-credentials"
_ALLOWED, _EXPOSED = "access-control-allow-headers", "access-control-expose-headers"
_FETCH = "Fetch standard, CORS protocol"


def judge_cors(preflight: Answer, refused: Answer, origin: str, *, is_given: bool) -> Iterator[Finding]:
    """What a script of this origin sees: of its preflight, and of the refusal.

    ``is_given`` is whether the origin is one that should be allowed. Otherwise it is one that nobody knows.
    """
    passes = preflight.status < HTTPStatus.MULTIPLE_CHOICES and preflight.get(_ORIGIN) in {"*", origin}
    if is_given and not passes:
        yield _preflight(preflight, origin)
    elif not passes and not refused.lines(_ORIGIN):
        yield note(
            "cors.closed",
            "scripts of other origins may not call it",
            "That is right unless a single-page app does; then name its origin with --origin",
            _FETCH,
            "Nothing has to be done.",
        )
    if passes and "authorization" not in preflight.words(_ALLOWED):
        yield (fault if is_given else warning)(
            "cors.authorization",
            "the preflight does not allow Authorization",
            "A script cannot send a token; * does not stand for this field",
            _FETCH,
            "Add Authorization to the allowed headers.",
        )
    if passes and refused.get(_ORIGIN) not in {"*", origin}:
        yield fault(
            "cors.refusal",
            "the preflight passes, but the refusal has no Access-Control-Allow-Origin",
            "A script sees a failure of the network in place of the 401, and cannot log in again",
            _FETCH,
            "Put the CORS middleware outside of the authentication, so that refusals get its headers too.",
        )
    elif passes and refused.lines("www-authenticate") and not _exposes(refused, "www-authenticate"):
        yield warning(
            "cors.hidden",
            "WWW-Authenticate is not exposed",
            "A script sees the 401, but not its challenge, and cannot tell an expired token from a missing one",
            _FETCH,
            "Add WWW-Authenticate to Access-Control-Expose-Headers.",
        )
    yield from _careless(preflight, refused, origin, is_given=is_given)


def _exposes(answer: Answer, name: str) -> bool:
    words = answer.words(_EXPOSED)
    return name in words or ("*" in words and answer.get(_CREDENTIALS) != "true")


def _preflight(preflight: Answer, origin: str) -> Finding:
    if preflight.status >= HTTPStatus.MULTIPLE_CHOICES:
        return fault(
            "cors.preflight",
            f"the preflight of {shown(origin)} is answered with {preflight.status}",
            "Browsers send no credentials with it, and take every other status than 2xx for a no",
            _FETCH,
            "Put the CORS middleware outside of the authentication, or let preflights pass.",
        )
    return fault(
        "cors.origin",
        f"the preflight does not allow {shown(origin)}",
        "A script of that origin gets no answer",
        _FETCH,
        "Add the origin to those that are allowed.",
    )


def _careless(preflight: Answer, refused: Answer, origin: str, *, is_given: bool) -> Iterator[Finding]:
    with_credentials = [answer for answer in (preflight, refused) if answer.get(_CREDENTIALS) == "true"]
    if not is_given and any(answer.get(_ORIGIN) == origin for answer in with_credentials):
        yield fault(
            "cors.any_origin",
            "any origin is allowed, with credentials",
            "Each site that a user visits can act in the user's name",
            _FETCH,
            "Name the origins that are allowed.",
        )
    if any(answer.get(_ORIGIN) == "*" for answer in with_credentials):
        yield warning(
            "cors.star",
            "* is allowed together with credentials",
            "Browsers refuse that, so a request with credentials fails",
            _FETCH,
            "Name the origins that are allowed, or leave the credentials out.",
        )
