"""The network of the built-in labeller: what goes in, what comes out, and how it is run."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from CTSpectSpineLib.errors import InputError

BODIES = ("cervical", "thoracic", "lumbar")
"""Classes of vertebral bodies, C3 and below; ``thoracic`` are those that carry ribs."""
CLASSES = ("background", *BODIES, "posterior", "disc", "sacrum", "rib", "hip", "C1", "C2")
"""What a voxel is; ``posterior`` is the arch of C3 and below."""
BODY = tuple(CLASSES.index(name) for name in BODIES)
MIDDLE = (*BODY, CLASSES.index("C1"), CLASSES.index("C2"))
VERTEBRA = (*MIDDLE, CLASSES.index("posterior"))
"""Numbers of the classes of bodies, of what is the middle of a vertebra, and of all of it."""
OFFSET_MM = 20.0
"""Unit of the offsets to the vertebral body's centre. Convention: as in training."""
MODEL = Path(__file__).parent / "data" / "builtin.onnx"
_LOWEST_HU, _HIGHEST_HU = -400.0, 1200.0
"""Range of HU that the network sees. Convention: as in training."""
_MOST_THREADS = 4
"""Judgement: more hardly speed up a small network, and slow down everything else."""

Float = NDArray[np.float32]


def normalised(hu: NDArray[np.float32]) -> NDArray[np.float32]:
    """HU as the network sees them."""
    clipped = np.clip(hu, np.float32(_LOWEST_HU), np.float32(_HIGHEST_HU))
    return ((clipped - 200.0) / 400.0).astype(np.float32)


@dataclass(frozen=True)
class Network:
    """A loaded network.

    Attributes
    ----------
    session
        ONNX Runtime's session.
    spacing_mm
        Voxel size that it was trained at.
    version
        Identifies it in results: steps and seed of its training.
    """

    session: Any
    spacing_mm: float
    version: str

    def run(self, hu: Float) -> tuple[Float, Float]:
        """Classify the voxels of a cube.

        Parameters
        ----------
        hu
            CT in HU, ``[k, j, i]`` with i to the left, j to the back, k upwards; each length
            divisible by 8.

        Returns
        -------
        tuple of NDArray
            Probabilities of `CLASSES`, shape (classes, k, j, i), and the offset to the vertebral
            body's centre along k, j, i in voxels, shape (3, k, j, i).
        """
        output = self.session.run(None, {"ct": normalised(hu)[np.newaxis, np.newaxis]})[0][0]
        logits, offsets = output[: len(CLASSES)], output[len(CLASSES) :]
        shares = np.exp(logits - logits.max(axis=0))
        shares /= shares.sum(axis=0)
        return shares, offsets * np.float32(OFFSET_MM / self.spacing_mm)


def load_network(path: Path = MODEL) -> Network:
    """Load the network from its ONNX file.

    Raises
    ------
    InputError
        If ONNX Runtime or the file is missing, or the file holds another network.
    """
    missing = what_is_missing(path)
    if missing:
        raise InputError(f"The built-in labeller cannot run: {missing}.")
    return _loaded(path)


def what_is_missing(path: Path = MODEL) -> str:
    """Say in one sentence what is missing to run the network; empty when it can run."""
    if not path.is_file():
        return (
            f"its network {path.name} is missing from this installation; install the program again"
        )
    try:
        _onnxruntime()
    except ImportError:
        return (
            "the Python package onnxruntime is missing; install it with 'pip install onnxruntime'"
        )
    return ""


def _onnxruntime() -> Any:
    """The module, silenced before it is imported.

    Its official builds report to their maker as soon as they are loaded, and leave an identifier of
    the device in the user's folder, unless this variable is set (its ``Privacy.md``, read 2026).
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime

    # Windows' own telemetry does not ask for the variable; nor does a host that imported it before.
    getattr(onnxruntime, "disable_telemetry_events", lambda: None)()
    return onnxruntime


@cache
def _loaded(path: Path) -> Network:
    onnxruntime = _onnxruntime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = min(_MOST_THREADS, os.cpu_count() or 1)
    # Arenas never give memory back; the largest tile alone decides how much is needed.
    options.enable_cpu_mem_arena = False
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
        facts = session.get_modelmeta().custom_metadata_map
        known = tuple(json.loads(facts["classes"]))
        spacing = float(facts["spacing_mm"])
        version = f"{facts['steps']} steps, seed {facts['seed']}"
    except Exception as error:  # what ONNX Runtime raises has no common type
        raise InputError(
            f"{path}: cannot be read as the labeller's network ({type(error).__name__}); install "
            "the program again."
        ) from error
    if known != CLASSES:
        raise InputError(
            f"{path}: is a network with other classes than this version's; install the program "
            "again."
        )
    return Network(session, spacing, version)
