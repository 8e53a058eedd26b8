"""Several schemes with one auth-scheme in one guard, under names of their own."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from typing import Any

import pytest

from authguard import (
    OPTIONAL,
    PUBLIC,
    Basic,
    ConfigurationError,
    Digest,
    DigestLookup,
    Guard,
    HtpasswdFile,
    MemoryUsers,
    Rule,
    all_of,
    any_of,
    role,
    via,
)
from authguard.openapi import Operation, describe
from authguard.schemes.scheme import auth_scheme_of, check_schemes
from tests.asgi.locked_apps import locked_app
from tests.support.asgi import Exchange
from tests.support.guards import RecordingGuard
from tests.support.schemes.badge import Badge, FieldCarrier
from tests.support.schemes.bearer import bearer, issuer
from tests.support.tokens import mint


def basic(name: str) -> str:
    """The field with this name and the password "right"."""
    return "Basic " + b64encode(f"{name}:right".encode()).decode()


async def app(scope: Any, receive: Any, send: Any) -> None:
    """An app that answers 200."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body"})


def two_files(tmp_path: Any, **options: Any) -> RecordingGuard:
    """A guard with one password file for /admin, and another for the rest."""
    import base64

    digest = "{SHA}" + base64.b64encode(hashlib.sha1(b"right").digest()).decode()
    staff, partners = tmp_path / "staff.htpasswd", tmp_path / "partners.htpasswd"
    staff.write_text(f"alice:{digest}\n")
    partners.write_text(f"bob:{digest}\n")
    return RecordingGuard(
        Basic(HtpasswdFile(staff), realm="staff", name="staff"),
        Basic(HtpasswdFile(partners), realm="partners", name="partners"),
        rules=[Rule("/admin/**", via("staff")), Rule("/health", PUBLIC), Rule("/get", via("staff"), methods={"GET"})],
        default=via("partners"),
        **options,
    )


def challenges(exchange: Exchange) -> list[str]:
    """The challenges of a response."""
    return [value.decode() for name, value in exchange.headers if name == b"www-authenticate"]


async def test_two_password_files_by_path(tmp_path: Any) -> None:
    """R030: each path asks its own file, with its own realm, and the record names the scheme."""
    guard = two_files(tmp_path)
    answers = [
        (await guard.request(app, path, field=basic(name))).status
        for path, name in (("/admin/x", "alice"), ("/orders", "bob"), ("/admin/x", "bob"), ("/orders", "alice"))
    ]

    assert answers == [200, 200, 401, 401]
    assert [(record.scheme, record.subject) for record in guard.records] == [
        ("staff", "alice"),
        ("partners", "bob"),
        ("staff", "bob"),
        ("partners", "alice"),
    ]
    assert challenges(await guard.request(app, "/admin/x", field=None)) == ['Basic realm="staff", charset="UTF-8"']
    assert challenges(await guard.request(app, "/orders", field=None)) == ['Basic realm="partners", charset="UTF-8"']


async def test_a_password_that_is_remembered_is_that_of_its_scheme(tmp_path: Any) -> None:
    """R030: a login that was right on one path is not remembered for the other, in any spelling of the scheme."""
    guard = two_files(tmp_path)
    for field in (basic("alice"), basic("alice").replace("Basic", "BASIC"), basic("alice").replace("Basic", "bAsIc")):
        assert (await guard.request(app, "/admin/x", field=field)).status == 200
        assert (await guard.request(app, "/orders", field=field)).status == 401


async def test_a_malformed_field_is_recorded_by_the_name(tmp_path: Any) -> None:
    """R030: a field that cannot be parsed is that of the scheme which the route accepts."""
    guard = two_files(tmp_path)
    await guard.request(app, "/admin/x", field="Basic\tx")
    await guard.request(app, "/orders", field="Basic !")
    await guard.request(app, "/orders", field="Badge x")

    assert [(record.reason, record.scheme) for record in guard.records] == [
        ("credentials.malformed", "staff"),
        ("credentials.malformed", "partners"),
        ("scheme.unsupported", None),
    ]


async def test_a_method_that_no_rule_names_is_denied(tmp_path: Any) -> None:
    """R030: a method that is not listed is refused whichever scheme the credentials are for."""
    guard = two_files(tmp_path)

    assert (await guard.request(app, "/get", field=None, method="POST")).status == 401
    assert (await guard.request(app, "/get", field=basic("alice"), method="POST")).status == 403
    assert (await guard.request(app, "/get", field=basic("alice"))).status == 200


@pytest.mark.parametrize(
    ("argument", "options"),
    [
        ("default", {}),
        ("default", {"default": role("admin")}),
        ("default", {"default": OPTIONAL}),
        ("rules", {"default": via("staff"), "rules": [Rule("/a", role("admin"))]}),
        ("rules", {"default": via("staff"), "rules": [Rule("/a", any_of(via("staff"), via("partners")))]}),
    ],
)
def test_a_rule_accepts_only_one_of_them(argument: str, options: Any) -> None:
    """R030: a rule that accepts both raises, because a client cannot say which password it sends."""
    schemes = [Badge("staff"), Badge("partners"), Badge("other")]
    for scheme in schemes[:2]:
        scheme.auth_scheme = "badge"
    with pytest.raises(ConfigurationError) as caught:
        Guard(*schemes, **options)

    assert caught.value.argument == argument
    assert 'accepts staff and partners, which are both badge; name one: via("staff")' in str(caught.value)


def test_a_rule_may_accept_one_of_them_and_others() -> None:
    """R030: beside one of the two, a rule accepts schemes with other auth-schemes."""
    guard = Guard(
        Badge("other"),
        bearer(issuer(audience="a"), name="staff"),
        bearer(issuer(audience="b"), name="partners"),
        default=via("other", "staff"),
        rules=[Rule("/p", all_of(via("partners", "other"), role("x")))],
    )

    assert guard.requirements[guard.table.default.requirement].accepted == {"other", "staff"}


async def test_two_bearers_by_path() -> None:
    """R030: two Bearer schemes may have issuers, and audiences, of their own."""
    guard = RecordingGuard(
        bearer(issuer(audience="a"), name="staff"),
        bearer(issuer(audience="b"), name="partners"),
        default=via("staff"),
        rules=[Rule("/p/**", via("partners"))],
    )
    of_staff, of_partner = (f"Bearer {mint(aud=audience)}" for audience in ("a", "b"))

    answers = [
        (await guard.request(app, path, field=field)).status
        for path in ("/", "/p/x")
        for field in (of_staff, of_partner, of_staff)
    ]
    assert answers == [200, 401, 200, 401, 200, 401]
    assert {record.scheme for record in guard.records} == {"staff", "partners"}


async def test_a_lock_on_a_public_route_names_one_of_them(tmp_path: Any) -> None:
    """R030: a lock that verifies by itself must name one scheme too; else it is 503, and the record says why."""
    guard = two_files(tmp_path)
    named, unnamed = (locked_app(lock, path="/health") for lock in (via("staff"), role("admin")))

    assert (await guard.request(named, "/health", field=basic("alice"))).status == 200
    assert (await guard.request(unnamed, "/health", field=basic("alice"))).status == 503
    assert guard.records[-1].reason == "backend.failed"
    assert "both basic" in str(guard.records[-1].facts["problem"])


@pytest.mark.parametrize("more", [[], [Badge("key", carrier=FieldCarrier("key", b"x-key"))]], ids=["one field", "two"])
async def test_a_lock_that_names_none_of_them_is_503_for_who_presents_something(more: list[Any]) -> None:
    """R030: who presents nothing gets the 401, or passes an OPTIONAL lock, wherever credentials may travel."""
    schemes = [Badge("staff"), Badge("partners"), *more]
    for scheme in schemes[:2]:
        scheme.auth_scheme = "badge"
    guard = RecordingGuard(*schemes, rules=[Rule("/**", PUBLIC)], default=via("staff"))
    sent = (None, "Badge alice", "Badge nobody", "Badge\talice", "Other x")

    statuses = {
        lock: [(await guard.request(locked_app(lock), field=field)).status for field in sent]
        for lock in (role("admin"), OPTIONAL)
    }

    assert statuses == {role("admin"): [401, 503, 503, 503, 503], OPTIONAL: [200, 503, 503, 503, 503]}


async def test_a_lock_asks_the_principal_of_the_rule(tmp_path: Any) -> None:
    """R030: where the rule has named the scheme, a lock asks the principal, and need not name it again."""
    guard = two_files(tmp_path)
    answer = await guard.request(locked_app(role("admin"), path="/admin/x"), "/admin/x", field=basic("alice"))

    assert (answer.status, guard.records[-1].reason) == (403, "role.missing")


def test_openapi_has_each_scheme_under_its_name() -> None:
    """R030: each scheme is a component of its own, with the auth-scheme that clients send."""
    guard = Guard(
        Basic(MemoryUsers([]), realm="staff", name="staff"),
        Basic(MemoryUsers([]), realm="partners", name="partners"),
        default=via("staff"),
    )
    operations = [Operation("/a", "GET", [via("staff")]), Operation("/b", "GET", [via("partners")])]
    described = describe({"openapi": "3.1.0", "paths": {"/a": {"get": {}}, "/b": {"get": {}}}}, operations, guard)

    http_basic = {"type": "http", "scheme": "basic"}
    assert described["components"]["securitySchemes"] == {"staff": http_basic, "partners": http_basic}
    assert [described["paths"][path]["get"]["security"] for path in ("/a", "/b")] == [
        [{"staff": []}],
        [{"partners": []}],
    ]


async def no_digest(name: str, *, realm: str, algorithm: str) -> None:
    """A database without accounts."""


def test_each_scheme_takes_a_name() -> None:
    """``name=`` of Basic, Digest and Bearer is the name, and the auth-scheme stays what clients send."""
    schemes = check_schemes(
        [
            Basic(MemoryUsers([]), realm="a", name="b"),
            Digest(DigestLookup(no_digest), realm="a", secret="0123456789abcdefghijklmnopqrstuvwxyz", name="d"),
            bearer(name="t"),
        ]
    )

    assert [(scheme.name, auth_scheme_of(scheme)) for scheme in schemes] == [
        ("b", "basic"),
        ("d", "digest"),
        ("t", "bearer"),
    ]
    assert auth_scheme_of(Badge("own")) == "own"


@pytest.mark.parametrize("name", ["", "Staff", "a b", 5, None, "é"])
def test_a_name_is_a_word_in_lower_case(name: Any) -> None:
    """Any other name raises, and the error names the argument."""
    with pytest.raises(ConfigurationError, match=r"^name: .* is not a name"):
        bearer(name=name)


@pytest.mark.parametrize("word", ["Basic", "a b"])
def test_an_auth_scheme_is_a_word_in_lower_case(word: str) -> None:
    """An ``auth_scheme`` that clients' credentials can never equal raises."""
    scheme = Badge("own")
    scheme.auth_scheme = word
    with pytest.raises(ConfigurationError, match=r"the auth_scheme .* of own is not one in lower case"):
        Guard(scheme)
