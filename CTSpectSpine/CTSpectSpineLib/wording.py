"""The words for what results hold as ids: dispositions, qualities, classes; for all who show them.

Needs nothing but Python, so that a panel without further packages can show results.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

_FILE = Path(__file__).parent / "data" / "wording.json"


@cache
def _tables() -> Mapping[str, Mapping[str, Any]]:
    tables: Mapping[str, Mapping[str, Any]] = json.loads(_FILE.read_text(encoding="utf-8"))
    return tables


def texts(table: str) -> Mapping[str, str]:
    """A table of ``wording.json`` that gives each id one text."""
    return _tables()[table]


def wording(table: str, key: str) -> Mapping[str, str]:
    """The words for an id in a table of ``wording.json``; empty where there are none."""
    words = _tables()[table].get(key)
    return words if isinstance(words, Mapping) else {}


def disposition(name: str) -> Mapping[str, str]:
    """Words for a disposition; a protocol's own one is called by its id."""
    return wording("dispositions", name) or {
        "title": name.replace("_", " ").capitalize() or "No verdict",
        "meaning": "",
        "tone": "plain",
    }


def said(*names: str) -> str:
    """Dispositions as they stand in a sentence, several as alternatives."""
    titles = (disposition(name)["title"] for name in names)
    return " or ".join(f"“{title[:1].lower()}{title[1:]}”" for title in titles)


def reconstruction_words(facts: Mapping[str, Any]) -> str:
    """What is known of a reconstruction, and from where; empty where nothing was recorded.

    Parameters
    ----------
    facts
        Entry ``uptake.reconstruction`` of ``manifest.json``.
    """
    if not facts:
        return ""
    words = {"recovery": "with resolution recovery", "no-recovery": "without resolution recovery"}
    said_ = [words.get(str(facts.get("family")), "with or without resolution recovery")]
    corrections = {True: "corrected for {}", False: "not corrected for {}"}
    for key, what in (("attenuation_correction", "attenuation"), ("scatter_correction", "scatter")):
        said_ += [corrections[facts[key]].format(what)] if facts.get(key) in (True, False) else []
    doubt = ", which the SPECT does not look like" if facts.get("doubted") else ""
    settings = [
        words_.format(facts[key])
        for key, words_ in (
            ("iterations", "iterations: {}"),
            ("subsets", "subsets: {}"),
            ("filter_fwhm_mm", "Gaussian filter of {:g} mm"),
        )
        if isinstance(facts.get(key), int | float)
    ]
    known = f"{', '.join(said_)} ({facts.get('source') or '–'}{doubt})"
    return "; ".join(filter(None, (known, ", ".join(settings))))


def measurement_words(uptake: Mapping[str, Any]) -> str:
    """A sentence on what the measurement assumed of the SPECT; empty where nothing was recorded.

    Parameters
    ----------
    uptake
        Entry ``uptake`` of ``manifest.json``.
    """
    parts = []
    if words := reconstruction_words(uptake.get("reconstruction") or {}):
        parts.append(f"reconstruction {words}")
    if uptake.get("fwhm_mm") is not None:
        source = uptake.get("fwhm_source")
        parts.append(f"resolution {uptake['fwhm_mm']:.1f} mm" + (f" ({source})" if source else ""))
    text = "; ".join(parts)
    return f"{text[:1].upper()}{text[1:]}." if text else ""
