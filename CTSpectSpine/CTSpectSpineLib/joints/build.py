"""From a vertebra label map to all joints of the spine."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import SimpleITK as sitk

from CTSpectSpineLib import anatomy
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.joints.bodies import vertebra_frame
from CTSpectSpineLib.joints.discs import Disc, find_disc
from CTSpectSpineLib.joints.doubts import (
    check_contrast,
    check_facets,
    check_heights,
    level_doubts,
    spine_warnings,
)
from CTSpectSpineLib.joints.facets import Facet
from CTSpectSpineLib.joints.joint_space import outline_facets
from CTSpectSpineLib.joints.label_volume import LabelVolume, label_volume
from CTSpectSpineLib.joints.mixed_labels import mixed_pairs
from CTSpectSpineLib.joints.motion_segment import Pair, make_pair
from CTSpectSpineLib.joints.vertebra_fits import Spine, fit_spine, label_ids
from CTSpectSpineLib.model import (
    FloatArray,
    Joint,
    JointKind,
    Region,
    Side,
    SpineJoints,
    VertebraLabels,
)
from CTSpectSpineLib.progress import Progress, ProgressCallback, silent

_COARSE_ENGINES = ("builtin",)
"""Labellers whose maps give the tips of the inferior articular processes to the vertebra below.
Measured on two real CTs: joints by the built-in labels lie 3.6 and 3.9 mm, up to 8 mm, from those
by given labels (docs/validation/joint-regions.md)."""
_MAX_CUT_SHARE = 0.15
"""Share of a joint on the border of the label map, above which it is not located. Judgement: less
changes its mean uptake little, more may be half a joint."""


def build_joints(
    vertebrae: sitk.Image | VertebraLabels,
    ct: sitk.Image | None = None,
    progress: ProgressCallback = silent,
    threads: int | None = 1,
) -> SpineJoints:
    """Find discs and facet joints of all neighbouring vertebrae in a label map.

    Parameters
    ----------
    vertebrae
        Vertebra labels with the ids of `anatomy`, any orientation and spacing.
    ct
        The CT in HU that the labels belong to (its grid may differ); with it every disc is
        checked for being darker than its endplates, and facet joints lie where it shows their
        space (`Joint.outlined_on`), however the labels divide the arch. Where it does not show it,
        and the labels are the built-in labeller's or plainly wrong there, they lie at their usual
        place in the bone.
    progress
        Called with each step; it cancels by raising `errors.Cancelled`.
    threads
        Levels that are worked on side by side; None for one on each processor. The joints are the
        same with any number.

    Returns
    -------
    SpineJoints
        Joints cranial to caudal (disc, left facet, right facet per level; C1-C2 has no disc),
        on local grids of 1 mm, and the frames of the vertebrae. A joint that cannot be located
        has no region, and its flags say why; doubts about labels are also among its `doubts`,
        on every joint of the level. C1 has an empty core.

    Raises
    ------
    InputError
        If the label map holds no vertebra.

    Examples
    --------
    >>> from CTSpectSpineLib import build_joints
    >>> from CTSpectSpineLib.phantom import example
    >>> phantom = example()
    >>> spine = build_joints(phantom.anatomy.labels, phantom.ct)
    >>> [joint.id for joint in spine.joints if joint.level == "L4-L5"]
    ['L4-L5 disc', 'L4-L5 facet left', 'L4-L5 facet right']
    >>> disc = spine["L4-L5 disc"]
    >>> disc.trusted, sorted(disc.parts)
    (True, ['disc_space', 'endplate_lower', 'endplate_upper'])
    """
    progress(Progress("joints", 0.0, "Reading vertebra labels"))
    image = vertebrae.image if isinstance(vertebrae, VertebraLabels) else vertebrae
    coarse = isinstance(vertebrae, VertebraLabels) and vertebrae.engine in _COARSE_ENGINES
    return joints_of(label_volume(image), ct, progress, threads, coarse)


def joints_of(
    volume: LabelVolume,
    ct: sitk.Image | None = None,
    progress: ProgressCallback = silent,
    threads: int | None = 1,
    coarse: bool = False,
) -> SpineJoints:
    """As `build_joints`, from an array with its matrix (which may be sheared).

    ``coarse`` says that the labels are known to divide articular processes wrongly.
    """
    spine = fit_spine(volume)
    if not spine.shapes:
        raise InputError(
            "The label map holds no vertebra; give a map with TotalSegmentator's ids"
            " (sacrum 25, S1 26, L5 27 … C1 50)."
        )
    frames = {
        level: vertebra_frame(volume, fit, label_ids(level, volume))
        for level, fit in spine.fits.items()
    }
    pairs = anatomy.neighbouring_pairs(spine.shapes)
    doubts = level_doubts(spine, pairs)
    warnings = list(spine_warnings(spine, pairs))
    for pair, sentence in mixed_pairs(volume, spine, pairs).items():
        doubts[pair] = (*doubts.get(pair, ()), sentence)
        warnings.append(sentence)
    joints: list[Joint] = []
    heights: dict[str, float] = {}

    def found(pair: tuple[str, str]) -> tuple[list[Joint], float | None]:
        segment = _Segment(volume, spine, *pair, doubts.get(pair, ()), ct, coarse)
        return check_facets(segment.joints()), segment.disc_height_mm

    workers = max(1, min(threads or os.cpu_count() or 1, len(pairs)))
    with ThreadPoolExecutor(workers) as pool:
        try:
            for done, (pair, made) in enumerate(zip(pairs, pool.map(found, pairs), strict=True)):
                name = anatomy.level_name(*pair)
                progress(Progress("joints", 0.4 + 0.6 * done / len(pairs), f"Joints of {name}"))
                joints += made[0]
                if made[1] is not None:
                    heights[name] = made[1]
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    joints, doubtful = check_heights(joints, heights)
    warnings += doubtful
    if ct is not None:
        joints, doubtful = check_contrast(joints, ct)
        warnings += doubtful
    if not pairs:
        warnings.append("No two neighbouring vertebrae are labelled: there are no joints")
    progress(Progress("joints", 1.0, f"{sum(j.located for j in joints)} joints found"))
    return SpineJoints(tuple(joints), frames, tuple(warnings))


class _Segment:
    """Makes the joints of one motion segment."""

    def __init__(
        self,
        volume: LabelVolume,
        spine: Spine,
        upper: str,
        lower: str,
        doubts: tuple[str, ...],
        ct: sitk.Image | None,
        coarse: bool,
    ) -> None:
        self.volume, self.upper, self.lower = volume, upper, lower
        self.ct, self.coarse = ct, coarse
        cut = [spine.truncated[n] for n in (upper, lower) if n in spine.truncated]
        sliver = [n for n in (upper, lower) if n in spine.fits and spine.fits[n].trust == 0]
        # A remnant of a vertebra says little about where its joints are.
        self.doubts = (*(spine.truncated[n] for n in sliver if n in spine.truncated), *doubts)
        self.flags = tuple(dict.fromkeys((*cut, *self.doubts)))
        self.disc_height_mm: float | None = None
        lost = [name for name in (upper, lower) if name not in spine.fits]
        self.reason = f"the position of {' and '.join(lost)} could not be found"
        self.pair: Pair | None = None
        if not lost:
            ids = (label_ids(upper, volume), label_ids(lower, volume))
            self.pair = make_pair(volume, spine.fits[upper], spine.fits[lower], *ids)

    def joints(self) -> list[Joint]:
        """Disc, left and right facet joint; no disc for C1-C2."""
        disc = [] if self.upper == "C1" else [self._disc()]
        facets: dict[str, Facet | str] = {}
        if self.pair is not None:
            facets = outline_facets(self.pair, self.ct, self.coarse)
        sides: tuple[Side, Side] = ("left", "right")
        return [*disc, *(self._facet(side, facets.get(side, self.reason)) for side in sides)]

    def _disc(self) -> Joint:
        found = find_disc(self.pair) if self.pair is not None else self.reason
        if not isinstance(found, Disc) or self.pair is None:
            return self._lost("disc", "", str(found))
        self.disc_height_mm = found.height_mm
        bone = found.band_upper | found.band_lower
        parts = {
            "disc_space": self.pair.region(found.space),
            "endplate_upper": self.pair.region(found.band_upper),
            "endplate_lower": self.pair.region(found.band_lower),
        }
        region = self.pair.region(bone | found.space)
        joint = self._located("disc", "", region, self.pair.region(bone), found.centre, found.flags)
        return replace(joint, parts=parts) if joint.located else joint

    def _facet(self, side: Side, found: Facet | str) -> Joint:
        if not isinstance(found, Facet) or self.pair is None:
            return self._lost("facet", side, str(found))
        region, bone = self.pair.region(found.region), self.pair.region(found.bone)
        joint = self._located("facet", side, region, bone, found.centre, found.flags)
        return replace(joint, outlined_on=found.outlined_on) if self.ct is not None else joint

    def _located(
        self,
        kind: JointKind,
        side: Side,
        region: Region,
        bone: Region,
        centre: FloatArray,
        flags: tuple[str, ...],
    ) -> Joint:
        """A joint with its region, unless too much of it lies at the border of the labels."""
        share = float(self.volume.at_border(region.points_mm()).mean())
        if share > _MAX_CUT_SHARE:
            return self._lost(kind, side, "cut by the field of view")
        border = ("touches the border of the field of view",) if share > 0 else ()
        return replace(
            self._lost(kind, side, ""),
            region=region,
            bone=bone,
            centre_mm=centre,
            flags=(*self.flags, *flags, *border),
            doubts=(*self.doubts, *flags),
        )

    def _lost(self, kind: JointKind, side: Side, reason: str) -> Joint:
        """A joint without a region."""
        level = anatomy.level_name(self.upper, self.lower)
        return Joint(
            id=f"{level} {kind} {side}".rstrip(),
            level=level,
            kind=kind,
            side=side,
            spine_region=anatomy.spine_region(self.upper),
            upper=self.upper,
            lower=self.lower,
            region=None,
            bone=None,
            centre_mm=None,
            flags=(*self.flags, reason),
            doubts=self.doubts,
        )


def check_neighbours(labels: VertebraLabels, name: str) -> None:
    """Check that there is a pair of neighbouring vertebrae, and so a joint to measure.

    Raises
    ------
    InputError
        If there is none; ``name`` is what the labels are called.
    """
    if not anatomy.neighbouring_pairs(labels.levels):
        raise InputError(
            f"{name} holds no two neighbouring vertebrae (only {', '.join(labels.levels)}), "
            "so there is no joint to measure; give labels of the whole region."
        )
