"""The password hasher: which formats it verifies and makes, and how it treats weak and unreadable ones."""

from __future__ import annotations

import hashlib
import logging
import subprocess
import sys
import warnings
from base64 import b64encode
from importlib import metadata
from pathlib import Path
from typing import Any

import passlib
import pytest
from hypothesis import given
from hypothesis import strategies as st

from authguard.accounts.account import Verdict
from authguard.accounts.password_hashes import BY_NAME, MAKES, READ, LibpassHasher
from authguard.errors import ConfigurationError
from tests.support.vectors import load_vectors

CASES = [
    pytest.param(case["format"], case["password"], case["line"].partition(":")[2], id=case["command"][:40])
    for case in load_vectors("htpasswd.json")["cases"]
]
READ_CASES = [case for case in CASES if case.values[0] not in BY_NAME]
WEAK_CASES = [case for case in CASES if case.values[0] in BY_NAME]
ONE_EACH: dict[Any, Any] = {case.values[0]: case.values[2] for case in reversed(CASES)}

ARGON2_CHEAP = "$argon2id$v=19$m=8,t=1,p=1$dW7NGaMUgrCWsrYWAgCgdA$DqU7a0TOyc8RIEz5XnLmlFQ38TWga+zP5tEmB9N/fDc"  # "pw"
BCRYPT_4 = "$2y$04$iKLVqJaaBszBvMRRbhVwcum4i830DJp5PELbkmSF90a1DaxxbKcB2"  # "a"
BCRYPT_12 = "$2b$12$iZxoCe2IVL4wweLeWQbsQu0.W9TkJKb3J.xyhLbVSpkDM5.7yPjwa"  # "pw"
PBKDF2_29000 = "$pbkdf2-sha256$29000$6T1H6J0TolQqZawVQuhdyw$VZMxW6AWiPjGvu2KYO1V8WvE8OvG8BgNkyfC6UPnTqA"
ARGON2 = "$argon2id$v=19$m=65536,t=3,p=4$do7RmvO+t/Y+Z6z1HuNcCw$Wvyn9Zyl4zbQd/MNrNM6cyOAliP/oWjcqaAUdAuUsaE"  # "pw"

HASHER = LibpassHasher()
ALL = LibpassHasher(allow=set(BY_NAME))


@pytest.mark.parametrize(("name", "password", "stored"), READ_CASES)
def test_what_apaches_tool_wrote_is_read(name: str, password: str, stored: str) -> None:
    """A hash of htpasswd matches its password, and not another one of the same length."""
    assert HASHER.format_of(stored) == name
    assert HASHER.reads(stored)
    assert HASHER.verify(password, stored) is Verdict.MATCH
    assert HASHER.verify("~" + password[1:], stored) is Verdict.WRONG


@pytest.mark.rfc("7617-7")
@pytest.mark.parametrize(("name", "password", "stored"), WEAK_CASES)
def test_plain_text_and_des_crypt_are_read_only_by_name(name: str, password: str, stored: str) -> None:
    """Formats without protection are refused unless the app names them."""
    allowing = LibpassHasher(allow={name})

    assert HASHER.verify(password, stored) is Verdict.UNREADABLE
    assert allowing.format_of(stored) == name
    assert allowing.verify(password, stored) is Verdict.MATCH
    assert allowing.verify("~" + password[1:], stored) is Verdict.WRONG


def salted(algorithm: str, prefix: str, password: str, salt: bytes = b"8 bytes.") -> str:
    """A salted hash as LDAP servers and nginx write it: the digest of password and salt, and the salt."""
    digest = hashlib.new(algorithm, password.encode() + salt).digest()
    return prefix + b64encode(digest + salt).decode("ascii")


OLD_FORMATS = [
    ("md5_crypt", "password", "$1$xxxxxxxx$UYCIxa628.9qXjpQCjM4a."),  # openssl passwd -1 -salt xxxxxxxx password
    ("ldap_salted_sha1", "p\u00e4ssword", salted("sha1", "{SSHA}", "p\u00e4ssword")),
    ("ldap_salted_sha1", "password", salted("sha1", "{SSHA}", "password", b"4444")),
    ("ldap_salted_sha256", "password", salted("sha256", "{SSHA256}", "password")),
    ("ldap_salted_sha512", "password", salted("sha512", "{SSHA512}", "password", b"sixteen bytes...")),
]


@pytest.mark.rfc("7617-7")
@pytest.mark.parametrize(("name", "password", "stored"), OLD_FORMATS)
def test_md5_crypt_and_salted_sha_are_read_by_name(name: str, password: str, stored: str) -> None:
    """R019: ``$1$`` and ``{SSHA}`` are refused unless the app names them, and need a new hash at the next login."""
    allowing = LibpassHasher(allow={name})

    assert HASHER.verify(password, stored) is Verdict.UNREADABLE
    assert (allowing.format_of(stored), allowing.reads(stored)) == (name, True)
    assert allowing.verify(password, stored) is Verdict.MATCH
    assert allowing.verify("~" + password[1:], stored) is Verdict.WRONG
    assert (allowing.needs_rehash(stored), allowing.blocks_gil(stored)) == (True, False)


@pytest.mark.parametrize(("name", "password", "stored"), OLD_FORMATS)
def test_an_old_format_that_is_cut_off_matches_nothing(name: str, password: str, stored: str) -> None:
    """R019: no part of such a hash is a hash of its password."""
    allowing = LibpassHasher(allow={name})

    verdicts = {allowing.verify(password, stored[:length]) for length in range(len(stored))}

    assert Verdict.MATCH not in verdicts


def test_des_crypt_reads_eight_bytes() -> None:
    """DES crypt ignores everything after eight bytes, which Apache's tool warns about too."""
    hasher = LibpassHasher(allow={"des_crypt"})

    assert hasher.verify("correct hippopotamus", ONE_EACH["des_crypt"]) is Verdict.MATCH


@pytest.mark.parametrize("stored", ["$7$aaaaaaaa$aaaaaaaaaaaaaaaaaaaaaa", "{SSHA}AAAA", "!$apr1$x$y", "*", "!", ""])
def test_what_looks_like_a_hash_is_no_plain_text(stored: str) -> None:
    """A hash of an unknown format, or a locked account, is never compared as plain text."""
    assert ALL.verify(stored, stored) is Verdict.UNREADABLE


@pytest.mark.parametrize(("name", "password", "stored"), READ_CASES)
def test_a_truncated_hash_matches_nothing(name: str, password: str, stored: str) -> None:
    """A hash that is cut off anywhere is unreadable, and raises nothing."""
    halves = [stored[:length] for length in range(len(stored))] + [stored + "x", stored + "\n"]

    assert {HASHER.verify(password, half) for half in halves} == {Verdict.UNREADABLE}
    assert [half for half in halves if HASHER.reads(half)] == []


def test_a_truncated_argon2_hash_matches_nothing() -> None:
    """A shorter digest is a valid argon2 hash of other passwords, so hashes of an unusual length are refused."""
    verdicts = {HASHER.verify("pw", ARGON2_CHEAP[:-length]) for length in range(1, len(ARGON2_CHEAP))}

    assert HASHER.verify("pw", ARGON2_CHEAP) is Verdict.MATCH
    assert verdicts == {Verdict.WRONG, Verdict.UNREADABLE}


@pytest.mark.parametrize(
    "stored",
    [
        "",
        "x",
        "$2x$04$iKLVqJaaBszBvMRRbhVwcum4i830DJp5PELbkmSF90a1DaxxbKcB2",
        "$2b$99$iKLVqJaaBszBvMRRbhVwcum4i830DJp5PELbkmSF90a1DaxxbKcB2",
        "$2b$04$" + "é" * 53,
        "$1$aaaaaaaa$aaaaaaaaaaaaaaaaaaaaaa",
        "$y$j9T$aaaa$aaaa",
        "$5$rounds=1$salt$" + "a" * 43,
        "{SHA}" + "é" * 28,
        "{sha}hvfkN/qlp/zhXR3cuerq6jd2Z7g=",
        "$argon2id$",
        "$scrypt$ln=99$a$b",
        "$pbkdf2-sha256$x$y$z",
        "\ud800",
        None,
        b"$2b$",
        7,
    ],
)
def test_an_unknown_hash_is_unreadable_and_no_error(stored: Any) -> None:
    """A login with any unknown hash is rejected, and nothing is raised."""
    assert HASHER.verify("pw", stored) is Verdict.UNREADABLE
    assert not HASHER.reads(stored)
    assert not HASHER.needs_rehash(stored)


@given(st.text(alphabet=st.characters(codec=None)), st.sampled_from(["", *ONE_EACH.values()]), st.text())
def test_no_password_and_no_hash_raises(password: str, beginning: str, end: str) -> None:
    """The hasher raises for no password and no hash, and an invented hash matches nothing."""
    stored = beginning[: len(beginning) // 2] + end

    verdict = HASHER.verify(password, stored)

    assert verdict in {Verdict.WRONG, Verdict.TOO_LONG, Verdict.UNREADABLE}
    assert (verdict is Verdict.UNREADABLE) is not HASHER.reads(stored)
    assert ALL.verify(password, stored) in Verdict
    assert ALL.needs_rehash(stored) is ALL.reads(stored)
    assert ALL.blocks_gil(stored) in {True, False}


def test_bcrypt_takes_at_most_72_bytes() -> None:
    """A password above 72 bytes is refused for bcrypt, which would ignore its end."""
    stored = next(case.values[2] for case in CASES if case.values[1] == "x" * 71 + "y")
    assert isinstance(stored, str)

    assert HASHER.verify("x" * 71 + "y", stored) is Verdict.MATCH
    assert HASHER.verify("x" * 71 + "yz", stored) is Verdict.TOO_LONG
    assert HASHER.verify("é" * 36, stored) is Verdict.WRONG
    assert HASHER.verify("é" * 36 + "z", stored) is Verdict.TOO_LONG


@pytest.mark.parametrize("name", ONE_EACH)
def test_no_password_is_longer_than_1024_bytes(name: str) -> None:
    """The cost of a hash does not grow without limit with what a client sends."""
    stored = ONE_EACH[name]

    assert ALL.verify("é" * 512, stored) is (Verdict.TOO_LONG if name == "bcrypt" else Verdict.WRONG)
    assert ALL.verify("é" * 512 + "x", stored) is Verdict.TOO_LONG
    assert ALL.verify("x" * 4097, stored) is Verdict.TOO_LONG


@pytest.mark.parametrize("name", ONE_EACH)
@pytest.mark.parametrize("password", ["\0", "a\0", "\ud800", "a\udcff", ""])
def test_an_odd_password_is_wrong_and_no_error(name: str, password: str) -> None:
    """A password with a NUL or a lone surrogate is wrong, and raises nothing."""
    assert ALL.verify(password, ONE_EACH[name]) is Verdict.WRONG


@pytest.mark.parametrize("at", [28, 59])
def test_spare_bits_of_bcrypt_are_ignored(at: int) -> None:
    """Old libraries set the spare bits of salt and digest. Such a hash is verified without a warning."""
    stored = BCRYPT_4[:at] + chr(ord(BCRYPT_4[at]) + 1) + BCRYPT_4[at + 1 :]

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        verdict = HASHER.verify("a", stored)

    assert verdict is Verdict.MATCH
    assert caught == []


@pytest.mark.parametrize("name", MAKES)
def test_a_new_hash_is_read_and_not_outdated(name: str) -> None:
    """A hash that was made here is verified, and needs no new hash."""
    hasher = LibpassHasher(makes=name)

    stored = hasher.hash("pässwörd")

    assert hasher.format_of(stored) == name
    assert hasher.verify("pässwörd", stored) is Verdict.MATCH
    assert not hasher.needs_rehash(stored)
    assert not hasher.blocks_gil(stored)


def test_bcrypt_makes_no_hash_of_a_password_that_it_cannot_read() -> None:
    """Hashing a password above 72 bytes raises without quoting it, as its hash would lock the user out."""
    with pytest.raises(ValueError, match="72 bytes") as caught:
        LibpassHasher(makes="bcrypt").hash("hunter2" * 11)

    assert "hunter2" not in str(caught.value)


@pytest.mark.rfc("7617-7")
@pytest.mark.parametrize("stored", [*(ONE_EACH[name] for name in ONE_EACH), PBKDF2_29000, ARGON2_CHEAP])
def test_a_weaker_format_or_a_lower_cost_is_outdated(stored: str) -> None:
    """Every format that htpasswd writes by default is weaker than the one made here, and needs a new hash."""
    assert ALL.needs_rehash(stored)


@pytest.mark.parametrize("stored", [BCRYPT_12, ARGON2])
def test_another_good_format_is_not_outdated(stored: str) -> None:
    """A strong hash of another format needs no new hash."""
    assert not HASHER.needs_rehash(stored)


def test_formats_that_block_the_interpreter_are_known() -> None:
    """SHA-crypt runs in Python and blocks the event loop noticeably."""
    slow = {name for name in ONE_EACH if ALL.blocks_gil(ONE_EACH[name])}

    assert slow == {"sha256_crypt", "sha512_crypt"}


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("allow", "plaintext"),
        ("allow", {"ldap_md5"}),
        ("allow", {"plaintext", "bcrypt"}),
        ("makes", "apr_md5_crypt"),
        ("makes", "plaintext"),
        ("makes", ""),
    ],
)
def test_unknown_and_weak_formats_are_refused_while_the_app_is_built(argument: str, value: Any) -> None:
    """An unknown format, and one that no new password should have, raise and name the argument."""
    with pytest.raises(ConfigurationError) as caught:
        LibpassHasher(**{argument: value})

    assert caught.value.argument == argument


REINSTALL = "pip uninstall passlib libpass, then pip install libpass"


@pytest.mark.parametrize(
    ("version", "problem"),
    [
        ("1.7.4", f"passlib 1.7.4 is imported from .*passlib/__init__.py, which fails with bcrypt 5 .*: {REINSTALL}"),
        ("1.6", f"passlib 1.6 is imported .*: {REINSTALL}"),
        (None, f"passlib unknown is imported .*: {REINSTALL}"),
    ],
)
def test_a_passlib_that_is_not_libpass_is_refused(
    monkeypatch: pytest.MonkeyPatch, version: str | None, problem: str
) -> None:
    """The old passlib fails at the first login. What counts is what is imported, and not which names are installed."""
    if version is None:
        monkeypatch.delattr(passlib, "__version__")
    else:
        monkeypatch.setattr(passlib, "__version__", version)

    with pytest.raises(ConfigurationError, match=problem) as caught:
        LibpassHasher()

    assert caught.value.argument == "passlib"


def test_a_passlib_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error has the command that installs it."""
    monkeypatch.setitem(sys.modules, "passlib", None)

    with pytest.raises(ConfigurationError, match="libpass is not installed: pip install libpass bcrypt"):
        LibpassHasher()


def test_a_libpass_of_another_name_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    """An app that is frozen into one file has no metadata, and a distribution of a system may have another name."""

    def nothing(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", nothing)

    assert LibpassHasher().reads(BCRYPT_12)


PROBLEMS = [
    ("hunter2", 'it is plain text; make a hash with htpasswd -B, or read it with LibpassHasher(allow={"plaintext"})'),
    (
        ".Zn/xnXD7ulOQ",
        'it is DES crypt; make a hash with htpasswd -B, or read it with LibpassHasher(allow={"des_crypt"})',
    ),
    (
        "$1$xxxxxxxx$UYCIxa628.9qXjpQCjM4a.",
        'it is MD5 crypt; make a hash with htpasswd -B, or read it with LibpassHasher(allow={"md5_crypt"})',
    ),
    (
        "{SSHA}hunter2",
        'it is salted SHA-1; make a hash with htpasswd -B, or read it with LibpassHasher(allow={"ldap_salted_sha1"})',
    ),
    ("{MD5}hunter2", "it is ldap_md5; make a hash with htpasswd -B"),
    ("$unknown$hunter2", "it is in an unknown format; make a hash with htpasswd -B"),
    ("!hunter2", "the account is locked"),
    (BCRYPT_12[:-1], "it is a hash of bcrypt that is cut off or damaged; make a new one"),
    ("", "it is empty"),
    (BCRYPT_12, None),
]


@pytest.mark.parametrize(("stored", "problem"), PROBLEMS)
def test_a_hash_that_is_not_read_has_a_reason(stored: str, problem: str | None) -> None:
    """N10: the reason names the format and the fix, and has nothing of the hash."""
    assert HASHER.problem_of(stored) == problem


ARGON2_MISSING = "argon2 needs the package argon2-cffi, which is not installed: pip install 'authguard[argon2]'"


def test_a_format_whose_package_is_missing_is_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing argon2-cffi raises while the app is built, and not when the first hash is made."""
    from passlib.exc import MissingBackendError
    from passlib.hash import argon2

    def missing(cls: type) -> str:
        raise MissingBackendError("argon2: no backends available")

    monkeypatch.setattr(argon2, "get_backend", classmethod(missing))

    with pytest.raises(ConfigurationError) as caught:
        LibpassHasher(makes="argon2")

    assert str(caught.value) == f"makes: {ARGON2_MISSING}"


def test_a_format_whose_package_is_missing_stops_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without argon2-cffi, passwords with a bcrypt hash are verified as before."""
    from passlib.exc import MissingBackendError
    from passlib.hash import argon2

    def missing(cls: type) -> str:
        raise MissingBackendError("argon2: no backends available")

    monkeypatch.setattr(argon2, "get_backend", classmethod(missing))
    hasher = LibpassHasher(makes="bcrypt")

    assert hasher.verify("pw", hasher.hash("pw")) is Verdict.MATCH
    assert hasher.problem_of("$argon2id$v=19$") == ARGON2_MISSING


FRESH = """
import logging, sys
logging.basicConfig(level=logging.INFO, stream=sys.stdout)
sys.modules["argon2"] = None  # not installed
from authguard.accounts.password_hashes import LibpassHasher
hasher = LibpassHasher()
print(hasher.verify("pw", hasher.hash("pw")).name, *(hasher.verify("pw", each).name for each in sys.argv[1:]))
"""

WITHOUT_ARGON2 = """
import sys
sys.modules["argon2"] = None  # not installed
from authguard.accounts import Account, HtpasswdFile, MemoryUsers
from authguard.errors import ConfigurationError
try:
    MemoryUsers([Account("alice", sys.argv[1])])
except ConfigurationError as error:
    print(error)
HtpasswdFile(sys.argv[2])
"""


def test_argon2_without_its_package_names_it(tmp_path: Path) -> None:
    """R057: an account in memory raises, and a line of a file is a WARNING. Both name the package and the extra."""
    users = tmp_path / "users"
    users.write_text(f"bob:{BCRYPT_12}\nalice:{ARGON2}\n")

    command = [sys.executable, "-W", "error", "-c", WITHOUT_ARGON2, ARGON2, str(users)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)

    assert done.stdout == f"accounts: the hasher cannot read the hash of 'alice': {ARGON2_MISSING}\n"
    assert done.stderr == f"{users}: nobody can log in by line 2: {ARGON2_MISSING}\n"


def test_a_fresh_process_logs_nothing() -> None:
    """Importing and using the hasher gives no warning and no log record. A hash whose package is missing is
    unreadable."""
    stored = [BCRYPT_12, *(ONE_EACH[name] for name in READ if name in ONE_EACH), ARGON2]

    command = [sys.executable, "-W", "error", "-c", FRESH, *stored]
    done = subprocess.run(command, check=False, capture_output=True, text=True)

    assert (done.stdout, done.stderr) == ("MATCH MATCH WRONG WRONG WRONG WRONG WRONG UNREADABLE\n", "")


def test_nothing_is_logged_in_use(caplog: pytest.LogCaptureFixture) -> None:
    """No record of passlib at INFO is logged, whatever the hasher verifies."""
    with caplog.at_level(logging.INFO):
        HASHER.verify("pw", BCRYPT_12)
        HASHER.verify("pw", BCRYPT_12[:-1])
        HASHER.verify("x" * 5000, ARGON2)

    assert caplog.records == []


def test_a_hasher_shows_no_hash() -> None:
    """The repr of a hasher, which a tool may print beside a traceback, has no password and no hash in it."""
    HASHER.verify("hunter2", BCRYPT_4)

    assert "hunter2" not in repr(vars(HASHER))
    assert BCRYPT_4 not in repr(vars(HASHER))
