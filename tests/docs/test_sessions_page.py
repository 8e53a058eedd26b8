"""The tables of the page about sessions are true: each of their rows is a request here."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Mapping
from typing import Any

import pytest
from itsdangerous import TimestampSigner
from starlette.middleware.sessions import SessionMiddleware

from authguard import PUBLIC, AuthGuardMiddleware, Guard, Record, Rule, Session
from authguard.testing import ManualClock
from tests.security.test_session_attacks import entry, signed
from tests.support.asgi import RecordingApp, header_list, http_scope, run_app
from tests.support.clock import NOW
from tests.support.markdown import DOCS
from tests.support.schemes.bearer import bearer
from tests.support.tokens import mint

PAGE = (DOCS / "schemes" / "sessions.md").read_text(encoding="utf-8")


class FormerSigner(TimestampSigner):
    """A signer of fifteen days ago: a day more than the ``max_age`` of the middleware."""

    def get_timestamp(self) -> int:
        return super().get_timestamp() - 15 * 86_400


FORMER = FormerSigner("s" * 32).sign(b64encode(json.dumps(entry()).encode())).decode()
GOOD, OTHER = signed(entry()), signed(entry(), "o" * 32)
#: The requests of each row: the fields, and whether the session comes through SessionMiddleware.
ROWS: Mapping[str, list[dict[str, Any]]] = {
    "no session": [{}],
    "a cookie whose signature is wrong, or that is older than `max_age`": [
        {"cookie": f"session={cookie}"} for cookie in (OTHER, FORMER)
    ],
    "a session that timed out": [
        {"cookie": f"session={signed(entry(seen=NOW - 1800))}"},
        {"cookie": f"session={signed(entry(began=NOW - 43_200))}"},
    ],
    "two cookies of the name": [{"cookie": f"session={GOOD}; session={OTHER}"}],
    "a session and `Authorization` for a scheme of the route": [
        {"cookie": f"session={GOOD}", "authorization": "Bearer no"},
        {"cookie": f"session={GOOD}; session={OTHER}", "authorization": f"Bearer {mint()}"},
    ],
    "a session, and another site made the browser send it": [
        {"cookie": f"session={GOOD}", "method": "POST", "sec_fetch_site": "cross-site"}
    ],
    'no `scope["session"]`': [{"bare": True}],
}


def table() -> dict[str, str]:
    """The answers of the last table, by what the request has."""
    text = PAGE.rpartition("| the request has | answer |\n| --- | --- |\n")[2]
    return dict(re.findall(r"^\| (.+?) \| (.+) \|$", text, re.MULTILINE))


def test_the_table_has_these_rows() -> None:
    """No row is without a request."""
    assert list(table()) == list(ROWS)


@pytest.mark.parametrize("row", ROWS)
async def test_a_row_is_true(row: str) -> None:
    """Status and reason are those of the row, and a browser that opens a page gets the 303 where it says so."""
    answer = table()[row]
    if answer.startswith("the same"):
        answer = table()["no session"]
    records: list[Record] = []
    scheme = Session(realm="shop", login_url="/login")
    rules, clock = [Rule("/login", PUBLIC)], ManualClock()
    guard = Guard(scheme, bearer(), rules=rules, clock=clock, log=False, hooks=[records.append])
    bare = AuthGuardMiddleware(RecordingApp(), guard=guard)
    app = SessionMiddleware(bare, secret_key="s" * 32)
    for request in ROWS[row]:
        for accept in ("*/*", "text/html"):
            fields = {"accept": accept, **request}
            method, is_bare = fields.pop("method", "GET"), fields.pop("bare", False)
            headers = header_list(fields.pop("authorization", None), **fields)
            exchange = await run_app(bare if is_bare else app, http_scope("/orders", method, headers))
            status = re.match(r"\d+", answer)
            if "303" in answer and accept == "text/html":
                assert exchange.status == 303
            elif status is not None:
                assert exchange.status == int(status[0])
                assert records[-1].reason is not None
                assert f"`{records[-1].reason}`" in answer
            else:
                assert records[-1].scheme == "bearer"
