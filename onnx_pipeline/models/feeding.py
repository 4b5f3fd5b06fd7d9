"""Which column answers to a name, and that none feeds two places of a model unless it was asked to."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from onnx_pipeline.base.errors import SignatureError
from onnx_pipeline.base.hints import close_matches

__all__ = ["Place", "absent", "check_fed_once", "found_in"]


@dataclass(frozen=True)
class Place:
    """One column's place in a model input."""

    tensor: str
    """The input, as messages show it."""
    name: str
    """What `features` calls the place: the input's name, or the name that the model gives this column of it."""
    column: str
    is_named: bool
    """Whether `features` names the column; otherwise it is the place's own name."""
    is_listed: bool
    """Whether `features` names it in a list of the whole input's columns."""


def found_in(available: Sequence[str], places: Sequence[Place], *, fold_case: bool) -> tuple[Place, ...]:
    """The places with their columns as `available` spells them.

    With `fold_case` a name that no column has exactly goes to the one column that differs by case alone. Raises
    SignatureError for a column that is not there, is there more than once, or may be one of several.
    """
    _check_renamed(available, places)
    spellings = _spellings(available, places, fold_case=fold_case)
    for error in _unspelled(available, spellings):
        raise error
    return tuple(replace(place, column=spellings[place] or place.column) for place in places)


def absent(available: Sequence[str], places: Sequence[Place], *, fold_case: bool) -> list[SignatureError]:
    """What `found_in` would say of every column that is not there. Raises for the rest as that does."""
    _check_renamed(available, places)
    return list(_unspelled(available, _spellings(available, places, fold_case=fold_case)))


def _spellings(available: Sequence[str], places: Sequence[Place], *, fold_case: bool) -> dict[Place, str | None]:
    folded: dict[str, list[str]] = {}
    for name in available:
        folded.setdefault(name.casefold() if fold_case else name, []).append(name)
    spellings = {}
    for place in places:
        candidates = folded.get(place.column.casefold() if fold_case else place.column, [])
        exact = [name for name in candidates if name == place.column]
        spellings[place] = _only(place, exact or candidates)
    return spellings


def _unspelled(available: Sequence[str], spellings: Mapping[Place, str | None]) -> Iterator[SignatureError]:
    taken = set(spellings.values())
    for place, spelling in spellings.items():
        if spelling is None:
            yield _missing(place, available, [name for name in available if name not in taken])


def check_fed_once(places: Sequence[Place]) -> None:
    """Raises SignatureError for a column that feeds two places, unless `features` names it for each of them.

    A column that bears the very name of an input and of a column of another, by the model's own word, is meant.
    """
    by_column: dict[str, list[Place]] = {}
    for place in places:
        by_column.setdefault(place.column, []).append(place)
    for column, fed in by_column.items():
        tensors = {place.tensor for place in fed}
        if len(fed) == 1 or all(place.is_named for place in fed):
            continue
        if len(tensors) == len(fed) and all(place.name == column and not place.is_named for place in fed):
            continue
        raise _fed_twice(column, fed)


def _only(place: Place, candidates: Sequence[str]) -> str | None:
    if len(candidates) < 2:
        return candidates[0] if candidates else None
    reads = f"input {place.tensor} reads the column {place.column!r}, which"
    if candidates[0] == candidates[1]:
        raise SignatureError(f"{reads} the source has more than once; rename one of them")
    raise SignatureError(
        f"{reads} may be {' or '.join(map(repr, candidates))}: they differ by case alone. Write "
        f"features: {_example([replace(place, column=candidates[0])])}"
    )


def _missing(place: Place, available: Sequence[str], free: Iterable[str]) -> SignatureError:
    """`free` is what feeds nothing yet: a column that does is no answer for another input."""
    example = "[..., <column>, ...]" if place.is_listed else "<column>"
    return SignatureError(
        f"input {place.tensor} reads the column {place.column!r}, which the source does not have"
        f"{close_matches(place.column, free)} It has {', '.join(available) or 'no columns'}. "
        f"Write features: {{{place.name}: {example}}}, or select the column in the source query"
    )


def _check_renamed(available: Sequence[str], places: Sequence[Place]) -> None:
    """skl2onnx makes `a_b` and `a_b1` of the columns `a b` and `a_b`, in the order of training, which nothing tells."""
    sanitised: dict[str, list[str]] = {}
    for column in dict.fromkeys(available):
        sanitised.setdefault(_identifier(column), []).append(column)
    own = {place.name: place for place in places if not place.is_listed}
    for name, columns in sanitised.items():
        if name not in own or len(columns) < 2:
            continue
        numbered = re.compile(re.escape(name) + r"\d+")
        clashing = [place for other, place in own.items() if other == name or numbered.fullmatch(other)]
        if len(clashing) > 1 and not all(place.is_named for place in clashing):
            raise SignatureError(
                f"the model's inputs {', '.join(place.name for place in clashing)} may be any of the columns "
                f"{', '.join(map(repr, columns))}: skl2onnx calls each of these {name!r} and appends a number, in the "
                "order of training. A wrong guess would exchange them without an error, so name them all: features: "
                f"{{{', '.join(f'{place.name}: <column>' for place in clashing)}}}"
            )


def _identifier(column: str) -> str:
    """A column's name as skl2onnx makes it the name of an input."""
    name = re.sub(r"\W", "_", column)
    return f"_{name}" if name[:1].isdigit() else name


def _fed_twice(column: str, fed: Sequence[Place]) -> SignatureError:
    ways = " and ".join(
        f"{place.name} ({'named in features' if place.is_named else 'by its own name'})" for place in fed
    )
    if len({place.tensor for place in fed}) < len(fed) and not any(place.is_named for place in fed):
        return SignatureError(
            f"the names that the model brings for input {fed[0].tensor} hold {fed[0].name!r} and {fed[1].name!r}, and "
            f"column {column!r} would feed both; list the input's columns in features, in the order of training"
        )
    return SignatureError(
        f"column {column!r} would feed {ways}: the same values twice, which gives wrong answers without an error where "
        f"it is not meant. Where it is, name it for each: features: {_example(fed)}; otherwise name another column"
    )


def _example(places: Sequence[Place]) -> str:
    written: Mapping[str, str] = {
        place.name: f"[..., {place.column}, ...]" if place.is_listed else place.column for place in places
    }
    return "{" + ", ".join(f"{name}: {column}" for name, column in written.items()) + "}"
