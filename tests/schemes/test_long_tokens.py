"""Tokens that are longer or written otherwise than usual, for schemes that say so."""

from __future__ import annotations

from typing import Any

import pytest

from authguard import Accepted, Basic, Bearer, ConfigurationError, MemoryUsers, Rejected
from authguard.schemes.carriers import AUTHORIZATION, field_for
from authguard.schemes.scheme import group_by_carrier
from authguard.wire.authorization import MAX_FIELD
from tests.support.guards import RecordingGuard
from tests.support.schemes.badge import Badge
from tests.support.schemes.bearer import bearer, bearer_credentials, bearer_request
from tests.support.schemes.introspection import IntrospectionServer, active_response, introspection
from tests.support.tokens import ISSUER, mint

KIB = 1024


async def statuses(*schemes: Any, fields: list[str]) -> list[tuple[int, str | None]]:
    """The status, and the reason that is recorded, of a request with each of these fields."""
    guard = RecordingGuard(*schemes)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})

    answers = [(await guard.request(app, field=field)).status for field in fields]
    return list(zip(answers, [record.reason for record in guard.records], strict=True))


async def test_a_token_may_have_64_kib_where_that_is_asked_for() -> None:
    """R025: a token of 22 KB passes with ``limit=``, whose field may be as long; without it the field is too long."""
    token = mint(more="x" * 16 * KIB)
    fields = [f"Bearer {token}"] * 2
    assert len(token) > 21 * KIB

    assert await statuses(bearer(limit=64 * KIB), fields=fields) == [(200, None)] * 2
    assert await statuses(bearer(), fields=fields) == [(400, "header.too_long")] * 2
    assert await statuses(bearer(limit=20 * KIB), fields=fields) == [(400, "header.too_long")] * 2


async def test_the_field_is_as_long_as_the_longest_token() -> None:
    """R025: a token of exactly the limit passes, and one byte more is too long, and named as the token."""
    scheme = bearer(limit=32 * KIB)
    token = "a." * 16 * KIB

    assert await statuses(scheme, fields=[f"Bearer {token}", f"BEARER  {token}a", "Bearer " + "a" * 33 * KIB]) == [
        (401, "token.malformed"),
        (401, "token.too_long"),
        (400, "header.too_long"),
    ]


async def test_the_longer_field_is_that_of_its_scheme() -> None:
    """R025: the field of another scheme, and one without a scheme, keep their limit, whatever the order."""
    long = "a" * 20 * KIB
    basic = Basic(MemoryUsers([]), realm="orders")
    expected = [(400, "header.too_long")] * 4

    fields = [f"Basic {long}", f"Badge {long}", long, "Bearer" + long]
    assert await statuses(bearer(limit=64 * KIB), basic, fields=fields) == expected
    assert await statuses(basic, bearer(limit=64 * KIB), fields=fields) == expected


def test_one_carrier_is_asked_for_all_schemes() -> None:
    """Carriers of the field that differ by their limits are one carrier, with the largest limit of each scheme."""
    schemes = [Badge("a"), Badge("b", carrier=field_for("b", 32 * KIB)), Badge("c", carrier=field_for("b", 64 * KIB))]
    ((carrier, names),) = group_by_carrier(schemes)

    assert names == {"a", "b", "c"}
    assert carrier == AUTHORIZATION
    assert getattr(carrier, "limits", None) == {"b": 64 * KIB + 64}
    assert field_for("b", MAX_FIELD - 64) is AUTHORIZATION


@pytest.mark.parametrize("limit", [0, 64 * KIB + 1, 1.5, True, "8192"])
def test_a_limit_is_at_most_64_kib(limit: Any) -> None:
    """A limit is a whole number of bytes, from 1 to 65,536."""
    with pytest.raises(ConfigurationError, match=r"^limit: .* from 1 to 65536"):
        bearer(limit=limit)


# --- opaque tokens ----------------------------------------------------------------------------------------------------

SANCTUM, SALESFORCE = "12|abcDEF", "00Dx0000000BV7z!AR8AQ.x"


async def introspected(token: str, **options: Any) -> tuple[object, int]:
    """The outcome of a token, and how many requests the server got."""
    server = IntrospectionServer(active_response())
    scheme = Bearer(introspection(server, **options), realm="orders")
    return await scheme.authenticate(bearer_request(), bearer_credentials(token)), len(server.requests)


@pytest.mark.parametrize("token", [SANCTUM, SALESFORCE, 'a"b', "a=b", "%#&;<>?@[]{}"])
async def test_an_opaque_token_may_have_any_visible_character_by_name(token: str) -> None:
    """R029: with ``visible_ascii`` the server is asked about any visible ASCII, and the record says so."""
    refused, none_asked = await introspected(token)
    result, asked = await introspected(token, visible_ascii=True)

    assert isinstance(refused, Rejected)
    assert (refused.reason.code, none_asked) == ("credentials.malformed", 0)
    assert isinstance(result, Accepted)
    assert (result.facts, asked) == ({"tolerated": {"token": "not a token68"}}, 1)


async def test_the_token_is_sent_as_it_came() -> None:
    """R029: the server gets the very token, in a form."""
    server = IntrospectionServer(active_response())
    scheme = Bearer(introspection(server, visible_ascii=True), realm="orders")
    await scheme.authenticate(bearer_request(), bearer_credentials(SANCTUM))

    assert [form["token"] for _, _, form in server.requests] == [[SANCTUM]]


@pytest.mark.parametrize("token", ["a b", "a,b", "12|a, Bearer 12|a", "é", "a\x7f", "a\tb", "", "ey.a,b"])
async def test_a_token_has_no_space_and_no_comma(token: str) -> None:
    """R029: what may be two tokens, or none, is malformed all the same."""
    result, asked = await introspected(token, visible_ascii=True)

    assert isinstance(result, Rejected)
    assert (result.reason.code, asked) == ("credentials.malformed", 0)


async def test_a_usual_token_is_not_tolerated() -> None:
    """R029: a token that RFC 6750 allows has no such fact, and a damaged JWT is not sent."""
    result, _ = await introspected("12abc", visible_ascii=True)
    damaged, asked = await introspected(mint(iss=ISSUER)[:-9] + "!", visible_ascii=True)

    assert isinstance(result, Accepted)
    assert result.facts == {}
    assert isinstance(damaged, Rejected)
    assert asked == 0


def test_other_characters_are_switched_on_by_a_flag() -> None:
    """A value that only counts as True raises."""
    with pytest.raises(ConfigurationError, match=r"^visible_ascii: 1 is neither"):
        introspection(visible_ascii=1)
