"""The Basic scheme (RFC 7617): the lines that no other test shows, with requests to an app."""

from __future__ import annotations

import sys
import unicodedata

import pytest

from authguard import Account, AuthGuardMiddleware, Guard
from tests.support.asgi import RecordingApp, header_list, http_scope, run_app
from tests.support.schemes.basic import basic_scheme, memory_users, user_pass

# PRECIS (RFC 8264 section 9) excludes controls, surrogates, unassigned and private-use characters from any string, and
# more characters from names. The RFC says which characters must at least be accepted.
OUTSIDE = {"Cc", "Cs", "Cn", "Co"}
CHARACTERS = [chr(code) for code in range(sys.maxunicode + 1) if unicodedata.category(chr(code)) not in OUTSIDE]
AT_A_TIME = 1024


@pytest.mark.rfc("7617-2")
@pytest.mark.parametrize("name", ["Basic", "basic", "BASIC", "bAsIc"])
async def test_the_name_of_the_scheme_has_no_case(name: str) -> None:
    """Section 2: the name of the scheme is accepted in any case."""
    app = AuthGuardMiddleware(RecordingApp(), guard=Guard(basic_scheme(), log=False))

    answer = await run_app(app, http_scope(headers=header_list(f"{name} {user_pass('alice', 'wonderland').decode()}")))

    assert answer.status == 200


@pytest.mark.rfc("7617-5")
async def test_every_allowed_character_works_in_names_and_passwords() -> None:
    """Section 2.1: all characters of both profiles, and colons in passwords, count. One character more is another
    name."""
    parts = ["".join(CHARACTERS[start : start + AT_A_TIME]) for start in range(0, len(CHARACTERS), AT_A_TIME)]
    logins = {f"{number} {part.replace(':', '')}": part for number, part in enumerate(parts)}
    accounts = [Account(name, f"$fast${unicodedata.normalize('NFC', word)}") for name, word in logins.items()]
    guard = RecordingApp()
    app = AuthGuardMiddleware(guard, guard=Guard(basic_scheme(memory_users(*accounts), throttle=None), log=False))

    answers = [
        await run_app(app, http_scope(headers=header_list(b"Basic " + user_pass(*login)))) for login in logins.items()
    ]
    other = await run_app(
        app, http_scope(headers=header_list(b"Basic " + user_pass(f"{next(iter(logins))}x", parts[0])))
    )

    assert len(CHARACTERS) > 140_000
    assert {answer.status for answer in answers} == {200}
    assert [scope["user"].subject for scope in guard.scopes] == [account.subject for account in accounts]
    assert other.status == 401
