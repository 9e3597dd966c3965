"""Reads what was handed in, as learning platforms pack it, and finds out whose it is.

Nothing here writes. A submission is a folder a student or a file a student, in a folder or a zip.
"""

import datetime
import io
import os
import re
import stat
import unicodedata
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

MOST_BYTES = 600_000_000
JUNK = {"__MACOSX", ".ipynb_checkpoints", "Thumbs.db", "desktop.ini"}
MOODLE = re.compile(r"^(?P<name>.+?)_(?P<number>\d+)_assignsubmission_\w+?_?$")
CANVAS = re.compile(r"^(?P<name>[^_]+?)(?:_late)?_(?P<number>\d+)_\d+_.+$", re.I)


class TooLargeError(Exception):
    """A file is larger than anything that a student may hand in."""


@dataclass(frozen=True)
class File:
    """One file that was handed in: where it lay, when it was written, and how to read it."""

    path: PurePosixPath
    written: float
    size: int
    load: Callable[[], bytes] = field(compare=False, repr=False)

    def read(self) -> bytes:
        """Return what is in the file.

        Raises:
            TooLargeError: if it has more than ``MOST_BYTES``.
        """
        if self.size > MOST_BYTES:
            raise TooLargeError(
                f"{self.path.name} has {self.size / 1e6:.0f} MB, "
                f"at most {MOST_BYTES / 1e6:.0f} are read"
            )
        return self.load()


@dataclass
class Submission:
    """All files of one student, the newest last."""

    student: str
    files: list[File]


def collect(source: Path, name: str) -> tuple[list[Submission], dict[str, str]]:
    """Return what each student handed in for a set, and the files that are nobody's, with reasons.

    Raises:
        FileNotFoundError: if there is no such folder or file.
        ValueError: if a file is not a zip.
    """
    files = [file for file in strip_common(list(entries(source)), source.stem) if not junk(file)]
    owned: dict[tuple[str, str | None], list[File]] = {}
    nobody = {}
    for file in files:
        owner = owner_of(file.path, name)
        if owner is None:
            nobody[str(file.path)] = "neither its name nor its folder says whose it is"
        else:
            owned.setdefault(owner, []).append(file)
    numbers: dict[str, set[str]] = {}
    for student, number in owned:
        numbers.setdefault(student, set()).update([number] if number else [])
    merged: dict[str, list[File]] = {}
    for (student, number), theirs in owned.items():
        # Two people of one name are told apart by the platform's numbers.
        several = number and len(numbers[student]) > 1
        merged.setdefault(f"{student}-{number}" if several else student, []).extend(theirs)
    return [
        Submission(student, sorted(theirs, key=lambda f: (f.written, str(f.path))))
        for student, theirs in sorted(merged.items())
    ], nobody


def entries(source: Path) -> Iterator[File]:
    """Yield the files of a folder or a zip, and of zips inside."""
    if source.is_dir():
        for folder, folders, names in os.walk(source):
            folders.sort()
            for entry in sorted(names):
                path = Path(folder) / entry
                state = path.lstat()
                if stat.S_ISREG(state.st_mode):  # a link may point anywhere
                    inside = PurePosixPath(path.relative_to(source).as_posix())
                    file = File(inside, state.st_mtime, state.st_size, path.read_bytes)
                    yield from unpacked(file)
    elif source.is_file():
        try:
            yield from zipped(source.read_bytes(), PurePosixPath())
        except zipfile.BadZipFile:
            raise ValueError(f"{source} is neither a folder nor a readable zip file") from None
    else:
        raise FileNotFoundError(f"there is no folder or zip file {source}")


def unpacked(file: File) -> Iterator[File]:
    """Yield what is in a file if it is a zip, or the file."""
    if file.path.suffix.lower() == ".zip" and file.size <= MOST_BYTES:
        try:
            yield from zipped(file.read(), file.path.with_suffix(""))
            return
        except zipfile.BadZipFile:
            pass  # the file itself then stands for what was handed in
    yield file


def zipped(data: bytes, below: PurePosixPath) -> Iterator[File]:
    """Yield the files of a zip. Nothing is written, so that no name in it can do harm."""
    archive = zipfile.ZipFile(io.BytesIO(data))
    for info in sorted(archive.infolist(), key=lambda info: info.filename):
        if not info.is_dir():
            parts = [p for p in PurePosixPath(info.filename).parts if p not in ("..", "/", ".")]
            when = datetime.datetime(*info.date_time).timestamp() if info.date_time[1] else 0.0
            inside = File(
                below.joinpath(*parts),
                when,
                info.file_size,
                lambda info=info: archive.read(info),
            )
            yield from unpacked(inside) if not below.parts else iter([inside])


def strip_common(files: list[File], name: str) -> list[File]:
    """Take away a folder that all files are in, and that is not a student's."""
    while files and all(len(file.path.parts) > 1 for file in files):
        tops = {file.path.parts[0] for file in files}
        deeper = any(len(f.path.parts) > 2 and f.path.suffix == ".ipynb" for f in files)
        if len(tops) > 1 or not (deeper or tops == {name}):
            break
        files = [File(PurePosixPath(*f.path.parts[1:]), f.written, f.size, f.load) for f in files]
    return files


def junk(file: File) -> bool:
    """Whether a file was left by a program and handed in by nobody."""
    return any(part in JUNK or part.startswith(".") for part in file.path.parts)


def owner_of(path: PurePosixPath, name: str) -> tuple[str, str | None] | None:
    """Return a student's name and the platform's number for them, from a file's place and name."""
    label = path.parts[0] if len(path.parts) > 1 else re.sub(r"(\.\w{1,5})+$", "", path.name)
    number = None
    for platform in (MOODLE, CANVAS):
        found = platform.match(label)
        if found:
            label, number = found["name"], found["number"]
            break
    student = slug(
        re.sub(rf"(?i)[\s._-]*\b{re.escape(name)}(?![0-9])[\s._-]*", " ", label.replace("_", " "))
    )
    return (student, number) if student else None


def slug(text: str) -> str:
    """Return a name that can be a folder's: ``"Ada  Lovelace (1)"`` gives ``"ada-lovelace"``."""
    text = re.sub(r"\s*\(\d+\)\s*$", "", unicodedata.normalize("NFKC", text).strip())
    return re.sub(r"[^\w.]+", "-", text.casefold()).strip("-.")[:80]
