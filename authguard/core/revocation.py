"""Asks whether accepted credentials have been revoked: for every request, whether or not a scheme remembers them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from types import MappingProxyType
from typing import Any, cast

from authguard.app_code import async_function, awaitable, wrong_answer
from authguard.concurrency.deadline import ask, optional_method
from authguard.errors import BackendUnavailable, ConfigurationError, WrongAnswer
from authguard.model import Accepted, Facts, Outcome, Principal, Rejected, claims_to_read
from authguard.reasons import API_KEY_REVOKED, SESSION_REVOKED, SUBJECT_REVOKED, TOKEN_REVOKED, Reason
from authguard.records.record import log_failure
from authguard.request import AuthRequest
from authguard.schemes.scheme import Scheme
from authguard.state.revocations import CLAIM_OF, RevocationKeys, RevocationKind, Revocations, revocation_keys

_REASONS: Mapping[RevocationKind, Reason] = MappingProxyType(
    {
        "token": TOKEN_REVOKED,
        "session": SESSION_REVOKED,
        "api_key": API_KEY_REVOKED,
        "subject": SUBJECT_REVOKED,
    }
)


class RevocationCheck:
    """Asks the stores of a guard about each principal that one of its schemes has accepted.

    ``stores``: one or several, all of which are asked. ``deadline``: the seconds that one of them may take. Raises
    ``ConfigurationError``.
    """

    __slots__ = ("_deadline", "_find_now", "_on_revoked", "_unissued", "must_poll", "stores")

    def __init__(self, stores: Sequence[Revocations], schemes: Sequence[Scheme], deadline: float) -> None:
        for store in stores:
            if isinstance(store, type) or not callable(getattr(store, "find", None)):
                raise ConfigurationError("revocations", "give MemoryRevocations(), or a store with async find(keys)")
            async_function("revocations", store.find, "find(self, keys)", ())
        self.stores = tuple(stores)
        find_now = [optional_method(store, "find_now", beside="find") for store in stores]
        #: None if one of the stores must always be awaited.
        self._find_now = None if None in find_now else tuple(find_now)
        on_revoked = [optional_method(store, "on_revoked", beside="find") for store in stores]
        self._on_revoked = tuple(method for method in on_revoked if method is not None)
        #: Whether a store cannot tell of a revocation, and must be asked again and again.
        self.must_poll = None in on_revoked
        #: The names of the schemes whose credentials were not issued at any time.
        self._unissued = frozenset(scheme.name for scheme in schemes if not scheme.credentials_are_issued)
        self._deadline = deadline

    def ask_now(self, accepted: Accepted, scheme: str | None) -> Outcome | None:
        """The outcome, if all stores know it without waiting; otherwise None."""
        principal: Any = accepted.principal
        # Nearly always they have been found out before, and one call less is a fifth of what all this costs.
        keys: RevocationKeys = principal._revocation_keys or revocation_keys(principal)  # noqa: SLF001 - see there
        if self._find_now is None:
            return None
        for find_now in self._find_now:
            found = find_now(keys.keys)
            if found is None:
                return None
            if found and (rejected := self._judge(found, keys, accepted, scheme)) is not None:
                return rejected
        return accepted

    async def ask(self, accepted: Accepted, scheme: str | None, request: AuthRequest | None = None) -> Outcome:
        """The outcome. Raises ``BackendUnavailable``, unless the store that is away has ``on_outage = "allow"``.

        Then the request passes, and is noted as unchecked. Without a request such an outage is raised too.
        """
        answer = self.ask_now(accepted, scheme)
        if answer is not None:
            return answer
        keys = revocation_keys(accepted.principal)
        for store in self.stores:
            try:
                found = await ask(awaitable(store.find, store.find(keys.keys)), self._deadline)
            except BackendUnavailable:
                if request is not None and request.pass_unchecked("revocations", store):
                    continue
                raise
            if not isinstance(found, Mapping):
                raise wrong_answer(store.find, found, "a mapping of those keys that are revoked")
            if found and (rejected := self._judge(found, keys, accepted, scheme)) is not None:
                return rejected
        return accepted

    def on_revoked(self, principal: Principal, callback: Callable[[], None]) -> Callable[[], None]:
        """Have ``callback`` called at each revocation of this principal that a store tells of, until what is returned
        is called.

        A store that raises is logged, and tells of nothing: the connection looks at its credentials every minute.
        """
        keys = revocation_keys(principal)
        ends: list[Callable[[], None]] = []
        for on_revoked in self._on_revoked:
            try:
                ends.append(on_revoked(keys.keys, callback))
            except Exception as error:  # noqa: BLE001 - an open connection goes on
                log_failure("on_revoked of a store of revocations", error)

        def end() -> None:
            for each in ends:
                try:
                    each()
                except Exception as error:  # noqa: BLE001 - as above
                    log_failure("what on_revoked of a store of revocations returned", error)

        return end

    def _judge(
        self, found: Mapping[bytes, float], keys: RevocationKeys, accepted: Accepted, scheme: str | None
    ) -> Rejected | None:
        """The refusal, if one of the revocations concerns these credentials."""
        if not isinstance(next(iter(found)), bytes):  # no key would ever be found among them
            raise WrongAnswer("a store of revocations answers with keys that are not bytes; return those it was asked")
        principal = accepted.principal
        for key, kind in zip(keys.keys, keys.kinds, strict=True):
            before = found.get(key)
            if before is None or (kind == "subject" and not self._is_issued_until(before, keys, scheme)):
                continue
            facts = {**accepted.facts, **_facts(kind, before, keys, principal)}
            return Rejected(_REASONS[kind], principal.subject, facts, accepted.response_headers, authenticated=True)
        return None

    def _is_issued_until(self, before: float, keys: RevocationKeys, scheme: str | None) -> bool:
        """Whether credentials were issued at this time or earlier, or may have been, because nothing says when."""
        if keys.issued_at is None:
            return scheme not in self._unissued
        return keys.issued_at <= before


def _facts(kind: RevocationKind, before: float, keys: RevocationKeys, principal: Principal) -> Facts:
    """What was revoked, for the record. The id of a session may be as good as a password, so it is shown as a hash."""
    if kind == "subject":
        if keys.issued_at is None:
            return {"problem": "nothing says when these credentials were issued"}
        return {"issued_before": round(before - keys.issued_at, 3)}
    name: str = claims_to_read(principal)[CLAIM_OF[kind]]
    if kind == "session":
        return {"session": sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]}
    return {"key" if kind == "api_key" else "jti": name}


def revocation_check(
    revocations: Revocations | Sequence[Revocations], schemes: Sequence[Scheme], deadline: float
) -> RevocationCheck | None:
    """What a guard asks, from its argument ``revocations``; None if that is empty. Raises ``ConfigurationError``."""
    stores = cast("Sequence[Revocations]", revocations if isinstance(revocations, list | tuple) else (revocations,))
    return RevocationCheck(stores, schemes, deadline) if stores else None
