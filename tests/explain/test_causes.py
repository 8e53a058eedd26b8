"""Twelve causes of a refusal: each can be named from its explanation alone, and so can what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.explain.causes import CAUSES, without_chance

TEXTS = Path(__file__).parent / "causes"


@pytest.mark.parametrize("name", CAUSES)
async def test_the_explanation_of_a_cause(name: str) -> None:
    """The explanation is the text in ``causes/``, and has the words that name the cause and the fix."""
    cause, words = CAUSES[name]
    text = without_chance(str(await cause()))

    assert f"{text}\n" == (TEXTS / f"{name}.txt").read_text(encoding="utf-8")
    for word in words:
        assert word in " ".join(text.split())


async def test_no_secret_is_in_an_explanation() -> None:
    """Neither the text nor the JSON has a token, a password, a secret of a key or the id of a session."""
    for cause, _ in CAUSES.values():
        explanation = await cause()
        shown = f"{explanation} {explanation.as_json()} {explanation!r}"
        for secret in ("eyJ", "d29uZGVybGFuZA", "wonderland", "s" * 27, "0a4f113b"):
            assert secret not in shown
