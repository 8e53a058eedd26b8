"""How issuers and the scheme are set up, what they refuse, and the challenges."""

from __future__ import annotations

from typing import Any

import pytest

from authguard import (
    ANY_AUDIENCE,
    ANY_ISSUER,
    PEM,
    Bearer,
    ConfigurationError,
    Denied,
    Reason,
    Secret,
    claim,
    role,
    scopes,
)
from authguard.reasons import CREDENTIALS_MISSING, ROLE_MISSING, SCOPE_MISSING, STEP_UP_REQUIRED, TOKEN_EXPIRED
from authguard.schemes.bearer.claims import ClaimRules
from tests.keys.test_static import CANARY
from tests.support.schemes.bearer import CountingKeySource, bearer, bearer_request, issuer
from tests.support.tokens import AUDIENCE, ISSUER, public_pem, rsa_key

NAN = float("nan")


def test_an_issuer_is_what_was_said() -> None:
    """With the defaults of RFC 7519 and 6749 for the rest."""
    made = issuer()

    assert (made.issuer, made.algorithms, made.typ) == (ISSUER, frozenset({"RS256"}), None)
    assert (made.roles, made.scopes, made.subject) == ((claim("roles"),), (claim("scope"),), claim("sub"))
    assert made.rules == ClaimRules(frozenset({AUDIENCE}), require_exp=True, access_token=False)


def test_an_audience_is_one_name_or_several() -> None:
    """Or any, in words."""
    assert issuer(audience=["a", "b"]).rules.audience == frozenset({"a", "b"})
    assert issuer(audience="a b").rules.audience == frozenset({"a b"})
    assert issuer(audience=ANY_AUDIENCE).rules.audience is None


def test_a_source_whose_answer_is_at_hand_is_known_from_the_start() -> None:
    """Keys in memory are; a source of one's own is only where it says so."""
    own, in_memory = CountingKeySource(), issuer()

    assert in_memory.held is not None
    assert in_memory.held(kid=None, algorithm="RS256")
    assert (issuer(own).held, issuer(own).keys) == (None, own)


@pytest.mark.parametrize(
    ("argument", "changes"),
    [
        ("issuer", {"name": ""}),
        ("issuer", {"name": None}),
        ("issuer", {"name": 5}),
        ("issuer", {"name": [ISSUER]}),
        ("issuer", {"name": ANY_AUDIENCE}),
        ("audience", {"audience": ""}),
        ("audience", {"audience": []}),
        ("audience", {"audience": None}),
        ("audience", {"audience": ANY_ISSUER}),
        ("audience", {"audience": [""]}),
        ("audience", {"audience": [" "]}),
        ("audience", {"audience": ["a", 5]}),
        ("algorithms", {"algorithms": []}),
        ("algorithms", {"algorithms": "RS256"}),
        ("keys", {"keys": []}),
        ("keys", {"keys": PEM(b"x")}),
        ("roles", {"roles": "roles"}),
        ("scopes", {"scopes": ["scope"]}),
        ("subject", {"subject": "sub"}),
        ("subject", {"subject": None}),
    ],
)
def test_a_mistake_is_told_by_the_name_of_the_argument(argument: str, changes: dict[str, Any]) -> None:
    """While the app is built, and first of all in the message."""
    with pytest.raises(ConfigurationError) as caught:
        issuer(**changes)

    assert caught.value.argument == argument
    assert str(caught.value).startswith(f"{argument}: ")


@pytest.mark.parametrize(
    ("argument", "changes"),
    [
        ("audience", {"audience": 5}),
        ("audience", {"audience": [["a"]]}),
        ("typ", {"typ": 5}),
        ("typ", {"typ": ["JWT"]}),
    ],
)
def test_an_argument_of_an_odd_type_is_told_by_its_name(argument: str, changes: dict[str, Any]) -> None:
    """The same for what no type checker would let by."""
    with pytest.raises(ConfigurationError, match=f"^{argument}: "):
        issuer(**changes)


@pytest.mark.parametrize(
    ("argument", "problem", "issuers", "options"),
    [
        ("issuers", "give at least one Issuer", [], {}),
        ("issuers", f"{ISSUER!r} is not an issuer; write Bearer(Issuer(...), realm=...)", [ISSUER], {}),
        ("issuers", "None is not an issuer", [issuer(), None], {}),
        ("issuers", "[...] is a list; write Bearer(first, second, realm=...)", [[issuer()]], {}),
        ("issuers", "[...] is a tuple; write Bearer(first, second, realm=...)", [(issuer(),)], {}),
        ("issuers", f"{ISSUER!r} is listed twice", [issuer(), issuer(audience="x")], {}),
        ("issuers", "ANY_ISSUER must be the only issuer", [issuer(), issuer(name=ANY_ISSUER)], {}),
        ("limit", "0 is not a whole number of bytes from 1 to 16384", [issuer()], {"limit": 0}),
        ("limit", "16385 is not a whole number of bytes", [issuer()], {"limit": 16385}),
        ("limit", "nan is not a ", [issuer()], {"limit": NAN}),
        ("deadline", "0 is not a number of seconds above 0 and up to 60", [issuer()], {"deadline": 0}),
        ("deadline", "-1 is not a ", [issuer()], {"deadline": -1}),
        ("deadline", "60.5 is not a ", [issuer()], {"deadline": 60.5}),
        ("deadline", "nan is not a ", [issuer()], {"deadline": NAN}),
        ("deadline", "inf is not a ", [issuer()], {"deadline": float("inf")}),
        ("realm", "holds a control character", [issuer()], {"realm": "a\r\nb"}),
        ("realm", "half of a surrogate pair", [issuer()], {"realm": "\ud800"}),
    ],
)
def test_a_scheme_refuses_what_could_not_work(argument: str, problem: str, issuers: Any, options: Any) -> None:
    """No issuer, two of a name, no limit, no deadline, a realm that would break the field."""
    with pytest.raises(ConfigurationError) as caught:
        Bearer(*issuers, **{"realm": "orders", **options})

    assert caught.value.argument == argument
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("argument", "value"), [("realm", None), ("realm", 5), ("limit", "8192"), ("limit", None), ("deadline", None)]
)
def test_an_option_of_an_odd_type_is_told_by_its_name(argument: str, value: Any) -> None:
    """The same for what no type checker would let by."""
    with pytest.raises(ConfigurationError, match=f"^{argument}: "):
        bearer(**{argument: value})


def test_the_limits_themselves_are_taken() -> None:
    """Twice the usual length, a minute of waiting."""
    assert bearer(limit=16384, deadline=60).realm == "orders"
    assert bearer(limit=1, deadline=0.001).realm == "orders"


def test_neither_an_issuer_nor_a_scheme_shows_a_key() -> None:
    """In ``repr``, which is where a debugger and a log find it."""
    made = issuer(Secret(CANARY + CANARY[::-1]), algorithms=["HS256"])

    assert repr(made) == (
        f"Issuer(issuer={ISSUER!r}, algorithms=frozenset({{'HS256'}}), typ=None, rules=ClaimRules("
        "audience=frozenset({'orders'}), require_exp=True, access_token=False))"
    )
    assert "CANARY" not in repr([made, bearer(made), made.keys, made.held])
    assert public_pem(rsa_key()).decode()[60:80] not in repr(issuer())


# --- challenges -------------------------------------------------------------------------------------------------------


def challenged(why: Denied | None) -> str:
    """The one challenge, as it is sent."""
    (challenge,) = bearer(realm='the "orders"').challenges(bearer_request(), why)
    return challenge.to_header().decode()


@pytest.mark.rfc("6750-6")
def test_nothing_presented_is_a_bare_challenge() -> None:
    """RFC 6750 section 3.1: no error where no token was sent."""
    assert challenged(None) == r'Bearer realm="the \"orders\""'
    assert challenged(Denied(CREDENTIALS_MISSING)) == r'Bearer realm="the \"orders\""'


@pytest.mark.rfc("6750-8")
def test_a_token_that_failed_is_told_by_its_error() -> None:
    """RFC 6750 section 3.1, with the one sentence that the client may read."""
    assert challenged(Denied(TOKEN_EXPIRED)) == (
        r'Bearer realm="the \"orders\"", error="invalid_token", error_description="The access token expired"'
    )
    assert challenged(Denied(Reason("own.reason", 401, "invalid_token"))) == (
        r'Bearer realm="the \"orders\"", error="invalid_token"'
    )


@pytest.mark.rfc("6750-7")
def test_a_missing_scope_is_told_by_its_name() -> None:
    """RFC 6750 section 3: ``scope`` is what the route asks for, where a scope is what is missing."""
    asked = scopes("write", "read")

    assert challenged(Denied(SCOPE_MISSING, requirement=asked)) == (
        rf'Bearer realm="the \"orders\"", error="insufficient_scope", scope="{" ".join(asked.scopes_named())}"'
    )
    assert challenged(Denied(ROLE_MISSING, requirement=role("admin"))) == (
        r'Bearer realm="the \"orders\"", error="insufficient_scope"'
    )
    assert challenged(Denied(SCOPE_MISSING)) == r'Bearer realm="the \"orders\"", error="insufficient_scope"'


def test_a_step_up_is_told_by_what_it_takes() -> None:
    """RFC 9470 section 3."""
    assert challenged(Denied(STEP_UP_REQUIRED, facts={"acr_values": "mfa otp", "max_age": 300, "acr": "pwd"})) == (
        r'Bearer realm="the \"orders\"", error="insufficient_user_authentication", acr_values="mfa otp", max_age="300"'
    )
    assert challenged(Denied(STEP_UP_REQUIRED, facts={"max_age": 0})) == (
        r'Bearer realm="the \"orders\"", error="insufficient_user_authentication", max_age="0"'
    )
