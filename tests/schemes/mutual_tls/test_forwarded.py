"""A header with a certificate is believed from whom the app names, and from nobody else."""

from __future__ import annotations

import logging
import warnings
from base64 import b64encode
from typing import Any

import pytest
from cryptography.utils import CryptographyDeprecationWarning

from authguard import ConfigurationError, ForwardedCertificate
from tests.schemes.mutual_tls.site import ALICE, HERS, HIS, STRANGER, THIEF, Site, field, forwarded

MISSING, INVALID, SENDER = "certificate.missing", "certificate.invalid", "certificate.sender_refused"
SOCKET = ["unix:/run/app.sock"]
BASE64 = b64encode(ALICE.der).decode()


# --- from whom --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trusted", "scope", "reason"),
    [
        (["10.0.0.0/8"], {"client": ("10.1.2.3", 40000)}, None),
        (["10.0.0.7"], {"client": ("10.0.0.7", 40000)}, None),
        (["10.0.0.7"], {"client": ("10.0.0.8", 40000)}, SENDER),
        (["10.0.0.0/8"], {"client": ("::ffff:10.0.0.7", 40000)}, None),
        (["192.0.2.0/24", "fd00::/8"], {"client": ("fd00::7", 40000)}, None),
        (["10.0.0.0/8"], {"client": ("10.0.0.7", "40000")}, None),
        (["10.0.0.0/8"], {"client": STRANGER}, SENDER),
        (["10.0.0.0/8"], {"client": ("testclient", 50000)}, SENDER),
        (["10.0.0.0/8"], {"client": None}, SENDER),
        (["10.0.0.0/8"], {"client": None, "server": None}, SENDER),
        (["10.0.0.0/8"], {"client": None, "server": ("/run/app.sock", None)}, SENDER),
        (["10.0.0.0/8"], {"client": ("10.0.0.7", 0)}, SENDER),
        (["10.0.0.0/8"], {"client": ("10.0.0.7", "0")}, SENDER),
        (SOCKET, {"client": None, "server": ("/run/app.sock", None)}, None),
        (SOCKET, {"client": ("", "0"), "server": ("/run/app.sock", "0")}, None),
        (SOCKET, {"client": ("203.0.113.9", 0), "server": ("/run/app.sock", None)}, None),
        (SOCKET, {"client": None, "server": ("/run/other.sock", None)}, SENDER),
        (SOCKET, {"client": None, "server": ("app.sock", None)}, SENDER),
        (SOCKET, {"client": None, "server": None}, SENDER),
        (SOCKET, {"client": ("10.0.0.7", 40000)}, SENDER),
        (SOCKET, {"client": None, "server": ("testserver", 443)}, SENDER),
        (["unix:"], {"client": None, "server": None}, None),
        (["unix:"], {"client": None, "server": ("/", "r")}, None),
        # A middleware has taken the host from a field that a client can write.
        (SOCKET, {"client": None, "server": ("/run/app.sock", 443)}, SENDER),
        (["unix:"], {"client": None, "server": ("app.sock", None)}, None),
        (["unix:"], {"client": None, "server": ("10.0.0.1", 443)}, SENDER),
        (["unix:"], {"client": ("10.0.0.7", 40000), "server": None}, SENDER),
    ],
)  # fmt: skip
async def test_the_sender_must_be_named(trusted: list[str], scope: Any, reason: str | None) -> None:
    """By its address, or by the socket, as uvicorn, hypercorn, granian and gunicorn tell them."""
    assert await Site(client_certificate=forwarded(trusted=trusted)).said(HERS, **scope) == reason


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        (b"x-forwarded-for", b"10.0.0.7", SENDER),
        (b"x-forwarded-for", b"203.0.113.9, 10.0.0.7:5555", SENDER),
        (b"x-forwarded-for", b"::ffff:10.0.0.7", SENDER),
        (b"forwarded", b'for="10.0.0.7:80";proto=https', SENDER),
        (b"x-real-ip", b"10.0.0.7", SENDER),
        (b"x-forwarded-for", b"203.0.113.9, 10.0.0.77, 110.0.0.7", None),
        (b"x-forwarded-host", b"10.0.0.7", None),
    ],
)
async def test_an_address_that_a_forwarded_field_names_is_not_believed(
    name: bytes, value: bytes, reason: str | None
) -> None:
    """The server may have taken it from there, with the port: uvicorn does so with --forwarded-allow-ips=*."""
    assert await Site().said(HERS, field(value, name)) == reason


async def test_the_record_and_one_warning_tell_who_has_sent_it(caplog: pytest.LogCaptureFixture) -> None:
    """Once for each header, whoever sends it how often; the record each time."""
    site = Site()
    with caplog.at_level(logging.WARNING, "authguard"):
        for _ in range(3):
            assert await site.said(HERS, client=STRANGER) == SENDER
            assert await site.said(HERS, client=("10.0.0.7", 0)) == SENDER

    told = [record.getMessage() for record in caplog.records if "was refused" in record.getMessage()]
    assert len(told) == 1
    assert "203.0.113.9" in told[0]
    assert "10.0.0.0/8" in told[0]
    assert (site.facts["sender"], site.facts["header"]) == ("10.0.0.7", "Client-Cert")
    assert "port 0" in str(site.facts["differs_by"])


async def test_the_warning_tells_of_a_rewritten_address(caplog: pytest.LogCaptureFixture) -> None:
    """That is the commonest cause behind a proxy."""
    await Site().said(HERS, client=("10.0.0.7", 0))

    assert "the server took the address from a forwarded field" in caplog.text


async def test_who_sends_no_header_is_not_told_of(caplog: pytest.LogCaptureFixture) -> None:
    """A stranger without a certificate has just none."""
    assert await Site().said(client=STRANGER) == MISSING
    assert "was refused" not in caplog.text


async def test_an_unbound_token_is_not_asked_who_has_sent_the_header() -> None:
    """Nothing depends on it."""
    site = Site()

    assert await site.said(HERS, client=STRANGER, token=site.issuer.token("alice")) is None


# --- what ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ([HERS], None),
        ([field(f" {ALICE.rfc9440}\t")], None),
        ([field(f":{BASE64.rstrip('=')}:")], None),
        ([], MISSING),
        ([field("")], MISSING),
        ([field(" \t")], MISSING),
        ([field("::")], MISSING),
        ([HERS, HERS], INVALID),
        ([HIS, HERS], INVALID),
        ([field(f"{ALICE.rfc9440}, {THIEF.rfc9440}")], INVALID),
        ([field(f"{ALICE.rfc9440};a=1")], INVALID),
        ([field(f"{ALICE.rfc9440}x")], INVALID),
        ([field(BASE64)], INVALID),
        ([field(ALICE.escaped_pem)], INVALID),
        ([field(f":{ALICE.pem}:")], INVALID),
        ([field(":A:")], INVALID),
        ([field(":AAAA:")], INVALID),
        ([field(b":\xff\xfe:")], INVALID),
        ([field(":" + "A" * 20_000 + ":")], INVALID),
        ([field(f":{b64encode(ALICE.der + b'trailing').decode()}:")], INVALID),
        ([field(f":{b64encode(ALICE.der[:-2]).decode()}:")], INVALID),
        ([field(ALICE.rfc9440, b"client_cert")], MISSING),
    ],
    ids=[
        "plain",
        "whitespace",
        "unpadded",
        "none",
        "empty",
        "blank",
        "no-bytes",
        "twice",
        "with-another",
        "joined",
        "parameters",
        "after",
        "base64",
        "pem",
        "pem-in-colons",
        "one-character",
        "other-bytes",
        "non-ascii",
        "long",
        "trailing",
        "cut",
        "underscore",
    ],
)
async def test_the_value_of_rfc_9440(fields: list[tuple[bytes, bytes]], reason: str | None) -> None:
    """One byte sequence, and one line. A clear answer to everything else."""
    assert await Site().said(*fields) == reason


async def test_the_record_says_what_is_wrong_with_the_value() -> None:
    """In a constant phrase; nothing of the value is in it. A similar header is named."""
    site = Site()
    problems = []
    for fields in ((HERS, HERS), (field("x"),), (field(f"{ALICE.rfc9440}, x"),), (field(f"{ALICE.rfc9440};a"),)):
        await site.said(*fields)
        problems.append(site.facts["problem"])
    await site.said(field("x", b"client_cert"))

    assert problems == [
        "2 lines of this name",
        "not a byte sequence between colons (RFC 9440)",
        "several values, joined by a comma",
        "parameters, which the field does not have",
    ]
    assert site.facts["found"] == "no Client-Cert, but client_cert"


APACHE = ALICE.pem.replace("\n", " ")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (ALICE.escaped_pem, None),
        (APACHE, None),
        (ALICE.pem.replace("\n", "\t"), None),
        (ALICE.escaped_pem + THIEF.escaped_pem, None),
        (THIEF.escaped_pem + ALICE.escaped_pem, "certificate.mismatch"),
        (ALICE.escaped_pem + "x", INVALID),
        (f"{ALICE.escaped_pem},{THIEF.escaped_pem}", INVALID),
        (ALICE.escaped_pem.replace("CERTIFICATE", "PRIVATE%20KEY"), INVALID),
        (BASE64, INVALID),
        ("%", INVALID),
        ("%FF%00", INVALID),
        ("-----BEGIN CERTIFICATE-----A-----END CERTIFICATE-----", INVALID),
        (APACHE * 60, INVALID),
    ],
    ids=[
        "nginx",
        "apache",
        "tabs",
        "chain",
        "other-chain",
        "after",
        "joined",
        "key",
        "base64",
        "percent",
        "bytes",
        "short",
        "long",
    ],
)
async def test_a_certificate_in_pem(value: str, reason: str | None) -> None:
    """Percent-encoded, as nginx and load balancers send it, or with spaces, as Apache does. The first one counts."""
    source = forwarded(header="X-Client-Cert", format="pem")

    assert await Site(client_certificate=source).said(field(value, b"x-client-cert")) == reason


@pytest.mark.parametrize(
    ("value", "reason"),
    [(BASE64, None), (f"{BASE64},{BASE64}", INVALID), (ALICE.rfc9440, INVALID), ("=", INVALID), ("A=A", INVALID)],
    ids=["plain", "joined", "colons", "padding", "inside"],
)
async def test_a_certificate_in_base64(value: str, reason: str | None) -> None:
    """As HAProxy and Azure send it."""
    assert await Site(client_certificate=forwarded(format="base64")).said(field(value)) == reason


async def test_a_certificate_that_makes_the_library_warn_is_refused_where_warnings_are_errors(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is no failure of the app."""

    def warn(_: bytes) -> None:
        warnings.warn("an odd serial number", CryptographyDeprecationWarning, stacklevel=2)

    monkeypatch.setattr("authguard.schemes.bearer.client_certificate.x509.load_der_x509_certificate", warn)

    assert await Site().said(HERS) == INVALID


# --- what is refused when the app is built ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"header": "Client Cert"}, "header: 'Client Cert' is not a field"),
        ({"header": "authorization"}, "header: "),
        ({"header": "Cookie"}, "header: "),
        ({"header": "X-Forwarded-For"}, "header: "),
        ({"header": 7}, "header: 7"),
        ({"format": "der"}, "format: 'der' is not one of rfc9440, pem, base64"),
        ({"format": []}, r"format: \[\]"),
        ({"trusted": []}, "trusted: the list is empty"),
        ({"trusted": "10.0.0.7"}, "trusted: '10.0.0.7' is not a list"),
        ({"trusted": None}, "trusted: None is not a list"),
        ({"trusted": ["0.0.0.0/0"]}, "trusted: 0.0.0.0/0 is nearly everybody"),
        ({"trusted": ["::/0"]}, "trusted: ::/0 is nearly everybody"),
        ({"trusted": ["128.0.0.0/1"]}, "nearly everybody"),
        ({"trusted": ["proxy.example"]}, "trusted: 'proxy.example' is neither a network nor unix:/path"),
        ({"trusted": ["10.0.0.7/8"]}, "has host bits set"),
        ({"trusted": ["unix:app.sock"]}, "write the whole path"),
        ({"trusted": [7]}, "trusted: 7 is not a text"),
    ],
    ids=str,
)
def test_wrong_arguments_are_named(options: dict[str, Any], message: str) -> None:
    """With what to write in their place."""
    with pytest.raises(ConfigurationError, match=message):
        forwarded(**options)


def test_its_repr_says_all_that_it_believes() -> None:
    """Networks are in their usual spelling."""
    source = ForwardedCertificate("Client-Cert", trusted=["10.0.0.7", "unix:/run/app.sock"])

    assert repr(source) == (
        "ForwardedCertificate('Client-Cert', format='rfc9440', trusted=['10.0.0.7/32', 'unix:/run/app.sock'])"
    )
