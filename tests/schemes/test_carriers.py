"""The carrier of the ``Authorization`` field: what counts as credentials."""

from __future__ import annotations

import pytest

from authguard import AUTHORIZATION, Credentials, Rejected
from authguard.wire.authorization import MAX_FIELD
from authguard.wire.grammar import WireError
from tests.support.schemes.bearer import bearer_request


def test_no_field_is_no_credentials() -> None:
    """Without an Authorization field there are no credentials, whatever the other fields say."""
    assert (
        AUTHORIZATION.find(bearer_request((b"proxy-authorization", b"Bearer a"), (b"x-authorization", b"Bearer a")))
        == ()
    )


def test_one_field_line_is_read() -> None:
    """The scheme is returned in lower case, and the rest as it was sent."""
    assert AUTHORIZATION.find(bearer_request((b"a", b"b"), (b"authorization", b"BEARER  Ab"))) == (
        Credentials("bearer", b"Ab"),
    )


@pytest.mark.rfc("9110-9")
@pytest.mark.parametrize("second", [b"Bearer a", b"Basic b", b""])
def test_two_field_lines_are_ambiguous(second: bytes) -> None:
    """R059: two Authorization lines are rejected even if they are equal, because the field is a singleton (RFC 9110
    section 5.3). The record says how many there are, and whether the line was doubled on the way."""
    credentials = AUTHORIZATION.find(bearer_request((b"authorization", b"Bearer a"), (b"authorization", second)))

    assert isinstance(credentials, Rejected)
    all_equal = second == b"Bearer a"
    problem = "the same line several times: doubled on the way" if all_equal else "different lines"
    facts = {"field": "authorization", "field_lines": 2, "all_equal": all_equal, "problem": problem}
    assert (credentials.reason.code, credentials.facts) == ("credentials.ambiguous", facts)


@pytest.mark.rfc("limits-1")
def test_a_field_above_16_kib_is_rejected() -> None:
    """A field of 16 KiB is read. One byte more is rejected, and the facts hold its length and nothing of it."""
    full = b"Bearer ".ljust(MAX_FIELD, b"a")

    assert AUTHORIZATION.find(bearer_request((b"authorization", full))) == (Credentials("bearer", full[7:]),)
    credentials = AUTHORIZATION.find(bearer_request((b"authorization", full + b"a")))

    assert isinstance(credentials, Rejected)
    assert credentials.reason.code == "header.too_long"
    assert credentials.facts == {"field": "authorization", "octets": MAX_FIELD + 1, "limit": MAX_FIELD}


def test_a_field_that_is_no_credentials_is_malformed() -> None:
    """A field that does not match the grammar is malformed, and the error names the scheme that it was meant for."""
    with pytest.raises(WireError) as caught:
        AUTHORIZATION.find(bearer_request((b"authorization", b"Bearer\ta")))

    assert (caught.value.problem, caught.value.scheme) == ("no space after the auth-scheme", "bearer")


def test_the_field_is_no_ambient_carrier() -> None:
    """Browsers send the Authorization field only if a script or the user set it."""
    assert AUTHORIZATION.sent_by_browsers is False
