"""The reasoning of a verdict, as the report shows it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def reason_rows(verdict: Mapping[str, Any], labels: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """Each step with its kind and source, which is named once; else the plain sentences.

    Parameters
    ----------
    verdict
        What ``verdict.json`` holds.
    labels
        Kind of step to the word for it.
    """
    chain = [step for step in verdict.get("chain") or () if isinstance(step, Mapping)]
    told: set[str] = set()
    for step in chain:
        source = str(step.get("source") or step.get("provenance") or "")
        yield {
            "label": labels.get(str(step.get("step")), ""),
            "sentence": str(step.get("sentence", "")),
            "source": "" if source in told else source,
        }
        told.add(source)
    if not chain:
        reasons = verdict.get("reasons") or ()
        for sentence in [reasons] if isinstance(reasons, str) else reasons:
            yield {"label": "", "sentence": str(sentence), "source": ""}
