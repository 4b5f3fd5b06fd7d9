"""The form of what is kept of a model beside its bytes."""

__all__ = ["EVERY_COLUMN", "FACTS_FORMAT"]

FACTS_FORMAT = 7
"""Raised whenever looking at a model finds out something else: what an older release kept is made anew."""

EVERY_COLUMN = -1
"""In the place of a column index: whichever columns the input is bound to."""
