"""Programs that speak Basic, each given a name and a password in its own way."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from typing import NamedTuple, TypeAlias
from urllib.parse import quote

import httpx2
import requests
from requests.auth import HTTPBasicAuth

from tests.integration.accounts import Login
from tests.support.servers.app_server import AppServer

CURL, WGET = shutil.which("curl"), shutil.which("wget")


class ClientResult(NamedTuple):
    status: int
    challenge: str | None
    body: str


Client: TypeAlias = Callable[[AppServer, str, Login], ClientResult]


def run_curl(url: str, *options: str | bytes) -> ClientResult:
    """The final result of curl."""
    assert CURL is not None
    output_format = "\n%{http_code} %header{www-authenticate}"
    command = [
        CURL,
        "-q",
        "--silent",
        "--noproxy",
        "*",
        "--max-time",
        "20",
        "--write-out",
        output_format,
        *options,
        url,
    ]
    body, _, line = subprocess.run(command, capture_output=True, check=True).stdout.decode().rpartition("\n")
    status, _, challenge = line.partition(" ")
    return ClientResult(int(status), challenge or None, body)


def run_wget(url: str, *options: str | bytes) -> ClientResult:
    """The final result of wget."""
    assert WGET is not None
    quiet = ["--no-config", "--no-proxy", "--no-netrc", "--tries=1", "--timeout=20", "--no-verbose"]
    shown = ["--server-response", "--content-on-error", "--output-document=-"]
    done = subprocess.run([WGET, *quiet, *shown, *options, url], capture_output=True, check=False)
    _, status, fields = re.split(r"HTTP/1\.1 (\d{3})", done.stderr.decode())[-3:]
    challenge = re.search(r"WWW-Authenticate: (.*)", fields, re.IGNORECASE)
    return ClientResult(int(status), challenge and challenge[1], done.stdout.decode())


def _from_response(response: httpx2.Response | requests.Response) -> ClientResult:
    """The result of a Python library."""
    return ClientResult(response.status_code, response.headers.get("www-authenticate"), response.text)


def url_with_login(server: AppServer, path: str, login: Login) -> str:
    """The URL with its userinfo, percent-encoded UTF-8 (RFC 3986 sections 2.5 and 3.2.1)."""
    return server.url.replace("//", "//" + ":".join(quote(part, safe="") for part in login) + "@") + path


def curl(server: AppServer, path: str, login: Login) -> ClientResult:
    return run_curl(server.url + path, "--user", ":".join(login).encode())


def curl_anyauth(server: AppServer, path: str, login: Login) -> ClientResult:
    return run_curl(server.url + path, "--anyauth", "--user", ":".join(login).encode())


def curl_by_url(server: AppServer, path: str, login: Login) -> ClientResult:
    return run_curl(url_with_login(server, path, login))


def wget(server: AppServer, path: str, login: Login) -> ClientResult:
    return run_wget(server.url + path, b"--user=" + login.name.encode(), b"--password=" + login.password.encode())


def wget_by_url(server: AppServer, path: str, login: Login) -> ClientResult:
    return run_wget(url_with_login(server, path, login))


def wget_unasked(server: AppServer, path: str, login: Login) -> ClientResult:
    return run_wget(url_with_login(server, path, login), "--auth-no-challenge")


def httpx2_(server: AppServer, path: str, login: Login) -> ClientResult:
    return _from_response(httpx2.get(server.url + path, auth=login, trust_env=False))


def httpx2_by_url(server: AppServer, path: str, login: Login) -> ClientResult:
    return _from_response(httpx2.get(url_with_login(server, path, login), trust_env=False))


def run_requests(url: str, auth: HTTPBasicAuth) -> ClientResult:
    """The result of requests, without proxies and passwords of this machine."""
    with requests.Session() as session:
        session.trust_env = False
        return _from_response(session.get(url, auth=auth, timeout=20))


def requests_(server: AppServer, path: str, login: Login) -> ClientResult:
    """Login with bytes, because requests encodes a ``str`` in Latin-1. A bare tuple works too, but not for type
    checkers."""
    return run_requests(server.url + path, HTTPBasicAuth(login.name.encode(), login.password.encode()))
