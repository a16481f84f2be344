"""The site: every page is in the navigation, every link leads somewhere, and the strict build says so too."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
CONFIG = tomllib.loads((ROOT / "zensical.toml").read_text())["project"]
LINK = re.compile(r"\]\(([^)#\s]*)#?([^)\s]*)\)")


def prose(page: Path) -> str:
    """Return a page without its code, in which brackets mean something else."""
    return re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(), flags=re.DOTALL)


def anchors(page: Path) -> set[str]:
    headings = [line.lstrip("# ") for line in page.read_text().splitlines() if re.match(r"#{1,6} ", line)]
    return {re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def leaves(entries: object) -> list[str]:
    if isinstance(entries, str):
        return [entries]
    if isinstance(entries, dict):
        entries = list(entries.values())
    assert isinstance(entries, list)
    return [leaf for entry in entries for leaf in leaves(entry)]


@pytest.fixture(scope="module")
def check_site() -> ModuleType:
    spec = importlib.util.spec_from_file_location("keephold_check_site", ROOT / "tools" / "check_site.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
def test_links_lead_somewhere_inside_the_site(page):
    for target, anchor in LINK.findall(prose(page)):
        if "://" in target:
            continue
        found = (page.parent / target).resolve() if target else page
        assert found.is_relative_to(DOCS), f"{target}: outside docs/, so not on the site"
        assert found.exists(), target
        assert not anchor or anchor in anchors(found), f"{target}#{anchor}"


def test_the_navigation_is_every_page_once():
    assert sorted(leaves(CONFIG["nav"])) == sorted(str(page.relative_to(DOCS)) for page in PAGES), (
        "nav in zensical.toml"
    )


def test_a_reader_fetches_nothing_from_elsewhere():
    assert CONFIG["theme"]["font"] is False
    assert not CONFIG.keys() & {"extra_css", "extra_javascript"}


def test_the_front_page_shows_the_architecture():
    assert "](architecture.svg)" in (DOCS / "index.md").read_text()


@pytest.mark.parametrize(
    ("page", "said"),
    [
        ('<a href="b.html">', "leads nowhere"),
        ('<a href="../outside.html">', "leads nowhere"),
        ('<a href="#there">', "no anchor"),
        ('<script src="https://elsewhere/x.js"></script>', "fetches"),
        ('<link rel="stylesheet" href="//elsewhere/x.css">', "fetches"),
        ("<code><span>--8&lt;--</span> x.py</code>", "put in"),
        ('<p id="here"><a href="#here"></a><a href="a.html#here"></a><a href="https://elsewhere/">', ""),
    ],
)
def test_a_built_site_is_judged(check_site, tmp_path, page, said):
    (tmp_path / "outside.html").write_text("")
    site = tmp_path / "site"
    site.mkdir()
    (site / "a.html").write_text(page)
    found = check_site.offences(site)
    assert [said in line for line in found] == ([True] if said else [])


def test_an_empty_site_is_no_site(check_site, tmp_path):
    assert check_site.offences(tmp_path) != []


@pytest.mark.skipif(importlib.util.find_spec("zensical") is None, reason="`make docs` installs what builds the site")
def test_the_strict_build_refuses_a_link_that_leads_nowhere(tmp_path):
    """`make check` builds the real one; here a copy with a broken link must fail."""
    shutil.copytree(DOCS, tmp_path / "docs")
    text = (ROOT / "zensical.toml").read_text().replace('paths = ["src"]', f'paths = ["{ROOT / "src"}"]')
    (tmp_path / "zensical.toml").write_text(text)
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    build = [str(Path(sys.executable).parent / "zensical"), "build", "--strict"]
    for broken, status in (("", 0), ("[x](nowhere.md)", 1), ("[x](keys.md#nowhere)", 1), ("::: keephold.nothing", 1)):
        (tmp_path / "docs" / "index.md").write_text((DOCS / "index.md").read_text() + broken + "\n")
        ended = subprocess.run(build, cwd=tmp_path, capture_output=True, check=False)
        assert ended.returncode == status, broken + ended.stdout.decode() + ended.stderr.decode()
