"""Run the worked example of docs/usage.md and write what it prints into the page.

    python docs/worked_example.py [--data DIR]

It needs the real CT (see docs/developer.md). A slow test compares the page with what is printed.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import re
import shlex
import shutil
import tempfile
from pathlib import Path

from CTSpectSpineLib.command_line.main import main as ctspectspine

PAGE = Path(__file__).with_name("usage.md")
DATA = PAGE.parents[2] / "shared" / "data"
INPUTS = ("ct.nii.gz", "vertebrae_total.nii.gz")
_EXAMPLE = re.compile(
    r"## Worked example on a real CT\n.*?```bash\n(?P<commands>.*?)```.*?```\n(?P<printed>.*?)```",
    re.DOTALL,
)


def commands(page: str) -> list[list[str]]:
    """The commands of the example, as words."""
    found = _EXAMPLE.search(page)
    assert found is not None, "the page has no worked example"
    text = found["commands"].replace("\\\n", " ")
    return [shlex.split(line) for line in text.splitlines() if line.strip()]


def printed(page: str) -> str:
    """What the page says that they print."""
    found = _EXAMPLE.search(page)
    assert found is not None, "the page has no worked example"
    return found["printed"]


def run(page: str, data: Path) -> str:
    """Run the commands of the page and give all that they print."""
    said = io.StringIO()
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        for name in INPUTS:
            shutil.copy(data / "totalsegmentator_example" / name, folder)
        os.chdir(folder)
        try:
            for program, *words in commands(page):
                assert program == "ctspectspine"
                with contextlib.redirect_stdout(said):
                    code = ctspectspine([*words, "--progress", "none"])
                assert code == 0, words
        finally:
            os.chdir(before)
    return said.getvalue()


def lines_for(block: str, output: str) -> str:
    """The lines of a block as the output has them: those that begin with the same words."""
    lines = output.splitlines()
    chosen = []
    for line in block.splitlines():
        start = re.split(r"  |: ", line)[0]
        chosen.append(next((found for found in lines if line and found.startswith(start)), ""))
    return "".join(f"{line}\n" for line in chosen)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA, help="folder with the real CT")
    page = PAGE.read_text(encoding="utf-8")
    block = printed(page)
    fresh = lines_for(block, run(page, parser.parse_args().data))
    PAGE.write_text(page.replace(block, fresh), encoding="utf-8", newline="\n")
    print(fresh)


if __name__ == "__main__":
    main()
