"""The setup of issuers and of the Bearer scheme, what they refuse, and the challenges."""

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
from tests.support.canary import KEY_CANARY
from tests.support.schemes.bearer import CountingKeySource, bearer, bearer_request, issuer
from tests.support.tokens import AUDIENCE, ISSUER, public_pem, rsa_key

NAN = float("nan")


def test_an_issuer_keeps_its_arguments() -> None:
    """An issuer keeps its arguments, and has the defaults of RFC 7519 and RFC 6749 for the others."""
    built = issuer()

    assert (built.issuer, built.algorithms, built.typ) == (ISSUER, frozenset({"RS256"}), None)
    assert (built.roles, built.scopes, built.subject) == ((claim("roles"),), (claim("scope"),), claim("sub"))
    assert built.rules == ClaimRules(frozenset({AUDIENCE}), require_exp=True, access_token=False)


def test_an_audience_is_one_name_or_several() -> None:
    """The audience may be one name, several names, or ANY_AUDIENCE."""
    assert issuer(audience=["a", "b"]).rules.audience == frozenset({"a", "b"})
    assert issuer(audience="a b").rules.audience == frozenset({"a b"})
    assert issuer(audience=ANY_AUDIENCE).rules.audience is None


def test_a_source_that_holds_its_keys_is_known_from_the_start() -> None:
    """Keys in memory are used without waiting, and so is a source of an app's own that implements ``held``."""
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
        ("issuer", {"name": [5]}),
        ("issuer", {"name": []}),
        ("issuer", {"name": [ISSUER, ""]}),
        ("issuer", {"name": [ISSUER, ANY_ISSUER]}),
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
def test_an_invalid_issuer_argument_raises(argument: str, changes: dict[str, Any]) -> None:
    """An invalid argument of ``Issuer`` raises while the app is built, and the message begins with the argument."""
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
        ("typ", {"typ": [5]}),
    ],
)
def test_an_issuer_argument_of_a_wrong_type_raises(argument: str, changes: dict[str, Any]) -> None:
    """An argument of a wrong type, which a type checker would reject, raises with the name of the argument."""
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
        ("limit", "0 is not a whole number of bytes from 1 to 65536", [issuer()], {"limit": 0}),
        ("limit", "65537 is not a whole number of bytes", [issuer()], {"limit": 65537}),
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
def test_an_invalid_scheme_argument_raises(argument: str, problem: str, issuers: Any, options: Any) -> None:
    """A scheme raises without issuers, for two issuers of one name, and for an invalid limit, deadline or realm."""
    with pytest.raises(ConfigurationError) as caught:
        Bearer(*issuers, **{"realm": "orders", **options})

    assert caught.value.argument == argument
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("argument", "value"), [("realm", None), ("realm", 5), ("limit", "8192"), ("limit", None), ("deadline", None)]
)
def test_a_scheme_argument_of_a_wrong_type_raises(argument: str, value: Any) -> None:
    """An option of a wrong type, which a type checker would reject, raises with the name of the option."""
    with pytest.raises(ConfigurationError, match=f"^{argument}: "):
        bearer(**{argument: value})


def test_the_greatest_allowed_limits_are_accepted() -> None:
    """The greatest allowed token length and deadline are accepted."""
    assert bearer(limit=16384, deadline=60).realm == "orders"
    assert bearer(limit=1, deadline=0.001).realm == "orders"


def test_neither_an_issuer_nor_a_scheme_shows_a_key() -> None:
    """The repr of an issuer and of a scheme has no key in it, because debuggers and logs show it."""
    built = issuer(Secret(KEY_CANARY + KEY_CANARY[::-1]), algorithms=["HS256"])

    assert repr(built) == (
        f"Issuer(issuer={ISSUER!r}, algorithms=frozenset({{'HS256'}}), typ=None, rules=ClaimRules("
        "audience=frozenset({'orders'}), require_exp=True, access_token=False))"
    )
    assert "CANARY" not in repr([built, bearer(built), built.keys, built.held])
    assert public_pem(rsa_key()).decode()[60:80] not in repr(issuer())


# --- challenges -------------------------------------------------------------------------------------------------------


def challenge_line(why: Denied | None) -> str:
    """The only challenge, as it is sent."""
    (challenge,) = bearer(realm='the "orders"').challenges(bearer_request(), why)
    return challenge.to_header().decode()


@pytest.mark.rfc("6750-6")
def test_nothing_presented_is_a_bare_challenge() -> None:
    """RFC 6750 section 3.1: without a token the challenge has no error."""
    assert challenge_line(None) == r'Bearer realm="the \"orders\""'
    assert challenge_line(Denied(CREDENTIALS_MISSING)) == r'Bearer realm="the \"orders\""'


@pytest.mark.rfc("6750-8")
def test_the_challenge_of_a_rejected_token_has_its_error() -> None:
    """RFC 6750 section 3.1: the challenge has the error and one sentence that the client may read."""
    assert challenge_line(Denied(TOKEN_EXPIRED)) == (
        r'Bearer realm="the \"orders\"", error="invalid_token", error_description="The access token expired"'
    )
    assert challenge_line(Denied(Reason("own.reason", 401, "invalid_token"))) == (
        r'Bearer realm="the \"orders\"", error="invalid_token"'
    )


@pytest.mark.rfc("6750-7")
def test_the_challenge_of_a_missing_scope_names_the_scopes() -> None:
    """RFC 6750 section 3: where a scope is missing, the challenge names all scopes that the route needs."""
    asked = scopes("write", "read")

    assert challenge_line(Denied(SCOPE_MISSING, requirement=asked)) == (
        rf'Bearer realm="the \"orders\"", error="insufficient_scope", scope="{" ".join(asked.scopes_named())}"'
    )
    assert challenge_line(Denied(ROLE_MISSING, requirement=role("admin"))) == (
        r'Bearer realm="the \"orders\"", error="insufficient_scope"'
    )
    assert challenge_line(Denied(SCOPE_MISSING)) == r'Bearer realm="the \"orders\"", error="insufficient_scope"'


def test_the_challenge_of_a_step_up_names_what_it_takes() -> None:
    """RFC 9470 section 3: the challenge has the ``acr_values`` and the ``max_age`` that the route needs."""
    assert challenge_line(Denied(STEP_UP_REQUIRED, facts={"acr_values": "mfa otp", "max_age": 300, "acr": "pwd"})) == (
        r'Bearer realm="the \"orders\"", error="insufficient_user_authentication", acr_values="mfa otp", max_age="300"'
    )
    assert challenge_line(Denied(STEP_UP_REQUIRED, facts={"max_age": 0})) == (
        r'Bearer realm="the \"orders\"", error="insufficient_user_authentication", max_age="0"'
    )
