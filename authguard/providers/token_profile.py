"""The description of a provider's tokens, and the check of what is its own in them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from authguard.model import Failure
from authguard.reasons import TOKEN_CLAIM_INVALID, TOKEN_CLAIM_MISSING
from authguard.value_types import frozen

Claims: TypeAlias = Mapping[str, Any]
#: Why a token is refused, by its claims; None if this rule has nothing against it.
ClaimRule: TypeAlias = Callable[[Claims], Failure | None]
#: The name of a claim, or the names from the outermost object to it.
Path: TypeAlias = tuple[str, ...]


@frozen
class ProviderCheck:
    """The ``check`` of a provider's issuer: all of its rules, in order.

    The rules read the claims and nothing else, so their answer stays true for a token that was verified once.
    """

    rules: tuple[ClaimRule, ...]

    # ``Issuer`` reads this: a token is remembered together with the answer.
    depends_on_claims_alone = True

    def __call__(self, claims: Claims) -> bool | Failure:
        for rule in self.rules:
            if (failure := rule(claims)) is not None:
                return failure
        return True


@frozen
class TokenProfile:
    """What the tokens of a provider look like.

    ``issuers``: the spellings of ``iss``. ``keys_url``: where the key set is; None if only the issuer's metadata say.
    ``tenants``: the accepted values of the claim in an issuer that is a template. ``roles`` and ``scopes``: the claims
    that hold them. ``typ``: the accepted types in the header; None for the usual ones.
    """

    issuers: tuple[str, ...]
    keys_url: str | None
    algorithms: tuple[str, ...] = ("RS256",)
    tenants: frozenset[str] | None = None
    roles: tuple[Path, ...] = ()
    scopes: tuple[Path, ...] = ()
    typ: tuple[str | None, ...] | None = None
    rules: tuple[ClaimRule, ...] = ()


def require_one_of(path: Path, wanted: frozenset[str]) -> ClaimRule:
    """The rule that a claim is one of these texts."""
    name, texts = ".".join(path), tuple(sorted(wanted))

    def rule(claims: Claims) -> Failure | None:
        found = _value(claims, path)
        if isinstance(found, str) and found in wanted:
            return None
        return _failure(name, found, texts)

    return rule


def require_client(names: tuple[str, ...], clients: frozenset[str] | None) -> ClaimRule:
    """The rule that one of these claims names the client that the token was issued to, and that it is a listed one.

    ``clients`` is None if any client may call. Even then a token must name one: access tokens of these providers do,
    and ID tokens do not.
    """
    label, texts = " or ".join(names), None if clients is None else tuple(sorted(clients))

    def rule(claims: Claims) -> Failure | None:
        for name in names:
            found = claims.get(name)
            if found is not None:
                is_listed = isinstance(found, str) and found and (clients is None or found in clients)
                return None if is_listed else _failure(name, found, texts or "the client of an access token")
        return Failure(TOKEN_CLAIM_MISSING, {"claim": label, "wanted": texts or "the client of an access token"})

    return rule


def _value(claims: Claims, path: Path) -> object:
    value: object = claims
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _failure(name: str, found: object, wanted: object) -> Failure:
    if found is None:
        return Failure(TOKEN_CLAIM_MISSING, {"claim": name, "wanted": wanted})
    shown = found if isinstance(found, str) else type(found).__name__
    return Failure(TOKEN_CLAIM_INVALID, {"claim": name, "found": shown, "wanted": wanted})
