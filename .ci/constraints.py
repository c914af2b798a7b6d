"""Writes ``constraints.txt``: the versions that a release is built, tested and audited with.

    python .ci/constraints.py

Resolves the dependencies of ``pyproject.toml`` for every supported version of Python, from wheels.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:  # pragma: no cover
    sys.exit("run it with Python 3.11 or newer")

ROOT = Path(__file__).resolve().parents[1]
VERSIONS = ("3.10", "3.11", "3.12", "3.13")
HEADING = """\
# Versions that a release is built, tested and audited with; made by .ci/constraints.py.
# pip install --constraint constraints.txt .
"""


def resolved(dependencies: list[str], version: str) -> dict[str, str]:
    """Name of each package that would be installed to its version."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run"]
        command += ["--ignore-installed", "--only-binary=:all:", "--python-version", version]
        command += ["--target", folder, "--report", str(report), *dependencies]
        subprocess.run(command, check=True)
        found = json.loads(report.read_text(encoding="utf-8"))["install"]
    return {
        item["metadata"]["name"].lower().replace("_", "-"): item["metadata"]["version"]
        for item in found
    }


def lines(found: dict[str, dict[str, str]]) -> list[str]:
    """Lines of the file from Python's versions to the packages of each."""
    names = sorted({name for packages in found.values() for name in packages})
    written = []
    for name in names:
        wanted = {version: packages.get(name) for version, packages in found.items()}
        if len(set(wanted.values())) == 1:
            written.append(f"{name}=={wanted[VERSIONS[0]]}")
            continue
        written += [
            f'{name}=={number} ; python_version == "{version}"'
            for version, number in wanted.items()
            if number is not None
        ]
    return written


def main() -> None:
    """Resolve and write."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    found = {version: resolved(project["dependencies"], version) for version in VERSIONS}
    text = HEADING + "\n".join(lines(found)) + "\n"
    (ROOT / "constraints.txt").write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
