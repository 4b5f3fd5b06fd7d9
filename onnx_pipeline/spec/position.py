"""Where an attribute stands in its `defs.yaml`, for what turns out wrong only once the source is known."""

from pathlib import Path

from dagster_shared.yaml_utils import parse_yamls_with_source_position

__all__ = ["position"]


def position(folder: Path, *path: str | int) -> str:
    """`<file>:<line>: ` of an attribute, or of what is nearest above it; empty where the folder has no `defs.yaml`."""
    file = folder / "defs.yaml"
    try:
        text = file.read_text(encoding="utf-8")
    except OSError:
        # A spec that Python code made.
        return ""
    documents = parse_yamls_with_source_position(text, str(file))
    if len(documents) != 1:
        return f"{file}: "
    place, _ = documents[0].source_position_tree.lookup_closest_and_path(["attributes", *path], trace=None)
    return f"{place.filename}:{place.start.line}: "
