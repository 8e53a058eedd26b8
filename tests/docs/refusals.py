"""Refusals for ``docs/reasons.md``: each function makes one request that is really refused, and returns its record.

``tests/docs/token_refusals.py`` has those of tokens and keys. Their order is the order of the lines on the page.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import anyio
import anyio.lowlevel

from authguard import (
    AUTHENTICATED,
    PUBLIC,
    Accepted,
    Account,
    AuthGuardMiddleware,
    BackendUnavailable,
    Bearer,
    Cookie,
    Guard,
    Issuer,
    LoginThrottle,
    MemoryRevocations,
    MemoryUsers,
    Principal,
    Rate,
    Record,
    Revocation,
    Rule,
    Scheme,
    Secret,
    Session,
    all_roles,
    any_of,
    predicate,
    role,
    scopes,
    step_up,
    via,
)
from authguard.testing import ManualClock
from authguard.wire.nonce import Nonce, nonce_key
from tests.support.asgi import RecordingApp, body_messages, header_list, http_scope, run_app, websocket_scope
from tests.support.clock import NOW
from tests.support.schemes.api_key import KEY_ID, api_key_scheme, key_text, stored_key
from tests.support.schemes.badge import Badge, FieldCarrier
from tests.support.schemes.basic import SpyHasher, Users, basic_scheme
from tests.support.schemes.digest import (
    REALM,
    DigestAccounts,
    answer_challenge,
    challenge,
    digest_scheme,
    serialize,
)
from tests.support.tokens import AUDIENCE, HMAC_SECRET, ISSUER, mint

Refusal = Callable[[], Awaitable[Record]]

#: Each reason, and the functions that are refused for it.
REFUSALS: dict[str, list[Refusal]] = {}


def refused(code: str) -> Callable[[Refusal], Refusal]:
    """Register a function under the code of its reason."""

    def register(refusal: Refusal) -> Refusal:
        REFUSALS.setdefault(code, []).append(refusal)
        return refusal

    return register


def shown(record: Record) -> str:
    """The line of a record as the page shows it. Frames, and file and line of a function of these tests, are left out:
    they change too often."""
    line = re.sub(r"frames=\[[^]]*\]", "frames=[...]", str(record))
    return re.sub(r"docs/token_refusals\.py:\d+", "shop/auth.py:12", line)


class Site:
    """An app behind a guard of these schemes, which keeps its records."""

    def __init__(self, *schemes: Scheme, rules: Sequence[Rule] = (), **options: Any) -> None:
        self.records: list[Record] = []
        middleware = {name: options.pop(name) for name in ("origins", "strict") if name in options}
        settings: dict[str, Any] = {"clock": lambda: NOW, "log": False, "hooks": [self.records.append], **options}
        self.guard = Guard(*schemes, rules=rules, **settings)
        self.app = AuthGuardMiddleware(RecordingApp(), guard=self.guard, **middleware)

    async def send(
        self, authorization: str | bytes | None = None, path: str = "/orders", method: str = "GET", **more: Any
    ) -> Record:
        """The record of one request."""
        fields, body = more.pop("fields", {}), more.pop("body", [])
        scope = http_scope(path, method, [*header_list(authorization, **fields), *more.pop("lines", [])], **more)
        await run_app(self.app, scope, *body)
        return self.records[-1]


def bearer(**changes: Any) -> Bearer:
    """A Bearer scheme for tokens whose bytes are the same in each run."""
    options: dict[str, Any] = {
        "audience": AUDIENCE,
        "algorithms": ["HS256"],
        "keys": Secret(HMAC_SECRET, "HS256"),
        **changes,
    }
    scheme = {name: options.pop(name) for name in ("carrier", "client_certificate") if name in options}
    return Bearer(Issuer(options.pop("name", ISSUER), **options), realm="orders", **scheme)


def token(**changes: Any) -> str:
    """A field with a token that ``bearer()`` accepts, with these changes."""
    return f"Bearer {mint(HMAC_SECRET, 'HS256', **changes)}"


def password(text: str | bytes = "alice:wonderland") -> str:
    """A field with credentials of Basic."""
    return f"Basic {b64encode(text if isinstance(text, bytes) else text.encode()).decode()}"


def users(*accounts: Account) -> MemoryUsers:
    """A store of ``alice``, and of these."""
    return MemoryUsers([Account("alice", "$fast$wonderland"), *accounts], hasher=SpyHasher())


# --- credentials ------------------------------------------------------------------------------------------------------


@refused("credentials.missing")
async def nothing_sent() -> Record:
    """Nothing at all."""
    return await Site(bearer()).send()


@refused("credentials.missing")
async def in_the_query() -> Record:
    """A key in the query, R069."""
    return await Site(bearer()).send(query_string=b"page=2&api_key=s3cr3t")


@refused("credentials.missing")
async def preflight() -> Record:
    """A browser that asks what a script may send."""
    fields = {"origin": "https://shop.example", "access-control-request-method": "POST"}
    return await Site(bearer()).send(method="OPTIONS", fields=fields)


@refused("credentials.missing")
async def after_a_redirect() -> Record:
    """A server that does not know that a proxy ends TLS, R083."""
    return await Site(bearer()).send(scheme="http", fields={"x-forwarded-proto": "https"})


@refused("credentials.malformed")
async def no_colon() -> Record:
    """A name without a password."""
    return await Site(basic_scheme()).send(password("alice"))


@refused("credentials.malformed")
async def line_feed() -> Record:
    """A password with a line feed, as ``echo`` adds one."""
    return await Site(basic_scheme()).send(password("alice:wonderland\n"))


@refused("credentials.malformed")
async def no_token() -> Record:
    """The word alone."""
    return await Site(bearer()).send("Bearer")


@refused("credentials.malformed")
async def with_a_colon() -> Record:
    """A colon after the word."""
    return await Site(bearer()).send(token().replace("Bearer", "Bearer:"))


@refused("credentials.malformed")
async def joined() -> Record:
    """Two equal lines that a proxy has joined, R059."""
    return await Site(bearer()).send(f"{token()}, {token()}")


@refused("credentials.malformed")
async def twice() -> Record:
    """The word twice."""
    return await Site(bearer()).send(f"Bearer {token()}")


@refused("credentials.malformed")
async def in_quotes() -> Record:
    """A token in quotes."""
    return await Site(bearer()).send(token().replace("Bearer ", 'Bearer "') + '"')


@refused("credentials.malformed")
async def nonce_twice() -> Record:
    """A parameter of Digest that is there twice."""
    digest = digest_scheme()
    return await Site(digest).send(answer(digest) + ', nonce="x"')


@refused("credentials.malformed")
async def no_qop() -> Record:
    """Digest without ``qop``, as RFC 2069 wrote it."""
    digest = digest_scheme()
    return await Site(digest).send(answer(digest, qop=None, nc=None, cnonce=None, response="0" * 64))


@refused("credentials.ambiguous")
async def two_lines() -> Record:
    """The field twice."""
    return await Site(bearer()).send(token(), lines=[(b"authorization", password().encode())])


@refused("credentials.ambiguous")
async def same_line_twice() -> Record:
    """The same line twice, R059."""
    return await Site(bearer()).send(token(), lines=[(b"authorization", token().encode())])


@refused("credentials.ambiguous")
async def two_fields() -> Record:
    """A token in ``Authorization``, and a badge in a field of its own."""
    badge = Badge(carrier=FieldCarrier("badge", b"x-badge"))
    return await Site(bearer(), badge).send(token(), fields={"x-badge": "alice"})


@refused("credentials.ambiguous")
async def two_cookies() -> Record:
    """Two cookies of the name, of which a neighbouring host may have set one."""
    return await Site(bearer(carrier=Cookie("session-token"))).send(
        fields={"cookie": "session-token=a; session-token=b"}
    )


@refused("credentials.expired")
async def ended_meanwhile() -> Record:
    """Credentials that end while the request waits for a store."""
    ticks = iter(range(0, 1000, 2))
    table = {"alice": Accepted(Principal("alice", expires_at=NOW - 61))}
    return await Site(Badge(table=table), monotonic=lambda: next(ticks)).send("Badge alice")


@refused("header.too_long")
async def long_field() -> Record:
    """A field of 20,000 bytes."""
    return await Site(bearer()).send("Bearer " + "a" * 20_000)


@refused("scheme.unsupported")
async def another_scheme() -> Record:
    """A password where tokens are wanted."""
    return await Site(bearer()).send(password())


@refused("scheme.unsupported")
async def no_word() -> Record:
    """A token without the word before it."""
    return await Site(bearer()).send(token().removeprefix("Bearer "))


@refused("body.too_large")
async def large_body() -> Record:
    """A body that is longer than ``limit``."""
    digest = digest_scheme(qop=["auth-int"], limit=4)
    field = answer(digest, method="POST", body=b"12345")
    return await Site(digest).send(field, method="POST", body=body_messages(b"12345"))


@refused("body.incomplete")
async def lost_body() -> Record:
    """A client that goes away in the middle of the body."""
    digest = digest_scheme(qop=["auth-int"])
    field = answer(digest, method="POST", body=b"12345")
    return await Site(digest).send(field, method="POST", body=body_messages(b"12", more=True))


# --- path and method --------------------------------------------------------------------------------------------------


@refused("path.ambiguous")
async def dots() -> Record:
    """A path with a dot segment."""
    return await Site(bearer(), rules=[Rule("/admin/**", role("admin"))]).send(path="/orders/../admin")


@refused("path.ambiguous")
async def two_slashes() -> Record:
    """A path with two slashes in a row, which some apps read as one."""
    return await Site(bearer(), rules=[Rule("/orders/{id}", role("admin"))]).send(path="/orders//7")


@refused("method.unlisted")
async def other_method() -> Record:
    """A method that no rule of the path names."""
    rules = [Rule("/orders", AUTHENTICATED, methods={"GET"})]
    return await Site(bearer(), rules=rules).send(token(), method="DELETE")


# --- names and passwords ----------------------------------------------------------------------------------------------


@refused("method.unlisted")
async def lower_case() -> Record:
    """A method that is written in lower case, which is another method."""
    rules = [Rule("/orders", AUTHENTICATED, methods={"GET"})]
    return await Site(bearer(), rules=rules).send(token(), method="get")


@refused("method.unlisted")
async def handshake() -> Record:
    """A WebSocket where rules name GET alone."""
    site = Site(bearer(), rules=[Rule("/orders", AUTHENTICATED, methods={"GET"})])
    await run_app(site.app, websocket_scope("/orders", header_list(token())))
    return site.records[-1]


@refused("user.unknown")
async def nobody() -> Record:
    """A name that no account has."""
    return await Site(basic_scheme(users())).send(password("bob:secret"))


@refused("user.unknown")
async def hash_of_nobody() -> Record:
    """A hashed name of Digest that is the hash of no account."""
    digest = digest_scheme(DigestAccounts(finds_hashed=True))
    return await Site(digest).send(answer(digest, username="0" * 64, userhash="true", response="0" * 64))


@refused("password.wrong")
async def wrong_password() -> Record:
    """A wrong password."""
    return await Site(basic_scheme(users())).send(password("alice:secret"))


@refused("password.empty")
async def empty_password() -> Record:
    """No password after the colon."""
    return await Site(basic_scheme(users())).send(password("alice:"))


@refused("password.too_long")
async def long_password() -> Record:
    """A password that is longer than its hash format can take."""
    return await Site(basic_scheme(users(Account("bob", "$short$sea")))).send(password("bob:lion"))


@refused("password.hash_unreadable")
async def unreadable_hash() -> Record:
    """An account whose hash has a format that is not allowed."""
    return await Site(basic_scheme(Users(Account("bob", "$odd$sea")))).send(password("bob:lion"))


@refused("account.disabled")
async def disabled() -> Record:
    """The right password of a disabled account."""
    return await Site(basic_scheme(users(Account("bob", "$fast$sea", disabled=True)))).send(password("bob:sea"))


@refused("attempts.exceeded")
async def eleventh_guess() -> Record:
    """A guess after too many wrong ones."""
    throttle = LoginThrottle(pair=Rate(1, 30.0), clock=ManualClock(1000))
    site = Site(basic_scheme(users(), throttle=throttle))
    await site.send(password("alice:first"))
    return await site.send(password("alice:second"))


@refused("attempts.exceeded")
async def revoked_key_again() -> Record:
    """A client that goes on using a revoked key."""
    throttle = LoginThrottle(pair=Rate(1, 30.0), clock=ManualClock(1000))
    site = Site(api_key_scheme(stored_key(revoked=NOW - 5), throttle=throttle))
    await site.send(fields={"x-api-key": key_text()})
    return await site.send(fields={"x-api-key": key_text()})


# --- API keys ---------------------------------------------------------------------------------------------------------


async def with_key(text: str = "", **fields: Any) -> Record:
    """A request with this key, of an app with the key of alice that has these fields."""
    return await Site(api_key_scheme(stored_key(**fields))).send(fields={"x-api-key": text or key_text()})


@refused("api_key.malformed")
async def no_key() -> Record:
    """Something else."""
    return await with_key("secret")


@refused("api_key.malformed")
async def mistyped_key() -> Record:
    """A key with a typing mistake."""
    return await with_key(key_text()[:-1] + "x")


@refused("api_key.malformed")
async def foreign_key() -> Record:
    """A key of another service."""
    return await with_key(key_text(label="other_live"))


@refused("api_key.unknown")
async def unknown_key() -> Record:
    """A key that nobody has."""
    return await with_key(key_text("000000000000"))


@refused("api_key.unknown")
async def wrong_key() -> Record:
    """A key with the id of another one."""
    return await with_key(key_text(secret="t" * 27))


@refused("api_key.expired")
async def expired_key() -> Record:
    """A key that has expired."""
    return await with_key(expires=NOW - 3600)


@refused("api_key.expired")
async def replaced_key() -> Record:
    """A key that was rotated."""
    return await with_key(expires=NOW - 3600, successor="8fJq2LwX0aBc")


@refused("api_key.revoked")
async def revoked_key() -> Record:
    """A key that was revoked."""
    return await with_key(revoked=NOW - 86400)


@refused("api_key.revoked")
async def key_in_the_revocations() -> Record:
    """A key that the revocations of the guard name."""
    store = MemoryRevocations(clock=lambda: NOW)
    await store.revoke(Revocation.api_key(KEY_ID, expires_at=NOW + 600))
    return await Site(api_key_scheme(), revocations=store).send(fields={"x-api-key": key_text()})


@refused("api_key.network_refused")
async def key_from_elsewhere() -> Record:
    """A key that is used outside of its networks."""
    return await with_key(networks=["10.0.0.0/8"])


@refused("api_key.wrong_environment")
async def test_key() -> Record:
    """A test key that only the store of tests has."""
    return await with_key(key_text(label="acme_test"))


@refused("api_key.wrong_environment")
async def stored_test_key() -> Record:
    """A test key that production has too."""
    return await with_key(key_text(label="acme_test"), environment="test")


# --- Digest -----------------------------------------------------------------------------------------------------------


def answer(digest: Any, at: float = NOW, **changes: Any) -> str:
    """A field that answers a challenge of this moment, with these changes."""
    changes.setdefault("uri", "/orders")
    return f"Digest {serialize(answer_challenge(challenge(digest, now=at), **changes)).decode('latin-1')}"


@refused("response.wrong")
async def wrong_response() -> Record:
    """A wrong password."""
    digest = digest_scheme()
    return await Site(digest).send(answer(digest, password="secret"))


@refused("realm.foreign")
async def foreign_realm() -> Record:
    """The realm of another server."""
    digest = digest_scheme()
    return await Site(digest).send(answer(digest, realm="cameras"))


@refused("realm.foreign")
async def realm_in_upper_case() -> Record:
    """The realm as somebody has typed it into a client."""
    digest = digest_scheme()
    return await Site(digest).send(answer(digest, realm="Orders"))


@refused("opaque.foreign")
async def no_opaque() -> Record:
    """A client that does not send ``opaque`` back."""
    digest = digest_scheme()
    return await Site(digest).send(answer(digest, opaque=None))


@refused("opaque.foreign")
async def other_opaque() -> Record:
    """The ``opaque`` of another server."""
    digest = digest_scheme()
    return await Site(digest).send(answer(digest, opaque="5ccc069c403ebaf9f0171e9517f40e41"))


@refused("algorithm.unoffered")
async def md5() -> Record:
    """MD5 where SHA-256 is offered."""
    digest = digest_scheme()
    return await Site(digest).send(answer(digest, algorithm="MD5"))


@refused("qop.unoffered")
async def auth_int() -> Record:
    """``auth-int`` where ``auth`` is offered."""
    digest = digest_scheme()
    return await Site(digest).send(answer(digest, qop="auth-int"))


@refused("uri.mismatch")
async def another_path() -> Record:
    """A digest for a path without the prefix of the app."""
    digest = digest_scheme()
    return await Site(digest).send(answer(digest, uri="/api/orders"))


@refused("nonce.unknown")
async def unknown_nonce() -> Record:
    """A nonce of a server with another secret."""
    digest = digest_scheme()
    other = challenge(digest_scheme(secret="another secret, of thirty-two bytes")).get("nonce")
    return await Site(digest).send(answer(digest, nonce=other))


@refused("nonce.unknown")
async def nonce_of_another_server() -> Record:
    """A nonce of a server that is not authguard."""
    digest = digest_scheme()
    return await Site(digest).send(answer(digest, nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093"))


@refused("nonce.stale")
async def stale_nonce() -> Record:
    """A nonce that was sent six minutes ago."""
    digest = digest_scheme()
    return await Site(digest).send(answer(digest, at=NOW - 360))


@refused("nonce.not_yet")
async def early_nonce() -> Record:
    """A nonce of a server whose clock is ahead."""
    digest = digest_scheme()
    return await Site(digest).send(answer(digest, at=NOW + 90))


@refused("nonce.forgotten")
async def forgotten_nonce() -> Record:
    """A nonce that is older than this process."""
    secret = "a secret of a process, of thirty-two bytes"
    digest = digest_scheme(secret=secret)
    nonce = Nonce.mint(NOW - 20, bytes(12)).to_text(nonce_key(secret.encode(), REALM))
    return await Site(digest).send(answer(digest, nonce=nonce))


@refused("nonce.replayed")
async def replay() -> Record:
    """The same response twice."""
    digest = digest_scheme()
    site, field = Site(digest), answer(digest)
    await site.send(field)
    return await site.send(field)


@refused("nonce.outside")
async def old_count() -> Record:
    """A count that is far below the highest one."""
    digest = digest_scheme()
    site, offer = Site(digest), challenge(digest)
    for count in (200, 2):
        await site.send(f"Digest {serialize(answer_challenge(offer, count=count, uri='/orders')).decode()}")
    return site.records[-1]


# --- sessions ---------------------------------------------------------------------------------------------------------


class LoggedOut:
    """Revocations that hold every session."""

    async def revoke_session(self, session_id: str, until: float) -> None:
        """Nothing to do."""

    async def is_session_revoked(self, session_id: str) -> bool:
        return True


def session_of(seconds: float, **changes: Any) -> dict[str, Any]:
    """The session of somebody who logged in, and was last seen, so many seconds ago."""
    then = NOW - seconds
    return {"authguard": {"id": "a", "sub": "alice", "began": then, "seen": then, "auth_time": int(then), **changes}}


@refused("session.malformed")
async def session_of_another_kind() -> Record:
    """A session in which something else has the key."""
    return await Site(Session(realm="orders")).send(session={"authguard": "alice"})


@refused("session.not_yet")
async def session_of_the_future() -> Record:
    """A session that another host has begun, whose clock is ahead."""
    return await Site(Session(realm="orders")).send(session=session_of(-90))


@refused("session.idle")
async def session_idle() -> Record:
    """A session that nobody used."""
    return await Site(Session(realm="orders")).send(session=session_of(2000))


@refused("session.expired")
async def session_expired() -> Record:
    """A session that was used for longer than it may be."""
    return await Site(Session(realm="orders")).send(session=session_of(43_210, seen=NOW))


@refused("session.revoked")
async def session_revoked() -> Record:
    """A session that was logged out."""
    return await Site(Session(realm="orders", revocations=LoggedOut())).send(session=session_of(60))


def login_site() -> Site:
    """A site with a login page."""
    return Site(Session(realm="orders", login_url="/login"), rules=[Rule("/login", PUBLIC)])


@refused("login.required")
async def navigation() -> Record:
    """A browser that opens a page."""
    return await login_site().send(session={}, fields={"accept": "text/html"})


@refused("login.required")
async def navigation_idle() -> Record:
    """A browser that opens a page after a break."""
    return await login_site().send(session=session_of(2000), fields={"accept": "text/html"})


# --- authenticated, but not allowed -----------------------------------------------------------------------------------


async def under(requirement: Any, field: str | None = None, **more: Any) -> Record:
    """The record of a request with a token, or with this field, where this is required."""
    site = Site(bearer(), basic_scheme(users()), rules=[Rule("/orders/**", requirement)])
    return await site.send(token() if field is None else field, **more)


@refused("role.missing")
async def no_role() -> Record:
    """A principal with another role."""
    return await under(all_roles("admin", "auditor"))


@refused("scope.missing")
async def no_scope() -> Record:
    """A token with other scopes."""
    return await under(scopes("read", "orders:write"))


@refused("scheme.insufficient")
async def other_scheme() -> Record:
    """A principal that an outer guard has authenticated by a password, where only a token counts."""
    records: list[Record] = []
    inner = Guard(
        bearer(), basic_scheme(users()), rules=[Rule("/**", via("bearer"))], hooks=[records.append], log=False
    )
    outer = Guard(basic_scheme(users()), clock=lambda: NOW, log=False)
    app = AuthGuardMiddleware(AuthGuardMiddleware(RecordingApp(), guard=inner), guard=outer)
    await run_app(app, http_scope("/orders", headers=header_list(password())))
    return records[-1]


def app_function(source: str) -> Any:
    """The function of an app, in a file whose name and lines the record may show."""
    module: dict[str, Any] = {"__name__": "shop.owners"}
    exec(compile(source, "shop/owners.py", "exec"), module)
    return module["owns_order"]


@refused("check.refused")
async def not_the_owner() -> Record:
    """A predicate that returns False."""
    owns_order = app_function("def owns_order(principal, params): return False")
    return await under(predicate("owner", owns_order))


@refused("check.refused")
async def forgotten_return() -> Record:
    """A predicate that returns nothing."""
    owns_order = app_function("def owns_order(principal, params): pass")
    return await under(predicate("owner", owns_order))


@refused("check.failed")
async def failing_predicate() -> Record:
    """A predicate that raises."""
    owns_order = app_function("def owns_order(principal, params):\n    return params['id'] == principal.subject")
    return await under(predicate("owner", owns_order))


@refused("origin.foreign")
async def rewritten_host() -> Record:
    """A proxy that has replaced ``Host``, R078."""
    lines = [(b"origin", b"https://shop.example"), (b"authorization", password().encode())]
    site = Site(basic_scheme(users()))
    return await site.send(method="POST", lines=lines)


@refused("origin.foreign")
async def another_site() -> Record:
    """A POST that a page of another site made a browser send."""
    fields = {"origin": "https://evil.example", "sec-fetch-site": "cross-site"}
    return await under(AUTHENTICATED, password(), method="POST", fields=fields)


@refused("origin.foreign")
async def hidden_origin() -> Record:
    """A form of a page under ``Referrer-Policy: no-referrer``, from a browser without ``Sec-Fetch-Site``."""
    return await under(AUTHENTICATED, password(), method="POST", fields={"origin": "null"})


@refused("requirement.unmet")
async def none_of_them() -> Record:
    """A principal that meets no part of ``any_of``."""
    return await under(any_of(role("auditor"), scopes("orders:write")))


@refused("step_up.required")
async def old_login() -> Record:
    """A login that is too weak, and an hour old."""
    field = token(acr="urn:password", auth_time=NOW - 3600)
    return await under(step_up(acr="urn:mfa", max_age=300), field)


# --- the server cannot decide -----------------------------------------------------------------------------------------


@refused("store.unavailable")
async def store_down() -> Record:
    """A store that cannot be reached."""
    store = Users()
    error: Any = BackendUnavailable("accounts.internal:5432 refuses connections", retry_after=30)
    store.accounts["alice"] = error
    return await Site(basic_scheme(store)).send(password())


@refused("store.unavailable")
async def store_down_without_a_word() -> Record:
    """A store that does not say what has happened."""
    store = Users()
    error: Any = BackendUnavailable()
    store.accounts["alice"] = error
    return await Site(basic_scheme(store)).send(password())


class SlowUsers(Users):
    """A store that never answers."""

    async def find(self, username: str) -> Account | None:
        await anyio.sleep_forever()
        return None


@refused("store.timeout")
async def store_slow() -> Record:
    """A store that takes longer than ``deadline``."""
    return await Site(basic_scheme(SlowUsers(), deadline=0.01)).send(password())


@refused("hashing.busy")
async def many_logins() -> Record:
    """A login while all threads hash passwords, and as many wait as may."""
    store = users()
    hasher: Any = store.hasher
    hasher.released.clear()
    basic = basic_scheme(store, waiting=1)
    site = Site(basic)
    records: list[Record] = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(site.send, password("bob:secret"))
        while not basic.health()["working"]:
            await anyio.lowlevel.checkpoint()
        tasks.start_soon(site.send, password("carol:secret"))
        await anyio.wait_all_tasks_blocked()
        records += [await site.send(password("dave:secret"))]
        hasher.released.set()
    return records[0]


@refused("backend.failed")
async def wrong_answer() -> Record:
    """A function of the app that returns the wrong thing."""
    return await Site(basic_scheme(app_store())).send(password())


@refused("backend.failed")
async def exception() -> Record:
    """A store that raises."""
    store = Users()
    store.accounts["alice"] = LookupError()
    return await Site(basic_scheme(store)).send(password())


def app_store() -> Any:
    """A store of the app, whose ``find`` returns a dict."""
    source = "async def owns_order(username): return {'name': username}"
    store: Any = Users()
    store.find = app_function(source)
    return store
