"""What a command tells of a scoring's partitions beside its slices: rows that have none, and ends that were moved."""

from collections.abc import Iterable

from onnx_pipeline.cli.terminal import terminal
from onnx_pipeline.partitions.base import Partitioning
from onnx_pipeline.scoring.inventory import Inventory
from onnx_pipeline.spec.scoring import ScoringSpec

__all__ = ["notes_of", "print_notes"]


def notes_of(spec: ScoringSpec, partitions: Partitioning, inventory: Inventory) -> list[str]:
    """A line per thing that somebody who reads only numbers of slices would miss."""
    notes = [f"{spec.scoring}: {note}." for note in partitions.notes]
    if inventory.outside:
        notes.append(f"{spec.scoring}: {inventory.why_outside()}.")
    return notes


def print_notes(notes: Iterable[str]) -> None:
    """To standard error: standard output may be JSON that a program reads."""
    console = terminal(errors=True, soft_wrap=True)
    for note in notes:
        console.print(note)
