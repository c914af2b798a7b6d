"""Signs of degeneration on the CT, joint by joint, without the SPECT."""

from CTSpectSpineLib.ct_signs.measure import measure_ct_signs

__all__ = ["measure_ct_signs"]
