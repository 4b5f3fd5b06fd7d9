"""Where relative paths of configuration start."""

from pathlib import Path

from onnx_pipeline.base import paths


def test_the_environment_names_the_projects_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("ONNX_PIPELINE_HOME", str(tmp_path / "a" / ".." / "b"))
    assert paths.home() == tmp_path / "b"
    assert paths.resolve("data/pool.duckdb") == tmp_path / "b" / "data" / "pool.duckdb"


def test_without_it_the_checkout_is_the_projects_folder_wherever_the_command_runs(monkeypatch, tmp_path):
    monkeypatch.delenv("ONNX_PIPELINE_HOME")
    monkeypatch.chdir(tmp_path)
    assert (paths.home() / "onnx_pipeline" / "base" / "paths.py").samefile(paths.__file__)


def test_an_installed_package_works_from_the_working_directory(monkeypatch, tmp_path):
    monkeypatch.delenv("ONNX_PIPELINE_HOME")
    monkeypatch.setattr(paths, "_PACKAGE", tmp_path / "site-packages" / "onnx_pipeline")
    monkeypatch.chdir(tmp_path)
    assert paths.home() == tmp_path


def test_in_a_dagster_project_its_root_is_the_projects_folder(monkeypatch, tmp_path):
    monkeypatch.delenv("ONNX_PIPELINE_HOME")
    inside = tmp_path / "hospital" / "src" / "hospital"
    inside.mkdir(parents=True)
    (tmp_path / "pyproject.toml").write_text('[tool.dg]\ndirectory_type = "workspace"\n')
    (tmp_path / "hospital" / "pyproject.toml").write_text('[tool.dg.project]\nroot_module = "hospital"\n')
    monkeypatch.chdir(inside)
    assert paths.home() == tmp_path / "hospital"
    monkeypatch.setenv("ONNX_PIPELINE_HOME", str(tmp_path))
    assert paths.home() == tmp_path


def test_once_a_project_is_loaded_it_is_that_one_wherever_the_process_runs(monkeypatch, tmp_path):
    monkeypatch.delenv("ONNX_PIPELINE_HOME")
    monkeypatch.chdir(tmp_path)
    paths.enter(tmp_path / "hospital")
    assert paths.home() == tmp_path / "hospital"
    paths.enter(tmp_path / "lib" / "site-packages")
    assert paths.home() != tmp_path / "lib" / "site-packages", "a project's wheel lies there, and no data"


def test_an_absolute_path_stays_what_it_is(project_home):
    assert paths.resolve("/srv/pool.duckdb") == Path("/srv/pool.duckdb")
    assert paths.resolve(project_home) == project_home


def test_a_tilde_is_the_users_home(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert paths.resolve("~/models") == tmp_path / "models"


def test_the_sql_folder_holds_what_the_pools_load():
    names = {file.name for file in (paths.sql_folder() / "duckdb").iterdir()}
    assert {"onnx_models.sql", "onnx_scoring_log.sql"} <= names
