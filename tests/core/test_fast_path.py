"""What is decided at once is what would be decided by awaiting everything, for any history of requests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.two_ways import EVENTS, ORIGINS, PATHS, Ask, Event, GuardedApp, Setup, fields

History = Sequence[Ask | Event]


def assert_same(setup: Setup, history: History) -> GuardedApp:
    """Send the history to both apps, and compare each answer, each record and each principal. Return the lean one."""
    apps = GuardedApp(setup, is_lean=True), GuardedApp(setup, is_lean=False)

    async def run() -> None:
        lean, careful = apps
        for step in history:
            assert await lean.go(step) == await careful.go(step), (setup, step)
        assert lean.clocks == careful.clocks

    anyio.run(run)
    return apps[0]


SETUPS: Mapping[str, Setup] = {
    "plain": Setup(),
    "no leeway": Setup(leeway=0, throttled=False, quick_store=False),
    "hierarchy": Setup(hierarchy=True, has_digest=False),
    "checks": Setup(checks=("suspend", "change", "enrich", "fail")),
    "a check that reads the body": Setup(checks=("read",)),
    "a custom body": Setup(renders=True, checks=("suspend",)),
    "outer guard": Setup(outer="closed", hierarchy=True),
    "optional outer guard": Setup(outer="optional", trusts_app=True),
    "open outer guard": Setup(outer="open", checks=("nothing",)),
    "FastAPI": Setup(framework="fastapi", hierarchy=True),
    "FastAPI below a prefix": Setup(framework="fastapi", root_path="/api"),
    "below a prefix": Setup(root_path="/api"),
    "old clients": Setup(tolerant=True, throttled=False),
    "revocations": Setup(revocations="at once", hierarchy=True),
    "revocations to await": Setup(revocations="awaited", checks=("suspend", "enrich"), outer="optional"),
}


@pytest.mark.parametrize("path", PATHS)
def test_each_kind_of_credentials_has_the_same_answer(path: str) -> None:
    """Whatever is presented on a route, cold and warm, the two apps say the same."""
    assert_same(Setup(), [Ask(path, field) for field in fields()])


def test_each_route_has_the_same_answer() -> None:
    """Requests to all routes of one guard, whose responses are made once, have the same answers."""
    history = [Ask(path, field, times=1) for field in fields() for path in PATHS]

    lean = assert_same(Setup(has_digest=False), history)

    assert len(lean.app.guard._constant_replies._replies) >= 200


@pytest.mark.parametrize("setup", SETUPS.values(), ids=SETUPS)
def test_each_configuration_has_the_same_answer(setup: Setup) -> None:
    """However the guard is configured, the two apps say the same: by several methods, from several sites, and for a
    WebSocket."""
    history: list[Ask | Event] = [Ask("/admin", field) for field in fields()]
    for field in ("valid", "alice", "digest new", "key good", "nothing"):
        history += [Ask("/post", field, method="POST", origin=origin) for origin in ORIGINS]
        history += [Ask("/admin", field, method=method) for method in ("HEAD", "POST", "OPTIONS", "PROPFIND")]
        history += [Ask("/admin", field, is_websocket=True, origin=origin) for origin in ("no browser", "another site")]

    assert_same(setup, history)


@pytest.mark.parametrize("setup", [Setup(), Setup(checks=("suspend",), leeway=5), Setup(outer="closed")], ids=str)
def test_each_event_has_the_same_effect(setup: Setup) -> None:
    """Whatever happens between two requests, the two apps notice it with the same request."""
    asked = (
        "valid",
        "short",
        "fractions",
        "late",
        "second key",
        "other issuer",
        "fetched",
        "alice",
        "digest next",
        "key that expires",
    )
    history: list[Ask | Event] = []
    for event in EVENTS:
        history += [Ask("/admin", field) for field in asked]
        history += [event, *(Ask("/admin", field) for field in asked), Event("the first keys come back")]
        history += [
            Event("the same issuers again"),
            Event("the accounts are as at first"),
            Event("nobody is suspended"),
        ]

    assert_same(setup, history)


@pytest.mark.parametrize(
    "setup",
    [
        Setup(revocations="at once"),
        Setup(revocations="awaited", checks=("enrich",)),
        Setup(revocations="both", outer="closed", hierarchy=True),
        Setup(revocations="at once", framework="fastapi", checks=("nothing",)),
    ],
    ids=str,
)
def test_a_revocation_has_the_same_effect(setup: Setup) -> None:
    """What is revoked is refused with the next request, whether or not the token is remembered, and nothing
    else is."""
    asked = ("valid", "with ids", "of the session", "without a time", "issued later", "alice", "bob", "digest next")
    revoked = ("the token is revoked", "the session is revoked", "alice is revoked", "nothing is revoked")
    history: list[Ask | Event] = []
    for event in revoked:
        history += [*(Ask(path, field) for path in ("/admin", "/lock") for field in asked), Event(event)]

    lean = assert_same(setup, [*history, *(Ask("/admin", field) for field in asked)])

    assert {record.reason for record in lean.records} >= {"token.revoked", "session.revoked", "subject.revoked"}


def test_old_clients_have_the_same_answer() -> None:
    """R020, R021, R024, R001: what is tolerated by name is tolerated and recorded in both ways, cold and warm."""
    lean = assert_same(Setup(tolerant=True), [Ask(path, field) for path in ("/admin", "/") for field in fields()])

    tolerated: list[Any] = [record.facts["tolerated"] for record in lean.records if "tolerated" in record.facts]
    assert {(name, str(what)) for each in tolerated for name, what in each.items()} >= {
        ("charset", "ISO-8859-1"),
        ("password", "empty"),
        ("password", "not in NFC"),
        ("qop", "none"),
        ("opaque", "none"),
    }


def test_credentials_expire_between_two_guards_in_the_same_way() -> None:
    """If a token expires after the outer guard has accepted it, the inner guard refuses it."""
    lean = assert_same(
        Setup(outer="closed", delay=100), [Ask("/admin", field) for field in ("short", "valid", "alice")]
    )

    assert "credentials.expired" in {record.reason for record in lean.records}


def test_guessing_ends_at_the_same_attempt() -> None:
    """Wrong passwords and wrong digests are counted in the same way, and a right password passes as often."""
    guesses: list[Ask | Event] = [
        Ask("/", "wrong password", times=4),
        Ask("/", "alice", times=3),
        Ask("/", "digest wrong", times=4),
        Ask("/", "wrong password", times=6),
        Ask("/", "alice", times=3),
        Ask("/", "digest new"),
        Ask("/", "wrong password", client="198.51.100.9", times=12),
        Ask("/", "alice", client="198.51.100.9"),
        Event("time goes on", 61),
    ]

    lean = assert_same(Setup(), guesses * 3)

    assert "attempts.exceeded" in {record.reason for record in lean.records}


def test_the_histories_reach_what_they_are_about() -> None:
    """Most credentials of the list are refused each for its own reason, some are granted, and tokens are remembered."""
    lean = assert_same(Setup(), [Ask("/", field) for field in fields()])

    found = Counter(record.reason or record.event for record in lean.records)
    assert found["granted"] >= 50
    assert len(found) >= 28
    assert len(lean.bearers[0]._verified) >= 25


# --- Any history ------------------------------------------------------------------------------------------------------

#: Fields that are granted on many routes are drawn as often as all others together.
_fields = st.sampled_from(fields()) | st.sampled_from(
    ["valid", "valid", "short", "fractions", "nested", "fetched", "other issuer", "alice", "digest next", "key good"]
)
_asks = st.builds(
    Ask,
    path=st.sampled_from(PATHS) | st.sampled_from(["/", "/admin"]),
    field=_fields,
    method=st.sampled_from(["GET", "GET", "GET", "POST", "HEAD", "OPTIONS"]),
    origin=st.just("no browser") | st.sampled_from([*ORIGINS]),
    is_websocket=st.sampled_from([False] * 7 + [True]),
    client=st.sampled_from(["192.0.2.7", "198.51.100.9"]),
    times=st.integers(1, 3),
)
_setups = st.builds(
    Setup,
    hierarchy=st.booleans(),
    checks=st.just(())
    | st.permutations(["nothing", "suspend", "enrich", "change", "fail"]).map(lambda names: tuple(names[:2])),
    renders=st.sampled_from([False, False, True]),
    outer=st.sampled_from(["none", "none", "open", "optional", "closed"]),
    delay=st.sampled_from([0, 0, 40]),
    root_path=st.sampled_from(["", "", "/api"]),
    leeway=st.sampled_from([60.0, 60.0, 0.0, 5.5, 300.0]),
    trusts_app=st.booleans(),
    quick_store=st.booleans(),
    throttled=st.booleans(),
    has_digest=st.booleans(),
)
_histories: Any = st.lists(_asks | _asks | st.sampled_from(EVENTS), min_size=8, max_size=24)


@settings(derandomize=True, max_examples=60, deadline=None)
@given(setup=_setups, history=_histories)
def test_any_history_has_the_same_answers(setup: Setup, history: History) -> None:
    """For any configuration, any requests and any events between them, the two apps say the same."""
    assert_same(setup, history)
