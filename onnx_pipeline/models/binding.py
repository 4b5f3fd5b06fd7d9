"""Which source column feeds which place of which model input."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from onnx_pipeline.base.errors import SignatureError
from onnx_pipeline.base.hints import close_matches
from onnx_pipeline.models.feeding import Place, absent, check_fed_once, found_in
from onnx_pipeline.models.signature import Signature, TensorSignature

__all__ = ["Binding", "InputBinding", "bind", "unavailable"]

_INTEGERS = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64")
_FLOATS = ("float16", "float", "double")


@dataclass(frozen=True)
class InputBinding:
    """One model input and the source columns that fill it, in the tensor's column order."""

    tensor: TensorSignature
    columns: tuple[str, ...]
    unread: frozenset[int] = frozenset()
    """Places whose column moves no prediction: they are fed a constant, and the column need not be there."""

    @property
    def fed(self) -> tuple[str | None, ...]:
        """The column of each place, in the tensor's order; None for one that is fed a constant."""
        return tuple(None if place in self.unread else column for place, column in enumerate(self.columns))

    @property
    def read(self) -> tuple[str, ...]:
        """The columns that have to be there, in the tensor's order."""
        return tuple(column for column in self.fed if column is not None)


@dataclass(frozen=True)
class Binding:
    """All model inputs, in the model's order."""

    inputs: tuple[InputBinding, ...]

    @cached_property
    def columns(self) -> dict[str, str]:
        """Each distinct source column, first seen first, and the ONNX dtype that it is cast to on the way in.

        A column that feeds inputs of different dtypes takes one from which every other can be made: packing
        casts the rest of the way. Columns that nothing reads are left out.
        """
        wanted: dict[str, set[str]] = {}
        for bound in self.inputs:
            for column in bound.read:
                wanted.setdefault(column, set()).add(bound.tensor.dtype)
        return {column: _common_dtype(column, dtypes) for column, dtypes in wanted.items()}


def bind(
    signature: Signature,
    features: Mapping[str, str | Sequence[str]] | Sequence[str] | None,
    *,
    feature_names: Sequence[str] | None = None,
    available: Sequence[str] | None = None,
    fold_case: bool = False,
) -> Binding:
    """Binds source columns to model inputs.

    An input of one column takes the column that `features` names for it, or else the column of its own name.
    An input of several takes the list that `features` holds for it; or `features` itself, where that is a
    list and the model has one such input; or the names that the model brings in its metadata property
    `feature_names`, each of which `features` may map to another column. `available` is what the source has;
    None checks nothing. With `fold_case` a name goes to the one column that differs by case alone, as databases
    have it; the binding spells columns as the source does.

    Raises SignatureError where an input finds no columns, a list has the wrong length, a name in `features`
    is none of the model's, a column is not available, or feeds two places without `features` naming it for each
    of them; the message says what to write.
    """
    columns, places = _placed(signature, features, feature_names)
    if available is not None:
        places = found_in(available, places, fold_case=fold_case)
    check_fed_once(places)
    found = iter(places)
    bound = tuple(
        InputBinding(tensor, tuple(next(found).column for _ in columns[tensor.name])) for tensor in signature.inputs
    )
    binding = Binding(bound)
    _ = binding.columns  # raises for a column that two inputs want in dtypes that do not go together
    return binding


def unavailable(
    signature: Signature,
    features: Mapping[str, str | Sequence[str]] | Sequence[str] | None,
    *,
    feature_names: Sequence[str] | None = None,
    available: Sequence[str],
    fold_case: bool = False,
) -> list[SignatureError]:
    """What `bind` would say of every column that is not available: it says only the first. Raises as `bind` does."""
    _, places = _placed(signature, features, feature_names)
    return absent(available, places, fold_case=fold_case)


def _placed(
    signature: Signature,
    features: Mapping[str, str | Sequence[str]] | Sequence[str] | None,
    feature_names: Sequence[str] | None,
) -> tuple[dict[str, tuple[str, ...]], tuple[Place, ...]]:
    """The columns of each input as they are called, and all their places in order."""
    matrices = [tensor for tensor in signature.inputs if tensor.is_matrix]
    own_names = tuple(feature_names or ()) if len(matrices) == 1 else ()
    named = _by_input(signature, features, matrices)
    _check_names(named, [*(tensor.name for tensor in signature.inputs), *own_names])
    columns = {tensor.name: _columns(tensor, named, own_names) for tensor in signature.inputs}
    places = tuple(place for tensor in signature.inputs for place in _places(tensor, columns, named, own_names))
    return columns, places


def _by_input(
    signature: Signature,
    features: Mapping[str, str | Sequence[str]] | Sequence[str] | None,
    matrices: Sequence[TensorSignature],
) -> dict[str, str | Sequence[str]]:
    if features is None:
        return {}
    if isinstance(features, Mapping):
        return dict(features)
    if isinstance(features, str):
        raise SignatureError(
            f"features is the text {features!r}; write a list of columns, or a mapping from model input to column"
        )
    if len(matrices) == 1:
        return {matrices[0].name: list(features)}
    if len(signature.inputs) == 1:
        return {signature.inputs[0].name: list(features)}
    names = ", ".join(f"{tensor.name}: ..." for tensor in signature.inputs)
    raise SignatureError(
        f"features is a list, but the model has {len(matrices)} inputs of several columns among "
        f"{len(signature.inputs)}, so it is not clear what the list orders; write features: {{{names}}}"
    )


def _columns(
    tensor: TensorSignature, named: Mapping[str, str | Sequence[str]], own_names: Sequence[str]
) -> tuple[str, ...]:
    chosen = named.get(tensor.name)
    if not tensor.is_matrix:
        if chosen is None or isinstance(chosen, str):
            return (chosen or tensor.name,)
        columns = tuple(chosen)
    elif isinstance(chosen, str):
        raise SignatureError(
            f"input {tensor} takes {_count(tensor)}, but features names the single column {chosen!r} for it; "
            f"write features: {{{tensor.name}: [{chosen}, ...]}}"
        )
    elif chosen is not None:
        columns = tuple(chosen)
    elif own_names:
        columns = tuple(str(named.get(name, name)) for name in own_names)
    else:
        raise SignatureError(
            f"input {tensor} takes {_count(tensor)}, and the model does not name them; write "
            f"features: {{{tensor.name}: [first_column, second_column, ...]}} in the order of training, or "
            "export the model with a metadata property `feature_names` (a JSON list)"
        )
    if not columns or (tensor.width is not None and len(columns) != tensor.width):
        origin = "the model's feature_names hold" if chosen is None else "features lists"
        raise SignatureError(
            f"input {tensor} takes {_count(tensor)}, but {origin} {len(columns)} "
            f"({', '.join(columns) or 'none'}); write features: {{{tensor.name}: [...]}} with the columns in "
            "the order of training"
        )
    return columns


def _places(
    tensor: TensorSignature,
    columns: Mapping[str, Sequence[str]],
    named: Mapping[str, object],
    own_names: Sequence[str],
) -> list[Place]:
    taken = columns[tensor.name]
    if tensor.name in named or not tensor.is_matrix:
        listed = tensor.is_matrix
        return [Place(str(tensor), tensor.name, column, tensor.name in named, listed) for column in taken]
    return [
        Place(str(tensor), name, column, name in named, False) for name, column in zip(own_names, taken, strict=True)
    ]


def _count(tensor: TensorSignature) -> str:
    if tensor.width is None:
        return "several columns"
    return "1 column" if tensor.width == 1 else f"{tensor.width} columns"


def _check_names(named: Mapping[str, object], known: Sequence[str]) -> None:
    for name in named:
        if name not in known:
            raise SignatureError(
                f"features names {name!r}, which is no input of the model{close_matches(name, known)} "
                f"The model's inputs: {', '.join(known)}. Write features: {{model input: source column}}"
            )


def _common_dtype(column: str, dtypes: set[str]) -> str:
    if len(dtypes) == 1:
        return next(iter(dtypes))
    if "string" in dtypes:
        raise SignatureError(
            f"column {column!r} feeds model inputs of the dtypes {', '.join(sorted(dtypes))}, and text is no "
            "number; select it twice in the source query, once per dtype, and name both in `features`"
        )
    if "bool" in dtypes:
        return "bool"  # as 0 and 1 it fills every number; no number fills a bool
    integers = [dtype for dtype in _INTEGERS if dtype in dtypes]
    if integers:
        # An integer fills a float, a float fills no integer. Mixed signs meet in int64.
        signed = {dtype.startswith("u") for dtype in integers}
        return integers[-1] if len(signed) == 1 else "int64"
    return next(dtype for dtype in reversed(_FLOATS) if dtype in dtypes)
