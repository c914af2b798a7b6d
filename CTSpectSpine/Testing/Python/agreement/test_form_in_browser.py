"""The reader form in headless Chromium: read, saved, opened again, and taken by ``agreement``."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from report_browser import browser, measure
from results_case import PLACES, drawn_ratio, joint_name, write_results

from CTSpectSpineLib.agreement.readings import read_readings
from CTSpectSpineLib.cohort.reader import read_joints
from CTSpectSpineLib.command_line.main import main

pytestmark = pytest.mark.slow

_WATCH = """
window.wrong = [];
addEventListener("error", (event) => wrong.push(event.message));
for (const name of ["error", "warn"]) console[name] = (...words) => wrong.push(words.join(" "));
URL.createObjectURL = (blob) => { window.kept = blob; return "#"; };
HTMLAnchorElement.prototype.click = function () { window.named = this.download; };
"""
_READ = """(async () => {
  const pick = (place, value) =>
    document.querySelector(`input[name=grade-${place}][value=${value}]`).click();
  document.getElementById("save").click();
  const refused = document.getElementById("message").textContent;
  document.getElementById("reader").value = 'Ann "A", MD';
  pick(0, "positive"); pick(1, "indeterminate"); pick(1, "not_measurable");
  document.getElementById("rest").click();
  document.getElementById("next").click();
  pick(4, "positive");
  document.getElementById("save").click();
  const text = await kept.text();
  return { wrong, refused, named, text, done: document.getElementById("done").textContent };
})()"""
_OPEN = """(async () => {
  const input = document.getElementById("load");
  const files = new DataTransfer();
  files.items.add(new File([SAVED], "reading.csv", { type: "text/csv" }));
  input.files = files.files;
  input.dispatchEvent(new Event("change"));
  await new Promise((done) => setTimeout(done, 200));
  const message = document.getElementById("message").textContent;
  document.getElementById("save").click();
  return { wrong, message, text: await kept.text() };
})()"""


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_results(tmp_path_factory.mktemp("results"), 3, drawn_ratio(1))


@pytest.fixture(scope="module")
def page(results: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("form") / "form.html"
    assert main(["reader-form", str(results), "--out", str(path)]) == 0
    return path


def test_a_reading_is_saved_opened_again_and_compared(
    page: Path, results: Path, tmp_path: Path
) -> None:
    found = measure(page, 1000, 900, _READ, _WATCH)
    assert found["wrong"] == []
    assert found["refused"] == "Give the name or a number of the reader first."
    assert found["named"] == "reading-Ann-A-MD.csv"
    assert found["done"] == "1 of 9 joints; 1 of 3 patients done"
    saved = tmp_path / "reading.csv"
    saved.write_bytes(found["text"].encode("utf-8"))
    (reading,) = read_readings(saved, read_joints(results))
    assert reading.reader == 'Ann "A", MD'
    assert len(reading.grades) == len(PLACES) + 1
    names = [joint_name(*place) for place in PLACES]
    assert reading.grades["p00", names[0]] == "positive"
    assert reading.grades["p00", names[1]] == "not_measurable"
    assert reading.grades["p00", names[2]] == "negative"
    assert reading.grades["p01", names[4]] == "positive"
    again = measure(page, 1000, 900, _OPEN.replace("SAVED", json.dumps(found["text"])), _WATCH)
    assert again["wrong"] == []
    assert again["message"] == "10 grades were read."
    assert again["text"] == found["text"]
    words = ["agreement", "--reader", saved, "--results", results, "--out", tmp_path / "out"]
    assert main(list(map(str, words))) == 0


def test_no_console_error_from_disk(page: Path, tmp_path: Path) -> None:
    """As it is, with its policy for scripts and styles."""
    done = subprocess.run(
        [str(browser()), "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr",
         f"--user-data-dir={tmp_path}", "--dump-dom", page.as_uri()],
        capture_output=True, check=True, timeout=240,
    )  # fmt: skip
    told = [line for line in done.stderr.decode().splitlines() if "CONSOLE" in line]
    assert told == []
    assert "Patient p00" in done.stdout.decode("utf-8")
    assert done.stdout.decode("utf-8").count('type="radio"') == 4 * len(PLACES)


@pytest.mark.parametrize("width", [360, 1000])
def test_the_form_fits_its_window(page: Path, width: int) -> None:
    wide = "document.documentElement.scrollWidth"
    assert measure(page, width, 800, wide) <= width
