"""The tree of patterns against the reference implementation, which tries every pattern on the whole path."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from authguard.policy import pattern_tree
from authguard.policy.path_pattern import Pattern, Relation, parse_pattern
from authguard.policy.pattern_tree import PatternTree
from tests.policy import reference_rules
from tests.policy.strategies import PLAIN, tail_segments


@dataclass(frozen=True)
class Entry:
    """A pattern, and its text."""

    text: str
    pattern: Pattern


def in_order(entry: Entry) -> tuple[int, ...]:
    """A sort key: the search finds the first."""
    return entry.pattern.search_order


def tree_of(texts: list[str]) -> tuple[PatternTree[Entry], dict[reference_rules.Pattern, Entry]]:
    """The tree of these patterns, and its entries by the pattern of the reference implementation."""
    tree = PatternTree[Entry]()
    entries: dict[reference_rules.Pattern, Entry] = {}
    for text in texts:
        pattern = parse_pattern(text)[0]
        entry = Entry(text, pattern)
        known = entries.setdefault(reference_rules.parse(text), entry)
        assert tree.setdefault(pattern, lambda: entry) is known  # noqa: B023 - it is called at once
    return tree, entries


def named(kinds: list[str], tail: str) -> str:
    """The text of a pattern with these segments, whose parameters have different names."""
    parts = [kind.replace("{", f"{{p{index}") if "{" in kind else kind for index, kind in enumerate(kinds)]
    return "".join(f"/{part}" for part in parts) + tail or "/"


kinds = st.sampled_from(["a", "b", "c", "7", "1.5", "0" * 32, "{}", "{}", "{:int}", "{:float}", "{:uuid}"])
patterns = st.builds(named, st.lists(kinds, max_size=4), st.sampled_from(["", "", "/**"]))
texts = st.lists(patterns, max_size=25)
plain_paths = st.lists(st.sampled_from([*PLAIN, "c"]), max_size=5).map(lambda parts: "/" + "/".join(parts))
paths = st.lists(plain_paths, min_size=20, max_size=20)


@given(texts=texts, paths=paths, slash=st.sampled_from(["", "/"]))
@example(texts=["/a/{x}", "/{x}/b", "/a/b/c"], paths=["/a/b", "/a/b/c", "/a/c", "/b/b"], slash="")
@example(texts=["/a/{n:int}", "/a/7/**", "/a/**"], paths=["/a/7", "/a/8", "/a/7/x", "/a/b"], slash="")
@example(texts=["/a/{n:int}", "/a/{x}", "/b/{x}"], paths=["/a", "/a/7", "/a/8", "/b", "/b/x"], slash="/")
@settings(max_examples=200, deadline=None)
def test_the_tree_finds_the_most_specific_pattern(texts: list[str], paths: list[str], slash: str) -> None:
    """Both ways to search agree with a search through all patterns. A final slash makes no other path."""
    tree, entries = tree_of(texts)

    for path in paths:
        segments = reference_rules.segments_of(path)
        matching = [pattern for pattern in entries if reference_rules.matches(pattern, segments)]
        expected = min((entries[pattern] for pattern in matching), key=in_order, default=None)
        sent = path.rstrip("/") + slash or "/"
        assert (tree.find(sent), tree.find_plain(sent)) == (expected, expected), sent


@given(texts=texts, segments=st.lists(tail_segments.map("/".join), min_size=1, max_size=20))
@settings(max_examples=100, deadline=None)
def test_only_a_tail_matches_an_empty_segment(texts: list[str], segments: list[str]) -> None:
    """``find`` takes paths with empty segments too."""
    tree, entries = tree_of(texts)

    for rest in segments:
        path = f"/a//{rest}"
        read = reference_rules.segments_of(path)
        matching = [pattern for pattern in entries if reference_rules.matches(pattern, read)]
        assert tree.find(path) == min((entries[pattern] for pattern in matching), key=in_order, default=None), path


@pytest.mark.parametrize("many", [0, 1, 3, pattern_tree._MANY_NODES])
@given(texts=texts, text=patterns)
@example(texts=["/a", "/b", "/7", "/a/b", "/b/b", "/7/b", "/{x}/b", "/{x}/c", "/**"], text="/{x}/b")
@example(texts=["/a/b/c", "/{x}/b/**", "/b/**"], text="/a/{x}/{y}/c/b")
@settings(max_examples=100, deadline=None)
def test_the_tree_finds_all_patterns_that_share_a_path_with_another(many: int, texts: list[str], text: str) -> None:
    """Both ways to look agree with a comparison of all pairs: along the tree, and by a segment, after so many nodes."""
    tree, entries = tree_of(texts)
    other, pattern = reference_rules.parse(text), parse_pattern(text)[0]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pattern_tree, "_MANY_NODES", many)
        before = tree.overlapping(pattern)
        own = Entry(text, pattern)
        if other not in entries:
            entries[other] = tree.setdefault(pattern, lambda: own)
            assert own not in before
        found = tree.overlapping(pattern)

    expected = [entry for pattern, entry in entries.items() if reference_rules.shared_path(pattern, other) is not None]
    assert len(found) == len(set(found))
    assert set(found) == set(expected)


@given(one=patterns, other=patterns)
@settings(max_examples=300, deadline=None)
def test_the_relation_of_two_patterns_is_that_of_their_paths(one: str, other: str) -> None:
    """A subset, a superset, paths in common, or none."""
    first, second = reference_rules.parse(one), reference_rules.parse(other)

    relation = parse_pattern(one)[0].relation_to(parse_pattern(other)[0])

    if reference_rules.shared_path(first, second) is None:
        assert relation is Relation.APART
    elif reference_rules.inside(first, second):
        assert relation is Relation.SUBSET
    elif reference_rules.inside(second, first):
        assert relation is Relation.SUPERSET
    else:
        assert relation is Relation.CROSSING
