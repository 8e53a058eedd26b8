"""Start-up warns where the server does not let an app know who has sent a client certificate."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from starlette.applications import Starlette

from authguard import AuthGuardMiddleware, Bearer, Guard, TlsExtension
from authguard.audit.certificate_sender import about_certificate_senders
from authguard.testing import TestIssuer
from tests.audit.test_workers import run_in_server
from tests.schemes.mutual_tls.site import forwarded
from tests.support.schemes.badge import Badge


def guard(*trusted: str, **options: Any) -> Guard:
    """A guard that believes these."""
    source = options.pop("source", None) or forwarded(trusted=trusted)
    return Guard(Badge(), Bearer(TestIssuer().as_issuer(), realm="orders", client_certificate=source))


def problems(server: str, *trusted: str, **settings: Any) -> list[str]:
    """What is found about a guard that believes these, in a server with these settings."""
    found = run_in_server(server, lambda: about_certificate_senders(guard(*trusted)), **settings)
    assert {finding.code for finding in found} <= {"certificate.sender"}
    return [finding.problem.partition(",")[0].partition(":")[0] for finding in found]


NETWORK, SOCKET = "10.0.0.0/8", "unix:/run/app.sock"
EVERYBODY = "uvicorn believes X-Forwarded-For of everybody"
REPLACES = "uvicorn replaces the address {} by that in X-Forwarded-For"
UVICORN: dict[str, Any] = {"proxy_headers": True, "forwarded_allow_ips": "127.0.0.1,::1", "uds": None, "fd": None}


@pytest.mark.parametrize(
    ("trusted", "settings", "found"),
    [
        ([NETWORK], {}, []),
        (["127.0.0.1"], {}, [REPLACES.format("127.0.0.1")]),
        (["127.0.0.0/8"], {"proxy_headers": False}, []),
        ([NETWORK], {"forwarded_allow_ips": "*"}, [EVERYBODY]),
        ([NETWORK], {"forwarded_allow_ips": ["*"]}, [EVERYBODY]),
        ([NETWORK], {"forwarded_allow_ips": ["proxy", "fd00::1", "10.1.0.0/16"]}, [REPLACES.format("10.1.0.0/16")]),
        ([NETWORK], {"forwarded_allow_ips": None}, []),
        ([SOCKET], {"forwarded_allow_ips": "*", "uds": "/run/app.sock"}, []),
        (["unix:"], {"uds": "/run/app.sock"}, []),
        ([SOCKET], {"uds": "/run/other.sock"}, ["uvicorn listens on the Unix socket /run/other.sock"]),
        ([NETWORK], {"uds": "/run/app.sock"}, ["uvicorn listens on the Unix socket /run/app.sock"]),
        ([SOCKET], {}, ["uvicorn listens on a port"]),
        ([SOCKET, NETWORK], {}, []),
        ([SOCKET], {"fd": 3}, []),
    ],
)
def test_uvicorn(trusted: list[str], settings: dict[str, Any], found: list[str]) -> None:
    """It takes the address from X-Forwarded-For by default, if the proxy is on the same host."""
    assert problems("uvicorn", *trusted, **{**UVICORN, **settings}) == found


@pytest.mark.parametrize(
    ("trusted", "bind", "found"),
    [
        (SOCKET, ["unix:/run/app.sock"], ["hypercorn does not tell an app the path of its socket"]),
        ("unix:", ["unix:/run/app.sock"], []),
        (SOCKET, ["127.0.0.1:8000"], []),
        (NETWORK, ["unix:/run/app.sock"], []),
    ],
)
def test_hypercorn(trusted: str, bind: list[str], found: list[str]) -> None:
    """It does not tell an app on which socket it listens."""
    assert problems("hypercorn", trusted, bind=bind) == found


@pytest.mark.parametrize("setting", [{"proxy_protocol": "auto"}, {"proxy_protocol": True}], ids=["auto", "true"])
def test_gunicorn(setting: dict[str, Any]) -> None:
    """With the PROXY protocol, the address is that of the client."""
    assert problems("gunicorn", NETWORK, **setting) == [
        "gunicorn takes the address of the client from the PROXY protocol"
    ]
    assert problems("gunicorn", SOCKET, **setting) == []


@pytest.mark.parametrize(
    "setting", [{"proxy_protocol": "off"}, {"proxy_protocol": False}, {}], ids=["off", "no", "old"]
)
def test_gunicorn_without_the_proxy_protocol(setting: dict[str, Any]) -> None:
    """Whatever it is called when it is off."""
    assert problems("gunicorn", NETWORK, **setting) == []


def test_other_sources_and_servers_are_not_looked_at() -> None:
    """The TLS extension is the server's own, and settings that are missing say nothing."""
    own = run_in_server("uvicorn", lambda: about_certificate_senders(guard(source=TlsExtension())), **UVICORN)

    assert own == about_certificate_senders(guard(NETWORK)) == ()
    assert problems("uvicorn", NETWORK, workers=1) == []


@pytest.mark.parametrize("ignore", [(), ("certificate.sender",)], ids=["warned", "accepted"])
def test_start_up_warns_of_it(ignore: tuple[str, ...], caplog: pytest.LogCaptureFixture) -> None:
    """Once, with the fix, unless it is accepted; it keeps no app from starting."""
    middleware = AuthGuardMiddleware(Starlette(), guard=guard("127.0.0.1"), ignore=ignore)
    with caplog.at_level(logging.WARNING, "authguard"):
        for _ in range(2):
            run_in_server("uvicorn", middleware._startup._warn_of_server, **UVICORN)

    assert caplog.text.count('trusted=["unix:/run/app.sock"]') == (0 if ignore else 1)
