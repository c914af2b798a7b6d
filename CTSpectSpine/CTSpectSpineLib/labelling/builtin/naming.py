"""Names of the vertebrae of a column, from all the evidence, and their probability.

Every way to number the column is a hypothesis: a spine (the usual one, or one with transitional
anatomy) and the place of the first vertebra in it. Evidence adds up as log likelihood; names are
those of the best hypothesis, and their confidence is the posterior probability of the name.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from CTSpectSpineLib.labelling.builtin.evidence import Evidence, Surroundings
from CTSpectSpineLib.labelling.importing.schemes import typical_steps_mm
from CTSpectSpineLib.model import BoolArray, FloatArray

CONFIRMED = 0.9
"""Least probability of the whole numbering to be called confirmed. Judgement: all other numberings
share one tenth; how often it errs is counted in docs/validation/labelling.md."""
_SURE_NAME = 0.97
"""Least probability of a name above L1 of its own to be confirmed. Standard: thoracic names counted
up from the last ribs are wrong, all of them at once, where a spine has eleven or thirteen
pairs: 6 % of those with five lumbar vertebrae by `_VARIANTS`, whatever else is seen below them.
Judgement: one in thirty, half of that. Lumbar names are counted between last ribs and sacrum, which
such a spine does not change, so that the probability of the whole decides on them."""
_CERVICAL = tuple(f"C{n}" for n in range(1, 8))
"""By definition: the seven cervical vertebrae."""
_VARIANTS = (
    ("", 0.88, 12, 5),
    ("a sixth lumbar vertebra (L6)", 0.035, 12, 6),
    ("four lumbar vertebrae (a sacralised L5)", 0.025, 12, 4),
    ("a thirteenth pair of ribs (T13)", 0.02, 13, 5),
    ("eleven pairs of ribs", 0.04, 11, 5),
)
"""Sentence, prior probability, thoracic and lumbar vertebrae. About one person in eight has
another number of vertebrae than the usual one (Carrino et al., Radiology 2011;259:196); of 293
volunteers 4.1 % had eleven thoracic and five lumbar, 3.8 % twelve and six (Yan et al., J Orthop
Surg Res 2018;13:124). Judgement: how the others share the rest."""
_STEP_SPREAD = 0.16
"""Standard deviation of the logarithm of steps within a spine. Judgement: 0.8 to 1.3 times what is
expected are seen in usual columns (`confidence.FAR`)."""
_SIZE_SPREAD = 0.14
"""The same of the size of patients. Judgement: adults differ by about a tenth, children by more."""
_VOLUME_SPREAD = 0.4
"""The same of the volume of a body. Judgement: about three times that of a length."""
_SACRUM = 7.0
"""Log likelihood lost for each vertebra too many or too few above the sacrum. Judgement: this
outweighs ribs and sizes, since the sacrum can hardly be mistaken."""
_NO_END = 3.0
"""The same where the column ends although the image goes on. Judgement: a vertebra is easily
missed at an end, so it weighs less."""
_LOOKS, _LEAST_LOOKS = 0.5, 0.03
"""Weight of a vertebra's looks, and the least share that counts. Judgement: neighbours are mistaken
alike, and a network is never sure."""
_CLEAR = 0.5
"""Share above which a vertebra is said to look like something. Judgement: the majority."""
_FEWEST_WHOLE = 2
"""Fewest whole vertebrae, the sacrum among them, that labels can be relied on with. By definition:
the least that have a joint; what is cut on all sides often is no vertebra at all."""
_GAP, _GAP_BELOW_AXIS = 1.6, 2.3
"""Step, relative to its neighbours, that has room for another vertebra; below the axis, whose
centre lies higher. Judgement: between the 1.3 of usual columns and the 1.8 of one left out
(`confidence.FAR`)."""
_AXIS = 0.35
"""Share of a vertebra that looks like the axis above which the wider gap is used. Judgement: below
one half, since a wrong gap costs more than a missed one."""
_L5_TO_SACRUM_MM = 24.0
"""From the centre of L5 to the nearest voxel of the sacrum. Judgement: half of its height and a
disc."""


@dataclass(frozen=True)
class Naming:
    """Names of a column.

    Attributes
    ----------
    levels
        Name of each vertebra, cranial to caudal.
    confidence
        Posterior probability of each name.
    confirmed
        Whether the numbering can be relied on, but for the names in doubt.
    doubted
        Names of a confirmed numbering that rest on the last ribs alone.
    warnings
        Sentences on what it rests on and what is doubtful.
    """

    levels: tuple[str, ...]
    confidence: tuple[float, ...]
    confirmed: bool
    warnings: tuple[str, ...]
    doubted: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Hypothesis:
    spine: tuple[str, ...]
    variant: str
    names: tuple[str, ...]
    score: float


def name_column(seen: Surroundings, anchor: tuple[int, str] | None = None) -> Naming:
    """Name the vertebrae of a column.

    Parameters
    ----------
    seen
        The column and what is beside it.
    anchor
        Index of a vertebra and its name, when the user knows it.
    """
    rows = seen.vertebrae
    if not rows:
        return Naming((), (), False, ())
    centres = np.array([row.centre_mm for row in rows])
    skipped = skipped_levels(centres, np.array([row.looks.axis for row in rows]) > _AXIS)
    places = np.concatenate([[0], np.cumsum(1 + skipped)])
    guesses = _hypotheses(seen, places, skipped)
    if anchor is not None:
        kept = [g for g in guesses if g.names[anchor[0]] == anchor[1]]
        guesses = kept or guesses
    scores = np.array([g.score for g in guesses])
    weight = np.exp(scores - scores.max())
    weight /= weight.sum()
    best = guesses[int(scores.argmax())]
    confidence = tuple(
        float(sum(w for w, g in zip(weight, guesses, strict=True) if g.names[n] == name))
        for n, name in enumerate(best.names)
    )
    open_ = tuple(
        n
        for n, (name, p) in enumerate(zip(best.names, confidence, strict=True))
        if anchor is None and name[0] != "L" and p < _SURE_NAME
    )
    known = [n for n in range(len(best.names)) if n not in open_]
    # Where none is known, the probability of the whole column.
    known = known or list(range(len(best.names)))
    alike = [all(g.names[n] == best.names[n] for n in known) for g in guesses]
    whole = float(weight[np.array(alike)].sum())
    hard = anchor is not None or _landmarks(seen) != ""
    # Transitional anatomy is rarer than a vertebra found twice or not at all: a person decides.
    usual = not best.variant
    # Where every joint has a name in doubt, there is nothing to confirm.
    joined = any(b - a == 1 for a, b in itertools.pairwise(known)) or seen.sacrum_mm is not None
    joined &= len(open_) < len(best.names)
    sure = whole >= CONFIRMED and (joined or not open_)
    few = sum(not row.cut for row in rows) + (seen.sacrum_mm is not None) < _FEWEST_WHOLE
    sure &= anchor is not None or not few
    confirmed = bool(sure and hard and usual and not skipped.any())
    doubted = tuple(best.names[n] for n in open_)
    sentences = _sentences(seen, best, whole, skipped, confirmed, anchor is not None, doubted)
    if few:
        sentences = (
            "Too little of the spine is in view: fewer than two whole vertebrae were found, so"
            " their outlines and names mean little; give a CT that shows more, or a label map.",
            *sentences,
        )
    return Naming(best.names, confidence, confirmed, sentences, doubted if confirmed else ())


def skipped_levels(centres: FloatArray, axis: BoolArray | None = None) -> np.ndarray:
    """Vertebrae that are missing after each one, from steps much longer than their neighbours.

    Parameters
    ----------
    centres
        Of the vertebrae, LPS mm, shape (n, 3).
    axis
        Which of them look like the axis, whose centre lies higher, since the dens is part of it.
    """
    gaps = np.linalg.norm(np.diff(centres, axis=0), axis=1)
    missing = np.zeros(len(gaps), dtype=int)
    for n, gap in enumerate(gaps):
        most = _GAP if axis is None or not axis[n] else _GAP_BELOW_AXIS
        others = [gaps[m] for m in (n - 2, n - 1, n + 1, n + 2) if 0 <= m < len(gaps)]
        if len(others) >= 2 and gap > most * max(np.median(others), 12.0):
            missing[n] = max(1, round(float(gap / np.median(others))) - 1)
    return missing


def _hypotheses(seen: Surroundings, places: np.ndarray, skipped: np.ndarray) -> list[_Hypothesis]:
    guesses = []
    for sentence, prior, thoracic, lumbar in _VARIANTS:
        spine = (
            *_CERVICAL,
            *(f"T{n}" for n in range(1, thoracic + 1)),
            *(f"L{n}" for n in range(1, lumbar + 1)),
        )
        for first in range(len(spine) - int(places[-1])):
            names = tuple(spine[first + int(p)] for p in places)
            score = float(np.log(prior)) + _score(seen, spine, first, places, skipped)
            guesses.append(_Hypothesis(spine, sentence, names, score))
    if not guesses:
        # More vertebrae than any spine has: the cranial ones are noise, which cannot be named.
        spine = (*_CERVICAL, *(f"T{n}" for n in range(1, 14)), *(f"L{n}" for n in range(1, 7)))
        names = tuple(spine[max(0, len(spine) - 1 - int(places[-1] - p))] for p in places)
        guesses.append(_Hypothesis(spine, "", names, -1e3))
    return guesses


def _score(
    seen: Surroundings,
    spine: tuple[str, ...],
    first: int,
    places: np.ndarray,
    skipped: np.ndarray,
) -> float:
    """Log likelihood of the evidence when the first vertebra has a given place in a spine."""
    rows = seen.vertebrae
    names = [spine[first + int(p)] for p in places]
    score = 0.0
    for name, row in zip(names, rows, strict=True):
        score += _looks_score(name, row)
        score += row.rib * (0.5 if name.startswith("T") else -0.5) * _rib_weight(name)
    score += _size_score(names, rows, skipped)
    return score + _end_score(seen, spine, names)


def _looks_score(name: str, row: Evidence) -> float:
    """Log likelihood of a vertebra's resemblance to atlas, axis or a body of its region."""
    if not row.looks.known:
        return 0.0
    share = row.looks.like(name)
    if row.cut:
        # Its ribs are mostly out of view: only neck and trunk can be told.
        trunk = row.looks.thoracic + row.looks.lumbar
        share = 1 - trunk if name[0] == "C" else trunk
    return _LOOKS * float(np.log(max(share, _LEAST_LOOKS)))


def _rib_weight(name: str) -> float:
    """The last ribs may be tiny, and the transverse processes of L1 and C7 long."""
    return {"T12": 0.8, "T13": 0.6, "L1": 0.9, "T1": 0.7, "C7": 0.9}.get(name, 1.0)


def _end_score(seen: Surroundings, spine: tuple[str, ...], names: Sequence[str]) -> float:
    """Log likelihood of where the column ends, given the image: at skull and sacrum."""
    above = spine.index(names[0])
    # C1 itself is easily missed.
    score = -_NO_END if seen.room_above_mm > 60.0 + 18.0 * above and above > 1 else 0.0
    below = len(spine) - 1 - spine.index(names[-1])
    if seen.sacrum_mm is not None:
        missing = max(0, round((seen.sacrum_mm - _L5_TO_SACRUM_MM) / 36.0))
        return score - _SACRUM * min(abs(below - missing), 2)
    expected = 35.0 * (below + 1)
    return score - (_NO_END if seen.room_below_mm > expected + 45.0 else 0.0)


def _size_score(names: Sequence[str], rows: Sequence[Evidence], skipped: np.ndarray) -> float:
    """How well steps and volumes fit, for the size of patient that fits best."""
    steps = typical_steps_mm()
    centres = np.array([row.centre_mm for row in rows])
    gaps = np.linalg.norm(np.diff(centres, axis=0), axis=1)
    logs = [
        float(np.log(gap / steps.get(name, 33.0)))
        for name, gap, miss in zip(names, gaps, skipped, strict=False)
        if not miss and name in steps and name not in ("C1", "C2")
    ]
    volumes = [
        (float(np.log(row.body_mm3 / _body_mm3(name))) / 3)
        for name, row in zip(names, rows, strict=True)
        if not row.cut and row.body_mm3 > 0 and name not in ("C1", "C2")
    ]
    size = [(v, _STEP_SPREAD) for v in logs] + [(v, _VOLUME_SPREAD / 3) for v in volumes]
    if not size:
        return 0.0
    value = np.array([v for v, _ in size])
    precision = np.array([1 / s**2 for _, s in size])
    common = float((value * precision).sum() / (precision.sum() + 1 / _SIZE_SPREAD**2))
    misfit = np.minimum(((value - common) ** 2 * precision), 6.0).sum()
    # Neighbours err alike, so that a column tells less than the sum of its vertebrae.
    return float(-0.5 * (0.6 * misfit + (common / _SIZE_SPREAD) ** 2))


def _body_mm3(name: str) -> float:
    """Typical volume of a vertebral body, mm³."""
    number = int(name[1:])
    if name[0] == "C":
        return 4500.0 + 500.0 * (number - 3)
    if name[0] == "T":
        return float(np.interp(number, [1, 4, 8, 12], [7500, 9500, 15500, 25000]))
    return float(np.interp(number, [1, 3, 5], [28000, 34000, 36000]))


def _landmarks(seen: Surroundings) -> str:
    """What the numbering rests on, in words; empty when nothing is in view."""
    found = []
    if any(max(row.looks.atlas, row.looks.axis) > _CLEAR for row in seen.vertebrae):
        found.append("C1 and C2")
    pairs = list(itertools.pairwise(seen.vertebrae))
    if any(_ends_ribs(a, b, "L1") for a, b in pairs):
        found.append("the last ribs")
    if any(_ends_ribs(b, a, "C7") for a, b in pairs):
        found.append("the first ribs")
    if seen.sacrum_mm is not None:
        found.append("the sacrum")
    return ", ".join(found[:-1]) + (" and " if len(found) > 1 else "") + found[-1] if found else ""


def _ends_ribs(thoracic: Evidence, other: Evidence, name: str) -> bool:
    """Whether ribs or looks show the end of the ribs between neighbours."""
    looks = thoracic.looks.thoracic > _CLEAR and other.looks.like(name) > _CLEAR
    return looks or (thoracic.rib > 1 and other.rib < -1)


def _listed(names: Sequence[str]) -> str:
    """Names of neighbours in a few words."""
    if len(names) == 1:
        return names[0]
    return f"{names[0]} {'and' if len(names) == 2 else 'to'} {names[-1]}"


def _sentences(
    seen: Surroundings,
    best: _Hypothesis,
    whole: float,
    skipped: np.ndarray,
    confirmed: bool,
    anchored: bool,
    doubted: tuple[str, ...],
) -> tuple[str, ...]:
    found = []
    marks = _landmarks(seen)
    by_ribs = doubted and marks and doubted[0][0] == "T"
    if confirmed and doubted:
        found.append(
            f"{_listed(doubted)} {'is' if len(doubted) == 1 else 'are'} not confirmed, unlike the"
            " names below: counted up from the last ribs, and some people have eleven or thirteen"
            " pairs. Name one vertebra with an anchor, or check them."
        )
    elif not confirmed and whole >= CONFIRMED and by_ribs and not best.variant:
        found.append(
            f"Levels not confirmed: {_listed(doubted)} rest on {marks} alone, and some people have"
            " eleven or thirteen pairs of ribs. Name one vertebra with an anchor, or check them."
        )
    elif not confirmed:
        why = (
            f"they rest on {marks}, which leave doubt"
            if marks
            else "neither sacrum, last or first ribs nor C1 and C2 are in view"
        )
        found.append(
            f"Levels not confirmed: {why} (probability {whole:.0%}); the names are the best guess. "
            "Name one vertebra with an anchor, or check them."
        )
    elif marks == "the sacrum" and not anchored:
        found.append(
            "The levels were counted from the sacrum alone: without the last ribs in view, a sixth "
            "lumbar vertebra or a sacralised L5 would not be noticed."
        )
    elif marks == "the last ribs" and not anchored:
        found.append(
            "The levels were counted from the last ribs alone: eleven or thirteen pairs of ribs "
            "would not be noticed."
        )
    if best.variant:
        found.append(
            f"Transitional anatomy: what is seen ({marks}) fits {best.variant} best; check the "
            "levels."
        )
    for n in np.flatnonzero(skipped):
        found.append(
            f"Between {best.names[n]} and {best.names[n + 1]} there is room for "
            f"{skipped[n]} more, which was not found."
        )
    return tuple(found)
