"""Models on execution providers other than the CPU's: which run there, how rows get there, and that answers agree."""
