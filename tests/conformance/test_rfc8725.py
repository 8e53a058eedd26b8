"""JWT Best Current Practices (RFC 8725): the lines that no other test shows, with requests to an app."""

from __future__ import annotations

from typing import Any

import jwt
import pytest
from jwt.utils import base64url_decode

from authguard import JWK, PEM, ConfigurationError
from tests.support.guards import GuardedApp
from tests.support.schemes.bearer import bearer, issuer
from tests.support.tokens import AUDIENCE, b64url, claims, ec_key, mint, public_pem, raw_token, rsa_key

#: The claims of an ID token (OpenID Connect Core section 2).
ID_TOKEN: dict[str, Any] = {"nonce": "n-0S6_WzA2Mj", "at_hash": "77QmUPtjPfzWtF2AnpK9RQ", "auth_time": 1_799_999_900}


@pytest.mark.rfc("8725-2")
async def test_a_nested_token_is_rejected() -> None:
    """Section 3.3: only one layer is ever verified, so a nested token is rejected even if both layers are valid."""
    nested = raw_token({"alg": "RS256", "cty": "JWT"}, mint().encode(), rsa_key())

    answer = await GuardedApp().get_with_token(nested)

    assert (answer.status, answer.reason) == (401, "token.malformed")


@pytest.mark.rfc("8725-2")
def test_a_point_beside_its_curve_is_no_key() -> None:
    """Section 3.4: a key with a wrong coordinate, or on another curve than it names, raises."""
    jwk: dict[str, Any] = jwt.get_algorithm_by_name("ES256").to_jwk(ec_key().public_key(), as_dict=True)
    y = base64url_decode(jwk["y"])
    beside = {**jwk, "y": b64url(y[:-1] + bytes([y[-1] ^ 1]))}

    for bad in (beside, {**jwk, "crv": "P-384"}, {**jwk, "x": b64url(bytes(32)), "y": b64url(bytes(32))}):
        with pytest.raises(ConfigurationError, match="its members are not those of a valid EC key"):
            issuer(JWK(bad), algorithms=["ES256"])
    issuer(JWK(jwk), algorithms=["ES256"])


@pytest.mark.rfc("8725-3")
async def test_the_claims_tell_whose_subject_it_is() -> None:
    """Section 3.8: one subject of two issuers may be two people, and the app finds the issuer beside the subject."""
    theirs = issuer(PEM(public_pem(rsa_key(which=1))), name="https://other.example/")
    issuers: list[object] = []

    async def noted(request: object, principal: Any) -> Any:
        issuers.append((principal.claims["iss"], principal.subject))
        return principal

    app = GuardedApp(bearer(issuer(), theirs), checks=[noted])

    await app.get_with_token(mint())
    await app.get_with_token(mint(rsa_key(which=1), iss="https://other.example/"))

    assert issuers == [(claims()["iss"], "alice"), ("https://other.example/", "alice")]


@pytest.mark.rfc("8725-6")
async def test_an_id_token_is_for_the_client() -> None:
    """Section 3.12: an ID token is rejected by its audience, or by its type if the API has a client's name."""
    strict = GuardedApp(bearer(issuer(typ="at+jwt")))
    for_the_client = mint(aud="shop", azp="shop", **ID_TOKEN)
    for_us = mint(aud=AUDIENCE, azp=AUDIENCE, client_id=AUDIENCE, jti="1", **ID_TOKEN)

    answers = [
        await GuardedApp().get_with_token(for_the_client),
        await strict.get_with_token(for_the_client),
        await strict.get_with_token(for_us),
    ]

    assert [(answer.status, answer.reason) for answer in answers] == [
        (401, "token.audience_mismatch"),
        (401, "token.type_refused"),
        (401, "token.type_refused"),
    ]
