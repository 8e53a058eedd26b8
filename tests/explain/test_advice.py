"""The table of advice says what ``docs/reasons.md`` says, and each refusal gets the parts that are about it."""

from __future__ import annotations

import re

import pytest

from authguard import reasons
from authguard.explain.advice import ADVICE, GENERAL_FACTS, Advice, FactMeaning, Part, advice_for
from authguard.reasons import Reason
from tests.docs.refusals import REFUSALS
from tests.docs.test_reasons_page import HEADING, PAGE, SECTIONS

CODES = [value.code for value in vars(reasons).values() if isinstance(value, Reason)]
#: A line about facts: `- `name`, `name`, found: ...`, to the end of its paragraph.
FACT = re.compile(r"^- ((?:`\w+\??`(?:, )?)+?)(?:, (found|wanted))?: (.*(?:\n  .*)*)", re.MULTILINE)


def plain(text: str) -> str:
    """The text of the page without line breaks, and links as their text alone."""
    return re.sub(r"\s+", " ", re.sub(r"\[([^\]]+)\]\([^)]+\)", r"\1", text.replace("\n", " "))).strip()


def facts_in(text: str) -> dict[str, tuple[str, str]]:
    """The kind and the text of each fact that a section explains."""
    return {
        name: (kind, plain(meaning))
        for names, kind, meaning in FACT.findall(text)
        for name in re.findall(r"\w+\??", names)
    }


def test_every_reason_has_advice() -> None:
    """The table has all reasons of the package, in their order."""
    assert list(ADVICE) == CODES


@pytest.mark.parametrize("code", CODES)
def test_advice_says_what_the_page_says(code: str) -> None:
    """The cause, what to do and the facts of a reason are those of its section."""
    section, advice = SECTIONS[code], ADVICE[code]
    cause = re.search(r"\*\*\d+\.\*\* (.*?)(?=\n\n)", section, re.DOTALL)
    todo = re.search(r"\*\*What to do:\*\* (.*?)\Z", section, re.DOTALL)
    assert cause is not None
    assert todo is not None

    assert advice.cause == plain(cause[1])
    assert " ".join(part.text for part in advice.parts) == plain(todo[1])
    assert {name: (fact.kind, fact.text) for name, fact in advice.facts.items()} == facts_in(section)


def test_facts_of_all_reasons_say_what_the_page_says() -> None:
    """The facts that mean the same everywhere have the texts of the page."""
    texts = {name: text for name, (_, text) in facts_in(HEADING.split(PAGE)[0]).items()}
    assert {name: fact.text for name, fact in GENERAL_FACTS.items()} == texts


@pytest.mark.parametrize("code", CODES)
async def test_every_refusal_of_the_page_gets_advice(code: str) -> None:
    """No refusal of the page is left without a sentence, and none begins in the middle of a thought."""
    for refusal in REFUSALS[code]:
        record = await refusal()
        facts = {**record.facts, **({"missing": record.missing} if record.missing else {})}
        text = ADVICE[code].text(facts)
        assert text
        assert text[0].isupper() or text[0] == "`"
        assert not text.startswith("Otherwise")


def test_a_part_is_shown_if_its_fact_is_there() -> None:
    """A part may want a fact, a value of it, or that it is not there."""
    facts = {"joined": 2, "all_equal": True, "cookie": None}
    assert Part("x").fits({})
    assert Part("x", "joined").fits(facts)
    assert not Part("x", "cookie").fits(facts)
    assert Part("x", "cookie", absent=True).fits(facts)
    assert Part("x", "all_equal", value=True).fits(facts)
    assert not Part("x", "all_equal", value=True).fits({"all_equal": False})
    assert Part("x", "all_equal", value=True, absent=True).fits({"all_equal": False})


def test_a_reason_of_the_app_gets_advice() -> None:
    """Advice for a reason of the app's own names the function, if the record has it."""
    advice = advice_for("order.not_owner")
    assert "`check`" not in advice.text({})
    assert "`check`" in advice.text({"check": "owner (shop.py:3)"})
    assert advice.meaning("order") == FactMeaning("")


def test_the_first_part_that_is_shown_is_a_sentence_of_its_own() -> None:
    """A part that begins with 'Otherwise' loses that word if nothing is shown before it."""
    advice = Advice("c", (Part("With `a`, b.", "a"), Part("Otherwise do c.", "a", absent=True)))
    assert (advice.text({"a": 1}), advice.text({})) == ("With `a`, b.", "Do c.")
