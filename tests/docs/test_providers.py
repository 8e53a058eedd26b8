"""The page about providers is true: its programs build issuers, and it names every provider and every argument."""

from __future__ import annotations

import inspect
import re
from typing import Any

import pytest

from authguard import Bearer, Issuer
from authguard.schemes.bearer.provider_issuers import ProviderIssuers
from tests.providers import test_keycloak
from tests.support.markdown import DOCS, code_blocks
from tests.support.providers import signed
from tests.support.schemes.bearer import bearer, explained_rejection

PAGE = DOCS / "providers.md"
METHODS = [name for name, value in vars(ProviderIssuers).items() if isinstance(value, classmethod)]
TEXT = PAGE.read_text("utf-8")


def test_each_block_builds_the_issuers_that_it_names() -> None:
    """Every program of the page makes issuers, which one scheme takes together."""
    for block in code_blocks("python", PAGE):
        names: dict[str, Any] = {}
        exec(compile(block, "providers.md", "exec", dont_inherit=True), names)
        issuers = [value for value in names.values() if isinstance(value, Issuer)]

        assert len(issuers) == block.count("Issuer.")
        assert all(Bearer(issuer, realm="shop") for issuer in issuers)


@pytest.mark.parametrize("method", METHODS)
def test_each_provider_and_argument_is_on_the_page(method: str) -> None:
    """A section calls the method, and the page names each of its own arguments."""
    own = [
        name
        for name, parameter in inspect.signature(getattr(Issuer, method)).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY
    ]
    (section,) = [part for part in TEXT.split("\n## ")[1:] if f"Issuer.{method}(" in part and "**Judged.**" in part]

    assert [name for name in own if not re.search(rf"\b{name}\b", section) and f"`{name}=`" not in TEXT] == []


@pytest.mark.block("providers.md", "denied token.claim_invalid")
def test_the_records_of_the_page_are_real() -> None:
    """The two refusals have the facts that the page shows."""
    scheme = bearer(test_keycloak.keycloak(clients=["batch", "web"]))

    assert explained_rejection(scheme, signed(test_keycloak.ACCESS_TOKEN, {"azp": "game"})) == (
        "token.claim_invalid",
        {"claim": "azp", "found": "game", "wanted": ("batch", "web")},
    )
    assert explained_rejection(scheme, signed(test_keycloak.ACCESS_TOKEN, {"typ": "ID"})) == (
        "token.type_refused",
        {"claim": "typ", "typ": "ID", "wanted": "an access token"},
    )


def test_the_table_has_a_row_for_each_section() -> None:
    """The first table links the section of every provider."""
    linked = re.findall(r"^\| \[[^\]]+\]\(#([\w-]+)\) \|", TEXT, re.MULTILINE)
    sections = [
        part.partition("\n")[0].lower().replace(" ", "-") for part in TEXT.split("\n## ")[1:] if "**Judged.**" in part
    ]

    assert sorted(linked) == sorted(sections)
    assert len(linked) == len(METHODS)
