"""What a guard decides while a test listens."""

from __future__ import annotations

import pytest

from authguard import ConfigurationError, Principal
from authguard.testing import acting_as, assert_denied, recording
from tests.testing.shop import MINTING, client_of, guard_of


def test_decisions_are_listed_while_it_is_open() -> None:
    """Granted and denied, in order; what is asked on PUBLIC, before and after is not there."""
    guard = guard_of()
    client = client_of(guard)

    client.get("/")
    with recording(guard) as records:
        client.get("/open/hall")
        client.get("/admin", headers=MINTING.headers("bob"))
        client.get("/", headers=MINTING.headers("bob"))
    client.get("/")

    assert [(record.event, record.reason, record.subject) for record in records] == [
        ("denied", "role.missing", "bob"),
        ("granted", None, "bob"),
    ]


def test_the_hooks_of_the_app_are_called_all_the_same() -> None:
    """A recording stands beside them, and takes nothing away when it ends."""
    told: list[object] = []
    guard = guard_of(hooks=[told.append])
    client = client_of(guard)

    with recording(guard) as outer, recording(guard) as inner:
        client.get("/")
    client.get("/")

    assert (len(told), len(outer), len(inner)) == (2, 1, 1)
    assert guard._recorder.hooks == (told.append,)


def test_several_guards_are_one_list() -> None:
    """In the order in which they decide, as two guards of one app do."""
    one, two = guard_of(), guard_of()

    with recording(one, two) as records:
        client_of(two).get("/admin")
        client_of(one).get("/")

    assert [record.path for record in records] == ["/admin", "/"]


def test_a_flood_is_listed_whole() -> None:
    """The log folds it, the recording does not."""
    guard = guard_of()
    client = client_of(guard)

    with recording(guard) as records:
        for _ in range(30):
            client.get("/")

    assert len(records) == 30


def test_who_acts_in_a_recording_is_recorded() -> None:
    """Both keep it, each for its own end."""
    guard = guard_of()

    with recording(guard) as records:
        with acting_as(guard, Principal("bob")):
            denied = client_of(guard).get("/admin")
        assert_denied(denied, reason="role.missing")

    assert [record.subject for record in records] == ["bob"]


@pytest.mark.parametrize("guards", [(), ("guard",)])
def test_what_cannot_be_recorded_is_named(guards: tuple[str, ...]) -> None:
    """Without a guard nothing would be listed, in silence."""
    with pytest.raises(ConfigurationError, match="guard"):
        recording(*guards)  # type: ignore[arg-type]


def test_one_recording_is_entered_once_and_left_once() -> None:
    """Entered again it lists nothing twice; opened anew it goes on."""
    guard = guard_of()
    client = client_of(guard)
    block = recording(guard)

    with block, block as records:
        client.get("/")
    client.get("/")
    with block:
        client.get("/admin")

    assert [record.path for record in records] == ["/", "/admin"]
