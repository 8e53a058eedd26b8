"""``HtpasswdFile``: how lines are parsed, how roles are assigned, and what a changed or bad file does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from authguard.accounts.account import NOT_NOW, Account, PasswordStore, SampledStore, Verdict
from authguard.accounts.htpasswd import MOST_EXAMINED, MOST_KEPT, HtpasswdFile
from authguard.accounts.password_hashes import LibpassHasher
from authguard.accounts.watched_file import CHECK_INTERVAL, KEEP_FOR
from authguard.errors import BackendUnavailable, ConfigurationError
from authguard.reasons import STORE_UNAVAILABLE
from authguard.testing import ManualClock
from tests.accounts.file_changes import CountingName, count_lines, delete, log_levels, overwrite, replace
from tests.support.vectors import load_vectors

BCRYPT = "$2y$04$iKLVqJaaBszBvMRRbhVwcum4i830DJp5PELbkmSF90a1DaxxbKcB2"  # "a"
SHA = "{SHA}hvfkN/qlp/zhXR3cuerq6jd2Z7g="  # "a"
DES = ".Zn/xnXD7ulOQ"  # "a"
ARGON2 = "$argon2id$v=19$m=65536,t=3,p=4$do7RmvO+t/Y+Z6z1HuNcCw$Wvyn9Zyl4zbQd/MNrNM6cyOAliP/oWjcqaAUdAuUsaE"

TWO = f"alice:{BCRYPT}\nbob:{SHA}\n".encode()
PLAIN = LibpassHasher(allow={"plaintext"})


@pytest.fixture(name="clock")
def _clock() -> ManualClock:
    return ManualClock(1000)


@pytest.fixture(name="path")
def _path(tmp_path: Path) -> Path:
    path = tmp_path / "users"
    path.write_bytes(TWO)
    return path


async def _look(store: HtpasswdFile, clock: ManualClock, username: str, times: int = 2) -> Account | None:
    """The result of a look-up after so many looks at the file."""
    for _ in range(times - 1):
        clock.move(CHECK_INTERVAL)
        await store.find(username)
    clock.move(CHECK_INTERVAL)
    return await store.find(username)


def _store(path: Path, clock: ManualClock, groups: Path | None = None) -> HtpasswdFile:
    """A store whose clock makes every file look freshly written, however slow the machine is."""
    store = HtpasswdFile(path, groups=groups, clock=clock)
    store._users._wall = lambda: 0.0
    return store


async def _hash(path: Path, username: str, hasher: LibpassHasher | None = None) -> str | None:
    account = await HtpasswdFile(path, hasher=hasher).find(username)
    return None if account is None else account.password_hash


async def test_an_account_is_found_by_its_name(path: Path) -> None:
    """Each line is an account with its hash, and without roles unless groups are given."""
    store = HtpasswdFile(path)

    assert await store.find("alice") == Account("alice", BCRYPT)
    assert await store.find("bob") == Account("bob", SHA)
    assert await store.find("Alice") is None
    assert await store.find("") is None
    assert store.sample() == (BCRYPT, SHA)


async def test_every_line_of_apaches_tool_is_read(path: Path) -> None:
    """A file with all formats of htpasswd is read as a whole. Formats without protection only fail at their own
    logins."""
    cases = load_vectors("htpasswd.json")["cases"]
    lines = [case["line"].replace("alice:", f"user{number}:", 1) for number, case in enumerate(cases)]
    overwrite(path, "".join(f"{line}\n" for line in lines).encode())

    store = HtpasswdFile(path)

    for number, case in enumerate(cases):
        account = await store.find(f"user{number}")
        assert account is not None
        refused = case["format"] in {"plaintext", "des_crypt"}
        expected = Verdict.UNREADABLE if refused else Verdict.MATCH
        assert store.hasher.verify(case["password"], account.password_hash) is expected


@pytest.mark.parametrize(
    ("content", "stored"),
    [
        (f"# users\n\n  # more\n \t \n  alice:{BCRYPT}\n", BCRYPT),
        (f"alice:{BCRYPT}\r\nbob:{SHA}\r\n", BCRYPT),
        (f"\talice:{BCRYPT} \t\n", BCRYPT),
        (f"\ufeffalice:{BCRYPT}\n", BCRYPT),
        (f"alice:{BCRYPT}:what nginx takes for a remark: all of it\n", BCRYPT),
        (f"alice:{BCRYPT}\n# an end without a line feed", BCRYPT),
        (f"alice:{BCRYPT}", BCRYPT),
        (f"alice:{SHA}", SHA),
        (f"alice:$1$salt$digest\nbob:{SHA}\n", "$1$salt$digest"),
    ],
    ids=["comments", "CRLF", "blanks", "BOM", "remark", "comment at the end", "whole", "whole SHA", "unknown format"],
)
async def test_a_line_is_read_as_apache_reads_it(path: Path, content: str, stored: str) -> None:
    """Comments, blank lines, other line ends and trailing remarks are read as Apache reads them."""
    overwrite(path, content.encode())

    assert await _hash(path, "alice") == stored


async def test_a_name_may_have_any_character_but_a_colon(path: Path) -> None:
    """Spaces, other scripts, and characters that look like a line end are part of a name, which is compared in NFC."""
    names = ["two words", "日本", "line\u2028separator", "ame\u0301lie", "\N{NO-BREAK SPACE}"]
    overwrite(path, "".join(f"{name}:{SHA}\n" for name in names).encode())

    assert await _hash(path, "two words") == SHA
    assert await _hash(path, "日本") == SHA
    assert await _hash(path, "line\u2028separator") == SHA
    assert await _hash(path, "am\u00e9lie") == SHA
    assert await _hash(path, "\N{NO-BREAK SPACE}") == SHA


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "it contains no hash"),
        (b"# nobody yet\n", "it contains no hash"),
        (b"key: value\nname: text\n", "it contains no hash"),
        (f"alice:{DES}\nbob:secret\n".encode(), "it contains no hash"),
        (TWO + b"nonsense\n", "line 3 is not"),
        (TWO + b"carol:\n", "line 3 is not"),
        (TWO + f":{SHA}\n".encode(), "line 3 is not"),
        (TWO + b"\0\0\0\0\n", "line 3 contains a control character"),
        (TWO + b"carol:$2y$04$\0\0\0", "line 3 contains a control character"),
        (f"alice:{SHA}\rbob:{SHA}\r".encode(), "line 1 contains a control character"),
        (TWO + f"alice:{SHA}\n".encode(), "line 3 names a user for the second time"),
        (f"ame\u0301lie:{SHA}\nam\u00e9lie:{SHA}\n".encode(), "line 2 names a user for the second time"),
        (TWO + f"j\xe9r\xf4me:{SHA}\n".encode("latin-1"), "it is not UTF-8"),
        (bytes(range(256)), "it is not UTF-8"),
        (TWO + b"car", "line 3 is not"),
        (TWO + f"carol:{BCRYPT[:-1]}".encode(), "line 3 has no line feed and may be incomplete"),
        (TWO + f"carol:{SHA[:-1]}".encode(), "line 3 has no line feed and may be incomplete"),
        (TWO + f"carol:{ARGON2}".encode(), "line 3 has no line feed and may be incomplete"),
        (TWO + f"carol:{DES}".encode(), "line 3 has no line feed and may be incomplete"),
    ],
)
def test_a_bad_file_is_reported_by_its_line(path: Path, content: bytes, problem: str) -> None:
    """A file that is not a password file, or is cut off, is refused as a whole. The error names the line and quotes
    nothing."""
    overwrite(path, content)

    with pytest.raises(ConfigurationError, match=problem) as caught:
        HtpasswdFile(path)

    assert caught.value.argument == "path"
    assert [quoted for quoted in ("carol", "alice", "secret", "SHA", "2y", "AAA") if quoted in str(caught.value)] == []


async def test_plain_text_is_read_where_it_is_allowed(path: Path) -> None:
    """A store whose hasher allows plain text reads the password itself from the file."""
    overwrite(path, f"alice:correct horse\nbob:{BCRYPT}\n".encode())

    store = HtpasswdFile(path, hasher=PLAIN)
    account = await store.find("alice")

    assert account is not None
    assert store.hasher.verify("correct horse", account.password_hash) is Verdict.MATCH
    assert store.hasher.verify("correct", account.password_hash) is Verdict.WRONG


def test_the_end_of_a_plain_text_cannot_be_known(path: Path) -> None:
    """The last line of a plain-text file needs a line feed, because half a password would be another password."""
    overwrite(path, f"bob:{BCRYPT}\nalice:correct hor".encode())
    with pytest.raises(ConfigurationError, match="line 2 has no line feed"):
        HtpasswdFile(path, hasher=PLAIN)

    overwrite(path, f"bob:{BCRYPT}".encode())
    assert HtpasswdFile(path, hasher=PLAIN).sample() == (BCRYPT,)


GROUPS = {
    "admin: alice": {"admin"},
    "admin:alice bob\nstaff: bob alice": {"admin", "staff"},
    "admin: bob\nadmin: alice": {"admin"},
    "# admin: alice\n\n staff :\talice\r": {"staff"},
    "staff:": set(),
    "admin: alic alicee Alice": set(),
    "admin: 'alice'": {"admin"},
    'admin: bob "alice"': {"admin"},
    "admin: \"o'hara\" o'hara 'alice'bob": {"admin"},
    "two words: alice": {"two words"},
}


@pytest.mark.parametrize(("content", "roles"), GROUPS.items())
async def test_roles_come_from_an_auth_group_file(path: Path, content: str, roles: set[str]) -> None:
    """A group is a role of its members, as in Apache's group file."""
    groups = path.with_name("groups")
    overwrite(groups, f"{content}\n".encode())

    account = await HtpasswdFile(path, groups=str(groups)).find("alice")

    assert account == Account("alice", BCRYPT, roles=roles)


async def test_a_member_with_a_space_is_quoted(path: Path) -> None:
    """A member with a space needs quotes. Without them it is two members."""
    groups = path.with_name("groups")
    overwrite(path, f"two words:{SHA}\ntwo:{SHA}\nam\u00e9lie:{SHA}\n".encode())
    overwrite(groups, "admin: \"two words\" 'ame\u0301lie'\n".encode())

    store = HtpasswdFile(path, groups=groups)

    assert await store.find("two words") == Account("two words", SHA, roles={"admin"})
    assert await store.find("am\u00e9lie") == Account("am\u00e9lie", SHA, roles={"admin"})
    assert await store.find("two") == Account("two", SHA)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "it contains no group"),
        ("# none\n", "it contains no group"),
        ("admin alice\n", "line 1 is not group"),
        (" : alice\n", "line 1 is not group"),
        ("staff: bob\nadmin: alice bo", "line 2 has no line feed and may be incomplete"),
        ("admin: 'alice\n", "line 1 has a quote that does not close"),
        ('admin: "al\\"ice"\n', "line 1 has a quote that does not close, or a backslash"),
        ("admin: bob '' alice\n", "line 1 has a quote"),
        ("admin: alice\0\n", "line 1 contains a control character"),
    ],
)
def test_a_bad_group_file_is_reported_by_its_line(path: Path, content: str, problem: str) -> None:
    """A group line is valid as a whole or refused, because half a name may be another user's."""
    groups = path.with_name("groups")
    overwrite(groups, content.encode())

    with pytest.raises(ConfigurationError, match=problem) as caught:
        HtpasswdFile(path, groups=groups)

    assert caught.value.argument == "groups"


async def test_roles_may_come_from_a_mapping(path: Path) -> None:
    """Without a group file, a mapping gives the roles of each user."""
    store = HtpasswdFile(path, groups={"admin": ["alice"], "staff": {"alice", "bob"}, "guest": ()})

    assert await store.find("alice") == Account("alice", BCRYPT, roles={"admin", "staff"})
    assert await store.find("bob") == Account("bob", SHA, roles={"staff"})


@pytest.mark.parametrize("groups", [{"admin": "alice"}, {" ": ["alice"]}, {"admin": [""]}, ["admin"], 7])
def test_a_mapping_of_groups_is_checked_while_the_app_is_built(path: Path, groups: Any) -> None:
    """A string of members, a blank name and a value that is no mapping raise while the app is built."""
    with pytest.raises(ConfigurationError) as caught:
        HtpasswdFile(path, groups=groups)

    assert caught.value.argument == "groups"


async def test_an_added_or_removed_user_is_noticed(path: Path, clock: ManualClock) -> None:
    """The file is read again when it changes, and the sample of its hashes with it."""
    store = _store(path, clock)
    replace(path, f"alice:{SHA}\ncarol:{SHA}\n".encode())

    assert await _look(store, clock, "carol") == Account("carol", SHA)
    assert await store.find("alice") == Account("alice", SHA)
    assert await store.find("bob") is None
    assert store.sample() == (SHA, SHA)


async def test_a_removed_role_is_noticed(path: Path, clock: ManualClock) -> None:
    """The group file is read again when it changes, independently of the password file."""
    groups = path.with_name("groups")
    overwrite(groups, b"admin: alice bob\n")
    store = HtpasswdFile(path, groups=groups, clock=clock)

    replace(groups, b"admin: bob\n")

    assert await _look(store, clock, "alice") == Account("alice", BCRYPT)
    assert await _look(store, clock, "bob") == Account("bob", SHA, roles={"admin"})


async def test_an_account_is_made_once_until_a_file_changes(path: Path, clock: ManualClock, tmp_path: Path) -> None:
    """A request gets the same object as the one before. A changed hash or role makes another one."""
    groups = tmp_path / "groups"
    groups.write_text("readers: alice\n")
    store = _store(path, clock, groups)
    await _look(store, clock, "bob", 3)  # both files are read a second time, soon after the start
    first, again, other = [store.find_now(name) for name in ("alice", "alice", "bob")]

    groups.write_text("readers: alice\nwriters: alice\n")
    promoted = await _look(store, clock, "alice", 3)
    overwrite(path, f"alice:{SHA}\nbob:{SHA}\n".encode())
    changed = await _look(store, clock, "alice", 3)

    assert first == Account("alice", BCRYPT, roles={"readers"})
    assert again is first
    assert other == Account("bob", SHA)
    assert promoted == Account("alice", BCRYPT, roles={"readers", "writers"})
    assert changed == Account("alice", SHA, roles={"readers", "writers"})


def test_the_accounts_that_are_kept_are_bounded(path: Path, clock: ManualClock) -> None:
    """However many names the file has, and however many of them a client knows."""
    path.write_bytes(b"".join(f"user{number}:{SHA}\n".encode() for number in range(MOST_KEPT + 10)))
    store = _store(path, clock)

    for number in range(MOST_KEPT + 10):
        store.find_now(f"user{number}")
        store.find_now(f"nobody{number}")
        assert len(store._users.last.accounts) <= MOST_KEPT

    assert list(store._users.last.accounts) == [f"user{number}" for number in range(MOST_KEPT, MOST_KEPT + 10)]


async def test_the_last_accounts_stay_while_the_file_is_written(path: Path, clock: ManualClock) -> None:
    """A file that ends after a whole line may still be growing, so it is read only after it has stopped changing."""
    store = _store(path, clock)
    accounts = []

    for content in (b"", f"alice:{BCRYPT}\n".encode(), TWO, TWO + f"carol:{SHA}\n".encode()):
        overwrite(path, content)
        accounts.append(await _look(store, clock, "bob", times=1))

    assert accounts == [Account("bob", SHA)] * 4
    assert await _look(store, clock, "carol") == Account("carol", SHA)


SPOILT: dict[str, Callable[[Path], None]] = {
    "deleted": delete,
    "cut off": lambda path: overwrite(path, b""),
    "torn": lambda path: overwrite(path, TWO[:-5]),
    "torn in a name": lambda path: overwrite(path, TWO + b"car"),
    "replaced by junk": lambda path: replace(path, bytes(range(256)) * 100),
    "filled with zeros": lambda path: overwrite(path, bytes(len(TWO))),
    "replaced by prose": lambda path: replace(path, b"Note: this moved.\nSee: elsewhere.\n"),
}


@pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT)
async def test_a_bad_file_keeps_the_last_good_accounts(
    spoil: Callable[[Path], None], path: Path, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """The last good accounts are used for five minutes, with one ERROR. Then it is an outage, until the file is good
    again."""
    store = _store(path, clock)
    spoil(path)

    assert await _look(store, clock, "alice", times=4) == Account("alice", BCRYPT)
    assert await _look(store, clock, "bob", times=4) == Account("bob", SHA)
    assert await store.find("car") is None
    clock.move(KEEP_FOR)
    with pytest.raises(BackendUnavailable) as caught:
        await store.find("alice")
    with pytest.raises(BackendUnavailable):
        await store.find("nobody")
    assert caught.value.reason is STORE_UNAVAILABLE
    assert log_levels(caplog) == ["ERROR"]

    replace(path, f"carol:{SHA}\n".encode())
    clock.move(CHECK_INTERVAL)
    with pytest.raises(BackendUnavailable):
        await store.find("carol")  # the first look that finds the new file
    assert await _look(store, clock, "carol", times=1) == Account("carol", SHA)
    assert await store.find("alice") is None
    assert log_levels(caplog) == ["ERROR", "WARNING"]


async def test_a_bad_group_file_keeps_the_last_good_roles(path: Path, clock: ManualClock) -> None:
    """The last good roles are used for five minutes. Then it is an outage for every user."""
    groups = path.with_name("groups")
    overwrite(groups, b"admin: alice\n")
    store = HtpasswdFile(path, groups=groups, clock=clock)
    overwrite(groups, b"admin: alice bo")

    assert await _look(store, clock, "alice", times=4) == Account("alice", BCRYPT, roles={"admin"})
    clock.move(KEEP_FOR)
    with pytest.raises(BackendUnavailable) as caught:
        await store.find("nobody")
    assert caught.value.reason is STORE_UNAVAILABLE


def test_a_look_up_costs_the_same_for_a_hundred_thousand_users(path: Path, clock: ManualClock) -> None:
    """A look-up runs as many lines of Python as for ten users, for the first name and the last, and compares a name
    once."""
    groups = path.with_name("groups")
    counts = set()
    for users in (10, 100_000):
        overwrite(path, "".join(f"user{number}:{SHA}\n" for number in range(users)).encode())
        overwrite(groups, f"all: {' '.join(f'user{number}' for number in range(users))}\n".encode())
        store = HtpasswdFile(path, groups=groups, clock=clock)
        count_lines(store.find("user1"))  # fills Python's own cache for isinstance, and is not counted
        for name in (CountingName("user0"), CountingName(f"user{users - 1}")):
            account, count = count_lines(store.find(name))
            compared = name.compared
            counts.add(count)

            assert account == Account(str(name), SHA, roles={"all"})
            assert compared == 2

        assert count_lines(store.find("nobody"))[0] is None

    assert len(counts) == 1


def test_the_store_has_a_sample_of_its_hashes(path: Path) -> None:
    """The store has a sample of its hashes, so that an unknown name costs what a known one does."""
    store = HtpasswdFile(path)

    assert isinstance(store, PasswordStore)
    assert isinstance(store, SampledStore)


def test_a_store_shows_no_hash(path: Path) -> None:
    """Neither the repr of the store nor that of its content shows a hash."""
    store = HtpasswdFile(path)

    assert BCRYPT not in repr(store)
    assert BCRYPT not in repr(vars(store))
    assert BCRYPT not in repr(store._users.last)


@pytest.mark.parametrize("groups", [None, "file", {"admin": ["alice"]}])
async def test_the_store_answers_at_once_unless_a_file_is_due(tmp_path: Path, groups: Any) -> None:
    """If no file is due for a look, a look-up does not wait and needs no deadline. Either of the two files may be
    due."""
    clock = ManualClock(1000)
    users = tmp_path / "users"
    users.write_text("alice:{SHA}hvfkN/qlp/zhXR3cuerq6jd2Z7g=\n")
    if groups == "file":
        groups = tmp_path / "groups"
        groups.write_text("admin: alice\n")
    store = HtpasswdFile(users, groups=groups, clock=clock)

    fresh = store.find_now("alice") is not NOT_NOW
    clock.move(CHECK_INTERVAL)
    due = store.find_now("alice") is not NOT_NOW
    await store.find("alice")

    assert (fresh, due, store.find_now("alice") is not NOT_NOW) == (True, False, True)


# --- mistakes in the files --------------------------------------------------------------------------------------------


def test_lines_that_cannot_be_read_are_told_at_start(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """N10: one WARNING has the line, the format and the fix of each, and nothing of a hash. A locked line is none."""
    path.write_text(f"alice:{BCRYPT}\nbob:hunter2\ncarol:{DES}\ndave:!{DES}\nerin:{BCRYPT[:-1]}\n")

    HtpasswdFile(path)

    (record,) = caplog.records
    fix = "make a hash with htpasswd -B, or read it with LibpassHasher"
    assert record.levelname == "WARNING"
    assert record.getMessage() == (
        f'{path}: nobody can log in by line 2: it is plain text; {fix}(allow={{"plaintext"}}); '
        f'line 3: it is DES crypt; {fix}(allow={{"des_crypt"}}); '
        "line 5: it is a hash of bcrypt that is cut off or damaged; make a new one"
    )


def test_hashes_of_openssl_and_ldap_are_accounts_by_name(path: Path) -> None:
    """R019: a file with ``$1$`` and ``{SSHA}`` alone is refused at start, and read if ``allow`` names them."""
    content = "alice:$1$xxxxxxxx$UYCIxa628.9qXjpQCjM4a.\nbob:{SSHA}4Dh1dQc4MyoA6EHQFaHGBdIkRzJzYWx0c2FsdA==\n"
    path.write_text(content)

    with pytest.raises(ConfigurationError, match="no hash in a format that the hasher reads"):
        HtpasswdFile(path)
    store = HtpasswdFile(path, hasher=LibpassHasher(allow={"md5_crypt", "ldap_salted_sha1"}))

    alice, bob = (account for name in ("alice", "bob") if isinstance(account := store.find_now(name), Account))
    assert store.hasher.verify("password", alice.password_hash) is Verdict.MATCH
    assert store.hasher.reads(bob.password_hash)


async def test_a_line_that_cannot_be_read_is_told_once(
    path: Path, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """N10: when the file changes, only what is new is told; of many lines eight, and how many more there are."""
    content = f"alice:{BCRYPT}\nbob:hunter2\n".encode()
    overwrite(path, content)
    store = _store(path, clock)
    overwrite(path, content + b"".join(b"u%d:x\n" % number for number in range(10)))

    await _look(store, clock, "u1", times=3)

    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == 2
    assert messages[1].startswith(f"{path}: nobody can log in by line 3: it is plain text")
    assert messages[1].count("line ") == 8
    assert messages[1].endswith("; and 2 more")


def test_a_hasher_of_ones_own_may_give_no_reason(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It may know only whether it reads a hash."""

    class Own:
        reads = staticmethod(lambda stored: stored == BCRYPT)

    HtpasswdFile(path, hasher=Own())  # type: ignore[arg-type]

    assert caplog.records == []


def test_a_large_file_is_examined_in_part(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """To examine a hash takes as long as a request, and the file is read while others wait."""
    path.write_text("".join(f"u{number}:{BCRYPT}\n" for number in range(MOST_EXAMINED)) + "last:x\n")

    HtpasswdFile(path)

    assert caplog.records == []


GROUP_MISTAKES: list[tuple[Any, str]] = [
    ("admin: alice, bob\n", "line 1 separates names by commas; write blanks: group: name name"),
    ("admin: alice ,bob\n", "line 1 separates names by commas"),
    ("admin: alice,bob\n", "names are separated by commas; write blanks: role: name name"),
    ("alice: admin\nbob: user\n", "'alice' is a user and not a role, and no member is a user: it is the wrong way rou"),
    ({"alice": ["admin"]}, "'alice' is a user and not a role, and no member is a user: it is the wrong way round"),
    ({"admin": ["alice,bob"]}, "names are separated by commas"),
]


@pytest.mark.parametrize(("groups", "problem"), GROUP_MISTAKES)
def test_groups_that_give_nobody_a_role_raise(path: Path, groups: Any, problem: str) -> None:
    """Names between commas, and a file that names the roles of a user, would deny everybody in silence."""
    if isinstance(groups, str):
        (path.parent / "groups").write_text(groups)
        groups = path.parent / "groups"

    with pytest.raises(ConfigurationError, match=problem) as caught:
        HtpasswdFile(path, groups=groups)

    assert caught.value.argument == "groups"


@pytest.mark.parametrize("groups", ['admin: alice\nalice: "x,y"\n', "alice: alice\n", "admin: nobody\n", "admin:\n"])
def test_odd_groups_are_accepted(path: Path, groups: str) -> None:
    """A group may have the name of a user, a member may be no user, and a name in quotes may contain a comma."""
    (path.parent / "groups").write_text(groups)

    HtpasswdFile(path, groups=path.parent / "groups")
