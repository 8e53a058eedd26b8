"""The exceptions of authguard."""

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


def test_the_module_docstring_lists_every_exception() -> None:
    """The tree in the docstring of ``errors`` names every subclass of ``AuthGuardError``, in order."""
    drawn = re.findall(r"^ {4,8}(?:[├└]── )?(\w+) ", errors.__doc__ or "", re.MULTILINE)
    defined = [
        name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, AuthGuardError)
    ]

    assert drawn == defined


def test_configuration_and_signature_errors_are_value_errors_too() -> None:
    """``except ValueError`` catches both, but neither body errors nor outages."""
    classes = (ConfigurationError, InvalidSignature, RequestBodyError, BackendUnavailable)

    assert [issubclass(cls, ValueError) for cls in classes] == [True, True, False, False]


def test_a_configuration_error_names_the_argument() -> None:
    """The argument is in the text of the error and in its attribute ``argument``."""
    error = ConfigurationError("leeway", "too long")

    assert (str(error), error.argument) == ("leeway: too long", "leeway")


def test_a_body_error_has_its_reason() -> None:
    """The default reason is an incomplete body."""
    errors = [RequestBodyError(), RequestBodyError(BODY_TOO_LARGE)]

    assert [(str(error), error.reason) for error in errors] == [
        ("body.incomplete", BODY_INCOMPLETE),
        ("body.too_large", BODY_TOO_LARGE),
    ]


def test_an_outage_has_a_reason_a_detail_and_a_retry_time() -> None:
    """All three are optional. The text of the error is the detail, or the code of the reason."""
    plain = BackendUnavailable()
    full = BackendUnavailable("no route to host", reason=STORE_UNAVAILABLE, retry_after=30)

    assert (str(plain), plain.reason, plain.detail, plain.retry_after) == (
        "unavailable",
        None,
        "",
        None,
    )
    assert (str(full), full.reason, full.detail, full.retry_after) == (
        "no route to host",
        STORE_UNAVAILABLE,
        "no route to host",
        30,
    )


def test_the_reason_of_an_outage_must_be_a_503() -> None:
    """7662-4: an outage is never reported as an error of the client; other reasons raise ``ValueError``."""
    with pytest.raises(ValueError, match="503"):
        BackendUnavailable(reason=TOKEN_EXPIRED)
