"""The error tree."""

from __future__ import annotations

import re

import pytest

from authguard import errors
from authguard.errors import (
    AuthGuardError,
    BackendUnavailable,
    ConfigurationError,
    InvalidSignature,
    RequestBodyError,
)
from authguard.reasons import BODY_INCOMPLETE, BODY_TOO_LARGE, STORE_UNAVAILABLE, TOKEN_EXPIRED


def test_the_drawing_is_the_tree() -> None:
    """The docstring of the module names each error, and each is an AuthGuardError."""
    drawn = re.findall(r"^    (?:[├└]── )?(\w+) ", errors.__doc__ or "", re.MULTILINE)
    there = [
        name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, AuthGuardError)
    ]

    assert drawn == there


def test_bad_set_up_and_bad_signatures_are_value_errors_too() -> None:
    """Who catches ValueError catches them; an outage is no such thing."""
    kinds = (ConfigurationError, InvalidSignature, RequestBodyError, BackendUnavailable)

    assert [issubclass(kind, ValueError) for kind in kinds] == [True, True, False, False]


def test_a_configuration_error_names_the_argument() -> None:
    """In its text and for programs."""
    error = ConfigurationError("leeway", "too long")

    assert (str(error), error.argument) == ("leeway: too long", "leeway")


def test_a_body_error_has_its_reason() -> None:
    """Without one, the body never came whole."""
    errors = [RequestBodyError(), RequestBodyError(BODY_TOO_LARGE)]

    assert [(str(error), error.reason) for error in errors] == [
        ("body.incomplete", BODY_INCOMPLETE),
        ("body.too_large", BODY_TOO_LARGE),
    ]


def test_an_outage_has_a_reason_a_detail_and_a_time() -> None:
    """Each may be left out, and then the asker names its own reason; the text is the detail, or the code."""
    plain = BackendUnavailable()
    told = BackendUnavailable("no route to host", reason=STORE_UNAVAILABLE, retry_after=30)

    assert (str(plain), plain.reason, plain.detail, plain.retry_after) == (
        "unavailable",
        None,
        "",
        None,
    )
    assert (str(told), told.reason, told.detail, told.retry_after) == (
        "no route to host",
        STORE_UNAVAILABLE,
        "no route to host",
        30,
    )


def test_an_outage_is_never_a_clients_fault() -> None:
    """7662-4: a reason that is not of an outage is refused."""
    with pytest.raises(ValueError, match="503"):
        BackendUnavailable(reason=TOKEN_EXPIRED)
