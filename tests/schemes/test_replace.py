"""Issuers that come and go while the app runs: all at once, and never for a request that has begun."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import anyio
import pytest

from authguard import ANY_ISSUER, PEM, Accepted, Bearer, ConfigurationError, Issuer, VerificationKey
from tests.support.clock import NOW
from tests.support.schemes.bearer import (
    accepted_principal,
    bearer,
    bearer_credentials,
    bearer_request,
    issuer,
    outcome,
    rejection,
)
from tests.support.tokens import AUDIENCE, ISSUER, mint, public_pem, rsa_key

OTHER = "https://other.example/"
KEY = VerificationKey("RS256", None, rsa_key().public_key())


def other() -> Issuer:
    """Another issuer, with a key of its own."""
    return issuer(PEM(public_pem(rsa_key(which=1))), name=OTHER)


def of_other(**changes: Any) -> str:
    """A token of the other issuer."""
    return mint(rsa_key(which=1), iss=OTHER, **changes)


class Slow:
    """A source that answers when it is told to."""

    def __init__(self) -> None:
        self.asked, self.told = anyio.Event(), anyio.Event()

    async def keys_for(self, *, kid: str | None, algorithm: str) -> Sequence[VerificationKey]:
        self.asked.set()
        await self.told.wait()
        return [KEY]


def test_a_new_issuer_is_taken_from_the_next_request_on() -> None:
    """And one that is left out no more."""
    scheme = bearer()
    assert rejection(scheme, of_other())[0] == "token.issuer_unknown"

    scheme.replace(issuer(), other())
    assert [accepted_principal(scheme, token).subject for token in (mint(), of_other())] == ["alice", "alice"]
    scheme.replace(other())

    assert accepted_principal(scheme, of_other()).subject == "alice"
    assert rejection(scheme, mint()) == ("token.issuer_unknown", {"issuer": ISSUER})


def test_an_issuer_of_the_same_name_takes_the_place_of_the_old_one() -> None:
    """With its own keys, and its own rules."""
    scheme = bearer()

    scheme.replace(issuer(PEM(public_pem(rsa_key(which=1))), audience="bills"))

    assert rejection(scheme, mint())[0] == "token.signature_invalid"
    assert accepted_principal(scheme, mint(rsa_key(which=1), aud="bills")).subject == "alice"


async def test_a_request_in_flight_goes_by_the_issuers_that_it_began_with() -> None:
    """It was let in to wait for a key, and the rules that it is judged by are those of that issuer."""
    source, outcomes = Slow(), []
    scheme = bearer(issuer(source))

    async def ask() -> None:
        outcomes.append(await scheme.authenticate(bearer_request(), bearer_credentials(mint())))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask)
        await source.asked.wait()
        scheme.replace(other())
        source.told.set()

    assert isinstance(outcomes[0], Accepted)
    assert rejection(scheme, mint())[0] == "token.issuer_unknown"


@pytest.mark.parametrize(
    "issuers",
    [[], [ISSUER], [[issuer()]], [issuer(), issuer()], [issuer(), issuer(name=ANY_ISSUER)]],
    ids=["none", "string", "list", "twice", "any"],
)
def test_what_the_constructor_refuses_changes_nothing(issuers: Any) -> None:
    """The error is the same, and the old issuers stay."""
    scheme = bearer()
    with pytest.raises(ConfigurationError) as built:
        Bearer(*issuers, realm="orders")

    with pytest.raises(ConfigurationError) as caught:
        scheme.replace(*issuers)

    assert str(caught.value) == str(built.value)
    assert accepted_principal(scheme, mint()).subject == "alice"


def test_what_is_known_of_a_clock_outlives_a_replacement() -> None:
    """For an issuer of the same name; of one that is gone nothing is told any more."""
    scheme = bearer(issuer(), other())
    outcome(scheme, mint(iat=NOW - 20))

    scheme.replace(issuer(audience=[AUDIENCE, "bills"]))

    clocks: Any = scheme.health()["clocks"]
    assert (set(clocks), clocks[ISSUER]["tokens"]) == ({ISSUER}, 1)
