"""Nothing is lost over many sessions, and inputs are not copied more than once."""

import ctypes
import resource
from pathlib import Path

import numpy as np
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
    before = allocated()
    rounds(500)
    # 16 bytes, the least that malloc gives, for one session in eight would be seen.
    assert allocated() - before < 2000


def test_scoring_takes_little_more_memory_than_inputs_and_results(library: Path) -> None:
    """A copy of the inputs would be 112 MB."""
    extension = Extension(library, quiet=True)
    extension.init()
    rows, width = 1_000_000, 28
    matrix = np.random.default_rng(1).normal(size=(width, rows)).astype(np.float32)
    addresses = (ctypes.c_void_p * width)(*(column.ctypes.data for column in matrix))
    nothing = (ctypes.c_void_p * width)()
    columns = [Column(f"c{place}", REAL, nullable=False) for place in range(width)]
    with extension.session(columns, models.matrix_sum(width)) as session:
        session.execute([[0.0]] * width)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        session.execute_arrays(rows, addresses, nothing)
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
        (score,) = session.results(1)
    # Results: 4 bytes and a length of 4 for each row.
    assert grown < 8 * rows + 30e6
    np.testing.assert_allclose(score.values, np.arange(1, width + 1) @ matrix, rtol=1e-3, atol=1e-2)
