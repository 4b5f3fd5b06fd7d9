"""What no host should send: the extension answers with an error of one line, or with results that can be read.

The same examples every time. Under AddressSanitizer (`test_sanitizers.py`) a read of one byte too many ends the process.
"""

import ctypes
import uuid
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, rule

from onnx_pipeline_tests.extension import models
from onnx_pipeline_tests.extension.abi import BIGINT, BINARY, BIT, CHAR, KINDS, NUMERIC, REAL, WCHAR, Guid, Kind
from onnx_pipeline_tests.extension.host import Column, Extension, ExtensionError, Lent, Session

EXAMPLES = settings(
    deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
ECHOES = {
    kind.name: models.echo({"x": dtype})
    for kind, dtype in ((REAL, models.FLOAT), (BIT, models.BOOL), (CHAR, models.STRING), (WCHAR, models.STRING),
                        (NUMERIC, models.DOUBLE), (BIGINT, models.INT64))
}  # fmt: skip
FED = [kind for kind in KINDS if kind.name in ECHOES]


def refused_in_one_line(error: ExtensionError) -> bool:
    return bool(error.message) and not {"\n", "\r"} & set(error.message)


def raw_chunk(session: Session, data: bytes, lengths: list[int] | None, rows: int) -> list[Any]:
    """`Execute` on exactly these bytes; the values that came."""
    produced = ctypes.c_uint16()
    with Lent() as lent:
        indicators = None if lengths is None else lent.put(np.array(lengths, np.int32).tobytes())
        columns = lent.pointers([lent.put(data)])
        session.extension.call(
            "Execute", *session.id, rows, columns, lent.pointers([indicators]), ctypes.byref(produced)
        )
    return session.results(produced.value)[0].values


@pytest.mark.parametrize("kind", FED, ids=str)
@EXAMPLES
@given(data=st.data())
def test_any_bytes_in_a_column_give_a_result_or_an_error(extension: Extension, kind: Kind, data: st.DataObject) -> None:
    values = data.draw(
        st.lists(st.none() | st.binary(min_size=kind.size or 0, max_size=kind.size or 40), min_size=1, max_size=20)
    )
    lengths = [-1 if value is None else len(value) for value in values]
    filler = b"\xa5" * (kind.size or 0)
    buffer = b"".join(filler if value is None else value for value in values)
    with extension.session([Column("x", kind, size=40)], ECHOES[kind.name], "null.x = 1") as session:
        try:
            found = raw_chunk(session, buffer, lengths, len(values))
        except ExtensionError as error:
            assert refused_in_one_line(error)
        else:
            assert len(found) == len(values)


@pytest.mark.parametrize("kind", [CHAR, WCHAR, BINARY, REAL, BIGINT], ids=str)
@EXAMPLES
@given(lengths=st.lists(st.integers(-(2**31), 60), min_size=1, max_size=12), as_key=st.booleans())
def test_lengths_that_cannot_be_are_refused_and_others_are_kept_to(
    extension: Extension, kind: Kind, lengths: list[int], as_key: bool
) -> None:
    """Of a fixed type only -1 says something; of the others the bytes are as many as the lengths say."""
    key = as_key or kind is BINARY
    model = models.echo_matrix(models.FLOAT, 1) if key else ECHOES[kind.name]
    columns = [Column("x", kind, size=60)] if not key else [Column("k", kind, size=60), Column("x", REAL)]
    content = b"a\0" * (sum(length for length in lengths if length > 0) // 2 + 1)
    size = kind.size * len(lengths) if kind.size is not None else sum(length for length in lengths if length > 0)
    rows = len(lengths)
    with extension.session(columns, model, "keys = k" if key else "null.x = 1") as session, Lent() as lent:
        produced = ctypes.c_uint16()
        data = [lent.put((content * 8)[:size].ljust(size, b"\0"))]
        indicators = [lent.put(np.array(lengths, np.int32).tobytes())]
        if key:
            data.append(lent.put(b"\0" * 4 * rows))
            indicators.append(lent.put(b"\0" * 4 * rows))
        impossible = kind.size is None and any(length < -1 for length in lengths)
        try:
            session.extension.call(
                "Execute", *session.id, rows, lent.pointers(data), lent.pointers(indicators), ctypes.byref(produced)
            )
        except ExtensionError as error:
            assert refused_in_one_line(error)
            assert impossible or kind is WCHAR or (kind is not BINARY and not key)
        else:
            assert not impossible
            assert len(session.results(produced.value)[0].values) == rows


@EXAMPLES
@given(script=st.text(max_size=60) | st.lists(
    st.sampled_from(["keys", "features", "outputs", "nulls", "null.", "threads", "batch", "text_length", "=", ",", '"', "[", "]",
                     "x", "x_out", "0", "1", "-1", "99999999999999999999", "nan", "\n", " ", "#", "é", "\0"]), max_size=12
).map("".join))  # fmt: skip
def test_any_script_is_options_or_an_error(extension: Extension, script: str) -> None:
    # threads = 0 or many would start as many threads as the text says.
    try:
        with extension.session([Column("x", REAL)], ECHOES["real"], script.replace("threads", "thread")) as session:
            assert session.execute([[1.0, None]])[0].values[-1] is None
    except ExtensionError as error:
        assert refused_in_one_line(error)


@EXAMPLES
@given(data=st.data())
def test_a_damaged_model_is_an_error_or_scores(extension: Extension, data: st.DataObject) -> None:
    model = bytearray(models.matrix_sum(2))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(model) - 1))
        if data.draw(st.booleans()):
            model[place] = data.draw(st.integers(0, 255))
        else:
            del model[place : place + data.draw(st.integers(1, 8))]
            model = model or bytearray(b"\0")
    try:
        with extension.session([Column("a", REAL), Column("b", REAL)], bytes(model)) as session:
            session.execute([[1.0, 2.0], [3.0, 4.0]])
    except ExtensionError as error:
        assert refused_in_one_line(error)


class AnyOrder(RuleBasedStateMachine):
    """Calls in any order, on sessions that stand, were cleaned, or never were."""

    extension: Extension
    sessions = Bundle("sessions")

    @rule(target=sessions, columns=st.integers(0, 3), parameters=st.integers(0, 2), task=st.integers(0, 2))
    def init_session(self, columns: int, parameters: int, task: int) -> Any:
        identity = (Guid.from_buffer_copy(uuid.uuid4().bytes), task)
        with Lent() as lent:
            self._call(
                "InitSession", *identity, 3, *lent.text(b""), columns, parameters, *lent.text(b"i"), *lent.text(b"o")
            )
        return identity

    @rule(target=sessions)
    def unknown(self) -> Any:
        return (Guid.from_buffer_copy(uuid.uuid4().bytes), 9)

    @rule(identity=sessions, number=st.integers(0, 4), name=st.binary(max_size=5), code=st.sampled_from([7, 8, -16, -25, 1, -8, 2, 12345]),
          size=st.sampled_from([0, 1, 8, 2**63]))  # fmt: skip
    def init_column(self, identity: Any, number: int, name: bytes, code: int, size: int) -> None:
        with Lent() as lent:
            self._call("InitColumn", *identity, number, *lent.text(name), code, size, 0, 1, -1, -1)

    @rule(identity=sessions, number=st.integers(0, 3), model=st.sampled_from([b"", b"x", *ECHOES.values()]))
    def init_param(self, identity: Any, number: int, model: bytes) -> None:
        with Lent() as lent:
            self._call(
                "InitParam",
                *identity,
                number,
                *lent.text(b"@model"),
                BINARY.code,
                len(model),
                0,
                lent.put(model),
                len(model),
                1,
            )

    @rule(identity=sessions, rows=st.integers(0, 3))
    def execute(self, identity: Any, rows: int) -> None:
        produced = ctypes.c_uint16()
        with Lent() as lent:
            # Room for any type, and no NULL; text of length 0.
            columns = lent.pointers([lent.put(b"\0" * 19 * rows) for _ in range(4)])
            lengths = lent.pointers([lent.put(b"\0" * 4 * rows) for _ in range(4)])
            self._call("Execute", *identity, rows, columns, lengths, ctypes.byref(produced))

    @rule(identity=sessions, number=st.integers(0, 4))
    def look(self, identity: Any, number: int) -> None:
        kind, size, digits, nullable = ctypes.c_int16(), ctypes.c_uint64(), ctypes.c_int16(), ctypes.c_int16()
        places = [ctypes.byref(place) for place in (kind, size, digits, nullable)]
        self._call("GetResultColumn", *identity, number, *places)
        rows, data, lengths = ctypes.c_uint64(), ctypes.c_void_p(), ctypes.c_void_p()
        self._call("GetResults", *identity, ctypes.byref(rows), ctypes.byref(data), ctypes.byref(lengths))
        value, length = ctypes.c_void_p(), ctypes.c_int32()
        self._call("GetOutputParam", *identity, number, ctypes.byref(value), ctypes.byref(length))

    @rule(identity=consumes(sessions))
    def clean(self, identity: Any) -> None:
        self.extension.call("CleanupSession", *identity)

    def _call(self, *arguments: Any) -> None:
        try:
            self.extension.call(*arguments)
        except ExtensionError as error:
            assert refused_in_one_line(error), error


@pytest.mark.hypothesis
def test_calls_in_any_order_never_do_more_than_fail(extension: Extension) -> None:
    from hypothesis.stateful import run_state_machine_as_test

    AnyOrder.extension = extension
    run_state_machine_as_test(AnyOrder, settings=settings(EXAMPLES, stateful_step_count=25))
    # What the machine left open.
    extension.cleanup()
    extension.init()
