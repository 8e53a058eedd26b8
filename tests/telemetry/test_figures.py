"""The figures of a guard: which values its counts and its health give, and that there are only so many."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pytest

from authguard import Basic, Bearer, Guard, Introspection, Issuer, MemoryUsers, RemoteJWKS
from authguard.records.counts import CountKey
from authguard.telemetry.figures import MAX_SERIES, decisions, figures

KEYS = {
    "source": "https://login.example/",
    "keys": 2,
    "age": 60.5,
    "usable_for": 3600.0,
    "failing_for": 0.0,
    "fetches": 3,
}
CLOCK = {"tokens": 9, "smallest": -31.5, "typical": 2.0, "tolerated": 4}
POOL = {"threads": 2, "working": 1, "waiting": 5, "waiting_known": 2, "most_waiting": 64, "average_seconds": 0.25}
SOURCE = {"authguard.scheme": "bearer", "authguard.keys.source": "https://login.example/"}
ISSUER = {"authguard.scheme": "bearer", "authguard.issuer": "https://login.example/"}


def found(health: Mapping[str, Mapping[str, object]]) -> list[tuple[str, float, dict[str, object]]]:
    """The name, the value and the attributes of each figure."""
    return [(figure.metric.name, figure.value, dict(figure.attributes)) for figure in figures(health)]


def test_a_denial_has_its_reason_as_the_type_of_the_error() -> None:
    """It also has the status of the reason, the scheme and the rule."""
    (figure,) = decisions({CountKey("denied", "token.expired", "bearer", "/admin/**"): 3})

    assert (figure.value, figure.attributes) == (
        3,
        {
            "authguard.event": "denied",
            "error.type": "token.expired",
            "http.response.status_code": 401,
            "authguard.scheme": "bearer",
            "authguard.rule": "/admin/**",
        },
    )


def test_what_a_decision_does_not_have_is_no_attribute() -> None:
    """A grant has no error; a reason of the app has a status that the counts do not know."""
    granted, denied = decisions(
        {CountKey("granted", None, None, None): 1, CountKey("denied", "webhook.old", None, None): 2}
    )

    assert granted.attributes == {"authguard.event": "granted"}
    assert denied.attributes == {"authguard.event": "denied", "error.type": "webhook.old"}


def test_decisions_beyond_the_bound_are_one_series_for_each_outcome() -> None:
    """The keys that came first keep their series, so that no series ever becomes smaller."""
    counts = {CountKey("denied", "role.missing", "bearer", f"/{number}"): 1 for number in range(MAX_SERIES + 10)}
    counts[CountKey("granted", None, "bearer", "/last")] = 7
    counts[CountKey("would_deny", "role.missing", "bearer", "/last")] = 5

    first = list(decisions(dict(list(counts.items())[: MAX_SERIES - 3])))
    all_of_them = list(decisions(counts))

    assert all_of_them[: MAX_SERIES - 3] == first
    assert [(one.value, one.attributes) for one in all_of_them[MAX_SERIES - 3 :]] == [
        (13, {"authguard.event": "denied", "otel.metric.overflow": True}),
        (7, {"authguard.event": "granted", "otel.metric.overflow": True}),
        (5, {"authguard.event": "would_deny", "otel.metric.overflow": True}),
    ]
    assert len(all_of_them) == MAX_SERIES


def test_the_threads_of_passwords_have_a_queue_for_each_kind_of_caller() -> None:
    """Each queue has the limit, so each of them is told apart."""
    scheme = {"authguard.scheme": "basic"}

    assert found({"basic": POOL}) == [
        ("authguard.hash.threads", 2, scheme),
        ("authguard.hash.working", 1, scheme),
        ("authguard.hash.queue.limit", 64, scheme),
        ("authguard.hash.duration", 0.25, scheme),
        ("authguard.hash.queue.length", 2, {**scheme, "authguard.caller": "known"}),
        ("authguard.hash.queue.length", 3, {**scheme, "authguard.caller": "stranger"}),
    ]


@pytest.mark.parametrize("place", ["keys", "services"])
def test_keys_of_a_server_have_an_age(place: str) -> None:
    """They are found wherever the scheme lists them."""
    assert found({"bearer": {place: [KEYS]}}) == [
        ("authguard.keys.count", 2, SOURCE),
        ("authguard.keys.age", 60.5, SOURCE),
        ("authguard.keys.usable", 3600.0, SOURCE),
        ("authguard.keys.failing", 0.0, SOURCE),
        ("authguard.keys.fetches", 3, SOURCE),
    ]


def test_the_clock_of_each_issuer_is_a_figure() -> None:
    """A negative age says that the issuer's clock is ahead."""
    assert found({"bearer": {"clocks": {"https://login.example/": CLOCK}}}) == [
        ("authguard.issuer.token.age.smallest", -31.5, ISSUER),
        ("authguard.issuer.token.age.typical", 2.0, ISSUER),
        ("authguard.issuer.tolerated", 4, ISSUER),
    ]


def test_the_clock_of_an_introspection_server_has_its_url() -> None:
    """Whether calls are stopped is 1 or 0."""
    introspection = {"url": "https://login.example/", "asked": 7, "waiting": 1, "open": True, "clock": CLOCK}
    scheme = {"authguard.scheme": "bearer"}

    assert found({"bearer": {"introspection": introspection}})[2:] == [
        ("authguard.issuer.tolerated", 4, ISSUER),
        ("authguard.introspection.calls", 7, scheme),
        ("authguard.introspection.queue.length", 1, scheme),
        ("authguard.introspection.stopped", 1, scheme),
    ]


@pytest.mark.parametrize("nested", [False, True], ids=["of the scheme", "of its API keys"])
def test_last_uses_of_api_keys_are_figures(nested: bool) -> None:
    """A bearer scheme with API keys has them one level below."""
    state = {"last_uses_written": 5, "last_uses_waiting": 2, "failed": False}
    scheme = {"authguard.scheme": "keys"}

    assert found({"keys": {"api_keys": state} if nested else state}) == [
        ("authguard.api_key.uses.written", 5, scheme),
        ("authguard.api_key.uses.waiting", 2, scheme),
    ]


def test_a_store_is_up_or_down() -> None:
    """One that nobody has used yet is neither. Stores of revocations belong to no scheme."""
    health: dict[str, dict[str, object]] = {
        "digest": {
            "stores": {"nonces": {"state": "ok"}, "throttle": {"state": "unavailable"}, "x": {"state": "unused"}}
        },
        "revocations": {"RedisRevocations": {"state": "ok"}},
    }

    assert found(health) == [
        ("authguard.store.up", 1, {"authguard.scheme": "digest", "authguard.store": "nonces"}),
        ("authguard.store.up", 0, {"authguard.scheme": "digest", "authguard.store": "throttle"}),
        ("authguard.store.up", 1, {"authguard.scheme": "revocations", "authguard.store": "RedisRevocations"}),
    ]


def test_what_is_remembered_has_a_size_and_a_limit() -> None:
    """Tokens that were not remembered are counted, and login attempts wherever they are counted in memory."""
    tokens = {"verified": 12, "remembered": 7, "most": 4096}
    scheme = {"authguard.scheme": "bearer"}

    assert found({"bearer": {"tokens": tokens, "stores": {"throttle": {"buckets": 3, "most": 1000}}}}) == [
        ("authguard.token.verifications", 12, scheme),
        ("authguard.token.cache.size", 7, scheme),
        ("authguard.token.cache.limit", 4096, scheme),
        ("authguard.throttle.size", 3, scheme),
        ("authguard.throttle.limit", 1000, scheme),
    ]


@pytest.mark.parametrize(
    "state",
    [
        {"threads": "two", "waiting": None},
        {"keys": 3, "services": "none", "clocks": [], "introspection": None, "stores": 1},
        {"keys": [{"age": 1.0}, "key"], "clocks": {"issuer": 3}, "introspection": {"clock": CLOCK}},
        {"keys": [{"source": "a", "age": math.inf, "usable_for": math.nan}]},
        {"introspection": {"url": "a", "clock": None}},
        {"tokens": 3, "stores": {"throttle": {"buckets": "many"}}},
    ],
    ids=["not numbers", "not lists", "without names", "not finite", "no clock", "no counts"],
)
def test_a_health_of_another_shape_is_left_out(state: dict[str, object]) -> None:
    """A scheme of the app may say anything."""
    assert found({"own": state}) == []


def test_the_health_of_real_schemes_has_these_figures() -> None:
    """What the schemes name in their health is what is looked for here."""
    keys = RemoteJWKS("https://login.example/jwks")
    issuer = Issuer("https://login.example/", audience="orders", algorithms=["RS256"], keys=keys)
    opaque = Introspection(
        "https://login.example/introspect",
        client_id="orders",
        client_secret="s" * 32,
        issuer="https://legacy.example/",
        audience="orders",
    )
    guard = Guard(Bearer(issuer, opaque, realm="orders"), Basic(MemoryUsers([]), realm="orders"))

    names = {(figure.metric.name, figure.attributes["authguard.scheme"]) for figure in figures(guard.health())}

    assert names == {
        *((f"authguard.keys.{name}", "bearer") for name in ("count", "usable", "failing", "fetches")),
        *((f"authguard.introspection.{name}", "bearer") for name in ("calls", "queue.length", "stopped")),
        ("authguard.issuer.tolerated", "bearer"),
        *((f"authguard.token.{name}", "bearer") for name in ("verifications", "cache.size", "cache.limit")),
        *((f"authguard.throttle.{name}", "basic") for name in ("size", "limit")),
        *((f"authguard.hash.{name}", "basic") for name in ("threads", "working", "queue.limit", "queue.length")),
    }
