"""``authguard token``: sign a token for development."""

from __future__ import annotations

import argparse
import json
import re
import time
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from authguard.cli.signing_key import load_signing_key
from authguard.cli.terminal import note, write
from authguard.errors import ConfigurationError
from authguard.schemes.bearer.claims import ACCESS_TOKEN
from authguard.wire.jws import MAX_TOKEN

DESCRIPTION = """Prints an access token with the claims of RFC 9068, and nothing else: use it as $(authguard token ...).
The algorithm and the kid are those of the key. It is for development: an app in production trusts no such key.
With --header the whole header field is printed. A pipe passes it to curl and shows it to no other user."""
EPILOG = """(*) may be repeated

Examples:
  authguard token --key private.pem --issuer https://login.example/ --audience orders --sub alice --role admin
  authguard token --key private.pem --issuer https://login.example/ --audience orders --sub alice --header |
    curl -H @- http://127.0.0.1:8000/orders
  authguard token ... --claim 'realm_access={"roles": ["admin"]}' --for 8h"""

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_MOST = 365 * 86400
_DURATION = re.compile(r"(-?[0-9]{1,9})([smhd])")
# The claims that have an option of their own.
_OPTIONS = {
    "iss": "--issuer",
    "aud": "--audience",
    "sub": "--sub",
    "exp": "--for",
    "roles": "--role",
    "scope": "--scope",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    one = partial(parser.add_argument, type=_text)
    several = partial(parser.add_argument, action="append")
    parser.add_argument(
        "--key", required=True, metavar="FILE", type=Path, help="the private key, in PEM or as a JWK; or a secret"
    )
    one("--issuer", required=True, metavar="URL", help="iss, as the app's Issuer(...) has it")
    several("--audience", required=True, type=_text, metavar="NAME", help="aud, as the app's Issuer(...) has it (*)")
    one("--sub", required=True, metavar="NAME", help="sub: who has the token")
    several("--role", default=[], type=_text, help="a role, in the claim roles (*)")
    several("--scope", default=[], type=_text, help="a scope, in the claim scope (*)")
    several("--claim", default=[], type=_claim, metavar="NAME=JSON", help="another claim; a text needs its quotes (*)")
    parser.add_argument(
        "--for",
        dest="seconds",
        type=_duration,
        default=900,
        metavar="TIME",
        help="how long it is valid: 90s, 15m (the default), 8h, 7d; --for=-5m makes one that has expired",
    )
    one("--algorithm", metavar="ALG", help="sign with this one: PS256 for RSA, HS256 for a secret")
    one("--kid", help="the key id in the header; the default is that of the JWK")
    one("--typ", default=ACCESS_TOKEN, help=f"the type in the header; the default is {ACCESS_TOKEN}")
    parser.add_argument("--header", action="store_true", help="print Authorization: Bearer and the token")


def run(arguments: argparse.Namespace) -> int:
    """Print the token. Raises ``ConfigurationError``."""
    claims = _claims(arguments, int(time.time()))
    key = load_signing_key("--key", arguments.key, arguments.algorithm, arguments.kid)
    token = key.sign(claims, arguments.typ)
    end = f"{datetime.fromtimestamp(claims['exp'], UTC):%Y-%m-%d %H:%M:%S} UTC"
    note(f"for development: {key.algorithm}, {'valid until' if arguments.seconds > 0 else 'expired since'} {end}")
    if len(token) > MAX_TOKEN:
        note(f"it has {len(token)} bytes; Bearer(...) refuses more than {MAX_TOKEN}, unless its limit= says otherwise")
    write(f"Authorization: Bearer {token}" if arguments.header else token)
    return 0


def _claims(arguments: argparse.Namespace, now: int) -> Mapping[str, Any]:
    audience: Sequence[str] = arguments.audience
    expires = now + arguments.seconds
    claims: dict[str, Any] = {
        "iss": arguments.issuer,
        "aud": audience[0] if len(audience) == 1 else audience,
        "sub": arguments.sub,
        "client_id": "authguard",
        "jti": uuid.uuid4().hex,
        "iat": min(now, expires),
        "exp": expires,
    }
    if arguments.role:
        claims["roles"] = arguments.role
    if arguments.scope:
        claims["scope"] = " ".join(arguments.scope)
    added: dict[str, Any] = {}
    for name, value in arguments.claim:
        if name in claims and name in _OPTIONS:
            raise ConfigurationError("--claim", f"{name} is what {_OPTIONS[name]} says; leave one of them out")
        if name in added:
            raise ConfigurationError("--claim", f"{name} is given twice; several values are a list: {name}=[1, 2]")
        added[name] = value
    return {**claims, **added}


# --- types of arguments -----------------------------------------------------------------------------------------------


def _text(argument: str) -> str:
    """A text that a token can hold."""
    if not argument.strip():
        _refuse("it is empty; give a text")
    try:
        argument.encode()
    except UnicodeEncodeError:
        _refuse("it is not valid UTF-8; give a text")
    return argument


def _duration(argument: str) -> int:
    """A number of seconds, at most a year; a negative one is in the past."""
    match = _DURATION.fullmatch(argument)
    if match is None:
        _refuse("it is not a time; write a whole number with a unit, such as 90s, 15m, 8h or 7d")
    seconds = int(match[1]) * _UNITS[match[2]]
    if not 0 < abs(seconds) <= _MOST:
        _refuse("it must be from 1s to 365d; a token that has to last longer is a key")
    return seconds


def _claim(argument: str) -> tuple[str, object]:
    """``name=json``."""
    name, equals, text = _text(argument).partition("=")
    if not name or not equals:
        _refuse("it is not NAME=JSON, such as tenant='\"acme\"' or level=3")
    try:
        return name, json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        _refuse(f"the value of {name} is not JSON; a text needs its quotes: --claim '{name}=\"text\"'")


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(constant)  # JSON has neither NaN nor Infinity


def _refuse(problem: str) -> NoReturn:
    raise argparse.ArgumentTypeError(problem)
