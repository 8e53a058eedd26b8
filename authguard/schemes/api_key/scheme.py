"""API keys in a header field of their own, or after an auth-scheme of their own in ``Authorization``."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Literal

from authguard.accounts.api_key import ApiKeyStore
from authguard.errors import ConfigurationError
from authguard.model import Clock, Denied, Outcome
from authguard.reasons import ATTEMPTS_EXCEEDED
from authguard.request import AuthRequest
from authguard.schemes.api_key.verifier import KeyVerifier, PepperArgument, check_key_throttle
from authguard.schemes.carriers import Header, NamedCarrier, check_carrier
from authguard.schemes.scheme import Carrier, Continuation, Scheme, check_name, for_one_request
from authguard.schemes.throttle import LoginThrottle
from authguard.wire.authorization import Credentials
from authguard.wire.challenge import Challenge
from authguard.wire.grammar import is_token

#: Where most APIs take keys.
X_API_KEY = Header("X-API-Key")


class ApiKey(Scheme):
    """API keys: ``ApiKey(ApiKeyFile("keys.json"), realm="orders", prefix="acme", environment="live")``.

    - ``store``: an ``ApiKeyStore``. Last uses are written to it in batches, if it has ``write_last_uses``.
    - ``prefix``, ``environment``: how the keys of this app begin: ``acme_live_...``. A key of another prefix is
      malformed. A key of another environment is refused by name, so that a test key in production shows.
    - ``carrier``: where the key travels: ``Header("X-API-Key")``, another field, a cookie; or ``AUTHORIZATION``, with
      the key after ``auth_scheme``.
    - ``pepper``: the secret that ``new_key`` was given. Of several, keys made with any of them are accepted.
    - ``throttle``: a ``LoginThrottle``, which slows down clients whose keys are refused; None switches it off. By
      default, it is one of its own: to refuse a key costs no hash, so a flood of wrong keys could make the throttle of
      passwords forget who has guessed.
    - ``deadline``: how many seconds a store may take.
    - ``name``: for ``via(...)``, records and OpenAPI, if a guard has another ``ApiKey``.

    The principal is the owner of the key, with its roles and scopes. Its claims ``key_id`` and ``key_name`` name the
    key. Where a key is used whose successor is there already, the record has the fact ``rotating``.

    Denies with ``api_key.*``: a client can tell none of them apart but ``api_key.expired``, which needs the right
    secret. Denies with ``attempts.exceeded`` (429) after many refused keys of one id from one network, whether or not a
    key has that id; a right key is accepted even then. Denies with ``store.*`` (503). Raises ``ConfigurationError``.
    """

    name = "api-key"
    carrier: Carrier
    #: The auth-scheme as its clients write it, which the guard then reads faster.
    auth_scheme_spelled = "api-key"
    constant_challenges = True

    def __init__(
        self,
        store: ApiKeyStore,
        *,
        realm: str,
        prefix: str,
        environment: str = "",
        carrier: Carrier = X_API_KEY,
        auth_scheme: str = "ApiKey",
        pepper: PepperArgument = None,
        throttle: LoginThrottle | Literal["default"] | None = "default",
        deadline: float = 5.0,
        name: str = "api-key",
        clock: Clock = time.monotonic,
    ) -> None:
        self.name = check_name(name)
        if not isinstance(realm, str):
            raise ConfigurationError("realm", f"{realm!r} is not a string")
        if not isinstance(auth_scheme, str) or not is_token(auth_scheme):
            raise ConfigurationError("auth_scheme", f"{auth_scheme!r} is not an auth-scheme; write ApiKey, for example")
        params = {"realm": realm}
        check_carrier(carrier)
        self.carrier = carrier
        # A carrier that is found by another name has an auth-scheme of its own, which counts then.
        self.auth_scheme, self.auth_scheme_spelled = auth_scheme.lower(), auth_scheme
        self.openapi: Mapping[str, object] = {"type": "http", "scheme": auth_scheme.lower()}
        if isinstance(carrier, NamedCarrier):
            self.openapi = carrier.openapi
            params.update(carrier.challenge_params)
        try:
            self._challenge = (Challenge(auth_scheme, params),)
        except ValueError as error:
            raise ConfigurationError("realm", str(error)) from None
        self._verifier = KeyVerifier(
            store,
            scheme=self.name,
            prefix=prefix,
            environment=environment,
            pepper=pepper,
            throttle=check_key_throttle(throttle, clock),
            deadline=deadline,
            clock=clock,
        )
        self.services = self._verifier.services
        self.denial_reasons = () if self.throttle is None else (ATTEMPTS_EXCEEDED,)

    @property
    def throttle(self) -> LoginThrottle | None:
        """What counts refused keys; None if nothing does."""
        return self._verifier.throttle

    def state_stores(self) -> Mapping[str, object]:
        """Where refused keys are counted."""
        return self._verifier.state_stores()

    def roles_given(self) -> AbstractSet[str] | None:
        """All roles that the store lists; None if it cannot list them."""
        return self._verifier.roles_given()

    async def authenticate(self, request: AuthRequest, credentials: Credentials) -> Outcome:
        """Find the key by its id, compare its digest, and judge whether it is good here and now."""
        answer = self.authenticate_now(request, credentials)
        return for_one_request(await answer() if callable(answer) else answer)

    def authenticate_now(self, request: AuthRequest, credentials: Credentials) -> Outcome | Continuation:
        """The same, if the store answers at once."""
        return self._verifier.verify_now(credentials.rest, request)

    def challenges(self, request: AuthRequest, why: Denied | None) -> Sequence[Challenge]:
        """One challenge, the same for every denial. It names the field to send, because no RFC does."""
        return self._challenge

    def health(self) -> Mapping[str, object]:
        """How many last uses were written, how many wait, and whether the last batch failed."""
        return self._verifier.health()
