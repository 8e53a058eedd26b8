"""Build the site of the documentation in site/html: the pages of docs/ and the API reference.

    python scripts/docs_site.py [--strict]

``--strict`` fails on a warning. Nothing is fetched, and the site fetches nothing from elsewhere. The sources are put
together in site/source: the pages as they are, those of the root that the site has too, the examples, and the reference
from the docstrings. Links that leave docs/ are changed to fit. docs/index.md is the table of contents: each of its
headings is a part, and each page that it links below the heading is in it. Pages that it does not link come last.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import api_pages
from link_check import CODE, LINK, repository, without_code

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
SITE = ROOT / "site"
SOURCE, HTML = SITE / "source", SITE / "html"
#: The pages of the root that the site has too.
ROOT_PAGES = {"SECURITY.md": "security.md", "CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md"}
#: What a browser would fetch from another host while it shows a page. A link that one can click is none.
EXTERNAL = re.compile(
    r"""<(?:script|img|iframe|source)\b[^>]*\bsrc=["']?(?:https?:)?//"""
    r"""|<link\b[^>]*\bhref=["']?(?:https?:)?//[^>]*stylesheet"""
    r"""|@import\s+["']?(?:https?:)?//"""
    r"""|url\(["']?(?:https?:)?//"""
)


def sources() -> dict[str, str]:
    """The pages of the site, by path, without the table of contents."""
    pages = {page.relative_to(DOCS).as_posix(): page for page in sorted(DOCS.rglob("*.md"))}
    pages |= {name: ROOT / page for page, name in ROOT_PAGES.items()}
    examples: set[Path] = set()
    written = {name: _with_links(name, page, examples) for name, page in pages.items()}
    written |= {_example_page(file): _example(file) for file in examples}
    written |= {f"api/{page.package}.rst": page.text for page in api_pages.pages()}
    return written


def _with_links(name: str, page: Path, examples: set[Path]) -> str:
    """The text of the page, with the links that leave docs/ changed to what the site has. Examples are collected."""
    text = page.read_text("utf-8")
    changes: list[tuple[int, int, str]] = []
    for link in LINK.finditer(without_code(CODE, text)):
        group = next(group for group in ("inline", "reference", "html") if link[group])
        changes.append((*link.span(group), _target(name, page, link[group], examples)))
    for start, end, new in sorted(changes, reverse=True):
        text = text[:start] + new + text[end:]
    return text


def _target(name: str, page: Path, target: str, examples: set[Path]) -> str:
    """Where a link leads in the site: to a page of it, or to the repository."""
    parts = urlsplit(target)
    if parts.scheme or parts.netloc or not parts.path:
        return target
    file = (page.parent / parts.path).resolve()
    path = file.relative_to(ROOT).as_posix()
    anchor = f"#{parts.fragment}" if parts.fragment else ""
    if path in ROOT_PAGES:
        return os.path.relpath(ROOT_PAGES[path], Path(name).parent) + anchor
    if file.is_relative_to(DOCS):
        return os.path.relpath(file.relative_to(DOCS), Path(name).parent) + anchor
    if file.is_relative_to(ROOT / "examples") and file.suffix == ".py":
        examples.add(file)
        return os.path.relpath(_example_page(file), Path(name).parent)
    return f"{repository()}/blob/main/{path}{anchor}"


def _example_page(file: Path) -> str:
    return file.relative_to(ROOT).with_suffix(".md").as_posix()


def _example(file: Path) -> str:
    code = file.read_text("utf-8").rstrip()
    return f"# {file.name}\n\n`{file.relative_to(ROOT)}` in the repository:\n\n```python\n{code}\n```\n"


def contents(names: set[str], index: str) -> str:
    """The toctrees below the index: its headings and links, then the rest."""
    parts: dict[str, list[str]] = {}
    left = set(names) - {"index.md"}
    for heading, body in re.findall(r"^## (.+)\n((?:(?!^## ).*\n?)*)", index, re.MULTILINE):
        for link in LINK.finditer(body):
            target = (link["inline"] or "").partition("#")[0]
            if target in left:
                left.discard(target)
                parts.setdefault(heading, []).append(target)
    reference = [f"api/{package}.rst" for package in api_pages.PACKAGES if f"api/{package}.rst" in left]
    examples = sorted(name for name in left if name.startswith("examples/"))
    parts["API reference"] = reference
    parts["More"] = sorted(left - set(reference) - set(examples))
    parts["Examples"] = examples
    return "\n".join(_toctree(heading, pages) for heading, pages in parts.items() if pages)


def _toctree(caption: str, pages: list[str]) -> str:
    entries = "\n".join(page.rsplit(".", 1)[0] for page in pages)
    return f"```{{toctree}}\n:hidden:\n:caption: {caption}\n:maxdepth: 2\n\n{entries}\n```\n"


def write_sources() -> None:
    """Write the sources anew."""
    shutil.rmtree(SOURCE, ignore_errors=True)
    pages = sources()
    pages["index.md"] = pages["index.md"].rstrip() + "\n\n" + contents(set(pages), pages["index.md"])
    for name, text in pages.items():
        path = SOURCE / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    for file in DOCS.rglob("*"):
        if file.suffix in {".svg", ".png", ".css"}:
            path = SOURCE / file.relative_to(DOCS)
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, path)


def external_resources(html: Path = HTML) -> Iterator[str]:
    """What a page or a style sheet would fetch from elsewhere."""
    for file in sorted([*html.rglob("*.html"), *html.rglob("*.css")]):
        for match in EXTERNAL.finditer(file.read_text("utf-8")):
            yield f"{file.relative_to(html)}: {match[0]}"


def main(arguments: list[str]) -> int:
    write_sources()
    shutil.rmtree(HTML, ignore_errors=True)
    # A page that did not change would keep its warnings to itself, so everything is read anew.
    command = [sys.executable, "-m", "sphinx", "-q", "-E", "-j", "auto", "-b", "html", "-c", str(DOCS)]
    strict = ["-W", "--keep-going"] if "--strict" in arguments else []
    built = subprocess.run([*command, *strict, "-d", SITE / "doctrees", SOURCE, HTML], cwd=ROOT, check=False)
    foreign = list(external_resources())
    print("\n".join([*(f"fetched from elsewhere: {one}" for one in foreign), f"{HTML.relative_to(ROOT)}/index.html"]))
    return 1 if foreign else built.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
