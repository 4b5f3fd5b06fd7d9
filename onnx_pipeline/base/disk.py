"""Why a file cannot be written: a full disk, a quota, a right that is missing; and what is to be done about it."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from onnx_pipeline.base.errors import OnnxPipelineError, first_line
from onnx_pipeline.base.sizes import readable_bytes

__all__ = ["full_disk", "writing"]

_NO_RIGHT = (errno.EACCES, errno.EPERM)
_NO_FOLDER = (errno.ENOTDIR, errno.EEXIST, errno.EISDIR)


@contextmanager
def writing(
    place: Path, raised: type[OnnxPipelineError], *, lost: str, then: str, elsewhere: str = "", size: int | None = None
) -> Iterator[None]:
    """Around whatever writes at `place`: an OSError becomes `raised`, which names place, cause, room and remedy.

    `lost` says what did not happen ("nothing was staged there"), `then` what to do once there is room ("run the
    partition again"), `elsewhere` where else it may go, as an imperative, and `size` how many bytes were to come.
    """
    try:
        yield
    except OSError as error:
        why, remedy = _why(place, error, size)
        other = f", or {elsewhere}" if elsewhere else ""
        raise raised(f"{place} cannot be written: {why}, so {lost}. {remedy}{other}, then {then}.") from error


def full_disk(place: Path, text: str) -> str:
    """What to add to a library's message that a disk is full: room and remedy; empty where it says something else."""
    if os.strerror(errno.ENOSPC) not in text and os.strerror(errno.EDQUOT) not in text:
        return ""
    return f". {_room(place)[:1].upper()}{_room(place)[1:]}. Free space there, then run this again"


def _why(place: Path, error: OSError, size: int | None) -> tuple[str, str]:
    """The cause, and what to do about it."""
    wanted = f", and {readable_bytes(size)} were to come" if size is not None else ""
    if error.errno == errno.ENOSPC:
        return f"its disk is full ({_room(place)}{wanted})", "Free space there"
    if error.errno == errno.EDQUOT:
        return f"this user's quota there is used up ({_room(place)}{wanted})", "Free space there or raise the quota"
    if error.errno == errno.EFBIG:
        return f"no file may grow that large there (`ulimit -f`{wanted})", "Raise the limit"
    if error.errno == errno.EROFS:
        return "its disk is mounted read-only", "Mount it for writing"
    if error.errno in _NO_RIGHT:
        return f"this user may not ({error.strerror})", "Let this user write there"
    if error.errno in _NO_FOLDER:
        return f"a file stands where a folder should be ({error.strerror})", "Move that file away"
    return first_line(error), "Look at the disk"


def _room(place: Path) -> str:
    """How much room is left on the disk of a place, which need not be there yet."""
    for folder in (place, *place.parents):
        try:
            usage = shutil.disk_usage(folder)
        except OSError:
            continue
        return f"{readable_bytes(usage.free)} of {readable_bytes(usage.total)} are free on it{_no_names(folder)}"
    return "how much is free cannot be told"


def _no_names(folder: Path) -> str:
    """A disk with room may still have none for another file."""
    found = os.statvfs(folder) if hasattr(os, "statvfs") else None
    return ", and no more files" if found is not None and found.f_files and not found.f_favail else ""
