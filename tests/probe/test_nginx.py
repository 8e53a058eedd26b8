"""What a real nginx does to marked requests, and what the probe says of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from authguard.probe.exchange import Target
from authguard.probe.marked import BELIEVED
from authguard.probe.report import Report
from authguard.probe.way import probe_way
from tests.integration.nginx import NGINX, running_nginx
from tests.probe.certificates import write_certificate
from tests.probe.servers import running_echo, wait_for
from tests.support.servers.ports import free_port

pytestmark = [pytest.mark.peer, pytest.mark.skipif(NGINX is None, reason="nginx is not here")]

MARK = "0123456789abcdef" * 2
#: A credential of the proxy itself, which nobody may see.
SECRET = "c2VjcmV0OnNlY3JldA=="
HONEST = """
proxy_set_header Host $http_host;
proxy_set_header X-Forwarded-Proto $scheme;
proxy_set_header X-Forwarded-For $remote_addr;
proxy_set_header X-Forwarded-Host "";
proxy_set_header X-Forwarded-User "";
proxy_set_header X-Real-IP "";
proxy_set_header Forwarded "";
proxy_set_header Remote-User "";
proxy_set_header Client-Cert "";
"""


def probed(server: str, path: str = "/") -> Report:
    """The report of an nginx in front of the echo, whose port is written ``{port}``."""
    with running_echo(MARK) as port, running_nginx(server.replace("{port}", str(port))) as (url,):
        return probe_way(Target(url + path), MARK)


def said(report: Report) -> list[str]:
    """The level and the code of each finding, and what was seen; of the three schemes the first."""
    found = (f"{one.level} {one.code}: {one.what}".replace(MARK, "MARK") for one in report.findings)
    return [one for one in dict.fromkeys(found) if not re.search(r"Authorization with (basic|digest)", one)]


def test_an_nginx_that_is_set_up_well_has_no_fault() -> None:
    """It passes on the path, the host, the scheme and the credentials, and removes what a client must not write."""
    report = probed(f"{HONEST} location / {{ proxy_pass http://127.0.0.1:{{port}}; }}")

    assert [one for one in said(report) if "way.two_refused" not in one and "two Authorization" not in one] == []


def test_the_default_of_nginx() -> None:
    """``proxy_pass`` alone changes Host, and lets a client write the fields that apps believe."""
    report = probed("location / { proxy_pass http://127.0.0.1:{port}; }")

    assert [re.sub(r"\d{4,5}", "PORT", one) for one in said(report) if "two Authorization" not in one] == [
        "warning way.host: Host arrives as 127.0.0.1:PORT",
        f"warning way.forged: a client can write {', '.join(BELIEVED)}",
    ]


@pytest.mark.parametrize(
    ("lines", "finding"),
    [
        pytest.param(
            'proxy_set_header Authorization "";',
            "fault way.stripped: Authorization does not arrive",
            id="stripped",
        ),
        pytest.param(
            'proxy_set_header Authorization ""; proxy_set_header X-Original-Authorization $http_authorization;',
            "fault way.renamed: Authorization arrives as x-original-authorization",
            id="renamed",
        ),
        pytest.param(
            f'proxy_set_header Authorization "Basic {SECRET}, $http_authorization";',
            "fault way.joined: Authorization with bearer arrives as Basic <20 bytes>, Bearer MARK.AZaz09-_~+/==",
            id="joined",
        ),
        pytest.param(
            f'proxy_set_header Authorization "Basic {SECRET}";',
            "fault way.replaced: Authorization arrives as Basic <20 bytes>",
            id="replaced",
        ),
        pytest.param(
            "proxy_set_header Authorization $http_authorization; proxy_set_header Authorization $http_authorization;",
            "fault way.doubled: Authorization with bearer arrives 2 times: Bearer MARK.AZaz09-_~+/== "
            "and Bearer MARK.AZaz09-_~+/==",
            id="doubled",
        ),
        pytest.param(
            "proxy_set_header Authorization '\"$http_authorization\"';",
            'fault way.reencoded: Authorization with bearer arrives as "Bearer MARK.AZaz09-_~+/=="',
            id="re-encoded",
        ),
        pytest.param(
            'proxy_set_header X-API-Key "";', "fault way.field: X-API-Key does not arrive", id="an API key is stripped"
        ),
    ],
)
def test_what_nginx_does_to_credentials(lines: str, finding: str) -> None:
    """The first finding says it, and no credential of the proxy is shown."""
    report = probed(f"{HONEST} {lines} location / {{ proxy_pass http://127.0.0.1:{{port}}; }}")

    assert said(report)[0] == finding
    assert report.has_fault
    assert SECRET[:8] not in str(report) + report.to_json()


def test_nginx_rewrites_a_path() -> None:
    """With a path in ``proxy_pass`` it removes the prefix, decodes, and merges slashes; another prefix is named."""
    removed = probed(f"{HONEST} location /api/ {{ proxy_pass http://127.0.0.1:{{port}}/; }}", "/api/")
    other = probed(f"{HONEST} location /api/ {{ proxy_pass http://127.0.0.1:{{port}}/internal/v1/; }}", "/api/")
    fixed = probed(f"{HONEST} location / {{ rewrite ^ /fixed? break; proxy_pass http://127.0.0.1:{{port}}; }}")

    assert [one for one in said(removed) if "two Authorization" not in one] == [
        "fault way.prefix: the path begins with nothing in place of /api",
        "fault way.path_rewritten: the path arrives changed: %2F is decoded, // is merged, %7E is decoded",
    ]
    assert "fault way.prefix: the path begins with /internal/v1 in place of /api" in said(other)
    assert [one for one in said(fixed) if "two Authorization" not in one] == [
        "fault way.path_replaced: the path arrives as another one",
        "fault way.query: the query arrives as nothing",
    ]


def test_nginx_asks_for_a_password_of_its_own(tmp_path: Path) -> None:
    """``auth_basic`` reads the field that is for the app."""
    tmp_path.chmod(0o755)
    (tmp_path / "users").write_text("alice:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=\n")
    report = probed(
        f"{HONEST} location / {{ auth_basic x; auth_basic_user_file {tmp_path}/users; error_log /dev/null crit; "
        "proxy_pass http://127.0.0.1:{port}; }"
        " location ~ /end$ { proxy_pass http://127.0.0.1:{port}; }"
    )

    assert "fault way.refused: the GET with a Bearer token is answered with 401 before it arrives" in said(report)


def test_nginx_redirects_to_http(tmp_path: Path) -> None:
    """Behind TLS, an absolute redirect of a server that listens on http leads there; the scheme may be lost too."""
    certificate, key = write_certificate(tmp_path)
    port = free_port()
    secured = (
        f"server {{ listen 127.0.0.1:{port} ssl; ssl_certificate {certificate}; ssl_certificate_key {key}; "
        "location ~ /end$ { proxy_pass http://127.0.0.1:%d; } "
        "location /away/ { return 301 http://$http_host$request_uri; } "
        "location / { proxy_pass http://127.0.0.1:%d; } }"
    )
    reports = {}
    for path in "/away/", "/":
        with (
            running_echo(MARK) as echo,
            running_nginx("return 404;", shared=HONEST.replace("$scheme", "http") + secured % (echo, echo)),
        ):
            wait_for(port)
            reports[path] = probe_way(Target(f"https://127.0.0.1:{port}{path}", ca_file=certificate), MARK)

    assert said(reports["/away/"])[:1] == [
        f"fault way.redirect_http: a 301 leads from https to http://127.0.0.1:{port}/away"
    ]
    assert "fault way.scheme_lost: the request came by https, and the app hears of http" in said(reports["/"])
