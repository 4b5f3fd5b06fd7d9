"""Dashboard and alert rules speak of figures that `onnx-pipeline metrics` really exports."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from onnx_pipeline.orchestration.metrics.exporter import Exporter
from onnx_pipeline.orchestration.metrics.look import Runs, Seen
from onnx_pipeline.pools.duckdb.pool import DuckDBPool
from onnx_pipeline.scoring.pending import Reason
from onnx_pipeline.spec.scoring import ScoringSpec
from onnx_pipeline_tests import needs

DEPLOY = Path(__file__).parents[2] / "deploy"
DASHBOARD = DEPLOY / "grafana" / "onnx_pipeline.json"
RULES = DEPLOY / "prometheus" / "onnx_pipeline.rules.yml"

_WORDS = {"by", "without", "on", "ignoring", "group_left", "group_right", "or", "and", "unless", "offset", "bool"}


def names_in(expression: str) -> dict[str, set[str]]:
    """Metric → labels that a PromQL expression matches it by; what is in braces, brackets and `by (...)` is no metric."""
    bare = re.sub(r'"(?:[^"\\]|\\.)*"', '""', expression)
    matched = {
        name: set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", braces))
        for name, braces in re.findall(r"([A-Za-z_:][\w:]*)\s*\{([^}]*)\}", bare)
    }
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]", "", bare)
    bare = re.sub(r"\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)", "", bare)
    words = re.findall(r"(?<![\w.])([A-Za-z_:][\w:]*)\b(?!\s*\()", bare)
    return {word: matched.get(word, set()) for word in words if word not in _WORDS}


def expressions() -> Iterator[tuple[str, str]]:
    """Where it stands, and the expression."""
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]
    for group in yaml.safe_load(RULES.read_text())["groups"]:
        for rule in group["rules"]:
            yield rule["alert"], rule["expr"]


def exported(tmp_path: Path) -> dict[str, set[str]]:
    """Every sample that an exporter with something to show exports, with its labels."""
    spec = ScoringSpec(name="visits", onnx="m.onnx", source="t", key=["id"], target="p")
    exporter: Any = Exporter([spec], DuckDBPool(tmp_path / "pool.duckdb"), None, None)  # type: ignore[arg-type]
    import datetime

    now = datetime.datetime.now(tz=datetime.timezone.utc)
    exporter._seen = {"visits": Seen(1, 1, now, 1, 1.0, {Reason.NEVER_SCORED: 1}, 1, 1.0, 0)}
    exporter._runs, exporter._looked = {"visits": Runs(1, frozenset(), False)}, now
    registry = CollectorRegistry()
    registry.register(exporter)
    return {
        sample.name: set(sample.labels)
        for family in text_string_to_metric_families(generate_latest(registry).decode())
        for sample in family.samples
    }


@pytest.mark.parametrize(
    ("expression", "names"),
    [
        ('sum by (a, b) (rate(x_total{s=~"$s", t!="u"}[5m])) / ignoring (c) y', {"x_total": {"s", "t"}, "y": set()}),
        ("absent(x) or time() - y > 6 * 3600", {"x": set(), "y": set()}),
        ('count(up{job="a{b}[c]"} == 0) or vector(0)', {"up": {"job"}}),
        ("x offset 5m > bool 1e3", {"x": set()}),
    ],
)
def test_the_tests_reading_of_promql(expression: str, names: dict[str, set[str]]) -> None:
    assert names_in(expression) == names


@pytest.mark.parametrize(("place", "expression"), list(expressions()), ids=lambda value: str(value)[:30])
def test_every_figure_of_dashboard_and_rules_is_exported_with_the_labels_they_name(
    place: str, expression: str, tmp_path: Path
) -> None:
    known, named = exported(tmp_path), names_in(expression)
    assert named, place
    assert named.keys() <= known.keys(), place
    for name, labels in named.items():
        assert labels <= known[name], (place, name)


def test_legends_variables_and_texts_name_labels_that_exist(tmp_path: Path) -> None:
    known = exported(tmp_path)
    labels = set().union(*known.values())
    dashboard = json.loads(DASHBOARD.read_text())
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= labels
            assert set(re.findall(r"\$(\w+)", target["expr"])) <= {"scoring", "__rate_interval"}
    (variable,) = (item for item in dashboard["templating"]["list"] if item["type"] == "query")
    name, label = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["definition"]).groups()  # type: ignore[union-attr]
    assert label in known[name]
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    assert set(re.findall(r"\$labels\.(\w+)", RULES.read_text())) <= labels


def test_every_exported_figure_is_on_the_dashboard_in_a_rule_or_on_the_page(tmp_path: Path) -> None:
    page = (DEPLOY.parent / "docs" / "watching.md").read_text()
    used = {name for _, expression in expressions() for name in names_in(expression)}
    missing = {name for name in exported(tmp_path) if name not in used and f"`{name}`" not in page}
    assert missing == set()


def test_promtool_reads_the_rules_and_fires_them(tmp_path: Path) -> None:
    promtool = needs.program("promtool", "--no-install-recommends prometheus")
    done = subprocess.run([promtool, "check", "rules", str(RULES)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    cases = {
        "rule_files": [str(RULES)],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [
                    {"series": 'onnx_pipeline_last_run_failed{scoring="a"}', "values": "1x60"},
                    {"series": 'onnx_pipeline_last_run_failed{scoring="b"}', "values": "0x60"},
                    {"series": 'onnx_pipeline_oldest_pending_seconds{scoring="a"}', "values": "21000+60x60"},
                    {"series": 'onnx_pipeline_oldest_pending_seconds{scoring="b"}', "values": "0+60x60"},
                    {"series": 'onnx_pipeline_up{scoring="c", error="PoolError"}', "values": "0x60"},
                    {"series": "onnx_pipeline_look_timestamp_seconds", "values": "0x60"},
                ],
                "alert_rule_test": [
                    {"eval_time": "10m", "alertname": name, "exp_alerts": alerts}
                    for name, alerts in (("OnnxPipelineStale", []), ("OnnxPipelineExporterSilent", []))
                ]
                + [
                    {
                        "eval_time": "40m", "alertname": "OnnxPipelineRunFailed",
                        "exp_alerts": [fired("warning", "The newest run of a failed", scoring="a")],
                    },
                    {
                        "eval_time": "40m", "alertname": "OnnxPipelineUnreadable",
                        "exp_alerts": [
                            fired("warning", "c cannot be looked at: PoolError", scoring="c", error="PoolError")
                        ],
                    },
                    {
                        "eval_time": "40m", "alertname": "OnnxPipelineExporterSilent",
                        "exp_alerts": [fired("critical", "`onnx-pipeline metrics` has not looked at the pool for 15 minutes")],
                    },
                    {
                        "eval_time": "40m", "alertname": "OnnxPipelineStale",
                        "exp_alerts": [fired("warning", "A partition of a has waited for 6h 30m 0s", scoring="a")],
                    },
                ],
            }
        ],
    }  # fmt: skip
    for case in cases["tests"][0]["alert_rule_test"]:  # type: ignore[index]
        for alert in case["exp_alerts"]:
            alert["exp_annotations"]["description"] = description_of(case["alertname"], alert["exp_labels"])
    (tmp_path / "cases.yml").write_text(yaml.safe_dump(cases))
    done = subprocess.run(
        [promtool, "test", "rules", str(tmp_path / "cases.yml")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def fired(severity: str, summary: str, **labels: str) -> dict[str, Any]:
    return {"exp_labels": {"severity": severity, **labels}, "exp_annotations": {"summary": summary}}


def description_of(alert: str, labels: dict[str, str]) -> str:
    (rule,) = (rule for rule in yaml.safe_load(RULES.read_text())["groups"][0]["rules"] if rule["alert"] == alert)
    text: str = rule["annotations"]["description"]
    return re.sub(r"\{\{ \$labels\.(\w+) \}\}", lambda found: labels[found[1]], text)
