"""Copies of the chapters for Colab: the first cell of each installs what the chapter needs.

    python book/tools/hosted.py --repository https://github.com/NAME/REPOSITORY [--push origin]

The chapters stay as they are. The copies go to ``_build/hosted`` and, with ``--push``, to the
branch ``hosted``, which holds nothing else and no history. Needs Python and git, no environment.
"""

import argparse
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

__all__ = ["BRANCH", "copy", "first_cell", "main", "push"]

ROOT = Path(__file__).parents[2]
BRANCH = "hosted"
# pip keeps what the host has, PyTorch first of all, where the ranges of pyproject.toml allow it.
_SOURCE = """\
# A hosted notebook starts without the book. This takes a minute.
![ -d /tmp/book ] || git clone --quiet --depth 1 --branch {branch} {repository} /tmp/book
%pip install --quiet "/tmp/book[export]"
%cd -q /tmp/book/{folder}"""


def first_cell(repository: str, branch: str, folder: str) -> dict[str, Any]:
    """The cell that fetches the book, installs its library and goes to the chapter's folder."""
    source = _SOURCE.format(repository=repository, branch=branch, folder=folder)
    return {
        "cell_type": "code",
        "execution_count": None,
        "id": "hosted",
        "metadata": {"tags": ["hide-cell"]},
        "outputs": [],
        "source": source.splitlines(keepends=True),
    }


def copy(root: Path, target: Path, repository: str, branch: str) -> list[Path]:
    """Write the copies of all chapters under ``root`` to ``target``, which is emptied before."""
    shutil.rmtree(target, ignore_errors=True)
    made = []
    for path in sorted((root / "chapters").glob("*/*.ipynb")):
        place = path.relative_to(root)
        notebook = json.loads(path.read_text(encoding="utf-8"))
        notebook["cells"].insert(0, first_cell(repository, branch, place.parent.as_posix()))
        made.append(target / place)
        made[-1].parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"
        made[-1].write_text(text, encoding="utf-8")
    return made


def push(root: Path, folder: Path, remote: str) -> None:
    """Make ``folder`` the whole content of the branch at ``remote``; ``root`` stays as it is."""
    index = folder.with_name(folder.name + ".index")
    index.unlink(missing_ok=True)
    places = {"GIT_DIR": root / ".git", "GIT_WORK_TREE": folder, "GIT_INDEX_FILE": index}
    environment = os.environ | {name: str(path.resolve()) for name, path in places.items()}
    who = ("-c", "user.name=the contributors", "-c", "user.email=contributors@example.invalid")

    def git(*arguments: str) -> str:
        command = ["git", *who, *arguments]
        run = subprocess.run(
            command, cwd=folder, env=environment, check=True, stdout=subprocess.PIPE, text=True
        )
        return run.stdout.strip()

    git("add", "--all", ".")
    tree = git("write-tree")
    source = git("rev-parse", "HEAD")
    commit = git("commit-tree", tree, "-m", f"Chapters of {source} for hosted notebooks")
    git("push", "--quiet", "--force", remote, f"{commit}:refs/heads/{BRANCH}")


def main(arguments: list[str] | None = None) -> None:
    """Read the command line and write, and push where that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repository", required=True, help="public address of the book")
    parser.add_argument(
        "--branch", default="main", help="branch that the copies fetch the book from"
    )
    parser.add_argument("--push", metavar="REMOTE", help="also push the copies to this remote")
    asked = parser.parse_args(arguments)
    if not asked.repository.startswith("https://"):
        parser.error(
            "say where the book is: make hosted REPOSITORY=https://github.com/NAME/REPOSITORY"
        )
    folder = ROOT / "_build" / "hosted"
    made = copy(ROOT, folder, asked.repository, asked.branch)
    print(f"{len(made)} chapters for hosted notebooks: {folder}")
    if asked.push:
        push(ROOT, folder, asked.push)


if __name__ == "__main__":
    main()
