"""No secret of Digest leaks: neither the stored digest, nor the app's secret, nor what a client presented."""

from __future__ import annotations

import traceback
from typing import Any

import pytest

from authguard.accounts.digest_account import DigestAccount
from authguard.concurrency.token_bucket import Rate
from authguard.errors import BackendUnavailable, ConfigurationError
from authguard.schemes.digest.nonce_service import NonceService
from authguard.schemes.digest.scheme import Digest
from authguard.schemes.throttle import LoginThrottle
from authguard.testing import ManualClock
from authguard.wire.digest import DigestCredentials
from tests.security.digest_app import DigestApp
from tests.support.canary import CANARY, LogRecorder, leaks
from tests.support.schemes.digest import (
    DigestAccounts,
    DigestParams,
    SharedNonces,
    answer_challenge,
    digest_scheme,
    serialize,
)

SECRET = f"the secret {CANARY}"
CNONCE = "Hq2vY8sTn4Lk7zRw"
QUERY = b"token=" + CANARY.encode()


def accounts() -> DigestAccounts:
    """A store whose ``H(A1)`` are secrets."""
    return DigestAccounts()


STORED = [account.ha1 for account in accounts().accounts.values()]


def failing(error: Exception) -> DigestAccounts:
    """A store that raises with all it knows in its locals."""
    found = accounts()
    found.accounts["alice"] = error
    return found


SCHEMES: dict[str, dict[str, Any]] = {
    "plain": {},
    "the store raises": {"accounts": failing(LookupError(STORED[0]))},
    "the store is down": {"accounts": failing(BackendUnavailable("down"))},
    "the nonces raise": {"nonces": SharedNonces(LookupError(SECRET))},
    "no attempt is left": {"throttle": LoginThrottle(pair=Rate(1, 60.0), clock=ManualClock(1000))},
    "the body": {"qop": ("auth", "auth-int"), "limit": 4},
}

TOLD: list[dict[str, Any]] = [
    {},
    {"password": "wrong"},
    {"username": "nobody"},
    {"username": "mallory", "password": "secret"},
    {"nonce": CANARY},
    {"realm": CANARY},
    {"opaque": CANARY},
    {"uri": f"/elsewhere?token={CANARY}"},
    {"nc": CANARY},
    {"response": CANARY},
    {"userhash": CANARY},
    {"qop": "auth-int"},
    {"username*": CANARY},
]


@pytest.mark.rfc("7616-15", "7616-16")
@pytest.mark.parametrize("name", SCHEMES)
async def test_no_secret_leaks_whatever_fails(log_recorder: LogRecorder, name: str) -> None:
    """No secret is in a log record, a traceback or an authguard record, and nothing that is stored is in a response."""
    options = dict(SCHEMES[name])
    scheme = digest_scheme(options.pop("accounts", accounts()), secret=SECRET, **{"throttle": None, **options})
    app = DigestApp(scheme)
    statuses, leaked = set(), []

    for changes in TOLD:
        params: DigestParams = answer_challenge(
            await app.challenge(), **{"cnonce": CNONCE, "uri": f"/?{QUERY.decode()}", **changes}
        )
        presented = [value for key in ("nonce", "response", "cnonce") if (value := params[key])]
        for _ in range(2):
            answer = await app.request_with(params, query_string=QUERY)
            statuses.add(answer.status)
            texts = [*log_recorder.entries, *(f"{record} {record!r} {record.extra()}" for record in app.records)]
            leaked += [(text, found) for text in texts if (found := leaks(text, SECRET, *STORED, *presented))]
            sent = repr([value for key, value in answer.exchange.headers if key != b"authentication-info"])
            leaked += [(sent, found) for found in [leaks(sent, SECRET, *STORED)] if found]
            log_recorder.entries.clear()

    assert leaked == []
    assert 401 in statuses
    assert statuses <= {200, 400, 401, 413, 429, 503}


async def test_values_do_not_show_their_secrets() -> None:
    """The repr of every object of Digest is free of secrets."""
    scheme = digest_scheme(accounts(), secret=SECRET)
    app = DigestApp(scheme)
    params = answer_challenge(await app.challenge(), cnonce=CNONCE)
    mint = NonceService([SECRET.encode()], "orders", life=300, store=None, deadline=5)
    values = [
        scheme,
        mint,
        DigestCredentials.from_auth_params(serialize(params)),
        DigestAccount("alice", STORED[0], claims={"password": CANARY}),
    ]

    shown_text = [repr(value) + str(value) for value in values]

    presented = [value for key in ("nonce", "response", "cnonce") if (value := params[key])]
    assert [text for text in shown_text if leaks(text, SECRET, *STORED, *presented)] == []


@pytest.mark.parametrize("secret", [CANARY[:31], [SECRET, CANARY[:20]], [7, CANARY]])
def test_a_mistake_in_the_set_up_does_not_show_the_secret(secret: Any) -> None:
    """Neither a ``ConfigurationError`` nor its cause contains the secret."""
    with pytest.raises(ConfigurationError) as caught:
        Digest(accounts(), realm="orders", secret=secret)

    text = [line for line in traceback.format_exception(caught.value) if "CANARY" not in line]
    assert leaks("".join(text) + repr(caught.value)) == []
