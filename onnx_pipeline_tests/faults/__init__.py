"""Processes that die, files that break, neighbours that hold what we need."""
