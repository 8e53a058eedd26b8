"""The steps with Digest, and the files that they need."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from authguard import digest_ha1
from authguard.testing import digest_auth
from examples.tour.step import ANY_NONCE, Expected, Part, Request, Response, Send, Step

REALM = "cameras"
PASSWORDS = {"alice": "wonderland", "bob": "builder"}
GROUPS = "operator: alice\n"

CHALLENGE = (
    f'Digest realm="{REALM}", qop="auth", algorithm=SHA-256, opaque="11a3b18f93e7dc76", charset=UTF-8, userhash=true, '
    f'nonce="{ANY_NONCE}"'
)
STALE = f"{CHALLENGE}, stale=true"


def write_files(folder: Path) -> dict[str, str]:
    """Write the files into this folder, and return the settings of examples/camera.py: both files, and a secret."""
    users, groups = folder / "users.htdigest", folder / "users.operators"
    lines = [f"{name}:{REALM}:{digest_ha1(name, REALM, password)}\n" for name, password in PASSWORDS.items()]
    users.write_text("".join(lines), "utf-8")
    groups.write_text(GROUPS, "utf-8")
    return {"USER_FILE": str(users), "GROUP_FILE": str(groups), "DIGEST_SECRET": secrets.token_urlsafe(32)}


@dataclass(frozen=True, slots=True)
class DigestRequest:
    """A request that answers a challenge as ``name:password``.

    With ``replayed_from``, the header for that target is computed and sent there first, and then sent to ``target``.
    """

    target: str
    user: str = ""
    method: str = "GET"
    replayed_from: str = ""
    served_by: str = "camera"

    @property
    def curl(self) -> str:
        """The request as a shell command, with the address in ``$DIGEST``."""
        method = "" if self.method == "GET" else f"-X {self.method} "
        user = f"--digest -u {self.user} " if self.user else ""
        if not self.replayed_from:
            return f'curl -i {method}{user}"$DIGEST{self.target}"'
        first = f'curl -sv {method}{user}"$DIGEST{self.replayed_from}" 2>&1'
        header = "sed -n 's/^> Authorization: //p' | tr -d '\\r'"
        return f'curl -i {method}-H "Authorization: $({first} | {header})" "$DIGEST{self.target}"'

    def run(self, send: Send, tokens: Mapping[str, str]) -> Sequence[Response]:
        """Get a challenge, and answer it. The last response is the one to show."""
        request = Request(self.method, self.replayed_from or self.target)
        challenged = send(request)
        if not self.user:
            return [challenged]
        name, _, password = self.user.partition(":")
        header = digest_auth(challenged.challenges[0], name, password, method=request.method, uri=request.target)
        answered = send(request._replace(headers=list(header.items())))
        if not self.replayed_from:
            return [challenged, answered]
        return [challenged, send(Request(self.method, self.target, list(header.items())))]


STEPS = (
    Step(
        "No credentials",
        DigestRequest("/snapshot"),
        Expected(401, CHALLENGE, "denied credentials.missing"),
        "Each challenge has a new nonce. It carries its time and a signature, so the server need not store it, and "
        "every process that has the secret accepts it.",
    ),
    Step(
        "The right password",
        DigestRequest("/snapshot?width=640", "alice:wonderland"),
        Expected(200, None, "granted"),
        "The password itself was not sent. The client sent a hash of the password, the nonce, the method, and this "
        "path and query.",
    ),
    Step(
        "The same header again, as an eavesdropper would send it",
        DigestRequest("/snapshot?width=640", "alice:wonderland", replayed_from="/snapshot?width=640"),
        Expected(401, STALE, "denied nonce.replayed", "count=1"),
        "Each header is accepted once. stale=true tells the client to use the new nonce, and not to ask its user for "
        "the password again.",
    ),
    Step(
        "The same header, for another picture",
        DigestRequest("/snapshot?width=1920", "alice:wonderland", replayed_from="/snapshot?width=640"),
        Expected(400, CHALLENGE, "denied uri.mismatch", "differs_in=query"),
        "The header is right, but for another resource (RFC 7616 section 3.4.6). If a proxy strips a prefix from the "
        "path, name the prefix with public_prefix=.",
    ),
    Step(
        "A wrong password",
        DigestRequest("/snapshot", "alice:looking-glass"),
        Expected(401, CHALLENGE, "denied response.wrong", "subject?=alice"),
        "Without stale=true, the client asks for the password again. A name that is not in the file gets the same "
        "response.",
    ),
    Step(
        "The right password, without the required role",
        DigestRequest("/ptz/left", "bob:builder", "POST"),
        Expected(403, None, "denied role.missing", "missing=[operator]"),
        "The roles come from the group file, as with Basic.",
    ),
)

DIGEST = Part("Digest: examples/camera.py, with alice and bob in a file of digests, and alice in a group file", STEPS)
