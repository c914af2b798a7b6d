"""What forbids a verdict, and what must be said beside it."""

from __future__ import annotations

from CTSpectSpineLib.model import Registration, VertebraLabels


def obstacles_and_caveats(
    registration: Registration,
    labels: VertebraLabels,
    *,
    accept_registration: bool,
    require_confirmed_levels: bool,
) -> tuple[list[str], list[str]]:
    """Judge whether registration and levels carry a verdict.

    Parameters
    ----------
    accept_registration
        Whether the user accepts a failed registration.
    require_confirmed_levels
        Whether the protocol asks for confirmed levels.

    Returns
    -------
    obstacles, caveats
        Sentences; with an obstacle there is no verdict.
    """
    obstacles: list[str] = []
    caveats: list[str] = []
    if registration.quality == "failed":
        words = f"The registration failed: {' '.join(registration.reasons)}"
        if accept_registration:
            caveats.append(f"{words} The user accepted it nevertheless.")
        else:
            obstacles.append(words)
    elif registration.quality == "check":
        caveats.append(f"The registration must be checked: {' '.join(registration.reasons)}")
    if require_confirmed_levels and not labels.levels_confirmed:
        obstacles.append("The vertebra levels are not confirmed: " + " ".join(labels.warnings))
    return obstacles, caveats
