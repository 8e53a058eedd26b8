"""What a guard serves itself: documents of its schemes, at paths that its table lists as PUBLIC."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from authguard.errors import ConfigurationError
from authguard.policy.pattern import parse_pattern
from authguard.policy.requirement import PUBLIC
from authguard.policy.rules import Rule
from authguard.schemes.base import Published, Scheme


def published_by(schemes: Sequence[Scheme]) -> Mapping[str, Published]:
    """The documents by their paths, with and without a trailing slash, which to a rule are the same path.

    ``ConfigurationError`` for two at one path, and for a pattern, which would open what lies in the app.
    """
    found: dict[str, Published] = {}
    for scheme in schemes:
        for page in getattr(scheme, "published", ()):
            if not parse_pattern(page.path)[0].literal:
                raise ConfigurationError("schemes", f"{page.path!r}, where one publishes, is a pattern, and no path")
            for path in {page.path.rstrip("/"), page.path.rstrip("/") + "/"}:
                if path in found:
                    raise ConfigurationError("schemes", f"two of them publish something at {page.path}")
                found[path] = page
    return found


def distinct(pages: Mapping[str, Published]) -> list[Published]:
    """Each document once."""
    return list({id(page): page for page in pages.values()}.values())


def with_openings(rules: Sequence[Rule], pages: Mapping[str, Published]) -> Sequence[Rule]:
    """The rules, and one for each document."""
    return [*rules, *_openings(pages)] if pages and isinstance(rules, Sequence) else rules


def _openings(pages: Mapping[str, Published]) -> Iterator[Rule]:
    for page in distinct(pages):
        rule = Rule(page.path, PUBLIC, methods={"GET"})
        object.__setattr__(rule, "said", page.said)
        yield rule
