"""The options of ``RemoteJWKS``: a client or a function that fetches, and numbers."""

from __future__ import annotations

import sys
from typing import Any

import anyio
import httpx2
import pytest

from authguard import ConfigurationError, RemoteJWKS
from authguard.http_client import remaining_freshness
from authguard.keys import Fetched, FetchFailed
from authguard.keys.remote import Discovery
from tests.support.key_source import fetch_problem
from tests.support.tokens import key_set, rsa_key

GOOD = key_set(a=rsa_key())


async def test_a_client_is_made_for_each_fetch_on_the_loop_of_the_fetch() -> None:
    """``client`` is a factory, so that no client is bound to another loop. It may bring a proxy or a transport."""
    loops: list[str] = []

    def answered(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, content=GOOD, headers={"cache-control": "max-age=120"})

    def client() -> httpx2.AsyncClient:
        loops.append(anyio.get_current_task().name or "")
        return httpx2.AsyncClient(transport=httpx2.MockTransport(answered))

    keys = RemoteJWKS("https://login.example/jwks", client=client)
    await keys.warm()
    await keys.warm()

    assert len(loops) == 2
    assert keys.health()["fresh_for"] == pytest.approx(120, abs=10)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (httpx2.ReadTimeout("CANARY"), "it did not answer in time"),
        (httpx2.ReadError("CANARY"), "the connection to it failed"),
        (httpx2.InvalidURL("CANARY"), "the fetch raised InvalidURL"),
    ],
)
async def test_an_error_of_a_client_is_reported_without_its_text(
    error: Exception, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The text of an error of the client is not reported, because it may hold a secret."""

    def failing(request: httpx2.Request) -> httpx2.Response:
        raise error

    keys = RemoteJWKS(
        "https://login.example/jwks?key=CANARY",
        client=lambda: httpx2.AsyncClient(transport=httpx2.MockTransport(failing)),
    )

    assert await fetch_problem(keys) == told
    assert "CANARY" not in caplog.text + repr(keys) + repr(keys.health())


@pytest.mark.parametrize("answer", [GOOD, Fetched(GOOD), Fetched(GOOD, 30.0), Fetched(GOOD, float("nan"))])
async def test_any_async_function_may_fetch(answer: Any) -> None:
    """A fetch function gets the URL, and returns bytes, with or without the time for which they are fresh."""
    calls: list[str] = []

    async def fetch(url: str) -> Any:
        calls.append(url)
        return answer

    keys = RemoteJWKS("https://login.example/jwks?v=1", fetch=fetch)

    assert len(await keys.keys_for(kid="a", algorithm="RS256")) == 1
    assert calls == ["https://login.example/jwks?v=1"]
    assert repr(keys) == "RemoteJWKS('https://login.example/jwks')"


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (None, "the fetch returned neither octets nor Fetched(...)"),
        ("text", "the fetch returned neither octets nor Fetched(...)"),
        (Fetched("text"), "the fetch returned neither octets nor Fetched(...)"),  # type: ignore[arg-type]
        (b" " * 2000, "its answer is longer than 1024 octets"),
        (KeyError("CANARY"), "the fetch raised KeyError"),
        (ExceptionGroup("CANARY", [OSError()]), "the fetch raised ExceptionGroup"),
        (FetchFailed("the vault is closed"), "the vault is closed"),
        (TimeoutError(), "the fetch raised TimeoutError"),
    ],
)
async def test_a_function_that_fetches_nonsense_or_raises_is_an_outage(answer: Any, told: str) -> None:
    """The result of a fetch function meets the same limits as an HTTP response. An error of it is an outage."""

    async def fetch(url: str) -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert await fetch_problem(RemoteJWKS("https://login.example/jwks", fetch=fetch, limit=1024)) == told


def test_httpx2_is_an_extra_and_the_error_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without httpx2 the constructor raises and names the extra, unless a fetch function is given."""
    monkeypatch.setitem(sys.modules, "httpx2", None)

    async def fetch(url: str) -> bytes:
        return GOOD

    with pytest.raises(ConfigurationError, match=r'^fetch: httpx2 is not installed; .* "authguard\[oidc\]"'):
        RemoteJWKS("https://login.example/jwks")
    assert RemoteJWKS("https://login.example/jwks", fetch=fetch).name == "https://login.example/jwks"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://login.example/jwks", "over http, anybody on the way can read and change"),
        ("http://127.0.0.1/jwks", "over http, anybody on the way can read and change"),
        ("http://localhost/jwks", "over http, anybody on the way can read and change"),
        ("file:///etc/keys.json", "this is not an absolute https URL"),
        ("data:application/json,{}", "this is not an absolute https URL"),
        ("login.example/jwks", "this is not an absolute https URL"),
        ("https://", "this is not an absolute https URL"),
        ("https://login.example:port/", "this is not an absolute https URL"),
        ("https://login.example:0/", "this is not an absolute https URL"),
        ("https://[::1/jwks", "this is not an absolute https URL"),
        ("", "this is not an absolute https URL"),
        ("https://alice:secret@login.example/jwks", "the URL must not contain a user name or a password"),
        ("https://:secret@login.example/jwks", "the URL must not contain a user name or a password"),
        ("https://login.example/jwks#keys", "the URL must not contain a fragment"),
        ("https://login.example/jwks\n", "the URL contains a space, a control character or a character outside ASCII"),
        ("https://login.example/a b", "the URL contains a space, a control character or a character outside ASCII"),
        ("https://logín.example/jwks", "the URL contains a space, a control character or a character outside ASCII"),
        ({"keys": []}, r"this is a key set and not a URL; write JWKSet\(\.\.\.\)"),
        (' {"keys": []}', "this is a key set and not a URL"),
        (b'{"keys": []}', "this is a key set and not a URL"),
        (None, "a NoneType is not a URL"),
        (b"https://login.example/jwks", "a bytes is not a URL"),
    ],
)
def test_a_url_that_is_not_allowed_raises(url: Any, said: str) -> None:
    """A URL that is not https raises while the app is built. For loopback the error names ``insecure_http=True``."""
    with pytest.raises(ConfigurationError, match=f"^url: {said}") as caught:
        RemoteJWKS(url)
    assert "secret" not in str(caught.value)


def test_an_unknown_option_raises_for_the_class_that_was_called() -> None:
    """An unknown option raises a ``TypeError`` that names the class that was called."""
    with pytest.raises(TypeError, match=r"^RemoteJWKS\(\) got an unexpected keyword argument 'retries'$"):
        RemoteJWKS("https://login.example/jwks", retries=3)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"^Discovery\(\) got an unexpected keyword argument 'retries'$"):
        Discovery("https://login.example/", retries=3)  # type: ignore[call-arg]


async def _fetch(url: str) -> bytes:
    return GOOD


@pytest.mark.parametrize(
    ("options", "argument"),
    [
        ({"fetch": _fetch, "client": httpx2.AsyncClient}, "client"),
        ({"fetch": "fetch"}, "fetch"),
        ({"client": httpx2}, "client"),
        ({"insecure_http": "yes"}, "insecure_http"),
        ({"timeout": 0}, "timeout"),
        ({"timeout": 61}, "timeout"),
        ({"cooldown": -1}, "cooldown"),
        ({"min_age": 0}, "min_age"),
        ({"min_age": 120, "max_age": 60}, "max_age"),
        ({"max_age": 8 * 86_400}, "max_age"),
        ({"stale_if_error": None}, "stale_if_error"),
        ({"limit": 1023}, "limit"),
        ({"limit": 2.0**20}, "limit"),
        ({"limit": True}, "limit"),
        ({"clock": 5}, "clock"),
    ],
)
def test_an_invalid_option_raises(options: dict[str, Any], argument: str) -> None:
    """An invalid option raises while the app is built, and the error names the argument."""
    with pytest.raises(ConfigurationError) as caught:
        RemoteJWKS("https://login.example/jwks", **options)
    assert caught.value.argument == argument


@pytest.mark.parametrize(
    ("cache_control", "age", "seconds"),
    [
        ("", "", None),
        ("public", "", None),
        ("max-age=300", "", 300),
        ("public, max-age=300, must-revalidate", "", 300),
        ('Max-Age="300"', "", 300),
        ("max-age=300", "100", 200),
        ("max-age=300", "400", 0),
        ("max-age=300", "soon", 300),
        ("s-maxage=300", "", None),
        ("x-max-age=300", "", None),
        ("max-age=soon", "", None),
        ("max-age=-1", "", None),
        ("max-age=" + "9" * 5000, "", None),
        ("no-store", "", 0),
        ("max-age=300, no-cache", "", 0),
        ('no-cache="set-cookie"', "", 0),
    ],
)
def test_cache_control_says_how_long_an_answer_holds(cache_control: str, age: str, seconds: float | None) -> None:
    """RFC 9111 sections 4.2.1, 5.1 and 5.2.2: ``max-age`` counts, less the ``Age`` of the response."""
    assert remaining_freshness(cache_control, age) == seconds
