"""JWT access tokens (RFC 9068): the profile as a whole, with requests to an app that requires it."""

from __future__ import annotations

from typing import Any

import pytest

from authguard import AuthRequest, Principal, Reason, Rejected, Rule, claim, role, scopes
from tests.support.clock import NOW
from tests.support.guards import Answer, GuardedApp
from tests.support.schemes.bearer import bearer, issuer
from tests.support.tokens import ISSUER, claims, raw_token, rsa_key

GOOD: dict[str, Any] = {"client_id": "shop", "jti": "1"}
ROLES = claim("roles")


def token(header: dict[str, Any] | None = None, key: Any = None, **changes: Any) -> str:
    """An access token, with changes to its header and its claims."""
    stated = {"typ": "at+jwt", "alg": "RS256", **(header or {})}
    kept = {name: value for name, value in stated.items() if value is not None}
    return raw_token(kept, claims(**{**GOOD, **changes}), key or rsa_key())


def guarded_app(roles: Any = ROLES, **options: Any) -> GuardedApp:
    """An app that accepts access tokens of the profile only."""
    return GuardedApp(bearer(issuer(typ="at+jwt", roles=roles)), **options)


def challenges(answer: Answer) -> list[str]:
    """The field lines of the challenges."""
    return [value.decode() for name, value in answer.headers if name == b"www-authenticate"]


@pytest.mark.rfc("9068-2", "9068-3")
@pytest.mark.parametrize("changes", [{}, {"aud": ["others", "orders"]}, {"exp": NOW - 59}], ids=str)
async def test_an_access_token_is_accepted(changes: dict[str, Any]) -> None:
    """Section 4: a token signed with RS256, of the issuer, for this API, and valid within the leeway."""
    answer = await guarded_app().get_with_token(token(**changes))

    assert (answer.status, answer.body) == (200, b"alice")


FAILING: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"typ": "JWT"}, {}, "token.type_refused"),
    ({"typ": None}, {}, "token.type_refused"),
    ({"typ": "id+jwt"}, {}, "token.type_refused"),
    ({"alg": "none"}, {}, "token.algorithm_refused"),
    ({"alg": "HS256"}, {}, "token.algorithm_refused"),
    ({}, {"iss": ISSUER.rstrip("/")}, "token.issuer_unknown"),
    ({}, {"iss": ISSUER.upper()}, "token.issuer_unknown"),
    ({}, {"iss": ...}, "token.claim_missing"),
    ({}, {"aud": "others"}, "token.audience_mismatch"),
    ({}, {"aud": []}, "token.audience_mismatch"),
    ({}, {"aud": ...}, "token.claim_missing"),
    ({}, {"exp": NOW - 60}, "token.expired"),
    ({}, {"sub": ""}, "token.claim_invalid"),
    *(({}, {name: ...}, "token.claim_missing") for name in ("exp", "sub", "client_id", "iat", "jti")),
]


@pytest.mark.rfc("9068-1", "9068-3", "9068-8")
@pytest.mark.parametrize(("header", "changes", "reason"), FAILING, ids=str)
async def test_whatever_check_fails_is_an_invalid_token(
    header: dict[str, Any], changes: dict[str, Any], reason: str
) -> None:
    """Section 4: every failed check is a 401 with ``invalid_token``, and only the log says which check failed."""
    answer = await guarded_app().get_with_token(token(header, **changes))

    assert (answer.status, answer.reason) == (401, reason)
    assert [line.startswith('Bearer realm="orders", error="invalid_token"') for line in challenges(answer)] == [True]


@pytest.mark.rfc("9068-3", "9068-8")
async def test_a_key_of_another_party_is_rejected() -> None:
    """Section 4: a valid signature with a key that is not the issuer's is rejected."""
    answer = await guarded_app().get_with_token(token(key=rsa_key(which=1)))

    assert (answer.status, answer.reason) == (401, "token.signature_invalid")
    assert challenges(answer) == ['Bearer realm="orders", error="invalid_token"']


@pytest.mark.rfc("9068-6")
async def test_the_roles_and_scopes_of_a_token_are_checked() -> None:
    """Sections 2.2.3 and 4: a token without the role or the scope is authenticated, so the status is 403."""
    rules = [Rule("/**", role("admin"))]
    scoped = guarded_app(rules=[Rule("/**", scopes("write"))])

    answers = [
        await guarded_app(rules=rules).get_with_token(token(roles=["admin"])),
        await guarded_app(rules=rules).get_with_token(token(roles=["reader"])),
        await scoped.get_with_token(token(scope="read")),
    ]

    assert [(answer.status, challenges(answer)) for answer in answers] == [
        (200, []),
        (403, ['Bearer realm="orders", error="insufficient_scope"']),
        (403, ['Bearer realm="orders", error="insufficient_scope", scope="write"']),
    ]


@pytest.mark.rfc("9068-6")
async def test_scim_roles_need_a_function() -> None:
    """RFC 7643 section 2.4: roles are objects with a value. Such a claim grants nothing without a function that reads
    it."""
    rules = [Rule("/**", role("admin"))]
    stated = token(roles=[{"value": "admin", "primary": True}, {"value": "reader"}])

    by_claim = await guarded_app(rules=rules).get_with_token(stated)
    by_function = await guarded_app(
        lambda claims: [one["value"] for one in claims["roles"]], rules=rules
    ).get_with_token(stated)

    assert (by_claim.status, by_function.status) == (403, 200)


@pytest.mark.rfc("9068-7")
async def test_a_token_of_the_client_itself_can_be_denied() -> None:
    """Section 5: a check can tell a token whose subject is the client itself from a user's token."""
    no_user = Reason("client.no_user", 403, "insufficient_scope")

    async def users_only(request: AuthRequest, principal: Principal) -> Principal | Rejected:
        return Rejected(no_user) if principal.subject == principal.claims["client_id"] else principal

    guarded = guarded_app(checks=[users_only])

    assert [(await guarded.get_with_token(token(sub=sub))).status for sub in ("alice", "shop")] == [200, 403]
