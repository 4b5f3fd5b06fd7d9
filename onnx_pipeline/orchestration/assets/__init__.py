"""The four assets of a scoring: one builder, and one module per step that says what it is and does its work.

step.py    what an asset of a run has at hand, and what Dagster is told of it
plans.py   one plan per run and process
build.py   the only place that makes an asset
"""
