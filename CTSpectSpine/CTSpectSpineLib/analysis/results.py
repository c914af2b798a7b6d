"""What an analysis found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from CTSpectSpineLib.ct_sign import CtSigns
from CTSpectSpineLib.finding import Finding
from CTSpectSpineLib.model import (
    JointKind,
    Registration,
    SpineJoints,
    Uptake,
    UptakeBounds,
    Verdict,
    VertebraLabels,
)


@dataclass(frozen=True)
class Results:
    """Everything that an analysis found.

    Attributes
    ----------
    folder
        The results folder, or None when none was asked for.
    registration
        The rigid transform with its quality.
    labels, joints
        The vertebrae, and the joint regions derived from them.
    uptake
        The measurement, with its reference and its repetitions.
    table
        The joint table with the contract's columns.
    verdict
        What the protocol says of the patient.
    manifest
        What stands in ``manifest.json``.
    bounds
        The protocol's bounds by kind of joint; they name the deciding ratio.
    findings
        Uptake that no joint explains.
    ct_signs
        Signs of degeneration that the CT alone shows at the joints.
    """

    folder: Path | None
    registration: Registration
    labels: VertebraLabels
    joints: SpineJoints
    uptake: Uptake
    table: pd.DataFrame
    verdict: Verdict
    manifest: Mapping[str, Any]
    bounds: Mapping[JointKind, UptakeBounds] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    ct_signs: tuple[CtSigns, ...] = ()

    @property
    def refused(self) -> bool:
        """Whether the analysis ran but gives no verdict."""
        return self.verdict.disposition == "no_verdict"

    @property
    def report(self) -> Path | None:
        """Path of the report, if a folder was written."""
        return None if self.folder is None else self.folder / "report.html"
