"""The sources of the site: every public name is documented, every page is in the contents, and no link leaves the site.

`make check` builds the site from them.
"""

from __future__ import annotations

import importlib
import os
import re
from pathlib import Path

import pytest

import api_pages
import docs_site
from authguard import reasons
from link_check import CODE, without_code
from tests.support.markdown import DOCS, page_name, pages

SOURCES = docs_site.sources()


@pytest.mark.parametrize("package", api_pages.packages())
def test_each_public_name_is_documented(package: str) -> None:
    """The page of a package describes each name that it exports, or links the page that does."""
    text = SOURCES[f"api/{package}.rst"]
    described = re.findall(r"\.\. (?:auto\w+|py:data):: ([\w.]+)$", text, re.MULTILINE)
    linked = re.findall(r":py:obj:`~([\w.]+)`", text)

    assert {name.rpartition(".")[2] for name in [*described, *linked]} == set(api_pages.public_names(package))


def test_each_link_of_the_reference_leads_to_an_entry() -> None:
    """What a page says another one describes, that one describes."""
    text = "\n".join(page for name, page in SOURCES.items() if name.startswith("api/"))
    described = set(re.findall(r"^\.\. (?:auto\w+|py:data):: ([\w.]+)$", text, re.MULTILINE))

    assert [link for link in re.findall(r":py:obj:`~([\w.]+)`", text) if link not in described] == []


def test_each_reason_is_in_the_reference() -> None:
    """The table of reasons has every constant of reasons.py."""
    known = {name for name, value in vars(reasons).items() if isinstance(value, reasons.Reason)}

    assert set(re.findall(r"py:data:: (\w+)", SOURCES["api/authguard.reasons.rst"])) == known


def test_each_package_with_exported_names_has_a_page() -> None:
    """A package below authguard with ``__all__`` is in the reference, except for the command."""
    folders = [path.parent.name for path in (docs_site.ROOT / "authguard").glob("*/__init__.py")]
    folders.remove("cli")
    public = [name for name in folders if hasattr(importlib.import_module(f"authguard.{name}"), "__all__")]

    assert [name for name in public if f"authguard.{name}" not in api_pages.PACKAGES] == []


def test_each_page_is_in_the_contents_once() -> None:
    """The tables of contents list every page of the site but the index, whether the index links it or not."""
    names = set(SOURCES) | {"guide/of-tomorrow.md"}
    listed = re.findall(r"^[\w./-]+$", docs_site.contents(names, SOURCES["index.md"]), re.MULTILINE)

    assert sorted(listed) == sorted(name.rsplit(".", 1)[0] for name in names - {"index.md"})


def test_each_page_of_the_docs_is_in_the_site() -> None:
    """The site has the pages under docs/, the three of the root, and the examples that they link."""
    expected = {page_name(page) for page in pages() if page.is_relative_to(DOCS)}

    assert expected | {"security.md", "changelog.md", "contributing.md", "examples/discovery.md"} <= set(SOURCES)


def test_each_relative_link_stays_in_the_site() -> None:
    """No page of the site has a link out of its folder to a file that the site lacks."""
    left = [
        f"{name}: {target}"
        for name, text in SOURCES.items()
        for target in re.findall(r"\]\(([^)\s:#]+\.(?:md|py|toml))(?:#[^)]*)?\)", without_code(CODE, text))
        if os.path.normpath(Path(name).parent / target) not in SOURCES
    ]

    assert left == []


def test_a_script_from_elsewhere_is_found(tmp_path: Path) -> None:
    """The build fails for a script, a style sheet, a font or an image of another host; links are allowed."""
    (tmp_path / "a.html").write_text('<a href="https://x.example/"><script src="https://cdn.example/a.js"></script>')
    (tmp_path / "b.html").write_text('<link href="//cdn.example/a.css" rel="stylesheet"><img src="a.svg">')
    (tmp_path / "c.css").write_text("src: url(https://fonts.example/a.woff2)")

    assert [one.partition(":")[0] for one in docs_site.external_resources(tmp_path)] == ["a.html", "b.html", "c.css"]
