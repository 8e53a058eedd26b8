"""``recording`` lists what a guard decides in the block."""

from __future__ import annotations

import pytest

from authguard import ConfigurationError, Principal
from authguard.testing import acting_as, assert_denied, recording
from tests.testing.shop import ISSUER, client_of, guard_of


def test_decisions_are_listed_while_it_is_open() -> None:
    """Grants and denials are listed in their order. Requests on PUBLIC, before and after are not."""
    guard = guard_of()
    client = client_of(guard)

    client.get("/")
    with recording(guard) as records:
        client.get("/open/hall")
        client.get("/admin", headers=ISSUER.headers("bob"))
        client.get("/", headers=ISSUER.headers("bob"))
    client.get("/")

    assert [(record.event, record.reason, record.subject) for record in records] == [
        ("denied", "role.missing", "bob"),
        ("granted", None, "bob"),
    ]


def test_the_hooks_of_the_app_are_still_called() -> None:
    """Only the hook of the recording is removed when it ends."""
    hooked: list[object] = []
    guard = guard_of(hooks=[hooked.append])
    client = client_of(guard)

    with recording(guard) as outer, recording(guard) as inner:
        client.get("/")
    client.get("/")

    assert (len(hooked), len(outer), len(inner)) == (2, 1, 1)
    assert guard._recorder.hooks == (hooked.append,)


def test_several_guards_share_one_list() -> None:
    """It has the order in which they decide."""
    guard, other = guard_of(), guard_of()

    with recording(guard, other) as records:
        client_of(other).get("/admin")
        client_of(guard).get("/")

    assert [record.path for record in records] == ["/admin", "/"]


def test_every_decision_of_a_flood_is_listed() -> None:
    """The log aggregates it, the recording does not."""
    guard = guard_of()
    client = client_of(guard)

    with recording(guard) as records:
        for _ in range(30):
            client.get("/")

    assert len(records) == 30


def test_acting_as_in_a_recording_is_recorded() -> None:
    """Both keep the record."""
    guard = guard_of()

    with recording(guard) as records:
        with acting_as(guard, Principal("bob")):
            denied = client_of(guard).get("/admin")
        assert_denied(denied, reason="role.missing")

    assert [record.subject for record in records] == ["bob"]


@pytest.mark.parametrize("guards", [(), ("guard",)])
def test_wrong_guards_are_an_error(guards: tuple[str, ...]) -> None:
    """Without a guard the list would stay empty, and nobody would notice."""
    with pytest.raises(ConfigurationError, match="guard"):
        recording(*guards)  # type: ignore[arg-type]


def test_a_recording_may_be_entered_again() -> None:
    """Entering it twice lists nothing twice. Opened anew, it continues the list."""
    guard = guard_of()
    client = client_of(guard)
    block = recording(guard)

    with block, block as records:
        client.get("/")
    client.get("/")
    with block:
        client.get("/admin")

    assert [record.path for record in records] == ["/", "/admin"]
