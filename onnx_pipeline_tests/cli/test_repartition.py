"""`onnx-pipeline repartition` from the command to the table: its Dagster runs are processes of their own."""

import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from onnx_pipeline.orchestration.names import INTO_TAG, SIDE_TABLE
from onnx_pipeline.orchestration.selection import PARTITION_TAG
from onnx_pipeline_tests.cli.conftest import Command
from onnx_pipeline_tests.cli.test_commands import query
from onnx_pipeline_tests.dagster.processes import instance_in

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Dagster's, where a spec is read in this process

TARGET = "Käufe.visits scored"
BY_DAY = {"column": "day", "every": "day", "start": "2026-01-01"}
BY_MARK = {"column": "mark", "values": ["[/b]", ":x:", "z..a"]}
"""Values that a terminal, or a range, could take for something else."""

Spec = Callable[..., None]


@pytest.fixture
def scoring(command: Command, project_home: Path, weighted_sum: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Spec]:
    """`scoring(partitions, **attributes)` writes the only scoring of a project, which 60 visits of two days are for."""
    package = project_home / "hospital"
    folder = package / "defs" / "visits"
    folder.mkdir(parents=True)
    (project_home / "pyproject.toml").write_text('[tool.dg]\n[tool.dg.project]\nroot_module = "hospital"\n')
    (package / "__init__.py").touch()
    (package / "definitions.py").write_text(
        "from pathlib import Path\nimport dagster as dg\n"
        "from onnx_pipeline.orchestration.executor import in_process_executor\n\n"
        "@dg.definitions\ndef defs():\n"
        "    found = dg.load_from_defs_folder(path_within_project=Path(__file__).parent)\n"
        "    return dg.Definitions.merge(found, dg.Definitions(executor=in_process_executor))\n"
    )
    (folder / "model.onnx").write_bytes(weighted_sum({"x": 2.0}, bias=1.0).normalised)
    monkeypatch.syspath_prepend(str(project_home))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    (project_home / "data").mkdir()
    assert command("sample", "--days", "1", "--rows-per-day", "0").code == 0  # makes the pool
    query(
        project_home,
        "CREATE TABLE visits AS SELECT range AS id, range::FLOAT AS x, DATE '2026-01-01' + (range % 2)::INT AS day, "
        "['[/b]', ':x:', 'z..a'][range % 3 + 1] AS mark FROM range(60)",
    )
    query(project_home, 'CREATE SCHEMA "Käufe"')

    def write(partitions: Mapping[str, Any], **attributes: Any) -> None:
        facts = {"onnx": "model.onnx", "source": "visits", "key": ["id"], "target": TARGET, "partitions": partitions}
        text = yaml.safe_dump({"type": "onnx_pipeline.OnnxScoring", "attributes": facts | attributes})
        (folder / "defs.yaml").write_text(text)

    yield write
    for name in [name for name in sys.modules if name.partition(".")[0] == "hospital"]:
        del sys.modules[name]


def standing(home: Path) -> list[tuple[Any, ...]]:
    """Partitions with their rows, ids and wrong predictions, and what the log says of each."""
    found = query(
        home,
        "SELECT partition_key, count(*), count(DISTINCT id), count(*) FILTER (abs(score - (2 * id + 1)) > 1e-4) "
        'FROM "Käufe"."visits scored" GROUP BY 1 ORDER BY 1',
    )
    logged = query(home, f"SELECT partition_key, rows FROM onnx_scoring_log WHERE target = '{TARGET}' ORDER BY 1")
    assert logged == [row[:2] for row in found]
    return found


def tables(home: Path) -> list[str]:
    return [name for (name,) in query(home, "SELECT table_name FROM duckdb_tables() WHERE schema_name = 'Käufe'")]


def test_a_changed_way_is_scored_by_runs_of_the_job_and_exchanged(
    command: Command, scoring: Spec, project_home: Path
) -> None:
    scoring(BY_MARK)
    listed = command("pending").out
    assert ":x:" in listed and "[/b]" in listed
    done = command("run")
    assert done.code == 0, done.error
    assert "visits: 3 partitions, [/b] to z..a, 60 rows" in done.out
    old = [(mark, 20, 20, 0) for mark in (":x:", "[/b]", "z..a")]
    assert standing(project_home) == old

    scoring(BY_DAY, partitions_per_run=1)
    done = command("run")
    assert done.code == 1 and "onnx-pipeline repartition visits" in done.error
    # Twice one key, which only a load finds, in the second of the two partitions.
    query(project_home, "INSERT INTO visits SELECT * FROM visits WHERE id = 1")
    done = command("repartition", "visits")
    log = project_home / "data" / "last_run" / "visits.log"
    assert done.code == 1
    assert "the run of visits over 2026-01-02 failed" in done.error and f"Its whole log is {log}." in done.error
    assert "occur more than once" in log.read_text()
    assert standing(project_home) == old

    query(project_home, "DELETE FROM visits WHERE id = 1")
    query(project_home, "INSERT INTO visits VALUES (1, 1, DATE '2026-01-02', ':x:')")
    done = command("repartition", "visits", "--keep")
    assert done.code == 0, done.error
    assert f"1 partition stands in {TARGET}_onnx_repartition already." in done.out
    assert f"visits: 60 rows stand in {TARGET} in place of 60." in done.out
    assert standing(project_home) == [(f"2026-01-0{day}", 30, 30, 0) for day in (1, 2)]
    backup = 'SELECT count(*), count(DISTINCT partition_key) FROM "Käufe"."visits scored_before_repartition"'
    assert query(project_home, backup) == [(60, 3)]
    assert sorted(tables(project_home)) == ["visits scored", "visits scored_before_repartition"]
    # The first partition was scored once, and the runs say what they were for.
    runs = instance_in(project_home).get_runs(filters=dg.RunsFilter(tags={INTO_TAG: SIDE_TABLE}))
    asked = [(run.job_name, run.tags[PARTITION_TAG], run.status) for run in reversed(runs)]
    failed, well = dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.SUCCESS
    assert asked == [("visits", "2026-01-01", well), ("visits", "2026-01-02", failed), ("visits", "2026-01-02", well)]

    assert json.loads(command("pending", "--json").out) == []
    again = command("repartition", "visits")
    assert again.code == 0 and "visits: nothing to do." in again.out
    # As where `outputs` changed and somebody altered the table: what the log tells of stands there no more.
    query(project_home, 'ALTER TABLE "Käufe"."visits scored" RENAME COLUMN score TO points')
    shown = command("status")
    assert shown.code == 0, shown.error
    assert re.search(r"visits +2 +60 ", shown.out)
