"""Keys rotate, and the provider stops and starts, while its tokens are in use: no valid token is rejected."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest

from tests.integration.apps.common import KEYS_AGE, PROVIDER
from tests.integration.token_load import TokenLoad, TokenUse
from tests.support.servers.app_server import TIMEOUT, Answer, AppServer, bearer_field, request_bytes, running_servers
from tests.support.servers.oidc_provider import ALGORITHMS, OIDC_PROVIDER, Provider, running_provider
from tests.support.tokens import ec_key, mint

pytestmark = [pytest.mark.peer, pytest.mark.skipif(not OIDC_PROVIDER, reason="oidc-provider is not here")]

RATE = 200
METADATA, KEYS = "/.well-known/openid-configuration", "/jwks"
#: The ``cooldown`` of the API, in seconds.
COOLDOWN = 1.0
#: The longest time for a request on a busy machine, which is less than the timeout of a fetch.
SOON = 2.0


@contextmanager
def api(provider: Provider, keys_age: float) -> Iterator[AppServer]:
    """An API that accepts tokens of this provider, and keeps its keys fresh for so many seconds."""
    env = {PROVIDER: provider.url, KEYS_AGE: str(keys_age)}
    with running_servers(lambda: AppServer("discovered:app", "--no-access-log", **env)) as (server,):
        yield server


def tokens(provider: Provider, name: str) -> dict[str, str]:
    """One token for each algorithm, named by the algorithm and this name."""
    return {f"{algorithm} {name}": provider.token(algorithm) for algorithm in ALGORITHMS}


def forged(provider: Provider, kid: str, exp: float) -> str:
    """A token that names this key and is signed with another one."""
    claims = {"iss": provider.url, "client_id": "nobody", "jti": "1", "iat": exp - 600, "exp": exp}
    return mint(ec_key("P-256", 9), "ES256", headers={"kid": kid, "typ": "at+jwt"}, **claims)


def failed(load: TokenLoad) -> list[TokenUse]:
    """The uses that were not answered in time with the page of the token's subject."""
    return [use for use in load.uses if use[1:3] != (200, f"batch-{use.name.split()[0]}") or use.seconds > SOON]


def ask(server: AppServer, token: str) -> Answer:
    """Send one request with this token."""
    return server.send(request_bytes("/me", bearer_field(token)))


def outcome(answer: Answer) -> tuple[int, str | None]:
    """The status, and the error code of the challenge."""
    challenge = "".join(answer.lines("www-authenticate"))
    return answer.status, challenge.partition('error="')[2].partition('"')[0] or None


def until(holds: Callable[[], bool]) -> None:
    """Wait until the condition holds."""
    late = time.monotonic() + TIMEOUT
    while not holds():
        assert time.monotonic() < late
        time.sleep(0.05)


def keys_health(server: AppServer) -> dict[str, Any]:
    """The health of the provider's keys."""
    body = server.send(request_bytes("/health")).raw.partition(b"\r\n\r\n")[2]
    (health,) = json.loads(body)["bearer"]["keys"]
    return dict(health)


def test_keys_rotate_and_no_good_token_is_refused() -> None:
    """Tokens of the new and of the old keys are accepted, and a rotation costs one fetch."""
    with running_provider(0) as provider, api(provider, 600) as server:
        load = TokenLoad(server.port, "/me", rate=RATE)
        load.add(**tokens(provider, "of the first keys"))
        with load.running():
            load.wait_for_more(100)
            provider.rotate(1, 0)
            load.add(**tokens(provider, "of the second keys"))
            load.wait_for_more(150)
            provider.rotate(2, 1, 0)
            load.add(**tokens(provider, "of the third keys"))
            load.wait_for_more(150)

        assert failed(load) == []
        assert [load.answers(name)[:1] for name in load.names] == [[200]] * 12
        assert (provider.request_count(METADATA), provider.request_count(KEYS)) == (1, 3)


def test_a_key_that_is_withdrawn_is_refused_when_the_set_is_old() -> None:
    """Tokens of a withdrawn key are a 401 a second after the key set expires, without any request for another key."""
    with running_provider(1, 0) as provider:
        good = provider.token()
        provider.rotate(0, 1)
        stolen = provider.token()
        with api(provider, 1) as server:
            assert [ask(server, token).status for token in (good, stolen)] == [200, 200]

            provider.rotate(1)
            withdrawn = time.monotonic()
            until(lambda: ask(server, stolen).status != 200)
            seconds = time.monotonic() - withdrawn

            assert outcome(ask(server, stolen)) == (401, "invalid_token")
            assert ask(server, good).status == 200
    assert seconds < COOLDOWN + 1 + SOON


def test_a_flood_of_unknown_keys_keeps_no_new_key_out() -> None:
    """During a flood of unknown keys one fetch is regained each second, and brings a new key in.

    Until then a token of the new key is a 401, or a 503 that says when to come again: a network with good tokens may
    have 120 of these, and two more each second.
    """
    now = time.time()
    with running_provider(0) as provider, api(provider, 600) as server:
        flood, load = (TokenLoad(server.port, "/me", rate=RATE / 2) for _ in range(2))
        flood.add(**{f"forged {number}": forged(provider, f"nobody's {number}", now + 600) for number in range(400)})
        load.add(**tokens(provider, "of the first keys"))
        with load.running(), flood.running():
            flood.wait_for_more(60)
            provider.rotate(1, 0)
            rotated, new = time.monotonic(), provider.token("ES256")
            answers = [ask(server, new).status]
            while answers[-1] != 200 and time.monotonic() < rotated + TIMEOUT:
                time.sleep(0.02)
                answers.append(ask(server, new).status)
            seconds = time.monotonic() - rotated
            load.add(**tokens(provider, "of the second keys"))
            flood.wait_for_more(60)
            load.wait_for_more(20)
        fetches, lasted = provider.request_count(KEYS), time.monotonic() - flood.began

    assert (answers[-1], set(answers) <= {200, 401, 503}) == (200, True)
    assert seconds < COOLDOWN + SOON
    assert failed(load) == []
    assert {use.status for use in flood.uses} <= {401, 503}
    assert answers.count(503) + sum(use.status == 503 for use in flood.uses) <= 120 + 2 * lasted + 1
    # The first fetch, the three of the budget, and those that were regained.
    assert 4 <= fetches <= 4 + lasted / COOLDOWN


@pytest.mark.parametrize("hangs", [False, True])
def test_no_token_of_a_known_key_is_rejected_while_the_provider_restarts(hangs: bool) -> None:
    """Known keys are used although they expire meanwhile. An unknown key is a 503 until the provider is back.

    A valid token never gets a 401, because its client would discard it.
    """
    now = time.time()
    with running_provider(1) as provider:
        unseen = provider.token()
        provider.rotate(0)
        unknown, expired = (forged(provider, "nobody's", exp) for exp in (now + 600, now - 600))
        with api(provider, 1) as server:
            load = TokenLoad(server.port, "/me", rate=RATE)
            load.add(**tokens(provider, "of the first keys"))
            with load.running():
                load.wait_for_more(50)
                before = outcome(ask(server, unknown))
                (provider.suspend if hangs else provider.stop)()
                until(lambda: keys_health(server)["fresh_for"] == 0.0)
                load.wait_for_more(100)
                with ThreadPoolExecutor() as together:
                    *meanwhile, hopeless = together.map(partial(ask, server), (unseen, unknown, expired))
                if hangs:
                    provider.resume()
                    provider.rotate(1, 0)
                else:
                    provider.start(1, 0)
                back, waiting = time.monotonic(), [outcome(ask(server, unseen))]
                while waiting[-1][0] != 200 and time.monotonic() < back + TIMEOUT:
                    time.sleep(0.1)
                    waiting.append(outcome(ask(server, unseen)))
                seconds = time.monotonic() - back
                load.add(**tokens(provider, "of the second keys"))
                after = outcome(ask(server, unknown))
                load.wait_for_more(50)

    assert failed(load) == []
    assert [load.answers(name)[:1] for name in load.names] == [[200]] * 8
    assert [(*outcome(answer), *answer.lines("retry-after")) for answer in meanwhile] == [(503, None, "1")] * 2
    assert [before, after, outcome(hopeless)] == [(401, "invalid_token")] * 3
    assert set(waiting) <= {(503, None), (200, None)}
    assert waiting[-1] == (200, None)
    assert [line for line in server.lines if "answers again" in line] == [
        f"WARNING:authguard:{provider.url} answers again"
    ]
    assert seconds < COOLDOWN + SOON
