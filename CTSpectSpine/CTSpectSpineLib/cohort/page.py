"""The page over a cohort; it needs no network."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from CTSpectSpineLib.cohort.rows import CohortRow
from CTSpectSpineLib.cohort.summary import PAGE, CohortSummary, in_need
from CTSpectSpineLib.results.text_files import write_text
from CTSpectSpineLib.version import __version__
from CTSpectSpineLib.wording import disposition

_HERE = Path(__file__).parent
_MOST_LISTED = 50
"""Most patients in the list of those to look at; all stand in ``review.csv``. Judgement."""


def write_page(folder: Path, summary: CohortSummary) -> Path:
    """Write ``cohort.html``.

    Raises
    ------
    InputError
        If it cannot be written.
    """
    path = folder / PAGE
    write_text(path, render(summary))
    return path


def render(summary: CohortSummary) -> str:
    """HTML of a cohort."""
    environment = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    needing = in_need(summary.rows)
    return environment.get_template("page.html").render(
        style=(_HERE / "page.css").read_text(encoding="utf-8"),
        script=(_HERE / "page.js").read_text(encoding="utf-8"),
        version=__version__,
        count=len(summary.rows),
        states=_states(summary.rows),
        dispositions=_bars(summary.dispositions),
        levels=summary.levels,
        widest=max((level.high for level in summary.levels), default=1.0),
        review=needing[:_MOST_LISTED],
        more=max(len(needing) - _MOST_LISTED, 0),
        data=_data(summary.rows),
    )


def _states(rows: Sequence[CohortRow]) -> str:
    names = {
        "complete": "with a verdict",
        "failed": "analysed without a verdict",
        "error": "could not be analysed",
        "not analysed": "not analysed yet",
        "excluded": "excluded by a person",
    }
    counts = {words: sum(row.status == name for row in rows) for name, words in names.items()}
    return ", ".join(f"{count} {words}" for words, count in counts.items() if count)


def _bars(dispositions: Mapping[str, int]) -> list[dict[str, Any]]:
    most = max(dispositions.values(), default=1)
    whole = max(sum(dispositions.values()), 1)
    return [
        {
            "name": _title(name),
            "count": count,
            "percent": f"{count / whole:.0%}",
            "width": f"{100 * count / most:.1f}",
        }
        for name, count in dispositions.items()
    ]


def _title(name: str) -> str:
    return disposition(name)["title"] if name else ""


def _data(rows: Sequence[CohortRow]) -> str:
    """Rows for the script, as JSON that cannot end the element that holds it."""
    table = [
        [
            *(row.id, row.status, _title(row.disposition)),
            *(row.stability, row.quality, row.expected_error_mm, row.level_status),
            *(row.positive_joints, row.findings, row.seconds, row.folder, row.reason),
            "; ".join([*(words for _, words in row.needs), *filter(None, [row.decisions])]),
        ]
        for row in rows
    ]
    text = json.dumps(table, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
