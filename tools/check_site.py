"""Judge a built site: every link inside it leads to a page and an anchor, and no page fetches anything from elsewhere.

    python tools/check_site.py site

The builder checks the links of the sources; this checks what a reader gets, generated pages and navigation included.
Links that a reader may follow to other sites are counted, not followed.
"""

from __future__ import annotations

import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

FETCHES: Final = {"img": "src", "script": "src", "link": "href", "iframe": "src", "source": "src", "video": "src"}
"""Elements whose address a browser fetches by itself."""


class Page(HTMLParser):
    """What a page offers and what it asks for."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: set[str] = set()
        self.fetched: set[str] = set()
        self._words: list[str] = []
        self.feed(text)
        self.pending = "--8<--" in "".join("".join(self._words).split())

    def handle_data(self, data: str) -> None:
        """Take text."""
        self._words.append(data)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take an element."""
        given = {name: value or "" for name, value in attrs}
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.links.add(given["href"])
        address = given.get(FETCHES.get(tag, ""), "")
        if address and not (tag == "link" and given.get("rel") == "canonical"):
            self.fetched.add(address)


def offences(site: Path) -> list[str]:
    """Return one line for each link that leads nowhere and each address that would be fetched from elsewhere."""
    pages = {path.resolve(): Page(path.read_text(encoding="utf-8")) for path in sorted(site.rglob("*.html"))}
    found = [] if pages else [f"{site}: no pages"]
    for path, page in pages.items():
        if path.name == "404.html":  # its links are relative to whatever was asked for
            continue
        where = path.relative_to(site.resolve())
        if page.pending:
            found.append(f"{where}: something was to be put in and was not")
        for address in sorted(page.links | page.fetched):
            target = urlsplit(address)
            if target.scheme or target.netloc:
                if address in page.fetched and target.scheme != "data":
                    found.append(f"{where}: fetches {address}")
                continue
            reached = (path.parent / unquote(target.path)).resolve() if target.path else path
            if not reached.exists() or site.resolve() not in reached.parents:
                found.append(f"{where}: {address} leads nowhere")
            elif target.fragment and reached in pages and unquote(target.fragment) not in pages[reached].anchors:
                found.append(f"{where}: no anchor {address}")
    for style in site.rglob("*.css"):
        text = style.read_text(encoding="utf-8")
        found += [
            f"{style.relative_to(site)}: fetches over {scheme}" for scheme in ("url(http", "@import") if scheme in text
        ]
    return found


def main() -> int:
    """Check the site that was named."""
    site = Path(sys.argv[1])
    found = offences(site)
    print("\n".join(found) if found else f"site: {len(list(site.rglob('*.html')))} pages, every link leads somewhere")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
