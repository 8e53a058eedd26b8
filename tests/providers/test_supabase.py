"""``Issuer.supabase``: access tokens of Supabase Auth, while a project changes from a secret to a key pair."""

from __future__ import annotations

from typing import Any

import pytest

from authguard import Accepted, Bearer, ConfigurationError, Issuer, Rejected, Secret, claim
from tests.support.providers import KEYS, TIMES, Detour, accepted, options, refused
from tests.support.schemes.bearer import bearer_credentials, bearer_request
from tests.support.servers.key_server import respond_with
from tests.support.tokens import HMAC_SECRET, ec_key, key_set, published_jwk, raw_token, rsa_key

URL = "https://abcdefghijklmnopqrst.supabase.co"
ACCESS_TOKEN = {
    "iss": f"{URL}/auth/v1",
    "aud": "authenticated",
    "sub": "123e4567-e89b-12d3-a456-426614174000",
    "role": "authenticated",
    "aal": "aal1",
    "session_id": "123e4567-e89b-12d3-a456-426614174000",
    "email": "user@example.com",
    "is_anonymous": False,
    "app_metadata": {"provider": "email", "roles": ["editor"]},
    "user_metadata": {"roles": ["admin"]},
    **TIMES,
}


def supabase(**changes: Any) -> Issuer:
    """The issuer of these tokens, with a key for RS256."""
    return Issuer.supabase(URL, **options({"keys": KEYS}, changes))


def test_an_access_token_is_accepted() -> None:
    """The role is the claim ``role``; what users write into ``user_metadata`` is no role."""
    who = accepted(supabase(), ACCESS_TOKEN)

    assert (who.subject, set(who.roles), set(who.scopes)) == (ACCESS_TOKEN["sub"], {"authenticated"}, set())
    assert accepted(supabase(roles=claim("app_metadata", "roles")), ACCESS_TOKEN).roles == {"editor"}


def test_keys_and_tokens_of_other_projects_are_refused() -> None:
    """The keys ``anon`` and ``service_role`` of a project are JWTs too, and name no user."""
    other = {"iss": "https://zyxwvutsrqponmlkjihg.supabase.co/auth/v1"}

    assert refused(supabase(), ACCESS_TOKEN, other)[0] == "token.issuer_unknown"
    for role in ("anon", "service_role"):
        api_key = {"iss": "supabase", "aud": ..., "sub": ..., "ref": "abcdefghijklmnopqrst", "role": role}
        assert refused(supabase(), ACCESS_TOKEN, api_key)[0] == "token.issuer_unknown"
        assert refused(supabase(), ACCESS_TOKEN, {"role": role}) == (
            "token.claim_invalid",
            {"claim": "role", "found": role, "wanted": ("authenticated",)},
        )


def test_anonymous_users_are_refused_unless_asked_for() -> None:
    """They have the role ``authenticated`` as all users do; only ``is_anonymous`` tells them apart."""
    assert refused(supabase(), ACCESS_TOKEN, {"is_anonymous": True}) == (
        "token.claim_invalid",
        {"claim": "is_anonymous", "found": "True", "wanted": "False, or anonymous=True"},
    )
    assert accepted(supabase(anonymous=True), ACCESS_TOKEN, {"is_anonymous": True}).subject == ACCESS_TOKEN["sub"]
    assert accepted(supabase(), ACCESS_TOKEN, {"is_anonymous": ...}).subject == ACCESS_TOKEN["sub"]


async def test_secret_and_keys_are_accepted_while_the_project_changes(detour: Detour) -> None:
    """HS256 is verified with the secret alone, ES256 and RS256 with the published keys alone."""
    published = [published_jwk("e1", ec_key(), alg="ES256", use="sig", key_ops=["verify"], ext=True)]
    detour.server.behaviour = respond_with(key_set(*published, r1=rsa_key()))
    issuer = Issuer.supabase(URL, secret=Secret(HMAC_SECRET), fetch=detour.fetch)
    scheme = Bearer(issuer, realm="orders")
    keys: dict[str, tuple[str | None, Any]] = {
        "HS256": (None, HMAC_SECRET),
        "ES256": ("e1", ec_key()),
        "RS256": ("r1", rsa_key()),
    }

    outcomes = []
    for algorithm, (kid, key) in keys.items():
        header = {"alg": algorithm, "typ": "JWT", **({} if kid is None else {"kid": kid})}
        token = raw_token(header, ACCESS_TOKEN, key, algorithm)
        outcomes.append(await scheme.authenticate(bearer_request(), bearer_credentials(token)))
    forged = raw_token({"alg": "HS256", "kid": "r1"}, ACCESS_TOKEN, b"a" * 64, "HS256")
    refusal = await scheme.authenticate(bearer_request(), bearer_credentials(forged))

    assert all(isinstance(outcome, Accepted) for outcome in outcomes), outcomes
    assert isinstance(refusal, Rejected)
    assert detour.urls == [f"{URL}/auth/v1/.well-known/jwks.json"]


def test_without_a_secret_no_hmac_is_accepted() -> None:
    """Once every old token has expired, the secret is left out, and HS256 is refused."""
    assert supabase().algorithms == {"ES256", "RS256"}
    assert refused(supabase(), ACCESS_TOKEN, alg="HS256")[0] == "token.algorithm_refused"


@pytest.mark.parametrize("argument", ["roles", "scopes"])
@pytest.mark.parametrize("several", [False, True])
def test_roles_from_what_users_write_are_refused(argument: str, *, several: bool) -> None:
    """Everybody could make themselves an administrator."""
    source = claim("user_metadata", "roles")
    with pytest.raises(ConfigurationError, match=f"{argument}: users change user_metadata themselves"):
        supabase(**{argument: [claim("role"), source] if several else source})


@pytest.mark.parametrize(
    ("url", "changes", "argument", "fix"),
    [
        ("abcdefghijklmnopqrst", {}, "url", f'this is the ID of a project; write "{URL}"'),
        (f"{URL}/", {}, "url", f'leave out the slash at the end; write "{URL}"'),
        (f"{URL}/auth/v1", {}, "url", "without a path"),
        ("http://127.0.0.1:54321", {}, "url", "insecure_http=True"),
        (URL, {"anonymous": 1}, "anonymous", "neither True nor False"),
        (URL, {"keys": KEYS, "secret": Secret(HMAC_SECRET)}, "secret", "leave one of them out"),
        (URL, {"secret": "a secret that is no Secret"}, "keys", "Secret"),
    ],
)
def test_arguments_are_checked(url: str, changes: dict[str, Any], argument: str, fix: str) -> None:
    """The URL is that of the project, as its dashboard shows it."""
    with pytest.raises(ConfigurationError, match=fix) as caught:
        Issuer.supabase(url, **changes)

    assert caught.value.argument == argument


def test_a_project_on_this_machine_is_allowed_by_name() -> None:
    """The server that ``supabase start`` runs has no TLS."""
    issuer = Issuer.supabase("http://127.0.0.1:54321", insecure_http=True)

    assert issuer.issuer == "http://127.0.0.1:54321/auth/v1"
