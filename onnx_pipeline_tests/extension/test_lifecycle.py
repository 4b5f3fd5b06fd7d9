"""The order of calls, what each must refuse, and who owns what."""

import ctypes
import resource
import shutil
import subprocess
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from onnx_pipeline.models.runtime_versions import WRONG_SERIES
from onnx_pipeline_tests import needs
from onnx_pipeline_tests.extension import models
from onnx_pipeline_tests.extension.abi import BIGINT, BINARY, CHAR, GUID, INT, KINDS, REAL, WCHAR, Guid, Kind
from onnx_pipeline_tests.extension.host import Column, Extension, ExtensionError, Lent, Parameter, Session
from onnx_pipeline_tests.extension.installed import install

X = [Column("x", REAL)]
MODEL = models.echo({"x": models.FLOAT})


@pytest.fixture
def session(extension: Extension) -> Iterator[Session]:
    with extension.session(X, MODEL) as session:
        yield session


def test_the_interface_has_version_2(extension: Extension) -> None:
    assert extension.raw("GetInterfaceVersion")() == 2


@pytest.mark.parametrize("path", [None, "", "/nowhere/at all"])
def test_init_takes_nulls_and_paths_that_do_not_exist(library: Path, path: str | None) -> None:
    loaded = Extension(library)
    loaded.init(path)
    with loaded.session(X, MODEL) as session:
        assert session.execute([[1.0]])[0].values == [1.0]


def test_init_may_come_twice(extension: Extension) -> None:
    extension.init()
    extension.init("/elsewhere")


def test_a_session_that_stands_cannot_be_initialised_again(extension: Extension) -> None:
    guid = uuid.uuid4()
    with extension.session(X, MODEL, guid=guid) as session:
        with pytest.raises(ExtensionError, match=r"^InitSession returned"):
            with Lent() as lent:
                extension.call("InitSession", *session.id, 1, *lent.text(b""), 1, 1, *lent.text(b"i"), *lent.text(b"o"))
        assert session.execute([[2.0]])[0].values == [2.0]
    # Once cleaned, its name is free.
    with extension.session(X, MODEL, guid=guid) as session:
        assert session.execute([[3.0]])[0].values == [3.0]


def test_the_same_query_has_a_session_per_task(extension: Extension) -> None:
    guid = uuid.uuid4()
    first, second = (extension.session(X, MODEL, guid=guid, task=task, tasks=2) for task in (0, 1))
    assert first.execute([[1.0]])[0].values == [1.0]
    first.close()
    assert second.execute([[2.0]])[0].values == [2.0]
    second.close()


def test_cleaning_an_unknown_session_succeeds(extension: Extension) -> None:
    extension.call("CleanupSession", Guid.from_buffer_copy(uuid.uuid4().bytes), 0)


def test_cleaning_twice_succeeds(extension: Extension) -> None:
    session = extension.session(X, MODEL)
    session.close()
    session.close()


UNKNOWN: dict[str, Callable[[Session], object]] = {
    "InitColumn": lambda session: session.init_column(0, X[0]),
    "InitParam": lambda session: session.init_parameter(0, Parameter("@model", BINARY, b"")),
    "Execute": lambda session: session.execute([[1.0]]),
    "GetResultColumn": lambda session: session.result_column(0),
    "GetResults": lambda session: session.results(0),
}


@pytest.mark.parametrize("function", UNKNOWN)
def test_an_unknown_session_is_an_error(extension: Extension, function: str) -> None:
    session = extension.session(X, MODEL)
    session.close()
    with pytest.raises(ExtensionError, match=f"^{function} returned") as refused:
        UNKNOWN[function](session)
    assert "session" in refused.value.message


@pytest.mark.parametrize("missing", ["script", "input", "output"])
def test_a_null_script_or_data_set_name_fails(extension: Extension, missing: str) -> None:
    guid = Guid.from_buffer_copy(uuid.uuid4().bytes)
    with Lent() as lent:
        texts = {name: lent.text(None if name == missing else b"") for name in ("script", "input", "output")}
        with pytest.raises(ExtensionError, match="InitSession") as refused:
            extension.call("InitSession", guid, 0, 1, *texts["script"], 1, 1, *texts["input"], *texts["output"])
    assert refused.value.message


def test_parameters_may_come_before_columns(extension: Extension) -> None:
    with extension.session(X, MODEL, parameters_first=True) as session:
        assert session.execute([[1.5]])[0].values == [1.5]


def test_the_same_parameter_twice_is_allowed_and_the_last_counts(session: Session) -> None:
    session.init_parameter(0, Parameter("@model", BINARY, models.matrix_sum(1)))
    session.init_parameter(0, Parameter("@model", BINARY, models.cast(models.FLOAT, [models.INT64])))
    assert session.execute([[1.0]])[0].kind is BIGINT


def test_other_parameters_are_ignored(extension: Extension) -> None:
    others = [
        Parameter("@r_rowsPerRead", INT, 100), Parameter("@city", WCHAR, "Zürich"), Parameter("@none", CHAR, None),
        Parameter("@number", REAL, 1.0),
    ]  # fmt: skip
    with extension.session(X, MODEL, parameters=others) as session:
        assert session.execute([[1.0]])[0].values == [1.0]
        value, length = ctypes.c_void_p(1), ctypes.c_int32()
        for number in range(5):
            extension.call("GetOutputParam", *session.id, number, ctypes.byref(value), ctypes.byref(length))
            assert length.value == -1


@pytest.mark.parametrize("number", [1, 7, 65535])
def test_numbers_beyond_the_announced_ones_are_refused(session: Session, number: int) -> None:
    with pytest.raises(ExtensionError, match="InitColumn"):
        session.init_column(number, X[0])
    with pytest.raises(ExtensionError, match="InitParam"):
        session.init_parameter(number, Parameter("@other", INT, 1))
    session.execute([[1.0]])
    with pytest.raises(ExtensionError, match="GetResultColumn"):
        session.result_column(number)


def test_names_may_not_be_null(extension: Extension, session: Session) -> None:
    with pytest.raises(ExtensionError, match="InitColumn"):
        extension.call("InitColumn", *session.id, 0, None, 0, REAL.code, 4, 0, 1, -1, -1)
    with pytest.raises(ExtensionError, match="InitParam"):
        extension.call("InitParam", *session.id, 0, None, 0, INT.code, 4, 0, None, -1, 1)


def test_a_negative_length_of_a_name_or_a_value_is_refused(extension: Extension, session: Session) -> None:
    with Lent() as lent:
        name = lent.put(b"x")
        with pytest.raises(ExtensionError, match="InitColumn"):
            extension.call("InitColumn", *session.id, 0, name, -5, REAL.code, 4, 0, 1, -1, -1)
        with pytest.raises(ExtensionError, match="InitParam"):
            extension.call("InitParam", *session.id, 0, lent.put(b"@model"), 6, BINARY.code, 4, 0, name, -7, 1)


@pytest.mark.parametrize("code", [0, 12, -100, 99])
def test_an_unknown_type_is_refused_by_its_number(extension: Extension, session: Session, code: int) -> None:
    with Lent() as lent, pytest.raises(ExtensionError, match="InitColumn") as refused:
        extension.call("InitColumn", *session.id, 0, lent.put(b"x"), 1, code, 4, 0, 1, -1, -1)
    assert str(code) in refused.value.message and "x" in refused.value.message


def test_results_before_execute_are_an_error(session: Session) -> None:
    with pytest.raises(ExtensionError, match="GetResultColumn"):
        session.result_column(0)
    with pytest.raises(ExtensionError, match="GetResults"):
        session.results(0)


def test_execute_before_all_columns_or_without_a_model_says_what_is_missing(extension: Extension) -> None:
    with extension.session(X, None) as session, pytest.raises(ExtensionError, match="@model"):
        session.execute([[1.0]])
    with pytest.raises(ExtensionError, match="@model is NULL"):
        Session(extension, X, "", [Parameter("@model", BINARY, None)])
    parameters = [Parameter("@model", BINARY, MODEL), Parameter("@other", INT, 1)]
    with Session(extension, X, "", parameters, announced=2) as session, pytest.raises(ExtensionError, match="column"):
        session.execute([[1.0]])


@pytest.mark.parametrize("model", [b"", b"rubbish", MODEL[:-20], b"\0" * 100], ids=["empty", "rubbish", "cut", "zeros"])
def test_bytes_that_are_no_model_are_an_error_of_one_line(extension: Extension, model: bytes) -> None:
    with pytest.raises(ExtensionError) as refused:
        with extension.session(X, model) as session:
            session.execute([[1.0]])
    assert "@model" in refused.value.message or "model" in refused.value.message
    assert len(refused.value.message.splitlines()) == 1


def test_null_for_what_a_function_is_to_fill_in_is_an_error(extension: Extension, session: Session) -> None:
    session.execute([[1.0]])
    with Lent() as lent:
        values, none = lent.pointers([lent.put(b"\0\0\0\0")]), lent.pointers([None])
        with pytest.raises(ExtensionError, match="Execute"):
            extension.call("Execute", *session.id, 1, values, none, None)
        produced = ctypes.c_uint16()
        with pytest.raises(ExtensionError, match="Execute"):
            extension.call("Execute", *session.id, 1, None, None, ctypes.byref(produced))
    with pytest.raises(ExtensionError, match="GetResults"):
        extension.call("GetResults", *session.id, None, None, None)
    with pytest.raises(ExtensionError, match="GetResultColumn"):
        extension.call("GetResultColumn", *session.id, 0, None, None, None, None)


def test_a_failed_chunk_leaves_the_session_usable(extension: Extension) -> None:
    with extension.session([Column("x", INT)], models.echo({"x": models.INT64})) as session:
        with pytest.raises(ExtensionError):
            session.execute([[1, None]])
        assert session.execute([[1, 2]])[0].values == [1, 2]


def test_execute_may_come_twice_before_results_are_fetched(extension: Extension, session: Session) -> None:
    produced = ctypes.c_uint16()
    for value in (1.0, 2.0):
        with Lent() as lent:
            values = lent.pointers([lent.put(REAL.pack(value))])
            extension.call("Execute", *session.id, 1, values, lent.pointers([None]), ctypes.byref(produced))
    # The column was declared nullable, and without lengths none of its values is NULL.
    assert session.results(produced.value)[0].values == [2.0]


BAD_OPTIONS = {
    "speed = high": "speed", "threads = many": "threads", "threads = -1": "threads", "keys = nobody": "nobody",
    "outputs = nothing": "nothing", "outputs = x_out[5]": "5", "batch = 0": "batch", "nulls = perhaps": "perhaps",
    "null.x = forty": "forty", "null.nobody = 1": "nobody", "no option": "no option", "features = x, x": "x",
    "keys = x\nkeys = x": "keys", 'keys = "x': "double quote", "text_length = 0": "text_length",
}  # fmt: skip


@pytest.mark.parametrize("script", BAD_OPTIONS)
def test_an_option_that_cannot_be_is_named(extension: Extension, script: str) -> None:
    with pytest.raises(ExtensionError) as refused:
        with extension.session(X, MODEL, script) as session:
            session.execute([[1.0]])
    assert BAD_OPTIONS[script] in refused.value.message
    assert len(refused.value.message.splitlines()) == 1


def test_a_query_with_other_columns_than_the_model_reads_is_an_error_that_names_both(extension: Extension) -> None:
    for columns, model, named in (
        ([Column("a", REAL)], models.matrix_sum(3), ["3"]),
        (
            [Column("a", REAL), Column("b", REAL)],
            models.echo({"a": models.FLOAT, "missing": models.FLOAT, "c": models.FLOAT}),
            ["missing"],
        ),
    ):
        with pytest.raises(ExtensionError) as refused:
            with extension.session(columns, model) as session:
                session.execute([[1.0]] * len(columns))
        assert all(word in refused.value.message for word in named), refused.value.message


def test_a_column_found_without_case_feeds_one_input_only(extension: Extension) -> None:
    model = models.echo({"X": models.FLOAT, "x": models.FLOAT})
    with extension.session([Column("X", REAL), Column("x", REAL)], model) as session:
        assert [column.values for column in session.execute([[1.0], [2.0]])] == [[1.0], [2.0]]
    with pytest.raises(ExtensionError) as refused:
        with extension.session([Column("X", REAL)], model) as session:
            session.execute([[1.0]])
    assert "the column 'X' would feed two inputs of the model" in refused.value.message


WRONG_RUNTIME = """
struct Base { const void* const* (*get)(unsigned); const char* (*version)(); };
extern "C" const Base* OrtGetApiBase() {
    static const Base base{[](unsigned) -> const void* const* { return nullptr; }, [] { return VERSION; }};
    return &base;
}
"""


def with_runtime(library: Path, folder: Path, source: str, *flags: str) -> Extension:
    """The extension with an ONNX Runtime that is made of a source file."""
    compiler = needs.program("g++", "g++")
    (folder / "runtime.cpp").write_text(source)
    made = [str(folder / name) for name in ("runtime.cpp", "libonnxruntime.so")]
    subprocess.run([compiler, "-shared", "-fPIC", *flags, made[0], "-o", made[1], "-ldl"], check=True)
    alone = folder / "server"
    alone.mkdir()
    loaded = Extension(Path(shutil.copy(library, alone)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ONNXRUNTIME_LIBRARY", made[1])
        loaded.init()
    return loaded


REFUSED = {
    **{f"{series}.0": "silently gives wrong labels for trees and forests" for series in WRONG_SERIES},
    # Merely old, which shows that the version is read as a whole.
    "1.2.60": "is too old",
    "2.0.0": "is of another series than this library knows",
    "": "is of another series",
}


@pytest.mark.parametrize("version", REFUSED)
def test_a_release_of_onnx_runtime_that_will_not_do_is_refused(library: Path, tmp_path: Path, version: str) -> None:
    loaded = with_runtime(library, tmp_path, WRONG_RUNTIME, f'-DVERSION="{version}"')
    with pytest.raises(ExtensionError) as refused:
        loaded.session(X, MODEL)
    assert f"ONNX Runtime {version} {REFUSED[version]}" in refused.value.message


# The real one, with some functions of its table in other places.
MIXED_RUNTIME = """
#include <cstring>
#include <dlfcn.h>
struct Base { const void* const* (*get)(unsigned); const char* (*version)(); };
static const Base* real() {
    static void* library = dlopen(REAL, RTLD_NOW | RTLD_LOCAL);
    return reinterpret_cast<const Base* (*)()>(dlsym(library, "OrtGetApiBase"))();
}
extern "C" const Base* OrtGetApiBase() {
    static const Base base{[](unsigned version) -> const void* const* {
        static const void* table[253];
        memcpy(table, real()->get(version), sizeof table);
        const void* first = table[FIRST];
        table[FIRST] = SECOND ? table[SECOND] : nullptr;
        if (SECOND) table[SECOND] = first;
        return table;
    }, [] { return real()->version(); }};
    return &base;
}
"""

MIXED = {
    (60, 61): "does not do what this library calls it for: the inputs of a model came out wrong",
    (36, 37): "does not do what this library calls it for: the inputs of a model came out wrong",
    (98, 0): "has no function in slot 98",
}


@pytest.mark.parametrize("slots", MIXED, ids=str)
def test_functions_that_are_elsewhere_are_seen_before_a_model_is_run(
    library: Path, tmp_path: Path, slots: tuple[int, int]
) -> None:
    import onnxruntime

    (real,) = (Path(onnxruntime.__file__).parent / "capi").glob("libonnxruntime.so*")
    flags = (f'-DREAL="{real}"', f"-DFIRST={slots[0]}", f"-DSECOND={slots[1]}")
    loaded = with_runtime(library, tmp_path, MIXED_RUNTIME, *flags)
    with pytest.raises(ExtensionError) as refused:
        loaded.session(X, MODEL)
    assert MIXED[slots] in refused.value.message and "beside the extension" in refused.value.message


def test_cleanup_may_come_with_sessions_left(library: Path) -> None:
    loaded = Extension(library)
    loaded.init()
    session = loaded.session(X, MODEL)
    loaded.cleanup()
    with pytest.raises(ExtensionError):
        session.execute([[1.0]])
    loaded.init()
    with loaded.session(X, MODEL) as again:
        assert again.execute([[1.0]])[0].values == [1.0]


def test_an_older_onnx_runtime_beside_a_newer_one_is_not_chosen(library: Path, tmp_path: Path) -> None:
    """By its version: as texts, 1.9.0 comes after 1.32.0. What stands for the old ones cannot be loaded."""
    folder = tmp_path / "server"
    folder.mkdir()
    copy = install(folder)
    for version in (".1.9.0", ".1.4.99", "", ".1.99.0.bak", "x.2.0.0"):
        (folder / f"libonnxruntime.so{version}").write_bytes(b"old")
    loaded = Extension(copy)
    loaded.init()
    with loaded.session(X, MODEL) as session:
        assert session.execute([[1.0]])[0].values == [1.0]
    loaded.cleanup()


@pytest.mark.parametrize("rows", [2**64 - 1, 2**63, 2**40 + 1])
def test_a_count_of_rows_that_cannot_be_is_refused_before_anything_is_read(extension: Extension, rows: int) -> None:
    """A text column too, whose lengths would be read one by one."""
    for column, model in ((X[0], MODEL), (Column("x", WCHAR), models.echo({"x": models.STRING}))):
        with extension.session([column], model) as session, Lent() as lent:
            values, lengths = lent.pointers([lent.put(b"\0" * 8)]), lent.pointers([lent.put(b"\0" * 8)])
            with pytest.raises(ExtensionError, match=f"a chunk of {rows} rows came; the most is"):
                session.execute_arrays(rows, values, lengths)
            assert session.execute([[None if column.kind is REAL else "a"]])[0].values in ([None], ["a"])


@pytest.mark.parametrize(
    ("length", "said"), [(-7, "with the length -7"), (-(2**31), "with the length"), (-1, "is NULL")]
)
def test_only_the_length_of_null_is_a_null_model(
    extension: Extension, session: Session, length: int, said: str
) -> None:
    with Lent() as lent:
        name, value = lent.put(b"@model"), lent.put(MODEL)
        with pytest.raises(ExtensionError, match=f"the parameter @model .*{said}"):
            extension.call("InitParam", *session.id, 0, name, 6, BINARY.code, len(MODEL), 0, value, length, 1)


def test_a_model_that_comes_without_its_bytes_is_not_read_as_null(extension: Extension, session: Session) -> None:
    with Lent() as lent, pytest.raises(ExtensionError, match="@model has 9 bytes, and came without them"):
        extension.call("InitParam", *session.id, 0, lent.put(b"@model"), 6, BINARY.code, 9, 0, None, 9, 1)


def test_a_chunk_beyond_memory_says_how_large_it_is_and_what_to_do(extension: Extension) -> None:
    """Two columns of NULLs alone, which the host sends without values: their rows take no memory until they are read."""
    rows = 2**38
    with extension.session([*X, Column("key", GUID)], MODEL, "keys = key") as session, limited_memory():
        with Lent() as lent, pytest.raises(ExtensionError) as refused:
            session.execute_arrays(rows, lent.pointers([None, None]), None)
        message = refused.value.message
        results = rows * (16 + 4 + 4 + 4)
        assert f"a chunk of {rows} rows and 2 columns, 0 bytes, came" in message
        assert f"its results take up to {results} bytes" in message
        assert "@r_rowsPerRead" in message and "ALTER EXTERNAL RESOURCE POOL" in message
        assert len(message.splitlines()) == 1
        assert session.execute([[1.5], [None]])[1].values == [1.5]


@contextmanager
def limited_memory() -> Iterator[None]:
    """No more than 4 GiB beyond what the process has: where memory is promised without end, allocations would pass."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + 2**32, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


FIXED = [kind for kind in KINDS if kind.size is not None]


@pytest.mark.parametrize("kind", FIXED, ids=str)
def test_under_a_null_of_a_key_lie_zeros(extension: Extension, kind: Kind) -> None:
    """Whether the host says NULL by lengths over garbage or sends nothing at all; what memory held before stays here."""
    size, rows = kind.size or 0, 4000
    filled, lengths = b"\xdb" * (size * rows), np.full(rows, -1, np.int32)
    lengths[0] = size
    with extension.session([*X, Column("key", kind)], MODEL, "keys = key") as session:
        for values, indicators in ((filled, lengths), (None, None), (None, np.full(rows, -1, np.int32))):
            with Lent() as lent:
                blocks = [None if block is None else lent.put(bytes(block)) for block in (values, indicators)]
                # What memory held before: the block is the next one of its size that anybody gets.
                for _ in range(4):
                    with Lent() as dirty:
                        dirty.put(filled)
                x = lent.put(b"\0" * (4 * rows))
                produced = session.execute_arrays(rows, lent.pointers([x, blocks[0]]), lent.pointers([None, blocks[1]]))
            assert produced == 2
            found, indicator = session.raw_result(0)
            data = ctypes.string_at(found, size * rows)
            first = b"\xdb" * size if values is not None else b"\0" * size
            assert data == first + b"\0" * (size * (rows - 1))
            heard = np.frombuffer(ctypes.string_at(indicator, 4 * rows), np.int32)
            assert heard.tolist() == [size if values is not None else -1] + [-1] * (rows - 1)
