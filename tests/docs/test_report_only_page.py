"""The page about report-only is true: its app passes what it records, and its records are those of the page."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest

from authguard import Record
from tests.support.asgi import header_list, http_scope, run_app
from tests.support.markdown import DOCS, code_block, code_blocks
from tests.support.tokens import mint

PAGE = DOCS / "guide" / "report-only.md"


def _field(app: ModuleType, **changes: Any) -> str:
    now = app.guard.moment().now
    claims = {"iss": "https://login.example/", "aud": "shop", "sub": "alice", "iat": now - 60, "exp": now + 600}
    return f"Bearer {mint(app.SECRET.encode(), 'HS256', **{**claims, **changes})}"


@pytest.mark.block("guide/report-only.md", "would_deny credentials.missing")
async def test_the_records_are_those_of_the_page() -> None:
    """Two requests pass that would be denied, and are recorded as the page says; a third has no principal to give."""
    app = ModuleType("trial")
    exec(compile(code_block("guide/report-only.md", "# trial.py"), PAGE.name, "exec", dont_inherit=True), vars(app))
    records: list[Record] = []
    app.guard.add_hook(records.append)

    anonymous = await run_app(app.app, http_scope("/reports/july"))
    customer = await run_app(app.app, http_scope("/reports/july", headers=header_list(_field(app, roles=["customer"]))))
    taken = await run_app(app.app, http_scope("/reports/of/mine"))

    assert [exchange.body for exchange in (anonymous, customer)] == [b'"july, for anybody"', b'"july, for alice"']
    assert taken.status == 401
    assert code_blocks("text", PAGE) == ["".join(f"{record}\n" for record in records[:2])]
