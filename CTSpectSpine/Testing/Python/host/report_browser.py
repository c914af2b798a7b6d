"""A page of the report in headless Chromium, without a driver: measured by a script put into it.

``CTSPECTSPINE_TEST_AXE`` names axe-core's ``axe.min.js`` (npm package ``axe-core``), as ``.ci/run``
sets it. Where it is not set, or no browser is there, the tests that need them are skipped with a
message; in continuous integration they fail.
"""

from __future__ import annotations

import html
import json
import os
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any, NoReturn

import pytest

from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.report.pdf import find_browser

PROMISED_AXE = "CTSPECTSPINE_TEST_AXE"
_POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')
_RESULT = re.compile(r'<pre id="measured">(.*?)</pre>', re.DOTALL)


def absent(what: str) -> NoReturn:
    """Skip the test where something is missing on a developer's computer; fail it in CI."""
    if os.environ.get("CI"):
        pytest.fail(f"{what}, although .ci/run installs it")
    pytest.skip(what)


def browser() -> Path:
    try:
        return find_browser()
    except InputError:
        absent("no Chromium, Chrome or Edge is there to show the report in")


def axe() -> str:
    """axe-core as a script."""
    path = os.environ.get(PROMISED_AXE, "")
    if not path:
        absent(f"axe-core is not there; {PROMISED_AXE} must name its axe.min.js")
    return Path(path).read_text(encoding="utf-8")


def measure(page: Path, width: int, height: int, result: str, script: str = "") -> Any:
    """What a page gives in a window of this size.

    Parameters
    ----------
    page
        The page; a copy of it without its ban on scripts is shown.
    width, height
        Size of the window in CSS pixels; the page lies in a frame, since no window of Chromium is
        narrower than 500.
    result
        A JavaScript expression, or promise, of JSON values.
    script
        Put in before.
    """
    text = _POLICY.sub("", page.read_text(encoding="utf-8"))
    tell = (
        f"Promise.resolve({result}).then(value => parent.postMessage(JSON.stringify(value), '*'),"
        " error => parent.postMessage(JSON.stringify({failed: String(error)}), '*'))"
    )
    added = "".join(
        f"<script>{part.replace('</script', '<' + chr(92) + '/script')}</script>"
        for part in (script, tell)
        if part
    )
    framed = html.escape(text.replace("</body>", f"{added}</body>"))
    outer = (
        "<!DOCTYPE html><html><body style='margin:0'><script>addEventListener('message', event => {"
        "const told = document.createElement('pre'); told.id = 'measured';"
        "told.textContent = event.data; document.body.appendChild(told)})</script>"
        f"<iframe style='border:0' width={width} height={height} srcdoc=\"{framed}\"></iframe>"
        "</body></html>"
    )
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        shown = Path(folder) / "outer.html"
        shown.write_text(outer, encoding="utf-8")
        done = subprocess.run(
            [str(browser()), "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
             f"--user-data-dir={folder}/profile", f"--window-size={max(width, 500)},{height}",
             "--virtual-time-budget=120000", "--dump-dom", shown.as_uri()],
            capture_output=True, check=True, timeout=240,
        )  # fmt: skip
    found = _RESULT.search(done.stdout.decode("utf-8"))
    assert found is not None, "the browser gave no result"
    return json.loads(html.unescape(found[1]))
