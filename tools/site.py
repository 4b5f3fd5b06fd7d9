"""`python tools/site.py`: the documentation as a site with search, in build/site/html, from the pages as they stand.

Pages are laid out as in the repository, with every file that they link to, so links need no rewriting. Zensical checks
links to pages and headings; links to files and pictures are checked here.
"""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[1]
HOME = "README.md"


class SiteError(Exception):
    """A page or a file that the site links to is not there."""


def linked(page: Path) -> Iterator[Path]:
    """The files of the repository that a page links to or shows."""
    for token in MarkdownIt("commonmark").parse(page.read_text(encoding="utf-8")):
        for child in token.children or ():
            link = urlsplit(str(child.attrs.get("href") or child.attrs.get("src") or ""))
            if link.path and not link.scheme:
                yield (page.parent / unquote(link.path)).resolve()


def files(root: Path = ROOT) -> list[Path]:
    """What the site is made of: the home page, and what it leads to, page by page, relative to `root`."""
    found = [root.resolve() / HOME]
    for page in found:  # grows
        if page.suffix == ".md":
            found += [file for file in dict.fromkeys(linked(page)) if file.is_file() and file not in found]
    return [file.relative_to(root.resolve()) for file in found]


def build(folder: Path) -> Path:
    """Build the site in a folder that is emptied first; the folder of its HTML."""
    shutil.rmtree(folder, ignore_errors=True)
    for file in files():
        copy = folder / "pages" / file
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / file, copy)
    shutil.copy(Path(__file__).with_suffix(".toml"), folder / "zensical.toml")
    done = subprocess.run([sys.executable, "-m", "zensical", "build", "--strict"], cwd=folder, check=False)
    if done.returncode:
        raise SiteError("Zensical found what it names above")
    if missing := sorted(dead_links(folder / "html")):
        raise SiteError("links and pictures that lead nowhere:\n" + "\n".join(missing))
    return folder / "html"


class _Targets(HTMLParser):
    """Where a page's links, pictures, scripts and styles lead."""

    def __init__(self) -> None:
        super().__init__()
        self.targets: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.targets += [value for name, value in attrs if name in ("href", "src") and value]


def dead_links(html: Path) -> Iterator[str]:
    """`page: target` of each link inside a site that no file answers; a page's folder stands for its index.html."""
    for page in html.rglob("*.html"):
        if page.name == "404.html":
            continue  # is served for any path, so its links start at the host
        reader = _Targets()
        reader.feed(page.read_text(encoding="utf-8"))
        for target in dict.fromkeys(reader.targets):
            link = urlsplit(target)
            if link.scheme or link.netloc or not link.path:
                continue
            file = page.parent / unquote(link.path)
            if not (file / "index.html" if file.is_dir() else file).is_file():
                yield f"{page.relative_to(html)}: {target}"


if __name__ == "__main__":
    try:
        html = build(ROOT / "build" / "site")
    except SiteError as error:
        sys.exit(f"The site was not built: {error}")
    place = html.relative_to(ROOT)
    print(f"The site is in {place}; `python3 -m http.server -d {place}` shows it, with search.")
