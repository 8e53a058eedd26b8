"""Say what was found in place of what was wanted, for the record of a refusal: the kind of a value, and how two names
differ.

The phrases are constant. None of them quotes a name or a value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import islice
from typing import NamedTuple
from urllib.parse import urlsplit

#: With how many wanted names, and how many URLs among them, a found one is compared; how many characters are read.
_MAX_NAMES, _MAX_URLS, _MAX_LENGTH = 64, 16, 256

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


def difference(found: str, wanted: Iterable[str], *, keep: bool = True) -> str | None:
    """How a name differs from that of the ``wanted`` ones which it is like; None if it is like none of them.

    ``"a slash at the end"``, for example. The names themselves are shown beside it. What is known of the wanted names
    is kept, so they must be those of the app: a stranger may send as many found ones as it likes. The last found ones
    are kept too, unless ``keep`` is False, for what may be a secret in the wrong place.
    """
    if not found:
        return "it is empty"
    compare = _compare if keep else _compare.__wrapped__
    return compare(found[:_MAX_LENGTH], tuple(islice(wanted, _MAX_NAMES)))


# A client that is refused tries again with the same name.
@lru_cache(256)
def _compare(near: str, wanted: tuple[str, ...]) -> str | None:
    names = _wanted(wanted)
    like = names.by_reduced.get(_reduced(near))
    if like is not None and near not in names.all:
        # Two steps can take the same, such as the slash of "/", so that neither tells the names apart.
        return " and ".join(step for step, _ in _STEPS if _without(near, step) != _without(like, step)) or None
    parts = set(_SEPARATORS.split(near))
    if len(parts) > 1 and not parts.isdisjoint(names.all):
        return "several names in one text"
    split = _split(near) if names.urls else None
    return None if split is None else next(filter(None, (_part_of_url(split, url) for url in names.urls)), None)


class _Wanted(NamedTuple):
    """Names that are wanted, by what is left of them after all steps; and those of them that are URLs."""

    all: frozenset[str]
    by_reduced: Mapping[str, str]
    urls: Sequence[_Url]


@lru_cache(128)
def _wanted(wanted: tuple[str, ...]) -> _Wanted:
    names = [name[:_MAX_LENGTH] for name in wanted]
    urls = [url for url in map(_split, names) if url is not None]
    return _Wanted(frozenset(names), {_reduced(name): name for name in names}, urls[:_MAX_URLS])


def _reduced(name: str) -> str:
    """The name after all steps, as ``_without`` gives it in three times the time."""
    name = name.strip().strip(_QUOTES).casefold()
    if "://" in name:
        name = _PREFIX.sub("", name, count=1)
    return name.rstrip("/").lstrip("/").removeprefix("ROLE_").removeprefix("role_")


def _without(name: str, kept: str | None = None) -> str:
    """The name after all steps but the one that is ``kept``."""
    for step, take in _STEPS:
        if step != kept:
            name = take(name)
    return name


class _Url(NamedTuple):
    """The parts of a URL that are told apart."""

    scheme: str
    host: str
    port: str
    path: str
    query: str


def _part_of_url(found: _Url, wanted: _Url) -> str | None:
    """The only part in which two URLs differ; None if they differ in more."""
    # Without a path, two URLs with different hosts have nothing in common. A port belongs to its host.
    if found.host != wanted.host:
        is_like = found.path == wanted.path and found.path.strip("/") and found.query == wanted.query
        return "its host" if is_like and found.scheme == wanted.scheme else None
    differing = [name for name, one, other in zip(_Url._fields, found, wanted, strict=True) if one != other]
    return f"its {differing[0]}" if len(differing) == 1 else None


def _split(url: str) -> _Url | None:
    if not url.startswith(("http://", "https://")):
        return None
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    host = parts.hostname
    if not host:
        return None
    return _Url(parts.scheme, host, parts.netloc.lower().rpartition(host)[2], parts.path, parts.query)


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
