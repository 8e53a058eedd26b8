"""Reasons: the one table of what each denial implies."""

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

# Public API of the library: a code that stands here is never renamed, and what it implies does not change.
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
    ("token.inactive", 401, "invalid_token"),
    ("key.unknown", 401, "invalid_token"),
    ("role.missing", 403, "insufficient_scope"),
    ("scope.missing", 403, "insufficient_scope"),
    ("scheme.insufficient", 403, "insufficient_scope"),
    ("check.refused", 403, "insufficient_scope"),
    ("requirement.unmet", 403, "insufficient_scope"),
    ("step_up.required", 401, "insufficient_user_authentication"),
    ("keys.unavailable", 503, None),
    ("keys.timeout", 503, None),
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
    """6750-7: what was presented and is no good is ``invalid_token``; who may not, ``insufficient_scope``."""
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
def test_a_403_of_an_apps_own_has_an_error_code_too(reason: Reason, error: str | None) -> None:
    """6750-7: after Bearer the challenge of a 403 says that the token was good and is not enough."""
    assert reason.challenge_error == error


def test_a_constant_is_named_after_its_code() -> None:
    """So that one finds the one by the other; and no two have one code."""
    assert {name: reason.code.upper().replace(".", "_") for name, reason in STOCK.items()} == {
        name: name for name in STOCK
    }


def test_no_other_module_writes_a_status() -> None:
    """A denial's status is decided in one table."""
    sources = Path(authguard.__file__).parent.rglob("*.py")
    trees = {path.name: ast.parse(path.read_text("utf-8")) for path in sources if path.name != "reasons.py"}
    written = [
        (name, node.value, node.lineno)
        for name, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and type(node.value) is int and node.value in {400, 401, 403, 413, 429, 503}
    ]

    assert written == []


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
def test_the_rest_goes_by_the_status(
    reason: Reason, challenged: Challenged, about_message: bool, retried: bool, outage: bool, public_code: str
) -> None:
    """9110-1, 9110-13: who is challenged, who is asked to come back, whose fault it is."""
    told = (reason.challenged, reason.about_message, reason.retried, reason.outage, reason.public_code)

    assert told == (challenged, about_message, retried, outage, public_code)


def test_the_client_learns_the_sentence_of_the_status_unless_the_reason_has_one() -> None:
    """The title is always the status' own phrase."""
    plain, own = Reason("x.y", 403), Reason("order.not_owner", 403, public="Not your order")

    assert (plain.detail, plain.title) == ("Not allowed", HTTPStatus.FORBIDDEN.phrase)
    assert (own.detail, own.title) == ("Not your order", "Forbidden")


def test_reasons_are_values() -> None:
    """A third party brings its own; equal ones are one."""
    assert Reason("x.y", 401) == Reason("x.y", 401) != Reason("x.y", 403)
    assert len({Reason("x.y", 401), Reason("x.y", 401)}) == 1


@pytest.mark.parametrize(
    "code", ["expired", "Token.expired", "token.", ".expired", "token expired", "a.b\n", "a.%s", ""]
)
def test_a_code_has_a_family_and_a_name_in_lower_case(code: str) -> None:
    """Nothing else can be grouped by, nor stand in a template of the log."""
    with pytest.raises(ValueError, match=r"^code: "):
        Reason(code, 401)


@pytest.mark.parametrize("status", [200, 302, 404, 500, "401", None])
def test_a_denial_has_one_of_few_statuses(status: Any) -> None:
    """A reason with another one is refused while it is made."""
    with pytest.raises(ValueError, match=r"^status: "):
        Reason("x.y", status)


@pytest.mark.rfc("6750-5")
@pytest.mark.parametrize("text", ["", 'a"b', "a\\b", "a\r\nx: y", "a\x7f", "ü"])
def test_a_text_that_no_challenge_can_carry_is_refused(text: str) -> None:
    """6750-5: error and error_description are printable ASCII without the quote and the backslash."""
    with pytest.raises(ValueError, match=r"^error: "):
        Reason("x.y", 401, text)
    with pytest.raises(ValueError, match=r"^public: "):
        Reason("x.y", 401, public=text)


def test_the_edges_of_an_error_text_are_taken() -> None:
    """6750-5: %x20-21, %x23-5B and %x5D-7E are all of it."""
    whole = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) not in '"\\')

    assert Reason("x.y", 401, whole, whole).detail == whole
