"""Several key sources of one issuer, each for the algorithms that it is given for."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Sequence
from typing import Any

import pytest

from authguard import (
    PEM,
    Accepted,
    BackendUnavailable,
    ConfigurationError,
    JWKSet,
    Rejected,
    RemoteJWKS,
    Secret,
    VerificationKey,
)
from authguard.keys import Requester
from authguard.keys.by_algorithm import KeysByAlgorithm
from authguard.model import Outcome
from tests.support.schemes.bearer import (
    CountingKeySource,
    accepted_principal,
    bearer,
    bearer_credentials,
    bearer_request,
    issuer,
    rejection,
)
from tests.support.tokens import (
    HMAC_SECRET,
    ec_key,
    key_set,
    mint,
    public_jwk,
    public_pem,
    rsa_key,
    unsigned_token,
    with_signature,
)

BOTH: dict[str, Any] = {"algorithms": ["HS256", "ES256"]}
OLD, NEW = {"kid": "old"}, {"kid": "new"}


def secret_token() -> str:
    """A token of the secret."""
    return mint(HMAC_SECRET, "HS256", OLD)


def key_token(key: Any = None) -> str:
    """A token of a key pair."""
    return mint(key or ec_key(), "ES256", NEW)


async def outcome_of(scheme: Any, token: str) -> Outcome:
    """What the scheme decides about a token."""
    result: Outcome = await scheme.authenticate(bearer_request(), bearer_credentials(token))
    return result


def test_tokens_of_a_secret_and_of_a_key_pair_are_alive_together() -> None:
    """R012: while a provider rotates from HS256 to ES256, tokens of both are accepted under one ``iss``."""
    scheme = bearer(issuer({"HS256": Secret(HMAC_SECRET), "ES256": PEM(public_pem(ec_key()))}, **BOTH))

    for token in (secret_token(), key_token()) * 2:
        assert accepted_principal(scheme, token).subject == "alice"
    assert rejection(scheme, mint())[0] == "token.algorithm_refused"


@pytest.mark.parametrize("form", [public_pem(ec_key()), json.dumps(public_jwk(ec_key())).encode()], ids=["PEM", "JWK"])
def test_a_public_key_is_never_a_secret(form: bytes) -> None:
    """R012: a token that is signed by HMAC with the text of the public key is refused."""
    scheme = bearer(issuer({"HS256": Secret(HMAC_SECRET), "ES256": PEM(public_pem(ec_key()))}, **BOTH))
    unsigned = unsigned_token({"alg": "HS256"})
    forged = with_signature(unsigned, hmac.digest(form, unsigned, hashlib.sha256))

    assert rejection(scheme, forged)[0] == "token.signature_invalid"


async def test_a_secret_beside_a_key_server() -> None:
    """R012: a key server beside a secret is asked about its own algorithms alone, and is a service of the scheme."""
    fetched: list[str] = []

    async def fetch(url: str) -> bytes:
        fetched.append(url)
        return key_set(new=ec_key())

    keys = RemoteJWKS("https://login.example/jwks.json", fetch=fetch)
    scheme = bearer(issuer({"HS256": Secret(HMAC_SECRET), "ES256": keys}, **BOTH))

    assert isinstance(await outcome_of(scheme, secret_token()), Accepted)
    assert fetched == []
    assert isinstance(await outcome_of(scheme, key_token()), Accepted)
    assert isinstance(await outcome_of(scheme, key_token()), Accepted)
    assert len(fetched) == 1
    assert list(scheme.services) == [keys]


async def test_a_key_that_was_replaced_is_fetched_again() -> None:
    """R012: the keys of the server may change under their ``kid``; a wrong signature of HMAC fetches nothing."""
    answers = [key_set(new=ec_key()), key_set(new=ec_key(which=1))]
    fetched: list[str] = []

    async def fetch(url: str) -> bytes:
        fetched.append(url)
        return answers[min(len(fetched), 2) - 1]

    keys = RemoteJWKS("https://login.example/jwks.json", fetch=fetch)
    scheme = bearer(issuer({"HS256": Secret(HMAC_SECRET), "ES256": keys}, **BOTH))

    assert isinstance(await outcome_of(scheme, key_token()), Accepted)
    wrong = await outcome_of(scheme, mint(HMAC_SECRET[::-1], "HS256", OLD))
    assert isinstance(wrong, Rejected)
    assert (wrong.reason.code, len(fetched)) == ("token.signature_invalid", 1)
    assert isinstance(await outcome_of(scheme, key_token(ec_key(which=1))), Accepted)
    assert len(fetched) == 2


async def test_an_outage_of_the_key_server_spares_the_secret() -> None:
    """R012: while the key server is down, tokens of the secret are accepted."""

    async def fetch(url: str) -> bytes:
        raise OSError

    keys = RemoteJWKS("https://login.example/jwks.json", fetch=fetch)
    scheme = bearer(issuer({"HS256": Secret(HMAC_SECRET), "ES256": keys}, **BOTH))

    with pytest.raises(BackendUnavailable):
        await outcome_of(scheme, key_token())
    assert isinstance(await outcome_of(scheme, secret_token()), Accepted)


async def test_a_source_of_the_app_stays_what_it_is() -> None:
    """A source without the optional methods is awaited, and one that takes a ``requester`` gets it."""

    class Asking:
        def __init__(self) -> None:
            self.requesters: list[Requester | None] = []

        async def keys_for(
            self, *, kid: str | None, algorithm: str, requester: Requester | None = None
        ) -> Sequence[VerificationKey]:
            self.requesters.append(requester)
            return [VerificationKey("ES256", None, ec_key().public_key())]

    counting, asking = CountingKeySource(VerificationKey("RS256", None, rsa_key().public_key())), Asking()
    source = KeysByAlgorithm({frozenset({"RS256"}): counting, frozenset({"ES256"}): asking})
    requester = Requester("192.0.2.1")

    assert source.held(kid=None, algorithm="RS256") is None
    assert source.held(kid=None, algorithm="HS256") is None
    assert await source.keys_for(kid="a", algorithm="RS256", requester=requester) == list(counting.keys)
    await source.keys_for(kid=None, algorithm="ES256", requester=requester)
    assert (counting.calls, asking.requesters) == ([("a", "RS256")], [requester])
    assert await source.keys_for(kid=None, algorithm="HS256") == ()
    assert await source.refetch((), kid=None, algorithm="ES256") is None
    assert (source.is_refetchable, source.algorithms_of(None)) == (False, [])


def test_a_source_needs_no_hash() -> None:
    """Sources are told apart by identity: a class that compares by value may have no hash."""

    class Unhashable(CountingKeySource):
        __hash__ = None  # type: ignore[assignment]

        async def refetch(self, tried: Sequence[VerificationKey], **wanted: Any) -> None:
            return None

        def algorithms_of(self, kid: str | None) -> Sequence[str]:
            return ("RS256", "ES256")

    source = Unhashable()

    assert KeysByAlgorithm({frozenset({"RS256", "ES256"}): source}).algorithms_of(None) == ["RS256", "ES256"]


def test_what_waits_shows_no_token() -> None:
    """The function that goes on with a token has a repr without the token."""
    token = mint()
    goes_on = bearer(issuer(CountingKeySource())).authenticate_now(bearer_request(), bearer_credentials(token))

    assert callable(goes_on)
    assert token[-20:] not in repr(goes_on)


async def test_the_record_names_the_algorithms_that_a_key_is_for() -> None:
    """A token whose ``kid`` is that of a key for another algorithm says so, without naming those of other sources."""

    async def fetch(url: str) -> bytes:
        return key_set(new=ec_key(), old=rsa_key())

    keys = RemoteJWKS("https://login.example/jwks.json", fetch=fetch)
    source: Any = {("RS256", "ES256"): keys, "HS256": Secret(HMAC_SECRET)}
    scheme = bearer(issuer(source, algorithms=["RS256", "ES256", "HS256"]))

    result = await outcome_of(scheme, mint(rsa_key(), "RS256", NEW))
    assert isinstance(result, Rejected)
    assert (result.reason.code, result.facts["held"]) == ("key.unknown", ["ES256"])


def test_one_source_may_stand_for_two_groups() -> None:
    """A source that is listed twice is run once."""
    keys = RemoteJWKS("https://login.example/jwks.json", fetch=lambda url: None)  # type: ignore[arg-type, return-value]
    built = issuer({"RS256": keys, "ES256": keys}, algorithms=["ES256", "RS256"])

    assert list(bearer(built).services) == [keys]
    assert repr(built.keys) == "KeysByAlgorithm(ES256, RS256)"


@pytest.mark.parametrize(
    ("keys", "algorithms", "argument", "problem"),
    [
        ({}, ["HS256"], "keys", "its algorithms are none; name each of algorithms= once"),
        ({"HS256": Secret(HMAC_SECRET)}, ["HS256", "ES256"], "keys", "its algorithms are HS256; name each"),
        ({"HS256": Secret(HMAC_SECRET)}, "HS256", "keys", "name each of algorithms= once"),
        (
            {"ES256": PEM(public_pem(ec_key())), ("ES256", "RS256"): PEM(public_pem(ec_key()))},
            ["ES256", "RS256"],
            "keys",
            "its algorithms are ES256, ES256, RS256",
        ),
        ({("HS256", "ES256"): Secret(HMAC_SECRET)}, ["HS256", "ES256"], "algorithms", 'write keys={"HS256": Secret'),
        ({"HS999": Secret(HMAC_SECRET)}, ["HS999"], "algorithms", "is not one of"),
        ({"ES256": Secret(HMAC_SECRET)}, ["ES256"], "keys", "this is a secret"),
        ({"HS256": "secret"}, ["HS256"], "keys", "give PEM"),
        ({"HS256": RemoteJWKS("https://a.example/")}, ["HS256"], "algorithms", "publishes no HMAC secret"),
        ({"keys": []}, ["ES256"], "keys", "write keys=JWKSet(...)"),
        (public_jwk(ec_key()), ["ES256"], "keys", "write keys=JWK(...)"),
    ],
)
def test_a_mistake_raises(keys: Any, algorithms: Any, argument: str, problem: str) -> None:
    """Each algorithm has one source, and the two arguments name the same algorithms."""
    with pytest.raises(ConfigurationError) as caught:
        issuer(keys, algorithms=algorithms)

    assert caught.value.argument == argument
    assert problem in str(caught.value)


def test_the_mix_without_a_mapping_names_the_fix() -> None:
    """R012: the error about a mix says how to write it."""
    for keys in (JWKSet({"keys": [public_jwk(ec_key())]}), [Secret(HMAC_SECRET), PEM(public_pem(ec_key()))]):
        with pytest.raises(ConfigurationError, match=r'keys=\{"HS256": Secret\(...\), "ES256": RemoteJWKS\(url\)\}'):
            issuer(keys, **BOTH)
