"""Libraries of the system that a driver loads, some of them only when it connects, by an error that names none.

mssql-python's wheel brings Microsoft's ODBC driver, which loads Kerberos and, through its installer library, libltdl: at
the first connection, and not when it is imported. pyodbc's is missed when it is imported.
"""

import ctypes
import sys

__all__ = ["missing_libraries", "packages"]

_PACKAGES = {
    "pyodbc": {"libodbc.so.2": ("unixodbc", "unixODBC")},
    "mssqlpython": {
        "libltdl.so.7": ("libltdl7", "libtool-ltdl"),
        "libkrb5.so.3": ("libkrb5-3", "krb5-libs"),
        "libgssapi_krb5.so.2": ("libgssapi-krb5-2", "krb5-libs"),
    },
}
"""By driver and library, the package of Debian and Ubuntu, and that of Red Hat."""


def missing_libraries(driver: str) -> tuple[str, ...]:
    """Those of a driver's that this system does not have; none where the system is not Linux, which calls them so."""
    return tuple(name for name in _PACKAGES[driver] if sys.platform == "linux" and not _loads(name))


def packages(driver: str, libraries: tuple[str, ...] = ()) -> str:
    """How they are installed, all of a driver's where none is named."""
    wanted = [_PACKAGES[driver][name] for name in libraries or _PACKAGES[driver]]
    debian, red_hat = (" ".join(dict.fromkeys(names)) for names in zip(*wanted, strict=True))
    return f"on Debian and Ubuntu: apt-get install {debian}; on Red Hat: dnf install {red_hat}"


def _loads(name: str) -> bool:
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True
