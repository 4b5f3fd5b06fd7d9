"""Which driver moves rows."""

import importlib.util

from onnx_pipeline.base.errors import SpecError
from onnx_pipeline.pools.tsql.drivers.base import Driver
from onnx_pipeline.pools.tsql.drivers.system_libraries import packages

__all__ = ["has_driver", "open_driver"]


def open_driver(name: str) -> Driver:
    """The driver `pyodbc` or `mssqlpython`; `SpecError` where it, or a library of the system that it loads here, is not installed."""
    module, package = {"pyodbc": ("pyodbc", "pyodbc"), "mssqlpython": ("mssql_python", "mssql-python")}[name]
    if importlib.util.find_spec(module) is None:
        raise SpecError(f"the pool's URL asks for the driver {package}, which is not installed: pip install {package}")
    try:
        if name == "pyodbc":
            from onnx_pipeline.pools.tsql.drivers.pyodbc import PyodbcDriver

            return PyodbcDriver()
        from onnx_pipeline.pools.tsql.drivers.mssqlpython import MssqlPythonDriver

        return MssqlPythonDriver()
    except ImportError as error:
        raise SpecError(
            f"the driver {package} is installed and cannot be loaded ({error}): it needs libraries of the system; "
            f"{packages(name)}"
        ) from error


def has_driver(name: str) -> bool:
    """Whether a driver is installed."""
    return importlib.util.find_spec({"pyodbc": "pyodbc", "mssqlpython": "mssql_python"}[name]) is not None
