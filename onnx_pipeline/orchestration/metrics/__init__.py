"""Figures of every scoring for Prometheus: what the scoring log holds, what is pending, which runs failed."""
