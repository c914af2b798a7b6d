"""The table of signs on the CT, and their words."""

from __future__ import annotations

import math

import pytest

from CTSpectSpineLib.ct_sign import COLUMNS, CtSigns, from_csv, to_csv

DISC = CtSigns(
    "L4-L5 disc", "L4-L5", "disc", "", height_mm=6.04, height_ratio=0.55, narrowed="moderate",
    gas_mm3=320.0, gas_share=0.04, gas="yes", sclerosis_upper="no", sclerosis_lower="focal",
)  # fmt: skip
FACET = CtSigns(
    "L4-L5 facet left", "L4-L5", "facet", "left", space_mm=1.2, narrowed="yes", gas="no"
)
LOST = CtSigns("L5-S1 disc", "L5-S1", "disc", "", "not_measurable", 'there is metal, "screws"')


def test_the_table_comes_back_as_it_was() -> None:
    text = to_csv([DISC, FACET, LOST])
    assert text.splitlines()[0] == ",".join(COLUMNS)
    assert text.endswith("\r\n")
    found = from_csv(text)
    assert list(found) == [DISC.joint, FACET.joint, LOST.joint]
    for before in (DISC, FACET, LOST):
        for name in COLUMNS:
            a, b = getattr(before, name), getattr(found[before.joint], name)
            assert a == b or (math.isnan(a) and math.isnan(b)), name
    assert from_csv(to_csv([])) == {}


@pytest.mark.parametrize(
    "text", ["", "joint,level\r\na,b\r\n", to_csv([DISC]).replace("6.040", "6,4")]
)
def test_another_table_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"missing|could not convert"):
        from_csv(text)


def test_signs_are_told_in_words() -> None:
    assert DISC.signs == (
        "6.0 mm high, 55 % of its neighbours (moderately narrowed)",
        "gas 320 mm³ (4 %)",
        "focal sclerosis of the endplate of L5",
    )
    assert DISC.values == DISC.signs
    assert FACET.signs == ("joint space 1.2 mm (narrowed)",)
    assert FACET.values == ("joint space 1.2 mm (narrowed)", "no gas")
    assert LOST.signs == LOST.values == ()
