"""Keys from a key server: at a URL that the app names, or where an issuer's own metadata say."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Unpack
from urllib.parse import urlsplit

import anyio

from authguard.concurrency.slices import with_pauses
from authguard.difference import difference, kind_of
from authguard.errors import ConfigurationError
from authguard.http_client import FetchFailed, check_url, shown_url, without_query
from authguard.keys.cache import CachedKeys
from authguard.keys.jwk import parse_json_object, parse_key_set
from authguard.keys.options import DAY, FetchArguments, FetchOptions, fetch_options_from
from authguard.keys.refresher import FetchedKeySet, problem_of
from authguard.state.shared_cache import cache_key

_log = logging.getLogger("authguard")

#: In seconds: how often an issuer's metadata are read, and how soon again after a failure.
METADATA_LIFETIME, METADATA_RETRY = DAY, 600.0


class RemoteJWKS(CachedKeys):
    """``Issuer(..., keys=RemoteJWKS("https://login.example/jwks.json"))``: the key set at a URL (RFC 7517 section 5).

    The set is fetched when the first request needs it, cached, and fetched again as its keys change. httpx2 (the extra
    ``oidc``) is needed, unless you give ``fetch``. All durations are in seconds.

    - ``fetch``: an async function of a URL that returns the body as bytes, or as ``Fetched``. It replaces httpx2.
    - ``client``: a function that makes an ``httpx2.AsyncClient``, for a proxy or for a certificate authority of your
      own. The default client takes neither from the environment.
    - ``insecure_http=False``: True allows ``http:`` URLs too, for which anybody on the way can replace the keys.
    - ``timeout=4``: how long one fetch may take as a whole. Give less than the ``deadline`` of ``Bearer``.
    - ``cooldown=30``: an unknown ``kid`` causes a fetch: three at once for one network of clients, four for all, and
      then one per ``cooldown``. So does a signature that matches no key.
    - ``min_age=60``, ``max_age=3600``: bounds of the lifetime that the server's ``Cache-Control`` states; 600 if it
      states none. A key that the server withdrew is refused after ``max_age`` at the latest.
    - ``stale_if_error=86400``: how long expired keys stay in use while the server does not answer.
    - ``limit=1048576``: the longest response body, in bytes.
    - ``use="sig"``: the values of the member ``use`` of the keys that are used, such as ``"jwt-svid"`` for SPIFFE.
    - ``clock``: a monotonic clock, for all these durations.

    Unusable keys are skipped, each with one WARNING: keys for encryption, private keys, secrets, RSA keys of less than
    2048 bits, and keys of an unknown kind. A key without ``alg`` verifies every algorithm of the issuer's
    ``algorithms`` that its type allows. Raises ``ConfigurationError``; denies with ``keys.unavailable``.
    """

    def __init__(self, url: str, **options: Unpack[FetchArguments]) -> None:
        fetch_options = fetch_options_from("RemoteJWKS", options)
        if isinstance(url, Mapping) or (isinstance(url, str | bytes) and url.lstrip()[:1] in {"{", b"{"}):
            raise ConfigurationError("url", "this is a key set and not a URL; write JWKSet(...)")
        example = "https://login.example/jwks.json"
        self.url = check_url("url", url, insecure_http=fetch_options.insecure_http, example=example)
        super().__init__(without_query(self.url), fetch_options)
        self._shared_name = cache_key("keys", "url", self.url)

    async def _load(self) -> FetchedKeySet:
        if not self._has_keys and (shared := await _shared_key_set(self._shared_name, self._options)) is not None:
            return shared[1]
        return await _fetch_key_set(self.url, self._options, self._shared_name)


class Discovery(CachedKeys):
    """The keys of an issuer, at the ``jwks_uri`` of its metadata. ``Issuer.discover("https://login.example/", ...)``.

    Both forms of the metadata URL are tried, first the one that worked last time. The ``issuer`` of the metadata must
    be equal to the given one, byte by byte, and ``jwks_uri`` must be a URL that the app itself could give. Nothing else
    is taken from the metadata; the app names the algorithms. If the metadata cannot be read again, keys are still
    fetched from the last ``jwks_uri``. The arguments and all else are as for ``RemoteJWKS``.
    """

    def __init__(self, issuer: str, **options: Unpack[FetchArguments]) -> None:
        fetch_options = fetch_options_from("Discovery", options)
        check_url("issuer", issuer, insecure_http=fetch_options.insecure_http, example="https://login.example/")
        if "?" in issuer:  # RFC 8414 section 2
            raise ConfigurationError("issuer", "an issuer must not contain a query (?...)")
        if "/.well-known/" in issuer:
            raise ConfigurationError("issuer", "give the issuer, without /.well-known/ and what follows")
        super().__init__(issuer, fetch_options)
        self._metadata_urls: tuple[str, ...] = metadata_urls(issuer)
        self._jwks_uri: str | None = None
        self._metadata_due_at = self._clock()
        self._shared_name = cache_key("keys", "issuer", issuer)

    async def _load(self) -> FetchedKeySet:
        uri = self._jwks_uri
        if uri is None and (shared := await _shared_key_set(self._shared_name, self._options)) is not None:
            # The metadata are read with the next fetch.
            self._jwks_uri, self._metadata_due_at = shared[0], self._clock()
            return shared[1]
        if uri is None:
            uri = await self._discover()
        elif self._clock() >= self._metadata_due_at:
            uri = await self._rediscover(uri)
        self._jwks_uri = uri
        # If the keys cannot be fetched they may have moved: then the metadata are read again next time.
        due_at, self._metadata_due_at = self._metadata_due_at, self._clock()
        try:
            key_set = await _fetch_key_set(uri, self._options, self._shared_name)
        except FetchFailed as error:
            # The issuer names the source, and its keys are elsewhere.
            error.facts = {"jwks_uri": shown_url(uri), **error.facts}
            raise
        self._metadata_due_at = due_at
        return key_set

    async def _rediscover(self, last_uri: str) -> str:
        """The current ``jwks_uri``; the last one if the metadata cannot be read."""
        problem = "its metadata do not arrive in time"
        # The other half of the time is for the keys.
        with anyio.move_on_after(self._options.timeout / 2):
            try:
                return await self._discover()
            except FetchFailed as error:
                problem = error.problem
        self._metadata_due_at = self._clock() + METADATA_RETRY
        _log.warning("%s: %s; its keys are fetched from the last known jwks_uri", self.name, problem)
        return last_uri

    async def _discover(self) -> str:
        answers: dict[str, str] = {}
        facts: dict[str, object] = {}
        for url in self._metadata_urls:
            try:
                uri = await self._read_metadata(url)
            except FetchFailed as error:
                answers[url] = error.problem
                facts |= error.facts
            except Exception as error:  # noqa: BLE001 - from the app's own ``fetch``; the other URL may work
                answers[url] = problem_of(error)
            else:
                self._metadata_urls = (url, *(other for other in self._metadata_urls if other != url))
                self._metadata_due_at = self._clock() + METADATA_LIFETIME
                return uri
        problem = "; ".join(f"{url}: {answer}" for url, answer in answers.items())
        raise FetchFailed(f"its metadata: {problem}", {"metadata": answers, **facts})

    async def _read_metadata(self, url: str) -> str:
        metadata = parse_json_object((await self._options.fetch_url(url)).body)
        issuer = metadata.get("issuer")
        if issuer != self.name:  # OpenID Connect Discovery 1.0 section 4.3, RFC 8414 section 3.3
            raise _foreign_metadata(issuer, self.name)
        uri = metadata.get("jwks_uri")
        try:
            return check_url("jwks_uri", uri, insecure_http=self._options.insecure_http)
        except ConfigurationError:
            pass
        if not isinstance(uri, str):
            raise FetchFailed("they have no jwks_uri" if uri is None else f"their jwks_uri is {kind_of(uri)}")
        if uri.startswith("http://"):
            problem = "their jwks_uri is http, where anybody on the way can replace the keys"
            raise FetchFailed(problem, {"jwks_uri": shown_url(uri)})
        raise FetchFailed("their jwks_uri is no absolute https URL without a password", {"jwks_uri": shown_url(uri)})


def _foreign_metadata(issuer: object, wanted: str) -> FetchFailed:
    """The error for metadata of another issuer than the app has named."""
    if not isinstance(issuer, str):
        return FetchFailed("they name no issuer" if issuer is None else f"their issuer is {kind_of(issuer)}")
    facts: dict[str, object] = {"issuer": shown_url(issuer), "wanted": wanted}
    problem = f'their issuer is another, "{shown_url(issuer)}"'
    differs_by = difference(issuer, (wanted,))
    if differs_by is not None:
        # The most common mistake is a slash at the end.
        problem += f"; it differs by {differs_by} from the one that was given"
        facts["differs_by"] = differs_by
    return FetchFailed(problem, facts)


def metadata_urls(issuer: str) -> tuple[str, str]:
    """The two URLs at which an issuer's metadata may be.

    OpenID Connect Discovery 1.0 section 4 appends the well-known path to the issuer's path; RFC 8414 section 3.1
    inserts it before.
    """
    issuer = issuer.removesuffix("/")
    parts = urlsplit(issuer)
    openid = f"{issuer}/.well-known/openid-configuration"
    oauth = f"{parts.scheme}://{parts.netloc}/.well-known/oauth-authorization-server{parts.path}"
    return openid, oauth


async def _fetch_key_set(url: str, options: FetchOptions, shared_name: bytes) -> FetchedKeySet:
    response = await options.fetch_url(url)
    # This event loop is that of the fetch alone, so it may sleep.
    key_set = with_pauses(parse_key_set(response.body, options.uses))
    lifetime = options.lifetime(response.max_age)
    if options.shared is not None:
        await options.shared.put(shared_name, url.encode() + b"\n" + response.body, lifetime)
    return FetchedKeySet(key_set, lifetime)


async def _shared_key_set(shared_name: bytes, options: FetchOptions) -> tuple[str, FetchedKeySet] | None:
    """The URL and the key set that another process has fetched, if they are still fresh, and would be accepted here."""
    found = None if options.shared is None else await options.shared.get(shared_name, most=options.max_age)
    if found is None:
        return None
    stored, left = found
    url, _, body = stored.partition(b"\n")
    if len(body) <= options.limit:
        try:
            checked = check_url("jwks_uri", url.decode(), insecure_http=options.insecure_http)
            return checked, FetchedKeySet(with_pauses(parse_key_set(body, options.uses)), left)
        except (FetchFailed, ConfigurationError, UnicodeDecodeError):
            pass
    return None
