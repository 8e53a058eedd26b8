"""The header that a client sends for Digest."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import replace

from authguard.schemes.offered import offered
from authguard.wire.authorization import Credentials
from authguard.wire.challenge import Challenge
from authguard.wire.digest import DigestCredentials, expected, ha1, session

_UNKNOWN = b"0" * 64


def digest_auth(
    challenge: str | Sequence[str], username: str, password: str, *, method: str = "GET", uri: str = "/", count: int = 1
) -> dict[str, str]:
    """What a client answers to a challenge: ``digest_auth(response.headers["www-authenticate"], "alice", "s3cret")``.

    ``uri`` is the path and the query as they are sent; ``count`` says how many requests were made with this challenge.
    Of several challenges give all, ``response.headers.get_list("www-authenticate")``: the first is answered. Or have a
    client do the same: ``client.get("/", auth=httpx2.DigestAuth("alice", "s3cret"))``. Raises ``ValueError`` for
    what is no challenge of ``Digest``.
    """
    first = challenge if isinstance(challenge, str) else next(iter(challenge), "")
    read = Challenge.from_header(first.encode("latin-1"))
    asked = {name: read.get(name) for name in ("realm", "nonce", "opaque", "algorithm")}
    realm, nonce, opaque, algorithm = asked.values()
    offers_auth = read.scheme.lower() == "digest" and "auth" in (read.get("qop") or "").replace(",", " ").split()
    if not offers_auth or realm is None or nonce is None or opaque is None or algorithm is None:
        msg = "this is no challenge of Digest with qop=auth"
        raise ValueError(msg)
    (one,) = offered([algorithm])
    unanswered = DigestCredentials(
        username,
        realm.encode(),
        nonce.encode(),
        uri.encode(),
        _UNKNOWN,
        b"auth",
        secrets.token_hex(8).encode(),
        b"%08x" % count,
        one.name,
        opaque.encode(),
    )
    a1 = ha1(one.hashed, username, realm, password)
    if one.session:
        a1 = session(one.hashed, a1, unanswered.nonce, unanswered.cnonce)
    answered = replace(unanswered, response=expected(one.hashed, a1, unanswered, method.encode()))
    return {"Authorization": Credentials("Digest", answered.to_auth_params()).to_header().decode("latin-1")}
