"""Analyse and Cancel, progress and log."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import qt
import slicer
from slicer.i18n import tr as _

from CTSpectSpineWidgets import packages, requests
from CTSpectSpineWidgets.common import Section, colourText, enable, errorsShown

if TYPE_CHECKING:
    from CTSpectSpineLib.command_line.child import TimeLeft
    from CTSpectSpineLib.panel.request import Request
    from CTSpectSpineLib.panel.run import Run
    from CTSpectSpineLib.progress import Progress

POLL_MILLISECONDS = 100
_DONE = object()


class AnalysisSection(Section):
    """Starts analyses in a child process and follows them with a timer."""

    def setup(self) -> None:
        """Connect the widgets of the section."""
        self.run: Run | None = None
        self._whenDone: Callable[[Path], object] | None = None
        self._timeLeft: TimeLeft | None = None
        self._logged = 0
        self._ending: Iterator[None] | None = None
        self._timer = qt.QTimer()
        self._timer.setInterval(POLL_MILLISECONDS)
        self._timer.connect("timeout()", self.onTimer)
        self.ui.progressBar.visible = False
        self.ui.statusLabel.visible = False
        self.ui.applyButton.connect("clicked(bool)", self.onApplyButton)

    @property
    def running(self) -> bool:
        """Whether an analysis runs."""
        return self.run is not None

    def update(self) -> None:
        """Enable the button when it can be used; else its tooltip says what is missing."""
        button = self.ui.applyButton
        if self._ending is not None:
            button.text = _("Cancel")
            enable(button, _("The analysis is done; its results are being shown."), "")
            return
        if self.running:
            button.text = _("Cancel")
            enable(button, "", _("Stop the analysis and delete what it has written."))
            return
        button.text = _("Analyse")
        problem = self.panel.missingInput() or self.panel.patient.problem()
        enable(button, problem, _("Register, measure every joint and apply the protocol."))

    def onApplyButton(self, *_unused: object) -> None:
        """Analyse what is selected; or cancel."""
        if self.running:
            self.cancel()
            return
        with errorsShown(_("The analysis cannot start.")):
            self.startNew()

    def startNew(self) -> None:
        """Analyse what is selected, with packages installed if the user agrees."""
        packages.ensure(packages.REQUIREMENTS)
        # A path that is emptied or typed does not always tell.
        self.panel.onSettingsChanged()
        request = requests.firstRequest(self.panel)
        if request.out is not None and (request.out / "manifest.json").is_file():
            question = _(
                "{folder} holds the results of an earlier analysis. Replace them?\n\n"
                "To keep them, choose another folder under 'Results in'."
            )
            if not self.panel.ask.confirm(question.format(folder=request.out)):
                self.say(_("Not started: choose another folder under 'Results in'."))
                return
        self.start(request)

    def start(self, request: Request, whenDone: Callable[[Path], object] | None = None) -> None:
        """Start an analysis; a running one is cancelled.

        Parameters
        ----------
        request
            `CTSpectSpineLib.panel.run.Request`.
        whenDone
            Called with the folder of the results, once they are in the scene.
        """
        from CTSpectSpineLib.command_line.child import TimeLeft

        if self.running:
            self._kill()
        self.say(_("Writing the images"))
        self.ui.logText.clear()
        slicer.app.processEvents()
        try:
            self.run = self.panel.logic.startRun(request)
        except Exception as error:
            self.say(str(error), isError=True)
            raise
        self._whenDone, self._timeLeft, self._logged = whenDone, TimeLeft(), 0
        self.ui.progressBar.value = 0
        self.ui.progressBar.visible = True
        self._timer.start()
        self.panel.update()

    def cancel(self) -> None:
        """Kill the running analysis; the scene and the disk are as before."""
        if not self.running:
            return
        self._kill()
        self.say(_("Cancelled."))
        self.panel.levels.forget()
        self.panel.update()

    def onTimer(self) -> None:
        """Show what the analysis has said, and its end."""
        from CTSpectSpineLib.command_line.child import time_text

        run, timeLeft = self.run, self._timeLeft
        if run is None or timeLeft is None:
            return
        if self._ending is not None:
            self._goOn(self._ending)
            return
        messages = run.poll()
        self._log(messages, run.lines)
        if run.running:
            if messages:
                self.ui.progressBar.value = round(100 * run.fraction)
            left = timeLeft.update(run.fraction)
            text = run.message if left is None else _("{stage}, {time} left")
            self.say(text.format(stage=run.message, time=time_text(left or 0.0)))
            return
        if run.error:
            self._end()
            self.panel.levels.forget()
            self.panel.update()
            self.say(run.error, isError=True)
            slicer.util.errorDisplay(run.error)
            return
        self.say(_("Showing the results"))
        self._ending = self._endSteps(run)
        self._timer.setInterval(0)
        self.update()

    def _goOn(self, steps: Iterator[None]) -> None:
        """One step of showing the results: the window stays alive between two of them."""
        try:
            with errorsShown(_("The results cannot be shown.")):
                if next(steps, _DONE) is _DONE:
                    self._end()
                    self.panel.update()
        except Exception as error:
            self._end()
            self.panel.levels.forget()
            self.panel.update()
            self.say(str(error), isError=True)
            raise

    def _endSteps(self, run: Run) -> Iterator[None]:
        folder = yield from self.panel.logic.finishSteps(run)
        yield from self.panel.newResultsSteps()
        if self._whenDone is not None:
            self._whenDone(folder)
        self.say(self._whereItIs(run, folder))

    def _whereItIs(self, run: Run, folder: Path) -> str:
        if run.request.out is None:
            return _("Done. The results are temporary until you save them (Export).")
        return _("Done. Results in {folder}").format(folder=folder)

    def _kill(self) -> None:
        # The process first: when Slicer ends, the widgets may be gone already.
        if self.run is not None:
            self.run.cancel()
        self._end()

    def _end(self) -> None:
        ending, self._ending = self._ending, None
        if isinstance(ending, Generator):
            ending.close()
        self.run = None
        self._timer.stop()
        self._timer.setInterval(POLL_MILLISECONDS)
        self.ui.progressBar.visible = False

    def say(self, text: str, isError: bool = False) -> None:
        """Say something below the button."""
        label = self.ui.statusLabel
        if label.text != text:
            label.text = text
            label.visible = bool(text)
            colourText(label, "failed" if isError else "")

    def _log(self, messages: Sequence[Progress], lines: Sequence[str]) -> None:
        for message in messages:
            self.ui.logText.appendPlainText(f"{message.fraction:4.0%}  {message.message}")
        for line in lines[self._logged :]:
            self.ui.logText.appendPlainText(line)
        self._logged = len(lines)
