"""The rules of the layout, read from the imports: who may know whom, and who may know Slicer.

A room may import what stands in the layers below its own; `test_rooms_know_only_lower_layers`
says which arrow breaks that.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

MODULE = Path(__file__).resolve().parents[3]
LIBRARY = MODULE / "CTSpectSpineLib"
NAME = LIBRARY.name

LAYERS: tuple[frozenset[str], ...] = (
    frozenset(
        {"anatomy", "ct_sign", "display", "errors", "files", "finding", "geometry", "hot_metal"}
    )
    | frozenset({"joint_columns", "processes", "progress", "protocol_files", "spreadsheet"})
    | frozenset({"version", "wording"}),
    frozenset({"cell_table", "host", "locks", "posture", "reconstruction", "statistics"}),
    frozenset({"calibration_file", "model", "study_pages", "terminology"}),
    frozenset({"joint_table", "uptake_bounds"}),
    frozenset({"headline"}),
    frozenset({"joints", "registration", "volumes"}),
    frozenset({"ct_signs", "findings", "labelling", "triage_protocol", "uptake"}),
    frozenset({"results"}),
    frozenset({"calibration", "dicom_export", "phantom", "report"}),
    frozenset({"scene"}),
    frozenset({"analysis"}),
    frozenset({"cohort", "validation"}),
    frozenset({"agreement", "diagnostic", "outcomes"}),
    frozenset({"command_line"}),
    frozenset({"panel", "cli", "__main__", "__init__"}),
)
"""Rooms and files of the library, the lowest layer first; none imports another of its layer."""
STAGES = frozenset(
    {"volumes", "registration", "labelling", "joints", "uptake", "findings", "triage_protocol"}
    | {"ct_signs"}
)
"""The rooms that compute; each is entered by plain values and knows no other."""
READS_VOLUMES = frozenset({"labelling"})
"""Stages that may read files themselves."""
SLICER, QT = frozenset({"slicer", "vtk", "vtkmodules"}), frozenset({"qt", "ctk"})
HEAVY = ("numpy", "pandas", "scipy", "SimpleITK", "nibabel", "pydicom", "matplotlib", "slicer")
MOST_LINES = 400
"""A longer file is usually two rooms."""


@dataclass(frozen=True)
class Import:
    """One import of a file: the file, the module it names, and the line."""

    file: Path
    module: str
    line: int

    def __str__(self) -> str:
        return f"{self.file.relative_to(MODULE).as_posix()}:{self.line} imports {self.module}"

    @property
    def room(self) -> str:
        """Room of the library that the file belongs to."""
        return self.file.relative_to(LIBRARY).with_suffix("").parts[0]

    @property
    def imported_room(self) -> str | None:
        """Room of the library that is imported."""
        parts = self.module.split(".")
        return parts[1] if parts[0] == NAME and len(parts) > 1 else None


@cache
def imports_of(folder: Path) -> tuple[Import, ...]:
    return tuple(_imports_of(folder))


def _imports_of(folder: Path) -> Iterator[Import]:
    files = sorted(folder.rglob("*.py")) if folder.is_dir() else [folder]
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module == NAME:
                for alias in node.names:
                    yield Import(file, f"{NAME}.{alias.name}", node.lineno)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{file}:{node.lineno} is a relative import"
                yield Import(file, str(node.module), node.lineno)
            elif isinstance(node, ast.Import):
                for alias in node.names:
                    yield Import(file, alias.name, node.lineno)


@pytest.fixture(scope="module")
def inside() -> list[Import]:
    """Imports between the rooms of the library."""
    found = [i for i in imports_of(LIBRARY) if i.imported_room not in (None, i.room)]
    assert len(found) > 300, "the imports are not found"
    return found


def layer_of(room: str) -> int:
    return next(number for number, rooms in enumerate(LAYERS) if room in rooms)


def test_every_room_has_its_layer() -> None:
    rooms = {path.stem for path in LIBRARY.iterdir() if path.suffix == ".py" or path.is_dir()}
    rooms -= {"__pycache__", "data"}
    known = [room for rooms_ in LAYERS for room in rooms_]
    assert sorted(rooms) == sorted(known)


def test_rooms_know_only_lower_layers(inside: list[Import]) -> None:
    upward = [i for i in inside if layer_of(str(i.imported_room)) >= layer_of(i.room)]
    assert not upward, "\n".join(map(str, upward))


def test_stages_do_not_know_each_other(inside: list[Import]) -> None:
    known = [i for i in inside if i.room in STAGES and i.imported_room in STAGES]
    allowed = [i for i in known if i.room in READS_VOLUMES and i.imported_room == "volumes"]
    assert set(known) == set(allowed), "\n".join(map(str, set(known) - set(allowed)))


def test_only_scene_knows_slicer_and_only_the_panel_knows_qt() -> None:
    for found in imports_of(LIBRARY):
        package = found.module.split(".")[0]
        assert package not in QT, str(found)
        assert package not in SLICER or found.room == "scene", str(found)


def test_only_export_knows_highdicom() -> None:
    """Everything else works without it."""
    for found in imports_of(LIBRARY):
        if found.module.split(".")[0] == "highdicom":
            assert found.room == "dicom_export", str(found)


def test_only_models_over_time_know_statsmodels() -> None:
    """All other commands work without it; ``packages.py`` names it to say that it is missing."""
    for found in imports_of(LIBRARY):
        if found.module.split(".")[0] == "statsmodels":
            assert found.file.name == "over_time.py", str(found)


def test_joint_tables_are_parsed_in_one_place() -> None:
    """`csv` and pandas read tables; `spreadsheet` looks at headers only.

    The rows of the truth study, the cohort file, the decisions on it, the joints of all its
    patients, what readers say, signs on the CT and what `cell_table` reads are other tables.
    """
    parsers = {"joint_table.py", "spreadsheet.py", "validation/rows.py"}
    parsers |= {
        "ct_sign.py",
        "cohort/review.py",
        "command_line/review.py",
        "cell_table.py",
        "results/reading.py",
    }
    for file in LIBRARY.rglob("*.py"):
        text = file.read_text(encoding="utf-8")
        if any(reader in text for reader in ("read_csv", "csv.DictReader", "csv.reader")):
            assert file.relative_to(LIBRARY).as_posix() in parsers


@pytest.mark.parametrize("name", ["manifest", "registration", "verdict", "index"])
def test_json_of_the_results_folder_is_handled_in_one_room(name: str) -> None:
    """Other rooms may name a file; only ``results`` opens it, with its own functions."""
    for file in LIBRARY.rglob("*.py"):
        relative = file.relative_to(LIBRARY)
        text = file.read_text(encoding="utf-8")
        if relative.parts[0] != "results" and f'"{name}.json"' in text:
            assert "json.load" not in text, relative
            assert "json.dump" not in text, relative


def test_help_imports_nothing_heavy() -> None:
    program = (
        "import sys; import CTSpectSpineLib.command_line.main as main; main.build_parser(); "
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    environment = {"PYTHONPATH": str(MODULE), "PATH": ""}
    found = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=True
    )
    assert found.stdout.strip() == "[]"


def test_panel_starts_without_packages_that_slicer_lacks() -> None:
    """What the widgets import of the library at file scope is plain Python."""
    light = {
        "analysis.options",
        "anatomy",
        "display",
        "joint_columns",
        "protocol_files",
        "reconstruction",
        "wording",
    }
    for file in sorted((MODULE / "CTSpectSpineWidgets").glob("*.py")):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        for node in tree.body:
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith(NAME):
                assert str(node.module).removeprefix(f"{NAME}.") in light, file.name


def test_no_file_is_two_rooms() -> None:
    folders = [LIBRARY, MODULE / "CTSpectSpineWidgets", MODULE / "Testing", MODULE.parent / "docs"]
    folders += [MODULE.parent / "benchmarks", MODULE.parent / "training"]
    files = [MODULE / "CTSpectSpine.py", *(f for folder in folders for f in folder.rglob("*.py"))]
    long = {
        file.relative_to(MODULE.parent).as_posix(): count
        for file in files
        if (count := len(file.read_text(encoding="utf-8").splitlines())) > MOST_LINES
    }
    assert not long, long


def test_the_rules_notice_what_breaks_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that breaks the layers, put where the test looks, is found."""
    broken = tmp_path / NAME / "joints" / "broken.py"
    broken.parent.mkdir(parents=True)
    broken.write_text(f"from {NAME}.results import folder\nimport slicer\n", encoding="utf-8")
    monkeypatch.setattr(sys.modules[__name__], "MODULE", tmp_path)
    monkeypatch.setattr(sys.modules[__name__], "LIBRARY", tmp_path / NAME)
    found = list(imports_of(tmp_path / NAME))
    with pytest.raises(AssertionError, match=r"broken.py:1 imports CTSpectSpineLib\.results"):
        test_rooms_know_only_lower_layers(found[:1])
    with pytest.raises(AssertionError, match=r"broken\.py:2 imports slicer"):
        test_only_scene_knows_slicer_and_only_the_panel_knows_qt()
