"""A guard that looks at one header field alone selects the same credentials as by asking the carrier."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from authguard import Guard, Header, Rule, via
from authguard.core.credential_selection import select_credentials
from authguard.model import Moment, Rejected
from authguard.request import AuthRequest
from authguard.wire.authorization import MAX_FIELD, Credentials
from tests.support.asgi import http_scope
from tests.support.clock import NOW
from tests.support.schemes.api_key import api_key_scheme, key_text
from tests.support.schemes.bearer import bearer

KEY = key_text().encode()
LINES: Sequence[Sequence[bytes]] = [
    *([], [b""], [b" "], [b"\t"], [KEY], [b" " + KEY], [KEY + b"\t"], [b"a b"], [b"\xff\x00"]),
    *([KEY, KEY], [KEY, b"x"], [b"", KEY], [b"x" * MAX_FIELD], [b"x" * (MAX_FIELD + 1)], [b" " + b"x" * MAX_FIELD]),
]


class LoudField(Header):
    """A field whose credentials are in capital letters."""

    def find(self, request: AuthRequest) -> Sequence[Credentials] | Rejected:
        return [Credentials(self.auth_scheme, line.upper()) for line in request.lines(b"x-api-key")]


GUARDS: dict[str, Guard] = {
    "one": Guard(api_key_scheme()),
    "a prefix": Guard(api_key_scheme(carrier=Header("X-API-Key", prefix="Key"))),
    "a class of the app's own": Guard(api_key_scheme(carrier=LoudField("X-API-Key"))),
    "beside another scheme": Guard(api_key_scheme(), bearer()),
    "two of one field": Guard(
        api_key_scheme(),
        api_key_scheme(name="other"),
        default=via("api-key"),
        rules=[Rule("/other", via("other"))],
    ),
    "a token in a field": Guard(bearer(carrier=Header("X-API-Key"))),
}


@pytest.mark.parametrize("lines", LINES, ids=lambda lines: repr([line[:8] for line in lines]))
@pytest.mark.parametrize("name", GUARDS)
def test_the_same_is_selected(name: str, lines: Sequence[bytes]) -> None:
    """The same credentials, or the same denial."""
    guard = GUARDS[name]
    headers = [(b"host", b"x"), *((b"x-api-key", line) for line in lines), (b"accept", b"*/*")]
    request = AuthRequest(http_scope(headers=headers), "/", Moment(NOW, 60.0))
    resolved = guard.requirements[guard.table.default.requirement]

    selected = guard._fast_path._select(request, resolved)

    assert selected == select_credentials(request, guard._fast_path._carriers, resolved)


def test_only_a_guard_with_one_plain_field_reads_it_by_itself() -> None:
    """All others ask their carriers."""
    reads = {name: guard._fast_path._plain_field is not None for name, guard in GUARDS.items()}

    assert reads == {
        "one": True,
        "a prefix": False,
        "a class of the app's own": False,
        "beside another scheme": False,
        "two of one field": True,
        "a token in a field": True,
    }
