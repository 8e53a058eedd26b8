"""The answer to a denial. The only writer of ``WWW-Authenticate``."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from authguard.errors import ConfigurationError
from authguard.model import Denied, Header
from authguard.policy.path_pattern import parse_pattern
from authguard.policy.requirements import PUBLIC
from authguard.policy.rules import Rule
from authguard.reasons import BACKEND_FAILED
from authguard.records.record import exception_facts, log_failure
from authguard.request import AuthRequest
from authguard.schemes.scheme import Published, Scheme
from authguard.wire.challenge import Challenge

#: What replaces the body of a denial: the media type, and the octets.
Render: TypeAlias = Callable[[AuthRequest, Denied], tuple[str, bytes]]

#: Seconds that a client is asked to wait where nothing better is known (RFC 9110 section 10.2.3).
RETRY_AFTER = 5
LONGEST_WAIT = 86_400


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer. ``headers`` are as ASGI sends them."""

    status: int
    headers: Sequence[Header]
    body: bytes


PROBLEM = "application/problem+json"
#: What ``problem`` writes, for OpenAPI.
PROBLEM_SCHEMA: Mapping[str, object] = {
    "title": "Problem",
    "description": "Why the request was refused (RFC 9457).",
    "type": "object",
    "required": ["type", "title", "status", "detail", "code"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string"},
    },
}


def problem(request: AuthRequest, denied: Denied) -> tuple[str, bytes]:
    """A problem document (RFC 9457) that says by the status alone why; ``detail`` is what FastAPI's clients read."""
    reason = denied.reason
    document = {
        "type": "about:blank",
        "title": reason.title,
        "status": reason.status,
        "detail": reason.detail,
        "code": reason.public_code,
    }
    return PROBLEM, json.dumps(document).encode()


def reply_to(request: AuthRequest, denied: Denied, schemes: Sequence[Scheme], render: Render = problem) -> Reply:
    """The answer: the status, one field line for each challenge, and the body that ``render`` makes.

    RFC 9110 section 11.6.1. Joined on one line, challenges are misread by common clients. Nothing that ``render``
    returns can take a status, a challenge or ``no-store`` away.
    """
    reason = denied.reason
    media_type, body = render(request, denied)
    if not isinstance(body, bytes) or not media_type.isprintable():
        msg = "render returns a media type and octets"
        raise TypeError(msg)
    headers: list[Header] = [
        (b"content-type", media_type.encode("latin-1")),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
    ]
    if reason.retried:
        headers.append((b"retry-after", _seconds(denied.facts.get("retry_after"))))
    headers += [(b"www-authenticate", challenge.to_header()) for challenge in _challenges(request, denied, schemes)]
    headers += denied.response_headers
    return Reply(reason.status, headers, b"" if request.method == "HEAD" else body)


# Any script may read what everybody may (RFC 9728 section 3.1), and ask with a field of its own, such as a version.
_READABLE: tuple[Header, ...] = ((b"access-control-allow-origin", b"*"),)
_PREFLIGHT: tuple[Header, ...] = (
    (b"access-control-allow-methods", b"GET, HEAD"),
    (b"access-control-allow-headers", b"*"),
    (b"access-control-max-age", b"86400"),
)


def served(page: Published, method: str) -> Reply | None:
    """A document that everybody may read, to this method; None to a method that it is not served to."""
    if method == "OPTIONS":
        return Reply(204, (*_READABLE, *_PREFLIGHT), b"")
    if method not in {"GET", "HEAD"}:
        return None
    headers = [
        (b"content-type", page.media_type.encode("latin-1")),
        (b"content-length", str(len(page.octets)).encode()),
        *_READABLE,
        *page.headers,
    ]
    return Reply(200, headers, b"" if method == "HEAD" else page.octets)


def _seconds(wait: object) -> bytes:
    """``delay-seconds`` of RFC 9110 section 10.2.3, from whatever a backend said."""
    if isinstance(wait, bool) or not isinstance(wait, int | float) or not 0 < wait <= LONGEST_WAIT:
        wait = RETRY_AFTER
    return str(math.ceil(wait)).encode()


def _challenges(request: AuthRequest, denied: Denied, schemes: Sequence[Scheme]) -> list[Challenge]:
    reason = denied.reason
    found: list[Challenge] = []
    if denied.requirement is not None:
        request.scopes_asked = denied.requirement.scopes_named()
    for scheme in schemes:
        tried = scheme.name == denied.scheme
        if reason.challenged == "all" and scheme.name in denied.accepted:
            found += scheme.challenges(request, denied if tried or reason.about_message else None)
        elif reason.challenged == "tried" and tried and scheme.challenges_on_403:
            found += scheme.challenges(request, denied)
    if reason.challenges_needed and not found:  # RFC 9110 section 15.5.2
        msg = "no scheme gave a challenge"
        raise TypeError(msg)
    return found


def answer_denial(
    request: AuthRequest, denied: Denied, schemes: Sequence[Scheme], render: Render | None
) -> tuple[Reply, Denied]:
    """The answer to a denial, and the denial that it answers: an outage where the answer itself failed."""
    try:
        return _rendered(request, denied, schemes, render), denied
    except Exception as error:  # noqa: BLE001 - no request gets a 500
        failed = replace(denied, reason=BACKEND_FAILED, facts=exception_facts(error), response_headers=())
        return reply_to(request, failed, schemes), failed


def _rendered(request: AuthRequest, denied: Denied, schemes: Sequence[Scheme], render: Render | None) -> Reply:
    if render is not None:
        try:
            return reply_to(request, denied, schemes, render)
        except Exception as error:  # noqa: BLE001 - a body is not worth a challenge: ours stands in
            log_failure("render", error)
    return reply_to(request, denied, schemes)


def published_by_path(schemes: Sequence[Scheme]) -> Mapping[str, Published]:
    """The documents by their paths, with and without a trailing slash, which to a rule are the same path.

    ``ConfigurationError`` for two at one path, and for a pattern, which would open what lies in the app.
    """
    found: dict[str, Published] = {}
    for scheme in schemes:
        for page in getattr(scheme, "published", ()):
            if not parse_pattern(page.path)[0].literal:
                raise ConfigurationError("schemes", f"{page.path!r}, where one publishes, is a pattern, and no path")
            for path in {page.path.rstrip("/"), page.path.rstrip("/") + "/"}:
                if path in found:
                    raise ConfigurationError("schemes", f"two of them publish something at {page.path}")
                found[path] = page
    return found


def distinct(pages: Mapping[str, Published]) -> list[Published]:
    """Each document once."""
    return list({id(page): page for page in pages.values()}.values())


def with_published_rules(rules: Sequence[Rule], pages: Mapping[str, Published]) -> Sequence[Rule]:
    """The rules, and one for each document."""
    return [*rules, *_public_accesses(pages)] if pages and isinstance(rules, Sequence) else rules


def _public_accesses(pages: Mapping[str, Published]) -> Iterator[Rule]:
    for page in distinct(pages):
        rule = Rule(page.path, PUBLIC, methods={"GET"})
        object.__setattr__(rule, "location", page.location)
        yield rule
