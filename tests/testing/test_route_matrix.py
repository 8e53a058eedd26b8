"""The route matrix changes if what a route requires changes, and only then."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Host, Mount, Route
from starlette.staticfiles import StaticFiles

from authguard import (
    PUBLIC,
    AuthGuardMiddleware,
    ConfigurationError,
    Failure,
    Guard,
    Moment,
    Principal,
    Rule,
    predicate,
    role,
)
from authguard.starlette import requires
from authguard.testing import assert_matrix, route_matrix
from tests.testing.shop import app_behind, guard_of, schemes, who

UPDATE = "pytest --authguard-update (with the fixture assert_matrix), or assert_matrix(..., update=True)"


async def opaque(*connection: object) -> None:
    """An app that cannot be inspected."""


def site(required_role: str = "editor") -> Starlette:
    """An app with a lock, files, an opaque app and a host."""

    @requires(role(required_role))
    async def write(request: Request) -> PlainTextResponse:
        """Never called."""
        return PlainTextResponse("")

    return Starlette(
        routes=[
            Route("/items/{id:int}", write, methods=["PUT"]),
            Route("/items/{id:int}", who),
            Mount("/files", StaticFiles(directory=Path(__file__).parent)),
            Mount("/other", opaque),
            Host("api.shop.test", Starlette(routes=[Route("/items", who)])),
        ]
    )


def guard_with_rules(*more: Rule) -> Guard:
    """A guard for it."""
    return Guard(*schemes(), rules=[Rule("/items/**", role("clerk")), Rule("/items/7", PUBLIC), *more])


def test_a_line_says_what_a_route_requires() -> None:
    """It has rules, locks, narrower rules and schemes, and marks files, opaque apps and hosts."""
    assert route_matrix(site(), guard_with_rules()).splitlines() == [
        "GET /files/** (files): AUTHENTICATED (no rule) by basic, bearer",
        "GET /items on api.shop.test: role(clerk) by basic, bearer",
        "GET /items/{id:int}: role(clerk), but /items/7 PUBLIC by basic, bearer",
        "PUT /items/{id:int}: role(clerk), lock role(editor), but /items/7 PUBLIC by basic, bearer",
        "* /other/** (cannot be inspected): AUTHENTICATED (no rule) by basic, bearer",
    ]


def test_guards_on_the_way_are_named_in_order() -> None:
    """The outer guard comes first."""
    inner, outer = Guard(*schemes(), default=role("inner")), Guard(*schemes(), default=role("outer"))
    nested = Starlette(routes=[Mount("/in", AuthGuardMiddleware(Starlette(routes=[Route("/er", who)]), guard=inner))])
    nested.add_middleware(AuthGuardMiddleware, guard=outer)

    assert (
        route_matrix(nested, outer) == "GET /in/er: role(outer) (no rule) then role(inner) (no rule) by basic, bearer\n"
    )


def test_a_route_beside_the_guarded_mount_has_no_guard() -> None:
    """It is open, and the line says so."""
    guard = guard_with_rules()
    inner = AuthGuardMiddleware(Starlette(routes=[Route("/er", who)]), guard=guard)
    beside = Starlette(routes=[Mount("/in", inner), Route("/out", who)])

    assert "GET /out: no guard\n" in route_matrix(beside, guard)


def test_the_order_of_routes_and_rules_changes_nothing() -> None:
    """Nor do their places in the source file."""
    app, reversed_app = site(), site()
    reversed_app.router.routes.reverse()

    assert route_matrix(reversed_app, guard_with_rules(Rule("/z", PUBLIC))) == route_matrix(app, guard_with_rules())
    assert not re.search(r"\.py|:\d", route_matrix(app, guard_with_rules()))


class Nameless:
    """A requirement without a text of its own."""

    def unmet(self, principal: Principal, params: Mapping[str, str], moment: Moment) -> Failure | None:
        """Never called."""
        raise NotImplementedError

    def schemes(self, every: frozenset[str]) -> frozenset[str]:
        """All of them."""
        return every

    def scopes_named(self) -> tuple[str, ...]:
        """None."""
        return ()


def test_the_matrix_has_no_addresses_of_objects() -> None:
    """They would be different in each run."""
    guard = Guard(*schemes(), default=Nameless())

    assert "<tests.testing.test_route_matrix.Nameless object>" in route_matrix(app_behind(guard), guard)


def test_an_unchanged_matrix_passes(tmp_path: Path) -> None:
    """Line ends of another system are no difference."""
    app, guard, file = site(), guard_with_rules(), tmp_path / "routes.txt"

    assert_matrix(app, guard, file, update=True)
    assert_matrix(site(), guard_with_rules(), str(file))
    file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
    assert_matrix(app, guard, file)

    assert file.read_text().startswith("# What each route requires, as authguard sees it.")


def test_a_changed_lock_is_shown_with_the_way_to_update(tmp_path: Path) -> None:
    """There is one line before and one line after the change."""
    file = tmp_path / "routes.txt"
    assert_matrix(site(), guard_with_rules(), file, update=True)

    with pytest.raises(AssertionError) as error:
        assert_matrix(site("clerk"), guard_with_rules(), file)

    assert str(error.value).splitlines() == [
        "what routes require has changed:",
        f"--- {file}",
        "+++ now",
        "-PUT /items/{id:int}: role(clerk), lock role(editor), but /items/7 PUBLIC by basic, bearer",
        "+PUT /items/{id:int}: role(clerk), lock role(clerk), but /items/7 PUBLIC by basic, bearer",
        f"If that is intended: {UPDATE}",
    ]
    assert "lock role(editor)" in file.read_text()


def test_a_new_opening_is_shown(tmp_path: Path) -> None:
    """No other line changes."""
    file = tmp_path / "routes.txt"
    assert_matrix(site(), guard_with_rules(), file, update=True)

    with pytest.raises(AssertionError) as error:
        assert_matrix(
            site(), guard_with_rules(Rule("/files/**", PUBLIC), Rule("/mine", predicate("own", lambda *_: True))), file
        )

    assert [line for line in str(error.value).splitlines() if re.match(r"[+-](?!-|\+)", line)] == [
        "-GET /files/** (files): AUTHENTICATED (no rule) by basic, bearer",
        "+GET /files/** (files): PUBLIC",
    ]


def test_a_missing_file_is_an_error_that_says_how_to_make_it(tmp_path: Path) -> None:
    """It is not written by itself: such a run would pass whatever routes require."""
    file = tmp_path / "routes.txt"

    with pytest.raises(AssertionError, match=r"routes\.txt does not exist.*--authguard-update"):
        assert_matrix(site(), guard_with_rules(), file)

    assert not file.exists()


def test_anything_but_a_guard_is_an_error() -> None:
    """The message names the argument."""
    with pytest.raises(ConfigurationError, match="guard"):
        route_matrix(site(), "guard")  # type: ignore[arg-type]


def test_the_shop_has_the_committed_matrix() -> None:
    """The file is beside this one, as in the project of a user."""
    guard = guard_of()

    assert_matrix(app_behind(guard), guard, Path(__file__).with_name("shop.routes.txt"))
