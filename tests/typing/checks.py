"""The check of docs/guide/rules.md, word for word. Run by the type checkers, not by pytest."""

from dataclasses import replace

from authguard import AuthRequest, Principal, Reason, Rejected

ROLES = {"alice": {"editor"}, "bob": set[str]()}  # your database


async def known(request: AuthRequest, principal: Principal) -> Principal | Rejected:
    roles = ROLES.get(principal.subject)
    if roles is None:
        return Rejected(Reason("user.removed", 403))
    return replace(principal, roles=principal.roles | roles)
