"""Finding the key set of an issuer: OpenID Connect Discovery 1.0 and RFC 8414."""

from __future__ import annotations

import json
import logging
from typing import Any

import anyio
import pytest

from authguard import BackendUnavailable, ConfigurationError, Issuer
from authguard.http_client import shown_url
from authguard.keys.remote import Discovery, metadata_urls
from authguard.testing import ManualClock
from tests.support.servers.key_server import OAUTH_PATH, OPENID_PATH, hang, publish_metadata, running_key_server
from tests.support.tokens import AUDIENCE, key_set, rsa_key

KEYS = "https://login.example/keys"
METADATA = metadata_urls("https://login.example/")


class MetadataServer:
    """An identity provider that is a function: documents by URL. An exception among them is raised."""

    def __init__(self, issuer: str = "https://login.example/", **changes: Any) -> None:
        self.metadata: dict[str, Any] = {"issuer": issuer, "jwks_uri": KEYS, **changes}
        self.documents: dict[str, Any] = {KEYS: key_set(a=rsa_key())}
        self.requests: list[str] = []
        self.clock = ManualClock()
        self.issuer = issuer

    def publish(self, *urls: str, **changes: Any) -> None:
        """Publish the metadata at these URLs."""
        for url in urls:
            self.documents[url] = json.dumps({**self.metadata, **changes}).encode()

    def source(self, **options: Any) -> Discovery:
        """The keys of this issuer."""
        return Discovery(self.issuer, fetch=self, clock=self.clock, **options)

    async def __call__(self, url: str) -> bytes:
        self.requests.append(url)
        found = self.documents.get(url, LookupError())
        if isinstance(found, Exception):
            raise found
        if not isinstance(found, bytes):
            await anyio.sleep(30)
        return bytes(found)


async def kids(source: Discovery, kid: str = "a") -> list[str | None]:
    """The ids of the keys that may have signed a token with this kid."""
    keys = source.held(kid=kid, algorithm="RS256")
    return [key.kid for key in (await source.keys_for(kid=kid, algorithm="RS256") if keys is None else keys)]


async def problem(source: Discovery) -> str:
    """Why there are no keys."""
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
    """One form appends to the issuer's path (OpenID Connect Discovery 1.0 section 4), the other precedes it (RFC 8414,
    3.1)."""
    assert metadata_urls(issuer) == addresses
    for number, address in enumerate(addresses):
        idp = MetadataServer(issuer)
        idp.publish(address)
        assert await kids(idp.source()) == ["a"]
        assert idp.requests == [*addresses[: number + 1], KEYS]


def test_an_issuer_is_built_without_the_network() -> None:
    """Invalid arguments raise while the app is built, and nothing is fetched before the first request."""
    idp = MetadataServer()

    discovered = Issuer.discover(idp.issuer, audience=AUDIENCE, algorithms=["RS256"], typ="at+jwt", fetch=idp)

    assert (discovered.issuer, discovered.algorithms, discovered.typ) == (idp.issuer, frozenset({"RS256"}), "at+jwt")
    assert discovered.held is not None
    assert repr(discovered.keys) == "Discovery('https://login.example/')"
    assert idp.requests == []


@pytest.mark.parametrize(
    ("issuer", "said"),
    [
        ("http://login.example/", "over http, anybody on the way can read and change"),
        ("https://login.example/?tenant=5", "an issuer must not contain a query"),
        ("https://login.example/#top", "the URL must not contain a fragment"),
        ("https://login.example/.well-known/openid-configuration", "give the issuer, without /.well-known/"),
        ("login.example", "this is not an absolute https URL"),
        (None, "a NoneType is not a URL"),
    ],
)
def test_an_invalid_issuer_name_raises(issuer: Any, said: str) -> None:
    """RFC 8414 section 2: the name of an issuer is an https URL without query and fragment."""
    with pytest.raises(ConfigurationError, match=f"^issuer: {said}"):
        Issuer.discover(issuer, audience=AUDIENCE, algorithms=["RS256"])


@pytest.mark.parametrize(
    ("stated", "told"),
    [
        ("https://LOGIN.example/", "another, %s; it differs by upper and lower case from the one that was given"),
        ("https://login.example//", "another, %s; it differs by a slash at the end from the one that was given"),
        ("https://evil.example/", "another, %s"),
        (["x"], "a list of strings"),
    ],
)
async def test_the_issuer_is_compared_byte_by_byte(stated: Any, told: str) -> None:
    """RFC 8414 section 3.3: metadata that name another issuer are not used, and its keys are not fetched."""
    idp = MetadataServer()
    idp.publish(*metadata_urls(idp.issuer), issuer=stated)

    problems = f"their issuer is {told.replace('%s', json.dumps(stated))}"
    answers = "; ".join(f"{url}: {problems}" for url in METADATA)
    assert await problem(idp.source()) == f"https://login.example/: its metadata: {answers}"
    assert KEYS not in idp.requests


async def test_metadata_without_an_issuer_are_not_used() -> None:
    """RFC 8414 section 2 requires ``issuer``."""
    idp = MetadataServer()
    idp.publish(*METADATA, issuer=None)

    assert (await problem(idp.source())).endswith("they name no issuer")


@pytest.mark.parametrize(
    ("given", "stated"),
    [
        ("https://login.example/", "https://login.example"),
        ("https://login.example", "https://login.example/"),
        ("https://login.example/t", "https://login.example/t/"),
    ],
)
async def test_a_final_slash_that_differs_is_reported(given: str, stated: str) -> None:
    """The error points out a final slash that differs, a common mistake, but the issuer is still another one."""
    idp = MetadataServer(given)
    idp.publish(*metadata_urls(given), issuer=stated)

    told = f'their issuer is another, "{stated}"; it differs by a slash at the end from the one that was given'
    openid, oauth = metadata_urls(given)
    assert await problem(idp.source()) == f"{given}: its metadata: {openid}: {told}; {oauth}: {told}"
    assert KEYS not in idp.requests


@pytest.mark.parametrize(
    ("uri", "told"),
    [
        (None, "they have no jwks_uri"),
        (5, "their jwks_uri is a number"),
        ("", "their jwks_uri is no absolute https URL without a password"),
        ("/keys", "their jwks_uri is no absolute https URL without a password"),
        ("http://login.example/keys", "their jwks_uri is http, where anybody on the way can replace the keys"),
        ("https://a:b@login.example/keys", "their jwks_uri is no absolute https URL without a password"),
        ("file:///etc/passwd", "their jwks_uri is no absolute https URL without a password"),
    ],
)
async def test_a_jwks_uri_that_is_not_allowed_is_refused(uri: Any, told: str) -> None:
    """R006: the ``jwks_uri`` of the metadata must meet the rules for a URL of the app's own. The error says which it
    breaks, for each URL of the metadata."""
    idp = MetadataServer()
    openid, oauth = metadata_urls(idp.issuer)
    idp.publish(openid, oauth, jwks_uri=uri)

    assert await problem(idp.source()) == f"https://login.example/: its metadata: {openid}: {told}; {oauth}: {told}"
    assert len(idp.requests) == 2


async def test_the_failures_of_both_forms_are_reported() -> None:
    """R006: each URL has its own answer, so that a catch-all page at one of them does not hide the other. The record
    has the issuer that was found."""
    idp = MetadataServer()
    openid, oauth = metadata_urls(idp.issuer)
    idp.publish(oauth, issuer="https://evil.example/")

    told = 'their issuer is another, "https://evil.example/"'
    with pytest.raises(BackendUnavailable) as caught:
        await idp.source().keys_for(kid="a", algorithm="RS256")

    detail = f"https://login.example/: its metadata: {openid}: the fetch raised LookupError; {oauth}: {told}"
    assert caught.value.detail == detail
    assert caught.value.facts == {
        "metadata": {openid: "the fetch raised LookupError", oauth: told},
        "issuer": "https://evil.example/",
        "wanted": "https://login.example/",
    }


async def test_where_the_keys_should_be_is_recorded() -> None:
    """R006: if the metadata are right and the keys do not come, the record has the URL that the metadata name, without
    what may be a secret in it."""
    idp = MetadataServer()
    openid, oauth = metadata_urls(idp.issuer)
    idp.publish(openid, oauth, jwks_uri="https://login.example/gone?key=secret")
    idp.documents["https://login.example/gone?key=secret"] = b"<html>"

    with pytest.raises(BackendUnavailable) as caught:
        await idp.source().keys_for(kid="a", algorithm="RS256")

    assert caught.value.facts == {"jwks_uri": "https://login.example/gone"}


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("https://a.example/x?key=1#y", "https://a.example/x"),
        ("https://a.example/#token", "https://a.example/"),
        ("http://user:word@a.example/", "http://a.example/"),
        ('a"b\nc\x1b[0mé', "a'b\\nc\\x1b[0m\\xe9"),
        ("x" * 200, "x" * 128),
    ],
)
def test_a_url_of_a_server_is_quoted_without_secrets(written: str, shown: str) -> None:
    """R006: what a server has written stands on one line of a log, and cannot fill it or show a password."""
    assert shown_url(written) == shown


async def test_metadata_are_read_once_a_day_and_their_form_is_remembered() -> None:
    """Metadata are fetched once a day, from the URL that answered last time. Keys are fetched far more often."""
    idp = MetadataServer()
    idp.publish("https://login.example" + OAUTH_PATH)
    source = idp.source()
    await source.warm()
    for _ in range(23):
        idp.clock.move(3600)
        await source.warm()
    assert idp.requests == ["https://login.example" + OPENID_PATH, "https://login.example" + OAUTH_PATH, *[KEYS] * 24]
    idp.requests.clear()

    idp.clock.move(3600)
    idp.publish("https://login.example" + OAUTH_PATH, jwks_uri="https://login.example/new")
    idp.documents["https://login.example/new"] = key_set(b=rsa_key())
    await source.warm()

    assert idp.requests == ["https://login.example" + OAUTH_PATH, "https://login.example/new"]
    assert await kids(source, "b") == ["b"]


@pytest.mark.parametrize(
    ("gone", "told"),
    [
        (b"<html>", f"its metadata: {'; '.join(f'{url}: what it answers is no JSON object' for url in METADATA)}"),
        ("hangs", "its metadata do not arrive in time"),
    ],
)
async def test_keys_are_fetched_from_where_they_were_while_the_metadata_are_gone(
    gone: Any, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    """If the metadata cannot be fetched, keys come from the last known URL, with a WARNING, and a retry follows in ten
    minutes."""
    idp = MetadataServer()
    idp.publish(*metadata_urls(idp.issuer))
    source = idp.source(timeout=2)  # hanging metadata use up half of the time
    await source.warm()
    idp.clock.move(86_400)
    idp.documents.update(dict.fromkeys(metadata_urls(idp.issuer), gone))
    idp.documents[KEYS] = key_set(b=rsa_key())
    idp.requests.clear()

    await source.warm()
    assert await kids(source, "b") == ["b"]
    idp.publish(*metadata_urls(idp.issuer))
    await source.warm()
    assert idp.requests.count("https://login.example" + OPENID_PATH) == 1
    idp.clock.move(600)
    await source.warm()

    assert idp.requests.count("https://login.example" + OPENID_PATH) == 2
    assert [(each.levelno, each.getMessage()) for each in caplog.records] == [
        (logging.WARNING, f"https://login.example/: {told}; its keys are fetched from the last known jwks_uri")
    ]


async def test_metadata_are_read_at_once_where_the_keys_have_moved() -> None:
    """If the key set cannot be fetched, the metadata are read again at once, because the keys may have moved."""
    idp = MetadataServer()
    idp.publish(*metadata_urls(idp.issuer))
    source = idp.source()
    await source.warm()
    del idp.documents[KEYS]
    idp.documents["https://login.example/new"] = key_set(b=rsa_key())
    idp.publish(*metadata_urls(idp.issuer), jwks_uri="https://login.example/new")
    with pytest.raises(BackendUnavailable, match="the fetch raised LookupError"):
        await source.warm()
    await source.warm()

    assert await kids(source, "b") == ["b"]


async def test_discovery_over_the_network() -> None:
    """Over the network, an issuer with a path is found by the metadata of RFC 8414."""
    with running_key_server(key_set(a=rsa_key())) as server:
        issuer = publish_metadata(server, "/tenant")
        source = Discovery(issuer, insecure_http=True)

        assert await kids(source) == ["a"]
        assert [path for path, _ in server.requests] == [f"/tenant{OPENID_PATH}", f"{OAUTH_PATH}/tenant", "/jwks"]


async def test_all_that_is_fetched_shares_one_time_out() -> None:
    """Metadata and keys share one timeout: metadata that hang leave no second one for the keys."""
    with running_key_server(key_set(a=rsa_key())) as server:
        source = Discovery(f"http://127.0.0.1:{server.port}", insecure_http=True, timeout=0.2)
        server.behaviour = hang

        assert await problem(source) == f"{source.name}: it gave no answer within 0.2 s"
        assert server.request_count <= 1
