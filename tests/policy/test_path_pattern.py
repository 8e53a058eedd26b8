"""Path patterns: how they are parsed, which raise, and which lie inside others."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

from authguard.errors import ConfigurationError
from authguard.policy.path_pattern import ANY, CONVERTERS, Pattern, parse_pattern

INT, FLOAT, UUID = (CONVERTERS[name] for name in ("int", "float", "uuid"))

PARSED: list[tuple[str, Pattern, dict[str, int]]] = [
    ("/", Pattern((), False), {}),
    ("/**", Pattern((), True), {}),
    ("/{rest:path}", Pattern((), True), {"rest": 0}),
    ("/a", Pattern(("a",), False), {}),
    ("/a/", Pattern(("a",), False), {}),
    ("/a/**", Pattern(("a",), True), {}),
    ("/a/{rest:path}", Pattern(("a",), True), {"rest": 1}),
    ("/a/{x}/b/{n:int}", Pattern(("a", ANY, "b", INT), False), {"x": 1, "n": 3}),
    ("/{f:float}/{u:uuid}/{s:str}/**", Pattern((FLOAT, UUID, ANY), True), {"f": 0, "u": 1, "s": 2}),
    ("/a b/ü/...;x=1", Pattern(("a b", "ü", "...;x=1"), False), {}),
    ("/jobs/7:cancel/[]", Pattern(("jobs", "7:cancel", "[]"), False), {}),
]


@pytest.mark.parametrize(("text", "pattern", "positions"), PARSED)
def test_a_pattern_is_parsed(text: str, pattern: Pattern, positions: dict[str, int]) -> None:
    """A pattern is parsed into segments and a tail. A trailing slash does not matter."""
    assert parse_pattern(text) == (pattern, positions)


@pytest.mark.parametrize("text", [text for text, *_ in PARSED if ":" not in text and "{" not in text])
def test_a_pattern_without_parameters_shows_itself(text: str) -> None:
    """The text of a pattern is what was given, without the trailing slash."""
    assert str(parse_pattern(text)[0]) == (text.rstrip("/") or "/")


def test_a_parameter_is_shown_by_its_kind() -> None:
    """Names of parameters do not distinguish patterns, so the text of a pattern shows their converters."""
    assert str(parse_pattern("/a/{id:int}/{x}/{rest:path}")[0]) == "/a/{int}/{str}/**"
    assert parse_pattern("/a/{x}")[0] == parse_pattern("/a/{y:str}")[0]


@pytest.mark.parametrize(
    ("text", "literal"), [("/", True), ("/a/b", True), ("/**", False), ("/a/{x}", False), ("/a/**", False)]
)
def test_a_literal_matches_one_path_only(text: str, literal: bool) -> None:
    """A pattern is literal if it has neither a parameter nor a tail."""
    assert parse_pattern(text)[0].literal is literal


REFUSED = [
    ("", "does not begin with /"),
    ("a", "does not begin with /"),
    ("**", "does not begin with /"),
    (None, "does not begin with /"),
    (b"/a", "does not begin with /"),
    ("/a//b", "segment ''"),
    ("//", "segment ''"),
    ("/a/./b", r"segment '\.'"),
    ("/..", r"segment '\.\.'"),
    ("/a\\b", "decoded path"),
    ("/a\n", "decoded path"),
    ("/a\x7f", "decoded path"),
    ("/a\x85", "decoded path"),
    ("/a\ud800", "decoded path"),
    ("/a%20b", "decoded path"),
    ("/%2e%2e", "decoded path"),
    ("/{x}/{x}", "twice"),
    ("/{x}/{x:path}", "twice"),
    ("/{x:date}", "'date' is not known"),
    ("/{x:}", "whole segment"),
    ("/{x:path}/b", "must be the last segment"),
    ("/a{x}", "whole segment"),
    ("/{x}.json", "whole segment"),
    ("/{x}{y}", "whole segment"),
    ("/{}", "whole segment"),
    ("/{1x}", "whole segment"),
    ("/{x", "whole segment"),
    ("/x}", "whole segment"),
    ("/*", r"only in a final /\*\*"),
    ("/a*", r"only in a final /\*\*"),
    ("/**/a", r"only in a final /\*\*"),
    ("/a**", r"only in a final /\*\*"),
    ("/a?x=1", "ends before \\?; write '/a'"),
    ("/a#top", "ends before #; write '/a'"),
    ("/a ", "ends with a blank, and no path does; write '/a'"),
    ("/users/:id", r":id is not a parameter here; write {id}"),
    ("/users/<id>", r"<id> is not a parameter here; write {id}"),
    ("/users/<int:id>", r"<int:id> is not a parameter here; write {id:int}"),
    ("/users/<string:id>", r"<string:id> is not a parameter here; write {id:str}"),
    ("/users/[id]", r"\[id\] is not a parameter here; write {id}"),
    ("/a<b", r"< and > mean nothing here; a parameter is {name}"),
    ("admin/users", "does not begin with /; write '/admin/users'"),
    ("^/admin$", "does not begin with /; write '/admin'"),
    ("get /admin", r"does not begin with /; write Rule\('/admin', ..., methods={'GET'}\)"),
    ("https://shop.example/admin", "a path on every host, write '/admin'"),
    ("https://shop.example", "a path on every host, write '/'"),
]


@pytest.mark.parametrize(("text", "problem"), REFUSED)
def test_invalid_patterns_raise(text: Any, problem: str) -> None:
    """A pattern that no path could match, or that matches more than it seems to, raises and says how to fix it."""
    with pytest.raises(ConfigurationError, match=problem) as caught:
        parse_pattern(text)

    assert caught.value.argument == "pattern"


MATCHES = [
    ("int", ["0", "007", "9" * 400], ["", "-1", "1.0", "1\n", "٣", "1a", " 1"]),
    ("float", ["0", "1.5", "00.10"], ["", "1.", ".5", "1.5.2", "1e5", "-1.5", "1.5\n", "٣.٣"]),
    (
        "uuid",
        ["123e4567-e89b-12d3-a456-426614174000", "0" * 32, "A" * 8 + "-" + "b" * 24],
        ["", "0" * 31, "0" * 33, "g" * 32, "0" * 32 + "\n"],
    ),
    ("str", ["x", "a b", "..", "ü"], ["", "a/b"]),
]


@pytest.mark.parametrize(("name", "taken", "refused"), MATCHES)
def test_a_converter_matches_whole_segments(name: str, taken: list[str], refused: list[str]) -> None:
    """A converter matches up to the last character, so a final newline is not part of a number."""
    converter = CONVERTERS[name]

    assert [converter.matches(text) for text in taken] == [True] * len(taken)
    assert [converter.matches(text) for text in refused] == [False] * len(refused)
    assert converter.matches(converter.sample)


INSIDE = [
    ("/a", "/a", True),
    ("/a", "/{x}", True),
    ("/{x}", "/a", False),
    ("/7", "/{n:int}", True),
    ("/a", "/{n:int}", False),
    ("/{n:int}", "/{f:float}", True),
    ("/{f:float}", "/{n:int}", False),
    ("/{n:int}", "/{u:uuid}", False),
    ("/a", "/a/**", True),
    ("/a/**", "/a", False),
    ("/a/b/{x}", "/a/**", True),
    ("/a/**", "/**", True),
    ("/**", "/a/**", False),
    ("/b/c", "/a/**", False),
    ("/a/b", "/a", False),
    ("/a", "/a/b", False),
]


@pytest.mark.parametrize(("one", "other", "inside"), INSIDE)
def test_a_pattern_lies_inside_one_that_matches_all_it_matches(one: str, other: str, inside: bool) -> None:
    """A pattern lies inside another one that matches all of its paths."""
    assert parse_pattern(one)[0].is_subset_of(parse_pattern(other)[0]) is inside


COMMON = [
    ("/a", "/a", "/a"),
    ("/a", "/b", None),
    ("/a", "/a/b", None),
    ("/a/**", "/a/b", "/a/b"),
    ("/**", "/**", "/"),
    ("/{x}/b", "/a/{y}", "/a/b"),
    ("/{n:int}", "/{u:uuid}", "/" + "0" * 32),
    ("/{f:float}", "/{u:uuid}", "/" + "0" * 32),
    ("/{n:int}", "/{f:float}", "/0"),
    ("/{n:int}", "/a", None),
    ("/a/**", "/{x}/b/{n:int}", "/a/b/0"),
    ("/a/**", "/b/**", None),
]


@pytest.mark.parametrize(("one", "other", "path"), COMMON)
def test_a_path_that_two_patterns_share_can_be_named(one: str, other: str, path: str | None) -> None:
    """``shared_path`` gives a path that both patterns match, in either order, or None."""
    first, second = parse_pattern(one)[0], parse_pattern(other)[0]

    assert (first.common_path(second), second.common_path(first)) == (path, path)


def test_the_converters_of_a_copied_pattern_are_the_same() -> None:
    """A rule may be copied or pickled. There is one converter of each name, which is compared by identity."""
    pattern = parse_pattern("/{n:int}/{f:float}/{u:uuid}/{s}/**")[0]

    for twin in (copy.deepcopy(pattern), pickle.loads(pickle.dumps(pattern))):
        assert twin == pattern
        assert all(one is other for one, other in zip(twin.segments, pattern.segments, strict=True))
