"""The key set of a key server (RFC 7517), at an address that the app names."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Unpack
from urllib.parse import urlsplit

import anyio

from authguard.errors import ConfigurationError
from authguard.http_client import FetchFailed, check_url, without_query
from authguard.keys.cache import CachedKeys
from authguard.keys.jwk import read_json, read_keys
from authguard.keys.options import DAY, FetchArguments, FetchOptions, fetch_options_from
from authguard.keys.refresher import FetchedKeySet, raised


class RemoteJWKS(CachedKeys):
    """``Issuer(..., keys=RemoteJWKS("https://login.example/jwks.json"))``: keys that are fetched, and rotate.

    Nothing is fetched while the app is built. ``FetchArguments`` lists the other arguments. Fetching needs httpx2
    (extra ``oidc``), unless ``fetch`` stands in for it. Keys for encryption, private ones, secrets, RSA under 2048 bits
    and what is not understood are left out, each told once in a WARNING. A key without ``alg`` serves what its type
    allows and the issuer's ``algorithms`` take. Raises ``ConfigurationError``; denies with ``keys.unavailable``.
    """

    def __init__(self, url: str, **options: Unpack[FetchArguments]) -> None:
        given = fetch_options_from("JWKS", options)
        if isinstance(url, Mapping) or (isinstance(url, str | bytes) and url.lstrip()[:1] in {"{", b"{"}):
            raise ConfigurationError("url", "this is a key set and not a URL; write JWKSet(...)")
        self.url = check_url("url", url, insecure_http=given.insecure_http, example="https://login.example/jwks.json")
        super().__init__(without_query(self.url), given)

    async def _load(self) -> FetchedKeySet:
        return await load_keys(self.url, self._options)


async def load_keys(url: str, given: FetchOptions) -> FetchedKeySet:
    """The key set at this address. Raises ``FetchFailed``."""
    answer = await given.fetched(url)
    return FetchedKeySet(read_keys(answer.body), given.lifetime(answer.max_age))


_log = logging.getLogger("authguard")

#: After so many seconds the metadata are read again, and after so many where that failed. At once where there were no
#: keys at the address that they name.
METADATA_AGE = DAY
AGAIN = 600.0
#: The one difference that is told: it is the one that people make, and it says nothing that the server wrote.
_SLASH = "; it differs by a slash at its end from the one that was given"


class Discovery(CachedKeys):
    """The keys of the issuer that goes by this very name; ``Issuer.discover("https://login.example/", ...)`` makes one.

    Both forms of the well-known address are tried, the one that answered last first. The metadata's ``issuer`` must be
    equal octet by octet, and ``jwks_uri`` must be such an address as the app itself could have named. Nothing else is
    read of them: which algorithms are taken, the app says. Metadata that are gone or spoilt do no harm while the keys
    are where they were. ``FetchArguments`` and all else are those of ``RemoteJWKS``.
    """

    def __init__(self, issuer: str, **options: Unpack[FetchArguments]) -> None:
        given = fetch_options_from("Discovery", options)
        check_url("issuer", issuer, insecure_http=given.insecure_http, example="https://login.example/")
        if "?" in issuer:  # RFC 8414 section 2
            raise ConfigurationError("issuer", "the name of an issuer has no query")
        if "/.well-known/" in issuer:
            raise ConfigurationError("issuer", "give the issuer, without /.well-known/ and what follows")
        super().__init__(issuer, given)
        self._forms = well_known(issuer)
        self._jwks_uri: str | None = None
        self._due = self._clock()

    async def _load(self) -> FetchedKeySet:
        uri = self._jwks_uri
        if uri is None:
            uri = await self._discovered()
        elif self._clock() >= self._due:
            uri = await self._rediscovered(uri)
        self._jwks_uri = uri
        due, self._due = self._due, self._clock()  # they may have moved, where what follows fails
        loaded = await load_keys(uri, self._options)
        self._due = due
        return loaded

    async def _rediscovered(self, uri: str) -> str:
        problem = "they take too long"
        # Half of the time is for the keys, at the address that was good so far.
        with anyio.move_on_after(self._options.timeout / 2):
            try:
                return await self._discovered()
            except FetchFailed as error:
                problem = error.problem
        self._due = self._clock() + AGAIN
        _log.warning("%s: %s; its keys are fetched from where they were", self.name, problem)
        return uri

    async def _discovered(self) -> str:
        problems: list[str] = []
        for form in self._forms:
            try:
                found = await self._read(form)
            except FetchFailed as error:
                problems.append(error.problem)
            except Exception as error:  # noqa: BLE001 - a fetch of the app's own; the other form may do better
                problems.append(raised(error))
            else:
                self._forms = (form, *(other for other in self._forms if other != form))
                self._due = self._clock() + METADATA_AGE
                return found
        raise FetchFailed(f"its metadata: {'; '.join(dict.fromkeys(problems))}")

    async def _read(self, url: str) -> str:
        metadata = read_json((await self._options.fetched(url)).body)
        issuer = metadata.get("issuer")
        if issuer != self.name:  # OpenID Connect Discovery 1.0 section 4.3, RFC 8414 section 3.3
            slash = isinstance(issuer, str) and issuer.removesuffix("/") == self.name.removesuffix("/")
            raise FetchFailed("their issuer is another" + (_SLASH if slash else ""))
        try:
            return check_url("jwks_uri", metadata.get("jwks_uri"), insecure_http=self._options.insecure_http)
        except ConfigurationError:
            raise FetchFailed("their jwks_uri is no address that keys may come from") from None


def well_known(issuer: str) -> tuple[str, ...]:
    """The addresses of an issuer's metadata (OpenID Connect Discovery 1.0 section 4, RFC 8414 section 3.1)."""
    bare = issuer.removesuffix("/")
    parts = urlsplit(bare)
    # One appends to the path, the other puts itself before it.
    openid = f"{bare}/.well-known/openid-configuration"
    oauth = f"{parts.scheme}://{parts.netloc}/.well-known/oauth-authorization-server{parts.path}"
    return openid, oauth
