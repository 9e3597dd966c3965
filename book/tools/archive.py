"""The built site as one zip with its SHA-256 checksum beside it.

    python book/tools/archive.py _build/html book.zip

The same site gives the same bytes: names are sorted, and nothing of this machine is stored. Unpack
it anywhere and open ``index.html``; no server and no network is needed.
"""

import hashlib
import sys
import zipfile
from pathlib import Path

__all__ = ["archive", "main", "write_checksum"]

_FIRST_DAY = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip can say
_READABLE = 0o100644 << 16


def archive(site: Path, target: Path) -> str:
    """Write ``site`` to the zip ``target``, in one folder of its name, and return the checksum."""
    if not (site / "index.html").is_file():
        raise SystemExit(f"{site} has no index.html: build the site first, with make book")
    with zipfile.ZipFile(target, "w") as bundle:
        for path in sorted(site.rglob("*")):
            place = path.relative_to(site)
            # Hidden files are notes of the builder to itself.
            if path.is_dir() or any(part.startswith(".") for part in place.parts):
                continue
            entry = zipfile.ZipInfo(f"{target.stem}/{place.as_posix()}", _FIRST_DAY)
            entry.external_attr = _READABLE
            entry.create_system = 3  # Unix, on every system
            bundle.writestr(entry, path.read_bytes(), zipfile.ZIP_DEFLATED, 9)
    return write_checksum(target)


def write_checksum(target: Path) -> str:
    """Write the SHA-256 checksum of a file beside it, as ``sha256sum --check`` reads it."""
    checksum = hashlib.sha256(target.read_bytes()).hexdigest()
    target.with_name(target.name + ".sha256").write_text(f"{checksum}  {target.name}\n", "utf-8")
    return checksum


def main(arguments: list[str]) -> None:
    """Zip the site and say where."""
    site, target = map(Path, arguments)
    checksum = archive(site, target)
    print(f"{target}: {target.stat().st_size / 1e6:.1f} MB, SHA-256 {checksum}")


if __name__ == "__main__":
    main(sys.argv[1:])
