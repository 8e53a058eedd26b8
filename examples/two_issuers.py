"""Two issuers: staff of our own, and a partner's, whose tokens say other things. The partner can be let go at run time.

ISSUER_PUBLIC_KEY="$(cat ours.pem)" PARTNER_PUBLIC_KEY="$(cat theirs.pem)" uvicorn examples.two_issuers:app
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI

from authguard import PEM, Bearer, Guard, Issuer, Rule, claim, role
from authguard.fastapi import CurrentPrincipal, install


def partner_roles(claims: Mapping[str, Any]) -> set[str]:
    """Whatever a partner calls its people, here they are buyers: no issuer makes admins of another's."""
    return {"buyer"} if "purchasing" in claims.get("departments", []) else set()


staff = Issuer(
    "https://login.example/",
    audience="stock",
    algorithms=["RS256"],
    keys=PEM(os.environ["ISSUER_PUBLIC_KEY"]),
    roles=claim("realm_access", "roles"),
)
partner = Issuer(
    "https://id.partner.example",
    audience="https://stock.example",
    algorithms=["RS256"],
    keys=PEM(os.environ["PARTNER_PUBLIC_KEY"]),
    roles=partner_roles,
)
# A token is verified with the keys of the issuer that it names, and with no other's.
bearer = Bearer(staff, partner, realm="stock")
guard = Guard(
    bearer,
    rules=[Rule("/stock", role("buyer")), Rule("/admin/**", role("admin"))],
    role_hierarchy={"admin": {"buyer"}},
)

app = FastAPI(title="stock")
install(app, guard)


@app.get("/stock")
def stock(who: CurrentPrincipal) -> dict[str, str]:
    """Two issuers may have an alice each: who that is takes both claims."""
    return {"asked by": f"{who.claims['iss']} {who.subject}"}


@app.put("/admin/partner/{state}")
async def switch(state: bool) -> dict[str, bool]:
    """From the next request on; what is under way goes on by what it began with."""
    bearer.replace(*([staff, partner] if state else [staff]))
    return {"partner": state}


@app.get("/admin/clocks")
def clocks() -> dict[str, object]:
    """How far the clock of each issuer seems to be from ours."""
    return dict(bearer.health())
