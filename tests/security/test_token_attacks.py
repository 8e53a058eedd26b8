"""One test for each published vulnerability of a library for tokens: whose key, which algorithm, for whom."""

from __future__ import annotations

import hmac
import itertools
import socket
from typing import Any

import pytest

from authguard import (
    ANY_AUDIENCE,
    JWK,
    PEM,
    ConfigurationError,
    Issuer,
    JWKSet,
    Secret,
    VerificationKey,
)
from tests.security.forged_tokens import public_key_encodings
from tests.security.unusual_tokens import FOREIGN_KEYS
from tests.support.guards import GuardedApp
from tests.support.schemes.bearer import CountingKeySource, bearer, issuer
from tests.support.tokens import (
    AUDIENCE,
    HMAC_SECRET,
    ISSUER,
    b64url,
    claims,
    ec_key,
    mint,
    public_jwk,
    public_pem,
    raw_token,
    rsa_key,
    unsigned_token,
    with_signature,
)

CASINGS = sorted({"".join(letters) for letters in itertools.product(*zip("none", "NONE", strict=True))})


def signed_with(algorithm: str, header: dict[str, Any], key: Any = None) -> bytes:
    """A token with this header and a real signature of this algorithm."""
    return raw_token({"typ": "JWT", **header}, claims(), key or rsa_key(), algorithm).encode()


# --- algorithms -------------------------------------------------------------------------------------------------------


@pytest.mark.rfc("8725-1", "9068-2")
@pytest.mark.parametrize("signature", [b"", b"x"])
async def test_none_is_no_algorithm(signature: bytes) -> None:
    """RFC 8725 section 2.1: an unsigned token is rejected in every spelling of ``none``."""
    app = GuardedApp()

    answers = [await app.get_with_token(with_signature(unsigned_token({"alg": alg}), signature)) for alg in CASINGS]

    assert {(answer.status, answer.reason) for answer in answers} == {(401, "token.algorithm_refused")}
    assert len(answers) == 16


@pytest.mark.rfc("7519-4")
def test_none_cannot_be_allowed() -> None:
    """RFC 8725 section 3.2: no configuration accepts unsigned tokens."""
    for alg in [*CASINGS, ""]:
        with pytest.raises(ConfigurationError, match=r"^algorithms: "):
            issuer(algorithms=[alg])


@pytest.mark.rfc("8725-1")
@pytest.mark.parametrize("algorithm", ["RS256", "PS256", "ES256"])
async def test_a_public_key_is_no_secret(algorithm: str) -> None:
    """CVE-2026-48526, CVE-2022-29217, CVE-2017-11424, CVE-2024-33663, CVE-2024-37568: in every encoding of the key."""
    key: Any = ec_key() if algorithm == "ES256" else rsa_key()
    sources = [PEM(public_pem(key)), JWK(public_jwk(key)), JWKSet({"keys": [public_jwk(key)]})]
    apps = [GuardedApp(bearer(issuer(source, algorithms=[algorithm]))) for source in sources]

    for alg, hash_name in (("HS256", "sha256"), ("HS384", "sha384"), ("HS512", "sha512"), (algorithm, "sha256")):
        signing_input = unsigned_token({"alg": alg, "typ": "JWT"})
        for data in public_key_encodings(key).values():
            token = with_signature(signing_input, hmac.digest(data, signing_input, hash_name))
            answers = [await app.get_with_token(token) for app in apps]

            assert {answer.status for answer in answers} == {401}


@pytest.mark.rfc("8725-1")
async def test_each_key_has_one_algorithm() -> None:
    """CVE-2026-48523: a JWK for RS256 verifies neither PS256 nor RS512, even if the issuer allows them."""
    keys = JWKSet({"keys": [{**public_jwk(rsa_key()), "alg": "RS256"}]})
    app = GuardedApp(bearer(issuer(keys, algorithms=["RS256", "RS512", "PS256"])))

    answers = {alg: await app.get_with_token(signed_with(alg, {"alg": alg})) for alg in ("RS256", "RS512", "PS256")}
    lying = await app.get_with_token(signed_with("PS256", {"alg": "RS256"}))

    assert {alg: answer.reason for alg, answer in answers.items()} == {
        "RS256": None,
        "RS512": "key.unknown",
        "PS256": "key.unknown",
    }
    assert lying.reason == "token.signature_invalid"


@pytest.mark.parametrize("bound_to", ["PS256", "HS256"])
async def test_a_source_cannot_lend_a_key_of_another_algorithm(bound_to: str) -> None:
    """CVE-2026-48523: a key from a custom source is used only for the algorithm of the header."""
    material: Any = HMAC_SECRET if bound_to == "HS256" else rsa_key()
    verifier = HMAC_SECRET if bound_to == "HS256" else rsa_key().public_key()
    app = GuardedApp(bearer(issuer(CountingKeySource(VerificationKey(bound_to, None, verifier)))))

    answer = await app.get_with_token(signed_with(bound_to, {"alg": "RS256"}, material))

    assert answer.status == 401


async def test_an_unlisted_algorithm_is_rejected_with_a_valid_signature() -> None:
    """RFC 8725 section 3.1: the list of algorithms decides, and not what the key could verify."""
    app = GuardedApp()

    answers = [await app.get_with_token(signed_with(alg, {"alg": alg})) for alg in ("RS384", "RS512", "PS256")]

    assert {answer.reason for answer in answers} == {"token.algorithm_refused"}
    assert answers[0].record.facts["wanted"] == ("RS256",)


@pytest.mark.parametrize("algorithms", ["HS256", "HS2566", "xHS256x", b"HS256", "RS256,HS256", ""])
def test_the_algorithms_are_a_list_of_names(algorithms: Any) -> None:
    """The sibling of CVE-2024-53861 in PyJWT finds HS256 in the string "HS2566". Here a single string raises."""
    with pytest.raises(ConfigurationError, match=r"^algorithms: "):
        issuer(Secret(HMAC_SECRET), algorithms=algorithms)


def test_the_algorithms_cannot_be_left_out() -> None:
    """CVE-2024-33663 (python-jose): the algorithms come neither from the token nor from the key."""
    forgetful: Any = Issuer

    with pytest.raises(TypeError, match="algorithms"):
        forgetful(ISSUER, audience=AUDIENCE, keys=PEM(public_pem(rsa_key())))


# --- keys that a token brings along, or chooses -----------------------------------------------------------------------


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The hosts that a test tried to reach. None is reached."""
    tried: list[object] = []

    def refuse(*address: object) -> None:
        tried.append(address)
        raise OSError("a test without a network")

    for name in ("connect", "connect_ex", "sendto", "bind"):
        monkeypatch.setattr(socket.socket, name, refuse)
    for name in ("getaddrinfo", "create_connection", "gethostbyname"):
        monkeypatch.setattr(socket, name, refuse)
    return tried


@pytest.mark.rfc("8725-5")
async def test_a_token_does_not_choose_its_key(network: list[object]) -> None:
    """CVE-2018-0114, CVE-2026-27962: ``jwk``, ``jku``, ``x5u`` and ``x5c`` are ignored, and nothing is fetched."""
    mallory = rsa_key(which=1)
    source = CountingKeySource(VerificationKey("RS256", None, rsa_key().public_key()))
    app = GuardedApp(bearer(issuer(source)))
    brought = {**FOREIGN_KEYS, "jwk": public_jwk(mallory), "x5t": "x", "x5t#S256": "x"}

    forged = [
        await app.get_with_token(signed_with("RS256", {"alg": "RS256", n: v}, mallory)) for n, v in brought.items()
    ]
    honest = await app.get_with_token(signed_with("RS256", {"alg": "RS256", **brought}))

    assert {answer.reason for answer in forged} == {"token.signature_invalid"}
    assert honest.status == 200
    assert network == []
    assert set(source.calls) == {(None, "RS256")}


async def test_only_the_compact_serialisation_is_a_token() -> None:
    """GHSA-jc38-x7x8-2xc8 (jwt-framework): the JSON serialization, whose extra header could name an algorithm, is
    rejected."""
    header, payload, signature = mint().split(".")
    flat = f'{{"protected":"{header}","header":{{"alg":"none"}},"payload":"{payload}","signature":"{signature}"}}'

    answer = await GuardedApp().get_with_token(flat)

    assert (answer.status, answer.reason) == (401, "credentials.malformed")


@pytest.mark.rfc("9068-5")
async def test_an_encrypted_token_is_not_read() -> None:
    """CVE-2024-33664 (python-jose): a token of five parts is rejected by their number, and never decompressed."""
    jwe = ".".join([b64url(b'{"alg":"dir","enc":"A128GCM","zip":"DEF"}'), "", *[b64url(b"x" * 100)] * 3])

    answer = await GuardedApp().get_with_token(jwe)

    assert (answer.status, answer.reason) == (401, "token.malformed")
    assert answer.record.facts["problem"] == "an encrypted token (JWE), five parts"


# --- what must be understood, and what must be asked ------------------------------------------------------------------


@pytest.mark.rfc("7515-1")
@pytest.mark.parametrize("crit", [["foo"], ["b64"], ["exp"], [], "foo", None, 0, False])
async def test_critical_extensions_are_rejected(crit: Any) -> None:
    """CVE-2026-32597, CVE-2025-59420: authguard knows no extension, so every ``crit`` is rejected."""
    answer = await GuardedApp().get_with_token(
        signed_with("RS256", {"alg": "RS256", "crit": crit, "foo": 1, "b64": True})
    )

    assert (answer.status, answer.reason) == (401, "token.critical_unknown")


@pytest.mark.rfc("7519-3")
@pytest.mark.parametrize(
    ("stated", "reason"),
    [
        *((stated, "token.issuer_unknown") for stated in ("https://a.exampl", "https://a.example/", "a", "")),
        ("https://A.example", "token.issuer_unknown"),
        (["https://a.example"], "token.claim_invalid"),
        (None, "token.claim_invalid"),
    ],
)
async def test_an_issuer_is_compared_whole(stated: Any, reason: str) -> None:
    """CVE-2024-53861 (PyJWT): a part of the issuer's name is not the issuer."""
    app = GuardedApp(bearer(issuer(name="https://a.example")))

    answer = await app.get_with_token(raw_token({"alg": "RS256"}, claims(iss=stated), rsa_key()))

    assert (answer.status, answer.reason) == (401, reason)


@pytest.mark.rfc("8725-4")
def test_the_audience_cannot_be_left_out() -> None:
    """Vulnerabilities of Hono and fastapi-cloudauth: an app has to say that it checks no audience."""
    forgetful: Any = Issuer
    key = PEM(public_pem(rsa_key()))

    with pytest.raises(TypeError, match="audience"):
        forgetful(ISSUER, algorithms=["RS256"], keys=key)
    nothings: tuple[Any, ...] = ("", [], None)
    for nothing in nothings:
        with pytest.raises(ConfigurationError, match=r"^audience: .*ANY_AUDIENCE"):
            issuer(audience=nothing)
    assert issuer(audience=ANY_AUDIENCE).rules.audience is None


@pytest.mark.rfc("8725-4", "6750-9")
async def test_a_token_for_another_audience_is_rejected() -> None:
    """A token with another audience, a part of it, or none is rejected."""
    app = GuardedApp()

    answers = {aud: (await app.get_with_token(mint(aud=aud))).reason for aud in ("billing", "order", "orders2", ...)}

    assert answers == {
        "billing": "token.audience_mismatch",
        "order": "token.audience_mismatch",
        "orders2": "token.audience_mismatch",
        ...: "token.claim_missing",
    }
