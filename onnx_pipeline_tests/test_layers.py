"""Which folder imports which, and how large the parts are: what docs/architecture.md says of the rooms."""

import statistics
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp
import pytest
from importlinter.api import read_configuration
from importlinter.cli import lint_imports

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "onnx_pipeline"
CONFIGURATION = str(ROOT / "pyproject.toml")
CONTRACTS = [contract["id"] for contract in read_configuration(CONFIGURATION)["contracts_options"]]


def modules():
    return sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("contract", CONTRACTS)
def test_imports_keep_the_contract(contract, monkeypatch, capsys):
    monkeypatch.setattr(sys, "path", [str(ROOT), *sys.path])
    # Its own logging would switch off every logger that stands, for the tests that come after it in this process.
    monkeypatch.setattr("logging.config.dictConfig", lambda _: None)
    kept = lint_imports(config_filename=CONFIGURATION, limit_to_contracts=(contract,), no_cache=True, no_logo=True)
    assert kept == 0, capsys.readouterr().out


def test_no_module_imports_itself_by_way_of_others():
    """Nor does a package's `__init__` by way of its modules, which the contract does not compare.

    What type checkers alone import counts too.
    """
    graph = grimp.build_graph("onnx_pipeline", cache_dir=None)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        pytest.fail(" imports ".join(error.args[1][::-1]))


def test_few_modules_lie_loose():
    loose = [file.name for file in PACKAGE.glob("*.py")]
    assert len(loose) <= 10, loose


def test_modules_are_short():
    lines = {str(file.relative_to(ROOT)): len(file.read_text(encoding="utf-8").splitlines()) for file in modules()}
    assert {name: count for name, count in lines.items() if count > 350} == {}
    assert statistics.median(lines.values()) < 100
