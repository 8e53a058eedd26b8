"""The claims of a token: when it is valid, for which audience, and as which type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import pytest

from authguard import ANY_AUDIENCE, ANY_ISSUER, Failure, Moment
from authguard.schemes.bearer.claims import ClaimRules, check_type, leeway_used
from tests.support.clock import NOW
from tests.support.schemes.bearer import essential
from tests.support.tokens import AUDIENCE, claims

LEEWAY = 60.0
AT_NOW = Moment(NOW, LEEWAY)
RULES = ClaimRules(frozenset({AUDIENCE}), require_exp=True, access_token=False)
ACCESS_TOKEN = ClaimRules(frozenset({AUDIENCE}), require_exp=True, access_token=True)
#: RFC 9068 section 2.2.
ACCESS_CLAIMS: dict[str, Any] = {"client_id": "shop", "jti": "1"}


Told: TypeAlias = tuple[str, Mapping[str, object]] | None


def failure_parts(fault: Failure | None) -> Told:
    """The reason code of a failure, and its facts without those that only explain it to a person."""
    return None if fault is None else essential(fault.reason.code, fault.facts)


def check(
    rules: ClaimRules = RULES, moment: Moment = AT_NOW, **changes: Any
) -> tuple[str, Mapping[str, object]] | None:
    """What is wrong with valid claims after these changes."""
    return failure_parts(rules.failure(claims(**changes), moment))


# --- stamps -----------------------------------------------------------------------------------------------------------


def test_valid_claims_pass() -> None:
    """The claims of these tests pass, and so do those of an access token under the access token profile."""
    assert check() is None
    assert check(ACCESS_TOKEN, **ACCESS_CLAIMS) is None


@pytest.mark.parametrize("offset", [-59.999, -59, -0.5, 0, 600])
def test_a_token_lives_until_its_end_and_the_leeway(offset: float) -> None:
    """A token is valid until just before ``exp`` plus the leeway (RFC 7519 section 4.1.4)."""
    assert check(exp=NOW + offset) is None


@pytest.mark.rfc("7519-1")
@pytest.mark.parametrize("offset", [-60, -60.001, -61, -1e6])
def test_a_token_dies_at_its_end_and_the_leeway(offset: float) -> None:
    """At ``exp`` plus the leeway a token has expired, and the facts say by how many seconds."""
    code, facts = check(exp=NOW + offset) or ("", {})

    assert code == "token.expired"
    assert facts == {"expired_by": pytest.approx(-offset, abs=0.001), "leeway": LEEWAY}


@pytest.mark.parametrize("name", ["nbf", "iat"])
@pytest.mark.parametrize("offset", [-1e6, 0, 0.5, 60])
def test_a_token_lives_from_its_beginning_less_the_leeway(name: str, offset: float) -> None:
    """At ``nbf`` minus the leeway a token is valid (RFC 7519 section 4.1.5), and the same holds for ``iat``."""
    assert failure_parts(RULES.failure(claims(**{name: NOW + offset}), AT_NOW)) is None


@pytest.mark.rfc("7519-1")
@pytest.mark.parametrize(
    ("name", "code", "fact"),
    [("nbf", "token.not_yet_valid", "valid_in"), ("iat", "token.issued_in_future", "issued_in")],
)
@pytest.mark.parametrize("offset", [60.001, 61, 1e6])
def test_a_token_from_the_future_is_rejected(name: str, code: str, fact: str, offset: float) -> None:
    """``nbf`` and ``iat`` in the future have reasons of their own, and the facts say by how many seconds."""
    assert failure_parts(RULES.failure(claims(**{name: NOW + offset}), AT_NOW)) == (
        code,
        {fact: pytest.approx(offset, abs=0.001), "leeway": LEEWAY},
    )


def test_without_leeway_the_timestamps_are_exact() -> None:
    """A leeway of zero is allowed, and then the timestamps hold to the second."""
    exact = Moment(NOW, 0)

    assert check(moment=exact, exp=NOW + 0.001, nbf=NOW, iat=NOW) is None
    assert check(moment=exact, exp=NOW) == ("token.expired", {"expired_by": 0.0, "leeway": 0})
    assert check(moment=exact, nbf=NOW + 1) == ("token.not_yet_valid", {"valid_in": 1.0, "leeway": 0})


def test_the_first_failure_is_reported() -> None:
    """Types are checked before ``exp``, ``exp`` before ``nbf``, and timestamps before the audience."""
    assert check(exp=NOW - 100, iat="x") == ("token.claim_invalid", {"claim": "iat"})
    assert (check(exp=NOW - 100, nbf=NOW + 100) or ("",))[0] == "token.expired"
    assert (check(nbf=NOW + 100, iat=NOW + 100) or ("",))[0] == "token.not_yet_valid"
    assert (check(exp=NOW - 100, aud="x") or ("",))[0] == "token.expired"
    assert (check(aud="x", cnf={}) or ("",))[0] == "token.audience_mismatch"


ODD_STAMPS: list[Any] = [True, False, None, "1900000000", "", [NOW], {}, float("nan"), float("inf"), float("-inf")]
ODD_STAMPS += [10**400, -(10**400), 1e12, -1e12, 1e13]


@pytest.mark.rfc("7519-1")
@pytest.mark.parametrize("name", ["exp", "nbf", "iat"])
@pytest.mark.parametrize("odd", ODD_STAMPS, ids=lambda odd: repr(odd)[:12])
def test_a_timestamp_is_a_plausible_number(name: str, odd: Any) -> None:
    """A NumericDate (RFC 7519 section 2) is no bool, string, list or NaN, and not so large that it must be
    milliseconds."""
    assert check(**{name: odd}) == ("token.claim_invalid", {"claim": name})


@pytest.mark.parametrize("stamp", [0, -1, 0.5, int(NOW), 999_999_999_999])
def test_any_other_number_is_a_timestamp(stamp: float) -> None:
    """A timestamp may be a fraction, negative, or long ago."""
    assert check(nbf=min(stamp, NOW), exp=max(stamp, NOW)) is None


def test_exp_is_required_unless_the_app_says_otherwise() -> None:
    """A token without ``exp`` is rejected, unless ``require_exp=False``."""
    lenient = ClaimRules(RULES.audience, require_exp=False, access_token=False)

    assert check(exp=...) == ("token.claim_missing", {"claim": "exp"})
    assert check(lenient, exp=...) is None
    assert (check(lenient, exp=NOW - 100) or ("",))[0] == "token.expired"
    assert check(lenient, exp=None) == ("token.claim_invalid", {"claim": "exp"})


def test_the_leeway_used_is_reported() -> None:
    """The facts say how many seconds of leeway each timestamp used, because that is the first sign of a drifting
    clock."""
    drifting = claims(exp=NOW - 12.5, nbf=NOW + 3, iat=NOW + 60)

    assert leeway_used(drifting, AT_NOW) == {"tolerated": {"exp": 12.5, "nbf": 3.0, "iat": 60.0}}
    assert leeway_used(claims(exp=NOW), AT_NOW) == {"tolerated": {"exp": 0.0}}
    assert leeway_used(claims(nbf=NOW, iat=NOW), AT_NOW) == {}
    assert leeway_used({}, AT_NOW) == {}


# --- audience ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("aud", ["orders", ["orders"], ["billing", "orders"], ["orders", "orders"], ["", "orders"]])
def test_an_audience_that_names_the_api_passes(aud: Any) -> None:
    """``aud`` is one name, or a list that contains it (RFC 7519 section 4.1.3)."""
    assert check(aud=aud) is None


@pytest.mark.parametrize("aud", ["billing", "", "order", "orders ", [], ["billing"], ["order", "s"]])
def test_a_wrong_audience_is_reported_with_its_value(aud: Any) -> None:
    """The facts of a wrong audience hold both the expected and the actual audience."""
    stated = (aud,) if isinstance(aud, str) else tuple(aud)

    assert check(aud=aud) == ("token.audience_mismatch", {"audience": stated, "wanted": ("orders",)})


def test_one_of_several_names_is_enough() -> None:
    """An API may have several audiences, and a token needs one of them."""
    rules = ClaimRules(frozenset({"b", "a"}), require_exp=True, access_token=False)

    assert check(rules, aud="b") is None
    assert check(rules, aud=["x", "a"]) is None
    assert check(rules, aud="x") == ("token.audience_mismatch", {"audience": ("x",), "wanted": ("a", "b")})


@pytest.mark.rfc("8725-4")
def test_no_audience_at_all_is_missing() -> None:
    """RFC 8725 section 3.9: a token without ``aud`` is rejected."""
    assert check(aud=...) == ("token.claim_missing", {"claim": "aud"})


@pytest.mark.parametrize("aud", [None, 5, True, {"orders": 1}, ["orders", 5], [["orders"]], [None]])
def test_an_audience_of_an_odd_type_is_invalid(aud: Any) -> None:
    """An ``aud`` that is neither a string nor a list of strings is rejected, even if it contains the right name."""
    assert check(aud=aud) == ("token.claim_invalid", {"claim": "aud"})


def test_any_audience_accepts_every_audience() -> None:
    """With ANY_AUDIENCE a token for another API passes, and so does one without ``aud``."""
    rules = ClaimRules(None, require_exp=True, access_token=False)

    assert check(rules, aud="billing") is None
    assert check(rules, aud=...) is None


# --- the profile of access tokens, and bound tokens -------------------------------------------------------------------


@pytest.mark.rfc("9068-4")
@pytest.mark.parametrize("name", ["iss", "exp", "aud", "sub", "client_id", "iat", "jti"])
def test_an_access_token_has_all_claims_of_rfc_9068(name: str) -> None:
    """RFC 9068 section 2.2: an access token without one of the required claims is rejected, and the facts name the
    claim."""
    changes = {**ACCESS_CLAIMS, name: ...}

    assert check(ACCESS_TOKEN, **changes) == ("token.claim_missing", {"claim": name})


@pytest.mark.rfc("9068-4")
@pytest.mark.parametrize("name", ["client_id", "jti"])
@pytest.mark.parametrize("odd", ["", 5, None, [], ["x"], True])
def test_a_client_and_an_id_are_strings(name: str, odd: Any) -> None:
    """``client_id`` and ``jti`` of an access token must be strings (RFC 9068 section 2.2). Other tokens are not checked
    for it."""
    assert check(ACCESS_TOKEN, **{**ACCESS_CLAIMS, name: odd}) == ("token.claim_invalid", {"claim": name})
    assert check(client_id=odd) is None


@pytest.mark.rfc("8725-6")
@pytest.mark.parametrize("cnf", [{"jkt": "x"}, {"x5t#S256": "x"}, {}, True, "x", False])
def test_a_bound_token_is_no_bearer_token(cnf: Any) -> None:
    """A token that is bound to a key by ``cnf`` is rejected (RFC 9449 section 7.2, RFC 8705 section 3): the proof is
    missing."""
    assert check(cnf=cnf) == ("token.bound", {})
    assert check(cnf=None) is None


# --- typ --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stated", [None, "JWT", "jwt", "at+jwt", "AT+JWT", "application/at+jwt", "Application/JWT"])
def test_the_type_jwt_is_accepted(stated: str | None) -> None:
    """Any spelling of the types of a plain JWT is accepted (RFC 8725 section 3.11), with and without
    ``application/``."""
    assert check_type(stated, None) is None


@pytest.mark.rfc("8725-6")
@pytest.mark.parametrize(
    "stated", ["dpop+jwt", "logout+jwt", "secevent+jwt", "", "JWE", " JWT", "application/", "x/jwt"]
)
def test_a_token_of_another_type_is_rejected(stated: str) -> None:
    """A token of another type, such as a DPoP proof, is not an access token (RFC 8725 section 3.12), whoever
    signed it."""
    assert failure_parts(check_type(stated, None)) == ("token.type_refused", {"typ": stated, "wanted": "JWT or at+jwt"})


def test_a_required_type_is_the_only_one() -> None:
    """With ``typ="at+jwt"`` only that type passes, or the whole media type (RFC 9068 section 4)."""
    for stated in ("at+jwt", "AT+jwt", "application/at+jwt"):
        assert check_type(stated, "at+jwt") is None
    for other in ("JWT", None, "dpop+jwt"):
        assert failure_parts(check_type(other, "at+jwt")) == ("token.type_refused", {"typ": other, "wanted": "at+jwt"})


# --- said in words ----------------------------------------------------------------------------------------------------


def test_unchecked_values_have_a_readable_repr() -> None:
    """The repr of ANY_ISSUER and ANY_AUDIENCE is their name."""
    assert repr((ANY_ISSUER, ANY_AUDIENCE)) == "(ANY_ISSUER, ANY_AUDIENCE)"
