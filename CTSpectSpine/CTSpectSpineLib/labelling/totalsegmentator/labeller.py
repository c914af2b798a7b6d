"""TotalSegmentator as a labeller: its own code, in a child process, on an upright grid.

Wasserthal et al. 2023, doi 10.1148/ryai.230024. Task ``total`` with vertebrae, sacrum and hips as
subset.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import SimpleITK as sitk

from CTSpectSpineLib import anatomy
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.labelling.importing.imported import labels_from
from CTSpectSpineLib.labelling.importing.sources import load_labels
from CTSpectSpineLib.labelling.labellers import USUAL, Labeller, Settings, register_labeller
from CTSpectSpineLib.labelling.levels.anchor import Anchor
from CTSpectSpineLib.labelling.levels.confidence import has_landmark
from CTSpectSpineLib.labelling.totalsegmentator import install
from CTSpectSpineLib.locks import scratch_folder
from CTSpectSpineLib.model import VertebraLabels
from CTSpectSpineLib.processes import end_tree, for_other_programs, own_group
from CTSpectSpineLib.progress import Progress, ProgressCallback
from CTSpectSpineLib.volumes.orthogonal import is_upright, upright
from CTSpectSpineLib.volumes.writing import write_image

NAME = "totalsegmentator"
_PROGRAM = Path(__file__).with_name("run.py")
_POLL_SECONDS = 0.2
"""Judgement: several times a second, so that a cancel is felt at once."""
_NO_NETWORK = "http://127.0.0.1:9"
"""A proxy that does not answer: nothing is fetched and nothing is sent."""
_DEVICES = re.compile(r"gpu(:\d+)?|cpu|mps")
_PHASES = (
    ("Generating rough segmentation", 0.10, "Finding the spine"),
    ("cropping from", 0.30, "Cropping to the spine"),
    ("Saving segmentations", 0.95, "Writing the labels"),
)
"""Line of output, share of the whole run, message. Judgement: shares as they roughly take time."""
_PART = re.compile(r"Predicting(?: part (\d+) of (\d+))?")
_SHARE = re.compile(r"(\d+)%\|")
_FAILURES = (
    (
        r"out of memory|MemoryError|std::bad_alloc|Cannot allocate memory|DefaultCPUAllocator",
        "not enough memory: crop the CT to the spine, use the labeller's fast option, or another "
        "device",
    ),
    (r"No space left on device", "the disk for temporary files is full"),
)


def subset(fast: bool, hips: bool) -> list[str]:
    """Classes to ask for; at 3 mm one model knows all, and ribs tell levels."""
    names = [f"vertebrae_{row.name}" for row in anatomy.vertebrae() if row.name not in _NOT_KNOWN]
    names.append("sacrum")
    if hips:
        names += ["hip_left", "hip_right"]
    if fast:
        names += [f"rib_{side}_{n}" for side in ("left", "right") for n in range(1, 13)]
    return names


_NOT_KNOWN = (*anatomy.SUPERNUMERARY, anatomy.SACRUM)


def label(
    settings: Settings, ct: sitk.Image, anchor: Anchor | None, progress: ProgressCallback
) -> VertebraLabels:
    """Label a CT with TotalSegmentator.

    Parameters
    ----------
    settings
        Device and fast option.
    ct
        The CT in HU; a grid with oblique or sheared axes is resampled before the call.
    anchor
        Not used: the levels are counted from it afterwards.
    progress
        Called several times a second while the child runs; cancels by raising.

    Raises
    ------
    InputError
        If it fails or finds no vertebra.
    """
    device = "gpu" if settings.device == "auto" else settings.device
    if not _DEVICES.fullmatch(device):
        raise InputError(
            f"Device '{settings.device}' is unknown; use auto, cpu, gpu, gpu:1 … or mps."
        )
    version = install.installed_version()
    hips = settings.fast or install.has_model(install.HIPS, install.weights_folder())
    with scratch_folder() as folder:
        grid = ct if is_upright(ct) else upright(ct, outside=-1024.0)
        write_image(
            sitk.Cast(sitk.Clamp(grid, sitk.sitkFloat32, -1024, 32767), sitk.sitkInt16),
            folder / "ct.nii.gz",
        )
        request = {
            "input": str(folder / "ct.nii.gz"),
            "output": str(folder / "labels.nii.gz"),
            "ml": True,
            "task": "total",
            "fast": settings.fast,
            "roi_subset": subset(settings.fast, hips),
            "device": device,
            "nr_thr_resamp": 1,
            "nr_thr_saving": 1,
        }
        said = _run(request, folder, progress)
        result = folder / "labels.nii.gz"
        if not result.is_file():
            raise InputError(f"TotalSegmentator wrote no labels ({_last(said)}).")
        try:
            loaded = load_labels(result)
        except InputError:
            raise InputError(
                "TotalSegmentator found no vertebra in this CT; check that it shows a spine, or "
                "give labels with --vertebrae."
            ) from None
        loaded = replace(loaded, name="TotalSegmentator's labels")
        labels = labels_from(loaded, ct, NAME, f"{version}{' fast' if settings.fast else ''}")
    notes = list(labels.warnings)
    known = has_landmark(labels.levels) or bool(labels.ribs)
    if not known:
        notes.append(
            "None of the landmarks by which TotalSegmentator tells the levels (top of the neck, "
            "sacrum, ribs) is in view: confirm the levels, or give an anchor."
        )
    if grid is not ct:
        notes.insert(0, "The CT's axes are oblique: TotalSegmentator worked on an upright copy.")
    if device == "gpu" and any("No GPU detected" in line for line in said):
        notes.append("TotalSegmentator found no GPU and ran on the CPU.")
    return replace(
        labels,
        levels_confirmed=labels.levels_confirmed and known,
        warnings=tuple(notes),
    )


def _run(request: dict[str, Any], folder: Path, progress: ProgressCallback) -> list[str]:
    """Run the child to its end; return its output."""
    path, log = folder / "request.json", folder / "log.txt"
    path.write_text(json.dumps(request), encoding="utf-8")
    # Its own home keeps the user's settings untouched and sends no usage statistics.
    home = folder / "home"
    home.mkdir()
    (home / "config.json").write_text(
        json.dumps(
            {
                "totalseg_id": "totalseg_none",
                "send_usage_stats": False,
                "prediction_counter": 0,
                "statistics_disclaimer_shown": True,
            }
        ),
        encoding="utf-8",
    )
    python = install.python_program()
    with log.open("wb") as stream:
        try:
            process = subprocess.Popen(
                [python, str(_PROGRAM), str(path)],
                stdin=subprocess.PIPE,
                stdout=stream,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env=_environment(home, folder),
                **own_group(),
            )
        except OSError as error:
            raise InputError(
                f"TotalSegmentator cannot be started: {python}: {error.strerror}."
            ) from error
    watch = _Watch()
    try:
        while process.poll() is None:
            watch.read(log)
            progress(Progress("label", watch.fraction, f"TotalSegmentator: {watch.message}"))
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_POLL_SECONDS)
    finally:
        end_tree(process)
        if process.stdin is not None:
            process.stdin.close()
    said = watch.read(log)
    if process.returncode != 0:
        raise InputError(_failure(process.returncode, said))
    return said


def _environment(home: Path, temporary: Path) -> dict[str, str]:
    values = {
        name: value
        for name, value in for_other_programs(os.environ).items()
        if name.lower() not in ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
        and name not in ("ITK_AUTOLOAD_PATH", "SITK_AUTOLOAD_PATH")
    }
    if os.environ.get(install.PYTHON_VARIABLE, "").strip():
        # Another Python must not find the packages of this one.
        values = {k: v for k, v in values.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    # What its packages would leave in the user's folder: caches, settings, identifiers.
    places = ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "MPLCONFIGDIR", "TORCH_HOME", "HF_HOME")
    proxies = {f"{kind}_proxy": _NO_NETWORK for kind in ("http", "https", "all")}
    return {
        **values,
        **proxies,
        **{name.upper(): value for name, value in proxies.items()},
        **dict.fromkeys(places, str(home)),
        **dict.fromkeys(("ORT_DISABLE_TELEMETRY", "DO_NOT_TRACK", "HF_HUB_OFFLINE"), "1"),
        "TOTALSEG_HOME_DIR": str(home),
        "TOTALSEG_WEIGHTS_PATH": str(install.weights_folder()),
        "TMPDIR": str(temporary),
        "PYTHONUNBUFFERED": "1",
        "PYTHONIOENCODING": "utf-8",
    }


class _Watch:
    """Progress of TotalSegmentator, read from its output."""

    def __init__(self) -> None:
        self.fraction, self.message = 0.0, "Starting"
        self._begin, self._end = 0.0, 0.10
        self._started = time.monotonic()

    def read(self, log: Path) -> list[str]:
        """Read the log and update; returns its lines, each as it stood last."""
        text = log.read_bytes().decode("utf-8", "replace")
        lines = [line.strip() for line in re.split(r"[\r\n]+", text) if line.strip()]
        cropped = False
        for line in lines:
            for start, fraction, message in _PHASES:
                if line.startswith(start):
                    self._advance(fraction, message)
            cropped |= line.startswith("cropping from")
            if part := _PART.match(line):
                number, count = (int(v) if v else 1 for v in part.groups())
                low, high = (0.32, 0.93) if cropped else (0.12, 0.28)
                self._begin = low + (high - low) * (number - 1) / count
                self._end = low + (high - low) * number / count
                self._advance(
                    self._begin, "Labelling the vertebrae" if cropped else "Finding the spine"
                )
            elif share := _SHARE.search(line):
                within = self._begin + (self._end - self._begin) * int(share.group(1)) / 100
                self._advance(within, self.message)
        return lines

    def _advance(self, fraction: float, message: str) -> None:
        if fraction >= self.fraction:
            self.fraction, self.message = fraction, message


def _failure(code: int, said: Sequence[str]) -> str:
    """One sentence on why the child failed."""
    text = "\n".join(said)
    for pattern, sentence in _FAILURES:
        if re.search(pattern, text):
            return f"TotalSegmentator failed: {sentence}."
    if code in (-9, 137):
        return (
            "TotalSegmentator was terminated by the system, most likely for lack of memory: crop "
            "the CT to the spine, or use the labeller's fast option."
        )
    return f"TotalSegmentator failed ({_last(said)}); give labels with --vertebrae instead."


def _last(said: Sequence[str]) -> str:
    return said[-1][:300].rstrip(".") if said else "no output"


def with_settings(settings: Settings) -> Labeller:
    """The labeller with these settings."""
    return Labeller(
        name=NAME,
        label=partial(label, settings),
        missing=partial(install.what_is_missing, settings.fast),
        variant=with_settings,
        found=partial(install.what_is_there, settings.fast),
    )


register_labeller(with_settings(USUAL))
