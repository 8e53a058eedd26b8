"""The page about old clients: each row of its tables is tried, without its option and with it."""

from __future__ import annotations

import re
import unicodedata
from base64 import b64encode
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from passlib.hash import ldap_salted_sha1, ldap_salted_sha256, ldap_salted_sha512, ldap_sha1, md5_crypt

from authguard import Account, AuthGuardMiddleware, Basic, Digest, DigestAccount, Guard, Record, Scheme, UserLookup
from authguard.accounts import LibpassHasher
from authguard.reasons import PASSWORD_WRONG, Reason
from authguard.testing import ManualClock
from tests.support.asgi import RecordingApp, header_list, http_scope, run_app
from tests.support.clock import NOW
from tests.support.markdown import DOCS
from tests.support.schemes.digest import (
    DigestAccounts,
    DigestParams,
    answer_challenge,
    challenge,
    digest_hash,
    digest_response,
    digest_scheme,
    ha1,
    serialize,
    stored_ha1,
)

PAGE = (DOCS / "old-clients.md").read_text(encoding="utf-8")
NAME, NFC = "andr\u00e9", "p\u00e4ssword"
NFD = unicodedata.normalize("NFD", NFC)
LETTERS = "J\u00e4s\u00f8n"  # an account of the tests of Digest


class Row(NamedTuple):
    """What a row of the options says."""

    client: str
    sends: str
    reason: str
    option: str
    recorded: str
    costs: str

    def __str__(self) -> str:
        return f"{self.option}, {self.sends}"


def table(heading: str) -> list[list[str]]:
    """The cells of each row below a heading."""
    section = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (.+) \|$", section, re.MULTILINE)
    return [row.split(" | ") for row in rows if not row.startswith("---")][1:]


ROWS = [Row(*cells) for cells in table("The options")]

#: A scheme that is built with some options, and the field, the target and further fields of a request to it.
Sent = tuple[Scheme, bytes, str, dict[str, str]]
Case = Callable[..., Sent]


class Directory:
    """A ``PasswordCheck`` of one API key, which is the name or the password."""

    async def check(self, username: str, password: str) -> Account | Reason:
        """Accept the key."""
        return Account("customer", "") if "KEY" in {username, password} else PASSWORD_WRONG


def basic(passwords: Any, user_pass: bytes) -> Case:
    """A login by Basic."""
    return lambda **options: (
        Basic(passwords, realm="orders", clock=ManualClock(1000), **options),
        b"Basic " + b64encode(user_pass),
        "/",
        {},
    )


def spelled(**options: Any) -> Sent:
    """A login by Basic without padding."""
    scheme, field, target, fields = basic(users(ldap_sha1.hash("1234")), f"{NAME}:1234".encode())(**options)
    assert field.endswith(b"=")
    return scheme, field.rstrip(b"="), target, fields


def users(stored: str, hasher: LibpassHasher | None = None) -> UserLookup:
    """One account with this hash."""

    async def find(username: str) -> Account | None:
        return Account(NAME, stored) if username == NAME else None

    return UserLookup(find, hasher=hasher)


def stored_as(stored: str) -> Case:
    """A login to an account with this hash."""
    return lambda **options: basic(users(stored, LibpassHasher(**options)), f"{NAME}:{NFC}".encode())()


def digest(change: Callable[[DigestParams], DigestParams] = dict, target: str = "/", **sent: Any) -> Case:
    """A login by Digest whose parameters are changed after they were computed."""

    def case(**options: Any) -> Sent:
        scheme = digest_scheme(DigestAccounts("MD5"), algorithms=("MD5",), **options)
        params = change(answer_challenge(challenge(scheme), **sent))
        return scheme, b"Digest " + serialize(params), target, {}

    return case


def windows(**options: Any) -> Sent:
    """A login by Digest as ``DOMAIN\\user``."""
    store, name = DigestAccounts("MD5"), "DOMAIN\\user"
    store.accounts[name] = DigestAccount(name, stored_ha1(name, "wonderland", algorithm="MD5"))
    scheme = digest_scheme(store, algorithms=("MD5",), **options)
    field = serialize(answer_challenge(challenge(scheme), "wonderland", name))
    return scheme, b"Digest " + field.replace(rb"\\", b"\\"), "/", {}


def without_qop(params: DigestParams) -> DigestParams:
    """The response of RFC 2069."""
    a1 = ha1(params, "wonderland")
    response = digest_hash("MD5", a1, params["nonce"] or "", digest_hash("MD5", "GET", "/"))
    return {**params, "qop": None, "cnonce": None, "nc": None, "response": response}


def from_form(**options: Any) -> Sent:
    """A form of a page under ``no-referrer``, over plain HTTP."""
    scheme, field, target, _ = basic(users(ldap_sha1.hash(NFC)), f"{NAME}:{NFC}".encode())()
    return scheme, field, target, {"origin": "null"}


CASES: dict[tuple[str, str], Case] = {
    ("Basic(latin1=True)", "name and password in ISO-8859-1"): basic(
        users(ldap_sha1.hash(NFC)), f"{NAME}:{NFC}".encode("latin-1")
    ),
    ("Basic(loose_base64=True)", "base64 without its padding, or with `-` and `_`"): spelled,
    ("Basic(empty_password=True)", "an empty password"): basic(Directory(), b"KEY:"),
    ("Basic(empty_username=True)", "an empty name"): basic(Directory(), b":KEY"),
    ("Basic(empty_password=True)", "an empty password for a hash of the empty password"): basic(
        users(ldap_sha1.hash("")), f"{NAME}:".encode()
    ),
    (
        "Basic(unnormalized_hashes=True)",
        "a password in another Unicode form than NFC, of which the hash was made",
    ): basic(users(ldap_sha1.hash(NFD)), f"{NAME}:{NFD}".encode()),
    ('LibpassHasher(allow={"md5_crypt"})', "`$1$`"): stored_as(md5_crypt.hash(NFC)),
    ('LibpassHasher(allow={"ldap_salted_sha1"})', "`{SSHA}`, `{SSHA256}`, `{SSHA512}`"): stored_as(
        ldap_salted_sha1.hash(NFC)
    ),
    ("Digest(uri_without_query=True)", "a `uri` that is the path alone, for a request with a query"): digest(
        uri="/x", target="/x?a=1"
    ),
    ("Digest(rfc2069=True)", "a response without `qop`, in the form of RFC 2069"): digest(without_qop),
    ("Digest(missing_opaque=True)", "no `opaque`"): digest(opaque=None),
    ("Digest(loose_nc=True)", "an `nc` that is short, or begins at zero"): digest(nc="1"),
    ("Digest(latin1=True)", "the name in ISO-8859-1"): digest(
        lambda params: {**params, "username": LETTERS}, username=LETTERS, password="Secret, or not?"
    ),
    ("Digest(literal_backslash=True)", "a backslash in the name that is not escaped"): windows,
    ('AuthGuardMiddleware(origins=["null"])', "`Origin: null`"): from_form,
}


async def record(sent: Sent, **middleware: Any) -> Record:
    """The record of a request."""
    scheme, field, target, fields = sent
    path, _, query = target.partition("?")
    records: list[Record] = []
    guard = Guard(scheme, hooks=[records.append], clock=lambda: NOW)
    scope = http_scope(
        method="POST" if fields else "GET", path=path, query_string=query.encode(), headers=header_list(field, **fields)
    )
    await run_app(AuthGuardMiddleware(RecordingApp(), guard=guard, **middleware), scope)
    (one,) = records
    return one


def options_of(cell: str) -> dict[str, Any]:
    """The option as keyword arguments."""
    options: dict[str, Any] = eval(re.sub(r"`\w+", "dict", cell).strip("`"))
    return options


def test_each_row_has_a_case() -> None:
    """Each row of the page is tried by a test of this module."""
    assert {(row.option.strip("`"), row.sends) for row in ROWS} == CASES.keys()
    assert len(ROWS) == len(CASES)


@pytest.mark.parametrize("row", ROWS, ids=str)
async def test_what_an_old_client_sends_is_refused_without_its_option(row: Row) -> None:
    """R019, R020, R021, R023, R024, R001: strict stays the default, and the page names the reason of the record."""
    one = await record(CASES[row.option.strip("`"), row.sends]())

    assert f"`{one.reason}`" == row.reason


@pytest.mark.parametrize("row", ROWS, ids=str)
async def test_what_an_old_client_sends_is_accepted_with_its_option(row: Row) -> None:
    """R019, R020, R021, R023, R024, R001: the option is enough, and the record says what the page says."""
    options, case = options_of(row.option), CASES[row.option.strip("`"), row.sends]

    of_middleware = "origins" in options
    one = await record(case(**({} if of_middleware else options)), **(options if of_middleware else {}))

    tolerated: Any = one.facts.get("tolerated", {})
    said = [f"`{name}:{what}`" for name, what in tolerated.items()]
    assert (one.reason, said or ["nothing"]) == (None, [row.recorded])


@pytest.mark.parametrize("name", ["256", "512"])
async def test_the_longer_salted_hashes_have_options_of_their_own(name: str) -> None:
    """R019: ``{SSHA256}`` and ``{SSHA512}`` are read by their own names."""
    stored = {"256": ldap_salted_sha256, "512": ldap_salted_sha512}[name].hash(NFC)

    one = await record(stored_as(stored)(allow={f"ldap_salted_sha{name}"}))

    assert one.reason is None


# --- What no option accepts -------------------------------------------------------------------------------------------

EVERY_OPTION: dict[str, Any] = dict.fromkeys(
    ("rfc2069", "uri_without_query", "missing_opaque", "loose_nc", "latin1", "literal_backslash"), True
)
EVERY_FORMAT = LibpassHasher(
    allow={"plaintext", "des_crypt", "md5_crypt", "ldap_salted_sha1", "ldap_salted_sha256", "ldap_salted_sha512"}
)


def _replaced(old: str, new: str, **sent: Any) -> Case:
    """A login by Digest whose field is changed after it was computed."""

    def case(**options: Any) -> Sent:
        scheme, field, target, fields = digest(**sent)(**options)
        assert old.encode() in field
        return scheme, field.replace(old.encode(), new.encode()), target, fields

    return case


def _another_hash(params: DigestParams) -> DigestParams:
    return {**params, "response": digest_response(params, ha1(params, "wonderland").upper())}


def _sess(**options: Any) -> Sent:
    scheme = digest_scheme(DigestAccounts("MD5"), algorithms=("MD5", "MD5-sess"), **options)
    params = {**without_qop(answer_challenge(challenge(scheme))), "algorithm": "MD5-sess"}
    return scheme, b"Digest " + serialize(params), "/", {}


REFUSED: dict[str, Case] = {
    '`qop="auth,auth-int"`': _replaced("qop=auth", 'qop="auth,auth-int"'),
    "`qop` without `cnonce` or `nc`": digest(lambda params: {**params, "cnonce": None}),
    "`qop=` without a value, `uri=/x` without quotes": _replaced('uri="/"', "uri=/"),
    "a path or a query that is encoded otherwise than requested": digest(uri="/a/b", target="/a%2Fb"),
    "the method or the name of another letter case, digits of `H(A1)` in upper case": digest(_another_hash),
    "`MD5-sess` or SHA-256 without `qop`": _sess,
    "Windows-1252": basic(users(ldap_sha1.hash(NFC)), f"{NAME}:\u20ac".encode("cp1252")),
    "a hash of the ISO-8859-1 bytes of a password": basic(
        users("{SHA}" + b64encode(bytes.fromhex("2bb859cd0194ba5439cc7a06b78fb1090cca8787")).decode()),
        f"{NAME}:{NFC}".encode("latin-1"),
    ),
    "`{MD5}`, `{SMD5}`, `{PLAIN}`, `$7$`, `$y$`": basic(
        users("{MD5}X03MO1qnZdYdgyfeuILPmQ==", EVERY_FORMAT), f"{NAME}:password".encode()
    ),
}


@pytest.mark.parametrize("what", [cells[0] for cells in table("Refused under every option")])
async def test_what_the_page_calls_refused_is_refused(what: str) -> None:
    """Under every option of its scheme together, the request stays refused."""
    case = REFUSED[what]
    try:
        sent = case(**EVERY_OPTION)
    except TypeError:  # Basic has other options
        sent = case(latin1=True, loose_base64=True, unnormalized_hashes=True, empty_password=True, empty_username=True)

    assert (await record(sent)).reason is not None


def test_each_refusal_has_a_case() -> None:
    """Each row of the second table is tried."""
    assert [cells[0] for cells in table("Refused under every option")] == list(REFUSED)


def test_the_page_names_every_option_of_the_schemes() -> None:
    """Every flag of ``Basic`` and ``Digest`` that is False by default is a row of the page."""
    named = {(name, option) for row in ROWS for name, option in re.findall(r"`(\w+)\((\w+)=True\)`", row.option)}
    flags = {
        (scheme.__name__, name)
        for scheme in (Basic, Digest)
        for name, value in (scheme.__init__.__kwdefaults__ or {}).items()
        if value is False
    }

    assert named == flags
