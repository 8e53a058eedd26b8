"""The matrix changes where what a route asks does, and nowhere else."""

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

MEND = "pytest --authguard-update (with the fixture assert_matrix), or assert_matrix(..., update=True)"


async def unseen(*connection: object) -> None:
    """An app that nobody can see into."""


def site(wanted: str = "editor") -> Starlette:
    """An app with a lock."""

    @requires(role(wanted))
    async def write(request: Request) -> PlainTextResponse:
        """Never called."""
        return PlainTextResponse("")

    return Starlette(
        routes=[
            Route("/items/{id:int}", write, methods=["PUT"]),
            Route("/items/{id:int}", who),
            Mount("/files", StaticFiles(directory=Path(__file__).parent)),
            Mount("/other", unseen),
            Host("api.shop.test", Starlette(routes=[Route("/items", who)])),
        ]
    )


def rules(*more: Rule) -> Guard:
    """A guard for it."""
    return Guard(*schemes(), rules=[Rule("/items/**", role("clerk")), Rule("/items/7", PUBLIC), *more])


def test_a_line_says_what_a_route_asks() -> None:
    """Rules, locks, narrower rules, schemes; files, what cannot be seen, and hosts are named as such."""
    assert route_matrix(site(), rules()).splitlines() == [
        "GET /files/** (files): AUTHENTICATED (no rule) by basic, bearer",
        "GET /items on api.shop.test: role(clerk) by basic, bearer",
        "GET /items/{id:int}: role(clerk), but /items/7 PUBLIC by basic, bearer",
        "PUT /items/{id:int}: role(clerk), lock role(editor), but /items/7 PUBLIC by basic, bearer",
        "* /other/** (cannot be seen into): AUTHENTICATED (no rule) by basic, bearer",
    ]


def test_guards_on_the_way_are_named_in_order() -> None:
    """The outer one asks first."""
    inner, outer = Guard(*schemes(), default=role("inner")), Guard(*schemes(), default=role("outer"))
    nested = Starlette(routes=[Mount("/in", AuthGuardMiddleware(Starlette(routes=[Route("/er", who)]), guard=inner))])
    nested.add_middleware(AuthGuardMiddleware, guard=outer)

    assert (
        route_matrix(nested, outer) == "GET /in/er: role(outer) (no rule) then role(inner) (no rule) by basic, bearer\n"
    )


def test_a_guard_that_is_elsewhere_is_no_guard() -> None:
    """A route beside the mount that it guards is open, and says so."""
    guard = rules()
    inner = AuthGuardMiddleware(Starlette(routes=[Route("/er", who)]), guard=guard)
    beside = Starlette(routes=[Mount("/in", inner), Route("/out", who)])

    assert "GET /out: no guard\n" in route_matrix(beside, guard)


def test_the_order_of_routes_and_rules_changes_nothing() -> None:
    """Nor does the place in the file where they were said."""
    app, turned = site(), site()
    turned.router.routes.reverse()

    assert route_matrix(turned, rules(Rule("/z", PUBLIC))) == route_matrix(app, rules())
    assert not re.search(r"\.py|:\d", route_matrix(app, rules()))


class Nameless:
    """A requirement that does not say what it is."""

    def unmet(self, principal: Principal, params: Mapping[str, str], moment: Moment) -> Failure | None:
        """Never asked."""
        raise NotImplementedError

    def schemes(self, every: frozenset[str]) -> frozenset[str]:
        """All."""
        return every

    def scopes_named(self) -> tuple[str, ...]:
        """None."""
        return ()


def test_an_object_that_does_not_say_what_it_is_has_no_address() -> None:
    """Else each run would have a matrix of its own."""
    guard = Guard(*schemes(), default=Nameless())

    assert "<tests.testing.test_route_matrix.Nameless object>" in route_matrix(app_behind(guard), guard)


def test_what_was_committed_passes(tmp_path: Path) -> None:
    """Written once, read from then on; line ends of another system are no difference."""
    app, guard, file = site(), rules(), tmp_path / "routes.txt"

    assert_matrix(app, guard, file, update=True)
    assert_matrix(site(), rules(), str(file))
    file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
    assert_matrix(app, guard, file)

    assert file.read_text().startswith("# What each route asks, as authguard sees it.")


def test_a_changed_lock_is_shown_with_its_mend(tmp_path: Path) -> None:
    """Two lines, before and after, and how to say that it was meant."""
    file = tmp_path / "routes.txt"
    assert_matrix(site(), rules(), file, update=True)

    with pytest.raises(AssertionError) as failed:
        assert_matrix(site("clerk"), rules(), file)

    assert str(failed.value).splitlines() == [
        "what routes ask has changed:",
        f"--- {file}",
        "+++ now",
        "-PUT /items/{id:int}: role(clerk), lock role(editor), but /items/7 PUBLIC by basic, bearer",
        "+PUT /items/{id:int}: role(clerk), lock role(clerk), but /items/7 PUBLIC by basic, bearer",
        f"Where that is meant: {MEND}",
    ]
    assert "lock role(editor)" in file.read_text()


def test_a_rule_that_opens_is_shown(tmp_path: Path) -> None:
    """A new rule changes the routes that it reaches, and no other line."""
    file = tmp_path / "routes.txt"
    assert_matrix(site(), rules(), file, update=True)

    with pytest.raises(AssertionError) as failed:
        assert_matrix(site(), rules(Rule("/files/**", PUBLIC), Rule("/mine", predicate("own", lambda *_: True))), file)

    assert [line for line in str(failed.value).splitlines() if re.match(r"[+-](?!-|\+)", line)] == [
        "-GET /files/** (files): AUTHENTICATED (no rule) by basic, bearer",
        "+GET /files/** (files): PUBLIC",
    ]


def test_a_missing_file_says_how_to_make_it(tmp_path: Path) -> None:
    """It is never made by itself: a run that wrote it would be green whatever routes ask."""
    file = tmp_path / "routes.txt"

    with pytest.raises(AssertionError, match=r"routes\.txt is not there to compare with.*--authguard-update"):
        assert_matrix(site(), rules(), file)

    assert not file.exists()


def test_what_is_no_guard_is_named() -> None:
    """As everywhere."""
    with pytest.raises(ConfigurationError, match="guard"):
        route_matrix(site(), "guard")  # type: ignore[arg-type]


def test_the_shop_has_the_matrix_that_is_committed() -> None:
    """The file beside this one: what a user would commit."""
    guard = guard_of()

    assert_matrix(app_behind(guard), guard, Path(__file__).with_name("shop.routes.txt"))
