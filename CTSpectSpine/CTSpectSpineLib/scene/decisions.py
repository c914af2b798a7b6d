"""What the user decides on a registration: in the scene, in the results folder, in its report.

One of the files that know MRML; see `mrml` for what they need.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.results.decision import Decision, decided
from CTSpectSpineLib.results.folder import kept_results
from CTSpectSpineLib.results.manifest import MANIFEST
from CTSpectSpineLib.results.shown import Record, record_from_texts
from CTSpectSpineLib.results.text_files import write_text
from CTSpectSpineLib.scene.findings import fill_findings
from CTSpectSpineLib.scene.nodes import SceneNodes, results_folder
from CTSpectSpineLib.scene.segmentations import TAG_PREFIX
from CTSpectSpineLib.scene.tables import fill_joint_table, fill_verdict_table


def record_decision(nodes: SceneNodes, decision: str, *, adjusted: bool, reader: str = "") -> None:
    """Record what the user decided on the registration of an analysis.

    A rejection takes the verdict back wherever it stands, see `results.decision.decided`.

    Parameters
    ----------
    decision
        ``accepted`` or ``rejected``.
    adjusted
        Whether the position was adjusted by hand before.
    reader
        Who decides; empty where nobody said.

    Raises
    ------
    InputError
        If the scene does not hold the results any more, or the folder cannot be written.
    """
    record = nodes.record()
    if record is None or nodes.manifest is None:
        raise InputError("The scene no longer holds the results: analyse again.")
    quality = str(record.registration["quality"])
    taken = Decision.now(decision, quality, adjusted=adjusted, reader=reader)
    texts = decided(record.texts, taken)
    changed = {name: text for name, text in texts.items() if text != record.texts[name]}
    folder = results_folder(nodes.manifest)
    if folder is not None:
        changed = _write(folder, changed)
    for name, text in changed.items():
        nodes.texts()[name].SetText(text)
    if "verdict.json" in changed:
        _show_verdict(nodes, record_from_texts(texts, "The scene"))


def _write(folder: Path, changed: Mapping[str, str]) -> dict[str, str]:
    """Write texts and the report into a results folder; return the texts as they stand there.

    The manifest learns the hashes of the others on its way.
    """
    with kept_results(folder):
        # The verdict first: if this is cut off, nothing shows a verdict that does not count.
        for name in sorted(changed, key=lambda name: name == MANIFEST):
            write_text(folder / name, changed[name])
        if (folder / "report.html").is_file():
            from CTSpectSpineLib.report import write_report

            write_report(folder)
    return {name: (folder / name).read_bytes().decode("utf-8") for name in changed}


def _show_verdict(nodes: SceneNodes, record: Record) -> None:
    """Bring tables and segments in line with the verdict."""
    if nodes.verdict_table is not None:
        fill_verdict_table(nodes.verdict_table, record.verdict)
    if nodes.joint_table is not None:
        fill_joint_table(nodes.joint_table, [row.cells for row in record.rows])
    if nodes.findings is not None:
        fill_findings(nodes.findings, record.findings)
    if nodes.joints is None:
        return
    segmentation = nodes.joints.GetSegmentation()
    for row in record.rows:
        segment = segmentation.GetSegment(row.joint)
        if segment is not None:
            segment.SetTag(f"{TAG_PREFIX}verdict", row.verdict)
