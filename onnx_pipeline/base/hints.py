"""What an error message says about a name that is not known: the names that may have been meant."""

import difflib
from collections.abc import Iterable, Sequence

__all__ = ["close_matches", "closest"]

_SHOWN = 40


def _nearest(name: str, candidates: Iterable[str]) -> list[str]:
    # Case is what people mistype most, and what databases ignore.
    by_folded = {candidate.casefold(): candidate for candidate in candidates}
    return [by_folded[match] for match in difflib.get_close_matches(name.casefold(), by_folded, n=3)]


def _question(names: Sequence[str]) -> str:
    return f"did you mean {' or '.join(repr(name) for name in names)}?"


def close_matches(name: str, candidates: Iterable[str]) -> str:
    """The half sentence that points a typo at what it may have meant, or a full stop where nothing is close."""
    found = _nearest(name, candidates)
    return f"; {_question(found)}" if found else "."


def closest(name: str, candidates: Sequence[object]) -> str:
    """What ends a message: the names nearest to a misspelt one, or, where none is near, those that there are."""
    names = [str(candidate) for candidate in candidates]
    found = _nearest(name, names)
    if found:
        return _question(found)
    shown = ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
    return f"there are: {shown}" if names else "there are none"
