"""``reasons.py``: the one table that decides status, error code and challenges of every denial."""

from __future__ import annotations

import ast
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest

import authguard
from authguard import reasons
from authguard.reasons import Challenged, Reason

STOCK = {name: value for name, value in vars(reasons).items() if isinstance(value, Reason)}

# Public API: a code in this list is never renamed, and its status and error code never change.
CODES = [
    ("credentials.missing", 401, None),
    ("credentials.malformed", 401, "invalid_token"),
    ("credentials.ambiguous", 400, "invalid_request"),
    ("credentials.expired", 401, "invalid_token"),
    ("header.too_long", 400, "invalid_request"),
    ("scheme.unsupported", 401, None),
    ("body.too_large", 413, None),
    ("body.incomplete", 400, None),
    ("path.ambiguous", 400, None),
    ("method.unlisted", 403, "insufficient_scope"),
    ("token.malformed", 401, "invalid_token"),
    ("token.too_long", 401, "invalid_token"),
    ("token.algorithm_refused", 401, "invalid_token"),
    ("token.critical_unknown", 401, "invalid_token"),
    ("token.type_refused", 401, "invalid_token"),
    ("token.signature_invalid", 401, "invalid_token"),
    ("token.issuer_unknown", 401, "invalid_token"),
    ("token.audience_mismatch", 401, "invalid_token"),
    ("token.claim_missing", 401, "invalid_token"),
    ("token.claim_invalid", 401, "invalid_token"),
    ("token.expired", 401, "invalid_token"),
    ("token.not_yet_valid", 401, "invalid_token"),
    ("token.issued_in_future", 401, "invalid_token"),
    ("token.bound", 401, "invalid_token"),
    ("token.unbound", 401, "invalid_token"),
    ("token.key_mismatch", 401, "invalid_token"),
    ("certificate.missing", 401, "invalid_token"),
    ("certificate.mismatch", 401, "invalid_token"),
    ("certificate.invalid", 401, "invalid_token"),
    ("certificate.sender_refused", 401, "invalid_token"),
    ("token.check_refused", 401, "invalid_token"),
    ("token.inactive", 401, "invalid_token"),
    ("token.revoked", 401, "invalid_token"),
    ("key.unknown", 401, "invalid_token"),
    ("proof.missing", 401, "invalid_dpop_proof"),
    ("proof.ambiguous", 401, "invalid_dpop_proof"),
    ("proof.malformed", 401, "invalid_dpop_proof"),
    ("proof.type_refused", 401, "invalid_dpop_proof"),
    ("proof.algorithm_refused", 401, "invalid_dpop_proof"),
    ("proof.key_refused", 401, "invalid_dpop_proof"),
    ("proof.signature_invalid", 401, "invalid_dpop_proof"),
    ("proof.method_mismatch", 401, "invalid_dpop_proof"),
    ("proof.uri_mismatch", 401, "invalid_dpop_proof"),
    ("proof.expired", 401, "invalid_dpop_proof"),
    ("proof.not_yet_valid", 401, "invalid_dpop_proof"),
    ("proof.token_mismatch", 401, "invalid_dpop_proof"),
    ("proof.replayed", 401, "invalid_dpop_proof"),
    ("proof.nonce_missing", 401, "use_dpop_nonce"),
    ("proof.nonce_stale", 401, "use_dpop_nonce"),
    ("proof.nonce_unknown", 401, "use_dpop_nonce"),
    ("proof.forgotten", 401, "use_dpop_nonce"),
    ("api_key.malformed", 401, "invalid_token"),
    ("api_key.unknown", 401, "invalid_token"),
    ("api_key.expired", 401, "invalid_token"),
    ("api_key.revoked", 401, "invalid_token"),
    ("api_key.network_refused", 401, "invalid_token"),
    ("api_key.wrong_environment", 401, "invalid_token"),
    ("role.missing", 403, "insufficient_scope"),
    ("scope.missing", 403, "insufficient_scope"),
    ("scheme.insufficient", 403, "insufficient_scope"),
    ("check.refused", 403, "insufficient_scope"),
    ("check.failed", 403, "insufficient_scope"),
    ("requirement.unmet", 403, "insufficient_scope"),
    ("step_up.required", 401, "insufficient_user_authentication"),
    ("keys.unavailable", 503, None),
    ("keys.timeout", 503, None),
    ("keys.busy", 503, None),
    ("introspection.unavailable", 503, None),
    ("introspection.timeout", 503, None),
    ("introspection.busy", 503, None),
    ("store.unavailable", 503, None),
    ("store.timeout", 503, None),
    ("backend.failed", 503, None),
]


@pytest.mark.rfc("6750-7")
@pytest.mark.parametrize(("code", "status", "error"), CODES)
def test_a_code_keeps_its_meaning(code: str, status: int, error: str | None) -> None:
    """6750-7: an unusable token is ``invalid_token``; a missing permission is ``insufficient_scope``."""
    reason = {reason.code: reason for reason in STOCK.values()}[code]

    assert (reason.status, reason.error) == (status, error)


@pytest.mark.parametrize(
    ("reason", "error"),
    [
        (Reason("order.not_owner", 403), "insufficient_scope"),
        (Reason("order.not_owner", 403, "order_lost"), "order_lost"),
        (Reason("order.closed", 401), None),
        (Reason("order.often", 429), None),
    ],
)
def test_a_custom_403_has_an_error_code_too(reason: Reason, error: str | None) -> None:
    """6750-7: the Bearer challenge of a 403 tells the client that its token is valid but not sufficient."""
    assert reason.challenge_error == error


def test_a_constant_is_named_after_its_code() -> None:
    """The name of a constant is its code in capitals, so that it can be found by the code, and no two share a code."""
    assert {name: reason.code.upper().replace(".", "_") for name, reason in STOCK.items()} == {
        name: name for name in STOCK
    }


def test_no_other_module_contains_a_status() -> None:
    """The status of a denial is decided in ``reasons.py`` and nowhere else."""
    sources = Path(authguard.__file__).parent.rglob("*.py")
    trees = {path.name: ast.parse(path.read_text("utf-8")) for path in sources if path.name != "reasons.py"}
    numbers = [
        (name, node.value, node.lineno)
        for name, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and type(node.value) is int and node.value in {400, 401, 403, 413, 429, 503}
    ]

    assert numbers == []


IMPLIED: list[tuple[Reason, Challenged, bool, bool, bool, str]] = [
    (Reason("x.y", 400), "none", True, False, False, "ambiguous_request"),
    (Reason("x.y", 400, "invalid_request"), "all", True, False, False, "ambiguous_request"),
    (Reason("x.y", 401), "all", False, False, False, "unauthenticated"),
    (Reason("x.y", 403), "tried", False, False, False, "forbidden"),
    (Reason("x.y", 413), "none", False, False, False, "body_too_large"),
    (Reason("x.y", 429), "none", False, True, False, "too_many_attempts"),
    (Reason("x.y", 503), "none", False, True, True, "unavailable"),
]


@pytest.mark.parametrize(("reason", "challenged", "about_message", "retried", "outage", "public_code"), IMPLIED)
def test_the_other_properties_depend_on_the_status(
    reason: Reason, challenged: Challenged, about_message: bool, retried: bool, outage: bool, public_code: str
) -> None:
    """9110-1, 9110-13: which challenges are sent, whether ``Retry-After`` is, and whether it is an outage."""
    properties = (reason.challenged, reason.about_message, reason.retried, reason.outage, reason.public_code)

    assert properties == (challenged, about_message, retried, outage, public_code)


def test_the_client_gets_the_sentence_of_the_status_unless_the_reason_has_one() -> None:
    """The title is always the standard phrase of the status."""
    plain, custom = Reason("x.y", 403), Reason("order.not_owner", 403, public="Not your order")

    assert (plain.detail, plain.title) == ("Not allowed", HTTPStatus.FORBIDDEN.phrase)
    assert (custom.detail, custom.title) == ("Not your order", "Forbidden")


def test_reasons_are_values() -> None:
    """Reasons are compared and hashed by their fields, so two equal reasons are interchangeable."""
    assert Reason("x.y", 401) == Reason("x.y", 401) != Reason("x.y", 403)
    assert len({Reason("x.y", 401), Reason("x.y", 401)}) == 1


@pytest.mark.parametrize(
    "code", ["expired", "Token.expired", "token.", ".expired", "token expired", "a.b\n", "a.%s", ""]
)
def test_a_code_has_a_family_and_a_name_in_lower_case(code: str) -> None:
    """Logs can then be grouped by family, and a code is safe in a logging template."""
    with pytest.raises(ValueError, match=r"^code: "):
        Reason(code, 401)


@pytest.mark.parametrize("status", [200, 302, 404, 500, "401", None])
def test_a_reason_with_another_status_is_refused(status: Any) -> None:
    """A reason with another status raises ``ValueError``."""
    with pytest.raises(ValueError, match=r"^status: "):
        Reason("x.y", status)


@pytest.mark.rfc("6750-5")
@pytest.mark.parametrize("text", ["", 'a"b', "a\\b", "a\r\nx: y", "a\x7f", "ü"])
def test_a_text_that_no_challenge_can_carry_is_refused(text: str) -> None:
    """6750-5: error and error_description are printable ASCII without quotes and backslashes."""
    with pytest.raises(ValueError, match=r"^error: "):
        Reason("x.y", 401, text)
    with pytest.raises(ValueError, match=r"^public: "):
        Reason("x.y", 401, public=text)


def test_an_error_text_may_contain_every_allowed_character() -> None:
    """6750-5: the allowed characters are %x20-21, %x23-5B and %x5D-7E."""
    text = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) not in '"\\')

    assert Reason("x.y", 401, text, text).detail == text
