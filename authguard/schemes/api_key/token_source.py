"""API keys as bearer tokens, beside the tokens of issuers."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Literal

from authguard.accounts.api_key import ApiKeyStore
from authguard.model import Clock, Outcome
from authguard.reasons import ATTEMPTS_EXCEEDED, Reason
from authguard.request import AuthRequest
from authguard.schemes.api_key.verifier import KeyVerifier, PepperArgument, check_key_throttle
from authguard.schemes.scheme import Continuation, Service
from authguard.schemes.throttle import LoginThrottle


class ApiKeys:
    """API keys under ``Bearer``: ``Bearer(Issuer(...), ApiKeys(store, prefix="acme"), realm="orders")``.

    A token that begins with the prefix and an underscore is a key; every other one is left to the issuers. Without an
    issuer beside it, every token is taken for a key. The arguments are those of ``ApiKey``; the throttle is its own
    unless it is given one. The principal has the name of the ``Bearer``. Raises ``ConfigurationError``.
    """

    def __init__(
        self,
        store: ApiKeyStore,
        *,
        prefix: str,
        environment: str = "",
        pepper: PepperArgument = None,
        throttle: LoginThrottle | Literal["default"] | None = "default",
        deadline: float = 5.0,
        clock: Clock = time.monotonic,
    ) -> None:
        self._verifier = KeyVerifier(
            store,
            scheme="bearer",
            prefix=prefix,
            environment=environment,
            pepper=pepper,
            throttle=check_key_throttle(throttle, clock),
            deadline=deadline,
            clock=clock,
        )
        self._begins = self._verifier.begins
        #: What writes the last uses, if the store keeps them.
        self.services: tuple[Service, ...] = self._verifier.services
        #: Its reasons with another status than bad credentials have.
        self.denial_reasons: tuple[Reason, ...] = () if self._verifier.throttle is None else (ATTEMPTS_EXCEEDED,)

    def takes(self, token: bytes) -> bool:
        """Whether the token is a key of this prefix, or the beginning of one."""
        return token.startswith(self._begins)

    def verify_now(self, token: bytes, request: AuthRequest) -> Outcome | Continuation:
        """The outcome for a key, or a function to await for it."""
        return self._verifier.verify_now(token, request)

    def state_stores(self) -> Mapping[str, object]:
        """Where refused keys are counted."""
        return self._verifier.state_stores()

    def health(self) -> Mapping[str, object]:
        """How many last uses were written, how many wait, and whether the last batch failed."""
        return self._verifier.health()
