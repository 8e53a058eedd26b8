"""Where an issuer's keys are: OpenID Connect Discovery 1.0, RFC 8414."""

from __future__ import annotations

import json
import logging
from typing import Any

import anyio
import pytest

from authguard import BackendUnavailable, ConfigurationError, Issuer
from authguard.keys.remote import Discovery, well_known
from authguard.testing import ManualClock
from tests.support.servers.key_server import OAUTH_PATH, OPENID_PATH, hang, publish_metadata, running_key_server
from tests.support.tokens import AUDIENCE, key_set, rsa_key

KEYS = "https://login.example/keys"


class Idp:
    """An identity provider that is a function: documents by address, and exceptions that are raised."""

    def __init__(self, issuer: str = "https://login.example/", **changes: Any) -> None:
        self.metadata: dict[str, Any] = {"issuer": issuer, "jwks_uri": KEYS, **changes}
        self.documents: dict[str, Any] = {KEYS: key_set(a=rsa_key())}
        self.asked: list[str] = []
        self.clock = ManualClock()
        self.issuer = issuer

    def publish(self, *urls: str, **changes: Any) -> None:
        """The metadata at these addresses."""
        for url in urls:
            self.documents[url] = json.dumps({**self.metadata, **changes}).encode()

    def source(self, **options: Any) -> Discovery:
        """The keys of this issuer."""
        return Discovery(self.issuer, fetch=self, clock=self.clock, **options)

    async def __call__(self, url: str) -> bytes:
        self.asked.append(url)
        found = self.documents.get(url, LookupError())
        if isinstance(found, Exception):
            raise found
        if not isinstance(found, bytes):
            await anyio.sleep(30)
        return bytes(found)


async def kids(source: Discovery, kid: str = "a") -> list[str | None]:
    """The ids of the keys that may have signed with this one."""
    found = source.held(kid=kid, algorithm="RS256")
    return [key.kid for key in (await source.keys_for(kid=kid, algorithm="RS256") if found is None else found)]


async def problem(source: Discovery) -> str:
    """Why there are none."""
    with pytest.raises(BackendUnavailable) as caught:
        await source.keys_for(kid="a", algorithm="RS256")
    return caught.value.detail


@pytest.mark.parametrize(
    ("issuer", "addresses"),
    [
        ("https://login.example", ("https://login.example" + OPENID_PATH, "https://login.example" + OAUTH_PATH)),
        ("https://login.example/", ("https://login.example" + OPENID_PATH, "https://login.example" + OAUTH_PATH)),
        (
            "https://login.example:8443/t",
            (f"https://login.example:8443/t{OPENID_PATH}", f"https://login.example:8443{OAUTH_PATH}/t"),
        ),
        (
            "https://login.example/a/b/",
            (f"https://login.example/a/b{OPENID_PATH}", f"https://login.example{OAUTH_PATH}/a/b"),
        ),
    ],
)
async def test_both_forms_of_the_address_are_tried(issuer: str, addresses: tuple[str, str]) -> None:
    """One appends to the issuer's path (OpenID Connect Discovery 1.0 section 4), one precedes it (RFC 8414, 3.1)."""
    assert well_known(issuer) == addresses
    for number, address in enumerate(addresses):
        idp = Idp(issuer)
        idp.publish(address)
        assert await kids(idp.source()) == ["a"]
        assert idp.asked == [*addresses[: number + 1], KEYS]


def test_an_issuer_is_discovered_without_a_word_to_the_network() -> None:
    """What is refused is refused while the app is built, and nothing is fetched until somebody comes."""
    idp = Idp()

    found = Issuer.discover(idp.issuer, audience=AUDIENCE, algorithms=["RS256"], typ="at+jwt", fetch=idp)

    assert (found.issuer, found.algorithms, found.typ) == (idp.issuer, frozenset({"RS256"}), "at+jwt")
    assert found.held is not None
    assert repr(found.keys) == "Discovery('https://login.example/')"
    assert idp.asked == []


@pytest.mark.parametrize(
    ("issuer", "said"),
    [
        ("http://login.example/", "over http, anybody on the way can read and change"),
        ("https://login.example/?tenant=5", "the name of an issuer has no query"),
        ("https://login.example/#top", "the URL must not contain a fragment"),
        ("https://login.example/.well-known/openid-configuration", "give the issuer, without /.well-known/"),
        ("login.example", "this is not an absolute https URL"),
        (None, "a NoneType is not a URL"),
    ],
)
def test_a_name_that_no_issuer_has_is_refused(issuer: Any, said: str) -> None:
    """RFC 8414 section 2: https, no query, no fragment."""
    with pytest.raises(ConfigurationError, match=f"^issuer: {said}"):
        Issuer.discover(issuer, audience=AUDIENCE, algorithms=["RS256"])


@pytest.mark.parametrize(
    "stated",
    [
        "https://LOGIN.example/",
        "https://login.example//",
        "https://evil.example/",
        None,
        ["x"],
    ],
)
async def test_the_issuer_is_compared_octet_by_octet(stated: Any) -> None:
    """RFC 8414 section 3.3: metadata that name another issuer are not used, and no key of theirs is fetched."""
    idp = Idp()
    idp.publish(*well_known(idp.issuer), issuer=stated)

    assert await problem(idp.source()) == "https://login.example/: its metadata: their issuer is another"
    assert KEYS not in idp.asked


@pytest.mark.parametrize(
    ("given", "stated"),
    [
        ("https://login.example/", "https://login.example"),
        ("https://login.example", "https://login.example/"),
        ("https://login.example/t", "https://login.example/t/"),
    ],
)
async def test_a_slash_too_many_or_too_few_is_told(given: str, stated: str) -> None:
    """Everybody gets that wrong once. It is no less another issuer."""
    idp = Idp(given)
    idp.publish(*well_known(given), issuer=stated)

    told = "its metadata: their issuer is another; it differs by a slash at its end from the one that was given"
    assert await problem(idp.source()) == f"{given}: {told}"
    assert KEYS not in idp.asked


@pytest.mark.parametrize(
    "uri", [None, 5, "", "/keys", "http://login.example/keys", "https://a:b@login.example/keys", "file:///etc/passwd"]
)
async def test_an_address_that_keys_must_not_come_from_is_refused(uri: Any) -> None:
    """It is held to what an address of the app's own is."""
    idp = Idp()
    idp.publish(*well_known(idp.issuer), jwks_uri=uri)

    told = "https://login.example/: its metadata: their jwks_uri is no address that keys may come from"
    assert await problem(idp.source()) == told
    assert len(idp.asked) == 2


async def test_what_either_form_failed_with_is_told() -> None:
    """A catch-all page at one of them hides nothing of the other."""
    idp = Idp()
    idp.publish("https://login.example" + OAUTH_PATH, issuer="https://evil.example/")

    told = "https://login.example/: its metadata: the fetch raised LookupError; their issuer is another"
    assert await problem(idp.source()) == told


async def test_metadata_are_read_once_a_day_and_their_form_is_remembered() -> None:
    """Keys are fetched far more often than that."""
    idp = Idp()
    idp.publish("https://login.example" + OAUTH_PATH)
    source = idp.source()
    await source.warm()
    for _ in range(23):
        idp.clock.move(3600)
        await source.warm()
    assert idp.asked == ["https://login.example" + OPENID_PATH, "https://login.example" + OAUTH_PATH, *[KEYS] * 24]
    idp.asked.clear()

    idp.clock.move(3600)
    idp.publish("https://login.example" + OAUTH_PATH, jwks_uri="https://login.example/new")
    idp.documents["https://login.example/new"] = key_set(b=rsa_key())
    await source.warm()

    assert idp.asked == ["https://login.example" + OAUTH_PATH, "https://login.example/new"]
    assert await kids(source, "b") == ["b"]


@pytest.mark.parametrize(
    ("gone", "told"), [(b"<html>", "its metadata: what it answers is no JSON object"), ("hangs", "they take too long")]
)
async def test_keys_are_fetched_from_where_they_were_while_the_metadata_are_gone(
    gone: Any, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    """With a WARNING; ten minutes later they are read again."""
    idp = Idp()
    idp.publish(*well_known(idp.issuer))
    source = idp.source(timeout=0.2)
    await source.warm()
    idp.clock.move(86_400)
    idp.documents.update(dict.fromkeys(well_known(idp.issuer), gone))
    idp.documents[KEYS] = key_set(b=rsa_key())
    idp.asked.clear()

    await source.warm()
    assert await kids(source, "b") == ["b"]
    idp.publish(*well_known(idp.issuer))
    await source.warm()
    assert idp.asked.count("https://login.example" + OPENID_PATH) == 1
    idp.clock.move(600)
    await source.warm()

    assert idp.asked.count("https://login.example" + OPENID_PATH) == 2
    assert [(each.levelno, each.getMessage()) for each in caplog.records] == [
        (logging.WARNING, f"https://login.example/: {told}; its keys are fetched from where they were")
    ]


async def test_metadata_are_read_at_once_where_the_keys_have_moved() -> None:
    """A key set that is not where it was may be elsewhere."""
    idp = Idp()
    idp.publish(*well_known(idp.issuer))
    source = idp.source()
    await source.warm()
    del idp.documents[KEYS]
    idp.documents["https://login.example/new"] = key_set(b=rsa_key())
    idp.publish(*well_known(idp.issuer), jwks_uri="https://login.example/new")
    with pytest.raises(BackendUnavailable, match="the fetch raised LookupError"):
        await source.warm()
    await source.warm()

    assert await kids(source, "b") == ["b"]


async def test_discovery_over_the_wire() -> None:
    """An issuer with a path, whose metadata are those of RFC 8414."""
    with running_key_server(key_set(a=rsa_key())) as server:
        issuer = publish_metadata(server, "/tenant")
        source = Discovery(issuer, insecure_http=True)

        assert await kids(source) == ["a"]
        assert [path for path, _ in server.requests] == [f"/tenant{OPENID_PATH}", f"{OAUTH_PATH}/tenant", "/jwks"]


async def test_all_that_is_fetched_shares_one_time_out() -> None:
    """Metadata that hang leave no second time-out for the keys."""
    with running_key_server(key_set(a=rsa_key())) as server:
        source = Discovery(f"http://127.0.0.1:{server.port}", insecure_http=True, timeout=0.2)
        server.behaviour = hang

        assert await problem(source) == f"{source.name}: it gave no answer within 0.2 s"
        assert server.request_count <= 1
