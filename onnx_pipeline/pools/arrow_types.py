"""What drivers hand out, in the Arrow types that the rest of the code reads: microseconds, plain strings, UUIDs."""

import pyarrow as pa

__all__ = ["from_driver", "to_arrow"]


def from_driver(field: pa.Field) -> pa.Field:
    """A result's column, named and typed as we read it."""
    return pa.field(field.name, _canonical(field.type))


def _canonical(arrow: pa.DataType) -> pa.DataType:
    if pa.types.is_large_string(arrow) or pa.types.is_string_view(arrow):
        return pa.string()
    if pa.types.is_large_binary(arrow):
        return pa.binary()
    if pa.types.is_fixed_size_binary(arrow) and arrow.byte_width == 16:
        return pa.uuid()
    if pa.types.is_timestamp(arrow):
        return pa.timestamp("us") if arrow.tz is None else pa.timestamp("us", "UTC")
    if pa.types.is_time(arrow):
        return pa.time64("us")
    return arrow


def to_arrow(array: pa.Array, wanted: pa.DataType) -> pa.Array:
    """The array in the type that `from_driver` promised; a server's 100 ns are cut to microseconds."""
    if wanted == pa.uuid():
        return pa.ExtensionArray.from_storage(wanted, array.cast(pa.binary(16)))
    return array.cast(wanted, safe=False)
