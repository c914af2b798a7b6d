"""What forbids a verdict, and what must be said beside it."""

from __future__ import annotations

from CTSpectSpineLib.model import Registration, VertebraLabels
from CTSpectSpineLib.results.decision import Decision


def obstacles_and_caveats(
    registration: Registration,
    labels: VertebraLabels,
    *,
    accept_registration: bool,
    decision: Decision | None = None,
    require_confirmed_levels: bool,
) -> tuple[list[str], list[str]]:
    """Judge whether registration and levels carry a verdict.

    Parameters
    ----------
    accept_registration
        Whether the user accepts the registration now, even a failed or a rejected one.
    decision
        What the user decided on this registration in an earlier analysis.
    require_confirmed_levels
        Whether the protocol asks for confirmed levels.

    Returns
    -------
    obstacles, caveats
        Sentences; with an obstacle there is no verdict.
    """
    obstacles: list[str] = []
    caveats: list[str] = []
    accepted = accept_registration or (decision is not None and decision.decision == "accepted")
    if not accepted and decision is not None and decision.obstacle:
        obstacles.append(decision.obstacle)
    if registration.quality == "failed":
        words = f"The registration failed: {' '.join(registration.reasons)}"
        if accepted:
            caveats.append(f"{words} The user accepted it nevertheless.")
        else:
            obstacles.append(words)
    elif registration.quality == "check":
        caveats.append(f"The registration must be checked: {' '.join(registration.reasons)}")
    if require_confirmed_levels and not labels.levels_confirmed:
        obstacles.append("The vertebra levels are not confirmed: " + " ".join(labels.warnings))
    return obstacles, caveats
