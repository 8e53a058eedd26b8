"""The page about single-page apps is true: what a script sees of a refusal, and how a WebSocket logs in."""

from __future__ import annotations

import json
import re
import subprocess
import time
from types import ModuleType
from typing import Any

import pytest
from fastapi.testclient import TestClient
from starlette.testclient import WebSocketDenialResponse
from starlette.websockets import WebSocketDisconnect

from authguard import Principal, Reason, reasons
from authguard.testing import acting_as, recording
from tests.docs.pages import run_program
from tests.support.markdown import DOCS, code_blocks
from tests.support.servers.node import NODE
from tests.support.tokens import mint, public_pem, rsa_key

pytestmark = pytest.mark.block("single-page-apps.md")

PAGE = "single-page-apps"
CALL, SOCKET = code_blocks("js", DOCS / f"{PAGE}.md")
(LIVE,) = code_blocks("python", DOCS / f"{PAGE}.md")


@pytest.fixture(name="live")
def _live(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setenv("ISSUER_PUBLIC_KEY", public_pem(rsa_key()).decode())
    return run_program(PAGE, LIVE, "live")


def token(**changes: Any) -> str:
    """A token that is valid by the real clock."""
    now = time.time()
    return mint(rsa_key(), **{"iat": now - 60, "exp": now + 600, **changes})


def handshake(live: ModuleType, *offered: str, **headers: str) -> Any:
    """A connection that offers these subprotocols, as a browser does."""
    return TestClient(live.app).websocket_connect("/live", subprotocols=offered or None, headers=headers)


def test_a_socket_logs_in_with_a_subprotocol(live: ModuleType) -> None:
    """The token is verified, the endpoint knows whose it is, and the answer names ``bearer`` alone."""
    with handshake(live, "bearer", token()) as socket:
        socket.send_text("hello")

        assert (socket.accepted_subprotocol, socket.receive_text()) == ("bearer", "alice: hello")


def test_a_socket_logs_in_with_the_header(live: ModuleType) -> None:
    """Other clients send ``Authorization``, and no subprotocol is named then."""
    with handshake(live, Authorization=f"Bearer {token()}") as socket:
        socket.send_text("hello")

        assert (socket.accepted_subprotocol, socket.receive_text()) == (None, "alice: hello")


@pytest.mark.parametrize(
    ("offered", "reason"),
    [
        ([], "credentials.missing"),
        (["bearer"], "credentials.malformed"),
        (["chat", "bearer"], "credentials.malformed"),
        (["chat", "v2"], "credentials.missing"),
        (["bearer", "a/b="], "credentials.malformed"),
        (["bearer", token(), "bearer", token()], "credentials.ambiguous"),
        (["bearer", "nonsense"], "token.malformed"),
        (["bearer", token(exp=1_700_000_000)], "token.expired"),
    ],
    ids=["none", "no token", "no token at the end", "other", "base64", "twice", "nonsense", "expired"],
)
def test_a_socket_is_refused(live: ModuleType, offered: list[str], reason: str) -> None:
    """Without one valid token the handshake is refused, and the endpoint never runs."""
    with recording(live.guard) as records, pytest.raises(WebSocketDenialResponse) as denied:
        handshake(live, *offered).__enter__()

    assert denied.value.status_code == (400 if reason == "credentials.ambiguous" else 401)
    assert [record.reason for record in records] == [reason]


def test_two_tokens_are_ambiguous(live: ModuleType) -> None:
    """A token in each place is a 400."""
    with recording(live.guard) as records, pytest.raises(WebSocketDenialResponse):
        handshake(live, "bearer", token(), Authorization=f"Bearer {token()}").__enter__()

    assert [record.reason for record in records] == ["credentials.ambiguous"]


def test_a_socket_ends_with_its_token(live: ModuleType) -> None:
    """The endpoint of the page closes with 4401 when the token expires."""
    ended = Principal("alice", claims={"exp": time.time()})
    with acting_as(live.guard, ended), handshake(live) as socket, pytest.raises(WebSocketDisconnect) as closed:
        socket.receive_text()

    assert closed.value.code == 4401


def test_a_subprotocol_is_no_login_for_other_requests(live: ModuleType) -> None:
    """The field counts in a handshake only."""
    answer = TestClient(live.app).get("/orders", headers={"Sec-WebSocket-Protocol": f"bearer, {token()}"})

    assert answer.status_code == 401


def test_the_codes_are_those_of_the_table() -> None:
    """Each status and ``code`` of the table is one that a client gets. Only an expired token has the ``detail``."""
    text = (DOCS / f"{PAGE}.md").read_text("utf-8")
    listed = {(int(status), code) for status, code in re.findall(r"^\| (\d+)[^|]* \| `(\w+)` \|", text, re.MULTILINE)}
    known = [reason for reason in vars(reasons).values() if isinstance(reason, Reason)]

    assert listed <= {(reason.status, reason.public_code) for reason in known}
    assert [reason.code for reason in known if reason.detail == "The access token expired"] == ["token.expired"]


def _problem(live: ModuleType, sent: str) -> dict[str, Any]:
    answer = TestClient(live.app).get("/orders", headers={"Authorization": f"Bearer {sent}"})
    return {"status": answer.status_code, "body": answer.text}


#: Runs the function of the page in Node.js, with the responses of the app in place of a network.
_HARNESS = """
const answers = JSON.parse(process.argv[1]), sent = [];
globalThis.fetch = async (url, options) => {
  sent.push(options.headers.Authorization);
  const { status, body } = answers.shift();
  return new Response(body, { status });
};
const tokens = { access: "old", renew: async () => { tokens.access = "new"; } };
%s
call("/orders").then(
  (response) => console.log(JSON.stringify([response.status, sent])),
  (error) => console.log(JSON.stringify([error.message, sent])),
);
"""


@pytest.mark.peer
@pytest.mark.skipif(not NODE.exists(), reason="Node.js is not here")
@pytest.mark.parametrize(
    ("first", "seen"),
    [
        ("expired", [200, ["Bearer old", "Bearer new"]]),
        ("invalid", ["log in again", ["Bearer old"]]),
        ("valid", [200, ["Bearer old"]]),
    ],
)
def test_the_script_renews_an_expired_token_only(live: ModuleType, first: str, seen: list[Any]) -> None:
    """The function of the page repeats the request once after an expired token, and not after an invalid one."""
    good = {"status": 200, "body": "{}"}
    sent = {"expired": token(exp=1_700_000_000), "invalid": "nonsense"}
    answers = [good] if first == "valid" else [_problem(live, sent[first]), good]

    done = subprocess.run(
        [NODE, "-e", _HARNESS % CALL, json.dumps(answers)], capture_output=True, text=True, check=True, timeout=60
    )

    assert json.loads(done.stdout) == seen


def test_the_script_offers_the_subprotocol_of_the_carrier() -> None:
    """The line for the page offers ``bearer`` and then the token, to the path of the endpoint."""
    assert re.search(r'/live", \["bearer", token\]\)', SOCKET)
