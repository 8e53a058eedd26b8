"""The parser of Digest credentials: what clients send, what is refused, round trips, and the parts of a uri."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from authguard.wire.authorization import auth_params
from authguard.wire.challenge import Challenge
from authguard.wire.digest import DigestCredentials, authority, resource
from authguard.wire.grammar import WireError
from tests.wire.call_count import steps

# --- What clients send ------------------------------------------------------------------------------------------------

RESPONSE = "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"
GOOD = {
    "username": '"alice"',
    "realm": '"orders"',
    "nonce": '"n0"',
    "uri": '"/"',
    "response": f'"{RESPONSE}"',
    "qop": "auth",
    "cnonce": '"c0"',
    "nc": "00000001",
}


def field(*more: str, **changes: str | None) -> bytes:
    """The parameters that a client sends: ``GOOD`` with the changes, then ``more``. None leaves a parameter out."""
    pairs = {**GOOD, **changes}
    written = [f"{name}={value}" for name, value in pairs.items() if value is not None]
    return ", ".join([*written, *more]).encode("latin-1")


def read(*more: str, **changes: str | None) -> DigestCredentials:
    """The credentials that these parameters are parsed into."""
    return DigestCredentials.from_auth_params(field(*more, **changes))


def problem(params: bytes) -> str:
    """The problem that these parameters are refused with."""
    with pytest.raises(WireError) as caught:
        DigestCredentials.from_auth_params(params)
    assert caught.value.__context__ is None
    return caught.value.problem


def test_values_are_returned_without_quotes() -> None:
    """Without ``algorithm`` it is MD5; ``opaque`` is optional."""
    assert read() == DigestCredentials(
        "alice", b"orders", b"n0", b"/", RESPONSE.encode(), b"auth", b"c0", b"00000001", "MD5", None, False
    )


@pytest.mark.rfc("7616-7", "7616-8")
@pytest.mark.parametrize("name", ["algorithm", "qop", "nc"])
def test_quotes_say_nothing(name: str) -> None:
    """The clients requests and curl quote values that other clients send as tokens."""
    value = {"algorithm": "SHA-256", **GOOD}[name]

    assert read(**{name: f'"{value}"'}) == read(**{name: value})


def test_unknown_parameters_are_ignored_and_so_is_the_case_of_names() -> None:
    """RFC 9110 section 11.2: parameter names are case-insensitive."""
    assert read('auth-param="x"', "stale=true", nonce=None, realm=None, REALM='"orders"', Nonce='"n0"') == read()


def test_quotes_and_commas_within_quotes_belong_to_the_value() -> None:
    """Escapes are removed before anything is hashed."""
    credentials = read(username=r'"a\"li\\ce, qop=none"', realm=r'"or\ders"', uri='"/?a,b=\\"c\\", d"', cnonce=r'"\""')

    assert (credentials.username, credentials.realm, credentials.uri, credentials.cnonce) == (
        r'a"li\ce, qop=none',
        b"orders",
        b'/?a,b="c", d',
        b'"',
    )


@pytest.mark.rfc("7616-13")
@pytest.mark.parametrize(
    ("written", "name"),
    [
        ('"J\u00c3\u00a4s\u00c3\u00b8n"', "Jäsøn"),
        ('"u\u00cc\u0088"', "ü"),
        ('"\u00f0\u009f\u0094\u0091"', "\U0001f511"),
        ('"a:b"', "a:b"),
    ],
)
def test_names_are_utf_8_in_nfc(written: str, name: str) -> None:
    """RFC 7616 section 4: decomposed names are composed, and any character outside the controls is accepted."""
    assert read(username=written).username == name


EXTENDED = [
    ("UTF-8''J%C3%A4s%C3%B8n%20Doe", "Jäsøn Doe"),
    ("utf-8'en-GB'%c2%a3", "£"),
    ("UTF-8''u%CC%88", "ü"),
    ("\"UTF-8''alice\"", "alice"),
    ("UTF-8''!#$&+-.^_`|~", "!#$&+-.^_`|~"),
]


@pytest.mark.rfc("7616-7")
@pytest.mark.parametrize(("written", "name"), EXTENDED)
def test_extended_names_are_those_of_rfc_8187(written: str, name: str) -> None:
    """``username*`` is accepted in UTF-8 only, with or without a language tag."""
    assert read(f"username*={written}", username=None).username == name


@pytest.mark.rfc("7616-12")
def test_a_hashed_name_is_in_lower_case() -> None:
    """A hash of 32 or 64 digits is converted to lower case, because stores look it up so."""
    assert read("userhash=true", username=f'"{RESPONSE.upper()}"').username == RESPONSE
    assert read("userhash=TRUE", username=f'"{"A" * 32}"').hashed
    assert not read("userhash=false").hashed


@pytest.mark.rfc("7616-17")
def test_a_response_may_be_in_upper_case() -> None:
    """RFC 7616 section 3.2 requires lower case; upper case is accepted and has the same meaning."""
    assert read(response=f'"{RESPONSE.upper()}"') == read()


def test_only_ascii_letters_of_the_algorithm_are_upper_cased() -> None:
    """The bytes are upper-cased: as text, "ß" would become "SS"."""
    assert read("algorithm=sha-256-Sess").algorithm == "SHA-256-SESS"
    assert read('algorithm="MD5-se\u00df"').algorithm == "MD5-SE\u00df"


@pytest.mark.parametrize(
    ("written", "count"), [("00000001", 1), ("0000000a", 10), ("0000000A", 10), ("ffffffff", 2**32 - 1)]
)
def test_the_count_is_hexadecimal(written: str, count: int) -> None:
    """``nc`` keeps the case that the client sent, because it is hashed; ``count`` is the number."""
    assert (read(nc=written).count, read(nc=written).nc) == (count, written.encode())


# --- What is refused --------------------------------------------------------------------------------------------------


@pytest.mark.rfc("7616-7")
@pytest.mark.parametrize("name", ["realm", "nonce", "uri", "response", "qop", "cnonce", "nc", "username"])
def test_what_must_be_there_is_there_and_not_empty(name: str) -> None:
    """A missing parameter is refused, and so is an empty one. That includes RFC 2069, which has no ``qop``."""
    assert problem(field(**{name: None})) == f"no {name}"
    assert problem(field(**{name: '""'})) == f"no {name}"


@pytest.mark.parametrize("name", [*GOOD, "Nonce", "URI"])
def test_a_parameter_that_is_listed_twice_is_refused(name: str) -> None:
    """It is refused even if both values are equal."""
    assert problem(field(f"{name}={GOOD[name.lower()]}")) == "duplicate auth-param"


@pytest.mark.rfc("7616-8")
@pytest.mark.parametrize(
    "nc", ["1", "0000001", "000000001", "0x000001", "0000000g", "+0000001", '" 0000001"', "-0000001"]
)
def test_a_count_has_eight_digits(nc: str) -> None:
    """Other lengths are refused, and so are other spellings that ``int`` accepts."""
    assert problem(field(nc=nc)) == "nc is not eight hexadecimal digits"


MALFORMED: list[tuple[bytes, str]] = [
    (b"", "no realm"),
    (b"foo", "not a list of auth-params"),
    (b"foo=bar", "no realm"),
    (field(nc="00000000"), "nc is zero"),
    (field(response='"abc"'), "response is not 32 or 64 hexadecimal digits"),
    (field(response=f'"{RESPONSE}0"'), "response is not 32 or 64 hexadecimal digits"),
    (field(response=f'"{RESPONSE[:-1]}g"'), "response is not 32 or 64 hexadecimal digits"),
    (field("username*=UTF-8''alice"), "both username and username*"),
    (field("username*=UTF-8''alice", "userhash=true"), "both username and username*"),
    (field("username*=ISO-8859-1''al", username=None), "username* is not in UTF-8 as of RFC 8187"),
    (field("username*=UTF-8''", username=None), "username* is not in UTF-8 as of RFC 8187"),
    (field("username*=UTF-8'alice", username=None), "username* is not in UTF-8 as of RFC 8187"),
    (field("username*=UTF-8''%4", username=None), "username* is not in UTF-8 as of RFC 8187"),
    (field("username*=UTF-8''%C3", username=None), "the username is not UTF-8, or holds a control character"),
    (field("username*=UTF-8''a%0Ab", username=None), "the username is not UTF-8, or holds a control character"),
    (field("username*=UTF-8''%ED%A0%80", username=None), "the username is not UTF-8, or holds a control character"),
    (field(username='"\u00e4"'), "the username is not UTF-8, or holds a control character"),
    (field(username='"a\tb"'), "the username is not UTF-8, or holds a control character"),
    (field(username='"\u00c2\u0085"'), "the username is not UTF-8, or holds a control character"),
    (field("userhash=yes"), "userhash is neither true nor false"),
    (field("userhash="), "not a list of auth-params"),
    (field('userhash=""'), "userhash is neither true nor false"),
    (field("userhash=true"), "a hashed username is 32 or 64 hexadecimal digits"),
    (
        field("userhash=true", f"username*=UTF-8''{RESPONSE}", username=None),
        "a hashed username is 32 or 64 hexadecimal digits",
    ),
    (field('x="y'), "not a list of auth-params"),
    (field() + b"\x00", "not a list of auth-params"),
    (field(cnonce='"a\rb"'), "not a list of auth-params"),
    (field(*(f"a{number}=b" for number in range(25))), "too many auth-params"),
]


@pytest.mark.rfc("7616-7")
@pytest.mark.parametrize(("params", "expected"), MALFORMED)
def test_what_is_out_of_the_grammar_is_refused(params: bytes, expected: str) -> None:
    """Each kind of error has its own problem, a constant that quotes none of the input."""
    assert problem(params) == expected


# From lighttpd, tests/mod-auth.t. Its lines are folded, and a fold is read as spaces (RFC 9112 section 5.2).
STALE = b'username="jan", realm="download archiv", nonce="b3b26457000000003a9b34a3cd56d26e48a52a498ac9765d4b",      '
CRASHES: list[tuple[bytes, bytes, str]] = [
    (
        b'username="jan", realm="jan", nonce="9a5428ccc05b086a08d918e73b01fc6f",                 ',
        b'uri="/server-status", response="ea5f7d9a30b8b762f9610ccb87dea74f"',
        "no qop",
    ),
    (
        b'username="jan", realm="jan", nonce="b1d12348b4620437c43dd61c50ae4639", uri="/MJ-BONG.xm.mpc", qop=auth, ',
        b'noncecount=00000001", cnonce="036FCA5B86F7E7C4965C7F9B8FE714B7", response="29B32C2953C763C6D033C8A49983B87E"',
        "not a list of auth-params",
    ),
    (
        STALE + b'uri="/server-status", qop=auth, nc=00000001, ',
        b'algorithm="md5-sess", response="049b000fb00ab51dddea6f093a96aa2e"',
        "no cnonce",
    ),
]


@pytest.mark.parametrize(("line", "continuation", "expected"), CRASHES)
def test_fields_that_crashed_lighttpd_are_refused(line: bytes, continuation: bytes, expected: str) -> None:
    """Its regression tests: credentials without qop, without nc, or without cnonce."""
    assert problem(line + continuation) == expected


@pytest.mark.parametrize("present", range(7))
def test_qop_nc_and_cnonce_are_all_required(present: int) -> None:
    """Tomcat's TestDigestAuthenticator: testInvalidQopCombo1 to 6, and testValidNoQop, which RFC 7616 made invalid."""
    missing = {name: None for bit, name in enumerate(("qop", "cnonce", "nc")) if not present >> bit & 1}

    assert problem(field(**missing)) == f"no {next(iter(missing))}"


# --- Round trips ------------------------------------------------------------------------------------------------------

values = st.binary(min_size=1, max_size=20).map(
    lambda data: bytes(byte for byte in data if byte in {9, 32} or 32 < byte != 127) or b"x"
)
names = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20).map(
    lambda text: unicodedata.normalize("NFC", text)
)
digits = st.sampled_from([32, 64]).flatmap(lambda size: st.text("0123456789abcdef", min_size=size, max_size=size))
all_credentials = st.builds(
    DigestCredentials,
    username=names,
    realm=values,
    nonce=values,
    uri=values,
    response=digits.map(str.encode),
    qop=values,
    cnonce=values,
    nc=st.integers(1, 2**32 - 1).map(lambda count: b"%08x" % count),
    algorithm=values.map(lambda value: value.upper().decode("latin-1")),
    opaque=st.none() | values,
)
no_deadline = settings(deadline=None)


@no_deadline
@given(all_credentials, st.booleans(), digits)
def test_credentials_survive_a_round_trip(credentials: DigestCredentials, hashed: bool, name: str) -> None:
    """``from_auth_params`` is the reverse of ``to_auth_params``, for every byte that a field may contain."""
    credentials = replace(credentials, hashed=True, username=name) if hashed else credentials

    assert DigestCredentials.from_auth_params(credentials.to_auth_params()) == credentials


@no_deadline
@given(all_credentials, st.none() | st.text("abcdefghij-_0123", min_size=48, max_size=48))
def test_an_authentication_info_can_be_sent_whatever_the_client_chose(
    credentials: DigestCredentials, nextnonce: str | None
) -> None:
    """7616-14: quotes and backslashes in a cnonce are escaped, so no client can end the field early."""
    value = credentials.authentication_info(b"0" * 64, nextnonce)

    next_params = {} if nextnonce is None else {"nextnonce": nextnonce.encode()}
    echoed = {"cnonce": credentials.cnonce, "nc": credentials.nc}
    assert auth_params(value) == {**next_params, "rspauth": b"0" * 64, "qop": b"auth", **echoed}
    assert not any(byte < 32 and byte != 9 for byte in value)


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_damaged_credentials_raise_nothing_but_a_wire_error(data: st.DataObject) -> None:
    """With a few bytes replaced, the parser raises ``WireError``, or its result survives a round trip."""
    buffer = bytearray(field("algorithm=SHA-256", "userhash=false", "opaque=x"))
    for position in data.draw(st.lists(st.integers(0, len(buffer) - 1), max_size=4)):
        buffer[position : position + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
    damaged = bytes(buffer)

    try:
        credentials = DigestCredentials.from_auth_params(damaged)
    except WireError:
        return
    assert DigestCredentials.from_auth_params(credentials.to_auth_params()) == credentials


HOSTILE: list[Callable[[int], bytes]] = [
    lambda n: field(username='"' + "\u00c3\u00a4" * (n // 2) + '"'),
    lambda n: field(username='"' + "e\u00cc\u0081a" * (n // 4) + '"'),
    lambda n: field("username*=UTF-8''" + "%41" * (n // 4), username=None),
    lambda n: field("username*=UTF-8'" + "a" * n, username=None),
    lambda n: field(cnonce='"' + r"\"" * (n // 2) + '"'),
    lambda n: field(nc="0" * n),
    lambda n: field(response='"' + "0" * n + '"'),
    lambda n: field(algorithm="a" * n),
]


@pytest.mark.parametrize("hostile", HOSTILE)
def test_the_cost_of_a_field_is_linear_in_its_length(hostile: Callable[[int], bytes]) -> None:
    """The number of calls grows no faster than the input. ``test_linearity`` shows the same for the patterns."""
    at_n, at_2n, at_4n = (steps(DigestCredentials.from_auth_params, hostile(n)) for n in (4096, 8192, 16384))

    assert at_4n - at_2n <= 2 * (at_2n - at_n)


# --- The parts of a uri -----------------------------------------------------------------------------------------------

RESOURCES = [
    (b"/a", b"/a"),
    (b"/a?", b"/a"),
    (b"/a??", b"/a??"),
    (b"/a?x", b"/a?x"),
    (b"/a?x?", b"/a?x?"),
    (b"/a%2Fb", b"/a%2Fb"),
    (b"/a%2fb", b"/a%2fb"),
    (b"/a%20b", b"/a%20b"),
    (b"/%C3%A4?q=%C3%A4", b"/%C3%A4?q=%C3%A4"),
    (b"/a+b", b"/a+b"),
    (b"//a", b"//a"),
    (b"/http://x/y", b"/http://x/y"),
    (b"/a#b", b"/a#b"),
    (b"http://testserver/a?x", b"/a?x"),
    (b"HTTPS://u@testserver:443/a", b"/a"),
    (b"http://testserver", b"/"),
    (b"http://testserver?x", b"/?x"),
    (b"http://testserver/a?", b"/a"),
    (b"a:b", b"a:b"),
    (b"*", b"*"),
    (b"", b""),
    (b"?", b""),
]


@pytest.mark.rfc("7616-10")
@pytest.mark.parametrize(("uri", "expected"), RESOURCES)
def test_scheme_authority_and_a_bare_question_mark_are_dropped_and_nothing_else(uri: bytes, expected: bytes) -> None:
    """The path is not decoded, double slashes are not merged, and the query is kept."""
    assert resource(uri) == expected


AUTHORITIES: list[tuple[bytes, tuple[bytes, bytes] | None]] = [
    (b"/a", None),
    (b"//a", None),
    (b"a:b", None),
    (b"*", None),
    (b"http://Host/a", (b"http", b"host")),
    (b"HTTPS://host:443?x@y", (b"https", b"host")),
    (b"https://host:80#x@y", (b"https", b"host:80")),
    (b"ws://u:p@v@host:80", (b"ws", b"host")),
    (b"wss://host:443/u@v", (b"wss", b"host")),
    (b"x://host:/", (b"x", b"host")),
    (b"http://[::1]:8080/", (b"http", b"[::1]:8080")),
    (b"http:///", (b"http", b"")),
]


@pytest.mark.rfc("7616-10")
@pytest.mark.parametrize(("uri", "expected"), AUTHORITIES)
def test_the_authority_of_an_absolute_uri_is_its_host_and_port(
    uri: bytes, expected: tuple[bytes, bytes] | None
) -> None:
    """It is in lower case, without user information, and without the default port of its scheme."""
    assert authority(uri) == expected


def test_no_secret_is_in_the_repr() -> None:
    """The repr hides what could be replayed or used to guess the password."""
    credentials = read(nonce='"S3CR3Tnonce"', cnonce='"S3CR3Tcnonce"')

    assert "S3CR3T" not in repr(credentials)
    assert RESPONSE not in repr(credentials)


def test_authentication_info_has_the_grammar_of_challenge_parameters() -> None:
    """Clients can parse ``Authentication-Info`` with the parser that they use for challenges."""
    info = read(cnonce=r'"a\"b"').authentication_info(b"0" * 64)

    assert Challenge.from_header(b"Info " + info).get("cnonce") == 'a"b'
