"""The page about API keys is true: its programs run, and its line of the log is written."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from authguard import Guard
from authguard.accounts.api_key_file import write_keys
from authguard.fastapi import CurrentPrincipal, install
from authguard.wire.api_key import ApiKeyText
from tests.docs.refusals import REFUSALS, shown
from tests.support.markdown import DOCS, code_blocks
from tests.support.tokens import public_pem, rsa_key

pytestmark = pytest.mark.block("schemes/api-keys.md")

PAGE = DOCS / "schemes" / "api-keys.md"


@pytest.fixture(name="page")
def _page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The names of the programs of the page, which go on where the one before ended."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ISSUER_PUBLIC_KEY", public_pem(rsa_key()).decode())
    Path("keys.json").write_bytes(write_keys([]))
    names: dict[str, Any] = {}
    for block in code_blocks("python", PAGE):
        exec(compile(block, str(PAGE), "exec", dont_inherit=True), names)
    return names


def answer(scheme: Any, headers: dict[str, str]) -> Any:
    """The answer of an app behind this scheme."""
    app = FastAPI()
    install(app, Guard(scheme))

    @app.get("/orders")
    def orders(principal: CurrentPrincipal) -> str:
        return principal.subject

    return TestClient(app).get("/orders", headers=headers)


def test_a_key_is_what_the_page_says(page: dict[str, Any]) -> None:
    """Its text has these parts, the pattern for scanners finds it, and a rotation writes two keys."""
    text = page["new"].text
    pattern = re.search(r"`(acme_\(live.*?)`", PAGE.read_text(encoding="utf-8"))

    assert pattern is not None
    assert re.fullmatch(pattern[1], text)
    assert ApiKeyText.parse(text.encode()).label == "acme_live"
    assert page["new"].stored.digest == hashlib.sha256(text.encode()).hexdigest()
    assert [key.owner for key in page["changed"]] == ["alice", "alice"]
    assert page["rotation"].old.successor == page["rotation"].new.stored.id


def test_the_file_and_the_keys_under_bearer_let_owners_in(page: dict[str, Any]) -> None:
    """A key that the file does not have is refused there."""
    text = page["new"].text

    refused = answer(page["keys"], {"X-API-Key": text})
    assert refused.headers["www-authenticate"] == 'ApiKey realm="orders", header="X-API-Key"'
    assert answer(page["bearer"], {"Authorization": f"Bearer {text}"}).json() == "alice"
    assert answer(page["tested"].schemes[0], page["headers"]).json() == "robot"
    assert answer(page["sessions"], {"Authorization": "Bearer token-of-alice"}).json() == "alice"


async def test_a_test_key_is_recorded_as_the_page_shows() -> None:
    """The line in the log is that of the page."""
    record = await REFUSALS["api_key.wrong_environment"][0]()

    assert code_blocks("text", PAGE) == [f"{shown(record)}\n"]
