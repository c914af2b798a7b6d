"""The page of a results folder as PDF, printed by a browser that the computer has."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.files import replacing
from CTSpectSpineLib.processes import end_tree, own_group

BROWSER = "CTSPECTSPINE_BROWSER"
"""Environment variable that names the browser to print with."""
PDF = "report.pdf"
_NAMES = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
    "msedge",
    "microsoft-edge",
    "microsoft-edge-stable",
)
_APPLICATIONS: Mapping[str, tuple[str, ...]] = {
    "darwin": (
        "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
        "/Applications/Microsoft Edge.app/Contents/MacOS/Microsoft Edge",
        "/Applications/Chromium.app/Contents/MacOS/Chromium",
    ),
    "win32": (
        r"C:\Program Files\Google\Chrome\Application\chrome.exe",
        r"C:\Program Files (x86)\Microsoft\Edge\Application\msedge.exe",
        r"C:\Program Files\Microsoft\Edge\Application\msedge.exe",
        r"C:\Program Files (x86)\Google\Chrome\Application\chrome.exe",
    ),
}
_QUIET = (
    "--headless",
    "--disable-gpu",
    "--disable-extensions",
    "--disable-sync",
    "--disable-component-update",
    "--disable-background-networking",
    "--disable-domain-reliability",
    "--no-first-run",
    "--no-default-browser-check",
    # The page needs no network; nothing else may use it meanwhile.
    "--host-resolver-rules=MAP * ~NOTFOUND",
)
_SECONDS = 120.0
"""Longest time for printing. Judgement: 30 times what it takes on a busy computer of two cores."""


def find_browser() -> Path:
    """The browser that prints: that of `BROWSER`, else the first one found.

    Raises
    ------
    InputError
        If there is none.
    """
    named = os.environ.get(BROWSER, "")
    if named:
        found = shutil.which(named)
        if found is None:
            raise InputError(
                f"The browser {named!r}, which the environment variable {BROWSER} names, is not "
                "there; correct it or unset it."
            )
        return Path(found)
    for name in _NAMES:
        found = shutil.which(name)
        if found is not None:
            return Path(found)
    for place in _APPLICATIONS.get(sys.platform, ()):
        if Path(place).is_file():
            return Path(place)
    raise InputError(
        "No browser was found that can print a PDF; install Chromium, Google Chrome or Microsoft "
        f"Edge (version 131 or newer), name one in the environment variable {BROWSER}, or open "
        "report.html in any browser and print it."
    )


def write_pdf(page: Path) -> Path:
    """Print a page into `PDF` beside it; nothing is sent anywhere.

    Parameters
    ----------
    page
        ``report.html``.

    Returns
    -------
    Path
        The PDF: A4, with page numbers and the line that says what the report is for.

    Raises
    ------
    InputError
        If no browser is there, or the one found prints no PDF.
    """
    browser = find_browser()
    target = page.with_name(PDF)
    with (
        replacing(target) as temporary,
        tempfile.TemporaryDirectory(
            prefix="ctspectspine-browser-", ignore_cleanup_errors=True
        ) as profile,
    ):
        arguments = [
            str(browser),
            *_QUIET,
            *_sandbox(),
            f"--user-data-dir={profile}",
            "--no-pdf-header-footer",
            f"--print-to-pdf={temporary.resolve()}",
            page.resolve().as_uri(),
        ]
        said = _run(arguments, browser)
        if not temporary.is_file() or not temporary.read_bytes().startswith(b"%PDF-"):
            last = said.strip().splitlines()[-1:] or ["it said nothing"]
            raise InputError(
                f"{browser} printed no PDF of {page} ({last[0]}); name another browser in the "
                f"environment variable {BROWSER}, or print the page from a browser."
            )
    return target


def _run(arguments: list[str], browser: Path) -> str:
    """Run the browser to its end; what it said on standard error."""
    try:
        process = subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            **own_group(),
        )
    except OSError as error:
        raise InputError(
            f"{browser} cannot be started ({error.strerror}); name another browser in the "
            f"environment variable {BROWSER}."
        ) from error
    try:
        _, said = process.communicate(timeout=_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise InputError(
            f"{browser} did not print within {_SECONDS:.0f} s; close other programs and try again, "
            "or print report.html from a browser."
        ) from error
    finally:
        if process.poll() is None:
            end_tree(process)
    return bytes(said or b"").decode("utf-8", "replace")


def _sandbox() -> tuple[str, ...]:
    """Chromium refuses to start for the administrator of a Linux system unless told so."""
    root = sys.platform.startswith("linux") and os.geteuid() == 0
    return ("--no-sandbox",) if root else ()
