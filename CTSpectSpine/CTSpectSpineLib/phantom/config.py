"""What spine to build."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from CTSpectSpineLib.anatomy import SACRUM, neighbouring_pairs
from CTSpectSpineLib.errors import InputError

_CERVICAL = tuple(f"C{i}" for i in range(1, 8))
_THORACIC = tuple(f"T{i}" for i in range(1, 13))
_LUMBAR = tuple(f"L{i}" for i in range(1, 6))

FACETS = ("regular", "varied")
"""Convention: names of the two kinds of facet joints."""


@dataclass(frozen=True)
class SpineConfig:
    """Options of the procedural spine; every default is a healthy adult (a judgement).

    Attributes
    ----------
    seed
        Seed of all randomness: shape jitter, curves left at None, marrow texture, noise.
    spacing_mm
        Voxel size, one number or (x, y, z).
    first, last
        Levels that the field of view covers completely (``last`` may be ``"sacrum"``).
    margin_mm
        Added above ``first`` and below ``last``.
    crop_mm
        Taken off that range at the cranial and the caudal end.
    lateral_mm, ap_mm
        Field of view from side to side and from front to back.
    cervical_lordosis_deg, thoracic_kyphosis_deg, lumbar_lordosis_deg, sacral_slope_deg
        Angles C2-C7, T1-T12, L1-S1 and of the sacral endplate to the horizontal; None draws
        a plausible value.
    scoliosis_cobb_deg, scoliosis_apex
        Cobb angle of one curve convex to the patient's left (negative: right), and its apex;
        axial rotation comes with it.
    sixth_lumbar, thirteenth_thoracic, eleven_ribs, sacralised_l5
        Transitional anatomy; ``eleven_ribs`` leaves T12 out.
    screws
        Levels with pedicle screws, joined by rods.
    bone_density
        1 normal, about 0.5 osteoporotic.
    size
        Scale of the patient.
    shape_jitter
        Scale of the differences between vertebrae and sides; 0 is perfectly regular.
    degenerate
        Joint id (``"L4-L5 disc"``) to severity, 0 to 1: narrowed discs with osteophytes,
        sclerosis and (from 0.7) vacuum; enlarged, sclerotic facets.
    facets
        ``"regular"`` (all alike but for jitter) or ``"varied"``: place, orientation, gap,
        osteoarthritis, osteophytes, fused joints and spondylolysis drawn as they are spread among
        adults; nothing else of the seed changes.
    noise_hu, texture_hu
        Standard deviation of the scanner's noise and of the marrow.
    blur_mm
        Full width at half maximum of the scanner's blur.
    """

    seed: int = 1
    spacing_mm: float | tuple[float, float, float] = 1.5
    first: str = "C1"
    last: str = SACRUM
    margin_mm: float = 20.0
    crop_mm: tuple[float, float] = (0.0, 0.0)
    lateral_mm: float = 300.0
    ap_mm: float = 220.0
    cervical_lordosis_deg: float | None = None
    thoracic_kyphosis_deg: float | None = None
    lumbar_lordosis_deg: float | None = None
    sacral_slope_deg: float | None = None
    scoliosis_cobb_deg: float = 0.0
    scoliosis_apex: str = "T9"
    sixth_lumbar: bool = False
    thirteenth_thoracic: bool = False
    eleven_ribs: bool = False
    sacralised_l5: bool = False
    screws: tuple[str, ...] = ()
    bone_density: float = 1.0
    size: float = 1.0
    shape_jitter: float = 1.0
    degenerate: Mapping[str, float] = field(default_factory=dict)
    facets: str = "regular"
    noise_hu: float = 18.0
    texture_hu: float = 35.0
    blur_mm: float = 1.2

    def __post_init__(self) -> None:
        """Check the values.

        Raises
        ------
        InputError
            If an option is impossible; the message names it and what is allowed.
        """
        for name, low, high in _RANGES:
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise InputError(
                    f"phantom option {name} is {value}; give a value from {low:g} to {high:g}."
                )
        if not all(0.4 <= s <= 10 for s in self.spacing):
            raise InputError(
                f"phantom option spacing_mm is {self.spacing_mm}; give 0.4 to 10 mm, "
                "one number or three."
            )
        if self.facets not in FACETS:
            raise InputError(
                f"phantom option facets is {self.facets!r}; give {' or '.join(FACETS)}."
            )
        if self.eleven_ribs and self.thirteenth_thoracic:
            raise InputError(
                "phantom options eleven_ribs and thirteenth_thoracic exclude each other; "
                "choose one."
            )
        levels = self.levels
        named = [
            ("first", self.first),
            ("last", self.last),
            ("scoliosis_apex", self.scoliosis_apex),
        ]
        for name, level in [*named, *(("screws", level) for level in self.screws)]:
            if level not in levels:
                raise InputError(
                    f"phantom option {name} names {level}, which this spine does not have; "
                    f"choose one of {', '.join(levels)}."
                )
        if levels.index(self.first) > levels.index(self.last):
            raise InputError(
                f"phantom option first is {self.first}, below last ({self.last}); swap them."
            )
        for joint, severity in self.degenerate.items():
            if not 0 <= severity <= 1:
                raise InputError(
                    f"phantom option degenerate gives {joint!r} the severity {severity}; "
                    "give 0 to 1."
                )
            if joint not in self.joint_ids:
                raise InputError(
                    f"phantom option degenerate names {joint!r}, which this spine does not have; "
                    "joints are called like 'L4-L5 disc' or 'L4-L5 facet left'."
                )

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Voxel size along x, y, z in mm."""
        if isinstance(self.spacing_mm, tuple):
            x, y, z = self.spacing_mm
            return float(x), float(y), float(z)
        return (float(self.spacing_mm),) * 3

    @property
    def levels(self) -> tuple[str, ...]:
        """All levels of this spine, cranial to caudal, the sacrum last."""
        thoracic = _THORACIC[:-1] if self.eleven_ribs else _THORACIC
        extra_t = ("T13",) if self.thirteenth_thoracic else ()
        extra_l = ("L6",) if self.sixth_lumbar else ()
        return (*_CERVICAL, *thoracic, *extra_t, *_LUMBAR, *extra_l, SACRUM)

    @property
    def joint_ids(self) -> tuple[str, ...]:
        """Ids of all joints of this spine, cranial to caudal."""
        ids = []
        for upper, lower in neighbouring_pairs(self.levels):
            level = f"{upper}-{'S1' if lower == SACRUM else lower}"
            kinds = ("facet left", "facet right")
            ids += [f"{level} {k}" for k in (kinds if upper == "C1" else ("disc", *kinds))]
        return tuple(ids)


_RANGES = (
    ("margin_mm", 0, 200),
    ("lateral_mm", 40, 600),
    ("ap_mm", 40, 600),
    ("cervical_lordosis_deg", -20, 60),
    ("thoracic_kyphosis_deg", 0, 90),
    ("lumbar_lordosis_deg", 0, 90),
    ("sacral_slope_deg", 0, 70),
    ("scoliosis_cobb_deg", -80, 80),
    ("bone_density", 0.2, 2.0),
    ("size", 0.6, 1.4),
    ("shape_jitter", 0, 3),
    ("noise_hu", 0, 300),
    ("texture_hu", 0, 150),
    ("blur_mm", 0, 5),
)
"""Option, least and most. Judgement: within these the solids still fit together."""
