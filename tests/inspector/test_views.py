"""What the page shows, as values of JSON."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from authguard import Guard
from authguard.inspector import views
from authguard.inspector.decision_log import DecisionLog
from authguard.inspector.views import brief_facts, decision_view, hello_view, kept_for, plain, routes_view, state_view
from authguard.testing import ManualClock
from tests.records.test_patterns import denied
from tests.support.guards import RecordingGuard
from tests.support.inspected import InspectedApp
from tests.support.schemes.badge import Badge


@pytest.fixture(name="hour", scope="module")
def _hour() -> dict[str, Any]:
    """The state after an hour of the app, as a page gets it."""
    app = InspectedApp()
    app.live_through_an_hour()
    state: dict[str, Any] = json.loads(json.dumps(state_view(app.log, app.guard), allow_nan=False))
    return state


def test_the_state_counts_all_decisions(hour: dict[str, Any]) -> None:
    """Grants are counted too, although no record of them is made."""
    assert hour["granted"] > 100
    assert hour["denied"] == sum(hour["totals"].values()) == sum(map(sum, hour["series"].values()))
    assert {len(numbers) for numbers in hour["series"].values()} == {60}


def test_the_state_says_what_stands_out(hour: dict[str, Any]) -> None:
    """An outage, a clock, somebody who tries passwords, and what is over."""
    assert [(burst["reason"], burst["over"]) for burst in hour["bursts"]] == [
        ("keys.unavailable", False),
        ("token.expired", False),
        ("user.unknown", False),
        ("credentials.missing", True),
    ]
    assert hour["bursts"][1]["what"] == "tokens of https://login.example/ expired by 61 to 64 s"
    assert hour["bursts"][1]["meaning"] == "Their clock or yours: all by about the same time"
    assert hour["offenders"][0]["note"] == "tries many names"


def test_the_state_has_the_health_of_the_guard(hour: dict[str, Any]) -> None:
    """Clocks, key sets, the hash queue and the throttle."""
    bearer, basic = hour["health"]["bearer"], hour["health"]["basic"]

    assert bearer["clocks"]["https://login.example/"]["smallest"] == -5.0
    assert [keys["source"] for keys in bearer["keys"]] == [
        *("https://login.example/jwks.json", "https://partner.example/jwks.json")
    ]
    assert bearer["keys"][1]["last_error"] == "the fetch raised OSError"
    assert basic["threads"] >= 1
    assert hour["throttle"] == {"schemes": ["basic"], "refused": 0}


def test_a_scheme_whose_health_raises_is_named() -> None:
    """The rest of the page does not depend on it."""

    class Broken(Badge):
        def health(self) -> dict[str, object]:
            raise KeyError("s3cret")

    guard = Guard(Broken(), log=False)

    assert state_view(DecisionLog(guard), guard)["health"] == {"": {"error": "builtins.KeyError"}}


def test_a_decision_has_its_explanation() -> None:
    """The cause and what to do are those of ``explain_record``."""
    log = DecisionLog(RecordingGuard(hooks=()).guard)
    log(denied(facts={"expired_by": 64.0, "leeway": 60.0, "token": "1323fce6"}))

    shown = decision_view(log.since(0)[0])

    assert (shown["reason"], shown["status"], shown["brief"]) == ("token.expired", 401, "expired_by=64s")
    assert shown["explanation"]["cause"].startswith("The token has ended")
    assert shown["explanation"]["advice"]
    assert json.loads(json.dumps(shown)) == shown | {"explanation": json.loads(json.dumps(shown["explanation"]))}


def test_a_record_that_cannot_be_explained_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """One odd record must not end the page for all others."""

    def fail(record: object) -> None:
        raise KeyError("s3cret")

    monkeypatch.setattr(views, "explain_record", fail)
    log = DecisionLog(RecordingGuard(hooks=()).guard)
    log(denied())

    shown = decision_view(log.since(0)[0])

    assert shown["explanation"]["notes"] == ["This record could not be explained: builtins.KeyError"]


def test_a_fact_without_a_text_is_named_by_its_error() -> None:
    """One odd record must not end the page for all others, and what its error says is not shown."""

    class Odd:
        def __str__(self) -> str:
            raise KeyError("s3cret")

    log = DecisionLog(RecordingGuard(hooks=()).guard)
    log(denied(facts={"odd": Odd()}))

    shown = decision_view(log.since(0)[0])

    assert (shown["reason"], shown["brief"]) == ("token.expired", "untold=builtins.KeyError")


def test_the_brief_facts_begin_with_what_is_missing() -> None:
    """A role or a scope that the principal does not have is what a person looks for."""
    assert brief_facts(denied("role.missing", missing=("admin",), facts={"found": None, "read": "roles"})) == (
        "missing=[admin] read=roles"
    )


def test_the_page_says_which_process_it_shows() -> None:
    """Each process has figures of its own."""
    guard = RecordingGuard(hooks=()).guard
    log = DecisionLog(guard)

    hello = hello_view(log, guard, "orders")

    assert hello["worker"] == {**log.worker._asdict(), "id": log.worker.id}
    assert (hello["title"], hello["schemes"], hello["leeway"]) == ("orders", ["badge"], 60.0)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ({"a": 1, 2: None, "c": [True, 1.5, "x"]}, {"a": 1, "2": None, "c": [True, 1.5, "x"]}),
        (math.inf, "inf"),
        ({1}, [1]),
        (b"secret", "bytes"),
        (list(range(500)), list(range(100))),
        ([[[[[[["deep"]]]]]]], [[[[[["list"]]]]]]),
    ],
)
def test_any_value_of_a_scheme_can_be_shown(value: object, shown: object) -> None:
    """A health of the app's own may hold anything; JSON cannot, and a page need not be endless."""
    assert plain(value) == shown
    json.dumps(shown, allow_nan=False)


def test_an_app_that_cannot_be_audited_says_so() -> None:
    """The rest of the page does not depend on it."""
    assert routes_view(None, RecordingGuard().guard)["error"] == "authguard.errors.ConfigurationError"


def test_a_huge_app_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """The page says how many rows it does not show."""
    monkeypatch.setattr(views, "MAX_ROUTES", 2)
    app = InspectedApp()

    told = routes_view(app.app, app.guard)

    assert (len(told["routes"]), told["more"]) == (2, 7)


def test_a_state_is_made_once_for_all_pages() -> None:
    """Sixteen pages do not cost sixteen times as much."""
    clock, made = ManualClock(1000), list[int]()

    def make() -> dict[str, Any]:
        made.append(1)
        return {"number": len(made)}

    get = kept_for(1.0, make, clock)
    numbers = [get()["number"], get()["number"]]
    clock.move(1)

    assert [*numbers, get()["number"]] == [1, 1, 2]
