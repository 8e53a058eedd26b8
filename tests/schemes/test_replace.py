"""Issuers that are replaced while the app runs: all at once, and not for requests that have begun."""

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


def other_issuer() -> Issuer:
    """Another issuer, with a key of its own."""
    return issuer(PEM(public_pem(rsa_key(which=1))), name=OTHER)


def other_token(**changes: Any) -> str:
    """A token of the other issuer."""
    return mint(rsa_key(which=1), iss=OTHER, **changes)


class SlowSource:
    """A source that answers once ``released`` is set."""

    def __init__(self) -> None:
        self.called, self.released = anyio.Event(), anyio.Event()

    async def keys_for(self, *, kid: str | None, algorithm: str) -> Sequence[VerificationKey]:
        self.called.set()
        await self.released.wait()
        return [KEY]


def test_a_new_issuer_is_used_from_the_next_request_on() -> None:
    """From the next request on a new issuer is accepted, and one that is no longer listed is not."""
    scheme = bearer()
    assert rejection(scheme, other_token())[0] == "token.issuer_unknown"

    scheme.replace(issuer(), other_issuer())
    assert [accepted_principal(scheme, token).subject for token in (mint(), other_token())] == ["alice", "alice"]
    scheme.replace(other_issuer())

    assert accepted_principal(scheme, other_token()).subject == "alice"
    assert rejection(scheme, mint()) == ("token.issuer_unknown", {"issuer": ISSUER})


def test_an_issuer_of_the_same_name_takes_the_place_of_the_old_one() -> None:
    """A new issuer with the name of an old one replaces its keys and its rules."""
    scheme = bearer()

    scheme.replace(issuer(PEM(public_pem(rsa_key(which=1))), audience="bills"))

    assert rejection(scheme, mint())[0] == "token.signature_invalid"
    assert accepted_principal(scheme, mint(rsa_key(which=1), aud="bills")).subject == "alice"


async def test_a_request_in_progress_keeps_the_issuers_it_began_with() -> None:
    """A request that waits for a key is decided by the rules of the issuer that it began with."""
    source, outcomes = SlowSource(), []
    scheme = bearer(issuer(source))

    async def ask() -> None:
        outcomes.append(await scheme.authenticate(bearer_request(), bearer_credentials(mint())))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask)
        await source.called.wait()
        scheme.replace(other_issuer())
        source.released.set()

    assert isinstance(outcomes[0], Accepted)
    assert rejection(scheme, mint())[0] == "token.issuer_unknown"


@pytest.mark.parametrize(
    "issuers",
    [[], [ISSUER], [[issuer()]], [issuer(), issuer()], [issuer(), issuer(name=ANY_ISSUER)]],
    ids=["none", "string", "list", "twice", "any"],
)
def test_invalid_issuers_change_nothing(issuers: Any) -> None:
    """Invalid issuers raise the error of the constructor, and the old issuers stay."""
    scheme = bearer()
    with pytest.raises(ConfigurationError) as built:
        Bearer(*issuers, realm="orders")

    with pytest.raises(ConfigurationError) as caught:
        scheme.replace(*issuers)

    assert str(caught.value) == str(built.value)
    assert accepted_principal(scheme, mint()).subject == "alice"


def test_clock_figures_survive_a_replacement() -> None:
    """The clock figures of an issuer are kept if its name stays, and are dropped with the issuer."""
    scheme = bearer(issuer(), other_issuer())
    outcome(scheme, mint(iat=NOW - 20))

    scheme.replace(issuer(audience=[AUDIENCE, "bills"]))

    clocks: Any = scheme.health()["clocks"]
    assert (set(clocks), clocks[ISSUER]["tokens"]) == ({ISSUER}, 1)
