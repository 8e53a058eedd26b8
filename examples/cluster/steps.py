"""The steps of the cluster: what each sends, and what is expected of the worker that answers."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import bcrypt
import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

from authguard import digest_ha1
from authguard.testing import digest_auth
from examples.cluster.cluster import Cluster, worker_of
from examples.tour.basic_steps import COST, GUESS, GUESSES, BasicRequest
from examples.tour.server import ServerDied
from examples.tour.step import ANY_NONCE, Action, Expected, Request, Response, Send, Step
from examples.tour.tokens import HOUR, public_pem

REALM, PASSWORD = "orders", "wonderland"
#: Seconds that the workers may take to find a server that is back.
PATIENCE = 30.0

BEARER = f'Bearer realm="{REALM}"'
REVOKED = f'{BEARER}, error="invalid_token"'
DIGEST = (
    f'Digest realm="{REALM}", qop="auth", algorithm=SHA-256, opaque="28a37f5087e3da49", charset=UTF-8, userhash=true, '
    f'nonce="{ANY_NONCE}"'
)
STALE = f"{DIGEST}, stale=true"


def settings(key: rsa.RSAPrivateKey) -> dict[str, str]:
    """The settings of both workers, apart from the addresses of Redis and the database."""
    stored = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(COST)).decode("ascii")
    return {
        "ISSUER_PUBLIC_KEY": public_pem(key),
        "ALICE_HASH": stored,
        "ALICE_HA1": digest_ha1("alice", REALM, PASSWORD),
        "DIGEST_SECRET": secrets.token_urlsafe(32),
        "THROTTLE_SECRET": secrets.token_urlsafe(32),
    }


def token(key: rsa.RSAPrivateKey, name: str) -> str:
    """A token of alice with this ``jti``, for an hour."""
    now = int(time.time())
    claims = {"iss": "https://login.example/", "aud": "orders", "sub": "alice", "jti": name}
    return jwt.encode({**claims, "iat": now - 60, "exp": now + HOUR}, key, algorithm="RS256")


# --- What the steps do -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """A request with a token, which is named. With ``logs_out``, the token is revoked by a request before it."""

    target: str
    name: str
    logs_out: bool = False
    served_by: str = "cluster"

    @property
    def curl(self) -> str:
        """The request as a shell command, with the address in ``$CLUSTER`` and the token in a variable."""
        header = f'-H "Authorization: Bearer ${self.name}"'
        first = f"curl -X POST {header} $CLUSTER/log-out; " if self.logs_out else ""
        return f"{first}curl -i {header} $CLUSTER{self.target}"

    def run(self, send: Send, tokens: Mapping[str, str]) -> Sequence[Response]:
        """Send the requests. The last response is the one to show."""
        headers = [("Authorization", f"Bearer {tokens[self.name]}")]
        first = [send(Request("POST", "/log-out", headers))] if self.logs_out else []
        return [*first, send(Request("GET", self.target, headers))]


@dataclass(slots=True)
class DigestClient:
    """A client of Digest: its challenge, how often it has used the nonce, and what it sent last."""

    challenge: str = ""
    count: int = 0
    sent: Request = field(default=Request("GET", "/snapshot"))

    def begin(self, send: Send) -> Sequence[Response]:
        """Get a challenge and answer it."""
        challenged = send(Request("GET", "/snapshot"))
        return [challenged, self.answer(send, challenged.challenges[0])]

    def answer(self, send: Send, challenge: str) -> Response:
        """Answer this challenge, which is a new one."""
        self.challenge, self.count = challenge, 0
        return self.go_on(send)

    def go_on(self, send: Send) -> Response:
        """The next request with the same nonce, as every client sends it."""
        self.count += 1
        header = digest_auth(self.challenge, "alice", PASSWORD, uri="/snapshot", count=self.count)
        self.sent = Request("GET", "/snapshot", list(header.items()))
        return send(self.sent)

    def replay(self, send: Send) -> Sequence[Response]:
        """What was sent last, once more."""
        return [send(self.sent)]

    def renew(self, send: Send) -> Sequence[Response]:
        """The next request with the old nonce, and the answer to the challenge that it gets."""
        refused = self.go_on(send)
        return [refused, *([self.answer(send, refused.challenges[0])] if refused.challenges else [])]


@dataclass(frozen=True, slots=True)
class DigestAction:
    """Something that a client of Digest does, and the shell command that does it too."""

    curl: str
    act: Callable[[Send], Sequence[Response]]
    served_by: str = "cluster"

    def run(self, send: Send, tokens: Mapping[str, str]) -> Sequence[Response]:
        """Send the requests. The last response is the one to show."""
        return self.act(send)


@dataclass(frozen=True, slots=True)
class BasicAction:
    """A request with a password, or one for each of eleven guesses."""

    target: str
    user: str
    served_by: str = "cluster"

    @property
    def curl(self) -> str:
        """The request as a shell command, with the address in ``$CLUSTER``."""
        return BasicRequest(self.target, self.user).curl.replace("$BASIC", "$CLUSTER")

    def run(self, send: Send, tokens: Mapping[str, str]) -> Sequence[Response]:
        """Send the requests. The last response is the one to show."""
        return BasicRequest(self.target, self.user).run(send, tokens)


# --- The steps -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ClusterStep(Step):
    """A step. With ``crosses``, its last response must come from another worker than the one before it."""

    crosses: bool = False

    def crossing_differences(self, before: Response | None, last: Response) -> list[str]:
        """One sentence if both responses came from one worker, and none if not, or if it does not matter."""
        if not self.crosses or before is None or worker_of(before) != worker_of(last):
            return []
        return [f"{worker_of(last)} has answered twice"]


class Event(NamedTuple):
    """Something that happens to the cluster: its title, the shell command, what does it, and why it is shown.

    ``run`` returns a sentence about what was seen.
    """

    title: str
    command: str
    run: Callable[[Cluster], str]
    explanation: str


class ClusterPart(NamedTuple):
    """Steps and events under a common title."""

    title: str
    steps: Sequence[ClusterStep | Event]


def _kill(cluster: Cluster) -> str:
    cluster.redis.kill()
    return "redis-server is gone, and with it all that it knew."


def _start(cluster: Cluster) -> str:
    cluster.redis.start()
    return f"redis-server answers at port {cluster.redis.port}, and knows nothing."


def _wait(tokens: Mapping[str, str], cluster: Cluster) -> str:
    """Send a request of a client, until both workers answer it."""
    action: Action = TokenRequest("/orders", "TOKEN")
    began = time.monotonic()
    while True:
        statuses = [action.run(cluster.send, tokens)[-1].status for _ in cluster.workers]
        waited = time.monotonic() - began
        if set(statuses) == {200}:
            return f"Both workers answer with 200, after {waited:.1f} s."
        if waited > PATIENCE:
            raise ServerDied(f"After {waited:.0f} s, the workers still answer with {statuses}.")
        time.sleep(0.05)


def parts(tokens: Mapping[str, str], redis_command: Sequence[str]) -> Sequence[ClusterPart]:
    """All steps. ``tokens`` has ``TOKEN`` and ``OTHER``; ``redis_command`` starts the redis-server."""
    client = DigestClient()
    digest = "curl -i --digest -u alice:wonderland $CLUSTER/snapshot"
    return (
        ClusterPart(
            "Two workers behind nginx, which gives each request to the next one. Both count in one Redis.",
            (
                ClusterStep(
                    "A token that is good",
                    TokenRequest("/orders", "TOKEN"),
                    Expected(200, None, "granted"),
                    "Each worker verifies the signature by itself. Only whether it is revoked is shared.",
                ),
                ClusterStep(
                    "Digest: one worker makes the nonce, the other one accepts it",
                    DigestAction(digest, client.begin),
                    Expected(200, None, "granted"),
                    "The nonce is signed with the secret that both workers have. That it was used is in Redis.",
                    crosses=True,
                ),
                ClusterStep(
                    "The same header again, which reaches the other worker",
                    DigestAction('curl -i -H "Authorization: $SENT" $CLUSTER/snapshot', client.replay),
                    Expected(401, STALE, "denied nonce.replayed", "count=1"),
                    "Each header passes once for all workers together. If each counted for itself, an eavesdropper "
                    "would get in once at every other worker.",
                    crosses=True,
                ),
                ClusterStep(
                    "Guessing: eleven passwords for alice, of which the last is shown",
                    BasicAction("/invoices", f"alice:{GUESS}"),
                    Expected(429, None, "denied attempts.exceeded", 'bucket="account and network"', retry_after=True),
                    f"Both workers together have hashed {GUESSES - 1} guesses, as many as one worker would.",
                    crosses=True,
                ),
                ClusterStep(
                    "Another token, after alice has logged out with it at the other worker",
                    TokenRequest("/orders", "OTHER", logs_out=True),
                    Expected(401, REVOKED, "denied token.revoked", "jti=other"),
                    "The log-out counts at once: the next request is refused, whichever worker gets it.",
                    earlier_status=204,
                    crosses=True,
                ),
            ),
        ),
        ClusterPart(
            "redis-server crashes",
            (
                Event(
                    "redis-server is killed",
                    "kill -KILL $(pidof redis-server)",
                    _kill,
                    "The workers go on. What they cannot know, they do not guess.",
                ),
                ClusterStep(
                    "The token that is good",
                    TokenRequest("/orders", "TOKEN"),
                    Expected(503, None, "denied store.unavailable", retry_after=True),
                    "Nobody can say whether it was revoked meanwhile, so nobody passes. The client is told to come "
                    "again, and is not told to log in.",
                ),
                ClusterStep(
                    "alice's next request by Digest",
                    DigestAction(digest, lambda send: [client.go_on(send)]),
                    Expected(503, None, "denied store.unavailable", retry_after=True),
                    "Nobody can say whether this header was used before. No challenge: her password is not wrong.",
                ),
                ClusterStep(
                    "A wrong password by Basic",
                    BasicAction("/invoices", "alice:looking-glass"),
                    Expected(401, f'Basic realm="{REALM}", charset="UTF-8"', "denied password.wrong"),
                    "A wrong password is wrong without Redis. Guesses are counted in the memory of each worker "
                    "meanwhile, ten for each of them.",
                ),
            ),
        ),
        ClusterPart(
            "redis-server comes back, empty",
            (
                Event(
                    "redis-server is started again",
                    " ".join(word or "''" for word in redis_command),
                    _start,
                    "Nothing was on its disk: it cannot say which nonces were used.",
                ),
                Event(
                    "The workers find it by themselves",
                    'until curl -sf -H "Authorization: Bearer $TOKEN" $CLUSTER/orders; do sleep 0.05; done',
                    partial(_wait, tokens),
                    "Nobody has restarted a worker. Each tries at least every two seconds, and one of them loads what "
                    "was revoked from the database.",
                ),
                ClusterStep(
                    "What the eavesdropper has recorded before the crash",
                    DigestAction('curl -i -H "Authorization: $SENT" $CLUSTER/snapshot', client.replay),
                    Expected(401, STALE, "denied nonce.forgotten"),
                    "The empty Redis has a new beginning. A nonce that is older than it is stale, because it may have "
                    "been used.",
                ),
                ClusterStep(
                    "alice's next request, with the nonce from before the crash",
                    DigestAction(digest, client.renew),
                    Expected(200, None, "granted"),
                    "Her nonce is stale too. Her client answers the new challenge by itself, and she sees no prompt.",
                ),
                ClusterStep(
                    "The token with which alice has logged out",
                    TokenRequest("/orders", "OTHER"),
                    Expected(401, REVOKED, "denied token.revoked", "jti=other"),
                    "Redis has forgotten it, and the database has not.",
                ),
            ),
        ),
    )
