from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import pytest

from authguard import ANY_AUDIENCE, ANY_ISSUER, Failure, Moment
from authguard.schemes.bearer.claims import ClaimRules, check_type, tolerated
from tests.support.clock import NOW
from tests.support.tokens import AUDIENCE, claims

LEEWAY = 60.0
AT_NOW = Moment(NOW, LEEWAY)
RULES = ClaimRules(frozenset({AUDIENCE}), require_exp=True, access_token=False)
ACCESS_TOKEN = ClaimRules(frozenset({AUDIENCE}), require_exp=True, access_token=True)
#: RFC 9068 section 2.2.
ACCESS_CLAIMS: dict[str, Any] = {"client_id": "shop", "jti": "1"}


Told: TypeAlias = tuple[str, Mapping[str, object]] | None


def told(fault: Failure | None) -> Told:
    """The code of a fault, and its facts."""
    return None if fault is None else (fault.reason.code, fault.facts)


def fault(
    rules: ClaimRules = RULES, moment: Moment = AT_NOW, **changes: Any
) -> tuple[str, Mapping[str, object]] | None:
    """What is wrong with the good claims after these changes."""
    return told(rules.failure(claims(**changes), moment))


# --- stamps -----------------------------------------------------------------------------------------------------------


def test_good_claims_have_no_fault() -> None:
    """Those of the tests, and those of an access token for the profile of access tokens."""
    assert fault() is None
    assert fault(ACCESS_TOKEN, **ACCESS_CLAIMS) is None


@pytest.mark.parametrize("offset", [-59.999, -59, -0.5, 0, 600])
def test_a_token_lives_until_its_end_and_the_leeway(offset: float) -> None:
    """RFC 7519 section 4.1.4: before ``exp``, with a leeway, is in time."""
    assert fault(exp=NOW + offset) is None


@pytest.mark.rfc("7519-1")
@pytest.mark.parametrize("offset", [-60, -60.001, -61, -1e6])
def test_a_token_dies_at_its_end_and_the_leeway(offset: float) -> None:
    """On ``exp`` plus the leeway is too late, and by how much is told."""
    code, facts = fault(exp=NOW + offset) or ("", {})

    assert code == "token.expired"
    assert facts == {"expired_by": pytest.approx(-offset, abs=0.001), "leeway": LEEWAY}


@pytest.mark.parametrize("name", ["nbf", "iat"])
@pytest.mark.parametrize("offset", [-1e6, 0, 0.5, 60])
def test_a_token_lives_from_its_beginning_less_the_leeway(name: str, offset: float) -> None:
    """RFC 7519 section 4.1.5: at ``nbf`` less the leeway it is in time; the same of ``iat``."""
    assert told(RULES.failure(claims(**{name: NOW + offset}), AT_NOW)) is None


@pytest.mark.rfc("7519-1")
@pytest.mark.parametrize(
    ("name", "code", "fact"),
    [("nbf", "token.not_yet_valid", "valid_in"), ("iat", "token.issued_in_future", "issued_in")],
)
@pytest.mark.parametrize("offset", [60.001, 61, 1e6])
def test_a_token_of_the_future_is_refused(name: str, code: str, fact: str, offset: float) -> None:
    """Each of the two stamps has a reason of its own, and says how far off it is."""
    assert told(RULES.failure(claims(**{name: NOW + offset}), AT_NOW)) == (
        code,
        {fact: pytest.approx(offset, abs=0.001), "leeway": LEEWAY},
    )


def test_without_leeway_the_stamps_are_exact() -> None:
    """A leeway of zero is a leeway."""
    exact = Moment(NOW, 0)

    assert fault(moment=exact, exp=NOW + 0.001, nbf=NOW, iat=NOW) is None
    assert fault(moment=exact, exp=NOW) == ("token.expired", {"expired_by": 0.0, "leeway": 0})
    assert fault(moment=exact, nbf=NOW + 1) == ("token.not_yet_valid", {"valid_in": 1.0, "leeway": 0})


def test_the_first_fault_is_told() -> None:
    """Odd types before the end, the end before the beginning, and stamps before the audience."""
    assert fault(exp=NOW - 100, iat="x") == ("token.claim_invalid", {"claim": "iat"})
    assert (fault(exp=NOW - 100, nbf=NOW + 100) or ("",))[0] == "token.expired"
    assert (fault(nbf=NOW + 100, iat=NOW + 100) or ("",))[0] == "token.not_yet_valid"
    assert (fault(exp=NOW - 100, aud="x") or ("",))[0] == "token.expired"
    assert (fault(aud="x", cnf={}) or ("",))[0] == "token.audience_mismatch"


ODD_STAMPS: list[Any] = [True, False, None, "1900000000", "", [NOW], {}, float("nan"), float("inf"), float("-inf")]
ODD_STAMPS += [10**400, -(10**400), 1e12, -1e12, 1e13]


@pytest.mark.rfc("7519-1")
@pytest.mark.parametrize("name", ["exp", "nbf", "iat"])
@pytest.mark.parametrize("odd", ODD_STAMPS, ids=lambda odd: repr(odd)[:12])
def test_a_stamp_is_a_number_of_this_age(name: str, odd: Any) -> None:
    """RFC 7519 section 2: a NumericDate; not a bool, a string, a list, NaN, or milliseconds of the year 50,000."""
    assert fault(**{name: odd}) == ("token.claim_invalid", {"claim": name})


@pytest.mark.parametrize("stamp", [0, -1, 0.5, int(NOW), 999_999_999_999])
def test_any_other_number_is_a_stamp(stamp: float) -> None:
    """Whole or not, and however long ago."""
    assert fault(nbf=min(stamp, NOW), exp=max(stamp, NOW)) is None


def test_exp_is_required_unless_the_app_says_otherwise() -> None:
    """A token without an end lives until somebody thinks of it."""
    lenient = ClaimRules(RULES.audience, require_exp=False, access_token=False)

    assert fault(exp=...) == ("token.claim_missing", {"claim": "exp"})
    assert fault(lenient, exp=...) is None
    assert (fault(lenient, exp=NOW - 100) or ("",))[0] == "token.expired"
    assert fault(lenient, exp=None) == ("token.claim_invalid", {"claim": "exp"})


def test_what_holds_only_thanks_to_the_leeway_is_told() -> None:
    """By how many seconds, stamp by stamp: that is how clocks that drift first show."""
    drifting = claims(exp=NOW - 12.5, nbf=NOW + 3, iat=NOW + 60)

    assert tolerated(drifting, AT_NOW) == {"tolerated": {"exp": 12.5, "nbf": 3.0, "iat": 60.0}}
    assert tolerated(claims(exp=NOW), AT_NOW) == {"tolerated": {"exp": 0.0}}
    assert tolerated(claims(nbf=NOW, iat=NOW), AT_NOW) == {}
    assert tolerated({}, AT_NOW) == {}


# --- audience ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("aud", ["orders", ["orders"], ["billing", "orders"], ["orders", "orders"], ["", "orders"]])
def test_an_audience_holds_us(aud: Any) -> None:
    """RFC 7519 section 4.1.3: one name, or a list that has it."""
    assert fault(aud=aud) is None


@pytest.mark.parametrize("aud", ["billing", "", "order", "orders ", [], ["billing"], ["order", "s"]])
def test_an_audience_without_us_is_told_with_what_it_holds(aud: Any) -> None:
    """The record shows both sides of the comparison."""
    stated = (aud,) if isinstance(aud, str) else tuple(aud)

    assert fault(aud=aud) == ("token.audience_mismatch", {"audience": stated, "wanted": ("orders",)})


def test_one_of_several_names_is_enough() -> None:
    """An API may be known by several."""
    rules = ClaimRules(frozenset({"b", "a"}), require_exp=True, access_token=False)

    assert fault(rules, aud="b") is None
    assert fault(rules, aud=["x", "a"]) is None
    assert fault(rules, aud="x") == ("token.audience_mismatch", {"audience": ("x",), "wanted": ("a", "b")})


@pytest.mark.rfc("8725-4")
def test_no_audience_at_all_is_missing() -> None:
    """RFC 8725 section 3.9: then the token is refused."""
    assert fault(aud=...) == ("token.claim_missing", {"claim": "aud"})


@pytest.mark.parametrize("aud", [None, 5, True, {"orders": 1}, ["orders", 5], [["orders"]], [None]])
def test_an_audience_of_an_odd_type_is_invalid(aud: Any) -> None:
    """Neither a string nor a list of strings, wherever our name stands in it."""
    assert fault(aud=aud) == ("token.claim_invalid", {"claim": "aud"})


def test_who_asks_for_no_audience_gets_any() -> None:
    """That of others, or none."""
    rules = ClaimRules(None, require_exp=True, access_token=False)

    assert fault(rules, aud="billing") is None
    assert fault(rules, aud=...) is None


# --- the profile of access tokens, and bound tokens -------------------------------------------------------------------


@pytest.mark.rfc("9068-4")
@pytest.mark.parametrize("name", ["iss", "exp", "aud", "sub", "client_id", "iat", "jti"])
def test_an_access_token_says_all_of_rfc_9068(name: str) -> None:
    """Section 2.2: what it must say, and which of it is missing."""
    changes = {**ACCESS_CLAIMS, name: ...}

    assert fault(ACCESS_TOKEN, **changes) == ("token.claim_missing", {"claim": name})


@pytest.mark.rfc("9068-4")
@pytest.mark.parametrize("name", ["client_id", "jti"])
@pytest.mark.parametrize("odd", ["", 5, None, [], ["x"], True])
def test_a_client_and_an_id_are_strings(name: str, odd: Any) -> None:
    """RFC 9068 section 2.2: of an access token; elsewhere ``client_id`` is nobody's business."""
    assert fault(ACCESS_TOKEN, **{**ACCESS_CLAIMS, name: odd}) == ("token.claim_invalid", {"claim": name})
    assert fault(client_id=odd) is None


@pytest.mark.rfc("8725-6")
@pytest.mark.parametrize("cnf", [{"jkt": "x"}, {"x5t#S256": "x"}, {}, True, "x", False])
def test_a_bound_token_is_no_bearer_token(cnf: Any) -> None:
    """RFC 9449 section 7.2, RFC 8705 section 3: without the proof the binding would be undone."""
    assert fault(cnf=cnf) == ("token.bound", {})
    assert fault(cnf=None) is None


# --- typ --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stated", [None, "JWT", "jwt", "at+jwt", "AT+JWT", "application/at+jwt", "Application/JWT"])
def test_a_plain_token_may_call_itself_so(stated: str | None) -> None:
    """RFC 8725 section 3.11: as most issuers write it, with or without ``application/``, without case."""
    assert check_type(stated, None) is None


@pytest.mark.rfc("8725-6")
@pytest.mark.parametrize(
    "stated", ["dpop+jwt", "logout+jwt", "secevent+jwt", "", "JWE", " JWT", "application/", "x/jwt"]
)
def test_a_token_of_another_kind_is_refused(stated: str) -> None:
    """RFC 8725 section 3.12: a DPoP proof is no access token, whoever signed it."""
    assert told(check_type(stated, None)) == ("token.type_refused", {"typ": stated, "wanted": "JWT or at+jwt"})


def test_a_type_that_is_asked_for_is_the_only_one() -> None:
    """RFC 9068 section 4: "at+jwt", or the whole media type, and nothing else."""
    for stated in ("at+jwt", "AT+jwt", "application/at+jwt"):
        assert check_type(stated, "at+jwt") is None
    for other in ("JWT", None, "dpop+jwt"):
        assert told(check_type(other, "at+jwt")) == ("token.type_refused", {"typ": other, "wanted": "at+jwt"})


# --- said in words ----------------------------------------------------------------------------------------------------


def test_what_is_not_checked_says_so_in_words() -> None:
    """In a ``repr`` too."""
    assert repr((ANY_ISSUER, ANY_AUDIENCE)) == "(ANY_ISSUER, ANY_AUDIENCE)"
