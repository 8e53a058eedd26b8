"""Every token that authguard accepts is accepted by PyJWT and joserfc too, with the same claims."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from authguard import Accepted, Rejected
from tests.security import attack_inputs as hostile
from tests.security import forged_tokens as forged
from tests.security import token_strategies as generated
from tests.security import unusual_tokens as harmless
from tests.security.peers import Verifiers, denial_kind, pyjwt_at_now, verifiers_for
from tests.support.clock import NOW
from tests.support.tokens import claims

ALGORITHMS = ("RS256", "PS256", "ES256", "EdDSA", "HS256")

#: Every kind of token that a peer accepts and authguard rejects, by the kind of its denial, with the reason.
ONLY_WE_REFUSE = {
    "token.bound": "RFC 9449 section 7.2: a token bound to a key is worth nothing without its proof; peers see no cnf.",
    "token.claim_invalid: exp": "RFC 7519 section 2: a NumericDate is a number, not a string of digits; and one in the "
    "age of the galaxies is a mistake in milliseconds.",
    "token.claim_invalid: nbf": "The same; true and false are numbers to Python alone.",
    "token.claim_invalid: iat": "The same.",
    "token.claim_invalid: aud": "RFC 7519 section 4.1.3: a string or an array of strings; PyJWT looks only where "
    "it is asked to.",
    "token.claim_invalid: iss": "RFC 7519 section 4.1.1: a string; the same.",
    "token.claim_invalid: sub": "A principal is named by a non-empty string; an empty one would equal every other.",
    "token.claim_missing: sub": "A principal has a name. RFC 7519 leaves it to the profile, and this is ours.",
    "token.critical_unknown": "RFC 7515 section 4.1.11 forbids names of its own in crit and an empty list; none is "
    "understood here, so none is weighed. A b64 that is not true is not what RFC 7515 signs.",
    "token.issued_in_future": "PyJWT cuts off the fraction of a second before it compares.",
    "token.not_yet_valid": "The same.",
    "token.malformed: NaN or Infinity, which JSON does not have": "RFC 8259 section 6. NaN compares with nothing, so "
    "that every limit lets it by.",
    "token.malformed: the header member typ is not a string": "RFC 7515 section 4.1.9: typ is a string.",
    "token.malformed: base64url with padding": "RFC 7515 section 2: no padding; a token has one spelling.",
    "token.malformed: duplicate member": "RFC 8725 section 3.10 and RFC 7515 section 4: two readers could read two "
    "different claims; peers take the last.",
    "token.malformed: nested too deeply": "At which depth a peer gives up depends on how deep the app called it.",
    "token.malformed: not a JSON object in UTF-8": "RFC 7519 section 7.2 wants UTF-8; json.loads guesses at UTF-16 and "
    "UTF-32, skips a byte order mark, and makes strings of half surrogate pairs that no log and no store can write.",
    "token.too_long": "8 KiB are more than a header field holds, and work goes by length.",
    "token.type_refused": "RFC 8725 section 3.11: a DPoP proof or a logout token is no access token; peers ignore typ.",
}

Family = Callable[[Verifiers], Iterator[tuple[str, bytes]]]
HOSTILE: tuple[Family, ...] = (
    hostile.odd_stamps,
    hostile.wrong_claims,
    hostile.odd_headers,
    hostile.odd_json,
    hostile.odd_base64,
    hostile.odd_parts,
    forged.bad_signatures,
)

quickly = settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


@pytest.fixture(scope="module", autouse=True)
def _one_moment() -> Iterator[None]:
    with pyjwt_at_now():
        yield


def difference(judges: Verifiers, token: bytes) -> str | None:
    """The denial of a token that a peer accepts, or None. Fails if only authguard accepts it, or if the claims
    differ."""
    outcome = judges.authguard(token)
    peers = {"PyJWT": judges.pyjwt(token), "joserfc": judges.joserfc(token)}
    if isinstance(outcome, Rejected):
        return None if all(said is None for said in peers.values()) else denial_kind(outcome)
    # By repr, because True equals 1 and 1 equals 1.0.
    read = repr(outcome.principal.claims)
    assert {name: repr(said) for name, said in peers.items()} == dict.fromkeys(peers, read), token
    return None


@pytest.mark.parametrize("family", HOSTILE, ids=lambda family: family.__name__)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_an_attack_token_is_rejected(algorithm: str, family: Family) -> None:
    """Every token of these families is rejected. If a peer accepts it, the table says why authguard does not."""
    judges = verifiers_for(algorithm)

    taken = [name for name, token in family(judges) if isinstance(judges.authguard(token), Accepted)]
    kinds = {difference(judges, token) for _, token in family(judges)}

    assert taken == []
    assert kinds - {None} <= ONLY_WE_REFUSE.keys()


@pytest.mark.parametrize("algorithm", [name for name in ALGORITHMS if name != "HS256"])
def test_a_public_key_is_no_hmac_secret(algorithm: str) -> None:
    """All three verifiers reject an HMAC whose secret is the text of the public key."""
    judges = verifiers_for(algorithm)

    for name, token in forged.key_confusion(judges):
        assert isinstance(judges.authguard(token), Rejected), name
        assert difference(judges, token) is None


@pytest.mark.parametrize("policy", ["asked", "not asked"])
def test_a_registered_claim_of_a_wrong_type_is_rejected(policy: str) -> None:
    """``iss``, ``sub``, ``aud`` and ``jti`` need the types of RFC 7519 section 4.1, even if the app does not check
    them."""
    judges = verifiers_for("ES256", open=policy == "not asked")

    taken = [name for name, token in hostile.odd_claims(judges) if isinstance(judges.authguard(token), Accepted)]

    assert taken == []


@pytest.mark.parametrize("family", [harmless.headers, harmless.payloads], ids=lambda family: family.__name__)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_an_unusual_valid_token_is_accepted(algorithm: str, family: Family) -> None:
    """All three verifiers accept the token and read the same claims."""
    judges = verifiers_for(algorithm)

    refused = [name for name, token in family(judges) if isinstance(judges.authguard(token), Rejected)]
    differences = {difference(judges, token) for _, token in family(judges)}

    assert refused == []
    assert differences == {None}


def test_the_negative_of_an_ecdsa_signature_is_accepted() -> None:
    """The negative of ``s`` is a valid signature, which gains nothing, because authguard identifies nothing by a
    signature."""
    judges = verifiers_for("ES256")

    for _, token in forged.malleable(judges):
        assert isinstance(judges.authguard(token), Accepted)
        assert difference(judges, token) is None


def test_the_table_is_not_stale() -> None:
    """Each kind of denial in the table occurs for a token that a peer accepts, and no other kind does."""
    kinds: set[str | None] = set()

    for judges in (verifiers_for("HS256"), verifiers_for("HS256", open=True)):
        for family in (*HOSTILE, hostile.odd_claims):
            kinds |= {
                difference(judges, token)
                for _, token in family(judges)
                if isinstance(judges.authguard(token), Rejected)
            }

    assert kinds - {None} == set(ONLY_WE_REFUSE)


# --- generated --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("open_policy", [False, True], ids=["asked", "not asked"])
@quickly
@given(st.data())
def test_generated_claims_are_read_alike(open_policy: bool, data: st.DataObject) -> None:
    """Of generated claims in any spelling, authguard accepts none that a peer rejects."""
    judges = verifiers_for("HS256", open=open_policy)

    kinds = difference(judges, judges.token(payload=data.draw(generated.payloads() | generated.slips())))

    assert kinds is None or kinds in ONLY_WE_REFUSE


@pytest.mark.parametrize("algorithm", ["ES256", "HS256"])
@quickly
@given(st.data())
def test_generated_headers_are_read_alike(algorithm: str, data: st.DataObject) -> None:
    """Of generated headers, authguard accepts none that a peer rejects."""
    judges = verifiers_for(algorithm)

    kinds = difference(judges, judges.token(data.draw(generated.headers(algorithm))))

    assert kinds is None or kinds in ONLY_WE_REFUSE


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@quickly
@given(st.data())
def test_a_changed_token_is_rejected(algorithm: str, data: st.DataObject) -> None:
    """All three verifiers reject a token with changed bytes, unless it is another spelling of the same bytes."""
    judges = verifiers_for(algorithm)
    good = _GOOD.setdefault(algorithm, judges.token())
    token = data.draw(generated.mutated(good))

    kinds = difference(judges, token)

    assert kinds is None or kinds in ONLY_WE_REFUSE
    assert token == good or isinstance(judges.authguard(token), Rejected)


_GOOD: dict[str, bytes] = {}


# --- time -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("offset", [-3600, -62, -61, -60, -59, -58, -1, 0, 1, 59, 60, 61, 3600])
@pytest.mark.parametrize("name", ["exp", "nbf", "iat"])
def test_the_boundaries_are_those_of_the_peers(name: str, offset: int) -> None:
    """At whole seconds all three verifiers agree exactly on expired and not yet valid tokens."""
    judges = verifiers_for("HS256")
    token = judges.token(payload=claims(**{name: int(NOW) + offset}))

    accepted = isinstance(judges.authguard(token), Accepted)

    assert accepted == (offset > -60 if name == "exp" else offset <= 60)
    assert [judges.pyjwt(token) is not None, judges.joserfc(token) is not None] == [accepted, accepted]


def test_only_pyjwt_cuts_off_the_fraction_of_exp() -> None:
    """RFC 7519 section 2 allows fractions, and joserfc reads them too. PyJWT rejects up to a second earlier."""
    judges = verifiers_for("HS256")
    token = judges.token(payload=claims(exp=NOW - 59.5))

    assert isinstance(judges.authguard(token), Accepted)
    assert judges.joserfc(token) is not None
    assert judges.pyjwt(token) is None
