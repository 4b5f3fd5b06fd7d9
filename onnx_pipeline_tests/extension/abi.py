"""SQL Server's extensibility API as ctypes sees it: types by their ODBC numbers, and what each function takes."""

import ctypes
import datetime
import decimal
import struct
import uuid
from collections.abc import Callable
from ctypes import POINTER, c_int16, c_int32, c_ubyte, c_uint16, c_uint32, c_uint64, c_void_p
from dataclasses import dataclass
from typing import Any

NULL_DATA = -1


class Guid(ctypes.Structure):
    """SQLGUID, passed by value."""

    _fields_ = [("data1", c_uint32), ("data2", c_uint16), ("data3", c_uint16), ("data4", c_ubyte * 8)]


_TEXT = [c_void_p, c_uint64]
_NAME = [c_void_p, c_uint16]
SESSION = [Guid, c_uint16]
FUNCTIONS: dict[str, list[Any]] = {
    "GetInterfaceVersion": [],
    "Init": _TEXT * 4,
    "InitSession": [*SESSION, c_uint16, *_TEXT, c_uint16, c_uint16, *_NAME, *_NAME],
    "InitColumn": [*SESSION, c_uint16, c_void_p, c_int16, c_int16, c_uint64, c_int16, c_int16, c_int16, c_int16],
    "InitParam": [*SESSION, c_uint16, c_void_p, c_int16, c_int16, c_uint64, c_int16, c_void_p, c_int32, c_int16],
    "Execute": [*SESSION, c_uint64, c_void_p, c_void_p, POINTER(c_uint16)],
    "GetResultColumn": [*SESSION, c_uint16, POINTER(c_int16), POINTER(c_uint64), POINTER(c_int16), POINTER(c_int16)],
    "GetResults": [*SESSION, POINTER(c_uint64), POINTER(c_void_p), POINTER(c_void_p)],
    "GetOutputParam": [*SESSION, c_uint16, POINTER(c_void_p), POINTER(c_int32)],
    "CleanupSession": SESSION,
    "Cleanup": [],
}
OPTIONAL = ("InstallExternalLibrary", "UninstallExternalLibrary", "GetTelemetryResults", "SetHostCallbacks")


@dataclass(frozen=True)
class Kind:
    """A C type of ODBC: how a value lies in a column buffer."""

    name: str
    code: int
    size: int | None
    """Bytes of each value; None where each has its own length."""
    pack: Callable[[Any], bytes]
    unpack: Callable[[bytes], Any]

    def __str__(self) -> str:
        return self.name


def _scalar(name: str, code: int, form: str) -> Kind:
    packer = struct.Struct(form)
    return Kind(name, code, packer.size, packer.pack, lambda data: packer.unpack(data)[0])


def _pack_date(day: datetime.date) -> bytes:
    return struct.pack("<hHH", day.year, day.month, day.day)


def _pack_timestamp(moment: datetime.datetime) -> bytes:
    clock = (moment.hour, moment.minute, moment.second)
    return _pack_date(moment) + struct.pack("<HHHI", *clock, moment.microsecond * 1000)


def _unpack_timestamp(data: bytes) -> datetime.datetime:
    *parts, nanoseconds = struct.unpack("<hHHHHHI", data)
    return datetime.datetime(*parts, nanoseconds // 1000)


def _pack_numeric(value: decimal.Decimal) -> bytes:
    """SQL_NUMERIC_STRUCT: precision, scale, sign (1 is positive), and the unscaled value in 16 little-endian bytes."""
    sign, digits, exponent = value.as_tuple()
    assert isinstance(exponent, int) and exponent <= 0
    unscaled = int("".join(map(str, digits)))
    return struct.pack("<BbB", 38, -exponent, 1 - sign) + unscaled.to_bytes(16, "little")


def _unpack_numeric(data: bytes) -> decimal.Decimal:
    _, scale, positive = struct.unpack("<BbB", data[:3])
    digits = tuple(map(int, str(int.from_bytes(data[3:], "little"))))
    # Arithmetic would round to the context's 28 digits.
    return decimal.Decimal((0 if positive else 1, digits, -scale))


BIT = Kind("bit", -7, 1, lambda value: bytes([int(value)]), lambda data: data not in (b"\0", b"0"))
TINYINT = _scalar("tinyint", -28, "<B")
SMALLINT = _scalar("smallint", -15, "<h")
INT = _scalar("int", -16, "<i")
BIGINT = _scalar("bigint", -25, "<q")
REAL = _scalar("real", 7, "<f")
FLOAT = _scalar("float", 8, "<d")
CHAR = Kind("varchar", 1, None, lambda text: text.encode(), lambda data: data.decode())
WCHAR = Kind("nvarchar", -8, None, lambda text: text.encode("utf-16-le"), lambda data: data.decode("utf-16-le"))
BINARY = Kind("varbinary", -2, None, bytes, bytes)
NUMERIC = Kind("numeric", 2, 19, _pack_numeric, _unpack_numeric)
DATE = Kind("date", 91, 6, _pack_date, lambda data: datetime.date(*struct.unpack("<hHH", data)))
GUID = Kind("uniqueidentifier", -11, 16, lambda value: value.bytes_le, lambda data: uuid.UUID(bytes_le=data))
TIMESTAMP = Kind("datetime2", 93, 16, _pack_timestamp, _unpack_timestamp)

KINDS = (BIT, TINYINT, SMALLINT, INT, BIGINT, REAL, FLOAT, CHAR, WCHAR, BINARY, NUMERIC, DATE, TIMESTAMP, GUID)
BY_CODE = {kind.code: kind for kind in KINDS}
