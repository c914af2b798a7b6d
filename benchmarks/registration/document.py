"""Writes the document of the comparison from its rows, which give every number in it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.registration.figures import draw_errors, draw_quality
from benchmarks.registration.methods import METHODS
from benchmarks.registration.pairs import FIRST_SEED, SETS, WRONG_SETS, SetInfo
from benchmarks.registration.summary import (
    LEAST_PAIRS,
    OURS,
    QUALITIES,
    SUCCESS_MM,
    Goal,
    Summary,
    best_peer,
    calibration,
    goals,
    ours_of,
    qualities,
    ratio_to_best,
    right_results,
    summaries,
    worst_good,
)

COMMAND = "python -m benchmarks.registration --speed"
_ALIGN = {"l": "---", "r": "---:"}


def write_document(
    path: Path, rows: pd.DataFrame, speed: pd.DataFrame | None, split: str, command: str = COMMAND
) -> None:
    """Write the document and its plots beside it.

    Parameters
    ----------
    path
        The Markdown file; the plots are named after it.
    rows
        Rows of the sets; those of other splits are left out.
    speed
        Rows of the speed section, None to leave it out.
    split
        Which split to report.
    command
        The command that makes it.

    Raises
    ------
    ValueError
        If no row is of this split.
    """
    rows = rows[rows.split == split]
    if rows.empty:
        raise ValueError(f"There are no rows of the {split} split.")
    pictures = {
        "errors": path.with_suffix(".png"),
        "quality": path.with_name(f"{path.stem}-quality.png"),
    }
    drawn = {}
    if rows.right.any():
        draw_errors(rows, pictures["errors"])
        drawn["errors"] = pictures["errors"].name
    if calibration(rows) is not None:
        draw_quality(rows, pictures["quality"])
        drawn["quality"] = pictures["quality"].name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(render(rows, speed, split, command, drawn), encoding="utf-8")


def render(
    rows: pd.DataFrame,
    speed: pd.DataFrame | None,
    split: str,
    command: str,
    pictures: dict[str, str],
) -> str:
    """The document as Markdown; `pictures` are file names by subject."""
    found = summaries(rows)
    targets = goals(rows, speed)
    sections = [
        _heading(rows, split, command),
        _reading(rows, found, targets),
        _goals(targets),
        _accuracy(found, pictures.get("errors")),
        _cost(rows, found),
        _quality(rows, pictures.get("quality")),
        "" if speed is None else _speed(speed),
        _how(rows, split),
    ]
    return "\n\n".join(section.strip() for section in sections if section) + "\n"


def _table(heads: Sequence[str], align: str, lines: Iterable[Sequence[str]]) -> str:
    rows = [list(heads), [_ALIGN[a] for a in align], *map(list, lines)]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _number(value: float | None, digits: int = 2) -> str:
    if value is None or not np.isfinite(value):
        return "–"
    # Two decimals are meaningless for an error of many millimetres.
    return f"{value:.{digits if abs(value) < 10 else min(digits, 1)}f}"


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def _join(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _heading(rows: pd.DataFrame, split: str, command: str) -> str:
    lines = [
        "# Registration against general tools" if _peers(rows) else "# Registration of hard pairs",
        f'Made by `{command}`, after `pip install -e ".[bench]"`, in the root of the '
        "repository; it takes hours, goes on where it stopped, and `--document-only` writes this "
        "page again from its rows.",
    ]
    if split == "tuning":
        lines.append(
            "**These are tuning pairs: the method has been adjusted on them, so the numbers "
            "flatter it.**"
        )
    sizes = rows[rows.right].groupby("set_name").pair.nunique()
    few = [SETS[name].title for name in SETS if 0 < int(sizes.get(name, 0)) < LEAST_PAIRS]
    if few:
        lines.append(f"**Fewer than {LEAST_PAIRS} pairs in: {', '.join(few)}.**")
    absent = [i.title for name, i in _all_sets() if name not in set(rows.set_name)]
    if absent:
        lines.append(f"**Not run: {', '.join(absent)}.**")
    return "\n\n".join(lines)


def _peers(rows: pd.DataFrame) -> bool:
    """Whether somebody else's method was run."""
    return bool((rows.method != OURS).any())


def _all_sets() -> list[tuple[str, SetInfo]]:
    return [*SETS.items(), *WRONG_SETS.items()]


def _reading(rows: pd.DataFrame, found: list[Summary], targets: list[Goal]) -> str:
    """What the numbers say, in sentences that are made from them."""
    sentences = []
    for name, info in SETS.items():
        ours, peer, ratio = ours_of(found, name), best_peer(found, name), ratio_to_best(found, name)
        if ours is None:
            continue
        text = (
            f"**{info.title}**: {_number(ours.mean)} mm on average, {_number(ours.worst)} mm at "
            f"worst, {ours.below[0]} of {ours.pairs} pairs under {SUCCESS_MM[0]:g} mm"
        )
        if peer is not None:
            text += (
                f"; the best peer, {METHODS[peer.method].title}, {_number(peer.mean)} mm, "
                f"{_number(peer.worst)} mm and {peer.below[0]} of {peer.pairs}"
            )
        if ratio is not None:
            text += f" (ratio of the means {ratio:.2f})"
        sentences.append(f"- {text}.")
    unmet = [
        f"{g.subject}: {g.quantity} {g.found}, wanted {g.wanted}"
        for g in targets
        if g.verdict == "not met"
    ]
    met = sum(goal.verdict == "met" for goal in targets)
    few = sum(goal.verdict == "too few pairs" for goal in targets)
    lines = ["## What it shows", "\n".join(sentences)]
    lines.append(
        f"Of {len(targets)} goals, {met} met and {len(unmet)} not met"
        + (f", {few} met on too few pairs." if few else ".")
    )
    if unmet:
        lines.append("Not met:\n\n" + "\n".join(f"- {line}" for line in unmet))
    good = worst_good(rows)
    if good is not None:
        lines.append(f"The worst true error of a right pair called `good` is {_number(good)} mm.")
    return "\n\n".join(line for line in lines if line)


def _goals(targets: list[Goal]) -> str:
    lines = [(g.subject, g.quantity, g.wanted, g.found, g.verdict) for g in targets]
    table = _table(("set", "number", "goal", "found", "verdict"), "llrrl", lines)
    return f"## Goals\n\n{table}"


def _accuracy(found: list[Summary], picture: str | None) -> str:
    ratios = {name: ratio_to_best(found, name) for name in SETS}
    lines = [
        (
            SETS[s.set_name].title,
            _strong(s, METHODS[s.method].title),
            _number(s.mean),
            _number(s.median),
            _number(s.p95),
            _number(s.worst),
            _number(s.worst_joint),
            *(f"{n} / {s.pairs}" for n in s.below),
            str(s.failed_calls),
            _number(ratios[s.set_name]) if s.method == OURS else "",
        )
        for s in found
    ]
    heads = (
        *("set", "method", "mean", "median", "95 %", "worst", "worst joint"),
        *(f"< {limit:g} mm" for limit in SUCCESS_MM),
        *("calls failed", "ratio to best peer"),
    )
    text = (
        "## Error at the joints\n\n"
        "Distance at the joints between the pose found and the true one, in mm: each pair "
        "counts with the mean over its joints; *worst joint* is the worst single joint of the "
        "set. The last column is our mean over the least mean of a peer."
    )
    image = (
        ""
        if picture is None
        else (
            f"\n\n![Distribution of the errors]({picture})\n\n"
            "Share of the pairs with at most a given error; the further left, the better. The grey "
            f"lines stand at {SUCCESS_MM[0]:g} and {SUCCESS_MM[1]:g} mm."
        )
    )
    return f"{text}{image}\n\n{_table(heads, 'llrrrrrrrrr', lines)}"


def _strong(summary: Summary, text: str) -> str:
    return f"**{text}**" if summary.method == OURS else text


def _cost(rows: pd.DataFrame, found: list[Summary]) -> str:
    threads = sorted(set(rows.threads.astype(int)))
    lines = [
        (
            SETS[s.set_name].title,
            _strong(s, METHODS[s.method].title),
            _number(s.wall_s, 1),
            _number(s.cpu_s, 1),
            "–" if not np.isfinite(s.memory_mib) else f"{s.memory_mib:.0f}",
        )
        for s in found
    ]
    heads = ("set", "method", "wall s", "CPU s", "peak memory, MiB")
    word = "thread" if threads == [1] else "threads"
    return (
        "## Time and memory\n\n"
        f"Means per pair with {_join([str(t) for t in threads])} {word} a call, several calls "
        "running beside each other; the largest peak of the resident set above what the process "
        "held with both images loaded. Times of these CTs, whose voxels are 1.5 mm and more, say "
        f"little about clinical sizes: see *Speed*.\n\n{_table(heads, 'llrrr', lines)}"
    )


def _quality(rows: pd.DataFrame, picture: str | None) -> str:
    lines = []
    for name, info in SETS.items():
        part = right_results(rows[rows.set_name == name])
        counts = qualities(rows, name)
        number = sum(counts.values())
        if not number:
            continue
        found, good = calibration(part), worst_good(part)
        lines.append(
            (
                info.title,
                *(str(counts[q]) for q in QUALITIES),
                _percent(counts["good"] / number),
                "–" if found is None else _percent(found.within_once),
                "–" if found is None else _percent(found.within_twice),
                _number(good),
            )
        )
    heads = (*QUALITIES, "good", "within 1×", "within 2×", "worst error called good, mm")
    text = [
        "## Quality without truth",
        "How this method judged its own results, without the truth: how many of the right pairs "
        "are `good`, `check` and `failed`, and the share whose true error (mean over the joints) "
        "lies within once and twice the expected one.",
    ]
    found = calibration(rows)
    if found is not None:
        text.append(
            f"Over all {found.pairs} right pairs with an expected error, "
            f"{_percent(found.within_once)} lie within once and {_percent(found.within_twice)} "
            "within twice of it."
        )
    if picture is not None:
        text.append(f"![Expected against true error]({picture})")
    if lines:
        text.append(_table(("set", *heads), "lrrrrrrr", lines))
    wrong = [
        (i.title, *(str(qualities(rows, n)[q]) for q in QUALITIES), i.description)
        for n, i in WRONG_SETS.items()
        if sum(qualities(rows, n).values())
    ]
    if wrong:
        text.append("CT and SPECT that do not belong together; none of these may be `good`:")
        text.append(_table(("wrong pairs", *QUALITIES, "what they are"), "lrrrl", wrong))
    return "\n\n".join(text)


def _speed(speed: pd.DataFrame) -> str:
    lines = []
    for _, row in speed.iterrows():
        title = METHODS[row.method].title
        lines.append(
            (
                row["size"],
                f"**{title}**" if row.method == OURS else title,
                _number(row.wall_s),
                _number(row.cpu_s),
                _number(row.wall_s / row.resampling_s, 1),
                "–" if not np.isfinite(row.memory_mib) else f"{row.memory_mib:.0f}",
                row.message,
            )
        )
    threads = _join([str(int(t)) for t in sorted(set(speed.threads))])
    heads = ("CT", "method", "wall s", "CPU s", "wall / resampling", "peak memory, MiB", "")
    text = [
        "## Speed",
        f"One call with {threads} threads on a phantom of the lower trunk, the same field of view "
        "in each number of voxels. Machines differ, so the time is also given as a ratio to one "
        "linear resampling of the SPECT to the CT's grid in the same run. The peak is that above "
        f"the images. Measured on {_join(sorted(set(speed.machine)))}.",
        _table(heads, "llrrrrl", lines),
    ]
    growth = _growth(speed[speed.method == OURS])
    return "\n\n".join([*text, growth] if growth else text)


def _growth(ours: pd.DataFrame) -> str:
    """Sentence on how time and memory grow from the smallest to the largest CT."""
    ours = ours.sort_values("voxels")
    ours = ours[ours.wall_s.notna()]
    if len(ours) < 2:
        return ""
    small, large = ours.iloc[0], ours.iloc[-1]
    text = (
        f"From {small['size']} to {large['size']}, {large.voxels / small.voxels:.1f} times the "
        f"voxels, the time grows by a factor of {large.wall_s / small.wall_s:.1f}"
    )
    if np.isfinite(large.memory_mib) and small.memory_mib > 0:
        text += f" and the peak memory by {large.memory_mib / small.memory_mib:.1f}"
    return f"{text}."


def _how(rows: pd.DataFrame, split: str) -> str:
    seeds = {name: f"{first} on" for name, first in FIRST_SEED.items()}
    shown = [n for n in METHODS if (rows.method == n).any()]
    sets = [
        (
            i.title,
            i.description,
            "–" if n == "other-part" else f"±{i.shift_mm:g} mm, ±{i.turn_deg:g}°",
            str(int(rows[rows.set_name == n].pair.nunique())),
        )
        for n, i in _all_sets()
        if n in set(rows.set_name)
    ]
    methods = [
        f"- **{METHODS[n].title}** {_versions(rows, n)}: {METHODS[n].settings}." for n in shown
    ]
    return "\n\n".join(
        [
            "## How it was done",
            "Every pair is a CT and a SPECT simulated from the same patient: activity by tissue "
            "and hot joints, the patient moved by the misalignment, blurred by the camera, with "
            "counting noise, on the camera's own grid. Patient, scanner and misalignment are "
            "drawn from the pair's seed. The truth is the movement; no method is told it.",
            "There are two splits with different patients: whatever was adjusted was adjusted on "
            f"the tuning split (seeds {seeds['tuning']}), and the test split (seeds "
            f"{seeds['test']}) is for reporting only. The real CT, where it is used, is one and "
            "the same in both; its activity, scanner and misalignment differ. This page is about "
            f"the **{split}** split.",
            _table(("set", "pairs of", "misalignment", "number"), "lllr", sets),
            "Methods, each at its recommended settings, on the images as they are:",
            "\n".join(methods),
            "A call that raises an error (as the peers do when too few of their samples fall "
            "inside both images) or crashes counts as failed, with the error of the pose it "
            "started from. A result that this method itself calls `failed` counts with its own "
            "error. Each call runs in a process of its own, which holds the two images and the "
            "loaded libraries; times include the conversion of the images that a method needs. "
            "Peers are not run on wrong pairs, as they do not judge their results.",
        ]
    )


def _versions(rows: pd.DataFrame, method: str) -> str:
    found = sorted(set(rows[rows.method == method].version))
    return _join([v or "of unknown version" for v in found])
