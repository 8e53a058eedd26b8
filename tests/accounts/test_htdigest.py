"""``HtdigestFile``: how lines are parsed, how accounts are found, and what a changed or bad file does."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authguard.accounts.account import NOT_NOW, RolesListed
from authguard.accounts.digest_account import DigestAccount
from authguard.accounts.digest_index import DigestIndex
from authguard.accounts.groups import BLANKS
from authguard.accounts.htdigest import HtdigestFile, _parse, htdigest_line
from authguard.accounts.watched_file import CHECK_INTERVAL, KEEP_FOR, BadFile
from authguard.concurrency.slices import at_once
from authguard.errors import BackendUnavailable, ConfigurationError
from authguard.reasons import STORE_UNAVAILABLE
from authguard.testing import ManualClock
from tests.accounts.file_changes import CountingName, count_lines, delete, log_levels, overwrite, replace
from tests.support.vectors import load_vectors

SHA = "dd9a9f44b49757f4e97383750048c7ef0e82f907ad18deac1ecd094a92993c12"  # alice:orders:correct horse
MD5 = "676c8fbeaeca47c7fda28384209dcbb9"  # the same
OTHER = "0" * 64
BCRYPT = "$2y$04$iKLVqJaaBszBvMRRbhVwcum4i830DJp5PELbkmSF90a1DaxxbKcB2"

TWO = f"alice:orders:{SHA}\nbob:orders:{OTHER}\n".encode()


@pytest.fixture(name="clock")
def _clock() -> ManualClock:
    return ManualClock(1000)


@pytest.fixture(name="path")
def _path(tmp_path: Path) -> Path:
    path = tmp_path / "users"
    path.write_bytes(TWO)
    return path


async def _find(
    store: HtdigestFile, username: str, realm: str = "orders", algorithm: str = "SHA-256"
) -> DigestAccount | None:
    return await store.find(username, realm=realm, algorithm=algorithm, hashed=False)


async def _look(store: HtdigestFile, clock: ManualClock, username: str, times: int = 2) -> DigestAccount | None:
    """The result of a look-up after so many looks at the file."""
    for _ in range(times - 1):
        clock.move(CHECK_INTERVAL)
        await _find(store, username)
    clock.move(CHECK_INTERVAL)
    return await _find(store, username)


def _store(path: Path, clock: ManualClock, groups: Path | None = None) -> HtdigestFile:
    """A store whose clock makes every file look freshly written, however slow the machine is."""
    store = HtdigestFile(path, groups=groups, clock=clock)
    store._digests._wall = lambda: 0.0
    return store


async def test_an_account_is_found_by_name_realm_and_algorithm(path: Path) -> None:
    """Each line is an account with its digest. In another realm or algorithm the name is unknown."""
    overwrite(path, TWO + f"alice:orders:{MD5}\nalice:billing:{OTHER}\n".encode())
    store = HtdigestFile(path)

    assert await _find(store, "alice") == DigestAccount("alice", SHA)
    assert await _find(store, "bob") == DigestAccount("bob", OTHER)
    assert await _find(store, "alice", algorithm="MD5") == DigestAccount("alice", MD5)
    assert await _find(store, "alice", realm="billing") == DigestAccount("alice", OTHER)
    assert await _find(store, "bob", algorithm="MD5") is None
    assert await _find(store, "bob", realm="billing") is None
    assert await _find(store, "alice", realm="Orders") is None
    assert await _find(store, "Alice") is None
    assert await _find(store, "") is None


async def test_sha_512_256_is_not_read(path: Path) -> None:
    """SHA-512-256 raises: its digests are as long as those of SHA-256, and a line does not name its algorithm."""
    store = HtdigestFile(path)

    assert await _find(store, "alice", algorithm="SHA-512-256") is None
    assert store.realms_held() == {("orders", "SHA-256")}


@pytest.mark.rfc("7616-12")
@pytest.mark.parametrize(("algorithm", "digest"), [("SHA-256", SHA), ("MD5", MD5)])
async def test_an_account_is_found_by_the_hash_of_its_name(path: Path, algorithm: str, digest: str) -> None:
    """``H(name:realm)`` of RFC 7616 section 3.4.4, of the requested algorithm, finds the account."""
    overwrite(path, f"alice:orders:{SHA}\nalice:orders:{MD5}\n".encode())
    store = HtdigestFile(path)
    hashed = hashlib.new(algorithm.replace("-", "").lower(), b"alice:orders").hexdigest()
    elsewhere = hashlib.new(algorithm.replace("-", "").lower(), b"alice:billing").hexdigest()

    account = await store.find(hashed, realm="orders", algorithm=algorithm, hashed=True)

    assert account == DigestAccount("alice", digest)
    assert store.finds_hashed
    assert await store.find(elsewhere, realm="orders", algorithm=algorithm, hashed=True) is None
    assert await store.find("alice", realm="orders", algorithm=algorithm, hashed=True) is None
    assert await store.find(hashed, realm="orders", algorithm=algorithm, hashed=False) is None
    assert await store.find(hashed, realm="billing", algorithm=algorithm, hashed=True) is None


async def test_every_line_that_apaches_tool_wrote_is_read(path: Path) -> None:
    """Names and realms with spaces, quotes and other scripts are read from a file of Apache's htdigest."""
    cases = [case for case in load_vectors("htdigest.json")["cases"] if case["algorithm"] != "SHA-512-256"]
    overwrite(path, "".join(f"{case['line']}\n" for case in cases).encode())

    store = HtdigestFile(path)

    for case in cases:
        account = await _find(store, case["name"], case["realm"], case["algorithm"])
        assert account is not None
        assert account.subject == case["name"]
        assert f"{case['name']}:{case['realm']}:{account.ha1}" == case["line"]
    assert store.realms_held() == {(case["realm"], case["algorithm"]) for case in cases}


@pytest.mark.parametrize(
    "case",
    [
        case
        for case in load_vectors("htdigest.json")["cases"]
        if case["algorithm"] != "SHA-512-256" and '"' not in case["realm"]
    ],
    ids=lambda case: case["line"],
)
def test_the_line_that_is_written_is_the_one_of_other_tools(case: dict[str, str]) -> None:
    """A line matches that of Apache's htdigest for MD5, and OpenSSL's digest for SHA-256."""
    assert htdigest_line(case["name"], case["realm"], case["password"], case["algorithm"]) == case["line"]


@pytest.mark.parametrize(
    "content",
    [
        f"# users\n\n  # more\n \t \n  alice:orders:{SHA}\n",
        f"alice:orders:{SHA}\r\nbob:orders:{OTHER}\r\n",
        f"\talice:orders:{SHA} \t\n",
        f"\ufeffalice:orders:{SHA}\n",
        f"alice:orders:{SHA}:what lighttpd takes for the hash of the name: and a remark\n",
        f"alice:orders:{SHA}\n# an end without a line feed",
        f"alice:orders:{SHA}",
        f"alice:orders:{SHA.upper()}\n",
        f"alice:orders:{MD5}\nalice:orders:{SHA}\n",
    ],
    ids=["comments", "CRLF", "blanks", "BOM", "remark", "comment at the end", "whole", "upper case", "both forms"],
)
async def test_a_line_is_read_as_apache_reads_it(path: Path, content: str) -> None:
    """Comments, blank lines, other line ends and trailing remarks are read as Apache reads them."""
    overwrite(path, content.encode())

    assert await _find(HtdigestFile(path), "alice") == DigestAccount("alice", SHA)


async def test_names_and_realms_are_found_in_whatever_form_they_were_written(path: Path) -> None:
    """Names and realms are compared in NFC."""
    overwrite(path, f"ame\u0301lie:cafe\u0301:{SHA}\nline\u2028separator:caf\u00e9:{OTHER}\n".encode())
    store = HtdigestFile(path)
    hashed = hashlib.sha256("am\u00e9lie:caf\u00e9".encode()).hexdigest()

    assert await _find(store, "am\u00e9lie", "caf\u00e9") == DigestAccount("am\u00e9lie", SHA)
    assert await _find(store, "am\u00e9lie", "cafe\u0301") == DigestAccount("am\u00e9lie", SHA)
    assert await _find(store, "line\u2028separator", "caf\u00e9") == DigestAccount("line\u2028separator", OTHER)
    account = await store.find(hashed, realm="cafe\u0301", algorithm="SHA-256", hashed=True)
    assert account == DigestAccount("am\u00e9lie", SHA)
    assert store.realms_held() == {("caf\u00e9", "SHA-256")}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "it contains no digest"),
        (b"# nobody yet\n", "it contains no digest"),
        (TWO + b"nonsense\n", "line 3 is not name:realm:digest"),
        (TWO + b"carol:orders\n", "line 3 is not name:realm:digest"),
        (TWO + b"carol:orders:\n", "line 3 is not name:realm:digest"),
        (TWO + b"carol:orders:secret\n", "line 3 is not name:realm:digest"),
        (TWO + f":orders:{SHA}\n".encode(), "line 3 is not name:realm:digest"),
        (TWO + f"carol::{SHA}\n".encode(), "line 3 is not name:realm:digest"),
        (TWO + f"carol:orders:{SHA}0\n".encode(), "line 3 is not name:realm:digest"),
        (TWO + f"carol:orders:{SHA[:40]}\n".encode(), "line 3 is not name:realm:digest"),
        (TWO + f"carol:orders: {SHA}\n".encode(), "line 3 is not name:realm:digest"),
        (TWO + f"carol:orders:{SHA[:-1]}\u0660\n".encode(), "line 3 is not name:realm:digest"),
        (
            f"alice:{BCRYPT}\n".encode(),
            "line 1 is name:hash, as htpasswd writes it; Digest needs htdigest's name:realm",
        ),
        (b"alice:{SHA}hvfkN/qlp/zhXR3cuerq6jd2Z7g=\n", "line 1 is name:hash, as htpasswd writes it"),
        (b"alice:$apr1$salt$hash\n", "line 1 is name:hash, as htpasswd writes it"),
        (
            f"alice:orders:{BCRYPT}\n".encode(),
            "line 1 contains a password hash; Digest needs htdigest's name:realm:digest",
        ),
        (TWO + b"\0\0\0\0\n", "line 3 contains a control character"),
        (f"alice:orders:{SHA}\rbob:orders:{SHA}\r".encode(), "line 1 contains a control character"),
        (TWO + f"alice:orders:{OTHER}\n".encode(), "line 3 names a user of a realm for the second time"),
        (
            f"ame\u0301lie:cafe\u0301:{SHA}\nam\u00e9lie:caf\u00e9:{SHA}\n".encode(),
            "line 2 names a user of a realm for the second time",
        ),
        (TWO + f"j\xe9r\xf4me:orders:{SHA}\n".encode("latin-1"), "it is not UTF-8"),
        (bytes(range(256)), "it is not UTF-8"),
        (TWO + b"car", "line 3 is not"),
        (TWO + f"carol:orders:{SHA[:-1]}".encode(), "line 3 is not"),
        (TWO + f"carol:orders:{SHA[:32]}".encode(), "line 3 has no line feed and may be incomplete"),
    ],
)
def test_a_bad_file_is_reported_by_its_line(path: Path, content: bytes, problem: str) -> None:
    """A file that is not a digest file, or is cut off, is refused as a whole. The error names the line and quotes
    nothing of it."""
    overwrite(path, content)

    with pytest.raises(ConfigurationError, match=problem) as caught:
        HtdigestFile(path)

    assert caught.value.argument == "path"
    text = str(caught.value)
    assert [quoted for quoted in ("carol", "alice", "secret", "orders", "SHA", "2y", SHA[:8]) if quoted in text] == []


async def test_a_digest_is_complete_where_something_follows_it(path: Path) -> None:
    """32 digits at the end of a file may be half of 64. Before a line feed or a colon they are complete."""
    overwrite(path, f"alice:orders:{MD5}:rem".encode())

    assert await _find(HtdigestFile(path), "alice", algorithm="MD5") == DigestAccount("alice", MD5)


async def test_roles_come_from_an_auth_group_file_or_a_mapping(path: Path) -> None:
    """Roles come from a group file or a mapping, whether the account was found by its name or by the hash of it."""
    groups = path.with_name("groups")
    overwrite(groups, b"admin: alice\nstaff: alice bob\n")
    hashed = hashlib.sha256(b"alice:orders").hexdigest()

    for given_groups in (groups, {"admin": ["alice"], "staff": {"alice", "bob"}}):
        store = HtdigestFile(path, groups=given_groups)

        assert await _find(store, "alice") == DigestAccount("alice", SHA, roles={"admin", "staff"})
        assert await _find(store, "bob") == DigestAccount("bob", OTHER, roles={"staff"})
        account = await store.find(hashed, realm="orders", algorithm="SHA-256", hashed=True)
        assert account == DigestAccount("alice", SHA, roles={"admin", "staff"})
        assert store.roles_given() == {"admin", "staff"}

    assert HtdigestFile(path).roles_given() == frozenset()


@pytest.mark.parametrize("groups", [{"admin": "alice"}, ["admin"], 7])
def test_groups_are_checked_while_the_app_is_built(path: Path, groups: Any) -> None:
    """Invalid ``groups`` raise, and the error names that argument."""
    with pytest.raises(ConfigurationError) as caught:
        HtdigestFile(path, groups=groups)

    assert caught.value.argument == "groups"


async def test_an_added_or_removed_user_is_noticed(path: Path, clock: ManualClock) -> None:
    """The file is read again when it changes."""
    store = _store(path, clock)
    hashed = hashlib.sha256(b"carol:orders").hexdigest()
    replace(path, f"alice:orders:{OTHER}\ncarol:orders:{SHA}\ncarol:billing:{MD5}\n".encode())

    assert await _look(store, clock, "carol") == DigestAccount("carol", SHA)
    assert await _find(store, "alice") == DigestAccount("alice", OTHER)
    assert await _find(store, "bob") is None
    assert await store.find(hashed, realm="orders", algorithm="SHA-256", hashed=True) == DigestAccount("carol", SHA)
    assert store.realms_held() == {("orders", "SHA-256"), ("billing", "MD5")}


async def test_the_last_accounts_stay_while_the_file_is_written(path: Path, clock: ManualClock) -> None:
    """A file that ends after a whole line may still be growing, so it is read only after it has stopped changing."""
    store = _store(path, clock)
    accounts = []

    for content in (b"", f"alice:orders:{SHA}\n".encode(), TWO, TWO + f"carol:orders:{SHA}\n".encode()):
        overwrite(path, content)
        accounts.append(await _look(store, clock, "bob", times=1))

    assert accounts == [DigestAccount("bob", OTHER)] * 4
    assert await _look(store, clock, "carol") == DigestAccount("carol", SHA)


SPOILT: dict[str, Callable[[Path], None]] = {
    "deleted": delete,
    "cut off": lambda path: overwrite(path, b""),
    "torn": lambda path: overwrite(path, TWO[:-5]),
    "torn in half": lambda path: overwrite(path, TWO[:-33]),
    "torn in a name": lambda path: overwrite(path, TWO + b"car"),
    "replaced by a password file": lambda path: replace(path, f"alice:{BCRYPT}\nbob:{BCRYPT}\n".encode()),
    "replaced by junk": lambda path: replace(path, bytes(range(256)) * 100),
    "filled with zeros": lambda path: overwrite(path, bytes(len(TWO))),
}


@pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT)
async def test_a_bad_file_keeps_the_last_good_accounts(
    spoil: Callable[[Path], None], path: Path, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """The last good accounts are used for five minutes, with one ERROR. Then it is an outage, until the file is good
    again."""
    store = _store(path, clock)
    spoil(path)

    assert await _look(store, clock, "alice", times=4) == DigestAccount("alice", SHA)
    assert await _look(store, clock, "bob", times=4) == DigestAccount("bob", OTHER)
    assert store.realms_held() == {("orders", "SHA-256")}
    clock.move(KEEP_FOR)
    for name in ("alice", "nobody"):
        with pytest.raises(BackendUnavailable) as caught:
            await _find(store, name)
        assert caught.value.reason is STORE_UNAVAILABLE
    assert log_levels(caplog) == ["ERROR"]
    assert SHA not in caplog.text

    replace(path, f"carol:orders:{SHA}\n".encode())
    clock.move(CHECK_INTERVAL)
    with pytest.raises(BackendUnavailable):
        await _find(store, "carol")  # the first look that finds the new file
    assert await _look(store, clock, "carol", times=1) == DigestAccount("carol", SHA)
    assert log_levels(caplog) == ["ERROR", "WARNING"]


async def test_a_bad_group_file_keeps_the_last_good_roles(path: Path, clock: ManualClock) -> None:
    """The last good roles are used for five minutes. Then it is an outage for every user."""
    groups = path.with_name("groups")
    overwrite(groups, b"admin: alice\n")
    store = HtdigestFile(path, groups=groups, clock=clock)
    overwrite(groups, b"admin: alice bo")

    assert await _look(store, clock, "alice", times=4) == DigestAccount("alice", SHA, roles={"admin"})
    clock.move(KEEP_FOR)
    with pytest.raises(BackendUnavailable) as caught:
        await _find(store, "nobody")
    assert caught.value.reason is STORE_UNAVAILABLE


def test_a_look_up_costs_the_same_for_a_hundred_thousand_users(path: Path, clock: ManualClock) -> None:
    """A look-up, by name or by hash, runs as many lines of Python as for ten users, and compares a name once for each
    file."""
    groups = path.with_name("groups")
    by_name, by_hash = set(), set()
    for users in (10, 100_000):
        overwrite(path, "".join(f"user{number}:orders:{SHA}\n" for number in range(users)).encode())
        overwrite(groups, f"all: {' '.join(f'user{number}' for number in range(users))}\n".encode())
        store = HtdigestFile(path, groups=groups, clock=clock)
        count_lines(_find(store, "user1"))  # fills Python's own cache for isinstance
        for name in (CountingName("user0"), CountingName(f"user{users - 1}")):
            account, count = count_lines(_find(store, name))
            compared = name.compared
            by_name.add(count)
            hashed = hashlib.sha256(f"{name}:orders".encode()).hexdigest()
            entry, count = count_lines(store.find(hashed, realm="orders", algorithm="SHA-256", hashed=True))
            by_hash.add(count)

            assert account == entry == DigestAccount(str(name), SHA, roles={"all"})
            assert compared == 2

        assert count_lines(_find(store, "nobody"))[0] is None

    assert len(by_name) == len(by_hash) == 1


def test_the_store_is_what_digest_asks_for(path: Path) -> None:
    """The store can answer at once, and lists its realms and roles."""
    store = HtdigestFile(path)

    assert callable(store.find_now)
    assert store.realms_held()
    assert isinstance(store, RolesListed)


@pytest.mark.rfc("7616-16")
def test_a_store_shows_no_digest(path: Path) -> None:
    """Neither the repr of the store nor that of its content shows a digest or the hash of a name."""
    store = HtdigestFile(path)

    text = repr(store) + repr(vars(store)) + repr(store._digests.last)

    assert SHA not in text
    assert hashlib.sha256(b"alice:orders").hexdigest() not in text


@pytest.mark.parametrize("groups", [None, "file", {"admin": ["alice"]}])
async def test_the_store_answers_at_once_unless_a_file_is_due(path: Path, clock: ManualClock, groups: Any) -> None:
    """If no file is due for a look, a look-up does not wait and needs no deadline. Either of the two files may be
    due."""
    if groups == "file":
        groups = path.with_name("groups")
        groups.write_text("admin: alice\n")
    store = HtdigestFile(path, groups=groups, clock=clock)

    def answers_now() -> bool:
        return store.find_now("alice", realm="orders", algorithm="MD5", hashed=False) is not NOT_NOW

    fresh = answers_now()
    clock.move(CHECK_INTERVAL)
    due = answers_now()
    await store._digests.value()
    one = answers_now()
    await _find(store, "alice")

    assert (fresh, due, one, answers_now()) == (True, False, groups != path.with_name("groups"), True)


def test_a_platform_without_md5_reads_the_other_lines(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MD5 lines are accepted there, as another server may share the file, but their users are not found by hashed
    name."""

    def forbidden(octets: bytes, *, usedforsecurity: bool) -> None:
        raise ValueError("[digital envelope routines] unsupported")

    overwrite(path, f"alice:orders:{MD5}\nalice:orders:{SHA}\n".encode())
    monkeypatch.setattr(hashlib, "md5", forbidden)

    read = at_once(_parse(path.read_bytes()))

    hashed = hashlib.sha256(b"alice:orders").hexdigest()
    assert read.find(hashed, "orders", "SHA-256", hashed=True) == ("alice", SHA)
    assert read.find(hashed, "orders", "MD5", hashed=True) is None


def _read(octets: bytes) -> tuple[DigestIndex[str] | None, str | None]:
    """The parsed content, or the problem with it."""
    try:
        return at_once(_parse(octets)), None
    except BadFile as error:
        return None, str(error)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_file_or_a_bad_one(octets: bytes) -> None:
    """Any bytes are parsed or reported as a bad file, and raise nothing else."""
    read, problem = _read(octets)

    assert (read is not None and bool(read.by_name)) or (problem is not None and problem.isascii())


fields = st.sampled_from(
    ["", " ", "#", "alice", "a\u0301", "\xe1", "\ufeff", "\u2028", "\0", SHA, MD5, BCRYPT, "{SHA}x"]
)
lines_of_fields = st.lists(st.lists(fields, max_size=5).map(":".join), max_size=5)


@given(lines_of_fields, st.sampled_from(["\n", "\r\n", ""]))
def test_any_lines_are_a_file_or_a_bad_one(lines: list[str], end: str) -> None:
    """Lines with any text between the colons are parsed or bad. Every parsed name is found, by its hash too."""
    read, _ = _read(("\n".join(lines) + end).encode())

    if read is None:
        return
    for (realm, algorithm), names in read.by_name.items():
        new = hashlib.md5 if algorithm == "MD5" else hashlib.sha256
        for name, digest in names.items():
            hashed = new(f"{name}:{realm}".encode()).hexdigest()
            assert read.find(name, realm, algorithm, hashed=False) == (name, digest)
            assert read.find(hashed, realm, algorithm, hashed=True) == (name, digest)


texts = st.text(max_size=12) | st.text(f'{BLANKS}#:"\\\ufeffa\u0301', max_size=4)


@given(texts, texts, texts, st.sampled_from(["SHA-256", "MD5"]), st.sampled_from(["", "\n", "\r\n"]))
def test_a_line_that_is_written_can_be_read(name: str, realm: str, password: str, algorithm: str, end: str) -> None:
    """Any name, realm and password are either refused, or found again in the line that was written."""
    try:
        line = htdigest_line(name, realm, password, algorithm)
    except ValueError:
        return

    read = at_once(_parse(f"{line}\n{end}".encode()))

    (((found_realm, found_algorithm), names),) = read.by_name.items()
    assert found_algorithm == algorithm
    ((found_name, digest),) = names.items()
    assert line == f"{found_name}:{found_realm}:{digest}"
    assert read.find(found_name, realm, algorithm, hashed=False) == (found_name, digest)


@pytest.mark.parametrize(
    ("name", "realm", "problem"),
    [
        ("al:ice", "orders", "must not contain a colon"),
        ("", "orders", "the username must be a non-empty string"),
        ("al\nice", "orders", "control characters"),
        ("al\udce9ice", "orders", "half of a surrogate pair"),
        (" alice", "orders", "must not begin with"),
        ("#alice", "orders", "must not begin with"),
        ("\ufeffalice", "orders", "must not begin with"),
        ("alice", "or:ders", "contains a colon, which ends the realm in a file"),
        ("alice", "", "^realm: "),
        ("alice", 'or"ders', "^realm: "),
        ("alice", "or\\ders", "^realm: "),
        ("alice", "or\nders", "^realm: .*control character"),
        ("alice", "or\udce9ders", "^realm: .*surrogate"),
        ("alice", None, "^realm: "),
        (None, "orders", "the username must be a non-empty string"),
    ],
)
def test_a_value_that_a_line_cannot_hold_raises(name: Any, realm: Any, problem: str) -> None:
    """A realm that a line cannot hold is a ``ConfigurationError``, and a name is a ``ValueError``."""
    with pytest.raises(ValueError, match=problem) as caught:
        htdigest_line(name, realm, "correct horse")

    assert isinstance(caught.value, ConfigurationError) == problem.startswith(("^realm", "contains a colon"))
    assert "horse" not in str(caught.value)


def test_the_length_of_a_digest_tells_its_algorithm() -> None:
    """A line tells MD5 from SHA-256 by length, so a third algorithm of the same length cannot be supported."""
    with pytest.raises(
        ConfigurationError, match=r"^algorithm: 'SHA-512-256' cannot be stored in a file; give SHA-256 or MD5"
    ):
        htdigest_line("alice", "orders", "correct horse", "SHA-512-256")
