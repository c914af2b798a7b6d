"""The finished phantom: CT, SPECT, and the truth behind them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import Any

import pandas as pd
import SimpleITK as sitk

from CTSpectSpineLib.geometry import image_centre_mm
from CTSpectSpineLib.model import FloatArray, Joint
from CTSpectSpineLib.phantom.activity import Painted, Truth, assign_activity, check_hot
from CTSpectSpineLib.phantom.anatomy.build import make_anatomy
from CTSpectSpineLib.phantom.cases import PhantomConfig, SpectConfig, load_case
from CTSpectSpineLib.phantom.model import Anatomy
from CTSpectSpineLib.phantom.scanner.spect import rigid_matrix, simulate_spect

POSITIVE_RATIO = 2.0
"""A joint whose true ratio is at least this is positive in truth. Judgement: clearly above normal
(at most 1.2); no threshold is validated for pain."""

ACTIVITY_STREAM, NOISE_STREAM = 1, 2
"""Streams of a phantom's seed. Convention: distinct numbers."""


@dataclass(frozen=True)
class Phantom:
    """A CT and SPECT pair with its truth.

    Attributes
    ----------
    anatomy
        CT, labels, tissues and true joints.
    activity
        Activity (float32) on the CT's grid; vertebral bodies are about 1. Voxels at the edge of
        a joint's bone hold mixtures; see `activity.Painted`.
    spect
        SPECT (float32) in counts, on its own grid.
    ct_to_spect
        4×4 matrix from CT points to SPECT points, LPS mm.
    truth
        Reference activity and true ratio of every joint that has bone in the CT.
    config
        All settings that the phantom was made with.
    seed
        Seed of everything random.
    scan
        Facts on the scanner where it is not the default one.
    """

    anatomy: Anatomy
    activity: sitk.Image
    spect: sitk.Image
    ct_to_spect: FloatArray
    truth: Truth
    config: Mapping[str, Any]
    seed: int
    scan: Mapping[str, Any] | None = None

    @property
    def ct(self) -> sitk.Image:
        """CT in HU."""
        return self.anatomy.ct

    @property
    def true_ratios(self) -> Mapping[str, float]:
        """Joint id to true ratio."""
        return self.truth.ratios

    @property
    def joints(self) -> tuple[Joint, ...]:
        """The true joints that have bone in the CT."""
        return tuple(joint for joint in self.anatomy.joints if joint.id in self.truth.ratios)

    def true_uptake(self, joint_id: str) -> str:
        """``"positive"`` at a true ratio of 2 or more, otherwise ``"negative"``."""
        return "positive" if self.truth.ratios[joint_id] >= POSITIVE_RATIO else "negative"

    def joint_table(self) -> pd.DataFrame:
        """Joint table of the truth, with the columns that triage needs and ``true_ratio``."""
        rows: list[dict[str, object]] = [
            {
                "joint": joint.id,
                "level": joint.level,
                "kind": joint.kind,
                "side": joint.side,
                "spine_region": joint.spine_region,
                "true_ratio": self.truth.ratios[joint.id],
                "uptake": self.true_uptake(joint.id),
            }
            for joint in self.joints
        ]
        table: pd.DataFrame = pd.DataFrame(rows)
        return table


def make_phantom(config: PhantomConfig) -> Phantom:
    """Make a procedural phantom.

    Raises
    ------
    InputError
        If a hot joint is unknown, or a setting is out of range.
    """
    _check_early(config)
    config = replace(config, spine=replace(config.spine, seed=config.spect.seed))
    anatomy = make_anatomy(config.spine)
    return phantom_of(anatomy, config.hot, config.spect, asdict(config))


@cache
def example() -> Phantom:
    """Sample data for examples: a small lumbar phantom (L2 to sacrum) with a hot L4-L5 disc.

    It is the case ``lumbar-disc`` on a coarse CT, made in a few seconds at the first call and
    kept; do not change its images.
    """
    case = load_case("lumbar-disc")
    return make_phantom(replace(case, spine=replace(case.spine, first="L2", spacing_mm=3.0)))


def phantom_of(
    anatomy: Anatomy,
    hot: Mapping[str, float],
    spect: SpectConfig,
    record: Mapping[str, Any] | None = None,
) -> Phantom:
    """Give an anatomy its activity and image it.

    Parameters
    ----------
    anatomy
        The patient.
    hot
        Joint id to true ratio.
    spect
        Scanner, misalignment and seed.
    record
        Settings to be kept with the phantom; by default ``hot`` and ``spect``.

    Raises
    ------
    InputError
        If a hot joint is unknown, or a setting is out of range.
    """
    spect.check()
    painted = assign_activity(anatomy, hot, [spect.seed, ACTIVITY_STREAM])
    kept = {"hot": dict(hot), "spect": asdict(spect)} if record is None else record
    return imaged(anatomy, painted, spect, kept)


def imaged(
    anatomy: Anatomy, painted: Painted, spect: SpectConfig, record: Mapping[str, Any]
) -> Phantom:
    """Image a patient whose activity is given by the default scanner.

    Parameters
    ----------
    anatomy, painted
        The patient, its activity and truth.
    spect
        Scanner, misalignment and seed.
    record
        Settings to be kept with the phantom.

    Raises
    ------
    InputError
        If a setting is out of range.
    """
    spect.check()
    matrix = rigid_matrix(
        spect.translation_mm, spect.rotation_deg, image_centre_mm(anatomy.ct).tolist()
    )
    image = simulate_spect(
        painted.image,
        matrix,
        spect.fwhm_mm,
        spect.counts,
        spect.spacing_mm,
        seed=[spect.seed, NOISE_STREAM],
    )
    return Phantom(anatomy, painted.image, image, matrix, painted.truth, record, spect.seed)


def _check_early(config: PhantomConfig) -> None:
    """Find what is wrong with the settings before the anatomy is built."""
    config.spect.check()
    check_hot(config.spine.joint_ids, config.hot)
