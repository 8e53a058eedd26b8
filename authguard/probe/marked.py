"""The requests that ``authguard probe --through`` sends to ``authguard echo``, made from a one-time mark.

Both sides know them from the mark alone. So the echo can show what it was sent and nothing else, and the probe can say
what has changed on the way.
"""

from __future__ import annotations

import re
import secrets
from base64 import b64encode
from collections.abc import Sequence

from authguard.value_types import value

#: The segment of the path before the mark, the name of the query parameter, and that of the field in lower case.
NAME = "authguard-probe"
FIELD = "x-authguard-probe"
MARK = re.compile(r"[0-9a-f]{32}")

#: Fields that an app behind a proxy believes. A client must not be able to write them.
BELIEVED = (
    *("Forwarded", "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Real-IP"),
    *("X-Forwarded-User", "Remote-User", "Client-Cert"),
)


@value
class MarkedRequest:
    """One request. ``rest`` is its path and ``query`` its query after the mark; ``authorization`` each such line."""

    kind: str
    mark: str
    authorization: Sequence[str] = ()
    other: Sequence[tuple[str, str]] = ()
    rest: str = ""
    more_query: str = ""

    @property
    def suffix(self) -> str:
        """The end of the path."""
        return f"/{NAME}/{self.mark}/{self.kind}{self.rest}"

    @property
    def query(self) -> str:
        """The whole query."""
        return f"{NAME}={self.mark}.{self.kind}{self.more_query}"

    @property
    def fields(self) -> list[tuple[str, str]]:
        """All fields, in order."""
        return [
            ("X-Authguard-Probe", f"{self.mark}.{self.kind}"),
            *(("Authorization", text) for text in self.authorization),
            *self.other,
        ]


def new_mark() -> str:
    """A mark that nobody can guess."""
    return secrets.token_hex(16)


def marked_requests(mark: str) -> list[MarkedRequest]:
    """The requests of one probe, in order. The last one ends the echo."""
    user_pass = b64encode(f"{mark}:p\u00e4ss?w\u00f6rd>:\u00ff".encode()).decode()
    digest = (
        f'Digest username="{mark}", realm="a \\"b\\", c", nonce="{mark}/+==", uri="/{NAME}?a=b,c", '
        f'response="{"0" * 32}", algorithm=SHA-256, qop=auth, nc=00000001, cnonce="d e"'
    )
    # Each character that a token may have (RFC 6750 section 2.1).
    bearer = f"Bearer {mark}.AZaz09-_~+/=="
    sent_along = ("X-API-Key", f"key-{mark}"), ("Cookie", f"__Host-session=cookie-{mark}")
    return [
        MarkedRequest("bearer", mark, [bearer], sent_along),
        MarkedRequest("basic", mark, [f"Basic {user_pass}"]),
        MarkedRequest("digest", mark, [digest]),
        MarkedRequest("two", mark, [f"Bearer {mark}.one", f"Bearer {mark}.two"]),
        MarkedRequest("path", mark, rest="/a%2Fb//c%20d/%7Ee;f=g/", more_query="&x=a%20b+c&x=%2F&y="),
        MarkedRequest("forged", mark, other=[(name, f"forged-{mark}") for name in BELIEVED]),
        MarkedRequest("end", mark),
    ]
