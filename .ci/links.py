"""Every relative link in a Markdown file leads to a file that is in the tree, and every anchor to a heading in it.

    python3 .ci/links.py

Nothing is fetched: a link with a scheme is somebody else's to keep alive.
"""

from __future__ import annotations

import re
import subprocess
import sys
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


def tracked() -> list[Path]:
    """What is committed or about to be: what git neither tracks nor ignores counts too."""
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True, text=True).stdout
    return [ROOT / name for name in sorted(set(listed.split("\0"))) if name and (ROOT / name).is_file()]


def blanked(code: re.Pattern[str], text: str) -> str:
    """The same text without its code, line for line."""
    return code.sub(lambda found: re.sub(r"[^\n]", " ", found[0]), text)


def anchors(text: str) -> set[str]:
    """The anchors of a page, as the common hosts make them: the heading in lower case, its spaces as hyphens, the rest
    of its punctuation dropped, and a number behind a heading that repeats."""
    found: set[str] = set()
    prose = blanked(FENCED, text)
    for heading in HEADING.finditer(prose):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading["text"])
        base = re.sub(r"[^\w\- ]", "", words.lower()).replace(" ", "-")
        slug, repeats = base, 0
        while slug in found:
            repeats += 1
            slug = f"{base}-{repeats}"
        found.add(slug)
    return found | {anchor["name"] for anchor in ANCHOR.finditer(prose)}


def fault(page: Path, target: str, files: set[Path]) -> str | None:
    parts = urlsplit(target)
    if parts.scheme or parts.netloc:
        return None
    path = unquote(parts.path)
    place = (ROOT / path.lstrip("/") if path.startswith("/") else page.parent / path).resolve() if path else page
    if place not in files:
        return None if any(place in file.parents for file in files) else "no such file"
    if parts.fragment and place.suffix == ".md" and unquote(parts.fragment) not in anchors(place.read_text("utf-8")):
        return "no such heading"
    return None


def faults(page: Path, files: set[Path]) -> list[str]:
    """One line for each dead link of the page, with the number of its line."""
    text = blanked(CODE, page.read_text("utf-8"))
    told: list[str] = []
    for link in LINK.finditer(text):
        target = link["inline"] or link["reference"] or link["html"]
        why = fault(page, target, files)
        if why:
            told.append(f"{page.name}:{text.count(chr(10), 0, link.end()) + 1}: {target}: {why}")
    return told


def main() -> int:
    files = set(tracked())
    pages = sorted(file for file in files if file.suffix == ".md")
    dead = [f"{page.parent.relative_to(ROOT)}/{told}" for page in pages for told in faults(page, files)]
    print("\n".join([*dead, f"{len(pages)} pages, {len(dead)} dead links"]))
    return 1 if dead else 0


if __name__ == "__main__":
    sys.exit(main())
