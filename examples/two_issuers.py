"""Two issuers: our staff, and a partner whose tokens have other claims. The partner can be removed at run time.

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
    """Map the partner's departments to our roles. Nothing in a partner's token can grant another role than buyer."""
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
# A token is verified only with the keys of the issuer that it names.
bearer = Bearer(staff, partner, realm="stock")
guard = Guard(
    bearer,
    rules=[Rule("/stock", role("buyer")), Rule("/admin/**", role("admin"))],
    role_hierarchy={"admin": {"buyer"}},
)

app = FastAPI(title="stock")
install(app, guard)


@app.get("/stock")
def stock(principal: CurrentPrincipal) -> dict[str, str]:
    """Both issuers may have a user alice. Only issuer and subject together identify a user."""
    return {"asked by": f"{principal.claims['iss']} {principal.subject}"}


@app.put("/admin/partner/{enabled}")
async def switch(enabled: bool) -> dict[str, bool]:
    """Add or remove the partner, from the next request on. Requests that are being served are not affected."""
    bearer.replace(*([staff, partner] if enabled else [staff]))
    return {"partner": enabled}


@app.get("/admin/clocks")
def clocks() -> dict[str, object]:
    """How far the clock of each issuer seems to be from this server's clock."""
    return dict(bearer.health())
