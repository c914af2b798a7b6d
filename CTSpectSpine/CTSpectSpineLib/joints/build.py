"""From a vertebra label map to all joints of the spine."""

from __future__ import annotations

import SimpleITK as sitk

from CTSpectSpineLib import anatomy
from CTSpectSpineLib.joints.bodies import vertebra_frame
from CTSpectSpineLib.joints.discs import Disc, find_disc
from CTSpectSpineLib.joints.facets import Facet, find_facets
from CTSpectSpineLib.joints.label_volume import LabelVolume, label_volume
from CTSpectSpineLib.joints.pair import Pair, make_pair
from CTSpectSpineLib.joints.spine import Spine, fit_spine, label_ids
from CTSpectSpineLib.model import Joint, Side, SpineJoints, VertebraFrame
from CTSpectSpineLib.progress import Progress, ProgressCallback, silent


def build_joints(
    labels: sitk.Image, ct: sitk.Image | None = None, progress: ProgressCallback = silent
) -> SpineJoints:
    """Find discs and facet joints of all neighbouring vertebrae in a label map.

    Parameters
    ----------
    labels
        Vertebra labels with the ids of `anatomy`, any orientation and spacing.
    ct
        The CT in HU that the labels belong to (its grid may differ); with it the labels are
        checked against it.
    progress
        Called with each step; it cancels by raising `errors.Cancelled`.

    Returns
    -------
    SpineJoints
        Joints cranial to caudal (disc, left facet, right facet per level), on local grids of
        1 mm, and the frames of the vertebrae. A joint that cannot be located has no region,
        and its flags say why.
    """
    progress(Progress("joints", 0.0, "Reading vertebra labels"))
    return joints_of(label_volume(labels), ct, progress)


def joints_of(
    volume: LabelVolume, ct: sitk.Image | None = None, progress: ProgressCallback = silent
) -> SpineJoints:
    """As `build_joints`, from an array with its matrix (which may be sheared)."""
    spine = fit_spine(volume)
    frames = {
        level: vertebra_frame(volume, fit, label_ids(level, volume))
        for level, fit in spine.fits.items()
    }
    pairs = anatomy.neighbouring_pairs(spine.shapes)
    joints: list[Joint] = []
    for done, (upper, lower) in enumerate(pairs):
        name = anatomy.level_name(upper, lower)
        progress(Progress("joints", 0.3 + 0.7 * done / len(pairs), f"Joints of {name}"))
        joints += _segment(volume, spine, upper, lower)
    progress(Progress("joints", 1.0, "Joints found"))
    return SpineJoints(tuple(joints), frames, ())


def _segment(volume: LabelVolume, spine: Spine, upper: str, lower: str) -> list[Joint]:
    """All joints of one motion segment."""
    atlas = upper == "C1"
    lost = [name for name in (upper, lower) if name not in spine.fits]
    if lost:
        reason = f"the position of {' and '.join(lost)} could not be found"
        disc: Disc | str = reason
        facets: dict[str, Facet | str] = {"left": reason, "right": reason}
        pair = None
    else:
        pair = make_pair(
            volume,
            spine.fits[upper],
            spine.fits[lower],
            label_ids(upper, volume),
            label_ids(lower, volume),
        )
        disc = find_disc(pair) if not atlas else ""
        facets = find_facets(pair)
    common = tuple(spine.truncated[name] for name in (upper, lower) if name in spine.truncated)
    joints = [] if atlas else [_disc_joint(upper, lower, pair, disc, common)]
    joints.append(_facet_joint(upper, lower, "left", pair, facets["left"], common))
    joints.append(_facet_joint(upper, lower, "right", pair, facets["right"], common))
    return joints


def _disc_joint(
    upper: str, lower: str, pair: Pair | None, disc: Disc | str, common: tuple[str, ...]
) -> Joint:
    level = anatomy.level_name(upper, lower)
    names = (f"{level} disc", level, "disc", "", anatomy.spine_region(upper), upper, lower)
    if pair is None or isinstance(disc, str):
        return Joint(*names, None, None, None, flags=(*common, str(disc)))
    bone = disc.band_upper | disc.band_lower
    return Joint(
        *names,
        region=pair.region(bone | disc.space),
        bone=pair.region(bone),
        centre_mm=disc.centre,
        parts={
            "disc_space": pair.region(disc.space),
            "endplate_upper": pair.region(disc.band_upper),
            "endplate_lower": pair.region(disc.band_lower),
        },
        flags=(*common, *disc.flags),
    )


def _facet_joint(
    upper: str,
    lower: str,
    side: Side,
    pair: Pair | None,
    facet: Facet | str,
    common: tuple[str, ...],
) -> Joint:
    level = anatomy.level_name(upper, lower)
    region = anatomy.spine_region(upper)
    names = (f"{level} facet {side}", level, "facet", side, region, upper, lower)
    if pair is None or isinstance(facet, str):
        return Joint(*names, None, None, None, flags=(*common, str(facet)))
    return Joint(
        *names,
        region=pair.region(facet.region),
        bone=pair.region(facet.bone),
        centre_mm=facet.centre,
        flags=(*common, *facet.flags),
    )
