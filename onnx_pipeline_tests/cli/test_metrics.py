"""`onnx-pipeline metrics`: scraped over HTTP from its own process, and as a file."""

import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import duckdb
import pytest
from prometheus_client.parser import text_string_to_metric_families

from onnx_pipeline_tests.cli.conftest import Command

DEFS = """\
type: onnx_pipeline.OnnxScoring

attributes:
  onnx: model.onnx
  source: visits
  key: [id]
  partitions: {column: day, every: day, start: 2026-01-01, until: 2026-01-04}
  target: visits_scored
"""


@pytest.fixture
def project(project_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with one scoring of nine rows, of which three have a day without a partition."""
    (project_home / "pyproject.toml").write_text(
        '[tool.dg]\ndirectory_type = "project"\n[tool.dg.project]\nroot_module = "watched"\n'
    )
    folder = project_home / "watched" / "defs" / "visits"
    folder.mkdir(parents=True)
    for place in (folder.parent, folder.parent.parent):
        (place / "__init__.py").write_text("")
    (folder / "defs.yaml").write_text(DEFS)
    monkeypatch.syspath_prepend(str(project_home))
    for module in [name for name in sys.modules if name.partition(".")[0] == "watched"]:  # another test's
        monkeypatch.delitem(sys.modules, module)
    (project_home / "data").mkdir(exist_ok=True)
    with duckdb.connect(str(project_home / "data" / "pool.duckdb")) as connection:
        connection.execute(
            "CREATE TABLE visits AS SELECT i AS id, DATE '2026-01-02' + (i // 3)::INTEGER AS day FROM range(9) AS r(i)"
        ).fetchall()
    return project_home


def samples(text: str) -> dict[tuple[str, str], float]:
    return {
        (sample.name, sample.labels.get("reason", "")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_one_look_is_written_to_a_file_or_printed(project: Path, command: Command, tmp_path: Path) -> None:
    file = tmp_path / "onnx.prom"
    assert command("metrics", "--once", str(file)).code == 0
    found = samples(file.read_text())
    assert found["onnx_pipeline_pending_slices", "never scored"] == 2
    assert found["onnx_pipeline_pending_rows", ""] == 6
    assert found["onnx_pipeline_rows_outside", ""] == 3
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("onnx.prom")] == ["onnx.prom"]
    assert samples(command("metrics", "--once", "-").out).keys() == found.keys()


def test_a_scoring_that_cannot_be_is_counted_as_one_that_cannot_be_looked_at(project: Path, command: Command) -> None:
    for name, text in (("typo", DEFS.replace("until:", "untill:")), ("torn", "type: [\n")):
        (project / "watched" / "defs" / name).mkdir()
        (project / "watched" / "defs" / name / "defs.yaml").write_text(text)
    done = command("metrics", "--once", "-")
    assert done.code == 0
    up = {
        (sample.labels["scoring"], sample.labels["error"]): sample.value
        for family in text_string_to_metric_families(done.out)
        for sample in family.samples
        if sample.name == "onnx_pipeline_up"
    }
    # What the alert and the dashboard count: scorings whose value is 0.
    assert up == {("visits", ""): 1, ("typo", "SpecError"): 0, ("torn", "SpecError"): 0}
    assert samples(done.out)["onnx_pipeline_pending_rows", ""] == 6


def test_a_name_that_is_none_is_refused(project: Path, command: Command) -> None:
    done = command("metrics", "visit", "--once", "-")
    assert done.code == 1
    assert "there is no scoring 'visit'" in done.error


def test_a_scrape_over_http_shows_the_look_and_the_process_ends_when_it_is_told_to(project: Path) -> None:
    environment = {
        **os.environ,
        "ONNX_PIPELINE_HOME": str(project),
        "ONNX_PIPELINE_POOL": f"duckdb:///{project}/data/pool.duckdb",
        "DAGSTER_HOME": str(project / "dagster"),
        "PYTHONWARNINGS": "ignore",
    }
    (project / "dagster").mkdir()
    process = subprocess.Popen(
        [sys.executable, "-c", "from onnx_pipeline.cli import main; main()", "metrics", "--port", "0", "--every", "1"],
        cwd=project, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        said = process.stdout.readline()
        url = re.search(r"http://127\.0\.0\.1:\d+/metrics", said)
        assert url is not None, said + (process.stderr.read() if process.stderr else "")
        deadline = time.monotonic() + 60
        text = ""
        while "onnx_pipeline_look_timestamp_seconds " not in text and time.monotonic() < deadline:
            with urllib.request.urlopen(url[0]) as answer:
                assert answer.headers["Content-Type"].startswith("text/plain")
                text = answer.read().decode()
            time.sleep(0.1)
        found = samples(text)
        assert found["onnx_pipeline_pending_rows", ""] == 6
        assert found["onnx_pipeline_scored_rows_total", ""] == 0
        assert found["onnx_pipeline_failed_runs_day", ""] == 0
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.communicate()
