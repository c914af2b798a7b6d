"""The document of what is found outside the joints."""

from __future__ import annotations

import pandas as pd

_HEAD = """# Uptake outside the joints

Made by `python -m benchmarks.findings`. Foci are put into phantoms (`phantom/lesions.json`:
fractures, metastases, a whole vertebra, spondylolysis, processes, ribs, sacrum, sacroiliac joints,
after operations, kidney, ureter, bladder, injection site, soft tissue) and into a real CT. The
registration is off by 1.5 mm; resolution and reference are those of the measurement. Ordinary
patients are those of the truth study: uneven bones and joints, hot joints side by side,
osteophytes, kidneys and bladder of any activity, arms, an injection site outside the CT, movement.
All images are simulated: how often this finds what a physician sees is not known. Research use
only.
"""


def document(rows: pd.DataFrame) -> str:
    """Markdown of the rows."""
    parts = [_HEAD, _summary(rows)]
    for kind, title in (("case", "Cases on phantoms"), ("real", "Cases in a real CT")):
        mine = rows[rows["kind"] == kind]
        if len(mine):
            parts.append(f"## {title}\n\n{_table(mine)}")
    false = rows[(rows["false"] > 0) | (rows["faint"] > 0)]
    if len(false):
        parts.append(f"## Patients with false findings\n\n{_table(false)}")
    return "\n".join(parts)


def _summary(rows: pd.DataFrame) -> str:
    lines = [
        "| set | scanner | patients | foci | found | named in the headline "
        "| negative without naming | false findings that count | false, faint |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for (kind, scanner), part in rows.groupby(["kind", "scanner"], sort=False):
        foci = part[part["foci"] > 0]
        silent = foci[(foci["disposition"] == "negative") & ~foci["named"].astype(bool)]
        lines.append(
            f"| {kind} | {scanner} | {len(part)} | {part['foci'].sum()} | {part['found'].sum()} | "
            f"{int(foci['named'].sum())} of {len(foci)} patients | {len(silent)} | "
            f"{part['false'].sum()} in {int((part['false'] > 0).sum())} patients | "
            f"{part['faint'].sum()} |"
        )
    median = rows["seconds"].median()
    lines.append(f"\nMeasurement, findings and verdict took {median:.0f} s in the median.\n")
    return "\n".join(lines)


def _table(rows: pd.DataFrame) -> str:
    lines = ["| patient | scanner | foci found | verdict | headline |", "|---|---|---|---|---|"]
    for row in rows.to_dict("records"):
        lines.append(
            f"| {row['name']} | {row['scanner']} | {row['found']} of {row['foci']} | "
            f"`{row['disposition']}` | {row['headline']} |"
        )
    return "\n".join(lines) + "\n"
