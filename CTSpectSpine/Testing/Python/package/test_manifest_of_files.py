"""What Slicer ships is what the CMake files list, and the extension's descriptions agree.

Run as a program, it writes the lists of the module's CMake file anew.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

MODULE = Path(__file__).resolve().parents[3]
ROOT = MODULE.parent
SHIPPED_FOLDERS = ("CTSpectSpineLib", "CTSpectSpineWidgets", "Resources")
NOT_SHIPPED = ("__pycache__", ".mypy_cache", ".ruff_cache")


VARIABLES = ("MODULE_PYTHON_SCRIPTS", "MODULE_PYTHON_RESOURCES")


def pattern(variable: str) -> str:
    return rf"(?<=set\({variable}\n)(.*?)(?=\n  \))"


def listed(variable: str) -> list[str]:
    text = (MODULE / "CMakeLists.txt").read_text(encoding="utf-8")
    match = re.search(pattern(variable), text, re.DOTALL)
    assert match is not None, f"CMakeLists.txt sets no {variable}"
    return [line.strip() for line in match[1].splitlines()]


def write_lists() -> None:
    path = MODULE / "CMakeLists.txt"
    text = path.read_text(encoding="utf-8")
    for variable, names in zip(VARIABLES, present(), strict=True):
        lines = "\n".join(f"  {name}" for name in names)
        text = re.sub(pattern(variable), lines, text, flags=re.DOTALL)
    path.write_text(text, encoding="utf-8", newline="\n")


def present() -> tuple[list[str], list[str]]:
    """Paths of the scripts and of the other files that belong to the module."""
    files = {MODULE / "CTSpectSpine.py"}
    for folder in SHIPPED_FOLDERS:
        files |= {f for f in (MODULE / folder).rglob("*") if f.is_file()}
    names = sorted(
        file.relative_to(MODULE).as_posix()
        for file in files
        if not set(NOT_SHIPPED) & set(file.parts) and not file.name.startswith(".")
    )
    scripts = [name for name in names if name.endswith(".py")]
    return scripts, [name for name in names if name not in scripts]


@pytest.mark.parametrize(("variable", "index"), zip(VARIABLES, (0, 1), strict=True))
def test_every_file_is_listed_and_every_listed_file_exists(variable: str, index: int) -> None:
    there, names = present()[index], listed(variable)
    missing = [f"  {name}" for name in there if name not in names]
    gone = [f"  {name}" for name in names if name not in there]
    where = f"{variable} in CTSpectSpine/CMakeLists.txt (python {Path(__file__).name} does it):"
    assert not missing, "\n".join([f"add to {where}", *missing])
    assert not gone, "\n".join([f"remove from {where}", *gone])
    assert names == sorted(names), f"sort {where}"


def test_package_for_pip_ships_the_same_data_files() -> None:
    suffixes = {Path(name).suffix for name in present()[1] if name.startswith("CTSpectSpineLib/")}
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    globs = re.search(r'"\*" = \[(.*?)\]', text)
    assert globs is not None
    assert suffixes <= set(re.findall(r'"\*(\.\w+)"', globs[1]))


def test_registered_slicer_tests_exist() -> None:
    text = (MODULE / "Testing" / "Python" / "CMakeLists.txt").read_text(encoding="utf-8")
    scripts = re.findall(r"SCRIPT (\S+\.py)", text)
    assert scripts
    for script in scripts:
        assert (MODULE / "Testing" / "Python" / script).is_file(), script


def s4ext() -> dict[str, str]:
    lines = (ROOT / "CTSpectSpine.s4ext").read_text(encoding="utf-8").splitlines()
    pairs = (line.split(" ", 1) for line in lines if line and not line.startswith("#"))
    return {pair[0]: pair[1] if len(pair) > 1 else "" for pair in pairs}


def cmake_metadata() -> dict[str, str]:
    text = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    return dict(re.findall(r'^set\(EXTENSION_(\w+) "(.*)"\)', text, re.MULTILINE))


def test_descriptions_of_the_extension_agree() -> None:
    index = json.loads((ROOT / "CTSpectSpine.json").read_text(encoding="utf-8"))
    older, cmake = s4ext(), cmake_metadata()
    assert index["category"] == older["category"] == cmake["CATEGORY"] == "Nuclear Medicine"
    assert index["scm_url"] == older["scmurl"]
    assert index["scm_revision"] == older["scmrevision"]
    assert older["depends"] == "NA"
    assert index["build_dependencies"] == []
    for key in ("homepage", "contributors", "iconurl", "screenshoturls", "description", "status"):
        assert older[key] == cmake[key.upper()], key
    assert "research use only" in cmake["DESCRIPTION"]
    icon = cmake["ICONURL"].split("/main/")[1]
    assert (ROOT / icon).is_file(), icon


def test_index_entry_follows_the_schema() -> None:
    # Slicer's slicer-extension-catalog-entry-schema-v1.0.2.json, in words.
    index = json.loads((ROOT / "CTSpectSpine.json").read_text(encoding="utf-8"))
    types = {
        "$schema": str,
        "category": str,
        "scm_url": str,
        "scm_revision": str,
        "scm_type": str,
        "build_dependencies": list,
        "dicom_support_rule": str,
        "build_subdirectory": str,
        "enabled": bool,
        "tier": int,
    }
    assert set(index) <= set(types)
    assert {"$schema", "category", "scm_url"} <= set(index)
    assert index["$schema"].endswith("slicer-extension-catalog-entry-schema-v1.0.2.json#")
    assert all(isinstance(value, types[key]) for key, value in index.items())
    assert 1 <= index["tier"] <= 5


def test_required_files_stand_in_the_root_with_unix_line_ends() -> None:
    for name in ("CMakeLists.txt", "CTSpectSpine.s4ext", "LICENSE", "README.md"):
        assert (ROOT / name).is_file(), name
    text_files = [MODULE / name for names in present() for name in names]
    for file in [*text_files, *ROOT.glob("*.*")]:
        if file.is_file() and file.suffix not in (".png", ".gz", ".onnx"):
            assert b"\r\n" not in file.read_bytes(), file


def test_requirements_name_lowest_versions_only() -> None:
    files = sorted((MODULE / "Resources").glob("requirements*.txt"))
    lines = [line for file in files for line in file.read_text(encoding="utf-8").splitlines()]
    wanted = [line for line in lines if line and not line.startswith("#")]
    assert len(wanted) > len(files) > 1
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for line in wanted:
        assert re.fullmatch(r"[\w-]+>=[\d.]+", line), line
        assert f'"{line}"' in project, f"{line} is not what pyproject.toml asks for"
    for bundled in ("numpy", "scipy", "SimpleITK", "torch", "pydicom"):
        assert not any(line.lower().startswith(bundled.lower()) for line in wanted)


if __name__ == "__main__":
    write_lists()
