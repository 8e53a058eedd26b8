"""A certified OpenID provider in a process of its own, and users who get tokens from it."""

from __future__ import annotations

import json
import re
import secrets
import signal
import subprocess
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from hashlib import sha256
from typing import IO, Any, cast

import httpx2
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from tests.support.servers.app_server import ROOT, TIMEOUT
from tests.support.servers.node import NODE, NODE_MODULES, has_package
from tests.support.tokens import ec_key, ed_key, rsa_key

OIDC_PROVIDER = has_package("oidc-provider")

ALGORITHMS = ("RS256", "ES256", "EdDSA", "PS256")
#: The addresses of two APIs, whose tokens have the audiences ``orders`` and ``stock``.
ORDERS, STOCK = "https://orders.example/", "https://stock.example/"
SECRET = "a secret of a client"
#: The client id of the API for introspection. All clients share one secret.
API = "orders"

#: The provider redirects the user to this URL. No server listens there.
_REDIRECT_URI = "https://web.example/back"
_MAX_REDIRECTS = 12
_ANSWERS = {"user": "alice", "password": "correct horse", "otp": "755224"}


def private_jwks(generation: int) -> list[dict[str, Any]]:
    """The private keys of one generation, one for each algorithm."""
    pss, rsa = (rsa_key(2048, 2 * generation + which) for which in (1, 0))
    jwks = {
        "RS256": RSAAlgorithm.to_jwk(rsa, as_dict=True),
        "ES256": ECAlgorithm.to_jwk(ec_key("P-256", generation), as_dict=True),
        "EdDSA": OKPAlgorithm.to_jwk(ed_key(generation), as_dict=True),
        "PS256": RSAAlgorithm.to_jwk(pss, as_dict=True),
    }
    # PyJWT writes the operations of a private key, which are wrong for the public half.
    plain = {alg: {name: value for name, value in jwk.items() if name != "key_ops"} for alg, jwk in jwks.items()}
    return [{**jwk, "alg": alg, "use": "sig", "kid": f"{alg}-{generation}"} for alg, jwk in plain.items()]


class Provider:
    """``oidc-provider`` on loopback. After a restart it has the same port and keys, and has forgotten everything else.

    ``generations`` are the generations of its keys: the first one signs, and all are published.
    """

    def __init__(self, *generations: int) -> None:
        self.port = 0
        self._process: subprocess.Popen[str] | None = None
        self._client = httpx2.Client(trust_env=False, timeout=TIMEOUT)
        self._keys: list[dict[str, Any]] = []
        self._closing = ExitStack()
        self._closing.enter_context(self._client)
        self.start(*generations)

    @property
    def url(self) -> str:
        """The URL of the provider, which is its name as an issuer."""
        return f"http://127.0.0.1:{self.port}"

    def start(self, *generations: int) -> None:
        """Start a process. Without generations, it has the keys of the last one."""
        self._process = subprocess.Popen(
            [NODE, ROOT / "tests" / "peers" / "oidc" / "provider.mjs", NODE_MODULES],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._keys = [key for generation in generations for key in private_jwks(generation)] or self._keys
        self.port = self._exchange(keys=self._keys)["port"]

    def rotate(self, *generations: int) -> None:
        """Use the keys of these generations from now on."""
        self._keys = [key for generation in generations for key in private_jwks(generation)]
        self._exchange(keys=self._keys)

    def request_count(self, path: str) -> int:
        """How often this path was requested since the start."""
        return int(self._exchange()["asked"].get(path, 0))

    def _exchange(self, **message: Any) -> Any:
        process = self._process
        assert process is not None
        stdin, stdout = cast("IO[str]", process.stdin), cast("IO[str]", process.stdout)
        stdin.write(json.dumps({"port": self.port, **message}) + "\n")
        stdin.flush()
        while not (line := stdout.readline()).startswith("{"):  # the provider prints notices too
            assert line, "it has ended"
        return json.loads(line)

    def stop(self) -> None:
        """Kill the process, with all its connections."""
        process, self._process = self._process, None
        if process is not None:
            with process:  # closes its pipes
                process.kill()
                process.wait(TIMEOUT)

    def suspend(self) -> None:
        """Accept connections, and answer nothing, until ``resume``."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Go on after ``suspend``."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def close(self) -> None:
        """Stop the process and close the clients of the provider."""
        self.stop()
        self._closing.close()

    def user(self, form: str = "RS256") -> User:
        """A user who gets tokens of this form."""
        person = User(self, form)
        self._closing.callback(person.close)
        return person

    @contextmanager
    def down(self) -> Iterator[None]:
        """Stop the provider while the block runs."""
        self.stop()
        try:
            yield
        finally:
            self.start()

    def post(self, path: str, client: str, **form: str) -> Any:
        """Post a form as a client that has a secret, and return the answer."""
        answer = self._client.post(self.url + path, auth=(client, SECRET), data=form)
        assert answer.status_code == 200, answer.text
        return answer.json() if answer.content else None

    def token(self, form: str = "RS256", api: str = ORDERS) -> str:
        """An access token for a machine: signed with this algorithm, or opaque."""
        answer = self.post("/token", f"batch-{form}", grant_type="client_credentials", resource=api, scope="read")
        return str(answer["access_token"])

    def revoke(self, token: str) -> None:
        """Revoke an opaque token, as the client that it was issued to."""
        self.post("/token/revocation", "batch-opaque", token=token)


@contextmanager
def running_provider(*generations: int) -> Iterator[Provider]:
    """A provider with the keys of these generations, until the end of the block."""
    provider = Provider(*generations)
    try:
        yield provider
    finally:
        provider.close()


class User:
    """Alice with a browser that keeps the provider's cookies. She logs in where the provider asks her to.

    ``logins`` lists what she was asked for each time.
    """

    def __init__(self, provider: Provider, form: str = "RS256") -> None:
        self._provider, self._client_id = provider, f"web-{form}"
        self._browser = httpx2.Client(trust_env=False, timeout=TIMEOUT)
        self.logins: list[list[str]] = []

    def tokens(self, *, ago: int = 0, **parameters: str) -> Mapping[str, str]:
        """Get tokens by an authorization code with PKCE (RFC 7636). ``ago`` says how long ago she logged in."""
        verifier = secrets.token_urlsafe(48)
        challenge = urlsafe_b64encode(sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        request = {
            "client_id": self._client_id,
            "response_type": "code",
            "redirect_uri": _REDIRECT_URI,
            "scope": "openid read write",
            "resource": ORDERS,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        code = self._code(self._browser.get(self._provider.url + "/auth", params={**request, **parameters}), ago)
        exchange = {"grant_type": "authorization_code", "code": code, "code_verifier": verifier, "resource": ORDERS}
        form = {"client_id": self._client_id, "redirect_uri": _REDIRECT_URI, **exchange}
        answer = self._browser.post(self._provider.url + "/token", data=form)
        assert answer.status_code == 200, answer.text
        return cast("Mapping[str, str]", answer.json())

    def token(self, *, ago: int = 0, **parameters: str) -> str:
        """An access token of hers."""
        return self.tokens(ago=ago, **parameters)["access_token"]

    def _code(self, answer: httpx2.Response, ago: int) -> str:
        """Follow the redirects, and fill in the login forms, up to the redirect that carries the code."""
        for _ in range(_MAX_REDIRECTS):
            onward = answer.next_request
            if onward is None:
                assert answer.status_code == 200, answer.text
                names = re.findall(r'<input name="(\w+)">', answer.text)
                self.logins.append(names)
                filled = {name: _ANSWERS[name] for name in names}
                answer = self._browser.post(answer.url, data={**filled, "ago": str(ago)})
            elif str(onward.url).startswith(_REDIRECT_URI):
                return onward.url.params["code"]
            else:
                answer = self._browser.send(onward)
        raise AssertionError(self.logins)

    def close(self) -> None:
        """Close the browser."""
        self._browser.close()
