"""Every code block of the documentation runs, and prints what the page says."""

import functools
import itertools
import re
import shutil
from pathlib import Path

import pytest
from doc_blocks import Block, Runner, blocks_of
from markdown_it import MarkdownIt

from onnx_pipeline.base.errors import SpecError
from onnx_pipeline.cli.sample import create_sample
from onnx_pipeline_tests import needs

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
RUN = [page for page in PAGES if any("not run" not in block.comments for block in blocks_of(page))]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the project with a small sample in its pool; Python blocks run with it as working directory."""
    copy = tmp_path / "onnx_pipeline"
    ignored = shutil.ignore_patterns("__pycache__")
    for folder in ("onnx_pipeline", "sql"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=ignored)
    for file in ("pyproject.toml", "dagster.yaml", "workspace.yaml", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, copy / file)
    (copy / "docs").mkdir()
    monkeypatch.chdir(copy)
    monkeypatch.setenv("ONNX_PIPELINE_HOME", str(copy))
    monkeypatch.delenv("ONNX_PIPELINE_POOL")
    create_sample(days=3, rows_per_day=100, start="2026-01-01", keep=False)
    return copy


@pytest.mark.timeout(900)  # the tutorial starts some fifteen processes, one after the other
@pytest.mark.parametrize("page", RUN, ids=lambda page: page.name)
def test_the_blocks_of_a_page_run(page: Path, project: Path) -> None:
    blocks = blocks_of(page)
    if any(re.search(r"^\$ curl ", block.text, re.MULTILINE) for block in blocks if "not run" not in block.comments):
        needs.program("curl", "curl")
    runner = Runner(project)
    for block in blocks:
        runner.run(block)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_pictures_of_a_page_lead_somewhere(page: Path) -> None:
    for token in MarkdownIt("commonmark").parse(page.read_text(encoding="utf-8")):
        for child in token.children or ():
            target = str(child.attrs.get("href") or child.attrs.get("src") or "")
            if target and "://" not in target:
                path, _, heading = target.partition("#")
                file = page.parent / path if path else page
                assert file.exists(), f"{page.name} points at {target}"
                assert not heading or heading in anchors(file), f"{page.name} points at {target}"


@functools.cache
def anchors(page: Path) -> set[str]:
    """The headings of a page as links name them: small letters, hyphens for spaces, no punctuation."""
    tokens = MarkdownIt("commonmark").parse(page.read_text(encoding="utf-8"))
    titles = [
        "".join(child.content for child in inline.children or () if child.type in ("text", "code_inline"))
        for opened, inline in itertools.pairwise(tokens)
        if opened.type == "heading_open"
    ]
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def block(language: str, text: str, **comments: str) -> Block:
    return Block("a page", 1, language, text, {name.replace("_", " "): value for name, value in comments.items()})


def test_a_block_that_nothing_runs_fails_unless_it_says_why(tmp_path: Path) -> None:
    runner = Runner(tmp_path)
    runner.run(block("cobol", "STOP RUN.", not_run="there is no compiler"))
    with pytest.raises(AssertionError, match="say why it does not run"):
        runner.run(block("cobol", "STOP RUN."))


def test_a_block_with_other_output_than_shown_fails(tmp_path: Path) -> None:
    runner = Runner(tmp_path)
    runner.run(block("console", "$ echo one two\none ...\n"))
    with pytest.raises(AssertionError, match="and the page says"):
        runner.run(block("console", "$ echo one two\nthree\n"))
    with pytest.raises(AssertionError, match="exited with 3"):
        runner.run(block("console", "$ exit 3\n"))
    for language, text in (("tsql", "ALTER TABEL x ADD y"), ("tsql", "GRANT TO nobody")):
        with pytest.raises(AssertionError, match="a page"):
            runner.run(block(language, text))
    with pytest.raises(SpecError, match="not known"):
        runner.run(block("url", "mssql+pyodbc://server/warehouse?lock_timout=1"))
    with pytest.raises(AssertionError, match="Expected"):
        runner.run(block("python", ">>> 1 + 1\n3\n"))


def test_a_comment_belongs_to_the_next_block_alone(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- not run: slow -->\n```sql\nSELECT 1\n```\n\n```sql\nSELECT 2\n```\n")
    assert [found.comments for found in blocks_of(page)] == [{"not run": "slow"}, {}]
