"""Checks that stop unusable inputs before anything is computed.

Each check raises `InputError` with one sentence for what cannot work, and returns sentences about
what is merely doubtful. Nothing here depends on where the spine is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.geometry import Grid, apply_matrix, grid_of, inverse
from CTSpectSpineLib.model import FloatArray
from CTSpectSpineLib.volumes.plausible import check_spacing
from CTSpectSpineLib.volumes.suv import TC99M_PHOTOPEAK_KEV
from CTSpectSpineLib.volumes.volume import MIN_SLICES, Acquisition, Volume

_LEAST_EXTENT_MM = 20.0
"""Smallest accepted extent of a volume, mm. Judgement: a motion segment does not fit into less."""
_LEAST_OVERLAP_MM = 40.0
"""Overlap of CT and SPECT below which a warning is given, mm. Judgement: one vertebra with its
discs."""
_THICK_SLICES_MM = 5.0
"""Voxel size of a CT above which a warning is given, mm. Measured on a prototype: joints were
located stably with slices of 1 to 5 mm."""
_LEAST_OFFSET = 0.05
"""Share of voxels from 800 to 1200 from which on they are soft tissue without rescale intercept, if
there is less than half as much fat. Judgement: bone of such density is less of a volume."""
_OTHER_NUCLIDE = re.compile(
    r"177.?lu|lu.?177|lutet|131.?i\b|\bi.?131|123.?i\b|\bi.?123|iodine|\bin.?111|111.?in\b|indium|"
    r"\bga.?6[78]|6[78].?ga\b|gallium|\bf.?18|18.?f\b|fluor|\btl.?201|201.?tl\b|thallium|"
    r"\by.?90|90.?y\b|yttrium|\bsm.?153|samarium|\bra.?223|radium|\bre.?18[68]|rhenium",
    re.IGNORECASE,
)
"""Names of radionuclides in nuclear medicine other than Tc-99m."""
_SAMPLES = 2_000_000
"""Most voxels from which the values of an image are described. Numerical: the smallest share that
decides (0.02 % bone) is still 400 voxels."""


@dataclass(frozen=True)
class _Content:
    """How the voxel values are distributed, from a regular sample of them."""

    finite: bool
    low: float
    high: float
    negative: float
    air_or_fat: float
    soft_tissue: float
    bone: float
    beyond: float
    labels: bool
    offset: bool

    @property
    def is_ct(self) -> bool:
        """Whether the values are distributed like HU: air or fat, soft tissue and bone.

        Judgement: a CT of any part of the spine has at least these shares of each.
        """
        return (
            self.finite
            and not self.labels
            and self.air_or_fat >= 0.01
            and self.soft_tissue >= 0.02
            and self.bone >= 0.0002
            and self.beyond <= 0.1
        )


def check_inputs(ct: Volume, spect: Volume, placed: bool = False) -> tuple[str, ...]:
    """Run all checks of a pair, in the order that gives the most helpful sentence.

    Parameters
    ----------
    ct, spect
        The pair.
    placed
        Whether a transform is given that brings the two together.

    Returns
    -------
    tuple of str
        Warnings.

    Raises
    ------
    InputError
        For the first problem found.
    """
    _check_not_swapped(ct, spect)
    return (*check_ct(ct), *check_spect(spect), *check_pair(ct, spect, placed))


def share_frame(ct: Volume, spect: Volume) -> bool:
    """Whether both headers state the same frame of reference, as those of a hybrid scanner do."""
    frame = ct.acquisition.frame_of_reference
    return bool(frame) and frame == spect.acquisition.frame_of_reference


def check_ct(volume: Volume) -> tuple[str, ...]:
    """Check that a volume is a CT in HU of a usable size.

    Raises
    ------
    InputError
        If it is not.
    """
    _check_grid(volume, "CT")
    content = _content(volume.image)
    _check_values(volume, content, "CT")
    if content.labels:
        raise _bad(volume, "looks like a label map, not like a CT; give the CT itself")
    if content.negative <= 0.01:
        raise _bad(
            volume,
            f"is not in HU (values from {content.low:g} to {content.high:g}, hardly any below "
            "zero): it may be a SPECT (are the inputs swapped?), an MR, or a CT without its "
            "rescale intercept; give a CT in HU",
        )
    if content.offset:
        raise _bad(
            volume,
            "is not in HU: soft tissue lies at about 1000, as in a CT without its rescale "
            "intercept; give a CT in HU",
        )
    if not content.is_ct:
        raise _bad(
            volume,
            f"is not a CT in HU: of its values ({content.low:g} to {content.high:g}) "
            f"{content.air_or_fat:.1%} are air or fat, {content.soft_tissue:.1%} soft tissue and "
            f"{content.bone:.2%} bone; give the CT",
        )
    thickest = float(grid_of(volume.image).spacing_mm.max())
    if thickest > _THICK_SLICES_MM:
        return (
            f"The CT has {thickest:.1f} mm slices: facet joints are thinner than that and will "
            "be located poorly.",
        )
    return ()


def check_spect(volume: Volume) -> tuple[str, ...]:
    """Check that a volume is a reconstructed SPECT of a usable size.

    Raises
    ------
    InputError
        If it is not.
    """
    _check_grid(volume, "SPECT")
    content = _content(volume.image)
    _check_values(volume, content, "SPECT")
    if content.labels:
        raise _bad(volume, "looks like a label map, not like a SPECT; give the SPECT itself")
    if content.is_ct:
        raise _bad(volume, "is given as SPECT but looks like a CT; are the inputs swapped?")
    if content.negative > 0.5:
        raise _bad(
            volume,
            f"has {content.negative:.0%} negative values, which no SPECT has; give the "
            "reconstructed SPECT",
        )
    warnings = []
    if content.negative > 0.05:
        warnings.append(
            f"{content.negative:.0%} of the SPECT's values are negative (filtered back projection "
            "does that): uptake of cold joints will read too low."
        )
    return (*warnings, *_other_nuclide(volume.acquisition))


def _other_nuclide(acquisition: Acquisition) -> tuple[str, ...]:
    """A warning where the header names another radionuclide than Tc-99m, or its energies."""
    windows = acquisition.energy_windows_kev
    outside = windows and not any(low <= TC99M_PHOTOPEAK_KEV <= high for low, high in windows)
    named = f"{acquisition.radionuclide} {acquisition.tracer}"
    if not outside and not _OTHER_NUCLIDE.search(named):
        return ()
    said = [part for part in dict.fromkeys((acquisition.radionuclide, acquisition.tracer)) if part]
    if windows:
        said.append(", ".join(f"{low:g} to {high:g} keV" for low, high in windows))
    return (
        f"The SPECT is not of Tc-99m by its header ({'; '.join(said)}): what counts as increased "
        "uptake was not made for it.",
    )


def check_pair(ct: Volume, spect: Volume, placed: bool = False) -> tuple[str, ...]:
    """Check that a CT and a SPECT can show the same region of the same patient.

    Parameters
    ----------
    ct, spect
        The pair.
    placed
        Whether a transform is given that brings the two together.

    Returns
    -------
    tuple of str
        Warnings.

    Raises
    ------
    InputError
        If both are the same file, or the two do not overlap in space and no transform is given.
    """
    if ct.sha256 and ct.sha256 == spect.sha256:
        raise InputError(f"{ct.name} and {spect.name} are the same image; give a CT and a SPECT.")
    overlap = _overlap_mm(grid_of(ct.image), grid_of(spect.image))
    if not placed and not spect.acquisition.direction_stated:
        _check_direction(ct, spect, overlap)
    warnings = []
    if overlap.min() <= 0 and not placed:
        raise InputError(
            f"{spect.name} and {ct.name} do not overlap in space; check that they are of the "
            "same patient and region, or give an initial transform that brings them together."
        )
    if overlap.min() < _LEAST_OVERLAP_MM and not placed:
        size = " x ".join(f"{v:.0f}" for v in overlap)
        warnings.append(f"CT and SPECT overlap by only {size} mm.")
    digests = ct.acquisition.patient_digest, spect.acquisition.patient_digest
    if all(digests) and digests[0] != digests[1]:
        warnings.append("The patient ids of CT and SPECT differ: check that they belong together.")
    return tuple(warnings)


def _check_direction(ct: Volume, spect: Volume, overlap: FloatArray) -> None:
    """Refuse a SPECT that would lie better in the CT if its slices were stacked the other way."""
    grid = grid_of(spect.image)
    turned = grid.ijk_to_lps.copy()
    turned[:3, 2] *= -1.0
    other = _overlap_mm(grid_of(ct.image), Grid(grid.size, turned))
    if np.prod(np.maximum(other, 0.0)) > np.prod(np.maximum(overlap, 0.0)):
        raise _bad(
            spect,
            "does not say to which side its slices are stacked (no SpacingBetweenSlices): along "
            "the normal they lie beside the CT, the other way in it. Export it again with "
            "SpacingBetweenSlices, or as NIfTI",
        )


def _check_not_swapped(ct: Volume, spect: Volume) -> None:
    if ct.sha256 and ct.sha256 == spect.sha256:
        raise InputError(f"{ct.name} and {spect.name} are the same image; give a CT and a SPECT.")
    if _content(spect.image).is_ct and not _content(ct.image).is_ct:
        raise InputError(
            f"{ct.name} is given as CT but {spect.name} looks like the CT: the inputs are "
            "swapped; exchange them."
        )


def _check_grid(volume: Volume, name: str) -> None:
    """Size, spacing and extent."""
    if volume.image.GetDimension() != 3:
        raise _bad(volume, f"has {volume.image.GetDimension()} dimensions; a 3D {name} is needed")
    grid = grid_of(volume.image)
    size = " x ".join(map(str, grid.size))
    if min(grid.size) == 1:
        raise _bad(volume, f"is a single slice ({size}); a 3D {name} is needed")
    if min(grid.size) < MIN_SLICES:
        raise _bad(volume, f"has too few slices ({size}); a 3D {name} is needed")
    spacing = grid.spacing_mm
    check_spacing(volume.name, spacing)
    extent = spacing * grid.size
    if extent.min() < _LEAST_EXTENT_MM:
        text = " x ".join(f"{v:.0f}" for v in extent)
        raise _bad(volume, f"covers only {text} mm, too little for a joint of the spine")


def _check_values(volume: Volume, content: _Content, name: str) -> None:
    if not content.finite:
        raise _bad(volume, f"holds NaN or infinite values; export the {name} again")
    if content.low == content.high:
        what = "zero" if content.low == 0 else f"{content.low:g}"
        raise _bad(volume, f"is empty: every voxel is {what}; give the {name}")


def _content(image: sitk.Image) -> _Content:
    """Describe the values of an image, from at most about two million voxels."""
    array = sitk.GetArrayViewFromImage(image)
    # Extremes and finiteness need every voxel: one NaN spoils whatever is summed over it.
    low, high = float(array.min()), float(array.max())
    if not np.isfinite(low) or not np.isfinite(high):
        return _Content(False, low, high, 0.0, 0.0, 0.0, 0.0, 0.0, False, False)
    # The offset avoids padding at the borders; sampling whole rows keeps neighbouring voxels.
    stride = max(1, int(np.ceil((array.size / _SAMPLES) ** 0.5)))
    rows = np.asarray(array[stride // 2 :: stride, stride // 2 :: stride], dtype=np.float32)
    count = float(rows.size)

    def share(lowest: float, highest: float) -> float:
        return float(np.count_nonzero((rows >= lowest) & (rows < highest)) / count)

    return _Content(
        finite=True,
        low=low,
        high=high,
        negative=_share_negative(rows),
        # Padding outside of the reconstructed circle counts as air.
        air_or_fat=share(-10000.0, -30.0),
        soft_tissue=share(-30.0, 150.0),
        bone=share(200.0, 2500.0),
        beyond=1.0 - share(-10000.0, 3500.0),
        labels=_is_label_map(rows),
        offset=share(800.0, 1200.0) > max(_LEAST_OFFSET, 2.0 * share(-200.0, -30.0)),
    )


def _share_negative(rows: NDArray[np.float32]) -> float:
    """Share of clearly negative voxels among those that are not zero."""
    level = 1e-3 * float(np.abs(rows).max())
    positive, negative = np.count_nonzero(rows > level), np.count_nonzero(rows < -level)
    return float(negative / max(1, positive + negative))


def _is_label_map(rows: NDArray[np.float32]) -> bool:
    """Few integers, in patches of one value; low counts are integers too, but scattered."""
    if rows.min() < 0 or not np.array_equal(rows, np.rint(rows)):
        return False
    if len(np.unique(rows)) > 300:
        return False
    foreground = rows[..., :-1] > 0
    if not foreground.any():
        return False
    same = rows[..., :-1] == rows[..., 1:]
    return bool(np.count_nonzero(same & foreground) > 0.7 * np.count_nonzero(foreground))


def _overlap_mm(ct: Grid, spect: Grid) -> FloatArray:
    """Extent of the overlap of both boxes along the CT's axes, mm; zero or less for none."""
    in_ct = apply_matrix(inverse(ct.ijk_to_lps), spect.corners_mm())
    in_spect = apply_matrix(inverse(spect.ijk_to_lps), ct.corners_mm())
    extent: FloatArray = _common(in_ct, ct) * ct.spacing_mm
    # Oblique boxes can be apart along the SPECT's axes only.
    if (_common(in_spect, spect) * spect.spacing_mm).min() <= 0:
        return np.zeros(3)
    return extent


def _common(corners: FloatArray, grid: Grid) -> FloatArray:
    low = np.maximum(corners.min(axis=0), -0.5)
    high = np.minimum(corners.max(axis=0), np.array(grid.size) - 0.5)
    return np.asarray(high - low)


def _bad(volume: Volume, problem: str) -> InputError:
    return InputError(f"{volume.name}: {problem}.")
