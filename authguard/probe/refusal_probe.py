"""Asks a server without credentials, as a script of another origin, and with a token of nobody; judges the answers."""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus

from authguard.probe.answers import judge_caching, judge_cors, judge_status
from authguard.probe.challenges import judge_challenges, judge_nonces, judge_refused_token, read_refusal
from authguard.probe.exchange import Answer, Target
from authguard.probe.finding import Finding, fault
from authguard.probe.report import Asked, Report

#: The origin of the preflight, if none is named: one that no server should allow. The name can exist nowhere.
UNKNOWN_ORIGIN = "https://authguard-probe.invalid"
#: A token that nobody has issued. It says in the log of the server where it comes from.
TOKEN = "authguard-probe-this-is-no-token"


def probe_refusal(target: Target, *, method: str = "GET", origin: str | None = None) -> Report:
    """Send three or four requests, none with credentials of anybody, and say what is wrong in the answers.

    ``origin`` is one that the server should allow. Raises ``ConfigurationError`` if a request has no answer.
    """
    plain = target.send(method)
    refusal = read_refusal(plain.lines("www-authenticate"), plain.status)
    findings = [*judge_status(plain, refusal, target), *judge_challenges(refusal), *judge_caching(plain)]
    asked = [Asked(f"{method} without credentials", plain)]
    script = origin or UNKNOWN_ORIGIN
    wish = ("Access-Control-Request-Method", method), ("Access-Control-Request-Headers", "authorization")
    preflight = target.send("OPTIONS", [("Origin", script), *wish])
    asked.append(Asked(f"OPTIONS as the preflight of {script}", preflight))
    refused = target.send(method, [("Origin", script)])
    findings += judge_nonces(refusal, read_refusal(refused.lines("www-authenticate")))
    findings += judge_cors(preflight, refused, script, is_given=origin is not None)
    if _may_want_a_token(plain, refusal.schemes):
        answer = target.send(method, [("Authorization", f"Bearer {TOKEN}")])
        asked.append(Asked(f"{method} with a Bearer token of nobody", answer))
        findings += _judge_token(answer, plain)
    return Report(target.url, asked, findings)


def _may_want_a_token(plain: Answer, schemes: list[str]) -> bool:
    if schemes:
        return "bearer" in schemes
    return plain.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}


def _judge_token(answer: Answer, plain: Answer) -> Iterator[Finding]:
    lines = answer.lines("www-authenticate")
    if answer.status < HTTPStatus.MULTIPLE_CHOICES:
        yield fault(
            "bearer.any_token",
            f"a token of nobody is answered with {answer.status}",
            "Whoever sends any token is let in",
            "RFC 6750 section 5.2",
            "Verify the token: its signature, its issuer, its audience and its end.",
        )
    elif answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        yield fault(
            "bearer.crash",
            f"a token that is no JWT is answered with {answer.status}",
            "A client retries it, and anybody can fill the log with errors",
            "RFC 6750 section 3.1",
            'Answer with 401 and error="invalid_token".',
        )
    elif answer.status == HTTPStatus.UNAUTHORIZED and not lines and plain.lines("www-authenticate"):
        yield fault(
            "bearer.no_challenge",
            "a token of nobody is refused with a 401 without WWW-Authenticate",
            "A client cannot tell that its token is bad",
            "RFC 9110 section 15.5.2",
            'Send WWW-Authenticate: Bearer realm="orders", error="invalid_token".',
        )
    elif answer.status == HTTPStatus.FORBIDDEN != plain.status:
        yield fault(
            "bearer.forbidden",
            "a token of nobody is answered with 403",
            "It says that the token is good and not enough, so a client does not get a new one",
            "RFC 6750 section 3.1",
            'Answer with 401 and error="invalid_token".',
        )
    elif answer.status == HTTPStatus.BAD_REQUEST and not lines:
        yield fault(
            "bearer.bad_request",
            "a token of nobody is answered with 400",
            "It says that the request is wrong and not the token, so a client does not get a new one",
            "RFC 9110 section 11.4",
            'Answer with 401 and WWW-Authenticate: Bearer realm="orders", error="invalid_token".',
        )
    yield from judge_refused_token(read_refusal(lines, answer.status))
