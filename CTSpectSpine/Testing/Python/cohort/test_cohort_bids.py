"""A BIDS tree as a cohort."""

from __future__ import annotations

from pathlib import Path

import pytest

from CTSpectSpineLib.cohort.bids import read_bids
from CTSpectSpineLib.command_line.main import main
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.progress import Progress


def tree(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("", encoding="utf-8")
    return root


def pair(subject: str, session: str = "", ct: str = "ct/", spect: str = "spect/") -> list[str]:
    folder = f"sub-{subject}/" + (f"ses-{session}/" if session else "")
    name = f"sub-{subject}_" + (f"ses-{session}_" if session else "")
    return [f"{folder}{ct}{name}ct.nii.gz", f"{folder}{spect}{name}spect.nii.gz"]


def test_names_that_are_taken(tmp_path: Path) -> None:
    tree(
        tmp_path,
        *pair("02"),
        *pair("01", "before"),
        *pair("01", "after", ct="", spect="nuclear/"),
        "sub-01/ses-mr/anat/sub-01_ses-mr_T1w.nii.gz",
        "sub-03/anat/sub-03_T2w.nii.gz",
        "sub-04/nm/sub-04_acq-bone_ct.nii",
        "sub-04/nm/sub-04_run-1_nm.nrrd",
        "derivatives/ts/sub-01/ses-after/ct/sub-01_ses-after_desc-vertebrae_dseg.nii.gz",
        "derivatives/ts/sub-01/ses-after/ct/sub-01_ses-after_desc-ribs_dseg.nii.gz",
        "derivatives/sub-02/sub-02_seg-vert_msk.nii.gz",
        "derivatives/hand/sub-04/sub-04_from-ct_to-spect_mode-image_xfm.tfm",
        "derivatives/ctspectspine/sub-01/vertebrae.nii.gz",
        "derivatives/ctspectspine/sub-02/spect_on_ct.nrrd",
    )
    found = {patient.id: patient for patient in read_bids(tmp_path)}
    assert list(found) == ["sub-01_ses-after", "sub-01_ses-before", "sub-02", "sub-04"]
    after = found["sub-01_ses-after"].paths()
    assert after["spect"] == tmp_path / "sub-01/ses-after/nuclear/sub-01_ses-after_spect.nii.gz"
    assert after["vertebrae"].name == "sub-01_ses-after_desc-vertebrae_dseg.nii.gz"
    assert "vertebrae" not in found["sub-01_ses-before"].paths()
    assert found["sub-02"].paths()["vertebrae"].name == "sub-02_seg-vert_msk.nii.gz"
    assert set(found["sub-04"].paths()) == {"ct", "spect", "transform"}
    assert [p.id for p in read_bids(tmp_path, ["sub-02", "04"])] == ["sub-02", "sub-04"]


def test_context_of_participants_and_sessions(tmp_path: Path) -> None:
    tree(tmp_path, *pair("01", "a"), *pair("01", "b"), *pair("02"))
    (tmp_path / "participants.tsv").write_text(
        "participant_id\tage\tsex\thandedness\tvas_axial\n"
        "sub-01\t54.5\tF\tright\t8\nsub-02\tn/a\tmale\tleft\tn/a\nsub-09\t1\tM\tleft\t1\n",
        encoding="utf-8",
    )
    (tmp_path / "sub-01" / "sub-01_sessions.tsv").write_text(
        "session_id\tacq_time\tvas_axial\nses-b\t2024-01-01\t3\n", encoding="utf-8"
    )
    found = {patient.id: patient.context for patient in read_bids(tmp_path)}
    assert found["sub-01_ses-a"] == {"age_years": 54.5, "sex": "female", "vas_axial": 8}
    assert found["sub-01_ses-b"]["vas_axial"] == 3
    assert found["sub-02"] == {"sex": "male"}


PARTICIPANTS = "participants.tsv"


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ([], "holds no folder sub-<label>"),
        (["sub-01/anat/sub-01_T1w.nii.gz"], "no participant with a CT"),
        (["sub-a_b/x.txt"], "sub-a_b: a label holds letters"),
        ([*pair("a"), *pair("A")], "sub-A and sub-a, which are the same folder"),
        (pair("01")[:1], r"sub-01 holds no SPECT \(…_spect.nii.gz\) beside its CT"),
        (pair("01")[1:], "sub-01 holds no CT"),
        (
            [*pair("01"), "sub-01/ct/sub-01_run-2_ct.nii.gz"],
            "sub-01 has 2 files that may be its CT",
        ),
        (
            [*pair("01"), "sub-01/ct/sub-02_ct.nii.gz"],
            "sub-02_ct.nii.gz lies in the folder of sub-",
        ),
        ([*pair("01", "a"), *pair("01")], "lies beside the sessions of sub-01"),
    ],
)
def test_a_malformed_tree_is_one_sentence(names: list[str], words: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=words) as refused:
        read_bids(tree(tmp_path, *names))
    assert str(tmp_path) in str(refused.value) or "sub-01 has 2" in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("id\tage\n01\t50\n", "no column 'participant_id'"),
        ("participant_id\tage\nsub-01\told\n", "line 2, column age: 'old'"),
        ("participant_id\tage\nsub-01\t300\n", "Key 'age' in .*row 2 has the value 300"),
        (
            "participant_id\tage\tpain_duration_years\nsub-01\t20\t40\n",
            "contradicts 'age' 20",
        ),
        ("participant_id\nsub-01\nsub-01\n", "row 3, column participant_id: 'sub-01' stands"),
        (
            "participant_id\tage\tage_years\nsub-01\t1\t2\n",
            "the columns 'age' and 'age_years', which mean the same",
        ),
    ],
)
def test_a_malformed_table_is_named_with_its_place(text: str, words: str, tmp_path: Path) -> None:
    tree(tmp_path, *pair("01"))
    (tmp_path / PARTICIPANTS).write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=words):
        read_bids(tmp_path)


class Damaged:
    """An analysis of an empty file."""

    code = 2

    def __init__(self, arguments: list[str], log: Path) -> None:
        assert "--protocol=tender-2019" in arguments

    def poll(self) -> list[Progress]:
        return []

    def failure(self) -> str:
        return "Damaged."


def test_participants_one_by_one_and_then_the_group(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("CTSpectSpineLib.command_line.batch.ChildProcess", Damaged)
    root = tree(tmp_path / "root", *pair("01"), *pair("02"))
    out = root / "derivatives" / "ctspectspine"
    words = ["batch", "--bids", str(root), "--out", str(out), "--progress", "none"]
    assert main([*words, "--level", "participant", "--participant-label", "9"]) == 2
    assert "holds no sub-9; there are sub-01 to sub-02, 2 in all" in capsys.readouterr().err
    for label in ("01", "02"):
        assert main([*words, "--level", "participant", "--participant-label", label]) == 1
        assert f"sub-{label}: Damaged." in capsys.readouterr().out
    assert not (out / "cohort.html").exists()
    assert main([*words, "--level", "group"]) == 1
    lines = (out / "cohort.csv").read_text(encoding="utf-8").splitlines()
    assert [line.split(",")[:2] for line in lines[1:]] == [["sub-01", "error"], ["sub-02", "error"]]
    assert main(["batch", "--out", str(out)]) == 2
    assert "Give a cohort file, or a BIDS tree" in capsys.readouterr().err
