"""Makes the environment in which the tests run TotalSegmentator, and prints its Python.

``python .ci/totalsegmentator_environment.py FOLDER``. TotalSegmentator pins packages that do not
fit those of this project, so it never enters the project's own environment. torch comes in its
CPU build where the package index at hand has one, for it is a tenth of the size; otherwise in the
build that the index gives. A folder that holds the environment already is kept.
"""

import shutil
import subprocess
import sys
from pathlib import Path

PACKAGE = "TotalSegmentator==2.18.0"
CPU_TORCH = "torch==2.13.0+cpu"
PYTHONS = ("python3.11", "python3.12", "python3.10", "python3.13", sys.executable)
_CHECK = "from totalsegmentator import python_api, nnunet; import timm"
_HOOK = Path(__file__).with_name("torchvision_for_cpu.py")


def _run(*command: str | Path) -> bool:
    done = subprocess.run([str(c) for c in command], stdout=sys.stderr, check=False)
    return done.returncode == 0


def _program(folder: Path) -> Path:
    return folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def _make(base: str, folder: Path, torch: str) -> bool:
    """A fresh environment with torch in this build; False where the index has none."""
    shutil.rmtree(folder, ignore_errors=True)
    python = _program(folder)
    if not _run(base, "-m", "venv", folder) or not _run(
        python, "-m", "pip", "install", "--quiet", "--no-deps", torch
    ):
        return False
    if not _run(python, "-m", "pip", "install", "--quiet", PACKAGE, torch):
        return False
    packages = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    shutil.copy(_HOOK, packages)
    (Path(packages) / f"{_HOOK.stem}.pth").write_text(f"import {_HOOK.stem}\n", encoding="utf-8")
    return True


def main(folder: Path) -> int:
    """Make the environment unless it is there."""
    done = folder / "complete"
    if not (done.is_file() and _run(_program(folder), "-c", _CHECK)):
        pythons = [p for name in PYTHONS if (p := shutil.which(name))]
        tries = [(p, CPU_TORCH) for p in pythons] + [(pythons[0], "torch")]
        made = any(_make(python, folder, torch) for python, torch in tries)
        if not made or not _run(_program(folder), "-c", _CHECK):
            print("The environment with TotalSegmentator could not be made.", file=sys.stderr)
            return 1
        done.touch()
    print(_program(folder).absolute())
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
