"""What a panel and a scene show of a results folder: its texts, read once, as typed values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from CTSpectSpineLib import joint_table
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.finding import ShownFinding, shown_findings
from CTSpectSpineLib.joint_table import Row
from CTSpectSpineLib.results.decision import decision_in, is_withheld, withheld
from CTSpectSpineLib.results.manifest import MANIFEST
from CTSpectSpineLib.results.text_files import parse_json
from CTSpectSpineLib.wording import measurement_words

FILES = (MANIFEST, "registration.json", "verdict.json", "joints.csv")
"""The texts of a results folder that the panel shows and the scene keeps."""


@dataclass(frozen=True)
class Record:
    """Texts of one results folder and what they say."""

    texts: Mapping[str, str]
    rows: tuple[Row, ...]
    registration: Mapping[str, Any]
    verdict: Mapping[str, Any]
    manifest: Mapping[str, Any]

    @property
    def decision(self) -> str:
        """What the user decided on the registration: ``accepted``, ``rejected`` or nothing."""
        decision = decision_in(self.manifest)
        return "" if decision is None else decision.decision

    @property
    def identity(self) -> str:
        """Names the analysis; the time where an older version gave it no name."""
        return str(self.manifest.get("id") or self.manifest.get("created") or "")

    @property
    def ct_to_spect_lps(self) -> tuple[tuple[float, ...], ...] | None:
        """4×4 matrix from CT to SPECT points (LPS mm) that was measured with; None if not known."""
        rows = self.registration.get("ct_to_spect_lps")
        if rows is None:
            transform = self.manifest.get("spect_to_ct") or {}
            rows = transform.get("ct_to_spect_lps")
        return None if rows is None else tuple(tuple(map(float, row)) for row in rows)

    @property
    def centre_mm(self) -> tuple[float, ...]:
        """Point that the registration's angles turn about, LPS mm."""
        return tuple(map(float, self.registration.get("centre_mm") or (0.0, 0.0, 0.0)))

    @property
    def levels(self) -> tuple[str, ...]:
        """Names of the vertebrae, cranial to caudal."""
        return tuple((self.manifest.get("labels") or {}).get("levels", ()))

    @property
    def levels_confirmed(self) -> bool:
        """Whether the numbering can be relied on."""
        return bool((self.manifest.get("labels") or {}).get("levels_confirmed", False))

    @property
    def doubted_levels(self) -> tuple[str, ...]:
        """Vertebrae whose names are in doubt although the numbering is not."""
        return tuple((self.manifest.get("labels") or {}).get("doubted_levels", ()))

    @property
    def levels_confirmed_by_user(self) -> bool:
        """Whether a person said that the numbering is right."""
        said = self.manifest.get("parameters") or {}
        named = bool(said.get("named_levels") or said.get("anchor"))
        return bool(said.get("confirm_levels", False)) or (named and self.levels_confirmed)

    @property
    def edited_vertebrae(self) -> tuple[str, ...]:
        """Vertebrae whose outlines a person edited."""
        edited = str((self.manifest.get("parameters") or {}).get("edited") or "")
        return tuple(filter(None, edited.split(",")))

    @property
    def edited_joints(self) -> tuple[str, ...]:
        """Joints whose regions a person edited, cranial to caudal."""
        return tuple(self.manifest.get("edited_joints") or ())

    @property
    def reference(self) -> float:
        """The patient's reference uptake in SPECT units; NaN if there is none."""
        value = ((self.manifest.get("uptake") or {}).get("reference") or {}).get("value")
        return math.nan if value is None else float(value)

    @property
    def findings(self) -> tuple[ShownFinding, ...]:
        """Uptake that no joint explains; empty where there is no verdict on it any more."""
        return shown_findings(self.verdict)

    @property
    def measured_with(self) -> str:
        """One sentence on the resolution and the reconstruction that the measurement assumed."""
        return measurement_words(self.manifest.get("uptake") or {})

    @property
    def bounds(self) -> Mapping[str, float]:
        """Kind of joint to the ratio from which it is positive."""
        bounds = (self.manifest.get("protocol") or {}).get("bounds") or {}
        return {kind: float(values["positive"]) for kind, values in bounds.items()}

    def row(self, joint: str) -> Row | None:
        """The row of a joint."""
        return next((row for row in self.rows if row.joint == joint), None)


def read_record(folder: Path) -> Record:
    """Read the texts of a results folder.

    Raises
    ------
    InputError
        If a text is missing or broken.
    """
    texts = {}
    for name in FILES:
        try:
            texts[name] = (folder / name).read_bytes().decode("utf-8")
        except OSError as error:
            raise InputError(
                f"{folder / name} cannot be read ({error.strerror}); give the results folder of "
                "an analysis."
            ) from error
    return record_from_texts(texts, str(folder))


def record_from_texts(texts: Mapping[str, str], origin: str) -> Record:
    """Understand the texts of a results folder.

    Raises
    ------
    InputError
        If a text is broken; ``origin`` is where it came from.
    """
    try:
        values = {name: parse_json(texts[name]) for name in FILES if name.endswith(".json")}
        bounds = (values[MANIFEST].get("protocol") or {}).get("bounds") or {}
        verdict, manifest = values["verdict.json"], values[MANIFEST]
        table = texts["joints.csv"]
        if is_withheld(verdict, manifest):
            table = joint_table.without_verdict(table, f"joints.csv of {origin}")
        rows = joint_table.rows(table, bounds, f"joints.csv of {origin}")
        verdict = withheld(verdict, manifest)
    except InputError:
        raise
    except (AttributeError, KeyError, ValueError, TypeError, RecursionError) as error:
        raise InputError(
            f"{origin} holds a result that cannot be read ({error}); run the analysis again."
        ) from error
    return Record(
        texts=dict(texts),
        rows=rows,
        registration=values["registration.json"],
        verdict=verdict,
        manifest=values[MANIFEST],
    )
