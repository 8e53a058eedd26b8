"""Say what was found in place of what was wanted, for the record of a refusal: the kind of a value, and how two names
differ.

The phrases are constant. None of them quotes a name or a value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from itertools import islice
from urllib.parse import SplitResult, urlsplit

#: With how many wanted names a found one is compared, and how many characters of each are read.
_MAX_NAMES, _MAX_LENGTH = 64, 256

_QUOTES = "\"'`“”"
_PREFIX = re.compile(r"(?:https?|api)://")
_SEPARATORS = re.compile(r"[\s,;|]+")

# What may be taken from both names, one after the other, without a change of what a person reads in them.
_STEPS: tuple[tuple[str, Callable[[str], str]], ...] = (
    ("white space around it", str.strip),
    ("quotes around it", lambda name: name.strip(_QUOTES)),
    ("upper and lower case", str.casefold),
    ("the scheme before ://", lambda name: _PREFIX.sub("", name, count=1)),
    ("a slash at the end", lambda name: name.rstrip("/")),
    ("a slash at the beginning", lambda name: name.lstrip("/")),
    ("ROLE_ before it", lambda name: name.removeprefix("ROLE_").removeprefix("role_")),
)


def difference(found: str, wanted: Iterable[str]) -> str | None:
    """How a name differs from that of the ``wanted`` ones which it is like; None if it is like none of them.

    ``"a slash at the end"``, for example. The names themselves are shown beside it.
    """
    if not found:
        return "it is empty"
    near = found[:_MAX_LENGTH]
    names = [name[:_MAX_LENGTH] for name in islice(wanted, _MAX_NAMES)]
    reduced = _without(near)
    for name in names:
        if name != near and _without(name) == reduced:
            return " and ".join(step for step, _ in _STEPS if _without(near, step) != _without(name, step))
    parts = set(_SEPARATORS.split(near))
    if len(parts) > 1 and not parts.isdisjoint(names):
        return "several names in one text"
    return next(filter(None, (_part_of_url(near, name) for name in names)), None)


def _without(name: str, kept: str | None = None) -> str:
    """The name after all steps but the one that is ``kept``."""
    for step, take in _STEPS:
        if step != kept:
            name = take(name)
    return name


def _part_of_url(found: str, wanted: str) -> str | None:
    """The only part in which two URLs differ; None if they are not URLs, or differ in more."""
    one, other = _split(found), _split(wanted)
    if one is None or other is None:
        return None
    parts = {
        "its scheme": one.scheme == other.scheme,
        "its host": one.hostname == other.hostname,
        "its port": one.netloc.rpartition(":")[2] == other.netloc.rpartition(":")[2] or one.hostname != other.hostname,
        "its path": one.path == other.path,
        "its query": one.query == other.query,
    }
    differing = [part for part, is_same in parts.items() if not is_same]
    # Without a path, two URLs with different hosts have nothing in common.
    return differing[0] if len(differing) == 1 and (differing[0] != "its host" or one.path.strip("/")) else None


def _split(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    return parts if parts.scheme in {"http", "https"} and parts.hostname else None


def kind_of(value: object) -> str:
    """What a value of JSON is, for a person: ``"a list of objects"``. It quotes nothing of the value."""
    if isinstance(value, list | tuple):
        kinds = {kind_of(item) for item in value[:_MAX_NAMES]}
        if len(kinds) != 1:
            return "a list of several kinds" if kinds else "an empty list"
        return f"a list of {_PLURALS.get(kinds.pop(), 'other values')}"
    kind = next((name for types, name in _KINDS if isinstance(value, types)), f"a {type(value).__name__}")
    return f"an empty {kind.partition(' ')[2]}" if value in ("", {}) else kind


# In this order: True is an int too.
_KINDS: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (type(None), "null"),
    (bool, "true or false"),
    ((int, float), "a number"),
    (str, "a string"),
    (dict, "an object"),
)
_PLURALS = {"a string": "strings", "an empty string": "empty strings", "a number": "numbers", "an object": "objects"}
