"""``Session``: logins in the app's own session, their time-outs, renewal, log-out and revocation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import anyio
import pytest
from starlette.requests import Request

from authguard import (
    AccessDenied,
    AuthGuardMiddleware,
    AuthRequest,
    BackendUnavailable,
    Bearer,
    ConfigurationError,
    Credentials,
    Guard,
    Principal,
    Record,
    Revocation,
    Rule,
    Session,
    step_up,
)
from authguard.policy.requirements import PUBLIC
from authguard.schemes.session_entry import MAX_ENTRY, read_entry
from authguard.state import RevocationStore
from authguard.testing import ManualClock
from tests.support.asgi import Exchange, header_list, http_scope, run_app, websocket_scope
from tests.support.clock import NOW
from tests.support.schemes.bearer import bearer
from tests.support.tokens import mint

ALICE = Principal("alice", roles={"admin"}, scopes={"read"}, claims={"team": ["blue"]})


class Revoked:
    """A port that keeps what was revoked, in memory, and counts how often it was asked."""

    def __init__(self) -> None:
        self.until: dict[str, float] = {}
        self.asked = 0
        self.fails = False
        self.answer: Any = None

    async def revoke_session(self, session_id: str, until: float) -> None:
        if self.fails:
            raise BackendUnavailable("the store is down")
        self.until[session_id] = until

    async def is_session_revoked(self, session_id: str) -> bool:
        self.asked += 1
        return session_id in self.until if self.answer is None else cast("bool", self.answer)


class RevokedNow(Revoked):
    """The same, where the answer is at hand."""

    def is_session_revoked_now(self, session_id: str) -> bool:
        return session_id in self.until


class Site:
    """An app with a login and a log-out, whose session is a dict of the test: a browser with one cookie."""

    def __init__(
        self,
        *others: Bearer,
        rules: list[Rule] | None = None,
        guard: Mapping[str, Any] | None = None,
        kind: type[Session] = Session,
        **options: Any,
    ) -> None:
        self.records: list[Record] = []
        self.clock = ManualClock()
        self.sessions = kind(realm="shop", **options)
        self.guard = Guard(
            self.sessions,
            *others,
            rules=[Rule("/login", PUBLIC), Rule("/logout", PUBLIC), *(rules or [])],
            clock=self.clock,
            log=False,
            hooks=[self.records.append],
            **(guard or {}),
        )
        self.session: dict[str, Any] = {}
        self.principal = ALICE
        self.login_options: dict[str, Any] = {}
        self.raised: Exception | None = None
        self.seen: Principal | None = None
        self.app = AuthGuardMiddleware(self._app, guard=self.guard)

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            return
        try:
            if scope["path"] == "/login":
                await self.sessions.login(Request(scope), self.principal, **self.login_options)
            elif scope["path"] == "/logout":
                await self.sessions.logout(scope)
            else:
                self.seen = scope["user"]
        except (AccessDenied, ConfigurationError) as error:
            self.raised = error
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"passed"})

    async def send(self, path: str = "/orders", method: str = "GET", **fields: str) -> Exchange:
        return await run_app(
            self.app,
            http_scope(path, method, header_list(fields.pop("authorization", None), **fields), session=self.session),
        )

    async def login(self, **options: Any) -> dict[str, Any]:
        """Log in, and return the entry of the session."""
        self.login_options = options
        assert (await self.send("/login", "POST")).status == 200
        if self.raised is not None:
            raise self.raised
        return cast("dict[str, Any]", self.session["authguard"])

    @property
    def last(self) -> tuple[str | None, Mapping[str, object]]:
        """The reason and the facts of the last record."""
        return self.records[-1].reason, self.records[-1].facts


async def test_a_login_makes_the_principal_of_the_next_request() -> None:
    """The roles, the scopes and the claims that the app gave come back, with ``auth_time`` and the session's id."""
    site = Site()
    entry = await site.login()

    answer = await site.send()

    assert answer.status == 200
    ends = site.clock.now + 12 * 3600
    assert site.seen is not None
    assert site.seen == Principal("alice", roles={"admin"}, scopes={"read"}, scheme="session", expires_at=ends)
    assert site.seen.claims == {"team": ["blue"], "auth_time": int(site.clock.now), "sid": entry["id"]}


async def test_nobody_has_logged_in() -> None:
    """A session without a login is no credentials: 401 with the one challenge of the scheme, which opens no dialog."""
    site = Site()
    site.session["cart"] = [1]

    answer = await site.send()

    assert (answer.status, answer.lines(b"www-authenticate")) == (401, ['Session realm="shop"'])
    assert (site.last[0], site.session) == ("credentials.missing", {"cart": [1]})


@pytest.mark.parametrize(("path", "allowed"), [("/orders", 1), ("/login", 0)])
async def test_pages_behind_a_session_are_not_stored(path: str, allowed: int) -> None:
    """``no-store`` is on what the session opened, so that the back button shows nothing after the log-out."""
    site = Site()
    await site.login()

    assert (await site.send(path)).lines(b"cache-control") == ["no-store"] * allowed


async def test_pages_may_be_stored_by_choice() -> None:
    """``no_store=False`` leaves it to the app, and shared caches out."""
    site = Site(no_store=False)
    await site.login()

    assert (await site.send()).lines(b"cache-control") == ["private"]


async def test_a_refusal_says_no_store_once() -> None:
    """A 403 behind a session has one line of ``Cache-Control``, though both the guard and the session ask for it."""
    site = Site(rules=[Rule("/admin", step_up(acr="urn:mfa"))])
    await site.login()

    answer = await site.send("/admin")

    assert (answer.status, answer.lines(b"cache-control")) == (401, ["no-store"])


# --- time-outs --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("seconds", "status"), [(1799, 200), (1800, 401)])
async def test_an_idle_session_ends(seconds: float, status: int) -> None:
    """It ends to the second, because the guard itself has noted the last request, and the record says by how much."""
    site = Site()
    await site.login()
    site.clock.move(seconds)

    answer = await site.send()

    assert answer.status == status
    if status == 401:
        assert b'"code": "expired"' in answer.body
        reason, facts = site.last
        assert (reason, facts["idle_by"], facts["idle"], site.session) == ("session.idle", 0.0, 1800.0, {})


async def test_a_session_ends_after_its_longest_time() -> None:
    """``session.expired`` comes however often the session was used, and says since when."""
    site = Site(idle=600, absolute=1500)
    await site.login()
    for _ in range(3):
        site.clock.move(400)
        assert (await site.send()).status == 200
    site.clock.move(303)

    assert (await site.send()).status == 401
    assert (site.last[0], site.last[1]["expired_by"], site.session) == ("session.expired", 3.0, {})


async def test_a_session_ends_with_its_principal() -> None:
    """``expires_at`` of the principal is an end too, and the earlier end counts."""
    site = Site()
    site.principal = Principal("alice", expires_at=site.clock.now + 60)
    await site.login()
    site.clock.move(60)

    await site.send()

    assert (site.last[0], site.last[1]["expired_by"]) == ("session.expired", 0.0)


@pytest.mark.parametrize(("back", "status"), [(60, 200), (61, 401)])
async def test_a_clock_that_goes_backwards(back: float, status: int) -> None:
    """A session from the future by more than the leeway is refused, or it would live longer than allowed. It is kept:
    a clock that goes wrong for a moment must not log everybody out."""
    site = Site()
    await site.login()
    site.clock.move(-back)

    assert (await site.send()).status == status
    if status == 401:
        assert (site.last[0], site.last[1]["begins_in"]) == ("session.not_yet", 61.0)
    assert "authguard" in site.session


async def test_the_cookie_is_set_again_after_a_tenth_of_the_idle_time() -> None:
    """A request is noted only when the last noted one is old enough, so that few responses set the cookie."""
    site = Site()
    entry = await site.login()
    before = dict(entry)
    site.clock.move(179)
    await site.send()
    assert site.session["authguard"] is entry
    site.clock.move(1)
    await site.send()

    assert site.session["authguard"] == {**before, "seen": site.clock.now}


async def test_a_used_session_goes_on() -> None:
    """A noted request moves the idle time-out."""
    site = Site()
    await site.login()
    for _ in range(3):
        site.clock.move(1700)
        assert (await site.send()).status == 200


# --- login and log-out ------------------------------------------------------------------------------------------------


async def test_a_login_empties_the_session() -> None:
    """What somebody else has put into the session before the login is gone (session fixation), except what is kept."""
    site = Site()
    site.session |= {"cart": [1], "is_admin": True}

    entry = await site.login(keep=["cart", "authguard", "nothing"])

    assert site.session == {"cart": [1], "authguard": entry}


async def test_each_login_has_an_id_of_its_own() -> None:
    """A second login has another id, and the first one is revoked until it would have ended."""
    revoked = Revoked()
    site = Site(revocations=revoked)
    first = dict(await site.login())
    second = await site.login()

    assert first["id"] != second["id"]
    assert revoked.until == {first["id"]: site.clock.now + 12 * 3600}


async def test_new_id_is_called_by_login_and_logout() -> None:
    """A session that the server keeps gets another id, by a function that may be async."""
    calls: list[object] = []

    async def renew(request: object) -> None:
        calls.append(request)

    site = Site(new_id=renew)
    await site.login()
    await site.send("/logout", "POST")
    plain = Site(new_id=calls.append)
    await plain.login()

    assert len(calls) == 3


@pytest.mark.parametrize("path", ["/login", "/logout"])
async def test_another_site_can_neither_log_in_nor_out(path: str) -> None:
    """Both are on open routes, so they ask for the origin themselves: a login by another site would make the user act
    as somebody else."""
    site = Site()
    site.session["cart"] = [1]

    answer = await site.send(path, "POST", origin="https://evil.example")

    assert (answer.status, site.last[0], site.session) == (403, "origin.foreign", {"cart": [1]})


async def test_another_site_cannot_use_the_session() -> None:
    """The browser sends the cookie by itself, so the origin is checked for methods that change something."""
    site = Site()
    await site.login()

    answer = await site.send(method="POST", origin="https://evil.example")

    assert (answer.status, site.last[0]) == (403, "origin.foreign")


async def test_another_site_cannot_open_a_websocket_with_the_session() -> None:
    """A handshake is checked too."""
    site = Site()
    await site.login()
    headers = header_list(origin="https://evil.example")

    answer = await run_app(
        site.app, websocket_scope("/feed", headers, session=site.session), {"type": "websocket.connect"}
    )

    assert (answer.sent[0]["type"], site.last[0]) == ("websocket.close", "origin.foreign")


async def test_a_logout_empties_the_session() -> None:
    """Nothing is left of the session, and a second log-out changes nothing."""
    site = Site()
    await site.login()
    site.session["cart"] = [1]
    await site.send("/logout", "POST")
    await site.send("/logout", "POST")

    assert (site.session, (await site.send()).status) == ({}, 401)


async def test_an_old_cookie_is_good_without_revocations() -> None:
    """A copy of a signed cookie passes after the log-out until it times out, because nothing remembers the log-out."""
    site = Site()
    await site.login()
    copy = dict(site.session)
    await site.send("/logout", "POST")
    site.session = dict(copy)
    assert (await site.send()).status == 200
    site.clock.move(1800)

    assert (await site.send()).status == 401


@pytest.mark.parametrize("kind", [Revoked, RevokedNow])
async def test_an_old_cookie_is_refused_with_revocations(kind: type[Revoked]) -> None:
    """``session.revoked``, by the awaited method and by the one that is at hand, which spares the other."""
    revoked = kind()
    site = Site(revocations=revoked)
    await site.login()
    copy = dict(site.session)
    assert (await site.send()).status == 200
    await site.send("/logout", "POST")
    site.session = dict(copy)

    answer = await site.send()

    assert (answer.status, site.last[0], site.session) == (401, "session.revoked", {})
    assert len(str(site.last[1]["session"])) == 8
    assert revoked.asked == (2 if kind is Revoked else 0)


async def test_authenticate_waits_for_the_revocations() -> None:
    """``authenticate`` gives what ``authenticate_now`` gives, and awaits what that would."""
    for revocations in (None, Revoked()):
        site = Site(revocations=revocations)
        await site.login()
        request = site.guard.moment
        scope = http_scope(session=site.session)
        outcome = await site.sessions.authenticate(AuthRequest(scope, "/", request()), Credentials("session", b""))

        assert type(outcome).__name__ == "Accepted"


@pytest.mark.parametrize("answer", [1, "no", {}])
async def test_a_port_must_say_true_or_false(answer: object) -> None:
    """Anything else is a 503, and never a pass."""
    revoked = Revoked()
    site = Site(revocations=revoked)
    await site.login()
    revoked.answer = answer

    assert (await site.send()).status == 503
    assert site.last[0] == "backend.failed"
    assert "is_session_revoked" in str(site.last[1]["problem"])


async def test_a_logout_that_cannot_be_entered_is_told() -> None:
    """503: the cookie is deleted, and the page must not say that the log-out was complete."""
    revoked = Revoked()
    site = Site(revocations=revoked)
    await site.login()
    revoked.fails = True

    answer = await site.send("/logout", "POST")

    assert (answer.status, site.last[0], site.session) == (503, "store.unavailable", {})
    assert site.last[1]["detail"] == "the store is down"


async def test_a_port_that_does_not_answer_has_a_deadline() -> None:
    """A log-out waits for ``deadline`` seconds at most."""

    class Slow(Revoked):
        async def revoke_session(self, session_id: str, until: float) -> None:
            await anyio.sleep_forever()

    site = Site(revocations=Slow(), deadline=0.01)
    await site.login()

    assert ((await site.send("/logout", "POST")).status, site.last[0]) == (503, "store.timeout")


# --- step-up ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "claims", "expected"),
    [
        ({}, {}, (1_800_000_000, None)),
        (
            {"auth_time": 1_799_999_000.5, "acr": "urn:mfa"},
            {"auth_time": 5, "acr": "urn:pwd"},
            (1_799_999_000, "urn:mfa"),
        ),
        ({}, {"auth_time": 1_799_999_100, "acr": "urn:pwd", "sid": "theirs"}, (1_799_999_100, "urn:pwd")),
        ({}, {"auth_time": "then", "acr": 3}, (1_800_000_000, None)),
    ],
)
async def test_the_login_is_remembered_for_step_up(
    options: dict[str, Any], claims: dict[str, Any], expected: tuple[int, str | None]
) -> None:
    """``auth_time`` and ``acr`` are those of ``login``, or those of the principal's claims, or now and none."""
    site = Site()
    site.principal = Principal("alice", claims=claims)
    entry = await site.login(**options)
    await site.send()

    assert site.seen is not None
    seen = site.seen.claims
    assert ((seen["auth_time"], seen.get("acr")), seen["sid"]) == (expected, entry["id"])


async def test_step_up_asks_for_a_new_login() -> None:
    """An old login is not fresh, and a new one is, in the same session."""
    site = Site(rules=[Rule("/danger", step_up(max_age=300))])
    await site.login()
    site.clock.move(400)
    assert ((await site.send("/danger")).status, site.last[0]) == (401, "step_up.required")
    await site.login()

    assert (await site.send("/danger")).status == 200


# --- what a session holds ---------------------------------------------------------------------------------------------

GOOD: dict[str, object] = {"id": "a", "sub": "alice", "began": 1.0, "seen": 1, "auth_time": 1}
NO_TIMES: list[object] = [None, "1", True, float("nan"), 1e12, 10**400]
NO_NAMES: list[object] = [None, "admin", [1], [""], {}]
WRONG: dict[str, list[object]] = {
    **{name: [None, "", 5] for name in ("id", "sub")},
    **dict.fromkeys(("began", "seen", "auth_time"), NO_TIMES),
    **dict.fromkeys(("roles", "scopes"), NO_NAMES),
    "claims": [[]],
    "acr": [5, ""],
    "ends": ["never"],
}


@pytest.mark.parametrize(
    "changes",
    [{}, {"roles": ["a"], "scopes": ("b",), "claims": {"c": 1}, "acr": "x", "ends": 5}],
)
def test_an_entry_is_read(changes: dict[str, Any]) -> None:
    """What ``login`` writes is read again, whole."""
    entry = read_entry({**GOOD, **changes})

    assert entry is not None
    assert read_entry(entry.to_session()) == read_entry({**GOOD, **changes, **({"scopes": ["b"]} if changes else {})})


@pytest.mark.parametrize(
    "document",
    [None, "alice", [], {}, *({**GOOD, name: wrong} for name, values in WRONG.items() for wrong in values)],
)
def test_what_is_no_entry_is_not_read(document: object) -> None:
    """The app can write anything into its session, and a wrong type raises nothing."""
    assert read_entry(document) is None


async def test_a_session_that_holds_something_else_is_refused() -> None:
    """``session.malformed``: the session is emptied, so that the next request begins anew."""
    site = Site()
    site.session["authguard"] = "alice"

    assert (await site.send()).status == 401
    assert (site.last, site.session) == (("session.malformed", {"key": "authguard"}), {})


# --- where the session comes from -------------------------------------------------------------------------------------


async def test_an_explicit_token_goes_first() -> None:
    """A cookie yields to ``Authorization``, and an idle session beside it is not even looked at."""
    site = Site(bearer())
    await site.login()
    site.clock.move(2000)
    before = dict(site.session)

    answer = await site.send(authorization=f"Bearer {mint(exp=NOW + 3000)}")

    assert (answer.status, site.session) == (200, before)


@pytest.mark.parametrize(
    ("cookie", "status"),
    [
        ("session=a", 200),
        ("theme=x; session=a; csession=b; sessions=c", 200),
        ("session=a; session=b", 400),
        ("session=a;\t session =b", 400),
    ],
)
async def test_two_cookies_of_one_name_are_ambiguous(cookie: str, status: int) -> None:
    """Another host of the domain may have set one of them (cookie tossing), and the browser does not say which."""
    site = Site()
    await site.login()

    answer = await site.send(cookie=cookie)

    assert answer.status == status
    if status == 400:
        assert (site.last[0], site.last[1]["cookies"], site.last[1]["cookie"]) == (
            "credentials.ambiguous",
            2,
            "session",
        )


async def test_without_a_session_nothing_is_decided() -> None:
    """SessionMiddleware inside of the guard, or none, is a 503 that names the fix."""
    site = Site()

    answer = await run_app(site.app, http_scope())

    assert (answer.status, site.last[0]) == (503, "backend.failed")
    assert "add_middleware(SessionMiddleware" in str(site.last[1]["problem"])


@pytest.mark.parametrize("scope", [{}, {"session": {}}, {"authguard": object()}])
async def test_login_says_what_is_missing(scope: dict[str, Any]) -> None:
    """Outside of a guard, and without a session, it raises while the app is tried out."""
    with pytest.raises(ConfigurationError, match="request: it "):
        await Session(realm="shop").login(scope, ALICE)


@pytest.mark.parametrize(
    ("principal", "options", "problem"),
    [
        ("alice", {}, "a str is not a Principal"),
        (Principal("alice", claims={"key": {1}}), {}, "are not JSON"),
        (Principal("alice", claims={"key": float("nan")}), {}, "are not JSON"),
        (Principal("a" * MAX_ENTRY), {}, "bytes of the session"),
        (ALICE, {"auth_time": "now"}, "auth_time: 'now'"),
        (ALICE, {"acr": ""}, "acr: ''"),
    ],
)
async def test_a_login_that_does_not_fit_raises(principal: Any, options: dict[str, Any], problem: str) -> None:
    """What a cookie cannot hold is told at once, and the session stays as it was."""
    site = Site()
    site.session["cart"], site.principal = [1], principal

    with pytest.raises(ConfigurationError, match=problem):
        await site.login(**options)
    assert site.session == {"cart": [1]}


@pytest.mark.parametrize(
    ("options", "argument"),
    [
        ({"idle": 0}, "idle"),
        ({"idle": 601, "absolute": 600}, "idle"),
        ({"absolute": "long"}, "absolute"),
        ({"renew_after": 1801}, "renew_after"),
        ({"login_url": "//evil.example"}, "login_url"),
        ({"login_url": "/login?a=b"}, "login_url"),
        ({"login_url": 5}, "login_url"),
        ({"cookie": "a b"}, "cookie"),
        ({"key": ""}, "key"),
        ({"no_store": 1}, "no_store"),
        ({"name": "Two"}, "name"),
        ({"deadline": 0}, "deadline"),
        ({"new_id": 5}, "new_id"),
        ({"revocations": object()}, "revocations"),
    ],
)
def test_a_wrong_option_raises(options: dict[str, Any], argument: str) -> None:
    """The error names the argument."""
    with pytest.raises(ConfigurationError) as caught:
        Session(realm="shop", **options)
    assert caught.value.argument == argument


@pytest.mark.parametrize("path", ["/", "/orders", "/orders?a=1&b=/x", "/a%2Fb", "/.//evil.example", "/" + "a" * 2047])
def test_a_path_of_this_site_is_where_to_go(path: str) -> None:
    """``next_path`` returns it as it is."""
    assert Session.next_path(path) == path


@pytest.mark.parametrize(
    "value",
    [
        *("", "orders", "//evil.example", "/\\evil.example", "\\\\evil.example", "https://evil.example"),
        *("/\t/evil.example", "/\n/evil.example", "/a b", "/a\\b", "/#top", "javascript:alert(1)", "/ä", "/a\n"),
        *("/" + "a" * 2048, None, 5),
    ],
)
def test_another_site_is_not_where_to_go(value: object) -> None:
    """Whatever a browser could read as another host is replaced by the default."""
    assert Session.next_path(value, "/home") == "/home"


def test_two_sessions_do_not_share_a_key() -> None:
    """Two schemes with one key would take each other's logins, so the guard refuses them and names both."""
    with pytest.raises(ConfigurationError, match="session and staff both keep logins under 'login'"):
        Guard(Session(realm="shop", key="login"), Session(realm="shop", name="staff", key="login"))


async def test_a_login_of_one_scheme_is_none_of_another() -> None:
    """Two sessions of one guard, in one cookie, stand under keys of their own."""
    site = Site()
    other = Session(realm="staff", name="staff")
    await site.login()
    records: list[Record] = []
    guard = Guard(other, rules=[], clock=site.clock, log=False, hooks=[records.append])

    answer = await run_app(AuthGuardMiddleware(site.app, guard=guard), http_scope(session=site.session))

    assert (other.key, answer.status, records[-1].reason) == ("authguard.staff", 401, "credentials.missing")


class Both(RevocationStore):
    """A store that must be awaited, for a guard and a session, and counts how often it was asked."""

    def __init__(self) -> None:
        self.revoked: dict[bytes, float] = {}
        self.asked = 0
        self.is_away = False
        self.on_outage = "deny"

    async def revoke(self, revocation: Revocation) -> None:
        self.revoked[revocation.key] = revocation.before

    async def find(self, keys: Sequence[bytes]) -> Mapping[bytes, float]:
        self.asked += 1
        if self.is_away:
            raise BackendUnavailable("away")
        return {key: self.revoked[key] for key in keys if key in self.revoked}


async def test_a_guard_with_the_same_store_asks_it_once() -> None:
    """Both the session and the subject are looked up with one call, and a revoked session is emptied all the same."""
    store = Both()
    site = Site(revocations=store, guard={"revocations": store})
    entry = await site.login()
    await site.send()
    asked = store.asked
    await store.revoke_session(entry["id"], NOW + 9000)
    answer = await site.send()

    assert (asked, store.asked) == (1, 2)
    assert answer.status == 401
    assert site.last[0] == "session.revoked"
    assert site.session == {}


async def test_a_subject_that_was_revoked_keeps_the_session() -> None:
    """Only a session that was revoked itself is emptied."""
    store = Both()
    site = Site(revocations=store, guard={"revocations": store})
    await site.login()
    await store.revoke(Revocation.subject("alice", before=NOW + 5, expires_at=NOW + 9000))
    await site.send()

    assert site.last[0] == "subject.revoked"
    assert "authguard" in site.session


async def test_a_guard_with_another_store_asks_it_too() -> None:
    """What is asked for by the session itself is asked all the same."""
    own, other = Both(), Both()
    site = Site(revocations=own, guard={"revocations": other})
    entry = await site.login()
    await site.send()
    await own.revoke_session(entry["id"], NOW + 9000)
    await site.send()

    assert site.last[0] == "session.revoked"
    assert (own.asked, other.asked) == (2, 1)


class MoreNow(Session):
    """A session with a step of its own."""

    def authenticate_now(self, request: AuthRequest, credentials: Credentials, **more: Any) -> Any:
        request.scope["steps"].append("own")
        return super().authenticate_now(request, credentials, **more)


class More(Session):
    """The same, which must be awaited."""

    async def authenticate(self, request: AuthRequest, credentials: Credentials) -> Any:
        request.scope["steps"].append("own")
        return await super().authenticate(request, credentials)


@pytest.mark.parametrize("kind", [More, MoreNow])
async def test_a_subclass_that_does_more_asks_by_itself(kind: type[Session]) -> None:
    """What it does must not be left out."""
    store = Both()
    site = Site(revocations=store, guard={"revocations": store}, kind=kind)
    await site.login()
    scope = http_scope("/orders", session=site.session, steps=[])
    await run_app(site.app, scope)

    assert site.records[-1].event == "granted"
    assert (store.asked, scope["steps"]) == (2, ["own"])


@pytest.mark.parametrize("on_outage", ["deny", "allow"])
async def test_a_store_says_what_an_outage_means_for_a_session(on_outage: str) -> None:
    """By name the request passes, and its record says what was not checked."""
    store = Both()
    store.on_outage = on_outage
    site = Site(revocations=store)
    await site.login()
    store.is_away = True
    answer = await site.send()

    assert answer.status == {"deny": 503, "allow": 200}[on_outage]
    assert site.last[1].get("unchecked") == {"deny": None, "allow": "revocations"}[on_outage]
