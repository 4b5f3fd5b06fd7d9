"""The manifest of one staged slice: it names where the rows lie, and what was found out about them.

Rows lie in a file beside it, or in a table of the pool; of a slice that was only surveyed there are none. Of one that
was withdrawn it says why.
"""

import contextlib
import json
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from onnx_pipeline.base.errors import StagingError

__all__ = ["MANIFEST", "read_manifest", "replace_manifest", "withdrawal"]

MANIFEST = "manifest.json"


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """`file`, `table`, either of which may be None, and `facts`; None where nothing was ever staged, or was withdrawn.

    Raises StagingError for what is no manifest.
    """
    path = folder / MANIFEST
    try:
        manifest: Any = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise StagingError(f"{path} is not JSON ({error})") from error
    if isinstance(manifest, dict) and "withdrawn" in manifest:
        return None
    if not isinstance(manifest, dict) or not any(_is_named(manifest, place) for place in ("file", "table", "survey")):
        raise StagingError(f"{path} names no file")
    if not isinstance(manifest.get("facts"), dict):
        raise StagingError(f"{path} holds no facts")
    file = manifest.get("file")
    # A name alone, whatever was written there.
    return {
        "file": Path(file).name if file is not None else None,
        "table": manifest.get("table"),
        "facts": manifest["facts"],
    }


def withdrawal(folder: Path) -> dict[str, str] | None:
    """`why` a slice was withdrawn and the `run_id` that did; None where it was not."""
    with contextlib.suppress(OSError, ValueError):
        manifest: Any = json.loads((folder / MANIFEST).read_bytes())
        if isinstance(manifest, dict) and isinstance(manifest.get("withdrawn"), dict):
            return {name: str(manifest["withdrawn"].get(name, "")) for name in ("why", "run_id")}
    return None


def _is_named(manifest: Mapping[str, Any], place: str) -> bool:
    return isinstance(manifest.get(place), str)


def replace_manifest(
    folder: Path,
    facts: Mapping[str, Any],
    *,
    file: str | None = None,
    table: str | None = None,
    is_withdrawn: bool = False,
) -> str | None:
    """Write a manifest in place of the one before, in one step; the table that that one named.

    The file that it named is removed: a reader that has it open keeps it until it closes.
    """
    place = {"file": file} if file is not None else {"table": table} if table is not None else {"survey": "no rows"}
    draft = folder / f"{uuid.uuid4().hex}.json"
    previous: dict[str, Any] | None = None
    # What a damaged manifest named, a sweep removes.
    with contextlib.suppress(StagingError):
        previous = read_manifest(folder)
    try:
        draft.write_text(json.dumps({"withdrawn": facts} if is_withdrawn else {**place, "facts": facts}))
        draft.replace(folder / MANIFEST)
    except BaseException:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
        raise
    if previous is None:
        return None
    if previous["file"] is not None and previous["file"] != file:
        (folder / previous["file"]).unlink(missing_ok=True)
    before: str | None = previous["table"]
    return before if before != table else None
