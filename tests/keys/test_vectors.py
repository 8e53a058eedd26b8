"""Tokens that RFCs print. The file tests/vectors/jws.json says where each is from."""

from __future__ import annotations

from typing import Any

import jwt
import pytest
from joserfc import jwk as joserfc_jwk
from joserfc import jws as joserfc_jws

from authguard import JWK, InvalidSignature, VerificationKey
from tests.support.tokens import split_signature
from tests.support.vectors import load_vectors

CASES: list[dict[str, Any]] = load_vectors("jws.json")["cases"]

every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case["source"])


def key_of(case: dict[str, Any]) -> VerificationKey:
    """The key of a case, bound to its algorithm."""
    (key,) = JWK(case["jwk"]).bind(frozenset({case["algorithm"]}))
    return key


@pytest.mark.rfc("7519-4")
@every_case
def test_the_signature_of_an_rfc_is_right(case: dict[str, Any]) -> None:
    """The key verifies the bytes that the RFC signed."""
    signing_input, signature = split_signature(case["token"].encode())

    key_of(case).verify(signing_input, signature)


@every_case
def test_no_bit_of_it_may_change(case: dict[str, Any]) -> None:
    """A token with one changed bit, in its signature or in the signed part, is rejected."""
    signing_input, signature = split_signature(case["token"].encode())
    key = key_of(case)

    for octet in range(0, len(signature), 7):
        changed = bytearray(signature)
        changed[octet] ^= 1 << octet % 8
        with pytest.raises(InvalidSignature):
            key.verify(signing_input, bytes(changed))
    with pytest.raises(InvalidSignature):
        key.verify(signing_input + b"A", signature)


@every_case
@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")
def test_other_implementations_agree(case: dict[str, Any]) -> None:
    """PyJWT and joserfc verify the same token with the same key, so the vectors do not depend on authguard."""
    token, algorithm = case["token"], case["algorithm"]

    by_pyjwt = jwt.PyJWS().decode(token, jwt.PyJWK(case["jwk"], algorithm), [algorithm])
    by_joserfc = joserfc_jws.deserialize_compact(token, joserfc_jwk.import_key(case["jwk"]), [algorithm])

    assert by_pyjwt == by_joserfc.payload
