"""TotalSegmentator as an engine."""

from __future__ import annotations
