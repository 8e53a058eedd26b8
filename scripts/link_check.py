"""Check that each relative link in a Markdown file leads to a file of the tree, and each anchor to a heading in it.

    python3 scripts/link_check.py

An absolute link into the repository, as the README has for those who read it elsewhere, is checked in the tree. Nothing
is fetched: links to other sites are not checked.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).resolve().parent.parent

FENCE = r"^[ \t]*(?P<fence>`{3,}|~{3,}).*?^[ \t]*(?P=fence)"
FENCED = re.compile(FENCE, re.DOTALL | re.MULTILINE)
CODE = re.compile(FENCE + r"|(?P<ticks>(?<!`)`+(?!`))(?:(?!\n\n).)+?(?<!`)(?P=ticks)(?!`)", re.DOTALL | re.MULTILINE)
LINK = re.compile(
    r"""\]\(\s*<?(?P<inline>[^\s)>]+)>?(?:\s+["'(][^)]*)?\)"""
    r"""|^\s{0,3}\[[^\]]+\]:\s*<?(?P<reference>[^\s>]+)"""
    r"""|<(?:a|img|source)\s[^>]*?(?:href|src|srcset)=["'](?P<html>[^"'\s]+)""",
    re.MULTILINE,
)
HEADING = re.compile(r"^ {0,3}#{1,6}\s+(?P<text>.+?)\s*#*\s*$", re.MULTILINE)
ANCHOR = re.compile(r"""<a\s[^>]*?(?:id|name)=["'](?P<name>[^"']+)""")


@cache
def repository() -> str:
    """The address of the repository, as pyproject.toml says."""
    address: str = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["urls"]["Repository"]
    return address


def tracked() -> list[Path]:
    """The files that git tracks, and the new ones that it does not ignore."""
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True, text=True).stdout
    return [ROOT / name for name in sorted(set(listed.split("\0"))) if name and (ROOT / name).is_file()]


def without_code(code: re.Pattern[str], text: str) -> str:
    """The text with spaces in place of its code, so that lines keep their numbers."""
    return code.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), text)


def anchors(text: str) -> set[str]:
    """The anchors of a page, as the common code hosts make them: the heading in lower case, with hyphens for spaces,
    without other punctuation, and with a number after a heading that repeats."""
    slugs: set[str] = set()
    prose = without_code(FENCED, text)
    for heading in HEADING.finditer(prose):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading["text"])
        base = re.sub(r"[^\w\- ]", "", words.lower()).replace(" ", "-")
        slug, repeats = base, 0
        while slug in slugs:
            repeats += 1
            slug = f"{base}-{repeats}"
        slugs.add(slug)
    return slugs | {anchor["name"] for anchor in ANCHOR.finditer(prose)}


def problem(page: Path, target: str, files: set[Path]) -> str | None:
    """Why this link of a page is dead, or None if it is not."""
    own = f"{repository()}/blob/main/"
    parts = urlsplit("/" + target.removeprefix(own) if target.startswith(own) else target)
    if parts.scheme or parts.netloc:
        return None
    path = unquote(parts.path)
    file = (ROOT / path.lstrip("/") if path.startswith("/") else page.parent / path).resolve() if path else page
    if file not in files:
        return None if any(file in other.parents for other in files) else "no such file"
    if parts.fragment and file.suffix == ".md" and unquote(parts.fragment) not in anchors(file.read_text("utf-8")):
        return "no such heading"
    return None


def dead_links(page: Path, files: set[Path]) -> list[str]:
    """One message for each dead link of the page, with its line number."""
    text = without_code(CODE, page.read_text("utf-8"))
    messages: list[str] = []
    for link in LINK.finditer(text):
        target = link["inline"] or link["reference"] or link["html"]
        reason = problem(page, target, files)
        if reason:
            messages.append(f"{page.name}:{text.count(chr(10), 0, link.end()) + 1}: {target}: {reason}")
    return messages


def main() -> int:
    files = set(tracked())
    pages = sorted(file for file in files if file.suffix == ".md")
    dead = [f"{page.parent.relative_to(ROOT)}/{message}" for page in pages for message in dead_links(page, files)]
    print("\n".join([*dead, f"{len(pages)} pages, {len(dead)} dead links"]))
    return 1 if dead else 0


if __name__ == "__main__":
    sys.exit(main())
