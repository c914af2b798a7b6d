"""Segmentations as 3D Slicer reads them."""

from __future__ import annotations

import gzip
import io
import time
from pathlib import Path

import nrrd
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.geometry import Grid, apply_matrix
from CTSpectSpineLib.model import Region
from CTSpectSpineLib.volumes import Segment, read_segmentation, write_segmentation
from CTSpectSpineLib.volumes.mostly_zeros import GzipOfMostlyZeros
from CTSpectSpineLib.volumes.regions import resample_region

TERMINOLOGY = (
    "Segmentation category and type - 3D Slicer General Anatomy list"
    "~SCT^123037004^Anatomical Structure~SCT^360499006^Intervertebral disc~SCT^7771000^Left"
    "~Anatomic codes - DICOM master list~^^~^^"
)


def oblique(seed: int, spacing: tuple[float, float, float]) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.random(random_state=seed).as_matrix() * spacing
    matrix[:3, 3] = np.random.default_rng(seed).uniform(-50, 50, 3)
    return matrix


def ellipsoid(
    centre: np.ndarray, radii: tuple[float, float, float], seed: int, spacing: float = 1.0
) -> Region:
    """An ellipsoid on an oblique grid of its own."""
    n = int(2 * max(radii) / spacing) + 4
    offset = (np.stack(np.meshgrid(*[np.arange(n)] * 3, indexing="ij"), -1) - (n - 1) / 2) * spacing
    mask = ((offset[..., ::-1] / radii) ** 2).sum(axis=-1) <= 1
    matrix = oblique(seed, (spacing,) * 3)
    matrix[:3, 3] = centre - matrix[:3, :3] @ np.full(3, (n - 1) / 2)
    return Region(mask, matrix)


GRID = Grid((60, 50, 40), oblique(4, (0.8, 0.9, 1.5)))
CENTRE = apply_matrix(GRID.ijk_to_lps, np.array([[30.0, 25.0, 20.0]]))[0]


def box_mask(low: int, high: int) -> np.ndarray:
    mask = np.zeros(GRID.shape, dtype=bool)
    mask[low:high, low:high, low:high] = True
    return mask


def example_segments() -> list[Segment]:
    return [
        Segment("disc", "L4-L5 disc", (0.1, 0.2, 0.3), box_mask(3, 9), 28, TERMINOLOGY),
        Segment("facet", "L4-L5 facet left", (1, 0, 0), box_mask(7, 12), tags={"A.b": "1:2"}),
        Segment("none", "empty", (0, 1, 0), box_mask(0, 0)),
        Segment("apart", "apart", (0, 0, 1), box_mask(20, 25)),
    ]


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.seg.nrrd"
    written = example_segments()
    write_segmentation(path, written, GRID)
    read, grid = read_segmentation(path)
    assert grid.matches(GRID, 1e-9)
    for before, after in zip(written, read, strict=True):
        assert (after.id, after.name, after.terminology) == (
            before.id,
            before.name,
            before.terminology,
        )
        assert after.colour == pytest.approx(before.colour)
        assert dict(after.tags) == dict(before.tags)
        mask, box = resample_region(after.region, grid)
        full = np.zeros(GRID.shape, bool)
        full[box] = mask
        assert np.array_equal(full, before.region)


def test_layers(tmp_path: Path) -> None:
    path = tmp_path / "a.seg.nrrd"
    write_segmentation(path, example_segments(), GRID)
    data, header = nrrd.read(str(path))
    assert data.shape == (2, *GRID.size)
    assert header["kinds"] == ["list", "domain", "domain", "domain"]
    assert [header[f"Segment{n}_Layer"] for n in range(4)] == ["0", "1", "0", "0"]
    assert header["Segment0_LabelValue"] == "28"
    write_segmentation(path, [example_segments()[0], example_segments()[3]], GRID)
    image = sitk.ReadImage(str(path))
    assert image.GetSize() == GRID.size
    assert set(np.unique(sitk.GetArrayFromImage(image))) == {0, 2, 28}


def test_equal_label_values_never_share_a_layer(tmp_path: Path) -> None:
    path = tmp_path / "a.seg.nrrd"
    segments = [
        Segment("a", "a", (1, 0, 0), box_mask(1, 5), 7),
        Segment("b", "b", (1, 0, 0), box_mask(10, 15), 7),
    ]
    write_segmentation(path, segments, GRID)
    read, _ = read_segmentation(path)
    assert [s.region.mask.sum() for s in read] == [64, 125]


def test_bytes_are_reproducible(tmp_path: Path) -> None:
    for name in ("a.seg.nrrd", "b.seg.nrrd"):
        write_segmentation(tmp_path / name, example_segments(), GRID)
        time.sleep(1.1 if name.startswith("a") else 0)
    assert (tmp_path / "a.seg.nrrd").read_bytes() == (tmp_path / "b.seg.nrrd").read_bytes()


def test_tags_cannot_break_the_header(tmp_path: Path) -> None:
    path = tmp_path / "a.seg.nrrd"
    tags = {"verdict": "positive | ratio ≥ 2\nsecond line", "a:b|c": "x"}
    write_segmentation(path, [Segment("a", "a\\b", (1, 0, 0), box_mask(1, 5), tags=tags)], GRID)
    (segment,), _ = read_segmentation(path)
    assert dict(segment.tags) == {"verdict": "positive / ratio ≥ 2 second line", "a.b/c": "x"}
    assert segment.name == "a/b"


@given(seed=st.integers(0, 5000))
@settings(max_examples=25, deadline=None)
def test_regions_keep_volume_and_place_on_another_grid(seed: int) -> None:
    region = ellipsoid(CENTRE, (9.0, 7.0, 5.0), seed)
    mask, box = resample_region(region, GRID)
    matrix = GRID.ijk_to_lps.copy()
    matrix[:3, 3] += matrix[:3, :3] @ [s.start for s in box[::-1]]
    resampled = Region(mask, matrix)
    assert resampled.volume_mm3 == pytest.approx(region.volume_mm3, rel=0.06)
    assert np.allclose(resampled.centre_mm(), region.centre_mm(), atol=0.25)


@given(seed=st.integers(0, 5000), thickness=st.sampled_from([0.5, 1.0, 2.0]))
@settings(max_examples=40, deadline=None)
def test_thin_regions_never_vanish(seed: int, thickness: float) -> None:
    rng = np.random.default_rng(seed)
    mask = np.ones((1, 12, 12), dtype=bool)
    matrix = oblique(seed, (1.0, 1.0, thickness))
    matrix[:3, 3] = CENTRE - matrix[:3, :3] @ [5.5, 5.5, 0] + rng.uniform(-2, 2, 3)
    coarse = Grid((12, 12, 12), np.diag([5.0, 5.0, 5.0, 1.0]))
    coarse.ijk_to_lps[:3, 3] = CENTRE - 27.5
    resampled, _ = resample_region(Region(mask, matrix), coarse)
    assert resampled.any()
    # One layer of voxels, not a block: a tilted plate of 12 mm crosses at most a few columns.
    assert resampled.sum() * 125.0 < 12 * 12 * 5 * 3.5


def test_a_region_outside_of_the_grid_is_empty() -> None:
    region = ellipsoid(CENTRE + 500.0, (9.0, 7.0, 5.0), 1)
    assert resample_region(region, GRID)[0].size == 0


def test_a_region_across_the_border_is_cut() -> None:
    region = Region(np.ones((8, 8, 8), bool), GRID.ijk_to_lps.copy())
    region.ijk_to_lps[:3, 3] = apply_matrix(GRID.ijk_to_lps, np.array([[-4.0, 0.0, 36.0]]))[0]
    mask, box = resample_region(region, GRID)
    assert box == (slice(36, 40), slice(0, 8), slice(0, 4))
    assert mask.all()


def test_wrong_segments_are_refused(tmp_path: Path) -> None:
    one = Segment("a", "a", (1, 0, 0), box_mask(1, 5))
    with pytest.raises(ValueError, match="repeat"):
        write_segmentation(tmp_path / "a.seg.nrrd", [one, one], GRID)
    with pytest.raises(ValueError, match="out of range"):
        write_segmentation(
            tmp_path / "a.seg.nrrd", [Segment("a", "a", (1, 0, 0), box_mask(1, 5), 0)], GRID
        )
    with pytest.raises(ValueError, match="shape"):
        write_segmentation(
            tmp_path / "a.seg.nrrd", [Segment("a", "a", (1, 0, 0), np.ones((2, 2, 2), bool))], GRID
        )
    assert list(tmp_path.iterdir()) == []


def test_bad_segmentation_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        read_segmentation(tmp_path / "none.seg.nrrd")
    (tmp_path / "text.seg.nrrd").write_text("hello")
    with pytest.raises(InputError, match="cannot be read as NRRD"):
        read_segmentation(tmp_path / "text.seg.nrrd")
    sitk.WriteImage(sitk.Image(5, 5, 5, sitk.sitkFloat32), str(tmp_path / "float.nrrd"))
    with pytest.raises(InputError, match="no segmentation"):
        read_segmentation(tmp_path / "float.nrrd")


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (b"Segment0_Layer:=0", b"Segment0_Layer:=7", "names layer 7, not in the file"),
        (b"Segment0_Layer:=0", b"Segment0_Layer:=-1", "names layer -1, not in the file"),
        (b"Segment0_Layer:=0", b"Segment0_Layer:=x", "of segment 0 is damaged"),
        (b"Segment1_LabelValue:=2", b"Segment1_LabelValue:=two", "of segment 1 is damaged"),
        (b"Segment1_Color:=1 0 0", b"Segment1_Color:=red", "of segment 1 is damaged"),
        (b"Segment1_Color:=1 0 0", b"Segment1_Color:=1 0", "of segment 1 is damaged"),
        (b"space: left-posterior-superior\n", b"", "no patient space"),
        (b"space directions:", b"# space directions", "no patient space"),
    ],
)
def test_damaged_fields(before: bytes, after: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "a.seg.nrrd"
    write_segmentation(path, example_segments(), GRID)
    content = path.read_bytes()
    assert before in content
    path.write_bytes(content.replace(before, after))
    with pytest.raises(InputError, match=words) as caught:
        read_segmentation(path)
    assert "a.seg.nrrd" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_slicer_reads_names_colours_tags_and_voxels(tmp_path: Path) -> None:
    import slicer
    import vtk
    from vtk.util.numpy_support import vtk_to_numpy

    path = tmp_path / "a.seg.nrrd"
    written = example_segments()
    write_segmentation(path, written, GRID)
    scene = slicer.vtkMRMLScene()
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    storage = scene.AddNewNodeByClass("vtkMRMLSegmentationStorageNode")
    storage.SetFileName(str(path))
    assert storage.ReadData(node) == 1
    segmentation = node.GetSegmentation()
    assert segmentation.GetNumberOfLayers() == 2
    assert [segmentation.GetNthSegmentID(n) for n in range(4)] == [s.id for s in written]
    for segment in written:
        found = segmentation.GetSegment(segment.id)
        assert found.GetName() == segment.name
        assert found.GetColor() == pytest.approx(segment.colour)
        for key, text in {**segment.tags, "TerminologyEntry": segment.terminology}.items():
            tag = vtk.reference("")
            found.GetTag(key, tag)
            assert not text or str(tag) == text
        labelmap = slicer.vtkOrientedImageData()
        node.GetBinaryLabelmapRepresentation(segment.id, labelmap)
        i0, i1, j0, j1, k0, k1 = labelmap.GetExtent()
        voxels = vtk_to_numpy(labelmap.GetPointData().GetScalars())
        index = np.argwhere(voxels.reshape(k1 - k0 + 1, j1 - j0 + 1, i1 - i0 + 1))
        to_ras = vtk.vtkMatrix4x4()
        labelmap.GetImageToWorldMatrix(to_ras)
        matrix = np.array([[to_ras.GetElement(r, c) for c in range(4)] for r in range(4)])
        ras = apply_matrix(matrix, index[:, ::-1] + np.array([i0, j0, k0], dtype=float))
        expected = Region(segment.region, GRID.ijk_to_lps).points_mm() * [-1, -1, 1]
        assert np.allclose(ras, expected, atol=1e-4)


@pytest.mark.parametrize("runs", [(0, 0), (3, 1500, 7), (1 << 21, 5, 700), (513, 0, 3_000_001, 2)])
def test_zeros_are_compressed_as_any_bytes(runs: tuple[int, ...]) -> None:
    """Runs of zeros between random bytes, also empty ones, come back as they were."""
    rng = np.random.default_rng(sum(runs))
    stream, wanted = io.BytesIO(), b""
    made = GzipOfMostlyZeros(stream)
    for run in runs:
        made.zeros(run)
        block = rng.integers(0, 4, 5000, dtype=np.uint8).tobytes()
        made.write(block)
        wanted += bytes(run) + block
    made.finish()
    assert gzip.decompress(stream.getvalue()) == wanted
    assert len(stream.getvalue()) < 2500 * len(runs) + 0.003 * sum(runs)
