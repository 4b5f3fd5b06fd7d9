"""A test whose tools are missing is left out with what installs them, and fails in CI."""

import ctypes

import pytest

from onnx_pipeline_tests import needs


def missing_library(name):
    raise OSError(f"{name}: cannot open shared object file")


@pytest.mark.parametrize(
    ("ask", "told"),
    [
        (lambda: needs.program("no-such-tool", "some-package"), "apt-get install some-package"),
        (lambda: needs.package("no_such_package", "libgomp1"), "apt-get install libgomp1"),
        (lambda: needs.driver("pyodbc"), "apt-get install unixodbc"),
        (lambda: needs.driver("mssql_python"), "apt-get install libltdl7 libkrb5-3 libgssapi-krb5-2"),
    ],
)
@pytest.mark.parametrize(("ci", "outcome"), [(None, pytest.skip.Exception), ("true", pytest.fail.Exception)])
def test_what_is_missing_is_a_skip_that_says_what_to_install_and_a_failure_in_ci(ask, told, ci, outcome, monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", missing_library)
    monkeypatch.setattr(needs.sys, "platform", "linux")
    monkeypatch.setenv("CI", ci) if ci else monkeypatch.delenv("CI", raising=False)
    with pytest.raises(outcome) as left_out:
        ask()
    assert told in str(left_out.value)
