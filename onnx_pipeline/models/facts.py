"""The form of what is kept of a model beside its bytes."""

__all__ = ["FACTS_FORMAT"]

FACTS_FORMAT = 2
"""Raised whenever normalising finds out something else: stored facts of an older release are made anew."""
