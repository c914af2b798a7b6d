"""Uptake that no joint explains: in bodies, arches, ribs, sacrum, pelvis and soft tissue."""

from CTSpectSpineLib.findings.find import find_findings

__all__ = ["find_findings"]
