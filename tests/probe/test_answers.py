"""What is found in the status, the redirect, the caching and the CORS fields of a refusal."""

from __future__ import annotations

import json
from collections.abc import Iterable

import pytest

from authguard.probe import refusal_probe
from authguard.probe.exchange import Answer, Fields, Target
from authguard.probe.refusal_probe import probe_refusal

GOOD = ('WWW-Authenticate: Bearer realm="r"', "Cache-Control: no-store")
BAD_TOKEN = 'WWW-Authenticate: Bearer realm="r", error="invalid_token"'
ORIGIN = "https://app.example"
PASSES = (f"Access-Control-Allow-Origin: {ORIGIN}", "Access-Control-Allow-Headers: authorization")


def answer(status: int, *lines: str, body: bytes = b"") -> Answer:
    """An answer with these field lines."""
    pairs = [line.split(": ", 1) for line in lines]
    return Answer(status, [(name.lower(), text.encode()) for name, text in pairs], body)


class FakeTarget(Target):
    """A server that answers by the kind of the request."""

    def __init__(self, url: str, plain: Answer, preflight: Answer, script: Answer | None, token: Answer) -> None:
        super().__init__(url)
        self._answers = {"plain": plain, "preflight": preflight, "script": script or plain, "token": token}
        self.sent: list[tuple[str, Fields]] = []

    def send(self, method: str, fields: Fields = (), target: str | None = None) -> Answer:
        self.sent.append((method, fields))
        names = {name for name, _ in fields}
        if "Authorization" in names:
            return self._answers["token"]
        if "Origin" not in names:
            return self._answers["plain"]
        return self._answers["preflight" if method == "OPTIONS" else "script"]


def findings(
    plain: Answer,
    preflight: Answer | None = None,
    script: Answer | None = None,
    token: Answer | None = None,
    *,
    url: str = "https://api.example/orders",
    origin: str | None = None,
    without: Iterable[str] = ("cors.closed",),
) -> list[str]:
    """The level and code of each finding."""
    report = probe_refusal(
        FakeTarget(url, plain, preflight or answer(401, *GOOD), script, token or answer(401, BAD_TOKEN)), origin=origin
    )
    return [f"{one.level} {one.code}" for one in report.findings if one.code not in without]


def test_a_good_refusal_has_no_finding_but_that_scripts_may_not_call() -> None:
    """That is right unless a single-page app should."""
    assert findings(answer(401, *GOOD), without=()) == ["note cors.closed"]


@pytest.mark.parametrize(
    ("plain", "expected"),
    [
        (answer(401), ["fault challenge.missing", "note cache.unsaid"]),
        (
            answer(401, "WWW-Authenticate: ,", "Cache-Control: no-store"),
            ["fault challenge.empty", "fault challenge.grammar", "fault challenge.grammar"],
        ),
        (answer(403, "Cache-Control: no-store"), ["fault status.forbidden"]),
        (answer(403, *GOOD), ["fault status.forbidden"]),
        (answer(400, "Cache-Control: no-store"), ["fault status.other"]),
        (answer(404, "Cache-Control: no-store"), ["note status.hidden"]),
        (answer(404), ["note status.hidden", "warning cache.default"]),
        (answer(405, "Cache-Control: no-cache"), ["note status.method"]),
        (answer(407, "Cache-Control: private"), ["fault status.proxy"]),
        (answer(429, "Cache-Control: no-store"), ["note status.limited"]),
        (answer(500, "Cache-Control: no-store"), ["fault status.error"]),
        (answer(200), ["fault status.open"]),
        (answer(200, "Content-Type: text/html", body=b"<p>Hello"), ["fault status.open"]),
        (answer(200, "Content-Type: application/json", body=b"type=password"), ["fault status.open"]),
        (answer(200, "Content-Type: text/html", body=b'<input Type="Password">'), ["fault status.login_page"]),
        (answer(302, "Location: /login", "Cache-Control: no-store"), ["warning redirect.login"]),
        (answer(301, "Location: https://id.example/"), ["warning redirect.login", "warning cache.default"]),
        (answer(302, "Location: http://api.example/login"), ["fault redirect.http"]),
        (answer(302), ["fault redirect.location"]),
        (answer(302, "Location: http://[x"), ["fault redirect.location"]),
        (answer(302, "Location: mailto:a"), ["fault redirect.location"]),
        (answer(401, GOOD[0], "Cache-Control: public, max-age=60"), ["fault cache.kept"]),
        (answer(401, GOOD[0], "Cache-Control: s-maxage=60"), ["fault cache.kept"]),
        (answer(401, GOOD[0], "Cache-Control: max-age=0"), []),
        (answer(401, GOOD[0], "Cache-Control: private, max-age=60"), []),
        (answer(401, GOOD[0]), ["note cache.unsaid"]),
    ],
)
def test_what_a_request_without_credentials_gets(plain: Answer, expected: list[str]) -> None:
    """Only a 401 with a challenge that no cache keeps is right."""
    assert findings(plain) == expected


def test_http_is_no_place_for_credentials() -> None:
    """Over http anybody on the way reads them, unless there is no way."""
    refusal = answer(401, *GOOD)

    assert findings(refusal, url="http://api.example/") == ["fault clear.text"]
    assert [findings(refusal, url=f"http://{host}:8000/") for host in ("localhost", "127.0.0.1", "[::1]")] == [
        [],
        [],
        [],
    ]
    assert findings(answer(302, "Location: https://api.example/"), url="http://api.example/") == [
        "warning redirect.https"
    ]


def test_a_redirect_shows_neither_a_password_nor_a_query() -> None:
    """A Location may hold both."""
    plain = answer(302, "Location: https://bob:s3cret@id.example/login?code=s3cret")
    report = probe_refusal(FakeTarget("https://api.example/", plain, plain, None, plain))

    assert "https://id.example/login, which is another host" in str(report)
    assert "s3cret" not in str(report)


@pytest.mark.parametrize(
    ("preflight", "script", "expected"),
    [
        (answer(200, *PASSES), answer(401, *GOOD, PASSES[0], "Access-Control-Expose-Headers: WWW-Authenticate"), []),
        (answer(200, *PASSES), answer(401, *GOOD, PASSES[0], "Access-Control-Expose-Headers: *"), []),
        (answer(204, *PASSES), answer(401, *GOOD, "Access-Control-Allow-Origin: *"), ["warning cors.hidden"]),
        (answer(204, *PASSES), answer(401, "Cache-Control: no-store", PASSES[0]), []),
        (answer(200, *PASSES), answer(401, *GOOD), ["fault cors.refusal"]),
        (answer(200, PASSES[0]), answer(401, *GOOD), ["fault cors.authorization", "fault cors.refusal"]),
        (
            answer(200, PASSES[0], "Access-Control-Allow-Headers: *"),
            answer(401, *GOOD),
            ["fault cors.authorization", "fault cors.refusal"],
        ),
        (answer(401, *GOOD), answer(401, *GOOD), ["fault cors.preflight"]),
        (answer(200), answer(401, *GOOD), ["fault cors.origin"]),
        (answer(200, "Access-Control-Allow-Origin: https://other.example"), answer(401, *GOOD), ["fault cors.origin"]),
    ],
)
def test_what_a_script_of_a_named_origin_sees(preflight: Answer, script: Answer, expected: list[str]) -> None:
    """Its preflight passes with Authorization, and it sees the refusal and the challenge."""
    assert findings(answer(401, *GOOD), preflight, script, origin=ORIGIN) == expected


def test_a_stranger_that_may_come_with_credentials_is_a_fault() -> None:
    """An origin that nobody knows must not be allowed together with credentials, and * never is."""
    reflected = f"Access-Control-Allow-Origin: {refusal_probe.UNKNOWN_ORIGIN}", "Access-Control-Allow-Credentials: true"
    star = "Access-Control-Allow-Origin: *", "Access-Control-Allow-Credentials: true"
    allowed = "Access-Control-Allow-Headers: Authorization"
    exposed = "Access-Control-Expose-Headers: WWW-Authenticate"
    plain = answer(401, *GOOD)

    assert findings(plain, answer(200, *reflected, allowed), answer(401, *GOOD, *reflected, exposed)) == [
        "fault cors.any_origin"
    ]
    assert findings(
        plain, answer(200, *star, allowed), answer(401, *GOOD, *star, "Access-Control-Expose-Headers: *")
    ) == [
        "warning cors.hidden",
        "warning cors.star",
    ]
    assert findings(plain, answer(200, star[0]), answer(401, *GOOD, star[0], exposed)) == ["warning cors.authorization"]


@pytest.mark.parametrize(
    ("plain", "token", "expected"),
    [
        (answer(401, *GOOD), answer(200), ["fault bearer.any_token"]),
        (answer(401, *GOOD), answer(500), ["fault bearer.crash"]),
        (answer(401, *GOOD), answer(401), ["fault bearer.no_challenge"]),
        (answer(401, *GOOD), answer(403), ["fault bearer.forbidden"]),
        (answer(401, *GOOD), answer(400), ["fault bearer.bad_request"]),
        (answer(401, *GOOD), answer(400, 'WWW-Authenticate: Bearer realm="r", error="invalid_request"'), []),
        (answer(401, *GOOD), answer(429), []),
        (answer(401, *GOOD), answer(401, GOOD[0]), ["warning bearer.no_error"]),
        (answer(403, "Cache-Control: no-store"), answer(200), ["fault status.forbidden", "fault bearer.any_token"]),
        (answer(403, "Cache-Control: no-store"), answer(403), ["fault status.forbidden"]),
        (answer(401, "Cache-Control: no-store"), answer(401), ["fault challenge.missing"]),
    ],
)
def test_what_a_token_of_nobody_gets(plain: Answer, token: Answer, expected: list[str]) -> None:
    """It is refused with a 401 that says so."""
    assert findings(plain, token=token) == expected


@pytest.mark.parametrize(
    ("plain", "is_sent"),
    [
        (answer(401, *GOOD), True),
        (answer(401), True),
        (answer(403), True),
        (answer(401, 'WWW-Authenticate: Basic realm="r"'), False),
        (answer(404), False),
        (answer(200), False),
    ],
)
def test_a_token_is_sent_only_where_one_may_be_wanted(plain: Answer, is_sent: bool) -> None:
    """Where Basic alone is offered, it would be noise in a log. No password is ever sent."""
    target = FakeTarget("https://api.example/", plain, plain, None, plain)

    probe_refusal(target, method="POST")

    sent = [fields for _, fields in target.sent if "Authorization" in dict(fields)]
    assert sent == ([[("Authorization", "Bearer authguard-probe-this-is-no-token")]] if is_sent else [])
    assert [method for method, _ in target.sent][:3] == ["POST", "OPTIONS", "POST"]


def test_the_text_and_the_json_say_the_same() -> None:
    """Faults come first, each finding is one line, and each once."""
    plain = answer(401, 'WWW-Authenticate: Bearer realm="r", realm=x', "WWW-Authenticate: \x1b[2J")
    report = probe_refusal(FakeTarget("https://api.example/orders", plain, plain, None, plain))

    text, document = str(report).splitlines(), json.loads(report.to_json())
    told = [line for line in text if line.startswith(("fault", "warning", "note"))]

    assert text[:3] == [
        "https://api.example/orders",
        "GET without credentials: 401",
        '  WWW-Authenticate: Bearer realm="r", realm=x',
    ]
    assert r"  WWW-Authenticate: \x1b[2J" in text
    assert [line.split(":")[0] for line in told] == [f"{one['level']} {one['code']}" for one in document["findings"]]
    assert [line.split()[0] for line in told] == sorted(
        (line.split()[0] for line in told), key=["fault", "warning", "note"].index
    )
    assert text[-1] == "2 faults, 1 warning, 2 notes"
    assert report.has_fault
    assert document["requests"][0] == {
        "request": "GET without credentials",
        "status": 401,
        "www_authenticate": ['Bearer realm="r", realm=x', "\x1b[2J"],
    }
