"""The page about DPoP is true where it shows what a client gets."""

from __future__ import annotations

import pytest

from authguard import reasons
from authguard.reasons import Reason
from tests.schemes.dpop.site import Site
from tests.support.markdown import DOCS, code_blocks

PAGE = DOCS / "schemes" / "dpop.md"


@pytest.mark.block("schemes/dpop.md", "WWW-Authenticate: DPoP")
async def test_the_challenges_are_those_of_the_page() -> None:
    """A request without credentials gets them, without an error."""
    answer = await Site().send({})
    [shown] = code_blocks("text", PAGE)
    assert [f"WWW-Authenticate: {line}" for line in answer.lines(b"www-authenticate")] == shown.splitlines()


def test_the_table_has_each_error_of_a_proof() -> None:
    """And no other: a client can go by the table."""
    known = [value for value in vars(reasons).values() if isinstance(value, Reason)]
    errors = {reason.error for reason in known if reason.code.startswith(("proof.", "token.unbound"))}
    text = PAGE.read_text(encoding="utf-8")
    rows = [line.split("`")[1] for line in text.splitlines() if line.startswith("| `") and line.count("|") == 4]
    assert {row for row in rows if "_" in row} == errors
