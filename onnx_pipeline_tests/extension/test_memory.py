"""Nothing is lost over many sessions, and inputs are not copied more than once."""

import ctypes
import subprocess
import sys
from pathlib import Path

import pytest

from onnx_pipeline_tests.extension import models
from onnx_pipeline_tests.extension.abi import REAL
from onnx_pipeline_tests.extension.host import Column, Extension, ExtensionError


class _Mallinfo(ctypes.Structure):
    """mallinfo2(3) of glibc."""

    _fields_ = [(name, ctypes.c_size_t) for name in
                ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")]  # fmt: skip


_LIBC = ctypes.CDLL(None)
if hasattr(_LIBC, "mallinfo2"):
    _LIBC.mallinfo2.restype = _Mallinfo


def allocated() -> int:
    """Bytes that this process holds by malloc."""
    if not hasattr(_LIBC, "mallinfo2"):
        pytest.skip("this C library has no mallinfo2 to count bytes by")
    found = _LIBC.mallinfo2()
    return int(found.uordblks + found.hblkhd)


def test_sessions_that_score_and_sessions_that_fail_leave_nothing_behind(library: Path) -> None:
    extension = Extension(library, quiet=True)
    extension.init()
    good, bad = models.matrix_sum(2), b"rubbish"
    columns = [Column("a", REAL), Column("b", REAL)]

    def rounds(count: int) -> None:
        for _ in range(count):
            with extension.session(columns, good) as session:
                session.execute([[1.0] * 50, [2.0] * 50])
            try:
                with extension.session(columns, bad) as session:
                    session.execute([[1.0], [2.0]])
            except ExtensionError:
                continue

    rounds(200)
    grown = []
    for _ in range(3):
        before = allocated()
        rounds(200)
        grown.append(allocated() - before)
    # What is lost is lost every time; what else goes on in this process is not. malloc gives 16 bytes at the least.
    assert min(grown) < 200 * 8, grown


SCORE_A_MILLION = """
import ctypes, sys
from pathlib import Path
import numpy as np
from onnx_pipeline_tests.extension import models
from onnx_pipeline_tests.extension.abi import REAL
from onnx_pipeline_tests.extension.host import Column, Extension

def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))

rows, width = 1_000_000, 28
extension = Extension(Path(sys.argv[1]))
extension.init()
matrix = np.random.default_rng(1).normal(size=(width, rows)).astype(np.float32)
addresses = (ctypes.c_void_p * width)(*(column.ctypes.data for column in matrix))
columns = [Column(f"c{place}", REAL, nullable=False) for place in range(width)]
with extension.session(columns, models.matrix_sum(width)) as session:
    session.execute([[0.0]] * width)
    # What was made and freed so far would hide what scoring takes: let it be counted from what is held now.
    Path("/proc/self/clear_refs").write_text("5")
    before = peak()
    session.execute_arrays(rows, addresses, (ctypes.c_void_p * width)())
    print(peak() - before)
    (score,) = session.results(1)
np.testing.assert_allclose(score.values, np.arange(1, width + 1) @ matrix, rtol=1e-3, atol=1e-2)
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peak memory is read from Linux's /proc")
def test_scoring_takes_little_more_memory_than_results(library: Path) -> None:
    """A copy of the inputs would be 112 MB; results are 4 bytes, and perhaps a length of 4, for each row."""
    done = subprocess.run(
        [sys.executable, "-c", SCORE_A_MILLION, str(library)], cwd=Path(__file__).parents[2],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert 4_000_000 <= int(done.stdout) < 8_000_000 + 20_000_000
