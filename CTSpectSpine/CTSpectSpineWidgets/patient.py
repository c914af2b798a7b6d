"""The patient's clinical context as a form."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from CTSpectSpineWidgets.common import QtObject, Section, enable, errorsShown, showProblem

PARAMETERS = {
    "painRegion": "pain_region",
    "vasAxial": "vas_axial",
    "painDuration": "pain_duration_years",
    "nonsurgicalTreatment": "nonsurgical_treatment_years",
    "physicalTherapy": "physical_therapy_months",
    "daysSinceSteroid": "days_since_steroid_injection",
    "radicularPain": "radicular_pain",
    "instability": "instability_mm",
    "surgeryDeclined": "surgery_declined",
    "exclusions": "exclusions",
    "spectIntolerance": "spect_intolerance",
    "age": "age_years",
    "sex": "sex",
    "bodyWeight": "body_weight_kg",
    "bodyHeight": "body_height_cm",
    "injectedDose": "injected_dose_MBq",
    "injectionTime": "injection_time",
    "scanTime": "scan_time",
}
"""Name of a parameter (and of its widget) to the key of the clinical context."""
NOT_GIVEN = "not given"
CHOICES = {
    "painRegion": [NOT_GIVEN, "cervical", "lumbar"],
    "radicularPain": [NOT_GIVEN, "yes", "no"],
    "surgeryDeclined": [NOT_GIVEN, "yes", "no"],
    "spectIntolerance": [NOT_GIVEN, "yes", "no"],
    "sex": [NOT_GIVEN, "female", "male", "other"],
}
_FILTER = _("Clinical context (*.json)")


class PatientSection(Section):
    """Reads the form, fills it from a file, saves it, and says what is wrong with it."""

    def setup(self) -> None:
        """Connect the widgets of the section."""
        self.ui.loadPatientButton.connect("clicked(bool)", self.onLoad)
        self.ui.savePatientButton.connect("clicked(bool)", self.onSave)
        self.ui.clearPatientButton.connect("clicked(bool)", self.onClear)
        self._exclusionsMenu = qt.QMenu(self.ui.exclusionsButton)
        self._exclusionsOf: str | None = None
        self._exclusions: dict[str, QtObject] = {}
        self.ui.exclusionsButton.setMenu(self._exclusionsMenu)

    def context(self) -> dict[str, Any]:
        """The clinical context; raises `InputError` that names a wrong field."""
        from CTSpectSpineLib.panel.context_form import context_from_form

        values = self.panel.chosen()
        texts = {key: getattr(values, name) for name, key in PARAMETERS.items()}
        return context_from_form(texts, values.contextExtra)

    def problem(self) -> str:
        """What is wrong with the form; empty if nothing is."""
        try:
            from CTSpectSpineLib.errors import InputError

            try:
                self.context()
            except InputError as error:
                return str(error)
        except ImportError:
            # Packages that come with the first analysis are needed to check the form.
            return ""
        return ""

    def update(self) -> None:
        """Show what is wrong."""
        showProblem(self.ui.patientProblemLabel, self.problem())
        self._offerExclusions()

    def _offerExclusions(self) -> None:
        """Offer the protocol's exclusions, checked as the text beside them says."""
        values = self.panel.chosen()
        protocol = values.protocolFile or values.protocol
        if protocol != self._exclusionsOf:
            self._fillExclusions(protocol)
        given = _listed(values.exclusions)
        for name, action in self._exclusions.items():
            action.blockSignals(True)
            action.setChecked(name in given)
            action.blockSignals(False)

    def _fillExclusions(self, protocol: str) -> None:
        missing = _("This protocol names no exclusions.")
        try:
            from CTSpectSpineLib.errors import InputError
            from CTSpectSpineLib.triage_protocol import load_protocol

            try:
                offered = dict(load_protocol(protocol).exclusions)
            except InputError as error:
                offered, missing = {}, str(error)
            self._exclusionsOf = protocol
        except ImportError:
            # Packages that come with the first analysis are needed to read the protocol.
            offered = {}
        self._exclusions = {}
        self._exclusionsMenu.clear()
        for name, text in offered.items():
            action = qt.QAction(text, self._exclusionsMenu)
            action.setCheckable(True)
            action.connect("toggled(bool)", self._exclusionSlot(name))
            self._exclusionsMenu.addAction(action)
            self._exclusions[name] = action
        tip = _("Choose from the protocol's exclusions.")
        enable(self.ui.exclusionsButton, "" if offered else missing, tip)

    def _exclusionSlot(self, name: str) -> Callable[[bool], None]:
        def onExclusion(checked: bool) -> None:
            values = self.panel.chosen()
            names = [other for other in _listed(values.exclusions) if other != name]
            values.exclusions = ", ".join([*names, name] if checked else names)

        return onExclusion

    def fill(self, context: Mapping[str, Any]) -> None:
        """Fill the form from a clinical context."""
        from CTSpectSpineLib.panel.context_form import form_from_context

        texts, extra = form_from_context(context)
        values = self.panel.chosen()
        for name, key in PARAMETERS.items():
            setattr(values, name, texts[key] or (NOT_GIVEN if name in CHOICES else ""))
        values.contextExtra = extra

    def onLoad(self, *_unused: object) -> None:
        """Fill the form from a file."""
        path = self.panel.ask.openFile(_("Clinical context"), _FILTER)
        if path:
            with errorsShown(_("The clinical context cannot be used.")):
                from CTSpectSpineLib.triage_protocol import read_context

                self.fill(read_context(Path(path)))

    def onSave(self, *_unused: object) -> None:
        """Save the form as a file."""
        path = self.panel.ask.saveFile(_("Clinical context"), _FILTER, "patient.json")
        if path:
            with errorsShown(_("The clinical context cannot be saved.")):
                text = json.dumps(self.context(), indent=2) + "\n"
                Path(path).write_text(text, encoding="utf-8")

    def onClear(self, *_unused: object) -> None:
        """Empty the form."""
        self.fill({})


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


class Ask:
    """Asks for files and folders, and opens files; replaced in tests."""

    def openFile(self, title: str, nameFilter: str) -> str:
        """Path of an existing file; empty if the user cancels."""
        return qt.QFileDialog.getOpenFileName(None, title, "", nameFilter)

    def saveFile(self, title: str, nameFilter: str, name: str) -> str:
        """Path of a file to write; empty if the user cancels."""
        return qt.QFileDialog.getSaveFileName(None, title, name, nameFilter)

    def folder(self, title: str) -> str:
        """Path of a folder; empty if the user cancels."""
        return qt.QFileDialog.getExistingDirectory(None, title)

    def confirm(self, question: str) -> bool:
        """Whether the user says yes."""
        return bool(slicer.util.confirmYesNoDisplay(question))

    def show(self, path: Path) -> None:
        """Open a file in the program that the user has for it."""
        qt.QDesktopServices.openUrl(qt.QUrl.fromLocalFile(str(path)))
