"""``Session`` decides at once what it can. Whoever must await it gets the same answers, headers and records."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authguard import (
    AuthGuardMiddleware,
    AuthRequest,
    Credentials,
    Guard,
    MemoryRevocations,
    Record,
    Rule,
    Session,
    all_of,
    role,
    step_up,
)
from authguard.policy.requirements import OPTIONAL, PUBLIC
from authguard.schemes import Outcome
from authguard.testing import ManualClock
from tests.support.asgi import RecordingApp, header_list, http_scope, run_app
from tests.support.clock import NOW

RULES = [
    Rule("/login", PUBLIC),
    Rule("/optional", OPTIONAL),
    Rule("/admin", role("admin")),
    Rule("/fresh", all_of(role("admin"), step_up(acr="gold", max_age=100))),
]
GOOD = {"id": "a", "sub": "alice", "began": NOW, "seen": NOW, "auth_time": int(NOW), "roles": ["admin"]}
CHANGES: list[dict[str, object]] = [
    {},
    {"roles": []},
    {"acr": "gold"},
    {"seen": NOW - 400},
    {"seen": NOW - 1800},
    {"began": NOW - 50_000},
    {"id": "b"},
    {"seen": NOW + 61},
    {"ends": NOW + 10},
    {"sub": 5},
]
SESSIONS: list[Any] = [
    {},
    {"cart": 1},
    {"authguard": "alice"},
    *({"authguard": {**GOOD, **changes}} for changes in CHANGES),
]
FIELDS: list[dict[str, str]] = [
    {},
    {"accept": "text/html"},
    {"sec_fetch_mode": "navigate"},
    {"sec_fetch_mode": "cors"},
    {"sec_fetch_site": "cross-site"},
    {"cookie": "session=a; session=b"},
]


class Awaited(Session):
    """A session that is always awaited: its own ``authenticate`` is newer than ``authenticate_now``."""

    async def authenticate(self, request: AuthRequest, credentials: Credentials) -> Outcome:
        return await super().authenticate(request, credentials)


class Side:
    """An app behind one of the two."""

    def __init__(self, kind: type[Session], revocations: Any, clock: ManualClock) -> None:
        self.records: list[Record] = []
        scheme = kind(realm="shop", login_url="/login", revocations=revocations)
        self.guard = Guard(scheme, rules=RULES, clock=clock, log=False, hooks=[self.records.append])
        self.app = AuthGuardMiddleware(RecordingApp(), guard=self.guard)

    async def ask(self, path: str, method: str, session: Any, fields: dict[str, str]) -> Any:
        """What one request gets, what is left of its session, and its record."""
        session = copy.deepcopy(session)
        answer = await run_app(self.app, http_scope(path, method, header_list(**fields), session=session))
        return answer.status, answer.headers, answer.body, session, self.records[-1:]


class OnlyAwaited(MemoryRevocations):
    """A store that must be awaited."""

    async def is_session_revoked(self, session_id: str) -> bool:
        return bool(await super().is_session_revoked(session_id))


ASKED = st.tuples(
    st.sampled_from(["/orders", "/optional", "/admin", "/fresh", "/login"]),
    st.sampled_from(["GET", "POST", "HEAD"]),
    st.sampled_from(SESSIONS),
    st.sampled_from(FIELDS),
)


@pytest.mark.parametrize("stores", [(None, None), (MemoryRevocations, OnlyAwaited)])
@given(history=st.lists(st.one_of(ASKED, st.sampled_from([-30.0, 50.0, 200.0, 2000.0])), min_size=1, max_size=8))
async def test_both_ways_say_the_same(stores: tuple[Any, Any], history: list[Any]) -> None:
    """Status, headers, body, record, and what is left of the session."""
    clock = ManualClock()
    made = [None if store is None else store(clock=clock, monotonic=lambda: 0.0) for store in stores]
    for store in made:
        if store is not None:
            await store.revoke_session("b", NOW + 9000)
    sides = Side(Session, made[0], clock), Side(Awaited, made[1], clock)

    for asked in history:
        if isinstance(asked, float):
            clock.move(asked)
            continue
        first, second = [await side.ask(*asked) for side in sides]
        assert first == second
