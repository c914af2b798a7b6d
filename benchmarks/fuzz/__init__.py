"""Damaged input for every reader: `python -m benchmarks.fuzz --help`."""
