"""What a proxy does to a request: the marked requests are sent through it, and compared with what the echo received."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from http import HTTPStatus
from types import MappingProxyType
from typing import Any
from urllib.parse import urljoin, urlsplit

from authguard.errors import ConfigurationError
from authguard.probe.exchange import Answer, Target
from authguard.probe.finding import Finding, fault, note, shown, warning
from authguard.probe.marked import BELIEVED, MARK, NAME, MarkedRequest, marked_requests
from authguard.probe.report import Asked, Report
from authguard.value_types import value

_FIELD = "RFC 9110 section 11.6.2"
_PASS_ON = "nginx: proxy_set_header Authorization $http_authorization; Apache with CGI: CGIPassAuth On."
_WORDS: Mapping[str, str] = MappingProxyType(
    {
        "bearer": "GET with a Bearer token",
        "basic": "GET with Basic",
        "digest": "GET with Digest",
        "two": "GET with two Authorization lines",
        "path": "GET with an encoded path",
        "forged": "GET with fields of proxies",
    }
)


@value
class Received:
    """What the echo says of a request."""

    seen: int
    prefix: str
    path: str
    query: str
    host: str
    fields: list[tuple[str, str]]

    def lines(self, name: str) -> list[str]:
        """The value of each field line of this name."""
        return [text for key, text in self.fields if key == name]


def probe_way(target: Target, mark: str) -> Report:
    """Send the marked requests to a URL that leads to the echo, and say what has changed on the way.

    The path of the URL is the one that the proxy forwards; the probe adds its own. Raises ``ConfigurationError`` if the
    mark is not one, or if a request has no answer.
    """
    if not MARK.fullmatch(mark):
        raise ConfigurationError("--through", "it is not the mark that authguard echo has printed")
    asked: list[Asked] = []
    findings: list[Finding] = []
    has_reached = False
    *requests, end = marked_requests(mark)
    for request in requests:
        answer = _send(target, request)
        received = _received(answer, request.kind)
        has_reached |= received is not None
        asked.append(Asked(_WORDS[request.kind], answer))
        if received is None:
            findings += _not_received(answer, request, target, has_reached=has_reached)
        else:
            findings += _judge(request, received, target)
    _send(target, end)
    if not has_reached and not findings:
        findings.append(_unreached(asked[0].answer))
    return Report(target.url, asked, _merged(findings))


def _merged(findings: Sequence[Finding]) -> list[Finding]:
    """What happens to all three kinds of credentials alike is one finding."""
    general = [replace(finding, what=_KIND.sub("", finding.what)) for finding in findings]
    is_of_all = [general.count(one) == _KINDS for one in general]
    pairs = zip(findings, general, is_of_all, strict=True)
    return list(dict.fromkeys(one if of_all else finding for finding, one, of_all in pairs))


_KIND = re.compile(r" with (?:bearer|basic|digest)\b")
_KINDS = 3


def _send(target: Target, request: MarkedRequest) -> Answer:
    return target.send("GET", request.fields, f"{target.path.rstrip('/')}{request.suffix}?{request.query}")


def _received(answer: Answer, kind: str) -> Received | None:
    """What the echo says; None if the answer is not of the echo."""
    try:
        document: Any = json.loads(answer.body)
        if document["authguard_echo"] != 1 or document["kind"] != kind:
            return None
        prefix, path = map(str, document["path"])
        fields = [(str(name), str(text)) for name, text in document["fields"]]
        return Received(int(document["seen"]), prefix, path, str(document["query"]), str(document["host"]), fields)
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):  # int(1e999) is an OverflowError
        return None


# --- requests that the echo has not received --------------------------------------------------------------------------


def _unreached(answer: Answer) -> Finding:
    server = answer.get("server")
    return fault(
        "way.unreached",
        f"the echo was not reached; {shown(server) if server else 'something'} answers with {answer.status}",
        "Nothing can be said of the way to it",
        "RFC 9110 section 3.7",
        "Start authguard echo where the proxy forwards this URL to, and give its mark.",
    )


def _not_received(answer: Answer, request: MarkedRequest, target: Target, *, has_reached: bool) -> Iterator[Finding]:
    location = answer.get("location")
    if location and HTTPStatus.MULTIPLE_CHOICES <= answer.status < HTTPStatus.BAD_REQUEST:
        yield from _redirect(answer.status, location, target)
    elif request.kind == "two" and HTTPStatus.BAD_REQUEST <= answer.status < HTTPStatus.INTERNAL_SERVER_ERROR:
        yield note(
            "way.two_refused",
            f"two Authorization lines are refused with {answer.status}",
            "A request has one, so nobody can choose the wrong one",
            _FIELD,
            "Nothing has to be done.",
        )
    elif request.kind == "path" and HTTPStatus.BAD_REQUEST <= answer.status < HTTPStatus.INTERNAL_SERVER_ERROR:
        yield warning(
            "way.path_refused",
            f"a path with %2F and // is answered with {answer.status} before it arrives",
            "Names with an encoded slash cannot be used in paths",
            "RFC 3986 section 2.2",
            "Apache: AllowEncodedSlashes NoDecode. Or keep such names out of paths.",
        )
    elif answer.status == HTTPStatus.UNAUTHORIZED:
        yield fault(
            "way.refused",
            f"the {_WORDS[request.kind]} is answered with 401 before it arrives",
            "The proxy asks for credentials of its own in the field of the app",
            "RFC 9110 section 11.7.1",
            "Let the proxy ask with 407 and Proxy-Authenticate, or leave the login to one of both.",
        )
    elif has_reached:
        yield fault(
            "way.lost",
            f"the {_WORDS[request.kind]} is answered with {answer.status} before it arrives",
            "What the proxy refuses, the app never sees",
            "RFC 9110 section 3.7",
            "Look into the log of the proxy.",
        )


def _redirect(status: int, location: str, target: Target) -> Iterator[Finding]:
    try:
        parts = urlsplit(urljoin(target.url, location))
    except ValueError:
        parts = urlsplit("")
    path = parts.path.partition(f"/{NAME}/")[0]
    place = shown(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{path}")
    if target.scheme == "https" and parts.scheme == "http":
        yield fault(
            "way.redirect_http",
            f"a {status} leads from https to {place}",
            "A client sends its credentials there in clear text",
            "RFC 9110 section 17.16.1",
            "Redirect to https, or write a relative Location (nginx: absolute_redirect off).",
        )
    else:
        yield warning(
            "way.redirect",
            f"a {status} leads to {place}",
            "Most clients drop Authorization if a redirect leads to another host, port or scheme",
            "RFC 9110 section 15.4",
            "Give clients the URL that it leads to.",
        )


# --- requests that it has received ------------------------------------------------------------------------------------


def _judge(request: MarkedRequest, received: Received, target: Target) -> Iterator[Finding]:
    if received.seen > 1:
        yield fault(
            "way.repeated",
            f"the request with {request.kind} arrived {received.seen} times",
            "A Digest response and a DPoP proof are good once, and what is not idempotent is done twice",
            "RFC 9110 section 9.2.2",
            "Do not retry or mirror requests with Authorization (nginx: proxy_next_upstream off).",
        )
    yield from _JUDGES[request.kind](request, received, target)


def _bearer(request: MarkedRequest, received: Received, target: Target) -> Iterator[Finding]:
    yield from _credentials(request, received, target)
    for name, text in request.other:
        if received.lines(name.lower()) != [text]:
            yield _field(name, text, received)
    yield from _path(received, target)
    yield from _scheme(received, target)
    yield from _host(received, target)


def _credentials(request: MarkedRequest, received: Received, target: Target) -> Iterator[Finding]:
    (sent,) = request.authorization
    arrived = received.lines("authorization")
    kind = request.kind
    if arrived == [sent]:
        return
    if not arrived:
        yield _absent(kind, [name for name, text in received.fields if text == sent])
    elif len(arrived) > 1 and sent in arrived:
        yield fault(
            "way.doubled",
            f"Authorization with {kind} arrives {len(arrived)} times: {shown(' and '.join(arrived), 160)}",
            "A request has one; an app takes the first, the last, or refuses it",
            _FIELD,
            "Set the field in one place, and replace what the client sent there.",
        )
    elif any(sent in text and text.replace(sent, "").strip(' "') for text in arrived):
        yield fault(
            "way.joined",
            f"Authorization with {kind} arrives as {shown(arrived[0], 160)}",
            "No list of credentials is allowed there, so the app reads neither",
            _FIELD,
            "Set the field in one place, and replace what the client sent there.",
        )
    elif "<" in "".join(arrived):
        yield fault(
            "way.replaced",
            f"Authorization with {kind} arrives as {shown(arrived[0], 160)}",
            "The app sees other credentials than the client has sent, and lets all of them in as one",
            _FIELD,
            "Send the credentials of the proxy in another field, or by TLS.",
        )
    else:
        yield fault(
            "way.reencoded",
            f"Authorization with {kind} arrives as {shown(arrived[0], 160)}",
            "A signature or a password with such characters no longer fits",
            _FIELD,
            "Pass the field on as it is.",
        )


def _absent(kind: str, renamed: list[str]) -> Finding:
    if renamed:
        return fault(
            "way.renamed",
            f"Authorization with {kind} arrives as {shown(', '.join(renamed))}",
            "The app sees a request without credentials",
            _FIELD,
            f"Pass it on under its name. {_PASS_ON}",
        )
    return fault(
        "way.stripped",
        f"Authorization with {kind} does not arrive",
        "The app sees a request without credentials, and answers 401 to all",
        _FIELD,
        f"Pass it on. {_PASS_ON}",
    )


def _field(name: str, text: str, received: Received) -> Finding:
    arrived = received.lines(name.lower())
    renamed = [key for key, one in received.fields if one == text and key != name.lower()]
    if not arrived:
        what = f"{name} arrives as {shown(', '.join(renamed))}" if renamed else f"{name} does not arrive"
    else:
        what = f"{name} arrives as {shown(' and '.join(arrived), 160)}"
    return fault(
        "way.field",
        what,
        "API keys and sessions in this field do not work",
        "RFC 9110 section 5.1",
        "Pass the field on as it is.",
    )


_PATH_REPLACED = fault(
    "way.path_replaced",
    "the path arrives as another one",
    "Rules for paths match another path than the client has asked for",
    "RFC 9110 section 7.1",
    "Pass the path on as it is.",
)


def _path(received: Received, target: Target) -> Iterator[Finding]:
    sent = target.path.rstrip("/")
    if not received.path:
        yield _PATH_REPLACED
    elif received.prefix not in {sent, f"<{len(sent)} bytes>"}:  # the echo hides what looks like a secret
        yield fault(
            "way.prefix",
            f"the path begins with {shown(received.prefix) or 'nothing'} in place of {shown(sent) or 'nothing'}",
            "Rules, redirects and the uri of Digest are about another path than the client's",
            "RFC 7616 section 3.4.6",
            "Tell the server its root_path, and Digest its public_prefix; or pass the path on as it is.",
        )


def _scheme(received: Received, target: Target) -> Iterator[Finding]:
    said = [text for name in ("x-forwarded-proto", "forwarded") for text in received.lines(name)]
    schemes = {text.removeprefix("proto=").partition(",")[0].replace("ws", "http") for text in said}
    if target.scheme == "https" and "https" not in schemes:
        yield fault(
            "way.scheme_lost",
            f"the request came by https, and the app hears of {shown(', '.join(sorted(schemes))) or 'nothing'}",
            "It writes links and redirects to http, and cookies without Secure",
            "RFC 7239 section 5.4",
            "nginx: proxy_set_header X-Forwarded-Proto $scheme; and tell the server to believe the proxy.",
        )
    elif target.scheme == "http" and "https" in schemes:
        yield fault(
            "way.scheme_wrong",
            "the request came by http, and the app hears of https",
            "It takes what everybody on the way could read for protected",
            "RFC 7239 section 5.4",
            "nginx: proxy_set_header X-Forwarded-Proto $scheme.",
        )


def _host(received: Received, target: Target) -> Iterator[Finding]:
    hosts = [received.host.lower(), *(text.lower() for text in received.lines("x-forwarded-host"))]
    if target.authority.lower() not in hosts:
        yield warning(
            "way.host",
            f"Host arrives as {shown(received.host)}",
            "Links, redirects, and comparisons with Origin and with the uri of Digest are about another host",
            "RFC 9110 section 7.2",
            "nginx: proxy_set_header Host $host.",
        )


def _two(request: MarkedRequest, received: Received, target: Target) -> Iterator[Finding]:
    arrived = received.lines("authorization")
    sent = list(request.authorization)
    if len(arrived) == 1 and all(text in arrived[0] for text in sent):
        yield fault(
            "way.joined",
            f"two Authorization lines arrive as one: {shown(arrived[0], 160)}",
            "The app reads one long token, and cannot tell that there were two",
            _FIELD,
            "Refuse such requests with 400.",
        )
    elif len(arrived) == 1 and arrived[0] in sent:
        which = "first" if arrived[0] == sent[0] else "last"
        yield warning(
            "way.one_of_two",
            f"of two Authorization lines the {which} arrives",
            "Whoever looks at the other one, such as a filter before the proxy, sees other credentials than the app",
            _FIELD,
            "Refuse such requests with 400.",
        )


def _encoded(request: MarkedRequest, received: Received, target: Target) -> Iterator[Finding]:
    if received.query != request.query:
        yield fault(
            "way.query",
            f"the query arrives as {shown(received.query.replace(request.mark, 'MARK')) or 'nothing'}",
            "The uri of Digest no longer fits, and the app gets other parameters",
            "RFC 7616 section 3.4.6",
            "Pass the query on as it is.",
        )
    if not received.path:
        yield _PATH_REPLACED
    if received.path in {"", request.suffix}:
        return
    start = len(request.suffix) - len(request.rest)
    rest = received.path[start:]
    changes = [
        words
        for is_changed, words in (
            ("%2F" not in rest, "%2F is decoded" if "%2f" not in rest.lower() else "%2F is written as %2f"),
            ("//" not in rest, "// is merged"),
            ("%7E" not in rest, "%7E is decoded" if "~" in rest else "%7E is changed"),
            ("%20" not in rest, "%20 is changed"),
            (not rest.endswith("/"), "the last / is dropped"),
        )
        if is_changed
    ]
    yield fault(
        "way.path_rewritten",
        f"the path arrives changed: {', '.join(changes) or shown(rest)}",
        "A rule of the proxy and a rule of the app match two paths, and the uri of Digest no longer fits",
        "RFC 3986 section 2.2",
        "nginx: proxy_pass without a path, and merge_slashes off. Apache: nocanon.",
    )


def _forged(request: MarkedRequest, received: Received, target: Target) -> Iterator[Finding]:
    forged = []
    for name in BELIEVED:
        arrived = received.lines(name.lower())
        is_appended = any(text != f"forged-{request.mark}" for text in arrived)
        # To these two the proxy adds its part, and the app counts from the end.
        if any(request.mark in text for text in arrived) and not (is_appended and name in _APPENDED):
            forged.append(name)
    if forged:
        yield warning(
            "way.forged",
            f"a client can write {', '.join(forged)}",
            "An app that believes one of these fields believes everybody",
            "RFC 7239 section 8.1",
            f'Replace or remove them (nginx: proxy_set_header {forged[0]} ""), or let the app not believe them.',
        )


_APPENDED = frozenset({"X-Forwarded-For", "Forwarded"})

_Judge = Callable[[MarkedRequest, Received, Target], Iterator[Finding]]
_JUDGES: Mapping[str, _Judge] = MappingProxyType(
    {
        "bearer": _bearer,
        "basic": _credentials,
        "digest": _credentials,
        "two": _two,
        "path": _encoded,
        "forged": _forged,
    }
)
