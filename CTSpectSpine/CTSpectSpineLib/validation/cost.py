"""What one patient costs: CPU seconds by stage, seconds by the clock, peak memory."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter, process_time
from typing import Any

from CTSpectSpineLib.progress import Progress

STAGES = ("phantom", "label", "register", "joints", "uptake", "triage")
_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class Meter:
    """Takes the progress messages of an analysis and measures the stages between them."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.wall_s: float | None = None
        self.peak_mb: float | None = None
        self._stage, self._since = "phantom", process_time()
        self._start, self._clean = perf_counter(), False

    def __call__(self, progress: Progress) -> None:
        """A message of the analysis."""
        self._turn_to(progress.stage)

    def begin(self) -> None:
        """The analysis begins: forget the peak of memory that the phantom took."""
        self._start = perf_counter()
        try:
            _CLEAR.write_text("5", encoding="ascii")  # see proc_pid_clear_refs(5)
            self._clean = True
        except OSError:
            self._clean = False

    def end(self) -> None:
        """The analysis is over, whether it succeeded or not."""
        self.wall_s = perf_counter() - self._start
        self.peak_mb = _peak_mb() if self._clean else None
        self._turn_to("rest")

    def columns(self) -> dict[str, Any]:
        """Columns of the patient's row."""
        return {
            **{f"{stage}_s": self.seconds.get(stage, 0.0) for stage in STAGES},
            "cpu_s": sum(self.seconds.values()),
            "wall_s": self.wall_s,
            "peak_mb": self.peak_mb,
        }

    def _turn_to(self, stage: str) -> None:
        now = process_time()
        self.seconds[self._stage] = self.seconds.get(self._stage, 0.0) + now - self._since
        self._stage, self._since = stage, now


def _peak_mb() -> float | None:
    """Largest resident set since the peak was forgotten; None where the system does not tell."""
    try:
        lines = _STATUS.read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    found = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
    return float(found[0]) * 1024 / 1e6 if found else None
