"""What the ``iss`` of an issuer's tokens may be: one text, several, a template with a claim in it, or nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import TypeAlias

from authguard.difference import difference
from authguard.errors import ConfigurationError
from authguard.model import Failure
from authguard.reasons import TOKEN_CLAIM_INVALID, TOKEN_CLAIM_MISSING, TOKEN_ISSUER_UNKNOWN
from authguard.schemes.bearer.claims import (
    ANY_ISSUER,
    ANY_TENANT,
    NO_ISSUER,
    Claims,
    Unchecked,
    invalid_claim,
    missing_claim,
)
from authguard.validation import names
from authguard.value_types import frozen

#: The argument ``issuer``.
IssuerArgument: TypeAlias = str | Unchecked | Sequence[str | Unchecked]
#: The argument ``tenants``.
TenantsArgument: TypeAlias = Iterable[str] | Unchecked | None

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_BRACE = re.compile(r"[{}]")
# A tenant stands for a part of one segment of a URL, so that nothing but its name is open.
_TENANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._~-]{0,127}")
# Microsoft's metadata write {tenantid}, and the claim is `tid`.
_CLAIM_OF = {"tenantid": "tid"}


@frozen
class IssuerTemplate:
    """An ``iss`` that has the value of a claim in it: ``https://login.example/{tid}/v2.0``."""

    prefix: str
    claim: str
    suffix: str

    def tenant_of(self, iss: str) -> str | None:
        """The value in this ``iss``; None if the template does not fit."""
        if not iss.startswith(self.prefix) or not iss.endswith(self.suffix):
            return None
        tenant = iss[len(self.prefix) : len(iss) - len(self.suffix)]
        return tenant if _TENANT.fullmatch(tenant) else None

    def of(self, tenant: str) -> str:
        """The ``iss`` of this tenant."""
        return f"{self.prefix}{tenant}{self.suffix}"


@frozen
class IssuerNames:
    """The ``iss`` of one issuer's tokens.

    ``label``: how a log names the issuer. ``exact``: each text that is accepted; of a template with a closed list of
    tenants, one for each tenant. ``templates``: all of them; ``is_open``: whether they take any tenant. ``is_any``:
    whether ``iss`` is not checked; ``may_be_missing``: whether tokens without ``iss`` are this issuer's.
    """

    label: str
    exact: frozenset[str] = frozenset()
    templates: tuple[IssuerTemplate, ...] = ()
    is_open: bool = False
    is_any: bool = False
    may_be_missing: bool = False

    def accept(self, iss: object) -> bool:
        """Whether a token with this ``iss`` (None: without one) is this issuer's."""
        if self.is_any:
            return True
        if iss is None:
            return self.may_be_missing
        return isinstance(iss, str) and (iss in self.exact or self.fits_open_template(iss))

    def fits_open_template(self, iss: str) -> bool:
        """Whether a template that takes any tenant fits."""
        return self.is_open and any(template.tenant_of(iss) is not None for template in self.templates)

    def allow_key(self, key_issuer: str, iss: object) -> bool:
        """Whether a key whose JWK names this issuer may sign a token with this ``iss``.

        A provider publishes the keys of all tenants at one URL, and some of them are the keys of one tenant alone.
        """
        return key_issuer == iss or all(template.tenant_of(key_issuer) is None for template in self.templates)

    @property
    def is_one_of_many(self) -> bool:
        """Whether a token with an accepted ``iss`` may have another one than the next token."""
        return self.is_any or len(self.exact) + self.may_be_missing != 1

    def spellings(self) -> tuple[str, ...]:
        """What a log says is wanted: each text, and each template in place of the texts of its tenants."""
        of_templates = {text for text in self.exact if any(template.tenant_of(text) for template in self.templates)}
        templates = [template.of(f"{{{template.claim}}}") for template in self.templates]
        return (*templates, *sorted(self.exact - of_templates), *(["NO_ISSUER"] if self.may_be_missing else ()))

    def tenant_of(self, iss: str) -> str | None:
        """The tenant in this ``iss``, if a template fits, whether or not it is listed."""
        return next(filter(None, (template.tenant_of(iss) for template in self.templates)), None)

    def tenant_failure(self, claims: Claims) -> Failure | None:
        """Why the claim of a template is not the one in ``iss``; None if it is, or if no template fits."""
        iss = claims.get("iss")
        for template in self.templates:
            tenant = template.tenant_of(iss) if isinstance(iss, str) else None
            if tenant is None:
                continue
            stated = claims.get(template.claim)
            if stated == tenant:
                return None
            if stated is None:
                return Failure(TOKEN_CLAIM_MISSING, {"claim": template.claim, "wanted": tenant})
            found = stated if isinstance(stated, str) else type(stated).__name__
            return Failure(TOKEN_CLAIM_INVALID, {"claim": template.claim, "found": found, "wanted": tenant})
        return None


#: With how many of the accepted texts an unknown one is compared.
MAX_COMPARED = 64


@frozen
class WantedIssuers:
    """All issuers that are accepted together, for the record of a token that names none of them."""

    names: tuple[IssuerNames, ...]
    #: Their spellings: one, or several.
    wanted: str | tuple[str, ...]
    #: Each text that is accepted, as far as a found one is compared with them.
    exact: tuple[str, ...]

    @classmethod
    def of(cls, *names: IssuerNames) -> WantedIssuers:
        """Those of these names."""
        spellings = tuple(spelling for one in names for spelling in one.spellings())
        exact = tuple(islice((text for one in names for text in sorted(one.exact)), MAX_COMPARED))
        return cls(names, spellings[0] if len(spellings) == 1 else spellings, exact)

    def failure(self, claims: Claims) -> Failure:
        """Why the ``iss`` of these claims is none of these issuers."""
        if "iss" not in claims:
            return missing_claim("iss", claims, wanted=self.wanted)
        iss = claims["iss"]
        if not isinstance(iss, str):
            return invalid_claim("iss", iss, "a string")
        facts: dict[str, object] = {"issuer": iss, "wanted": self.wanted}
        fitting = next((one for one in self.names if one.tenant_of(iss) is not None), None)
        if fitting is not None:
            differs_by = "two templates fit it" if fitting.is_open else "a tenant that is not listed"
            return Failure(TOKEN_ISSUER_UNKNOWN, {**facts, "tenant": fitting.tenant_of(iss), "differs_by": differs_by})
        like = difference(iss, self.exact)
        return Failure(TOKEN_ISSUER_UNKNOWN, facts if like is None else {**facts, "differs_by": like})


def check_issuer(issuer: IssuerArgument, tenants: TenantsArgument = None) -> IssuerNames:
    """The arguments ``issuer`` and ``tenants``. Raises ``ConfigurationError``."""
    if issuer is ANY_ISSUER:
        if tenants is not None:
            raise ConfigurationError("tenants", "with ANY_ISSUER there is nothing to put a tenant into; leave it out")
        return IssuerNames("ANY_ISSUER", is_any=True)
    if isinstance(issuer, Unchecked | str):
        spellings: tuple[object, ...] = (issuer,)
    else:
        spellings = tuple(issuer) if isinstance(issuer, Iterable) else ()
    if not spellings or not all(
        spelling is NO_ISSUER or (isinstance(spelling, str) and spelling) for spelling in spellings
    ):
        raise ConfigurationError(
            "issuer",
            "give the exact `iss` of its tokens, or several in a list; NO_ISSUER if they have none; or ANY_ISSUER",
        )
    texts = [spelling for spelling in spellings if isinstance(spelling, str)]
    templates = tuple(_template(text) for text in texts if _BRACE.search(text))
    exact = [text for text in texts if not _BRACE.search(text)]
    exact += [template.of(tenant) for template in templates for tenant in _closed_list(templates, tenants)]
    if tenants is not None and not templates:
        raise ConfigurationError(
            "tenants", 'no spelling of issuer= has a {claim}; write "https://login.example/{tid}/v2.0"'
        )
    return IssuerNames(
        texts[0] if texts else "NO_ISSUER",
        frozenset(exact),
        templates,
        is_open=tenants is ANY_TENANT,
        may_be_missing=NO_ISSUER in spellings,
    )


def _template(text: str) -> IssuerTemplate:
    placeholders: Sequence[str] = _PLACEHOLDER.findall(text)
    prefix, _, rest = text.partition("{")
    _, _, suffix = rest.partition("}")
    if len(placeholders) != 1 or not placeholders[0] or not prefix or _BRACE.search(prefix + suffix):
        raise ConfigurationError(
            "issuer", f'{text!r} is not a template with one claim; write "https://login.example/{{tid}}/v2.0"'
        )
    name: str = placeholders[0]
    return IssuerTemplate(prefix, _CLAIM_OF.get(name) or name, suffix)


def _closed_list(templates: Sequence[IssuerTemplate], tenants: TenantsArgument) -> frozenset[str]:
    if not templates or tenants is ANY_TENANT:
        return frozenset()
    if tenants is None or isinstance(tenants, Unchecked):
        raise ConfigurationError(
            "tenants", f"list the values of {templates[0].claim} that are accepted; or ANY_TENANT, for whoever has one"
        )
    listed = names("tenants", tenants)
    for tenant in listed:
        if not _TENANT.fullmatch(tenant):
            raise ConfigurationError("tenants", f"{tenant!r} is no part of a URL; give letters, digits and .-_~ alone")
    if not listed:
        raise ConfigurationError("tenants", "the list is empty; nobody could log in")
    return listed
