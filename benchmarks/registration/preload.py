"""What the server of child processes loads once; see `measure`."""

from __future__ import annotations

from contextlib import suppress

from benchmarks.registration import methods

for method in methods.METHODS.values():
    # The command line reports a missing package where it is asked for.
    with suppress(ImportError):
        method.prepare()
