"""The values that travel between the rooms of the library.

Conventions: points are **LPS** in millimetres; matrices are 4×4 and map homogeneous column vectors;
arrays of images are indexed ``[k, j, i]`` as `SimpleITK.GetArrayFromImage` returns them, whereas
index vectors in matrices are ``(i, j, k)``. Left and right are the patient's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import SimpleITK as sitk

from CTSpectSpineLib.geometry import BoolArray as BoolArray
from CTSpectSpineLib.geometry import FloatArray as FloatArray
from CTSpectSpineLib.geometry import transform_matrix
from CTSpectSpineLib.posture import Posture

if TYPE_CHECKING:
    import pandas as pd

JointKind = Literal["disc", "facet"]
Side = Literal["left", "right", ""]
Quality = Literal["good", "check", "failed"]
ACCEPTED_ERROR_MM, REFUSED_ERROR_MM = 3.0, 5.0
"""Registration error at the joints up to which a registration is good, and above which there is no
verdict. Judgement, from what an error costs, measured on simulated SPECT: the mean of a hot facet
falls by 10 to 15 % at 3 mm and by 31 to 47 % at 6 mm."""
STABLE_SHARE = 0.8
"""Share of equal dispositions below which a verdict is called unstable. Judgement."""


@dataclass(frozen=True)
class Region:
    """A binary region on a grid of its own.

    Attributes
    ----------
    mask
        Voxels of the region, indexed ``[k, j, i]``.
    ijk_to_lps
        4×4 matrix from voxel index ``(i, j, k, 1)`` to LPS mm. May be oblique.
    """

    mask: BoolArray
    ijk_to_lps: FloatArray

    @property
    def voxel_volume_mm3(self) -> float:
        """Volume of one voxel in mm³."""
        return float(abs(np.linalg.det(self.ijk_to_lps[:3, :3])))

    @property
    def volume_mm3(self) -> float:
        """Volume of the region in mm³."""
        return float(np.count_nonzero(self.mask)) * self.voxel_volume_mm3

    def points_mm(self) -> FloatArray:
        """Centres of the region's voxels, LPS mm, shape (n, 3)."""
        kji = np.argwhere(self.mask)
        return np.asarray(
            (kji[:, ::-1] @ self.ijk_to_lps[:3, :3].T + self.ijk_to_lps[:3, 3]).astype(np.float64)
        )

    def centre_mm(self) -> FloatArray:
        """Centroid of the region, LPS mm, shape (3,)."""
        return np.asarray(self.points_mm().mean(axis=0))


@dataclass(frozen=True)
class VertebraLabels:
    """Vertebra labels of one CT.

    Attributes
    ----------
    image
        Label map (uint8) with the ids of `anatomy`; it may hold the hips, too (77 left, 78 right).
    levels
        Names of the vertebrae present, cranial to caudal, like ``("L4", "L5", "S1", "sacrum")``.
    engine, engine_version, engine_reason
        Labeller (``"imported"`` for the user's label map), its version, and why ``auto`` took it.
    levels_confirmed, doubted_levels
        Whether the numbering can be relied on, but for these levels whose names stay in doubt.
    confidence
        Per level 0 to 1: how far outline and name can be relied on; empty when unknown.
    warnings, ribs
        Sentences on what was doubtful or changed; rib (``"left 12"``) to the vertebra it meets.
    """

    image: sitk.Image
    levels: tuple[str, ...]
    engine: str
    engine_version: str = ""
    levels_confirmed: bool = True
    confidence: Mapping[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    ribs: Mapping[str, str] = field(default_factory=dict)
    engine_reason: str = ""
    doubted_levels: tuple[str, ...] = ()


@dataclass(frozen=True)
class VertebraFrame:
    """Position and axes of one vertebra.

    Attributes
    ----------
    level
        Name of the vertebra.
    centre_mm
        Centre of the vertebral body, LPS mm, shape (3,).
    axes
        Rows are unit vectors in LPS: to the patient's left, to posterior, to superior.
    body
        The vertebral body as a region.
    core
        The eroded cancellous core of the body, for reference uptake.
    reliable
        False for truncated vertebrae: they never give axes to others.
    """

    level: str
    centre_mm: FloatArray
    axes: FloatArray
    body: Region
    core: Region
    reliable: bool = True


@dataclass(frozen=True)
class Joint:
    """One joint between neighbouring vertebrae.

    Attributes
    ----------
    id
        Unique name, ``"L4-L5 disc"`` or ``"L4-L5 facet left"``.
    level, kind, side, spine_region
        As in the columns of ``joints.csv``; ``side`` is empty for discs.
    upper, lower
        Names of the two vertebrae (``"sacrum"`` for the sacral side where S1 is not labelled).
    region
        The whole joint as it is shown and measured: disc space with both endplate bands, or
        facet bone and gap; None when the joint could not be located.
    bone
        The part that takes up tracer: endplate bands, or facet bone.
    parts
        Named sub-regions (discs: ``disc_space``, ``endplate_upper``, ``endplate_lower``).
    centre_mm
        Centre of the joint, LPS mm: disc centre or centre of the facet joint space.
    flags
        Sentences on fall-backs and doubts, in the order found.
    doubts
        Those of the flags for which the joint's place, or the level's name, cannot be relied on:
        no confident number may rest on such a joint.
    outlined_on
        ``"CT"`` (it shows the space), or ``"place: …"`` or ``"labels: …"`` with why; empty without.
    """

    id: str
    level: str
    kind: JointKind
    side: Side
    spine_region: str
    upper: str
    lower: str
    region: Region | None
    bone: Region | None
    centre_mm: FloatArray | None
    parts: Mapping[str, Region] = field(default_factory=dict)
    flags: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()
    outlined_on: str = ""

    @property
    def located(self) -> bool:
        """Whether the joint has a region that can be measured."""
        return self.region is not None

    @property
    def trusted(self) -> bool:
        """Whether it was located and nothing casts doubt on its place or name."""
        return self.located and not self.doubts

    def geometry(self) -> dict[str, Any]:
        """The geometry columns of ``joints.csv``; NaN where the joint was not located."""
        x, y, z = (np.nan,) * 3 if self.centre_mm is None else map(float, self.centre_mm)
        return {
            "joint": self.id,
            "level": self.level,
            "kind": self.kind,
            "side": self.side,
            "spine_region": self.spine_region,
            **{"x_mm": x, "y_mm": y, "z_mm": z},
            "volume_mm3": np.nan if self.region is None else self.region.volume_mm3,
            "status": "measured" if self.located else "not_measurable",
            "status_reason": "; ".join(self.flags),
        }


@dataclass(frozen=True)
class SpineJoints:
    """All joints of one label map, cranial to caudal, with the frames they rest on."""

    joints: tuple[Joint, ...]
    frames: Mapping[str, VertebraFrame]
    warnings: tuple[str, ...] = ()

    def __getitem__(self, joint_id: str) -> Joint:
        return {joint.id: joint for joint in self.joints}[joint_id]


@dataclass(frozen=True)
class Registration:
    """A rigid registration of SPECT (moving) to CT (fixed), with its quality.

    Attributes
    ----------
    transform
        Maps points of the CT to points of the SPECT (LPS mm), as ITK resampling wants it.
    method
        Name of the method.
    metric_start, metric_end
        Similarity before and after (method's own scale; higher magnitude is better).
    expected_error_mm
        Estimated error at the joints, 1 SD, mm; infinite where none is stated (failed).
    quality, reasons
        Verdict on the result, and the sentences it rests on.
    seconds
        Wall time.
    deformation_mm
        Root mean square deformation of the vertebral column between the images that no rigid
        transform follows; 0 where the posture is the same. It is part of the expected error.
    posture
        Motions of single vertebrae beyond the transform; None where it is rigid.
    """

    transform: sitk.Euler3DTransform
    method: str
    metric_start: float
    metric_end: float
    expected_error_mm: float
    quality: Quality
    reasons: tuple[str, ...]
    seconds: float
    deformation_mm: float = 0.0
    posture: Posture | None = None

    @property
    def matrix(self) -> FloatArray:
        """4×4 matrix from CT points to SPECT points, LPS mm."""
        return transform_matrix(self.transform)

    @property
    def stated_error_mm(self) -> float | None:
        """The expected error as it is shown and written: None where none is stated."""
        return self.expected_error_mm if math.isfinite(self.expected_error_mm) else None


@dataclass(frozen=True)
class ReferenceUptake:
    """The patient's reference uptake.

    Attributes
    ----------
    value
        Reference uptake in SPECT units.
    name
        Which reference bone, for instance ``"vertebral_bodies"``.
    used, left_out
        Levels that entered, and those left out with the reason.
    spread
        Robust relative spread (MAD-based SD / median) over the levels used.
    """

    value: float
    name: str
    used: tuple[str, ...]
    left_out: Mapping[str, str]
    spread: float


@dataclass(frozen=True)
class UptakeBounds:
    """What counts as increased for one kind of joint, on the deciding ratio.

    Attributes
    ----------
    metric
        Column of the deciding ratio, for instance ``"ratio_corrected"``.
    positive, indeterminate
        At or above ``positive`` the joint is positive; at or above ``indeterminate`` but
        below ``positive`` it is indeterminate; below that negative.
    """

    metric: str
    positive: float
    indeterminate: float

    def class_of(self, ratio: float) -> str:
        """``positive``, ``indeterminate`` or ``negative``; ``not_measurable`` for NaN."""
        if np.isnan(ratio):
            return "not_measurable"
        if ratio >= self.positive:
            return "positive"
        return "indeterminate" if ratio >= self.indeterminate else "negative"


@dataclass(frozen=True)
class Uptake:
    """Uptake of all joints.

    Attributes
    ----------
    table
        One row per joint with the columns of ``joints.csv`` up to ``ratio_lower_endplate``.
    reference
        The reference uptake that the ratios are made with.
    draws
        Repetitions of the deciding ratio, (repetitions, joints as in ``table``); NaN: not measured.
    fwhm_mm, fwhm_source
        Point spread used for the correction, and where it comes from.
    condition_number, warnings
        Condition number of the system that the correction solves; sentences.
    reconstruction, calibration
        What is known of the reconstruction, and which families of responses were allowed for; the
        site's calibration, empty without one.
    """

    table: pd.DataFrame
    reference: ReferenceUptake
    draws: FloatArray
    fwhm_mm: float
    fwhm_source: str
    condition_number: float
    warnings: tuple[str, ...] = ()
    reconstruction: Mapping[str, Any] = field(default_factory=dict)
    calibration: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Area:
    """One anatomical area of increased uptake; ``level_status`` is the weakest of its joints'."""

    level: str
    kind: JointKind
    joints: tuple[str, ...]
    level_status: str = ""


@dataclass(frozen=True)
class Verdict:
    """Patient-level verdict; the fields are those of ``verdict.json``.

    Attributes
    ----------
    stability
        Share of the perturbed repetitions that give the same disposition; None where there are
        none.
    joint_verdicts
        Joint id to this joint's part in the verdict, in words.
    candidate_dispositions
        The dispositions between which an indeterminate verdict is open, two or more.
    chain
        The reasons as records, in the order of `reasons`: ``step`` (``joint``, ``areas``,
        ``rule``, ``modifier``, ``open``, ``borderline``, ``region``, ``finding``, ``obstacle``,
        ``disposition``), ``sentence``, and the values that the sentence rests on.
    stable
        Whether `stability` reaches 80 %; None where it was not computed.
    stability_shares
        Disposition to its share of the perturbed repetitions.
    by_region
        Pain region to disposition, where the pain region was not given.
    findings
        Uptake that no joint explains, as `finding.verdict_entry` writes it.
    headline
        What was found and what the protocol says of it, in one sentence; see `headline`.
    """

    protocol: Mapping[str, Any]
    disposition: str
    recommendation: str
    areas: tuple[Area, ...]
    reasons: tuple[str, ...]
    eligibility: Mapping[str, Any]
    stability: float | None
    caveats: tuple[str, ...]
    joint_verdicts: Mapping[str, str] = field(default_factory=dict)
    candidate_dispositions: tuple[str, ...] = ()
    research_use_only: bool = True
    chain: tuple[Mapping[str, Any], ...] = ()
    stable: bool | None = None
    stability_shares: Mapping[str, float] = field(default_factory=dict)
    by_region: Mapping[str, str] = field(default_factory=dict)
    findings: tuple[Mapping[str, Any], ...] = ()
    headline: str = ""
