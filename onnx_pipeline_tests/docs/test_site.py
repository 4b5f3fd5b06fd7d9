"""The site that `make docs` makes of these pages: all of them are in its navigation, and what they link to is there."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tools import site

ROOT = Path(__file__).parents[2]


def pages_in(entry: Any) -> list[str]:
    if isinstance(entry, str):
        return [entry]
    below = entry.values() if isinstance(entry, dict) else entry
    return [page for part in below for page in pages_in(part)]


def test_every_page_is_in_the_navigation_once_and_can_be_reached_from_the_first_one() -> None:
    text = (ROOT / "tools" / "site.toml").read_text(encoding="utf-8")
    nav = text[text.index("nav = ") + len("nav = ") : text.index("[project.theme]")]
    named = pages_in(yaml.safe_load(nav.replace(" = ", ": ")))
    reached = {file.as_posix() for file in site.files() if file.suffix == ".md"}
    assert sorted(named) == sorted(reached)
    written = {page.relative_to(ROOT).as_posix() for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]}
    assert written <= reached
    assert named[0] == site.HOME


def test_a_link_that_no_file_answers_is_named_with_its_page(tmp_path: Path) -> None:
    (tmp_path / "guide").mkdir()
    (tmp_path / "guide" / "index.html").write_text(
        '<a href="../">home</a><a href="../a.py">file</a><a href="#here">here</a><a href="https://x.test/y">out</a>'
        '<img src="../images/none.png"><a href="../other/#part">page</a>'
    )
    (tmp_path / "index.html").write_text('<a href="guide/">guide</a>')
    (tmp_path / "a.py").write_text("")
    assert sorted(site.dead_links(tmp_path)) == [
        "guide/index.html: ../images/none.png",
        "guide/index.html: ../other/#part",
    ]


@pytest.mark.nightly
def test_the_site_builds_strictly_from_the_pages_as_they_stand(tmp_path: Path) -> None:
    pytest.importorskip("zensical", reason="builds the site; `make docs` installs it, for Python 3.11 or newer")
    html = site.build(tmp_path / "site")
    tutorial = (html / "docs" / "tutorial" / "index.html").read_text(encoding="utf-8")
    assert "Score a table of your own" in tutorial
    assert "biopsies" in (html / "search.json").read_text(encoding="utf-8")
    assert 'src="https://' not in tutorial  # a reader's browser asks this site alone
