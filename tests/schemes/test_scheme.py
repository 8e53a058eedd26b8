"""The base class of schemes, and how a guard checks its schemes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from authguard import AUTHORIZATION, AuthRequest, Bearer, Challenge, ConfigurationError, Credentials, Denied, Scheme
from authguard.model import Outcome
from authguard.schemes.scheme import check_schemes
from tests.support.schemes.bearer import bearer


class OwnScheme(Scheme):
    """A scheme of an app's own, as short as it can be."""

    carrier = AUTHORIZATION

    def __init__(self, name: str = "own") -> None:
        self.name = name

    async def authenticate(self, request: AuthRequest, credentials: Credentials) -> Outcome:
        raise NotImplementedError

    def challenges(self, request: AuthRequest, why: Denied | None) -> Sequence[Challenge]:
        return ()


def test_a_scheme_needs_no_services_no_body_and_no_login() -> None:
    """Every attribute that a scheme of an app's own does not set has a default."""
    own = OwnScheme()

    assert (own.services, own.reads_body, own.reports_login_time) == ((), False, False)
    assert OwnScheme.carrier.sent_by_browsers is False


def test_schemes_keep_their_order() -> None:
    """The order of the schemes is the order of their challenges."""
    first, second = OwnScheme("first"), bearer()

    assert check_schemes([first, second]) == (first, second)


@pytest.mark.parametrize(
    ("schemes", "problem"),
    [
        ((), "give at least one, such as Bearer(...)"),
        ((Bearer,), "is not a scheme; give Bearer(...) or a Scheme of your own"),
        (("bearer",), "'bearer' is not a scheme"),
        (([bearer()],), "[...] is a list and not a scheme; write Guard(first, second, rules=[...])"),
        ((bearer(), ["a rule"]), "[...] is a list and not a scheme; write rules=[...]"),
        ((None,), "None is not a scheme"),
        (
            (bearer(), bearer(realm="b")),
            'a name of its own, such as Bearer(..., name="staff")',
        ),
        ((OwnScheme("Own"),), "the name 'Own' is not an auth-scheme in lower case"),
        ((OwnScheme(""),), "the name '' is not an auth-scheme in lower case"),
        ((OwnScheme("my own"),), "the name 'my own' is not an auth-scheme in lower case"),
    ],
)
def test_invalid_schemes_raise(schemes: Any, problem: str) -> None:
    """No scheme, a class, a list, rules without ``rules=``, two schemes of one name, and an invalid name raise."""
    with pytest.raises(ConfigurationError) as caught:
        check_schemes(schemes)

    assert caught.value.argument == "schemes"
    assert problem in str(caught.value)
