"""Opaque bearer tokens that the app itself has issued and finds in its own database."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from collections.abc import Set as AbstractSet
from hashlib import sha256
from typing import TypeAlias

from authguard.app_code import async_function, awaitable, wrong_answer
from authguard.concurrency.deadline import ask
from authguard.model import Accepted, Facts, Moment, Outcome, Principal, Rejected
from authguard.reasons import TOKEN_EXPIRED, TOKEN_INACTIVE
from authguard.schemes.bearer.claim_mapping import token_fingerprint
from authguard.schemes.bearer.claims import NO_CONFIRMATIONS, bound_failure
from authguard.validation import check_flag, check_seconds
from authguard.wire.authorization import is_token68, is_visible

#: The async function of a ``TokenLookup``: from the SHA-256 of a token, in 64 hexadecimal digits, to its principal.
FindToken: TypeAlias = Callable[[str], Awaitable[Principal | Rejected | None]]


class TokenLookup:
    """Opaque tokens of the app's own database: ``Bearer(TokenLookup(find_token), realm="orders")``.

    Give it to ``Bearer(...)``, alone or beside each ``Issuer(...)``. It is asked about every token that is no JWT::

        async def find_token(digest: str) -> Principal | None:
            row = await database.fetch_one("select * from tokens where digest = :digest", {"digest": digest})
            return None if row is None else Principal(row["user"], expires_at=row["expires_at"])

    - ``find``: it gets the SHA-256 of the token in 64 hexadecimal digits, and never the token, so that a database which
      holds digests alone is enough, and its index tells nothing by its time. It returns a principal, whose
      ``expires_at`` is checked; None for a token that it does not know; or ``Rejected(reason)``. It raises
      ``BackendUnavailable`` if it cannot tell. A token needs 128 random bits: ``secrets.token_urlsafe(32)``.
    - ``visible_ascii``: as for ``Introspection``.
    - ``deadline``: how many seconds it may take.

    Nothing is cached, so that a token which is deleted is refused by the next request. A principal with the claim
    ``cnf`` is one of a token that is bound to a key, which ``Bearer`` refuses unless it has ``client_certificate=``.
    Denies with ``token.inactive``, ``token.expired``, ``token.bound`` and ``store.*`` (503). Raises
    ``ConfigurationError``.
    """

    def __init__(self, find: FindToken, *, visible_ascii: bool = False, deadline: float = 5.0) -> None:
        self._find = async_function("find", find, "find(digest)", "0" * 64)
        self._visible_ascii = check_flag("visible_ascii", visible_ascii)
        self._deadline = check_seconds("deadline", deadline, most=60)

    def takes(self, token: bytes) -> bool:
        """Whether these bytes are a token that the function is asked about."""
        return is_token68(token) or (self._visible_ascii and is_visible(token))

    async def authenticate(
        self,
        token: bytes,
        moment: Moment,
        network: str | None = None,
        *,
        confirmations: AbstractSet[str] = NO_CONFIRMATIONS,
    ) -> Outcome:
        """The outcome for a token. Raises ``BackendUnavailable``.

        ``confirmations``: the members of ``cnf`` that the caller checks.
        """
        digest = sha256(token).digest()
        found = await ask(awaitable(self._find, self._find(digest.hex())), self._deadline)
        if found is None:
            facts: Facts = {"problem": "the look-up does not know it", "token": token_fingerprint(token, digest)}
            return Rejected(TOKEN_INACTIVE, facts=facts)
        if isinstance(found, Rejected):
            facts = {**found.facts, "token": token_fingerprint(token, digest)}
            return Rejected(found.reason, found.subject, facts, found.response_headers, found.authenticated)
        if not isinstance(found, Principal):
            raise wrong_answer(self._find, found, "a Principal, Rejected(reason), or None for an unknown token")
        if found.expires_at is not None and moment.expired(found.expires_at):
            expired = {"expired_by": moment.by(found.expires_at), "leeway": moment.leeway}
            facts = {**expired, "token": token_fingerprint(token, digest)}
            return Rejected(TOKEN_EXPIRED, found.subject, facts, authenticated=True)
        confirmation = found.claims.get("cnf")
        if confirmation is not None and not confirmations and (failure := bound_failure(confirmation)) is not None:
            facts = {**failure.facts, "token": token_fingerprint(token, digest)}
            return Rejected(failure.reason, found.subject, facts, authenticated=True)
        return Accepted(found)
