from __future__ import annotations

import pytest

from authguard import AUTHORIZATION, Credentials, Rejected
from authguard.wire.authorization import MAX_FIELD
from authguard.wire.grammar import WireError
from tests.support.schemes.bearer import bearer_request


def test_no_field_is_no_credentials() -> None:
    """Whatever other fields there are."""
    assert (
        AUTHORIZATION.find(bearer_request((b"proxy-authorization", b"Bearer a"), (b"x-authorization", b"Bearer a")))
        == ()
    )


def test_one_field_line_is_read() -> None:
    """The scheme in lower case, the rest as it was sent."""
    assert AUTHORIZATION.find(bearer_request((b"a", b"b"), (b"authorization", b"BEARER  Ab"))) == (
        Credentials("bearer", b"Ab"),
    )


@pytest.mark.rfc("9110-9")
@pytest.mark.parametrize("second", [b"Bearer a", b"Basic b", b""])
def test_two_field_lines_are_ambiguous(second: bytes) -> None:
    """RFC 9110 section 5.3: the field is a singleton, so two lines are refused, were they the same."""
    found = AUTHORIZATION.find(bearer_request((b"authorization", b"Bearer a"), (b"authorization", second)))

    assert isinstance(found, Rejected)
    assert (found.reason.code, found.facts) == ("credentials.ambiguous", {"field_lines": 2})


@pytest.mark.rfc("limits-1")
def test_a_field_of_16_kib_is_read_and_one_octet_more_is_not() -> None:
    """Its length is told, and nothing of it."""
    full = b"Bearer ".ljust(MAX_FIELD, b"a")

    assert AUTHORIZATION.find(bearer_request((b"authorization", full))) == (Credentials("bearer", full[7:]),)
    found = AUTHORIZATION.find(bearer_request((b"authorization", full + b"a")))

    assert isinstance(found, Rejected)
    assert found.reason.code == "header.too_long"
    assert found.facts == {"octets": MAX_FIELD + 1, "limit": MAX_FIELD}


def test_octets_that_are_no_credentials_are_malformed() -> None:
    """The guard tells the scheme that they were addressed to."""
    with pytest.raises(WireError) as caught:
        AUTHORIZATION.find(bearer_request((b"authorization", b"Bearer\ta")))

    assert (caught.value.problem, caught.value.scheme) == ("no space after the auth-scheme", "bearer")


def test_the_field_is_no_ambient_carrier() -> None:
    """Browsers send it only where a script or a person put it there."""
    assert AUTHORIZATION.sent_by_browsers is False
