"""Verify an API key: read it, find it in the store, compare its digest, and judge whether it is good here and now."""

from __future__ import annotations

import hmac
import math
import time
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import partial
from hashlib import sha256
from typing import Any, Literal, TypeAlias

from authguard.accounts.account import NOT_NOW, RolesListed
from authguard.accounts.api_key import (
    NO_DIGEST,
    ApiKeyStore,
    LastUseStore,
    Pepper,
    StoredKey,
    accepted_key,
    check_pepper,
    check_prefix,
)
from authguard.app_code import async_function, awaitable, wrong_answer
from authguard.concurrency.deadline import ask, optional_method
from authguard.errors import ConfigurationError
from authguard.model import Accepted, Clock, Facts, Failure, Outcome, Rejected
from authguard.reasons import (
    API_KEY_EXPIRED,
    API_KEY_MALFORMED,
    API_KEY_NETWORK_REFUSED,
    API_KEY_REVOKED,
    API_KEY_UNKNOWN,
    API_KEY_WRONG_ENVIRONMENT,
    ATTEMPTS_EXCEEDED,
)
from authguard.request import AuthRequest, network_of
from authguard.schemes.api_key.last_uses import LastUses
from authguard.schemes.scheme import Continuation, Service
from authguard.schemes.throttle import CountedAttempt, LoginThrottle
from authguard.state.throttle_store import Exceeded
from authguard.validation import check_seconds
from authguard.wire.api_key import ApiKeyText, is_label
from authguard.wire.grammar import WireError

#: The argument ``pepper``: one, or several while a new one takes the place of an old one.
PepperArgument: TypeAlias = Pepper | Sequence[Pepper] | None


class KeyVerifier:
    """Verifies the keys of one store for one scheme. The arguments are those of ``ApiKey``.

    A right key is accepted whatever others have tried: a secret of 160 bits cannot be guessed, so that to accept it
    tells nothing. Only refused keys are counted, by the id and the network together, and for unknown ids in the same
    way. So a stranger slows down nobody's key.
    """

    def __init__(
        self,
        store: ApiKeyStore,
        *,
        scheme: str,
        prefix: str,
        environment: str,
        pepper: PepperArgument,
        throttle: LoginThrottle | None,
        deadline: float,
        clock: Clock = time.monotonic,
    ) -> None:
        if isinstance(store, type) or not isinstance(store, ApiKeyStore):
            raise ConfigurationError("store", "give ApiKeyFile(...), MemoryApiKeys(...) or a store of your own")
        async_function("store", store.find, "find(self, key_id)", "000000000000")
        self._store, self._scheme = store, scheme
        self._find_now = optional_method(store, "find_now", beside="find")
        self._prefix, self._environment = prefix, environment
        self._label = check_prefix(prefix, environment)
        self._peppers = _check_peppers(pepper)
        self._deadline = check_seconds("deadline", deadline, most=60)
        self.throttle = throttle
        self._acquire_now = None if throttle is None else optional_method(throttle, "acquire_now", beside="acquire")
        self._last_uses: LastUses | None = None
        write = getattr(store, "write_last_uses", None)
        if write is not None and isinstance(store, LastUseStore):
            async_function("store", write, "write_last_uses(self, uses)", {})
            self._last_uses = LastUses(store, deadline=deadline, clock=clock)
        #: What all keys of this prefix begin with, in every environment.
        self.begins = f"{prefix}_".encode()

    @property
    def services(self) -> tuple[Service, ...]:
        """The store, if it is a ``Service``, and what writes the last uses, if the store keeps them."""
        store: Any = self._store
        of_store = (store,) if callable(getattr(store, "running", None)) else ()
        return of_store if self._last_uses is None else (*of_store, self._last_uses)

    def roles_given(self) -> AbstractSet[str] | None:
        """All roles that the store lists; None if it cannot list them."""
        return self._store.roles_given() if isinstance(self._store, RolesListed) else None

    def state_stores(self) -> Mapping[str, object]:
        """Where refused keys are counted."""
        return {} if self.throttle is None else {"throttle": self.throttle.store}

    def verify_now(self, raw: bytes, request: AuthRequest) -> Outcome | Continuation:
        """The outcome for what a client sent, if the store answers at once; otherwise a function to await."""
        try:
            key = ApiKeyText.parse(raw)
        except WireError as error:
            return Rejected(API_KEY_MALFORMED, facts={"problem": error.problem})
        if key.label != self._label and not self._is_of_another_environment(key.label):
            facts = {"problem": "a key of another prefix", "found": key.label, "wanted": self._label}
            return Rejected(API_KEY_MALFORMED, facts=facts)
        stored = NOT_NOW if self._find_now is None else self._find_now(key.id)
        if stored is NOT_NOW:
            return partial(self._find_and_judge, key, request)
        return self._judge(key, stored, request)

    def _is_of_another_environment(self, label: str) -> bool:
        """Whether it is that of a key of this prefix, for another environment than this one."""
        if label == self._prefix:
            return True
        prefix, _, environment = label.rpartition("_")
        return prefix == self._prefix and is_label(f"e{environment}")

    async def _find_and_judge(self, key: ApiKeyText, request: AuthRequest) -> Outcome:
        find = self._store.find
        stored = await ask(awaitable(find, find(key.id)), self._deadline)
        if stored is not None and not isinstance(stored, StoredKey):
            raise wrong_answer(find, stored, "a StoredKey, or None if there is none")
        outcome = self._judge(key, stored, request)
        return await outcome() if callable(outcome) else outcome

    def _judge(self, key: ApiKeyText, stored: StoredKey | None, request: AuthRequest) -> Outcome | Continuation:
        """The outcome for a key and what the store has of its id. The same is hashed and compared for every key."""
        expected = NO_DIGEST if stored is None else stored.digest
        if self._peppers:
            digests = [hmac.digest(pepper, key.text, "sha256").hex() for pepper in self._peppers]
            matches = any([hmac.compare_digest(digest, expected) for digest in digests])  # noqa: C419 - all of them
        else:
            matches = hmac.compare_digest(sha256(key.text).hexdigest(), expected)
        if stored is None or not matches:
            return self._refuse(self._why_unknown(key, stored, request), key, None, request)
        now = request.moment.now
        if (
            stored.revoked is not None
            or (stored.expires is not None and now >= stored.expires)
            or stored.environment != self._environment
            or (stored.networks and not stored.allows(request.client))
        ):
            return self._refuse(self._why_not_good(stored, request), key, stored, request)
        if self._last_uses is not None:
            self._last_uses.note(stored.id, now)
        accepted = accepted_key(stored, self._scheme)
        if stored.successor is None:
            return accepted
        remaining = math.inf if stored.expires is None else -request.moment.by(stored.expires)
        rotating = {"successor": stored.successor, "ends_in": remaining}
        return Accepted(accepted.principal, (), {**accepted.facts, "rotating": rotating})

    def _why_unknown(self, key: ApiKeyText, stored: StoredKey | None, request: AuthRequest) -> Failure:
        """Why a key is refused that is not in the store."""
        # What a revoked key costs, so that the time does not tell that somebody once had this one.
        request.moment.by(0.0)
        if key.label != self._label:
            return self._wrong_environment(key.label.removeprefix(self._prefix).removeprefix("_"))
        problem = "no key has this id" if stored is None else "another secret than that of this id"
        return Failure(API_KEY_UNKNOWN, {"problem": problem})

    def _why_not_good(self, stored: StoredKey, request: AuthRequest) -> Failure:
        """Why a key is refused whose secret is right."""
        moment = request.moment
        # The environment comes first: that a test key is sent to production is the mistake to fix.
        if stored.environment != self._environment:
            return self._wrong_environment(stored.environment)
        if stored.revoked is not None:
            return Failure(API_KEY_REVOKED, {"revoked_for": moment.by(stored.revoked)})
        # Without the leeway, which is for the clocks of others: the end of a key was set by the app.
        if stored.expires is not None and moment.now >= stored.expires:
            facts: Facts = {"expired_by": moment.by(stored.expires)}
            return Failure(
                API_KEY_EXPIRED, facts if stored.successor is None else {**facts, "successor": stored.successor}
            )
        return Failure(API_KEY_NETWORK_REFUSED, {"found": request.client or "no address", "wanted": stored.networks})

    def _wrong_environment(self, environment: str) -> Failure:
        return Failure(
            API_KEY_WRONG_ENVIRONMENT, {"found": environment or "none", "wanted": self._environment or "none"}
        )

    def _refuse(
        self, failure: Failure, key: ApiKeyText, stored: StoredKey | None, request: AuthRequest
    ) -> Rejected | Continuation:
        """Count a refused key, in the same way whatever is wrong with it. ``stored`` is None if the secret is wrong."""
        owner, name = (None, None) if stored is None else (stored.owner, stored.name)
        facts = {"key": key.id, "name": name, **failure.facts}
        rejected = Rejected(failure.reason, owner, facts, authenticated=stored is not None)
        if self.throttle is None:
            return rejected
        network = network_of(request.client) or ""
        account = f"api key {key.id} {network}"  # with the network, so that no bucket is shared by two networks
        if self._acquire_now is None:
            return partial(self._count, self.throttle, account, request.client, rejected)
        return _counted(self._acquire_now(self.throttle.keys(account, request.client)), rejected)

    async def _count(self, throttle: LoginThrottle, account: str, client: str | None, rejected: Rejected) -> Outcome:
        return _counted(await throttle.acquire(account, client), rejected)

    def health(self) -> Mapping[str, object]:
        """The figures of the last uses, if the store keeps them."""
        return {} if self._last_uses is None else self._last_uses.health()


def _counted(attempt: CountedAttempt | Exceeded, rejected: Rejected) -> Rejected:
    if not isinstance(attempt, Exceeded):
        return rejected
    facts = {**attempt.facts(), "refused": rejected.reason.code, "key": rejected.facts["key"]}
    return Rejected(ATTEMPTS_EXCEEDED, rejected.subject, facts, authenticated=rejected.authenticated)


def _check_peppers(pepper: PepperArgument) -> tuple[bytes, ...]:
    if pepper is None:
        return ()
    peppers: Sequence[Pepper] = (pepper,) if isinstance(pepper, str | bytes) else pepper
    if not isinstance(peppers, list | tuple) or not peppers:
        raise ConfigurationError("pepper", "give one, or a list of several; None for keys without one")
    return tuple(map(check_pepper, peppers))


def check_key_throttle(throttle: LoginThrottle | Literal["default"] | None, clock: Clock) -> LoginThrottle | None:
    """The argument ``throttle`` of API keys, which share none with passwords. Raises ``ConfigurationError``."""
    if throttle == "default":
        return LoginThrottle(clock=clock)
    if not isinstance(throttle, LoginThrottle | None):
        raise ConfigurationError("throttle", f"{throttle!r} is not a LoginThrottle(...)")
    return throttle
