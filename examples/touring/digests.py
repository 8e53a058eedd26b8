"""The steps with Digest, and the files that they are judged by."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from authguard import digest_ha1
from authguard.testing import digest_auth
from examples.touring.telling import NONCE, Answer, Part, Sent, Step, Told

REALM = "cameras"
PASSWORDS = {"alice": "wonderland", "bob": "builder"}
GROUPS = "operator: alice\n"

BARE = (
    f'Digest realm="{REALM}", qop="auth", algorithm=SHA-256, opaque="11a3b18f93e7dc76", charset=UTF-8, userhash=true, '
    f'nonce="{NONCE}"'
)
STALE = f"{BARE}, stale=true"


def write_files(folder: Path) -> dict[str, str]:
    """The files in this folder, as the settings of examples/camera.py that name them, and a secret."""
    users, groups = folder / "users.htdigest", folder / "users.operators"
    lines = [f"{name}:{REALM}:{digest_ha1(name, REALM, word)}\n" for name, word in PASSWORDS.items()]
    users.write_text("".join(lines), "utf-8")
    groups.write_text(GROUPS, "utf-8")
    return {"USER_FILE": str(users), "GROUP_FILE": str(groups), "DIGEST_SECRET": secrets.token_urlsafe(32)}


@dataclass(frozen=True, slots=True)
class Answering:
    """A request that answers a challenge as ``name:password``, or repeats the header that was sent to ``seen_at``."""

    target: str
    user: str = ""
    method: str = "GET"
    seen_at: str = ""
    served_by: str = "camera"

    @property
    def curl(self) -> str:
        """The same for a shell that has the address in ``$DIGEST``."""
        method = "" if self.method == "GET" else f"-X {self.method} "
        user = f"--digest -u {self.user} " if self.user else ""
        if not self.seen_at:
            return f'curl -i {method}{user}"$DIGEST{self.target}"'
        sent = f'curl -sv {method}{user}"$DIGEST{self.seen_at}" 2>&1'
        seen = "sed -n 's/^> Authorization: //p' | tr -d '\\r'"
        return f'curl -i {method}-H "Authorization: $({sent} | {seen})" "$DIGEST{self.target}"'

    def answers(self, ask: Callable[[Sent], Answer], known: Mapping[str, str]) -> Sequence[Answer]:
        """That of the first request, and that of the last."""
        bare = Sent(self.method, self.seen_at or self.target)
        challenged = ask(bare)
        if not self.user:
            return [challenged]
        name, _, password = self.user.partition(":")
        header = digest_auth(challenged.challenges[0], name, password, method=bare.method, uri=bare.target)
        answered = ask(bare._replace(fields=list(header.items())))
        if not self.seen_at:
            return [challenged, answered]
        return [challenged, ask(Sent(self.method, self.target, list(header.items())))]


STEPS = (
    Step(
        "Nothing presented",
        Answering("/snapshot"),
        Told(401, BARE, "denied credentials.missing"),
        "The nonce is new each time, and says when it was made: nothing is kept of it. Every process knows it again.",
    ),
    Step(
        "The right password",
        Answering("/snapshot?width=640", "alice:wonderland"),
        Told(200, None, "granted"),
        "It was not sent. What was sent is a digest of it, of the nonce, of the method, and of this path and query.",
    ),
    Step(
        "The same header again, as somebody who saw it would send it",
        Answering("/snapshot?width=640", "alice:wonderland", seen_at="/snapshot?width=640"),
        Told(401, STALE, "denied nonce.replayed", "count=1"),
        "Each response is good once. stale=true has a client answer again without asking its user for a password.",
    ),
    Step(
        "The header for another picture",
        Answering("/snapshot?width=1920", "alice:wonderland", seen_at="/snapshot?width=640"),
        Told(400, BARE, "denied uri.mismatch", "differs_in=query"),
        "Right, and for another resource (RFC 7616 section 3.4.6). Behind a proxy that strips paths: public_prefix=.",
    ),
    Step(
        "A wrong password",
        Answering("/snapshot", "alice:looking-glass"),
        Told(401, BARE, "denied response.wrong", "subject?=alice"),
        "No stale=true: a client must ask its user. A name that is in no file gets the same.",
    ),
    Step(
        "The right password, and the role is missing",
        Answering("/ptz/left", "bob:builder", "POST"),
        Told(403, None, "denied role.missing", "missing=[operator]"),
        "The group file gives roles, here as with Basic.",
    ),
)

DIGESTS = Part(
    "Digests: examples/camera.py, with alice and bob in a file of digests, and alice in a group file",
    STEPS,
)
