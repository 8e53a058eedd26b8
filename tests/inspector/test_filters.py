"""Which decisions a page asks for."""

from __future__ import annotations

import pytest

from authguard.inspector.filters import MAX_TEXT, DecisionFilter
from tests.records.test_patterns import denied

RECORD = denied(subject="Alice", path="/orders/17", client="192.0.2.7", rule="/orders/**")


@pytest.mark.parametrize(
    ("query", "matches"),
    [
        ({}, True),
        (
            {"reason": "token.expired", "rule": "/orders/**", "path": "get /ORDERS", "subject": "lic", "client": "2.7"},
            True,
        ),
        ({"reason": "token.exp"}, False),
        ({"rule": "/orders"}, False),
        ({"path": "/users"}, False),
        ({"subject": "bob"}, False),
        ({"client": "198.51"}, False),
        ({"colour": "red"}, True),
    ],
)
def test_a_decision_has_what_the_query_says(query: dict[str, str], matches: bool) -> None:
    """Reason and rule are whole, the others may be a part, and what is not known is ignored."""
    assert DecisionFilter.from_query(query).matches(RECORD) is matches


def test_a_record_without_name_and_client_can_be_looked_for() -> None:
    """Nobody has no name that fits."""
    nobody = denied(subject=None, client=None)

    assert [DecisionFilter.from_query({name: "a"}).matches(nobody) for name in ("subject", "client")] == [False, False]


def test_grants_are_asked_for_by_name() -> None:
    """Without that, only refusals are meant."""
    assert [DecisionFilter.from_query(query).grants for query in ({}, {"grants": "1"})] == [False, True]


def test_a_long_text_is_cut_off() -> None:
    """No record holds a longer one."""
    assert len(DecisionFilter.from_query({"path": "a" * 5000}).path) == MAX_TEXT
