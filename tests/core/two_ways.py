"""Two apps of one configuration that share nothing: one decides at once what it can, the other awaits everything.

The careful one makes each response anew, remembers no verified token, judges all claims in full and reads each
``Authorization`` field in full. Both get the same history of requests and events, and must say the same.
"""

from __future__ import annotations

import copy
import re
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from hashlib import sha256
from typing import Any, Literal

import anyio.lowlevel
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from authguard import (
    ANY_AUDIENCE,
    OPTIONAL,
    PEM,
    PUBLIC,
    AccessDenied,
    Account,
    AuthGuardMiddleware,
    AuthRequest,
    BackendUnavailable,
    Denied,
    Guard,
    MemoryRevocations,
    Principal,
    Reason,
    Record,
    Rejected,
    Revocation,
    Rule,
    VerificationKey,
    all_of,
    any_of,
    claim,
    predicate,
    role,
    scopes,
    step_up,
    via,
)
from authguard.accounts.api_key import StoredKey
from authguard.accounts.api_key_memory import ApiKeyLookup, MemoryApiKeys
from authguard.core.credential_selection import select_credentials
from authguard.core.csrf import Origins, is_cross_origin, origin_facts
from authguard.core.diagnosis import explained
from authguard.core.fast_path import Undecided, unless_expired
from authguard.core.responses import Reply, answer_denial
from authguard.fastapi import install
from authguard.model import Accepted, Decision, Granted, Header, Moment, Outcome
from authguard.policy.rules import Match
from authguard.reasons import (
    BACKEND_FAILED,
    CREDENTIALS_MALFORMED,
    CREDENTIALS_MISSING,
    ORIGIN_FOREIGN,
    SESSION_REVOKED,
    STORE_UNAVAILABLE,
    SUBJECT_REVOKED,
    TOKEN_REVOKED,
)
from authguard.records.record import exception_facts
from authguard.schemes.bearer.claims import ClaimRules
from authguard.schemes.carriers import AUTHORIZATION
from authguard.starlette import requires
from authguard.state.nonce_store import MemoryNonces
from authguard.state.revocations import Revocations, revocation_key
from authguard.testing import ManualClock
from authguard.wire.grammar import WireError
from tests.support.asgi import Exchange, header_list, http_scope, run_app, websocket_scope
from tests.support.clock import NOW
from tests.support.key_source import StubbedSource
from tests.support.schemes.api_key import KEY_ID, api_key_scheme, key_text, stored_key
from tests.support.schemes.basic import HeldUsers, SpyHasher, basic_scheme, user_pass
from tests.support.schemes.bearer import bearer, issuer
from tests.support.schemes.digest import (
    DigestAccounts,
    answer_challenge,
    digest_hash,
    digest_request,
    digest_scheme,
    ha1,
    serialize,
)
from tests.support.tokens import claims as valid_claims
from tests.support.tokens import ec_key, ed_key, key_set, mint, public_pem, raw_token

OTHER, REMOTE = "https://other.example/", "https://remote.example/"
SUSPENDED = Reason("account.suspended", 401)
CLOSED = Reason("order.closed", 403, public="The order is closed")
TEAMS: dict[str, Any] = {"teams": [{"name": "a", "members": ["alice"]}], "tenant": {"id": 7}}

# --- Tokens -----------------------------------------------------------------------------------------------------------

#: The changes to the claims of a valid token, by what they make of it.
CHANGES: Mapping[str, dict[str, Any]] = {
    "valid": {},
    "nested": TEAMS,
    "with ids": {"jti": "t-1", "sid": "s-1", "auth_time": NOW - 300},
    "of the session": {"jti": "t-2", "sid": "s-1"},
    "without a time": {"iat": ...},
    "issued later": {"iat": NOW + 40, "exp": NOW + 6000},
    "bob": {"sub": "bob", "roles": [], "scope": ""},
    "write": {"scope": "write", "roles": "owner"},
    "odd names": {"roles": ["admin", True, 1, "", " ", ["x"], {"a": 1}, None, "admin"], "scope": "  read   write "},
    "logged in": {"auth_time": NOW - 30, "acr": "gold"},
    "short": {"exp": NOW + 90},
    "fractions": {"iat": NOW - 0.25, "exp": NOW + 30.5},
    "expired": {"exp": NOW - 600},
    "late": {"exp": NOW - 30},
    "early": {"nbf": NOW + 30},
    "not yet": {"nbf": NOW + 600},
    "from the future": {"iat": NOW + 600},
    "other audience": {"aud": "bills"},
    "several audiences": {"aud": ["bills", "orders"]},
    "no audience": {"aud": ...},
    "no end": {"exp": ...},
    "end is true": {"exp": True},
    "end is a text": {"exp": str(NOW + 600)},
    "end is infinite": {"exp": 10**400},
    "bound": {"cnf": {"jkt": "x"}},
    "nobody": {"sub": ...},
    "a number": {"sub": 42},
    "an empty name": {"sub": ""},
    "unknown issuer": {"iss": "https://evil.example/"},
    "no issuer": {"iss": ...},
}


def _key(which: int) -> Any:
    return ed_key(which)


def _signed(key: Any, header: dict[str, Any], **changes: Any) -> bytes:
    return raw_token({"alg": "EdDSA", **header}, valid_claims(**changes), key, "EdDSA").encode()


@cache
def tokens() -> Mapping[str, bytes]:
    """All tokens by name. They are the same bytes for both apps."""
    made = {name: _signed(_key(0), {"kid": "k1"}, **changes) for name, changes in CHANGES.items()}
    valid = made["valid"]
    head, payload, signature = valid.split(b".")
    return {
        **made,
        "second key": _signed(_key(1), {"kid": "k2"}),
        "no kid": _signed(_key(0), {}),
        "unknown kid": _signed(_key(0), {"kid": "k9"}),
        "foreign key": _signed(_key(7), {"kid": "k1"}),
        "forged": b".".join([head, payload, signature[:-6] + b"AAAAAA"]),
        "unsigned": b".".join([head, payload, b""]),
        "other algorithm": mint(ec_key(), "ES256", {"kid": "k1"}).encode(),
        "proof": _signed(_key(0), {"kid": "k1", "typ": "dpop+jwt"}),
        "critical": _signed(_key(0), {"kid": "k1", "crit": ["x"], "x": 1}),
        "other issuer": _signed(_key(2), {}, iss=OTHER, realm_access={"roles": ["admin"]}, exp=...),
        "other issuer, foreign key": _signed(_key(0), {}, iss=OTHER),
        "fetched": _signed(_key(3), {"kid": "r1"}, iss=REMOTE),
        "fetched, unknown kid": _signed(_key(3), {"kid": "r9"}, iss=REMOTE),
        "fetched, foreign key": _signed(_key(4), {"kid": "r1"}, iss=REMOTE),
        "opaque": b"2YotnFZFEjr1zCsicMWpAA",
        "two parts": b"eyJhbGciOiJFZERTQSJ9.eyJ9",
        "five parts": b"eyJhbGciOiJFZERTQSJ9.a.b.c.d",
        "no JSON": b"eyJhbGciOiJFZERTQSJ9.eyJ7.AAAA",
        "padded": valid + b"=",
        "a comma": valid + b", Basic x",
        "too long": b"ey" + b"A" * 9000,
    }


# --- Fields -----------------------------------------------------------------------------------------------------------


class Client:
    """What a client does with Digest: it answers a challenge of its own app, counts, and may send an answer again."""

    def __init__(self) -> None:
        self.challenge: Any = None
        self.count = 0
        self.sent = b""

    def field(self, app: GuardedApp, request: Ask, how: str) -> bytes:
        """The field for this request."""
        if how == "again" and self.sent:
            return self.sent
        if self.challenge is None or how in {"new", "wrong", "unknown", "disabled", "bare"}:
            self.challenge, self.count = app.digest_challenge(), 0
        self.count += 1
        user = {"unknown": "zoe", "disabled": "mallory"}.get(how, "alice")
        password = {"wrong": "wrong", "disabled": "secret"}.get(how, "wonderland")
        uri = "/elsewhere" if how == "elsewhere" else request.path
        params = answer_challenge(self.challenge, password, user, method=request.sent_method, count=self.count, uri=uri)
        if how == "bare":  # RFC 2069, and no opaque
            algorithm, nonce = params["algorithm"] or "", params["nonce"] or ""
            a1, a2 = ha1(params, password), digest_hash(algorithm, request.sent_method, uri)
            params = {**params, "response": digest_hash(algorithm, a1, nonce, a2)}
            params = {**params, **dict.fromkeys(("qop", "cnonce", "nc", "opaque"))}
        self.sent = b"Digest " + serialize(params)
        return self.sent


def _login(user: str, password: str) -> bytes:
    return b"Basic " + user_pass(user, password)


#: API keys by what is said of them, where `api_keys()` are stored.
KEYS: Mapping[str, str] = {
    "good": key_text(),
    "of a clerk": key_text("clerk0000000"),
    "that expires": key_text("expiring0000"),
    "that rotates": key_text("rotating0000"),
    "that was revoked": key_text("revoked00000"),
    "of another network": key_text("elsewhere000"),
    "of another environment": key_text("testing00000", label="acme_test"),
    "of nobody": key_text("000000000000"),
    "with another secret": key_text(secret="t" * 27),
    "of another service": key_text(label="other_live"),
    "that is cut off": key_text()[:-1],
}


def api_keys() -> list[StoredKey]:
    """The keys of a store, with texts of ``KEYS``."""
    changes: Mapping[str, dict[str, Any]] = {
        KEY_ID: {"roles": {"admin"}, "scopes": {"read", "write"}},
        "clerk0000000": {"owner": "bob"},
        "expiring0000": {"roles": {"admin"}, "expires": NOW + 60},
        "rotating0000": {"roles": {"admin"}, "expires": NOW + 500, "successor": KEY_ID},
        "revoked00000": {"revoked": NOW - 60},
        "elsewhere000": {"networks": ["198.51.100.0/24"]},
    }
    return [stored_key(key_id, text=key_text(key_id), **fields) for key_id, fields in changes.items()]


#: The value of each ``Authorization`` line, by name. A name of ``tokens()`` stands for that token.
SPELLED: Mapping[str, list[bytes]] = {
    "nothing": [],
    "lower case": [b"bearer %valid"],
    "upper case": [b"BEARER %valid"],
    "mixed case": [b"bEaReR %valid"],
    "two spaces": [b"Bearer  %valid"],
    "a space before": [b" Bearer %valid"],
    "a space after": [b"Bearer %valid "],
    "a tab": [b"Bearer\t%valid"],
    "a tab after the space": [b"Bearer \t%valid"],
    "no space": [b"Bearer"],
    "a space and nothing": [b"Bearer "],
    "an empty field": [b""],
    "no scheme": [b"%valid"],
    "bytes": [b"Bearer \xff\x00"],
    "no token": [b"=?="],
    "twice": [b"Bearer %valid", b"Bearer %valid"],
    "two schemes": [b"Bearer %valid", _login("alice", "wonderland")],
    "an empty line too": [b"Bearer %valid", b""],
    "unknown scheme": [b"Negotiate abc"],
    "a key": [b"sk-0123456789"],
    "far too long": [b"Bearer " + b"a" * 17_000],
    "alice": [_login("alice", "wonderland")],
    "bob logs in": [_login("bob", "builder")],
    "basic, upper case": [b"BASIC " + user_pass("alice", "wonderland")],
    "wrong password": [_login("alice", "wrong")],
    "another wrong password": [_login("bob", "wrong")],
    "unknown name": [_login("zoe", "wonderland")],
    "disabled": [_login("mallory", "secret")],
    "no password": [_login("alice", "")],
    "no name": [_login("", "wonderland")],
    "no base64": [b"Basic ???"],
    "no colon": [b"Basic YWxpY2U="],
    "not UTF-8": [b"Basic //86eA=="],
    "ISO-8859-1": [b"Basic " + b64encode("zo\u00e9:cr\u00e8me".encode("latin-1"))],
    "decomposed": [_login("nora", "cre\u0300me")],
    "decomposed, wrong": [_login("nora", "cre\u0300me!")],
    "decomposed, unknown": [_login("nobody", "cre\u0300me")],
    "an account without a password": [_login("empty", "")],
    **{f"key {name}": [b"ApiKey " + text.encode()] for name, text in KEYS.items()},
    "key in lower case": [b"apikey " + KEYS["good"].encode()],
    "key twice": [b"ApiKey " + KEYS["good"].encode()] * 2,
    "key and token": [b"ApiKey " + KEYS["good"].encode(), b"Bearer %valid"],
    "digest without parameters": [b"Digest"],
    "digest garbage": [b"Digest a=b, a=b"],
}
DIGEST = ("new", "next", "again", "bare", "wrong", "unknown", "disabled", "elsewhere")


@cache
def fields() -> Sequence[str]:
    """The names of all that a request may present."""
    return [*tokens(), *SPELLED, *(f"digest {how}" for how in DIGEST)]


ORIGINS: Mapping[str, list[Header]] = {
    "no browser": [],
    "own site": [(b"sec-fetch-site", b"same-origin")],
    "another site": [(b"sec-fetch-site", b"cross-site"), (b"origin", b"https://evil.example")],
    "the same domain": [(b"sec-fetch-site", b"same-site")],
    "two sites": [(b"sec-fetch-site", b"none"), (b"sec-fetch-site", b"none")],
    "own origin": [(b"origin", b"https://testserver")],
    "foreign origin": [(b"origin", b"https://evil.example")],
    "hidden origin": [(b"origin", b"null")],
    "hidden origin of its own": [(b"origin", b"null"), (b"sec-fetch-site", b"same-origin")],
    "hidden origin of another site": [(b"origin", b"null"), (b"sec-fetch-site", b"cross-site")],
    "trusted origin": [(b"origin", b"https://app.example"), (b"sec-fetch-site", b"cross-site")],
}


# --- Histories --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ask:
    """Requests that are all the same, ``times`` of them."""

    path: str
    field: str
    method: str = "GET"
    origin: str = "no browser"
    is_websocket: bool = False
    client: str = "192.0.2.7"
    times: int = 2

    @property
    def sent_method(self) -> str:
        """The method that a Digest client hashes."""
        return "GET" if self.is_websocket else self.method


@dataclass(frozen=True)
class Event:
    """Something that happens between two requests. ``Move`` says by how many seconds time goes on."""

    name: str
    seconds: float = 0


EVENTS = [
    *(Event("time goes on", seconds) for seconds in (-45, 45, 1, 28, 1, 1, 28, 1, 1, 29, 90, 150, 301, 3600)),
    Event("another key in the list"),
    Event("another list of keys"),
    Event("the keys are not held"),
    Event("the first keys come back"),
    Event("another key under the same kid"),
    Event("the same issuers again"),
    Event("an issuer is closed"),
    Event("other keys are published"),
    Event("the first keys are published"),
    Event("alice is suspended"),
    Event("nobody is suspended"),
    Event("alice loses her roles"),
    Event("alice has another password"),
    Event("the accounts are as at first"),
    Event("the token is revoked"),
    Event("the session is revoked"),
    Event("alice is revoked"),
    Event("nothing is revoked"),
]


@dataclass(frozen=True)
class Setup:
    """A configuration.

    ``outer``: what an outer guard requires; ``delay``: how many seconds go by between it and the inner one.
    """

    hierarchy: bool = False
    checks: tuple[str, ...] = ()
    renders: bool = False
    outer: Literal["none", "open", "optional", "closed"] = "none"
    delay: float = 0
    framework: str = "starlette"
    root_path: str = ""
    leeway: float = 60.0
    trusts_app: bool = False
    quick_store: bool = True
    throttled: bool = True
    has_digest: bool = True
    tolerant: bool = False
    revocations: Literal["none", "at once", "awaited", "both"] = "none"


#: Every option for old clients.
TOLERANT_BASIC = dict.fromkeys(
    ("latin1", "loose_base64", "empty_password", "empty_username", "unnormalized_hashes"), True
)
TOLERANT_DIGEST = dict.fromkeys(
    ("rfc2069", "missing_opaque", "uri_without_query", "loose_nc", "latin1", "literal_backslash"), True
)

RULES = [
    Rule("/public", PUBLIC),
    Rule("/lock", PUBLIC),
    Rule("/optional", OPTIONAL),
    Rule("/admin", role("admin")),
    Rule("/editor", role("editor")),
    Rule("/write", scopes("write")),
    Rule("/any", any_of(role("owner"), scopes("read"), via("digest"))),
    Rule("/all", all_of(role("admin"), scopes("read"), via("bearer", "basic"))),
    Rule("/gold", step_up(acr=["gold"], max_age=120)),
    Rule("/basic", via("basic")),
    Rule("/digest", via("digest")),
    Rule("/tokens", via("bearer")),
    Rule("/mine/{name}", predicate("own", lambda principal, params: principal.subject == params["name"])),
    Rule("/tenant", predicate("tenant", lambda principal, _: principal.claims.get("tenant") == {"id": 7})),
    Rule("/failing", predicate("failing", lambda principal, _: principal.claims["tenant"]["id"] == 7)),
    Rule("/post", role("admin"), methods={"POST"}),
]
PATHS = [
    *(rule.pattern for rule in RULES if "{" not in rule.pattern),
    "/",
    "/deny",
    "/mine/alice",
    "/mine/bob",
    "/a/../admin",
]


class _CarefulRules(ClaimRules):
    """Claim rules that find no claims plain."""

    def is_plain(self, claims: Any, moment: Moment) -> bool:
        return False


class _Postponed(Undecided):
    """A request about which nothing has been decided or learned."""

    def __init__(self, authenticated: Principal | None, origins: Origins) -> None:
        super().__init__(None)
        self.authenticated, self.origins = authenticated, origins


class CarefulGuard(Guard):
    """A guard that decides nothing at once and keeps no response. It is written from the documentation of the guard."""

    def decide_now(
        self, request: AuthRequest, match: Match, authenticated: Principal | None = None, origins: Origins = frozenset()
    ) -> Undecided:
        return _Postponed(authenticated, origins)

    async def finish(self, undecided: Undecided, request: AuthRequest, match: Match) -> Decision:
        assert isinstance(undecided, _Postponed)
        resolved = self.requirements[match.requirement]
        tried: list[str | None] = [None]
        try:
            return await self._decide_carefully(undecided, request, match, tried)
        except BackendUnavailable as error:
            facts = {"detail": error.detail or None, "retry_after": error.retry_after}
            return resolved.deny(error.reason or STORE_UNAVAILABLE, tried[0], facts=facts)
        except Exception as error:  # noqa: BLE001 - whatever fails, the request is denied
            return resolved.deny(BACKEND_FAILED, tried[0], facts=exception_facts(error))

    async def _decide_carefully(
        self, postponed: _Postponed, request: AuthRequest, match: Match, tried: list[str | None]
    ) -> Decision:
        resolved, schemes = self.requirements[match.requirement], {scheme.name: scheme for scheme in self.schemes}
        taken_over = postponed.authenticated
        selected = taken_over or select_credentials(request, [(AUTHORIZATION, frozenset(schemes))], resolved)
        if isinstance(selected, Denied):
            anonymous = match.requirement is OPTIONAL and selected.reason is CREDENTIALS_MISSING
            return Granted(None, match.requirement) if anonymous else selected
        tried[0] = selected.scheme
        of_browsers = selected.scheme is not None and schemes[selected.scheme].sent_by_browsers
        if of_browsers and is_cross_origin(request, postponed.origins):
            return resolved.deny(ORIGIN_FOREIGN, selected.scheme, facts=origin_facts(request, postponed.origins))
        outcome: Outcome
        if isinstance(selected, Principal):
            outcome = unless_expired(Accepted(selected), request.moment)
        else:
            request.body_readable = schemes[selected.scheme].reads_body
            try:
                outcome = await schemes[selected.scheme].authenticate(request, selected)
            except WireError as error:
                outcome = Rejected(CREDENTIALS_MALFORMED, facts={"problem": error.problem})
        if isinstance(outcome, Accepted) and self.revoked is not None:
            outcome = await self._unless_revoked(outcome, selected.scheme, self.revoked)
        if isinstance(outcome, Accepted):
            own = self._own(outcome.principal, selected.scheme)
            outcome = await self._run_checks(request, Accepted(own, outcome.response_headers, outcome.facts))
        if isinstance(outcome, Rejected):
            return resolved.reject(explained(outcome, selected), selected.scheme)
        return resolved.authorize(
            outcome.principal, outcome.response_headers, outcome.facts, match.params, request.moment
        )

    #: What is revoked; None for a guard without revocations.
    revoked: MemoryRevocations | None = None

    async def _unless_revoked(self, accepted: Accepted, scheme: str | None, revoked: MemoryRevocations) -> Outcome:
        await anyio.lowlevel.checkpoint()
        principal, claims = accepted.principal, copy.deepcopy(dict(accepted.principal.claims))
        times = [claims[name] for name in ("iat", "auth_time") if name in claims]
        facts: dict[str, object] = {}
        reason: Reason | None = None
        if await revoked.find([revocation_key("token", str(claims.get("jti")))]):
            reason, facts = TOKEN_REVOKED, {"jti": claims["jti"]}
        elif await revoked.is_session_revoked(str(claims.get("sid"))):
            reason, facts = SESSION_REVOKED, {"session": sha256(claims["sid"].encode()).hexdigest()[:8]}
        elif found := await revoked.find([revocation_key("subject", principal.subject)]):
            (before,) = found.values()
            if times and min(times) <= before:
                reason, facts = SUBJECT_REVOKED, {"issued_before": round(before - min(times), 3)}
            elif not times and scheme not in {"basic", "digest"}:
                reason, facts = SUBJECT_REVOKED, {"problem": "nothing says when these credentials were issued"}
        if reason is None:
            return accepted
        facts = {**accepted.facts, **facts}
        return Rejected(reason, principal.subject, facts, accepted.response_headers, authenticated=True)

    def _own(self, principal: Principal, scheme: str | None) -> Principal:
        implied = [self.implied_roles.get(name, frozenset[str]()) for name in principal.roles]
        return replace(
            principal,
            scheme=scheme,
            roles=principal.roles.union(*implied),
            claims=copy.deepcopy(dict(principal.claims)),
        )

    def reply(self, request: AuthRequest, denied: Denied, render: Any = None) -> tuple[Reply, Denied]:
        return answer_denial(request, denied, self.schemes, render)


class _Awaited(Revocations):
    """A store that must be awaited."""

    def __init__(self, store: MemoryRevocations) -> None:
        self._store = store

    async def find(self, keys: Sequence[bytes]) -> Mapping[bytes, float]:
        await anyio.lowlevel.checkpoint()
        return await self._store.find(keys)


class _Keys:
    """A key source of an app's own. Its keys may be in memory, or not yet."""

    def __init__(self) -> None:
        self.first = [VerificationKey("EdDSA", f"k{which + 1}", _key(which).public_key()) for which in (0, 1)]
        self.keys = list(self.first)
        self.are_held = True

    def held(self, *, kid: str | None, algorithm: str) -> Sequence[VerificationKey] | None:
        return self.keys if self.are_held else None

    async def keys_for(self, *, kid: str | None, algorithm: str) -> Sequence[VerificationKey]:
        await anyio.lowlevel.checkpoint()
        return self.keys


@dataclass(frozen=True)
class Seen:
    """What came of one request: what was sent, what the app saw, and the records."""

    sent: object
    user: object
    records: object


class GuardedApp:
    """One of the two apps. ``is_lean`` says whether it decides at once what it can."""

    def __init__(self, setup: Setup, *, is_lean: bool) -> None:
        self.setup, self.is_lean = setup, is_lean
        self.clock, self.ticks = ManualClock(NOW), ManualClock(1000)
        self.records: list[Record] = []
        self.users: list[object] = []
        self.suspended: set[str] = set()
        self.revoked = MemoryRevocations(clock=self.clock, monotonic=self.ticks)
        self.client = Client()
        self.keys, self.remote = _Keys(), StubbedSource(max_age=100_000)
        self.remote.server.answer = key_set(r1=_key(3))
        self.accounts = HeldUsers(hasher=SpyHasher())
        algorithm = "MD5" if setup.tolerant else "SHA-256"
        self.digests = DigestAccounts(algorithm, answers_at_once=setup.quick_store)
        self.bearers: list[Any] = []
        self.digest_schemes: list[Any] = []
        self._reset_accounts()
        checks = [self._checks[name] for name in setup.checks]
        hierarchy = {"admin": {"editor"}, "editor": {"reader"}} if setup.hierarchy else None
        rules = [rule for rule in RULES if setup.has_digest or rule.pattern != "/digest"]
        guard = self._guard(rules=rules, checks=checks, role_hierarchy=hierarchy)
        options: dict[str, Any] = {
            "origins": ["https://app.example"] * setup.trusts_app + ["null"] * setup.tolerant,
            "render": self._render if setup.renders else None,
        }
        self.app = self._behind(guard, options)

    # --- what the app is made of --------------------------------------------------------------------------------------

    def _guard(self, **options: Any) -> Guard:
        both: dict[str, Any] = {"clock": self.ticks, **({} if self.setup.throttled else {"throttle": None})}
        tolerant_digest = {"algorithms": ("MD5",), **TOLERANT_DIGEST}
        basic = basic_scheme(self.accounts, **both, **(TOLERANT_BASIC if self.setup.tolerant else {}))
        digest = digest_scheme(
            self.digests, nonces=MemoryNonces(), **both, **(tolerant_digest if self.setup.tolerant else {})
        )
        token = bearer(*self.issuers(), clock=self.ticks, **({} if self.is_lean else {"cache": 0}))
        stored = api_keys()
        keys = MemoryApiKeys(stored) if self.setup.quick_store else ApiKeyLookup(MemoryApiKeys(stored).find)
        key = api_key_scheme(store=keys, carrier=AUTHORIZATION, name="apikey", **both)
        self.bearers.append(token)
        self.digest_schemes.append(digest)
        schemes: list[Any] = [digest, token, basic, key]
        possible: dict[str, list[Revocations]] = {
            "none": [],
            "at once": [self.revoked],
            "awaited": [_Awaited(self.revoked)],
            "both": [MemoryRevocations(), self.revoked, _Awaited(self.revoked)],
        }
        stores = possible[self.setup.revocations]
        guard = (Guard if self.is_lean else CarefulGuard)(
            *(schemes if self.setup.has_digest else schemes[1:]),
            clock=self.clock,
            monotonic=self.ticks,
            leeway=self.setup.leeway,
            hooks=[self.records.append],
            log=False,
            revocations=stores,
            **options,
        )
        if isinstance(guard, CarefulGuard) and stores:
            guard.revoked = self.revoked
        return guard

    def issuers(self, *, closed: bool = False) -> list[Any]:
        """The issuers; with ``closed`` without the first one."""
        listed = [
            issuer(self.keys, algorithms=["EdDSA"]),
            issuer(
                PEM(public_pem(_key(2))),
                name=OTHER,
                algorithms=["EdDSA"],
                audience=ANY_AUDIENCE,
                require_exp=False,
                roles=claim("realm_access", "roles"),
            ),
            issuer(self.remote.keys, name=REMOTE, algorithms=["EdDSA"]),
        ]
        for each in listed:
            if not self.is_lean:
                rules = {name: getattr(each.rules, name) for name in ClaimRules.__match_args__}
                object.__setattr__(each, "rules", _CarefulRules(**rules))
        return listed[1:] if closed else listed

    def _behind(self, guard: Guard, options: dict[str, Any]) -> Any:
        if self.setup.framework == "fastapi":
            app = FastAPI()
            app.add_api_route("/lock", _locked(self), response_model=None)
            app.add_api_route("/deny", _denied(self), response_model=None)
            app.add_api_route("/{rest:path}", self._answer, methods=["GET", "POST", "OPTIONS"], response_model=None)
            app.add_api_websocket_route("/{rest:path}", self._accept)
            install(app, guard, **options)
            return app
        routes = [
            Route("/lock", _locked(self)),
            Route("/deny", _denied(self)),
            Route("/{rest:path}", self._answer, methods=["GET", "POST", "OPTIONS"]),
            WebSocketRoute("/{rest:path}", self._accept),
        ]
        inner = AuthGuardMiddleware(Starlette(routes=routes), guard=guard, **options)
        if self.setup.outer == "none":
            return inner
        rules = {"open": [Rule("/**", PUBLIC)], "optional": [Rule("/**", OPTIONAL)], "closed": []}[self.setup.outer]
        return AuthGuardMiddleware(_between(inner, self), guard=self._guard(rules=rules), **options)

    async def _answer(self, request: Request) -> Response:
        self._see(request.user)
        return PlainTextResponse(f"passed {request.user.display_name}")

    async def _accept(self, websocket: WebSocket) -> None:
        self._see(websocket.user)
        await websocket.accept()
        await websocket.close()

    def _see(self, user: Any) -> None:
        """Note who the user is, and change its claims and all that is in them: no later request may see that."""
        if not isinstance(user, Principal):
            self.users.append(None)
            return
        found: Any = user.claims
        self.users.append((user, copy.deepcopy(dict(found))))
        for team in found.get("teams", []):
            team["members"].append("mallory")
        found.setdefault("tenant", {})["id"] = 8
        found["roles"] = ["owner"]

    def _render(self, request: AuthRequest, denied: Denied) -> tuple[str, bytes]:
        return "text/plain", f"{denied.reason.code} {denied.subject} {denied.requirement}".encode()

    @property
    def _checks(self) -> Mapping[str, Any]:
        async def nothing(request: AuthRequest, principal: Principal) -> Principal:
            return principal

        async def suspend(request: AuthRequest, principal: Principal) -> Principal | Rejected:
            if principal.subject in self.suspended:
                return Rejected(SUSPENDED, facts={"since": 1.5}, response_headers=((b"x-suspended", b"1"),))
            return principal

        async def enrich(request: AuthRequest, principal: Principal) -> Principal:
            await anyio.lowlevel.checkpoint()
            more = {**principal.claims, "tenant": {"id": 7}, "by": "a check"}
            return replace(principal, roles=principal.roles | {"editor"}, claims=more)

        async def change(request: AuthRequest, principal: Principal) -> Principal:
            found: Any = principal.claims
            found.setdefault("seen", []).append(1)
            return principal

        async def fail(request: AuthRequest, principal: Principal) -> Principal:
            if principal.subject == "bob":
                raise BackendUnavailable("the directory is down", retry_after=9)
            return principal

        async def read(request: AuthRequest, principal: Principal) -> Principal:
            await request.body(100)
            return principal

        return {
            "nothing": nothing,
            "suspend": suspend,
            "enrich": enrich,
            "change": change,
            "fail": fail,
            "read": read,
        }

    def _reset_accounts(self) -> None:
        self.accounts.accounts = {
            "alice": Account(
                "alice", "$fast$wonderland", roles={"admin"}, scopes={"read"}, claims=copy.deepcopy(TEAMS)
            ),
            "bob": Account("bob", "$fast$builder"),
            "mallory": Account("mallory", "$fast$secret", disabled=True),
        }
        if self.setup.tolerant:
            old = {"zo\u00e9": "cr\u00e8me", "nora": "cre\u0300me", "empty": ""}
            self.accounts.accounts |= {name: Account(name, f"$fast${password}") for name, password in old.items()}

    def digest_challenge(self) -> Any:
        """A new challenge of the guard that verifies Digest in this app."""
        scheme = self.digest_schemes[-1 if self.setup.outer in {"closed", "optional"} else 0]
        return scheme.challenges(digest_request(self.clock.now, leeway=self.setup.leeway), None)[0]

    # --- a history ----------------------------------------------------------------------------------------------------

    async def go(self, step: Ask | Event) -> object:
        """Let one step happen, and say what came of it."""
        if isinstance(step, Ask):
            return [await self._send(step) for _ in range(step.times)]
        await self._happen(step)
        return None

    async def _send(self, ask: Ask) -> Seen:
        records, users = len(self.records), len(self.users)
        headers = [*header_list(), *ORIGINS[ask.origin]]
        headers += [(b"authorization", line) for line in self._lines(ask)]
        more: dict[str, Any] = {"client": (ask.client, 40000), "root_path": self.setup.root_path}
        path = self.setup.root_path + ask.path
        if ask.is_websocket:
            scope = websocket_scope(path, headers, extensions={"websocket.http.response": {}}, **more)
            exchange = await run_app(self.app, scope, {"type": "websocket.connect"})
        else:
            exchange = await run_app(self.app, http_scope(path, ask.method, headers, **more))
        return Seen(
            _without_nonces(exchange),
            self.users[users:],
            [_without_frames(record) for record in self.records[records:]],
        )

    def _lines(self, ask: Ask) -> list[bytes]:
        if ask.field.startswith("digest ") and ask.field not in SPELLED:
            return [self.client.field(self, ask, ask.field.removeprefix("digest "))]
        if ask.field in SPELLED:
            return [line.replace(b"%valid", tokens()["valid"]) for line in SPELLED[ask.field]]
        return [b"Bearer " + tokens()[ask.field]]

    async def _happen(self, event: Event) -> None:
        if event.name == "time goes on":
            self.clock.move(event.seconds)
            for clock in (self.ticks, self.remote.clock):
                clock.move(max(0, event.seconds))
            return
        if event.name.endswith("published"):
            self.remote.server.answer = key_set(r1=_key(4 if event.name.startswith("other") else 3))
            await self.remote.keys.warm()
            return
        keys, accounts = self.keys, self.accounts.accounts
        other = VerificationKey("EdDSA", "k1", _key(7).public_key())
        changes: Mapping[str, Callable[[], object]] = {
            "the token is revoked": lambda: self.revoked.revoke_now(Revocation.token("t-1", expires_at=NOW + 600)),
            "the session is revoked": lambda: self.revoked.revoke_now(Revocation.session("s-1", expires_at=NOW + 600)),
            "alice is revoked": lambda: self.revoked.revoke_now(
                Revocation.subject("alice", before=NOW - 10, expires_at=NOW + 600)
            ),
            "nothing is revoked": self.revoked._before.clear,
            "another key in the list": lambda: keys.keys.__setitem__(0, other),
            "another list of keys": lambda: setattr(keys, "keys", [keys.first[1]]),
            "the keys are not held": lambda: setattr(keys, "are_held", False),
            "the first keys come back": self._reset_keys,
            "another key under the same kid": lambda: setattr(keys, "keys", [other, keys.first[1]]),
            "the same issuers again": lambda: self._replace(closed=False),
            "an issuer is closed": lambda: self._replace(closed=True),
            "alice is suspended": lambda: self.suspended.add("alice"),
            "nobody is suspended": self.suspended.clear,
            "alice loses her roles": self._take_roles,
            "alice has another password": lambda: accounts.update(alice=Account("alice", "$fast$changed")),
            "the accounts are as at first": self._reset_accounts,
        }
        changes[event.name]()

    def _replace(self, *, closed: bool) -> None:
        for scheme in self.bearers:
            scheme.replace(*self.issuers(closed=closed))

    def _reset_keys(self) -> None:
        self.keys.keys, self.keys.are_held = list(self.keys.first), True

    def _take_roles(self) -> None:
        self.accounts.accounts["alice"] = Account("alice", "$fast$wonderland")
        self.digests.accounts["alice"] = replace(self.digests.accounts["alice"], roles=frozenset[str]())

    @property
    def clocks(self) -> object:
        """What the scheme has learned of the clocks of its issuers."""
        return [scheme.health()["clocks"] for scheme in self.bearers]


def _locked(app: GuardedApp) -> Callable[[Request], Any]:
    @requires(role("admin"))
    @requires(any_of(via("bearer"), via("basic"), via("digest")))
    async def endpoint(request: Request) -> Response:
        return await app._answer(request)

    return endpoint


def _denied(app: GuardedApp) -> Callable[[Request], Any]:
    async def endpoint(request: Request) -> Response:
        app._see(request.user)
        raise AccessDenied(CLOSED, order=5)

    return endpoint


def _between(inner: Any, guarded: GuardedApp) -> Any:
    """Code between two guards, which takes its time and adds to the claims."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        user = scope["user"]
        if isinstance(user, Principal):
            found: Any = user.claims
            found.setdefault("between", []).append(1)
        guarded.clock.move(guarded.setup.delay)
        await inner(scope, receive, send)

    return app


_NONCES = re.compile(rb'\b(nonce|nextnonce|rspauth|cnonce)="[^"]*"')


def _without_nonces(exchange: Exchange) -> object:
    """The messages, with the values left out that are random or depend on a random one."""
    return [
        {
            name: [(key, _NONCES.sub(rb"\1", text)) for key, text in value] if name == "headers" else value
            for name, value in message.items()
        }
        for message in exchange.sent
    ]


def _without_frames(record: Record) -> Record:
    """The record, without the lines of code that an exception has come through."""
    return replace(record, facts={name: fact for name, fact in record.facts.items() if name != "frames"})
