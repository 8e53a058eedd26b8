"""The steps of a DPoP proof: what was sent, what is wanted, and which check has refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from authguard.explain import Explanation, explain
from tests.schemes.dpop.site import URL, Site
from tests.support.asgi import header_list, http_scope


async def explained(site: Site, headers: Mapping[str, str]) -> Explanation:
    """The explanation of a request with these fields."""
    fields = header_list(**{name.lower().replace("-", "_"): value for name, value in headers.items()})
    return await explain(site.app, http_scope("/orders", headers=fields))


def step(told: Explanation, title: str) -> tuple[str, str, str]:
    """Outcome, found and wanted of one step."""
    (found,) = (one for one in told.steps if one.title == title)
    return found.outcome, found.found, found.wanted


async def test_all_checks_of_a_good_proof_are_shown() -> None:
    """Those of the proof, those of the token, and those of both together."""
    told = await explained(site := Site(), site.headers())

    titles = [one.title for one in told.steps]
    assert told.outcome == "granted"
    assert titles[titles.index("DPoP") : titles.index("token")] == ["DPoP", "proof", "its alg", "htm", "htu", "its iat"]
    assert titles[-5:-1] == ["ath", "jkt", "its signature", "jti"]
    assert step(told, "htm") == ("passed", "GET", "GET")
    assert step(told, "htu") == ("passed", f"{URL}/orders", f"{URL}/orders")
    assert step(told, "its iat")[1].endswith(", now")
    assert next(one.line for one in told.steps if one.title == "its iat") == "iat = NOW -- 1 min -- end"


async def test_the_life_of_a_nonce_is_shown() -> None:
    """It counts in place of the clock of the client."""
    site = Site(require_nonce=True)
    first = await site.send(site.headers())
    nonce = first.lines(b"dpop-nonce")[0]
    site.clock.move(30)

    told = await explained(site, site.headers(nonce=nonce))

    assert told.outcome == "granted"
    assert step(told, "its nonce") == ("passed", "minted 30 s ago", "at most 5 min ago")


@pytest.mark.parametrize(
    ("options", "headers", "title", "found"),
    [
        ({}, lambda site: {**site.headers(), "DPoP": ""} | {"DPoP": "x"}, "proof", "1 bytes: not three parts"),
        ({}, lambda site: {name: text for name, text in site.headers().items() if name != "DPoP"}, "DPoP", "no fields"),
        ({}, lambda site: site.headers(method="POST"), "htm", "POST"),
        ({}, lambda site: site.headers(path="/other"), "htu", f"{URL}/other"),
        ({"require_nonce": True}, lambda site: site.headers(), "its nonce", "none"),
        ({}, lambda site: site.headers(nonce="theirs"), "its nonce", "not one of ours"),
        ({}, lambda site: site.thief.headers(site.token, "GET", f"{URL}/orders"), "jkt", "what the token is bound to"),
        (
            {},
            lambda site: site.client.headers(site.issuer.token("alice"), "GET", f"{URL}/orders"),
            "jkt",
            "cnf=",
        ),
    ],
    ids=["malformed", "missing", "method", "uri", "no nonce", "their nonce", "thief", "unbound"],
)
async def test_the_check_that_refuses_is_named(options: dict[str, Any], headers: Any, title: str, found: str) -> None:
    """It alone has failed, and what comes after it is not reached."""
    site = Site(**options)

    told = await explained(site, headers(site))

    assert told.outcome == "denied"
    assert [one.title for one in told.steps if one.outcome == "failed"] == [title]
    assert step(told, title)[1].startswith(found)


async def test_an_old_proof_is_told_with_its_age() -> None:
    """With the same line of times as a token that has expired."""
    site = Site()
    headers = site.headers()
    site.clock.move(121)

    told = await explained(site, headers)

    assert step(told, "its iat")[0] == "failed"
    assert "121" in step(told, "its iat")[1] or "2 min" in step(told, "its iat")[1]
