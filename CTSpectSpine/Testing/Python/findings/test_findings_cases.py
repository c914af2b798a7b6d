"""All cases with uptake outside the joints, as the benchmark measures them."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.findings import measure
from CTSpectSpineLib.phantom.lesions import lesion_cases


@pytest.mark.slow
def test_no_case_is_negative_without_its_focus_in_the_headline() -> None:
    rows = list(measure.cases())
    assert len(rows) == len(lesion_cases()) >= 25
    assert not [row.name for row in rows if row.disposition == "negative" and not row.named]
    assert not [row.name for row in rows if row.found < row.foci]
    assert not [row.name for row in rows if row.false]


@pytest.mark.slow
def test_cases_in_a_real_ct(shared_data: Path) -> None:
    rows = list(measure.real(shared_data))
    assert len(rows) == 1 + len(measure.REAL)
    assert not [row.name for row in rows if row.found < row.foci or not row.named]
    assert rows[0].false == 0
