"""What the server of child processes loads once; see `measure`."""

from __future__ import annotations

from contextlib import suppress

from benchmarks.registration import methods

for method in methods.METHODS.values():
    # A package that is missing is told by the command line, where it is asked for.
    with suppress(ImportError):
        method.prepare()
