# ruff: noqa: SLF001 - to copy an object means to know its private attributes
"""A copy of a guard that decides as the guard would now, and spends nothing that the guard keeps.

The copy runs the very code that runs live. What authguard keeps in memory is copied: caches, attempts, used nonces, the
clocks of issuers. So the copy counts, remembers and forgets by itself, and is thrown away. What is kept elsewhere is
only read: the copy has a view of a shared store that answers a write as the store would, and writes nothing.
"""

from __future__ import annotations

import copy
import logging
import threading
import types
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar, cast

from authguard.app_code import shown
from authguard.caching import BoundedCache, Dropped, KeyedHash
from authguard.concurrency.background import BackgroundFetch
from authguard.concurrency.limiter import ConcurrencyLimiter
from authguard.concurrency.single_flight import SingleFlight
from authguard.concurrency.thread_pool import ANYBODY, Caller, ThreadPool
from authguard.core.fast_path import FastPath
from authguard.core.guard import Check, Guard
from authguard.errors import BackendUnavailable
from authguard.fork import ForkSafeLock
from authguard.http_client import FetchFailed
from authguard.keys.refresher import FetchedKeySet, KeyRefresher
from authguard.model import Accepted, Denied, Outcome, Principal
from authguard.records.record import Record
from authguard.request import AuthRequest
from authguard.schemes.scheme import Scheme
from authguard.state.nonce_store import MemoryNonces, NonceStore, NonceUse, memory_in_use
from authguard.state.proof_store import MemoryProofs, ProofUse
from authguard.state.throttle_store import Bucket, Exceeded, MemoryThrottleStore, SeparateSteps
from authguard.wire.authorization import Credentials
from authguard.wire.challenge import Challenge

if TYPE_CHECKING:
    from authguard.core.revocation import RevocationCheck

T = TypeVar("T")
#: Who decides, in their order.
Stage: TypeAlias = Literal["scheme", "revocations", "checks", "requirement"]

#: What is never changed by a decision, so that the copy may use it too.
_SHARED_MODULES = frozenset(
    f"authguard.{name}"
    for name in (
        *("accounts.account", "accounts.api_key", "accounts.api_key_memory", "accounts.api_key_sql"),
        *("accounts.api_key_table", "accounts.digest_account", "accounts.digest_memory", "accounts.memory"),
        *("accounts.password_hashes", "accounts.revocation_sql", "accounts.revocation_table"),
        *("errors", "http_client", "model", "reasons", "records.record", "request", "sql_engine"),
        *("keys.jwk", "keys.signatures", "keys.static"),
        *("schemes.carriers", "state.revocations"),
    )
)
_SHARED_PACKAGES = ("authguard.policy.", "authguard.state.redis.", "authguard.wire.")
_ATOMS = frozenset({type(None), bool, int, float, complex, str, bytes, types.FunctionType, type, types.ModuleType})
_LOCKS = (type(threading.Lock()), type(threading.RLock()), threading.Condition)


class NotAsked(BackendUnavailable):
    """Something that decides was not asked, because ``explain`` was told not to."""


class Rehearsal:
    """Makes the copy of one guard, and knows what the copy has not asked.

    - ``at``: the time by which the copy decides; None for the guard's own clock.
    - ``offline``: whether key servers and introspection endpoints are left alone.
    - ``run_checks``: whether code of the app is asked that may change something: ``checks=``, a ``PasswordCheck``, and
      schemes of the app's own.
    """

    def __init__(self, *, at: float | None = None, offline: bool = False, run_checks: bool = False) -> None:
        self._at, self._offline, self._run_checks = at, offline, run_checks
        #: What would have been asked, in words; the checks among it; and the scheme of the app, if it is one.
        self.not_asked: list[str] = []
        self.unasked_checks: list[str] = []
        self.unasked_scheme = ""
        #: How far the decision has come.
        self.reached: Stage = "scheme"
        self.has_revocations = False
        self._copies: dict[int, Any] = {}
        self._kept: list[object] = []
        self._makers: Mapping[type, Callable[[Any], Any]] = {
            BackgroundFetch: lambda _: None,
            BoundedCache: _copy_of_cache,
            ConcurrencyLimiter: lambda live: ConcurrencyLimiter(limit=live._limit, max_waiting=live._max_waiting),
            Dropped: lambda _: Dropped(),
            ForkSafeLock: lambda live: ForkSafeLock(live._make),
            KeyedHash: lambda live: live,
            SingleFlight: lambda live: SingleFlight(deadline=live._deadline, reason=live._reason),
            ThreadPool: _OwnThread,
        }
        self._changes: Mapping[str, Callable[[Any], None]] = {
            "Basic": _without_rehash,
            "Dpop": self._with_read_only_proofs,
            "Digest": _with_own_digest_accounts,
            "DirectoryVerifier": self._without_directory,
            "ForwardedCertificate": _without_warning,
            "IntrospectionClient": self._without_endpoint,
            "Issuer": self._without_foreign_keys,
            "KeyRefresher": self._without_fetch,
            "KeyVerifier": _with_own_keys,
            "LookAside": _without_put,
            "LoginThrottle": _with_read_only_throttle,
            "NonceService": self._with_read_only_nonces,
            "PasswordVerifier": _with_own_accounts,
            # A key makes what verifies with it when it is first used, and keeps that.
            "VerificationKey": lambda _: None,
        }

    def guard(self, live: Guard) -> tuple[Guard, list[Record]]:
        """The copy, and the list of what it records."""
        copied: Any = self._copy(live)
        records: list[Record] = []
        copied._recorder.hooks = (records.append,)
        copied.on_waited = None
        copied.schemes = tuple(map(self._scheme, live.schemes, copied.schemes))
        copied._by_name = {scheme.name: scheme for scheme in copied.schemes}
        if copied._revocations is not None:
            self.has_revocations = True
            traced: Any = _TracedRevocations(copied._revocations, self)
            copied._revocations = traced
        copied.checks = (self._reach_checks, *map(self._check, live.checks), self._reach_requirement)
        copied._fast_path = FastPath(
            copied.schemes, implied_roles=copied.implied_roles, has_checks=True, revocations=copied._revocations
        )
        if self._at is not None:
            at = self._at
            copied._clock = lambda: at
        return cast("Guard", copied), records

    def _scheme(self, live: Scheme, copied: Scheme) -> Scheme:
        """The copy of a scheme. One of the app's own may do anything, so it is asked only if that is wanted."""
        is_ours = any(_is_ours(kind) and kind is not Scheme for kind in type(live).__mro__)
        return copied if is_ours or self._run_checks else cast("Scheme", _UnaskedScheme(copied, self))

    # How far a decision has come is told by two checks: one before those of the app, and one after them.

    async def _reach_checks(self, request: AuthRequest, principal: Principal) -> Principal:
        self.reached = "checks"
        return principal

    async def _reach_requirement(self, request: AuthRequest, principal: Principal) -> Principal:
        self.reached = "requirement"
        return principal

    def _check(self, check: Check) -> Check:
        """The check, or one that notes that it was not asked."""
        if self._run_checks:
            return check

        async def unasked(request: AuthRequest, principal: Principal) -> Principal:
            self.unasked_checks.append(shown(check))
            self.refuse(f"the check {shown(check)}")
            return principal

        return unasked

    def refuse(self, what: str) -> NotAsked:
        """The error to raise in place of asking."""
        if what not in self.not_asked:
            self.not_asked.append(what)
        return NotAsked(f"{what} was not asked")

    # --- copies -------------------------------------------------------------------------------------------------------

    def _copy(self, value: Any) -> Any:
        kind = type(value)
        if kind in _ATOMS:
            return value
        known = self._copies.get(id(value), _UNKNOWN)
        if known is not _UNKNOWN:
            return known
        self._kept.append(value)  # another object must not get its id
        if kind in (list, set):
            return self._remember(value, kind(map(self._copy, list(value))))
        if kind is dict:
            copied: dict[Any, Any] = self._remember(value, {})
            copied.update(
                {key: item if type(item) in _ATOMS else self._copy(item) for key, item in list(value.items())}
            )
            return copied
        if kind in (tuple, frozenset):
            copies = [self._copy(item) for item in value]
            is_same = all(map(_is, copies, value))
            return self._remember(value, value if is_same else kind(copies))
        return self._copy_of_object(value, kind)

    def _copy_of_object(self, value: Any, kind: type) -> Any:
        if kind is types.MethodType or kind is types.BuiltinMethodType:
            return self._remember(value, self._copy_of_method(value))
        if kind is partial:
            func, args, keywords = (self._copy(part) for part in (value.func, value.args, value.keywords))
            return self._remember(value, partial(func, *args, **keywords))
        if kind is types.MappingProxyType:
            return self._remember(value, types.MappingProxyType(self._copy(dict(value))))
        if kind in _LOCKS:
            return self._remember(value, kind() if kind is threading.Condition else _new_lock(value))
        if kind.__module__ == "collections" and isinstance(value, dict | deque):
            return self._copy_of_collection(value)
        if isinstance(value, type | Enum | BaseException) or not any(map(_is_ours, kind.__mro__)):
            return self._remember(value, value)
        if isinstance(value, tuple):
            make: Callable[[Sequence[Any]], Any] = cast("Any", kind)._make  # a NamedTuple
            return self._remember(value, make([self._copy(item) for item in value]))
        return self._copy_of_ours(value, kind)

    def _copy_of_ours(self, value: Any, kind: type) -> Any:
        """The copy of an object of this package."""
        for ancestor in kind.__mro__:
            if (maker := self._makers.get(ancestor)) is not None:
                return self._remember(value, maker(value))
        if _is_shared(kind):
            return self._remember(value, value)
        return self._copy_of_state(value, kind)

    def _copy_of_collection(self, value: Any) -> Any:
        """An ``OrderedDict``, a ``Counter``, a ``defaultdict`` or a ``deque`` with copies of what it holds."""
        copied = self._remember(value, copy.copy(value))
        for key in range(len(copied)) if isinstance(copied, deque) else list(copied):
            copied[key] = self._copy(copied[key])
        return copied

    def _copy_of_state(self, value: Any, kind: type) -> Any:
        """A new object with copies of all attributes. A value of which nothing was copied stays the same."""
        state = _slots_of(value)
        if hasattr(kind, "__declared__") and not hasattr(value, "__dict__"):
            fields = {name: self._copy(item) for name, item in state.items()}
            if all(fields[name] is item for name, item in state.items()) and kind.__name__ not in self._changes:
                return self._remember(value, value)
        copied: Any = self._remember(value, object.__new__(kind))
        for name, item in state.items():
            object.__setattr__(copied, name, () if name == "services" else self._copy(item))
        for ancestor in kind.__mro__:
            if _is_ours(ancestor) and (change := self._changes.get(ancestor.__name__)) is not None:
                change(copied)
        return copied

    def _copy_of_method(self, value: Any) -> Any:
        owner = value.__self__
        if owner is None or isinstance(owner, type | types.ModuleType):
            return value
        copied = self._copy(owner)
        if copied is owner:
            return value
        function = getattr(value, "__func__", None)
        return getattr(copied, value.__name__) if function is None else types.MethodType(function, copied)

    def _remember(self, value: object, copied: T) -> T:
        self._copies[id(value)] = copied
        return copied

    # --- what is not asked, or only read ------------------------------------------------------------------------------

    def _without_directory(self, verifier: Any) -> None:
        if not self._run_checks:
            verifier._check = _UnaskedDirectory(self)

    def _without_endpoint(self, client: Any) -> None:
        if self._offline:
            client._post = partial(self._refuse_post, client._shown_url)

    async def _refuse_post(self, endpoint: str, url: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
        raise self.refuse(f"the introspection endpoint {endpoint}")

    def _without_fetch(self, refresher: KeyRefresher) -> None:
        changed = cast("Any", refresher)
        changed._log_changes = lambda *_: None
        if self._offline:
            changed._load = partial(self._refuse_fetch, changed._name)

    async def _refuse_fetch(self, name: str) -> FetchedKeySet:
        self.refuse(f"the key server {name}")
        raise FetchFailed("it was not asked")

    def _without_foreign_keys(self, issuer: Any) -> None:
        if self._offline and not any(map(_is_ours, type(issuer.keys).__mro__)):
            put = object.__setattr__
            put(issuer, "keys", _UnaskedKeys(issuer.keys, self))
            put(issuer, "refetchable", None)
            put(issuer, "takes_requester", frozenset())

    def _with_read_only_nonces(self, service: Any) -> None:
        """Nonces are counted in copies of the memories; a store elsewhere is only read."""
        # The nonces that are remembered hold the live stores.
        service._genuine = BoundedCache(2)
        store = service._store
        if store is not None and not isinstance(store, MemoryNonces):
            service._store, service._signers = _ReadOnly(store, "response", NonceUse.FRESH, self), None
        elif store is None and service._signers is None:
            # Nobody has asked yet. The copy must not put its own memories where others will look for theirs.
            service._find_stores = partial(self._find_memories, service)

    def _with_read_only_proofs(self, scheme: Any) -> None:
        if not isinstance(scheme._proofs, MemoryProofs):
            scheme._proofs, scheme._claim_now = _ReadOnly(scheme._proofs, "proof", ProofUse.FRESH, self), None

    def _find_memories(self, service: Any, now: float) -> tuple[Any, ...]:
        from authguard.schemes.digest.nonce_service import signers_of  # noqa: PLC0415 - only an app with Digest has it

        memories: list[NonceStore] = []
        for key, own in zip(service._keys, service._memories, strict=True):
            memory = memory_in_use(key)
            memories.append(own if memory is None or memory.is_of_another_clock(now) else self._copy(memory))
        return signers_of(service._keys, memories)


def _with_read_only_throttle(throttle: Any) -> None:
    if not isinstance(throttle._store, MemoryThrottleStore):
        throttle._store = throttle._in_memory = _ReadOnlyThrottle(throttle._store)
        throttle._steps = SeparateSteps(throttle._store)


def _without_warning(source: Any) -> None:
    source._is_told = True


def _without_put(cache: Any) -> None:
    async def put(key: bytes, value: bytes, seconds: float) -> None:
        """Other processes are told nothing."""

    cache.put = put


def _without_rehash(basic: Any) -> None:
    basic._on_rehash = None


# An account keeps what it means as a principal. The copy finds accounts of its own, so that those of the store stay as
# they are.


def _own(found: Any) -> Any:
    """An account as the store has it, without what it keeps."""
    if not any(map(_is_ours, type(found).__mro__)) or isinstance(found, Enum):
        return found
    own = object.__new__(type(found))
    for name, item in _slots_of(found).items():
        if name != "_accepted":
            object.__setattr__(own, name, item)
    return own


def _with_own_accounts(verifier: Any) -> None:
    account_of = verifier._account
    verifier._account = lambda found: _own(account_of(found))


def _with_own_digest_accounts(digest: Any) -> None:
    find_now, find = digest._find_now, digest._find

    async def find_own(sent: Any, stored: str) -> Any:
        return _own(await find(sent, stored))

    digest._find_now = lambda username, **options: _own(find_now(username, **options))
    digest._find = find_own


def _with_own_keys(verifier: Any) -> None:
    verifier._last_uses = None
    judge = verifier._judge
    verifier._judge = lambda key, stored, request: judge(key, _own(stored), request)


_UNKNOWN = object()


def _is(one: object, other: object) -> bool:
    return one is other


def _new_lock(value: object) -> object:
    return threading.Lock() if isinstance(value, _LOCKS[0]) else threading.RLock()


def _is_ours(kind: type) -> bool:
    """Whether a class is of this package."""
    return kind.__module__.partition(".")[0] == "authguard"


def _is_shared(kind: type) -> bool:
    """Whether objects of this class are used by the copy as they are."""
    module = next(ancestor.__module__ for ancestor in kind.__mro__ if _is_ours(ancestor))
    return module in _SHARED_MODULES or module.startswith(_SHARED_PACKAGES)


def _slots_of(value: object) -> dict[str, Any]:
    """All attributes of an object, in its slots and in its ``__dict__``."""
    state = dict(getattr(value, "__dict__", {}))
    for kind in type(value).__mro__:
        slots = kind.__dict__.get("__slots__", ())
        for slot in (slots,) if isinstance(slots, str) else slots:
            name = f"_{kind.__name__.lstrip('_')}{slot}" if slot.startswith("__") and not slot.endswith("__") else slot
            if name not in {"__dict__", "__weakref__"} and hasattr(value, name):
                state[name] = getattr(value, name)
    return state


def _copy_of_cache(live: BoundedCache[T]) -> BoundedCache[T]:
    """The cache with dictionaries of its own. What they hold is never changed, only replaced."""
    copied = cast("Any", object.__new__(type(live)))
    for name, item in _slots_of(live).items():
        setattr(
            copied, name, dict(item) if isinstance(item, dict) else Dropped() if isinstance(item, Dropped) else item
        )
    return cast("BoundedCache[T]", copied)


class _OwnThread(ThreadPool):
    """A pool with a thread of its own: the queue of the live pool must not be longer for an explanation.

    Whether a call would be refused is asked of the live pool.
    """

    def __init__(self, live: ThreadPool) -> None:
        super().__init__(threads=1, waiting=live.waiting, deadline=live._deadline, clock=live._clock)
        self._live = live

    def check(self, caller: Caller = ANYBODY) -> None:
        self._live.check(caller)


class _TracedRevocations:
    """The revocations of a guard; notes that they were asked."""

    def __init__(self, check: RevocationCheck, rehearsal: Rehearsal) -> None:
        self._check, self._rehearsal = check, rehearsal

    def ask_now(self, accepted: Accepted, scheme: str | None) -> Outcome | None:
        self._rehearsal.reached = "revocations"
        return self._check.ask_now(accepted, scheme)

    async def ask(self, accepted: Accepted, scheme: str | None, request: AuthRequest | None = None) -> Outcome:
        self._rehearsal.reached = "revocations"
        return await self._check.ask(accepted, scheme, request)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._check, name)


class _ReadOnlyThrottle:
    """A ``ThrottleStore`` that answers as another one would, and writes nothing into it.

    The methods that are not async are called only if the other one has them.
    """

    def __init__(self, store: Any) -> None:
        self._store = store
        self.on_outage = getattr(store, "on_outage", None)

    @property
    def is_idle(self) -> bool:
        is_idle: bool = self._store.is_idle
        return is_idle

    async def acquire(self, pair: bytes, buckets: Sequence[Bucket]) -> Sequence[Bucket] | Exceeded:
        exceeded: Exceeded | None = await self._store.remaining(pair, buckets)
        return () if exceeded is None else exceeded

    def acquire_now(self, pair: bytes, buckets: Sequence[Bucket]) -> Sequence[Bucket] | Exceeded:
        exceeded: Exceeded | None = self._store.remaining_now(pair, buckets)
        return () if exceeded is None else exceeded

    async def remaining(
        self, pair: bytes, buckets: Sequence[Bucket], *, authenticated: bool = False
    ) -> Exceeded | None:
        exceeded: Exceeded | None = await self._store.remaining(pair, buckets, authenticated=authenticated)
        return exceeded

    def remaining_now(self, pair: bytes, buckets: Sequence[Bucket], *, authenticated: bool = False) -> Exceeded | None:
        exceeded: Exceeded | None = self._store.remaining_now(pair, buckets, authenticated=authenticated)
        return exceeded

    def allow_now(self, pair: bytes, buckets: Sequence[Bucket]) -> Exceeded | None:
        return self.remaining_now(pair, buckets, authenticated=True)

    def passes_now(self, pair: bytes, buckets: Sequence[Bucket]) -> bool:
        passes: bool = self._store.passes_now(pair, buckets)
        return passes

    async def refund(self, buckets: Sequence[Bucket]) -> None:
        """Nothing was taken."""

    def refund_now(self, pair: bytes | None, buckets: Sequence[Bucket]) -> None:
        """Nothing was taken."""

    async def remember(self, pair: bytes) -> None:
        """Nothing is remembered."""

    async def knows(self, pair: bytes) -> bool:
        knows: bool = await self._store.knows(pair)
        return knows

    def knows_now(self, pair: bytes) -> bool:
        knows: bool = self._store.knows_now(pair)
        return knows


class _ReadOnly:
    """A store of what is good for one use, of which nothing is used.

    If the store has ``peek``, with the arguments of ``claim``, it says what ``claim`` would answer. If not, nobody
    knows whether this was used before: it counts as fresh, and that is noted.
    """

    def __init__(self, store: Any, what: str, fresh: object, rehearsal: Rehearsal) -> None:
        self._store, self._what, self._fresh, self._rehearsal = store, what, fresh, rehearsal
        self.on_outage = getattr(store, "on_outage", None)

    def begin(self, now: float) -> None:
        """Nothing begins."""

    async def claim(self, *arguments: Any, **times: float) -> Any:
        peek = getattr(self._store, "peek", None)
        if peek is None:
            self._rehearsal.refuse(f"{type(self._store).__name__}, whether this {self._what} was used before,")
            return self._fresh
        return await peek(*arguments, **times)


class _UnaskedDirectory:
    """Takes the place of a ``PasswordCheck``, which may count a question as an attempt."""

    def __init__(self, rehearsal: Rehearsal) -> None:
        self._rehearsal = rehearsal

    async def check(self, username: str, password: str) -> object:
        raise self._rehearsal.refuse("the directory that checks passwords")


class _UnaskedKeys:
    """Takes the place of a key source of the app, which may ask a server."""

    def __init__(self, source: Any, rehearsal: Rehearsal) -> None:
        self.name = getattr(source, "name", type(source).__name__)
        self._rehearsal = rehearsal

    async def keys_for(self, *, kid: str | None, algorithm: str) -> Sequence[Any]:
        raise self._rehearsal.refuse(f"the key source {self.name}")


class _UnaskedScheme:
    """A scheme of the app's own that is not asked: it has its name, its carrier and its challenges."""

    def __init__(self, scheme: Scheme, rehearsal: Rehearsal) -> None:
        self._scheme, self._rehearsal = scheme, rehearsal

    def __getattr__(self, name: str) -> Any:
        if name == "authenticate_now":
            raise AttributeError(name)
        return getattr(self._scheme, name)

    async def authenticate(self, request: AuthRequest, credentials: Credentials) -> Outcome:
        self._rehearsal.unasked_scheme = self._scheme.name
        raise self._rehearsal.refuse(f"the scheme {self._scheme.name} of the app")

    def challenges(self, request: AuthRequest, why: Denied | None) -> Sequence[Challenge]:
        return self._scheme.challenges(request, why)


# --- no log lines -----------------------------------------------------------------------------------------------------

_rehearsing: ContextVar[bool] = ContextVar("authguard.explain", default=False)
_filtering = ForkSafeLock()
_filters = 0


def _passes(_: logging.LogRecord) -> bool:
    return not _rehearsing.get()


@contextmanager
def without_log() -> Iterator[None]:
    """What this task does inside is not logged by authguard. Other tasks log as always."""
    global _filters  # noqa: PLW0603 - the logger is global too
    log = logging.getLogger("authguard")
    with _filtering:
        _filters += 1
        log.addFilter(_passes)
    token = _rehearsing.set(True)
    try:
        yield
    finally:
        _rehearsing.reset(token)
        with _filtering:
            _filters -= 1
            if not _filters:
                log.removeFilter(_passes)
