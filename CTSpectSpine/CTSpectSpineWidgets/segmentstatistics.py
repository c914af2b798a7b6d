"""Uptake in Slicer's Segment Statistics, with the numbers of the joint table."""

from __future__ import annotations

import logging
from typing import Any

import slicer
from slicer.i18n import tr as _

_NAMES = {
    "mean": (_("Uptake mean"), _("mean, each voxel weighted by the share that is covered")),
    "max": (_("Uptake maximum"), _("highest value between voxel centres")),
    "peak": (_("Uptake peak"), _("mean of the hottest sphere of 12 mm")),
}
_OF = {
    "": ("", ""),
    "ratio_": (_(" / reference"), _("in multiples of the reference bone of the analysis")),
    "suv_": (_(" SUV"), _("standardised uptake value (body weight), as the analysis has it")),
}
_DERIVATIONS = {
    "mean": ("373098007", "SCT", "Mean"),
    "max": ("56851009", "SCT", "Maximum"),
    "peak": ("126031", "DCM", "Peak Value Within ROI"),
}
"""Measure to its code. Standard: DICOM PS3.16, CID 7464."""
_SUV_UNIT = ("g/ml", "UCUM", "Standardized Uptake Value body weight")
_RATIO_UNIT = ("1", "UCUM", "no units")


def register() -> None:
    """Offer the plugin to the Segment Statistics module, where there is one."""
    try:
        from SegmentStatistics import SegmentStatisticsLogic
        from SegmentStatisticsPlugins import SegmentStatisticsPluginBase
    except ImportError:
        logging.info("There is no Segment Statistics module: uptake is not offered there")
        return
    kind = makePlugin(SegmentStatisticsPluginBase)
    known = [plugin.__name__ for plugin in SegmentStatisticsLogic.registeredPlugins]
    if kind.__name__ not in known:
        SegmentStatisticsLogic.registerPlugin(kind())


def makePlugin(base: type) -> type:
    """The plugin's class.

    Parameters
    ----------
    base
        ``SegmentStatisticsPluginBase`` of Slicer.
    """

    class CTSpectSpineUptakePlugin(base):
        """Mean, maximum and peak of a segment on a SPECT or PET."""

        def __init__(self) -> None:
            super().__init__()
            self.name = _("Uptake (CT SPECT Spine)")
            self.keys = [f"{prefix}{name}" for prefix in _OF for name in _NAMES] + ["coverage"]
            self.defaultKeys = self.keys

        def computeStatistics(self, segmentID: str) -> dict[str, float]:
            """What was asked for of one segment."""
            from CTSpectSpineLib.scene.statistics import segment_uptake

            node = self.getParameterNode()
            found = [
                slicer.mrmlScene.GetNodeByID(node.GetParameter(name) or "")
                for name in ("Segmentation", "ScalarVolume")
            ]
            wanted = self.getRequestedKeys()
            if not wanted or None in found:
                return {}
            values = segment_uptake(found[0], segmentID, found[1])
            return {key: values[key] for key in wanted if key in values}

        def getMeasurementInfo(self, key: str) -> dict[str, Any] | None:
            """Name, unit and codes of a measurement."""
            if key == "coverage":
                words = _("share of the segment inside the volume")
                return _info(_("Uptake coverage"), words, _RATIO_UNIT[2])
            prefix, _separator, name = key.rpartition("_")
            prefix = f"{prefix}_" if prefix else ""
            if key not in self.keys:
                return None
            title, words = _NAMES[name]
            ending, more = _OF[prefix]
            unit, meaning = self._unit(prefix)
            info = _info(f"{title}{ending}", ", ".join(filter(None, (words, more))), meaning)
            if unit:
                info["DICOM.UnitsCode"] = unit
            info["DICOM.DerivationCode"] = self.createCodedEntry(*_DERIVATIONS[name], True)
            return info

        def _unit(self, prefix: str) -> tuple[str, str]:
            """Code and meaning of the unit of a kind of measurement."""
            if prefix:
                unit = _SUV_UNIT if prefix == "suv_" else _RATIO_UNIT
                return self.createCodedEntry(*unit, True), unit[2]
            node = self.getParameterNode()
            volume = slicer.mrmlScene.GetNodeByID(
                (node.GetParameter("ScalarVolume") if node else "") or ""
            )
            entry = volume.GetVoxelValueUnits() if volume is not None else None
            return ("", "") if entry is None else (entry.GetAsString(), entry.GetCodeMeaning())

    return CTSpectSpineUptakePlugin


def _info(name: str, description: str, units: str) -> dict[str, Any]:
    """Information on a measurement; the arguments of Slicer's own helper differ by version."""
    return {"name": name, "title": name, "description": description, "units": units}
