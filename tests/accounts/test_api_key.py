"""API keys as stores keep them: how they are made, rotated, hashed and checked."""

from __future__ import annotations

import copy
import hashlib
import hmac
import pickle
from dataclasses import replace
from typing import Any

import pytest

from authguard.accounts.api_key import (
    NO_DIGEST,
    ApiKeyStore,
    LastUseStore,
    StoredKey,
    accepted_key,
    check_pepper,
    key_digest,
    new_key,
    rotate_key,
)
from authguard.errors import ConfigurationError
from authguard.wire.api_key import ApiKeyText

PEPPER = "a pepper of more than sixteen bytes"


def stored(**fields: Any) -> StoredKey:
    """A key of alice's, with these fields."""
    given: dict[str, Any] = {"owner": "alice", "name": "ci", "prefix": "acme", "created": 1.0} | fields
    return StoredKey(given.pop("id", "000000000abc"), given.pop("digest", "ab" * 32), **given)


def test_a_new_key_is_shown_once_and_stored_as_a_hash() -> None:
    """The text parses, and the store gets its id and its SHA-256, and not the text."""
    new = new_key("alice", "ci", prefix="acme", environment="live", roles={"reader"}, expires=9.0, now=1.0)
    text = ApiKeyText.parse(new.text.encode())

    assert new.text.startswith("acme_live_")
    assert (text.label, text.id) == ("acme_live", new.stored.id)
    assert new.stored.digest == hashlib.sha256(new.text.encode()).hexdigest()
    assert (new.stored.owner, new.stored.name, new.stored.roles) == ("alice", "ci", frozenset({"reader"}))
    assert (new.stored.created, new.stored.expires, new.stored.revoked) == (1.0, 9.0, None)


def test_no_two_keys_are_alike() -> None:
    """Neither their ids nor their secrets."""
    keys = [new_key("alice", "ci", prefix="acme", now=1.0) for _ in range(100)]

    assert len({key.stored.id for key in keys}) == len({key.text[-33:] for key in keys}) == 100


def test_no_secret_is_shown() -> None:
    """Neither the text nor its hash is in the representation."""
    new = new_key("alice", "ci", prefix="acme", now=1.0)

    assert new.text[-33:] not in repr(new)
    assert new.stored.digest not in repr(new)


def test_a_pepper_changes_the_hash() -> None:
    """With a pepper the hash is an HMAC, so that the store alone cannot tell a key."""
    expected = hmac.new(PEPPER.encode(), b"acme_x", hashlib.sha256).hexdigest()

    assert key_digest("acme_x", PEPPER) == key_digest(b"acme_x", PEPPER.encode()) == expected
    assert key_digest("acme_x") == hashlib.sha256(b"acme_x").hexdigest()


@pytest.mark.parametrize("pepper", ["", "fifteen bytes..", b"short", 12345678901234567])
def test_a_pepper_that_could_be_guessed_is_refused(pepper: Any) -> None:
    """It needs sixteen bytes at least."""
    with pytest.raises(ConfigurationError, match="pepper"):
        check_pepper(pepper)


def test_a_rotation_keeps_both_keys_for_a_while() -> None:
    """The old key expires after the overlap, and names its successor, which has the same owner, name and rights."""
    old = stored(roles={"reader"}, scopes={"orders"}, networks=["192.0.2.0/24"])

    rotation = rotate_key(old, overlap=60.0, now=100.0)

    new = rotation.new.stored
    assert rotation.old == replace(old, expires=160.0, successor=new.id)
    assert (new.owner, new.name, new.prefix, new.expires) == ("alice", "ci", "acme", None)
    assert (new.roles, new.scopes, new.networks) == (old.roles, old.scopes, ("192.0.2.0/24",))
    assert new.created == 100.0


def test_a_rotated_key_lives_as_long_as_the_old_one_did() -> None:
    """A key of 90 days is followed by one of 90 days. The overlap does not lengthen the life of the old one."""
    old = stored(created=0.0, expires=90.0)

    rotation = rotate_key(old, overlap=60.0, pepper=PEPPER, now=80.0)

    assert (rotation.new.stored.expires, rotation.old.expires) == (170.0, 90.0)
    assert rotation.new.stored.digest == key_digest(rotation.new.text, PEPPER)


@pytest.mark.parametrize("fields", [{"revoked": 5.0}, {"expires": 50.0}, {"successor": "111111111111"}])
def test_a_key_that_is_over_is_not_rotated(fields: dict[str, Any]) -> None:
    """A revoked, expired or replaced key would come to life again."""
    with pytest.raises(ConfigurationError, match="key"):
        rotate_key(stored(**fields), overlap=60.0, now=50.0)


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        *(
            ("id", "short"),
            ("id", 12),
            ("digest", "AB" * 32),
            ("digest", "ab"),
            ("digest", NO_DIGEST),
            ("digest", None),
        ),
        *(("owner", ""), ("owner", " "), ("owner", None), ("name", "a\nb"), ("roles", "admin"), ("scopes", [""])),
        *(("prefix", "Acme"), ("prefix", None), ("environment", "li_ve"), ("environment", None), ("prefix", "a" * 41)),
        *(("networks", "10.0.0.0/8"), ("networks", 1), ("networks", [1]), ("networks", ["10.0.0.1/8"])),
        *(("created", -1.0), ("created", float("nan")), ("created", True), ("expires", "never"), ("revoked", 1e15)),
        *(("last_used", float("inf")), ("successor", "x")),
    ],
)
def test_a_wrong_field_is_refused(argument: str, value: Any) -> None:
    """The error names the field."""
    with pytest.raises(ConfigurationError, match=argument):
        stored(**{argument: value})


def test_the_label_has_room_for_the_environment() -> None:
    """Together they have 40 characters."""
    assert stored(prefix="a" * 35, environment="live").environment == "live"
    with pytest.raises(ConfigurationError, match="prefix"):
        stored(prefix="a" * 36, environment="live")


def test_a_new_key_does_not_expire_in_the_past() -> None:
    """It could never be used."""
    with pytest.raises(ConfigurationError, match="expires"):
        new_key("alice", "ci", prefix="acme", expires=5.0, now=5.0)


@pytest.mark.parametrize(
    ("networks", "client", "allowed"),
    [
        *(((), None, True), ((), "whatever", True)),
        *((("192.0.2.0/24",), "192.0.2.7", True), (("192.0.2.0/24",), "192.0.2.7:40001", True)),
        *((("192.0.2.0/24",), "::ffff:192.0.2.7", True), (("192.0.2.0/24",), "192.0.3.7", False)),
        *((("2001:db8::/32",), "[2001:db8::1]:443", True), (("2001:db8::/32",), "fe80::1%eth0", False)),
        *((("192.0.2.0/24", "10.0.0.1"), "10.0.0.1", True), (("192.0.2.0/24",), None, False)),
        (("192.0.2.0/24",), "testclient", False),
    ],
)
def test_a_key_may_be_bound_to_networks(networks: tuple[str, ...], client: str | None, allowed: bool) -> None:
    """Without networks it is good anywhere. An address that is not known is in none."""
    assert stored(networks=networks).allows(client) is allowed


def test_the_outcome_has_everything_of_the_key() -> None:
    """The principal is the owner, with the roles, the scopes and the end of the key, and claims that name it."""
    key = stored(roles={"reader"}, scopes={"orders"}, expires=9.0, environment="live")

    accepted = accepted_key(key, "api-key")

    principal = accepted.principal
    assert (principal.subject, principal.roles, principal.scopes) == ("alice", key.roles, key.scopes)
    assert (principal.expires_at, principal.scheme) == (9.0, "api-key")
    assert principal.claims == {
        "key_id": "000000000abc",
        "key_name": "ci",
        "key_environment": "live",
        "iat": key.created,
    }
    assert accepted_key(key, "api-key") is accepted
    assert accepted_key(key, "bearer").principal.scheme == "bearer"


def test_nobody_sees_that_an_outcome_is_kept() -> None:
    """It is not part of the value: not of a comparison, nor of a copy."""
    key = stored()
    before = pickle.dumps(key)
    accepted = accepted_key(key, "api-key")

    assert pickle.dumps(key) == before
    for made in (copy.copy(key), pickle.loads(before), replace(key)):
        assert made == key
        assert accepted_key(made, "api-key") is not accepted


def test_nothing_is_kept_with_a_key_of_another_class() -> None:
    """Its roles may change while it lives."""

    class TeamKey(StoredKey):
        pass

    key = TeamKey("000000000abc", "ab" * 32, owner="alice", name="ci", prefix="acme", created=1.0)

    assert accepted_key(key, "api-key") is not accepted_key(key, "api-key")


def test_a_store_needs_only_find() -> None:
    """Keeping last uses is optional."""

    class Keys:
        async def find(self, key_id: str) -> StoredKey | None:
            return None

    class KeysWithUses(Keys):
        async def write_last_uses(self, uses: dict[str, float]) -> None:
            pass

    assert isinstance(Keys(), ApiKeyStore)
    assert [isinstance(store, LastUseStore) for store in (Keys(), KeysWithUses())] == [False, True]
