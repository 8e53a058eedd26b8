"""``authguard token``: what an app says to its tokens, and what it says to a wrong key or claim."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joserfc.jwk
import joserfc.jwt
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa, x25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from authguard import JWK, PEM, AuthGuardMiddleware, Bearer, Guard, Issuer, JWKSet, Rule, Secret, role, scopes
from authguard.cli import signing_key
from authguard.cli.signing_key import SigningKey
from authguard.keys import KeyMaterial
from tests.cli.programs import run, start
from tests.support.tokens import ec_key, public_pem, rsa_key

ISSUER, AUDIENCE = "https://login.example/", "orders"
MAKE_ONE = "make a key pair with: authguard keygen --public public.pem"
GIVEN = ("--issuer", ISSUER, "--audience", AUDIENCE, "--sub", "alice")


@pytest.fixture(name="folder", autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a key in PEM and one as a JWK."""
    monkeypatch.chdir(tmp_path)
    key = SigningKey.generate("ES256")
    _write("key.pem", key.private_pem())
    _write("key.jwk", key.private_jwk())
    return tmp_path


def _write(name: str, content: bytes) -> None:
    path = Path(name)
    path.touch(mode=0o600)
    path.write_bytes(content)


def _pem(
    key: Any, protection: KeySerializationEncryption | None = None, form: PrivateFormat = PrivateFormat.PKCS8
) -> bytes:
    pem: bytes = key.private_bytes(Encoding.PEM, form, protection or NoEncryption())
    return pem


def _token(capsys: pytest.CaptureFixture[str], *arguments: str, key: str = "key.jwk") -> str:
    """The token that is printed, which is the whole output."""
    assert run("token", "--key", key, *GIVEN, *arguments) == 0
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    return out.removesuffix("\n")


def _claims(token: str) -> dict[str, Any]:
    claims: dict[str, Any] = jwt.decode(token.strip(), options={"verify_signature": False})
    return claims


def _client(keys: KeyMaterial, algorithm: str, **options: Any) -> TestClient:
    """An app that tells the caller's claims, and has a route for admins and one for a scope."""

    def tell(request: Request) -> JSONResponse:
        return JSONResponse({"sub": request.user.subject, "roles": sorted(request.user.roles)})

    issuer = Issuer(ISSUER, audience=AUDIENCE, algorithms=[algorithm], keys=keys, **options)
    rules = [Rule("/admin", role("admin")), Rule("/read", scopes("read", "list"))]
    app = Starlette(routes=[Route(path, tell) for path in ("/", "/admin", "/read")])
    return TestClient(AuthGuardMiddleware(app, guard=Guard(Bearer(issuer, realm="orders"), rules=rules)))


# --- what an app accepts ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("typ", [None, "at+jwt"])
@pytest.mark.parametrize("algorithm", signing_key.MAKES)
@pytest.mark.parametrize("form", ["pem", "jwk"])
def test_an_app_accepts_the_token(
    form: str, algorithm: str, typ: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    """A key of ``authguard keygen`` signs it, the app has the public key, and wants all claims of RFC 9068 or not."""
    options = ("--jwk",) if form == "jwk" else ()
    assert run("keygen", "--private", "k", "--algorithm", algorithm, *options) == 0
    public = capsys.readouterr().out
    client = _client(JWKSet(public) if form == "jwk" else PEM(public), algorithm, typ=typ)

    plain, admin = _token(capsys, key="k"), _token(capsys, "--role", "admin", "--role", "clerk", key="k")

    answers = [
        client.get(path, headers={"Authorization": f"Bearer {token}"})
        for path in ("/", "/admin")
        for token in (plain, admin)
    ]
    assert [answer.status_code for answer in answers] == [200, 200, 403, 200]
    assert answers[0].json() == {"sub": "alice", "roles": []}
    assert answers[1].json() == {"sub": "alice", "roles": ["admin", "clerk"]}


def test_scopes_are_one_text(capsys: pytest.CaptureFixture[str]) -> None:
    """An app reads the claim ``scope`` as the names of RFC 6749 section 3.3."""
    _write("k", (key := SigningKey.generate("EdDSA")).private_jwk())
    client = _client(JWKSet(key.public_jwks()), "EdDSA")

    token = _token(capsys, "--scope", "read", "--scope", "list", key="k")

    assert _claims(token)["scope"] == "read list"
    assert client.get("/read", headers={"Authorization": f"Bearer {token}"}).status_code == 200


def test_another_library_accepts_the_token(capsys: pytest.CaptureFixture[str]) -> None:
    """The signature is valid for joserfc, which has the public half of the JWK."""
    token = _token(capsys)

    key = joserfc.jwk.import_key(json.loads(Path("key.jwk").read_text()))
    assert joserfc.jwt.decode(token, key, ["ES256"]).claims == _claims(token)


def test_the_claims_are_those_of_an_access_token(capsys: pytest.CaptureFixture[str]) -> None:
    """RFC 9068 section 2.2, without roles and scopes that nobody asked for, valid for fifteen minutes from now."""
    before = int(time.time())
    claims = _claims(_token(capsys))

    issued, ident = claims.pop("iat"), claims.pop("jti")
    assert claims == {"iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "client_id": "authguard", "exp": issued + 900}
    assert before <= issued <= time.time()
    assert ident != _claims(_token(capsys))["jti"]


def test_the_header_follows_the_key(capsys: pytest.CaptureFixture[str]) -> None:
    """A JWK has a key id and an algorithm. A key in PEM has none, and its type says the algorithm."""
    kid = json.loads(Path("key.jwk").read_text())["kid"]

    assert jwt.get_unverified_header(_token(capsys)) == {"alg": "ES256", "typ": "at+jwt", "kid": kid}
    assert jwt.get_unverified_header(_token(capsys, key="key.pem")) == {"alg": "ES256", "typ": "at+jwt"}
    assert jwt.get_unverified_header(_token(capsys, "--kid", "7", "--typ", "JWT")) == {
        "alg": "ES256",
        "typ": "JWT",
        "kid": "7",
    }


KEYS: dict[str, tuple[Callable[[], Any], str]] = {
    "RSA": (rsa_key, "RS256"),
    "P-256": (ec_key, "ES256"),
    "P-384": (lambda: ec.generate_private_key(ec.SECP384R1()), "ES384"),
    "P-521": (lambda: ec.generate_private_key(ec.SECP521R1()), "ES512"),
    "secp256k1": (lambda: ec.generate_private_key(ec.SECP256K1()), "ES256K"),
    "Ed25519": (ed25519.Ed25519PrivateKey.generate, "EdDSA"),
    "Ed448": (ed448.Ed448PrivateKey.generate, "EdDSA"),
}


@pytest.mark.parametrize("kind", KEYS)
def test_each_type_of_key_has_its_algorithm(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The signature is valid for the public key, which PyJWT verifies."""
    make, algorithm = KEYS[kind]
    key = make()
    _write("k", _pem(key))

    token = _token(capsys, key="k")

    assert jwt.get_unverified_header(token)["alg"] == algorithm
    assert jwt.decode(token, key.public_key(), [algorithm], audience=AUDIENCE)["sub"] == "alice"


@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL], ids=["new", "old"])
def test_both_forms_of_pem_are_read(form: PrivateFormat, capsys: pytest.CaptureFixture[str]) -> None:
    """``-----BEGIN PRIVATE KEY-----`` and ``-----BEGIN RSA PRIVATE KEY-----``, with blank lines around."""
    _write("k", b"\n" + _pem(rsa_key(), form=form) + b"\n")

    assert jwt.decode(_token(capsys, key="k"), rsa_key().public_key(), ["RS256"], audience=AUDIENCE)


def test_an_algorithm_may_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    """An RSA key fits six."""
    _write("k", _pem(rsa_key()))

    token = _token(capsys, "--algorithm", "PS384", key="k")

    assert jwt.decode(token, rsa_key().public_key(), ["PS384"], audience=AUDIENCE)


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
def test_a_secret_signs_for_an_app_with_that_secret(algorithm: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The file is what ``authguard secret`` prints, and the app has the same text without its line feed."""
    assert run("secret") == 0
    secret = capsys.readouterr().out
    _write("secret", secret.encode())
    client = _client(Secret(secret.rstrip("\n")), algorithm)

    token = _token(capsys, "--algorithm", algorithm, key="secret")

    assert jwt.get_unverified_header(token) == {"alg": algorithm, "typ": "at+jwt"}
    assert client.get("/", headers={"Authorization": f"Bearer {token}"}).status_code == 200


def test_a_secret_may_be_a_jwk(capsys: pytest.CaptureFixture[str]) -> None:
    """Its ``kid`` and ``alg`` are in the header. HS256 is the usual algorithm."""
    jwk = {"kty": "oct", "k": "GawgguFyGrWKav7AX4VKUg_nBZQ3HzF0XP_LWuTnLiM", "kid": "7"}
    _write("k", json.dumps(jwk).encode())
    client = _client(JWK(jwk), "HS256")

    token = _token(capsys, key="k")

    assert jwt.get_unverified_header(token) == {"alg": "HS256", "typ": "at+jwt", "kid": "7"}
    assert client.get("/", headers={"Authorization": f"Bearer {token}"}).status_code == 200


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", f"it is empty; {MAKE_ONE}"),
        (b"too short", "this secret has 9 bytes; HS256 needs 32 or more. Make one with: authguard secret"),
        (b"secret" * 10, "this secret can be guessed; make one with: authguard secret"),
        (
            b"-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA\n-----END PUBLIC KEY-----",
            "this is a key or a certificate and not a secret",
        ),
    ],
    ids=["empty", "short", "guessable", "public key"],
)
def test_a_secret_that_an_app_refuses_is_refused(
    content: bytes, problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A public key signs no tokens, although everybody could: it is no secret."""
    _write("k", content)

    assert run("token", "--key", "k", *GIVEN, "--algorithm", "HS256") == 2
    assert capsys.readouterr().err.startswith(f"--key: k: {problem}")


def test_several_audiences_are_a_list(capsys: pytest.CaptureFixture[str]) -> None:
    """In the order in which they are given."""
    assert _claims(_token(capsys, "--audience", "bills"))["aud"] == ["orders", "bills"]


def test_claims_are_json(capsys: pytest.CaptureFixture[str]) -> None:
    """Of any type. They may take the place of those that have no option of their own."""
    claims = _claims(
        _token(
            capsys,
            *("--claim", 'tenant="a=b"', "--claim", 'realm_access={"roles": ["admin"]}', "--claim", "level=3"),
            *("--claim", "jti=null", "--claim", 'roles=["odd"]', "--claim", 'bell="\\u0007\\ud800"'),
        )
    )

    added = {name: claims[name] for name in ("tenant", "realm_access", "level", "jti", "roles", "bell")}
    assert added == {
        "tenant": "a=b",
        "realm_access": {"roles": ["admin"]},
        "level": 3,
        "jti": None,
        "roles": ["odd"],
        "bell": "\x07\ud800",
    }


@pytest.mark.parametrize(
    ("text", "seconds"), [("1s", 1), ("90s", 90), ("15m", 900), ("8h", 28800), ("365d", 31536000), ("-5m", -300)]
)
def test_the_time_has_a_unit(text: str, seconds: int, capsys: pytest.CaptureFixture[str]) -> None:
    """A token may have expired when it is made, and then it was issued before that."""
    claims = _claims(_token(capsys, f"--for={text}"))

    assert claims["exp"] - claims["iat"] == max(seconds, 0)
    assert abs(claims["exp"] - time.time() - seconds) < 300


def test_standard_error_says_what_the_token_is(capsys: pytest.CaptureFixture[str]) -> None:
    """It is for development, with its algorithm and its end. No claim is shown there."""
    for option, words in (("--for=1h", "valid until"), ("--for=-1h", "expired since")):
        assert run("token", "--key", "key.jwk", *GIVEN, option) == 0

        out, err = capsys.readouterr()
        end = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(_claims(out)["exp"]))
        assert err == f"for development: ES256, {words} {end} UTC\n"


def test_the_whole_field_may_be_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """``--header`` is for ``curl -H @-``: the token is then no argument of curl."""
    line = _token(capsys, "--header")

    assert line.startswith("Authorization: Bearer ey")
    assert _claims(line.removeprefix("Authorization: Bearer "))["sub"] == "alice"


def test_a_token_that_is_too_long_for_an_app_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """It is printed all the same, because a ``limit=`` may be higher."""
    assert run("token", "--key", "key.jwk", *GIVEN, "--claim", f'x="{"x" * 9000}"') == 0

    out, err = capsys.readouterr()
    assert f"it has {len(out) - 1} bytes; Bearer(...) refuses more than 8192, unless its limit= says otherwise\n" in err


# --- what is wrong ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--for", "15"], "--for: it is not a time; write a whole number with a unit, such as 90s, 15m, 8h or 7d"),
        (["--for", "1.5h"], "--for: it is not a time"),
        (["--for", "\u0661\u0665m"], "--for: it is not a time"),
        (["--for", ""], "--for: it is not a time"),
        (["--for", "9" * 5000 + "s"], "--for: it is not a time"),
        (["--for", "0s"], "--for: it must be from 1s to 365d"),
        (["--for", "366d"], "--for: it must be from 1s to 365d"),
        (["--for=-366d"], "--for: it must be from 1s to 365d"),
        (["--claim", "x"], "--claim: it is not NAME=JSON, such as tenant='\"acme\"' or level=3"),
        (["--claim", "=1"], "--claim: it is not NAME=JSON"),
        (
            ["--claim", "tenant=acme"],
            "--claim: the value of tenant is not JSON; a text needs its quotes: --claim 'tenant=\"text\"'",
        ),
        (["--claim", "x=NaN"], "--claim: the value of x is not JSON"),
        (["--claim", "x=" + "[" * 100_000], "--claim: the value of x is not JSON"),
        (["--claim", "x=" + "9" * 5000], "--claim: the value of x is not JSON"),
        (["--claim", "\x1b[31mx=\x1b[31m"], r"--claim: the value of \x1b[31mx is not JSON"),
        (["--claim", "x=1", "--claim", "x=2"], "--claim: x is given twice; several values are a list: x=[1, 2]"),
        (["--claim", "aud=1"], "--claim: aud is what --audience says; leave one of them out"),
        (["--claim", "exp=1"], "--claim: exp is what --for says; leave one of them out"),
        (["--role", "a", "--claim", "roles=1"], "--claim: roles is what --role says; leave one of them out"),
        (["--scope", "a", "--claim", "scope=1"], "--claim: scope is what --scope says; leave one of them out"),
        (["--role", " "], "--role: it is empty; give a text"),
        (["--kid", ""], "--kid: it is empty; give a text"),
        (["--sub", "\udcff"], "--sub: it is not valid UTF-8; give a text"),
        (["--algorithm", "none"], "--key: key.jwk: its key is not for none, but for ES256"),
        (["--algorithm", "HS256"], "--key: key.jwk: its key is not for HS256, but for ES256"),
    ],
    ids=lambda value: ascii(" ".join(value)[:40]) if isinstance(value, list) else "",
)
def test_a_wrong_argument_is_an_error(arguments: list[str], error: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One line names it and the fix, and no token is printed."""
    assert run("token", "--key", "key.jwk", *GIVEN, *arguments) == 2

    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith(error)
    assert "\x1b" not in err


def test_the_key_the_issuer_the_audience_and_the_subject_are_required(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing that an app checks is guessed."""
    assert run("token") == 2
    assert capsys.readouterr().err.startswith(
        "the following arguments are required: --key, --issuer, --audience, --sub; see authguard token --help"
    )


NO_KEY = f"it is not a private key in PEM, nor a private JWK; {MAKE_ONE}"


def _jwk(**changes: object) -> bytes:
    jwk = {**json.loads(SigningKey.generate("EdDSA").private_jwk()), **changes}
    return json.dumps({name: member for name, member in jwk.items() if member is not ...}).encode()


WRONG_KEYS: dict[str, tuple[Callable[[], bytes], str]] = {
    "nothing": (lambda: b"", f"it is empty; {MAKE_ONE}"),
    "blanks": (lambda: b" \n", f"it is empty; {MAKE_ONE}"),
    "text": (lambda: b"hello", NO_KEY),
    "bytes": (lambda: b"\x30\x82\x00\xff", NO_KEY),
    "damaged": (lambda: b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----", NO_KEY),
    "public": (
        lambda: public_pem(ec_key()),
        "it contains no private key; give the file that was written with this one",
    ),
    "certificate": (lambda: b"-----BEGIN CERTIFICATE-----\nAAAA", "it contains no private key"),
    "line feeds as two characters": (
        lambda: _pem(ec_key()).replace(b"\n", b"\\n"),
        "it has \\n as two characters in place of line feeds, as environment files keep them; write it anew: printf ",
    ),
    "encrypted": (
        lambda: _pem(ec_key(), BestAvailableEncryption(b"s3cret")),
        "it is encrypted; decrypt a copy for development: openssl pkey -in FILE -out COPY",
    ),
    "encrypted in the old way": (
        lambda: _pem(rsa_key(), BestAvailableEncryption(b"s3cret"), PrivateFormat.TraditionalOpenSSL),
        "it is encrypted",
    ),
    "OpenSSH": (
        lambda: _pem(ec_key(), form=PrivateFormat.OpenSSH),
        "it is a key in the format of OpenSSH; convert a copy of it: ssh-keygen -p -m PKCS8 -f COPY",
    ),
    "short": (
        lambda: _pem(rsa.generate_private_key(public_exponent=65537, key_size=1024)),
        "an RSA key of 1024 bits; 2048 is the minimum",
    ),
    "X25519": (
        lambda: _pem(x25519.X25519PrivateKey.generate()),
        f"no algorithm signs tokens with such a key; {MAKE_ONE}",
    ),
    "Brainpool": (
        lambda: _pem(ec.generate_private_key(ec.BrainpoolP256R1())),
        "no algorithm signs tokens with such a key",
    ),
    "JSON cut off": (lambda: b"{", f"it is not valid JSON; {MAKE_ONE}"),
    "deep JSON": (lambda: b'{"a":' * 10_000, "it is not valid JSON"),
    "no type": (lambda: b"{}", f"its kty is not one of RSA, EC, OKP, oct; {MAKE_ONE}"),
    "odd type": (lambda: b'{"kty": []}', "its kty is not one of RSA, EC, OKP, oct"),
    "short secret": (lambda: b'{"kty": "oct", "k": "AAAA"}', "this secret has 3 bytes; HS256 needs 32 or more. "),
    "secret without k": (lambda: b'{"kty": "oct"}', f"its oct key is damaged; {MAKE_ONE}"),
    "JWK Set": (
        lambda: SigningKey.generate("EdDSA").public_jwks(),
        "it is a JWK Set; give a file with one private key of it",
    ),
    "public JWK": (lambda: _jwk(d=...), "it is a public JWK; give the private one, which has a member d"),
    "another x": (lambda: _jwk(x="AAAA"), f"its OKP key is damaged; {MAKE_ONE}"),
    "odd d": (lambda: _jwk(d=7), "its OKP key is damaged"),
    "another alg": (lambda: _jwk(alg="RS256"), "its key is not for RS256, but for EdDSA or Ed25519"),
    "odd alg": (lambda: _jwk(alg=7), "its alg or kid is not a text"),
    "odd kid": (lambda: _jwk(kid=7), "its alg or kid is not a text"),
}


@pytest.mark.parametrize("kind", WRONG_KEYS)
def test_a_wrong_key_is_an_error(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One line says what the file is and what to do, without a part of it."""
    content, problem = WRONG_KEYS[kind]
    _write("k", content())

    assert run("token", "--key", "k", *GIVEN) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith(f"--key: k: {problem}")


@pytest.mark.parametrize(
    ("key", "problem"),
    [
        ("none", f"there is no file none; {MAKE_ONE}"),
        (".", ". is a folder; name a file in it"),
        ("key.pem/x", "key.pem/x cannot be used: Not a directory; name another one"),
        ("/dev/zero", f"/dev/zero has more than 65536 bytes, so it is not what is wanted here; {MAKE_ONE}"),
        ("n\x1b[31m\n", r"there is no file n\x1b[31m\n; make"),
    ],
)
def test_a_key_that_cannot_be_read_is_an_error(key: str, problem: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A file without an end is not read to its end."""
    assert run("token", "--key", key, *GIVEN) == 2

    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith(f"--key: {problem}")


@pytest.mark.parametrize(("mode", "told"), [(0o644, True), (0o640, True), (0o600, False), (0o400, False)])
def test_a_key_that_others_can_read_is_told(
    mode: int, told: bool, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The token is printed all the same."""
    (folder / "key.pem").chmod(mode)

    assert run("token", "--key", "key.pem", *GIVEN) == 0
    out, err = capsys.readouterr()
    assert out.startswith("ey")
    assert ("--key: other users can read key.pem; take that away: chmod 600 key.pem\n" in err) is told


def test_the_key_may_be_a_link(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A key is read from wherever it is kept, such as a folder of secrets. It is only never written there."""
    (folder / "link").symlink_to("key.pem")

    assert _token(capsys, key="link").startswith("ey")


@pytest.mark.peer
def test_a_pipe_may_have_the_key(tmp_path: Path) -> None:
    """A store of secrets passes it on, and it is in no file."""
    key = (tmp_path / "key.pem").read_text()

    done = start("token", "--key", "/dev/stdin", *GIVEN, cwd=tmp_path, stdin=key)

    assert done.returncode == 0
    assert _claims(done.stdout)["sub"] == "alice"
    assert done.stderr.startswith("for development: ")


@pytest.mark.peer
def test_a_shell_takes_the_token(tmp_path: Path) -> None:
    """Standard output is the token, and standard error what a person should know."""
    done = start("token", "--key", "key.jwk", *GIVEN, "--role", "admin", cwd=tmp_path)

    assert done.returncode == 0
    assert _claims(done.stdout)["roles"] == ["admin"]
    assert done.stderr.startswith("for development: ES256, valid until ")
