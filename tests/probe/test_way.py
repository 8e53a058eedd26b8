"""What the probe says of a way, with the echo at its end and a function for each proxy."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from authguard.errors import ConfigurationError
from authguard.probe.echo import Echo
from authguard.probe.exchange import Answer, Fields, Target
from authguard.probe.way import probe_way
from tests.probe.servers import response

MARK = "0123456789abcdef" * 2
#: A proxy gets the head of a request, and gives the heads that arrive; or the answer that it gives itself.
Proxy = Callable[[str], "str | list[str] | bytes"]

XFP = "X-Forwarded-Proto: https"


class Way(Target):
    """A server whose requests reach an echo through a function."""

    def __init__(self, url: str, proxy: Proxy, mark: str = MARK) -> None:
        super().__init__(url)
        self._proxy = proxy
        self._echo = Echo(mark)

    def send(self, method: str, fields: Fields = (), target: str | None = None) -> Answer:
        lines = [("Host", self.authority), *fields]
        head = f"{method} {target} HTTP/1.1\r\n" + "".join(f"{name}: {text}\r\n" for name, text in lines)
        passed = self._proxy(head + "\r\n")
        if isinstance(passed, bytes):
            raw = passed
        else:
            raw = [self._echo.answer(one.encode()) for one in ([passed] if isinstance(passed, str) else passed)][-1]
        first, body = raw.split(b"\r\n\r\n", 1)
        start, *rest = first.decode().split("\r\n")
        pairs = [line.split(": ", 1) for line in rest]
        return Answer(int(start.split()[1]), [(name.lower(), text.encode()) for name, text in pairs], body)


def honest(head: str) -> str:
    """A proxy that adds what it must, and removes what a client must not write."""
    head = re.sub(r"(Forwarded|X-Forwarded-\w+|X-Real-IP|Remote-User|Client-Cert): .*\r\n", "", head)
    return head.replace("\r\n", f"\r\n{XFP}\r\n", 1)


def findings(proxy: Proxy, url: str = "https://api.example/", mark: str = MARK) -> list[str]:
    """The code of each finding, and what was seen."""
    return [f"{one.level} {one.code}: {one.what}" for one in probe_way(Way(url, proxy, mark), MARK).findings]


def changed(pattern: str, new: str) -> Proxy:
    """A proxy that replaces something in each head."""
    return lambda head: re.sub(pattern, new, honest(head))


def test_an_honest_way_has_no_finding() -> None:
    """Nothing is said of a proxy that passes on what it should, with a path of its own or without."""
    assert findings(honest) == []
    assert findings(honest, "https://api.example/a/b/") == []
    assert findings(honest, "https://API.example/") == []
    assert findings(honest, "https://api.example/5f4dcc3b5aa765d61d8327deb882cf99/") == []
    assert findings(lambda head: honest(head).replace(XFP, "Forwarded: for=_x;proto=https")) == []
    assert findings(lambda head: honest(head).replace(XFP, "X-Forwarded-Proto: https, http")) == []
    assert findings(lambda head: honest(head).replace("GET /", "GET http://app:8000/", 1)) == []


@pytest.mark.parametrize(
    ("proxy", "seen"),
    [
        (
            changed("Authorization: [^\r]*\r\n", ""),
            ["fault way.stripped: Authorization does not arrive"],
        ),
        (
            changed("Authorization: ", "X-Original-Authorization: "),
            ["fault way.renamed: Authorization arrives as x-original-authorization"],
        ),
        (
            changed("(Authorization: Bearer .*\r\n)", r"\1\1"),
            [
                (
                    f"fault way.doubled: Authorization with bearer arrives 2 times: Bearer {MARK}.AZaz09-_~+/== "
                    f"and Bearer {MARK}.AZaz09-_~+/=="
                )
            ],
        ),
        (
            changed("Authorization: ", "Authorization: Basic c2VjcmV0OnNlY3JldA==, "),
            [f"fault way.joined: Authorization with bearer arrives as Basic <20 bytes>, Bearer {MARK}.AZaz09-_~+/=="],
        ),
        (
            changed("Authorization: [^\r]*", "Authorization: Basic c2VjcmV0OnNlY3JldA=="),
            ["fault way.replaced: Authorization arrives as Basic <20 bytes>"],
        ),
        (
            changed("Authorization: ([^\r]*)", r'Authorization: "\1"'),
            [f'fault way.reencoded: Authorization with bearer arrives as "Bearer {MARK}.AZaz09-_~+/=="'],
        ),
        (
            changed(r"\+/==", "%2B%2F%3D%3D"),
            [f"fault way.reencoded: Authorization with bearer arrives as Bearer {MARK}.AZaz09-_~%2B%2F%3D%3D"],
        ),
        (
            changed(r"Authorization: Bearer [^\r]*/==", "Authorization: Basic eA==\r\nAuthorization: Bearer eA=="),
            ["fault way.replaced: Authorization with bearer arrives as Basic <4 bytes>"],
        ),
        (
            changed("X-API-Key: .*\r\n", ""),
            ["fault way.field: X-API-Key does not arrive"],
        ),
        (
            changed("X-API-Key: ", "X_Api_Key: "),
            ["fault way.field: X-API-Key arrives as x_api_key"],
        ),
        (
            changed("Cookie: ", "Cookie: a=secret; "),
            [f"fault way.field: Cookie arrives as <8 bytes>; __Host-session=cookie-{MARK}"],
        ),
        (
            changed("GET .*? ", "GET /fixed "),
            [
                "fault way.path_replaced: the path arrives as another one",
                "fault way.query: the query arrives as nothing",
            ],
        ),
        (
            changed("GET /", "GET /internal/v1/"),
            ["fault way.prefix: the path begins with /internal/v1 in place of nothing"],
        ),
        (
            changed("GET /", "GET /bot123456:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw/"),
            ["fault way.prefix: the path begins with <45 bytes> in place of nothing"],
        ),
        (
            changed("GET /", "GET /5f4dcc3b5aa765d61d8327deb882cf99/"),
            ["fault way.prefix: the path begins with <33 bytes> in place of nothing"],
        ),
        (
            changed(r"(\?\S*)", r"\1&api_key=secret"),
            ["fault way.query: the query arrives as authguard-probe=MARK.path&x=a%20b+c&x=%2F&y=&<14 bytes>"],
        ),
        (
            changed(r"%20b\+c", "+b+c"),
            ["fault way.query: the query arrives as authguard-probe=MARK.path&x=a+b+c&x=%2F&y="],
        ),
        (
            changed("%2Fb", "/b"),
            ["fault way.path_rewritten: the path arrives changed: %2F is decoded"],
        ),
        (
            changed("a%2Fb//c%20d/%7E", "a%2fb/c+d/~"),
            [
                (
                    "fault way.path_rewritten: the path arrives changed: %2F is written as %2f, // is merged, "
                    "%7E is decoded, %20 is changed"
                )
            ],
        ),
        (
            changed("/%7Ee;f=g/", "/%7ee;f=g"),
            ["fault way.path_rewritten: the path arrives changed: %7E is changed, the last / is dropped"],
        ),
        (
            changed("/path/a%2Fb", "/path/%61%2Fb"),
            ["fault way.path_rewritten: the path arrives changed: /%61%2Fb//c%20d/%7Ee;f=g/"],
        ),
        (
            changed("Host: [^\\r]*", "Host: app:8000"),
            ["warning way.host: Host arrives as app:8000"],
        ),
        (
            changed("Host: [^\\r]*", "Host: <script>"),
            ["warning way.host: Host arrives as <8 bytes>"],
        ),
        (
            changed(f"{XFP}\r\n", ""),
            ["fault way.scheme_lost: the request came by https, and the app hears of nothing"],
        ),
        (
            changed("Proto: https", "Proto: http"),
            ["fault way.scheme_lost: the request came by https, and the app hears of http"],
        ),
        (
            changed("Authorization: (.*)\r\nAuthorization: (.*)\r\n", "Authorization: \\1, \\2\r\n"),
            [f"fault way.joined: two Authorization lines arrive as one: Bearer {MARK}.one, Bearer {MARK}.two"],
        ),
        (
            changed("(Authorization: .*one\r\n)Authorization: .*\r\n", r"\1"),
            ["warning way.one_of_two: of two Authorization lines the first arrives"],
        ),
        (
            changed("Authorization: .*one\r\n", ""),
            ["warning way.one_of_two: of two Authorization lines the last arrives"],
        ),
        (
            lambda head: head.replace("\r\n", f"\r\n{XFP}\r\n", 1),
            [
                (
                    "warning way.forged: a client can write Forwarded, X-Forwarded-For, X-Forwarded-Proto, "
                    "X-Forwarded-Host, X-Real-IP, X-Forwarded-User, Remote-User, Client-Cert"
                )
            ],
        ),
        (
            lambda head: honest(head).replace("\r\n\r\n", f"\r\nX-Forwarded-For: forged-{MARK}, 192.0.2.7\r\n\r\n"),
            [],
        ),
        (
            lambda head: [honest(head)] * (2 if "bearer" in head else 1),
            ["fault way.repeated: the request with bearer arrived 2 times"],
        ),
        (
            lambda head: response(400) if head.count("Authorization") > 1 else honest(head),
            ["note way.two_refused: two Authorization lines are refused with 400"],
        ),
        (
            lambda head: response(404) if "%2F" in head else honest(head),
            ["warning way.path_refused: a path with %2F and // is answered with 404 before it arrives"],
        ),
        (
            lambda head: response(401) if "Digest" in head else honest(head),
            ["fault way.refused: the GET with Digest is answered with 401 before it arrives"],
        ),
        (
            lambda head: response(502) if "Digest" in head else honest(head),
            ["fault way.lost: the GET with Digest is answered with 502 before it arrives"],
        ),
        (
            lambda head: response(404, "Server: nginx"),
            [
                "note way.two_refused: two Authorization lines are refused with 404",
                "warning way.path_refused: a path with %2F and // is answered with 404 before it arrives",
            ],
        ),
        (
            lambda head: response(502, "Server: nginx"),
            ["fault way.unreached: the echo was not reached; nginx answers with 502"],
        ),
        (
            lambda head: response(200, body='{"authguard_echo": 1}'),
            ["fault way.unreached: the echo was not reached; something answers with 200"],
        ),
        (
            lambda head: response(301, f"Location: http://bob:pw@api.example{head.split()[1]}"),
            ["fault way.redirect_http: a 301 leads from https to http://api.example"],
        ),
        (
            lambda head: response(302, "Location: https://id.example/login"),
            ["warning way.redirect: a 302 leads to https://id.example/login"],
        ),
        (
            lambda head: response(302, "Location: https://[x"),
            ["warning way.redirect: a 302 leads to ://"],
        ),
    ],
)
def test_what_a_proxy_does(proxy: Proxy, seen: list[str]) -> None:
    """Each thing that a proxy does is one finding, or one for each of the three schemes."""
    told = list(dict.fromkeys(re.sub(r" with (basic|digest) .*", "", one) for one in findings(proxy)))

    assert [one for one in told if not re.fullmatch(r"\w+ way\.\w+: Authorization", one)] == seen


def test_over_http_nothing_is_lost_but_something_may_be_wrong() -> None:
    """A proxy that says https of what came by http would have secrets sent in clear text."""
    plain = changed(f"{XFP}\r\n", "")

    assert findings(plain, "http://api.example/") == []
    assert findings(changed("Proto: https", "Proto: http"), "http://api.example/") == []
    assert findings(honest, "http://api.example/") == [
        "fault way.scheme_wrong: the request came by http, and the app hears of https"
    ]
    assert findings(lambda _: response(301, "Location: https://api.example/"), "http://api.example/") == [
        "warning way.redirect: a 301 leads to https://api.example/"
    ]


def test_a_host_may_come_in_the_field_of_proxies() -> None:
    """Apps behind such a proxy read ``X-Forwarded-Host``; another host there is one that they do not know."""
    both = changed("Host: [^\r]*", "Host: app:8000\r\nX-Forwarded-Host: API.example")
    other = changed("Host: [^\r]*", "Host: app:8000\r\nX-Forwarded-Host: a b")

    assert findings(both) == []
    assert findings(other) == ["warning way.host: Host arrives as app:8000"]


@pytest.mark.parametrize("mark", ["", "secret", MARK.upper(), MARK + "0"])
def test_a_mark_is_what_the_echo_has_printed(mark: str) -> None:
    """Nothing is sent with anything else, which may be a password in the wrong place."""
    sent: list[str] = []
    with pytest.raises(ConfigurationError, match=r"^--through: it is not the mark that authguard echo has printed$"):
        probe_way(Way("https://api.example/", lambda head: sent.append(head) or head), mark)  # type: ignore[func-returns-value]

    assert sent == []


def test_an_echo_with_another_mark_is_not_reached() -> None:
    """The mark is of one echo; after its end it is good for nothing."""
    assert findings(honest, mark=MARK[::-1])[-1].startswith("warning way.path_refused")
    assert not any("way.stripped" in one for one in findings(honest, mark=MARK[::-1]))


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{}",
        "[]",
        "[" * 100_000,
        '{"authguard_echo": 1, "kind": "bearer", "path": "", "fields": []}',
        '{"authguard_echo": 1, "kind": "bearer", "path": ["", ""], "fields": [1]}',
        '{"authguard_echo": 2, "kind": "bearer"}',
        '{"authguard_echo": 1, "kind": "basic"}',
        '{"authguard_echo": 1, "kind": "bearer", "path": ["", ""], "fields": [], "seen": 1e999}',
    ],
)
def test_what_only_looks_like_an_echo_is_none(body: str) -> None:
    """An app at the end of the way may answer anything."""
    (found,) = probe_way(Way("https://api.example/", lambda _: response(200, body=body)), MARK).findings

    assert found.code == "way.unreached"
