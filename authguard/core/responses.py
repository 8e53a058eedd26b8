"""The responses that a guard writes: to a denial, and with a document that a scheme publishes.

In this order: the problem document, which is the default body of a denial; the response to a denial, which is the only
place where ``WWW-Authenticate`` is written; what is sent if that fails; the published documents, and their rules.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import TypeAlias

from authguard.app_code import shown, wrong_answer
from authguard.concurrency.deadline import is_overtaken
from authguard.errors import ConfigurationError, WrongAnswer
from authguard.model import Denied, Header
from authguard.policy.path_pattern import parse_pattern
from authguard.policy.requirements import PUBLIC
from authguard.policy.rules import Rule
from authguard.reasons import BACKEND_FAILED, SEE_OTHER, Reason
from authguard.records.record import exception_facts, log_failure
from authguard.request import AuthRequest
from authguard.schemes.scheme import Published, Scheme
from authguard.value_types import value
from authguard.wire.challenge import Challenge


@value
class Reply:
    """A whole response. ``headers`` are pairs of bytes, as ASGI sends them."""

    status: int
    headers: Sequence[Header]
    body: bytes


#: Makes the body of a denial: the media type, and the content as bytes.
Render: TypeAlias = Callable[[AuthRequest, Denied], tuple[str, bytes]]

PROBLEM = "application/problem+json"
#: The JSON Schema of what ``problem`` writes, for OpenAPI.
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
    """The default body: a problem document (RFC 9457). It tells the client no more than the status does.

    ``detail`` is the member that clients of FastAPI read.
    """
    return PROBLEM, _problem_of(denied.reason)


@lru_cache(256)
def _problem_of(reason: Reason) -> bytes:
    document = {
        "type": "about:blank",
        "title": reason.title,
        "status": reason.status,
        "detail": reason.detail,
        "code": reason.public_code,
    }
    return json.dumps(document).encode()


#: ``Retry-After`` in seconds, if the backend names none (RFC 9110 section 10.2.3).
RETRY_AFTER = 5
#: The longest ``Retry-After`` that is taken from a backend, in seconds.
LONGEST_WAIT = 86_400


def reply_to(request: AuthRequest, denied: Denied, schemes: Sequence[Scheme], render: Render = problem) -> Reply:
    """The response to a denial: the status, one field line for each challenge, and the body that ``render`` makes.

    RFC 9110 section 11.6.1. Challenges that share one line are misread by common clients. Whatever ``render`` returns,
    the status, the challenges and ``no-store`` stay.
    """
    reason = denied.reason
    wait = _delay_seconds(denied.facts.get("retry_after")) if reason.retried else None
    if reason.challenged == "none" and render is problem and not denied.response_headers and request.method != "HEAD":
        return _reply_without_challenge(reason, wait)
    media_type, body = _content(render, render(request, denied))
    headers = _headers(media_type, body, wait)
    headers += [(b"www-authenticate", challenge.to_header()) for challenge in _challenges(request, denied, schemes)]
    headers += [header for header in denied.response_headers if header not in headers]
    if reason.status == SEE_OTHER and not any(name == b"location" for name, _ in headers):
        msg = "no scheme has a login_url"
        raise TypeError(msg)
    return Reply(reason.status, headers, b"" if request.method == "HEAD" else body)


@lru_cache(256)
def _reply_without_challenge(reason: Reason, wait: bytes | None) -> Reply:
    """The response to all denials of a reason for which no scheme is asked, such as that of a full queue."""
    body = _problem_of(reason)
    return Reply(reason.status, tuple(_headers(PROBLEM, body, wait)), body)


def _headers(media_type: str, body: bytes, wait: bytes | None) -> list[Header]:
    headers = [
        (b"content-type", media_type.encode("latin-1")),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
    ]
    return headers if wait is None else [*headers, (b"retry-after", wait)]


def _content(render: Render, answer: object) -> tuple[str, bytes]:
    """What ``render`` has returned. Raises ``WrongAnswer``, which names it, for anything but a media type and bytes."""
    match answer:
        case (str() as media_type, bytes() as body) if media_type.isprintable():
            return media_type, body
        case (str() as media_type, bytes()):
            raise WrongAnswer(f"{shown(render)} returned a media type with a control character")
        case (media_type, body):
            kinds = f"({type(media_type).__name__}, {type(body).__name__})"
            raise WrongAnswer(f"{shown(render)} returned {kinds}; return (str, bytes): {_EXAMPLE}")
        case _:
            raise wrong_answer(render, answer, f"a media type and bytes: {_EXAMPLE}")


_EXAMPLE = '"application/json", b"{}"'


def _delay_seconds(wait: object) -> bytes:
    """``delay-seconds`` of RFC 9110 section 10.2.3, whatever a backend gave."""
    if isinstance(wait, bool) or not isinstance(wait, int | float) or not 0 < wait <= LONGEST_WAIT:
        wait = RETRY_AFTER
    return str(math.ceil(wait)).encode()


def _challenges(request: AuthRequest, denied: Denied, schemes: Sequence[Scheme]) -> list[Challenge]:
    """The challenges of the schemes that the reason asks for. Only a scheme that was tried learns why it was denied."""
    reason = denied.reason
    challenges: list[Challenge] = []
    if denied.requirement is not None:
        request.scopes_asked = denied.requirement.scopes_named()
    for scheme in schemes:
        was_tried = scheme.name == denied.scheme
        if reason.challenged == "all" and scheme.name in denied.accepted:
            challenges += scheme.challenges(request, denied if was_tried or reason.about_message else None)
        elif reason.challenged == "tried" and was_tried and scheme.challenges_on_403:
            challenges += scheme.challenges(request, denied)
    if reason.challenges_needed and not challenges:  # RFC 9110 section 15.5.2
        msg = "no scheme gave a challenge"
        raise TypeError(msg)
    return challenges


def answer_denial(
    request: AuthRequest, denied: Denied, schemes: Sequence[Scheme], render: Render | None
) -> tuple[Reply, Denied]:
    """The response to a denial, and the denial that it reports: an outage if no response could be made.

    If only ``render`` fails, the response has the default body.
    """
    try:
        return _rendered(request, denied, schemes, render), denied
    except Exception as error:  # noqa: BLE001 - whatever a scheme raises, the client gets a 503 and not a 500
        outage = replace(denied, reason=BACKEND_FAILED, facts=exception_facts(error), response_headers=())
        return reply_to(request, outage, schemes), outage


def _rendered(request: AuthRequest, denied: Denied, schemes: Sequence[Scheme], render: Render | None) -> Reply:
    if render is not None:
        try:
            return reply_to(request, denied, schemes, render)
        except Exception as error:  # noqa: BLE001 - the challenges matter more than the body of the app
            log_failure("render", error)
    return reply_to(request, denied, schemes)


#: How many responses are kept. There is one for each route, scheme and reason.
MAX_CONSTANT_REPLIES = 1024


class ConstantReplies:
    """The responses that are the same for all requests: each is made once.

    ``schemes``: the names of those whose challenges are constant (``Scheme.constant_challenges``). A response is kept
    by its requirement, its reason and the scheme that was tried, of which only the app can make new ones.
    """

    __slots__ = ("_replies", "_schemes")

    def __init__(self, schemes: Sequence[Scheme]) -> None:
        self._schemes = frozenset(scheme.name for scheme in schemes if _has_constant_challenges(scheme))
        # The values hold the requirement and the reason, so that no other gets the same id.
        self._replies: dict[tuple[int, int, str | None], tuple[Denied, Reply]] = {}

    def get(self, denied: Denied) -> Reply | None:
        """The response to such a denial, if one was kept."""
        kept = self._replies.get((id(denied.requirement), id(denied.reason), denied.scheme))
        if kept is None:
            return None
        like, reply = kept
        if denied is not like and (
            denied.response_headers or denied.accepted != like.accepted or _names_a_login(denied)
        ):
            return None
        return reply

    def keep(self, denied: Denied, reply: Reply) -> None:
        """Keep the response to a denial, if it would be the same for the next request."""
        if (
            len(self._replies) < MAX_CONSTANT_REPLIES
            and denied.accepted <= self._schemes
            # The scheme that was tried may not be one that the route accepts, and its challenges are sent with a 403.
            and (denied.scheme is None or denied.scheme in self._schemes)
            and not (denied.reason.retried or denied.response_headers or _names_a_login(denied))
        ):
            # Without facts and subject, which are those of one request. The denial of a request that presents nothing
            # is one object for all requests.
            kept = denied
            if denied.facts or denied.subject is not None:
                kept = Denied(denied.reason, denied.scheme, requirement=denied.requirement, accepted=denied.accepted)
            self._replies[id(denied.requirement), id(denied.reason), denied.scheme] = kept, reply


def _has_constant_challenges(scheme: Scheme) -> bool:
    """Whether the scheme says so, and has no newer ``challenges`` than those of which it is said."""
    is_constant = getattr(scheme, "constant_challenges", False) is True
    return is_constant and not is_overtaken(scheme, "constant_challenges", by="challenges")


def _names_a_login(denied: Denied) -> bool:
    """Whether the challenge says which login is needed. RFC 9470 section 3."""
    return "acr_values" in denied.facts or "max_age" in denied.facts


def published_by_path(schemes: Sequence[Scheme]) -> Mapping[str, Published]:
    """The documents of the schemes, by their paths with and without a trailing slash. A rule treats both as one path.

    Raises ``ConfigurationError`` for two documents at one path, unless they are equal. Raises it for a pattern too,
    because the rule for it would also open paths of the app.
    """
    documents: dict[str, Published] = {}
    for scheme in schemes:
        for document in _published(scheme, schemes):
            if not parse_pattern(document.path)[0].literal:
                raise ConfigurationError(
                    "schemes", f"{document.path!r} is a pattern; a scheme must publish a document at a single path"
                )
            for path in {document.path.rstrip("/"), document.path.rstrip("/") + "/"}:
                if documents.setdefault(path, document) != document:
                    raise ConfigurationError("schemes", f"two schemes publish a document at {document.path}")
    return documents


def _published(scheme: Scheme, schemes: Sequence[Scheme]) -> Sequence[Published]:
    """The documents of this scheme; none for one that does not derive from ``Scheme`` and says nothing of them."""
    if hasattr(scheme, "published_beside"):
        return scheme.published_beside(schemes)
    return getattr(scheme, "published", ())


def distinct(documents: Mapping[str, Published]) -> list[Published]:
    """Each document once, although it has two paths."""
    return list({id(document): document for document in documents.values()}.values())


def with_published_rules(rules: Sequence[Rule], documents: Mapping[str, Published]) -> Sequence[Rule]:
    """The rules of a guard, and one for each document, which opens its path to everybody."""
    return [*rules, *_published_rules(documents)] if documents and isinstance(rules, Sequence) else rules


def _published_rules(documents: Mapping[str, Published]) -> Iterator[Rule]:
    for document in distinct(documents):
        rule = Rule(document.path, PUBLIC, methods={"GET"})
        # The audit shows where the app asked for the document, and not this file.
        object.__setattr__(rule, "location", document.location)
        yield rule


# Every script may read what everybody may read (RFC 9728 section 3.1), and may send fields of its own with the request.
_READABLE: tuple[Header, ...] = ((b"access-control-allow-origin", b"*"),)
_PREFLIGHT: tuple[Header, ...] = (
    (b"access-control-allow-methods", b"GET, HEAD"),
    (b"access-control-allow-headers", b"*"),
    (b"access-control-max-age", b"86400"),
)


def served(document: Published, method: str) -> Reply | None:
    """The response with a document; None for a method by which it is not served."""
    if method == "OPTIONS":
        return Reply(204, (*_READABLE, *_PREFLIGHT), b"")
    if method not in {"GET", "HEAD"}:
        return None
    headers = [
        (b"content-type", document.media_type.encode("latin-1")),
        (b"content-length", str(len(document.octets)).encode()),
        *_READABLE,
        *document.headers,
    ]
    return Reply(200, headers, b"" if method == "HEAD" else document.octets)
