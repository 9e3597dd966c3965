"""Submissions are found as learning platforms pack them, and nothing is changed."""

import os
import zipfile

import pytest
from collect import collect


def write(folder, **files):
    """Write files given as ``path: content``."""
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)


def found(source):
    submissions, nobody = collect(source, "ps1")
    return {s.student: [file.path.name for file in s.files] for s in submissions}, nobody


@pytest.mark.parametrize(
    ("path", "student"),
    [
        ("ada/ps1.ipynb", "ada"),
        ("Ada Lovelace/anything.ipynb", "ada-lovelace"),
        ("ada.ipynb", "ada"),
        ("ada_ps1.ipynb", "ada"),
        ("ps1-ada.ipynb", "ada"),
        ("PS1 Ada (2).ipynb", "ada"),
        ("ada_ps1.ipynb.txt", "ada"),
        ("Ada Lovelace_12345_assignsubmission_file_/ps1.ipynb", "ada-lovelace"),
        ("Ada Lovelace_12345_assignsubmission_file/deep/ps1.ipynb", "ada-lovelace"),
        ("lovelaceada_12_345_ps1.ipynb", "lovelaceada"),
        ("lovelaceada_LATE_12_345_ps1-2.ipynb", "lovelaceada"),
        ("Zoë Ö'Brien/ps1.ipynb", "zoë-ö-brien"),
        ("李明/ps1.ipynb", "李明"),
    ],
)
def test_names_tell_whose_a_file_is(tmp_path, path, student):
    write(tmp_path, **{path: "x", "somebody else/ps1.ipynb": "y"})
    students, nobody = found(tmp_path)
    assert set(students) == {student, "somebody-else"}
    assert nobody == {}


def test_a_file_that_is_nobodys_is_named(tmp_path):
    write(tmp_path, **{"ps1.ipynb": "x", "ada/ps1.ipynb": "y"})
    assert found(tmp_path)[1].keys() == {"ps1.ipynb"}


def test_two_people_of_one_name_are_told_apart_by_their_numbers(tmp_path):
    write(
        tmp_path,
        **{
            "Ada_1_assignsubmission_file_/ps1.ipynb": "x",
            "Ada_2_assignsubmission_file_/ps1.ipynb": "y",
        },
    )
    assert set(found(tmp_path)[0]) == {"ada-1", "ada-2"}


def test_files_of_one_student_come_together_the_newest_last(tmp_path):
    write(tmp_path, **{"ada.ipynb": "x", "ada/ps1.ipynb": "y", "ada (1).ipynb": "z"})
    os.utime(tmp_path / "ada" / "ps1.ipynb", (1e9, 1e9))
    os.utime(tmp_path / "ada.ipynb", (2e9, 2e9))
    os.utime(tmp_path / "ada (1).ipynb", (1.5e9, 1.5e9))
    assert found(tmp_path)[0] == {"ada": ["ps1.ipynb", "ada (1).ipynb", "ada.ipynb"]}


def test_a_zip_gives_what_its_folder_would(tmp_path):
    folder = tmp_path / "folder"
    write(folder, **{"ada/ps1.ipynb": "x", "grace_ps1.ipynb": "y", "__MACOSX/ada/._ps1.ipynb": "z"})
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, path.relative_to(folder))
    assert found(tmp_path / "all.zip") == found(folder)


def test_a_folder_around_all_of_them_is_no_student(tmp_path):
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.writestr("course/ps1/ada/ps1.ipynb", "x")
        archive.writestr("course/ps1/grace/ps1.ipynb", "y")
    assert set(found(tmp_path / "all.zip")[0]) == {"ada", "grace"}


def test_what_programs_leave_is_no_submission(tmp_path):
    write(
        tmp_path, **{"ada/.ipynb_checkpoints/ps1.ipynb": "x", "ada/ps1.ipynb": "y", ".hidden": ""}
    )
    assert found(tmp_path) == ({"ada": ["ps1.ipynb"]}, {})


def test_a_link_is_not_followed(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("marks")
    write(tmp_path / "in", **{"ada/ps1.ipynb": "x"})
    (tmp_path / "in" / "ada" / "link.ipynb").symlink_to(secret)
    assert found(tmp_path / "in")[0] == {"ada": ["ps1.ipynb"]}


def test_names_in_a_zip_lead_nowhere_else(tmp_path):
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.writestr("ada/../../../ps1.ipynb", "x")
        archive.writestr("grace/ps1.ipynb", "x")
    submissions, _ = collect(tmp_path / "all.zip", "ps1")
    assert all(".." not in file.path.parts for s in submissions for file in s.files)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["all.zip"]


def test_what_is_not_there_and_what_is_no_zip_are_errors_that_say_so(tmp_path):
    with pytest.raises(FileNotFoundError, match="no folder or zip"):
        collect(tmp_path / "nowhere", "ps1")
    (tmp_path / "all.zip").write_text("no zip")
    with pytest.raises(ValueError, match="readable zip"):
        collect(tmp_path / "all.zip", "ps1")
