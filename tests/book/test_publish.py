"""What the world sees: buttons that open chapters elsewhere, workflows, and the site as one zip.

The site is built once more, with an address, as the workflows build it.
"""

import hashlib
import html
import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import archive as archive_tool
import hosted
import nbformat
import pytest
import repository
import yaml
from IPython.core.inputtransformer2 import TransformerManager
from sphinx.errors import ConfigError

ROOT = Path(__file__).parents[2]
ADDRESS = "https://github.com/NAME/REPOSITORY"
CHAPTERS = sorted(path.relative_to(ROOT) for path in ROOT.glob("chapters/*/*.ipynb"))
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
TARGETS = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
# All that may change something; every other job reads.
WRITERS = {
    ("pages", "hosted"): {"contents": "write"},
    ("pages", "deploy"): {"pages": "write", "id-token": "write"},
    ("release", "release"): {"contents": "write"},
}

site = pytest.mark.site


# ---- Buttons ----


@pytest.fixture
def buttons(monkeypatch):
    """What the extension turns on for an address in the settings and one in the environment."""

    def turn_on(setting, variable=None):
        monkeypatch.delenv("REPOSITORY", raising=False)
        if variable is not None:
            monkeypatch.setenv("REPOSITORY", variable)
        config = SimpleNamespace(
            html_theme_options={"repository_url": setting, "launch_buttons": {}}
        )
        repository.turn_on(None, config)
        return config.html_theme_options

    assert repository.HOSTED_BRANCH == hosted.BRANCH
    return turn_on


@pytest.mark.parametrize("variable", [None, ""])
def test_without_an_address_there_is_no_button(buttons, variable):
    assert buttons("", variable) == {"repository_url": ""}


@pytest.mark.parametrize("given", [ADDRESS, ADDRESS + "/", ADDRESS + ".git"])
def test_an_address_turns_all_buttons_on(buttons, given):
    for options in (buttons(given), buttons("", given), buttons("https://a.b/c/d", given)):
        assert options["repository_url"] == ADDRESS
        assert options["use_repository_button"]
        assert {"binderhub_url", "colab_url"} < options["launch_buttons"].keys()


def test_another_forge_gets_no_button_of_colab(buttons):
    assert "colab_url" not in buttons("https://gitlab.com/NAME/REPOSITORY")["launch_buttons"]


@pytest.mark.parametrize("given", ["NAME/REPOSITORY", "https://github.com/NAME", "http://a.b/c/d"])
def test_what_is_no_address_is_refused(buttons, given):
    with pytest.raises(ConfigError, match="no address"):
        buttons(given)


# ---- What they open ----


def test_a_copy_for_colab_is_the_chapter_with_one_cell_before_it(tmp_path):
    made = hosted.copy(ROOT, tmp_path / "hosted", ADDRESS, "main")
    assert [path.relative_to(tmp_path / "hosted") for path in made] == CHAPTERS
    for path, chapter in zip(made, CHAPTERS, strict=True):
        nbformat.validate(nbformat.read(path, 4))
        copied, own = (json.loads(p.read_text("utf-8")) for p in (path, ROOT / chapter))
        first, *rest = copied.pop("cells")
        assert rest == own.pop("cells")
        assert copied == own
        source = "".join(first["source"])
        assert f"--branch main {ADDRESS} /tmp/book" in source
        assert (ROOT / re.search(r"%cd -q /tmp/book/(.+)", source)[1] / chapter.name).is_file()
        compile(TransformerManager().transform_cell(source), str(chapter), "exec")


def test_pushing_the_copies_changes_their_branch_only(tmp_path):
    root, remote = tmp_path / "book", tmp_path / "remote.git"
    chapter = Path("chapters", "01_part", "01_chapter.ipynb")
    (root / chapter).parent.mkdir(parents=True)
    nbformat.write(nbformat.v4.new_notebook(), root / chapter)

    def git(*arguments, where=root):
        who = ("-c", "user.name=a", "-c", "user.email=a@example.invalid")
        command = ["git", *who, "-C", where, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    git("init", "--quiet", "--bare", remote, where=tmp_path)
    git("init", "--quiet", "--initial-branch", "main")
    git("add", ".")
    git("commit", "--quiet", "-m", "A book")
    before = git("rev-parse", "HEAD"), git("status", "--porcelain")
    for address in (ADDRESS, ADDRESS + "2"):
        hosted.copy(root, tmp_path / "hosted", address, "main")
        hosted.push(root, tmp_path / "hosted", str(remote))
        assert git("ls-tree", "-r", "--name-only", "hosted", where=remote) == f"{chapter}\n"
        assert address + " /tmp" in git("show", f"hosted:{chapter.as_posix()}", where=remote)
        assert git("rev-list", "--count", "hosted", where=remote) == "1\n"
    assert before == (git("rev-parse", "HEAD"), git("status", "--porcelain"))
    assert git("branch", "--format", "%(refname:short)", where=remote) == "hosted\n"


def test_copies_are_not_made_without_an_address(capsys):
    with pytest.raises(SystemExit):
        hosted.main(["--repository", ""])
    assert "make hosted REPOSITORY=" in capsys.readouterr().err


def pins(path):
    """The packages that a list of requirements pins, and their versions."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return dict(re.findall(r"^([\w.-]+)==([\w.]+)", line)[0] for line in lines if "==" in line)


def test_binder_gets_what_chapters_need_at_the_versions_of_the_book():
    lean, full = pins(ROOT / ".binder" / "requirements.txt"), pins(ROOT / "requirements.txt")
    assert {name: full[name] for name in lean} == lean
    sources = [
        cell.source
        for chapter in CHAPTERS
        for cell in nbformat.read(ROOT / chapter, 4).cells
        if cell.cell_type == "code"
    ]
    imported = set(re.findall(r"^\s*(?:from|import) (\w+)", "\n".join(sources), re.M))
    assert imported - sys.stdlib_module_names - {"mtl_lib"} <= lean.keys()
    assert os.access(ROOT / ".binder" / "postBuild", os.X_OK)


# ---- Workflows ----


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_runs_make_targets_with_pinned_actions_and_the_least_permissions(path):
    text = path.read_text(encoding="utf-8")
    workflow = yaml.safe_load(text)
    assert "secrets." not in text
    assert "pull_request_target" not in text
    assert workflow["permissions"] == {}
    assert "${{" not in str(workflow[True])  # YAML reads `on` as true
    for name, job in workflow["jobs"].items():
        assert job["permissions"] == WRITERS.get((path.stem, name), {"contents": "read"})
        assert job["timeout-minutes"]
        ran = [step["run"] for step in job["steps"] if "run" in step]
        for command in ran:
            # No expression inside: its value would be read as shell.
            found = re.fullmatch(r'make ([a-z]+)( [A-Z]+=(\w+|"\$\w+"))*', command)
            assert found, command
            assert found[1] in TARGETS
        for step in job["steps"]:
            if "uses" in step:
                pinned = r"actions/[a-z-]+@[0-9a-f]{40}"
                assert re.fullmatch(pinned, step["uses"])
                assert re.search(re.escape(step["uses"]) + r" # v\d+\.\d+\.\d+$", text, re.M)
                if "/checkout@" in step["uses"]:
                    keeps = step["with"]["persist-credentials"]
                    assert keeps == (ran == ["make hosted PUSH=origin"])


def test_every_task_of_publishing_has_its_workflow():
    ran = {path.stem: set(re.findall(r"run: make (\w+)", path.read_text())) for path in WORKFLOWS}
    assert ran == {
        "links": {"links"},
        "pages": {"book", "hosted"},
        "release": {"zip", "pdf", "epub", "release"},
        "test": {"lint", "test", "claims"},
    }


def test_copies_are_made_and_pushed_with_the_standard_library_alone():
    text = (ROOT / "book" / "tools" / "hosted.py").read_text(encoding="utf-8")
    assert set(re.findall(r"^(?:from|import) (\w+)", text, re.M)) <= sys.stdlib_module_names
    recipe = (ROOT / "Makefile").read_text(encoding="utf-8").split("\nhosted:")[1].split("\n\n")[0]
    assert recipe.startswith(" ##")  # no environment first


# ---- The zip ----


def test_the_same_site_gives_the_same_zip(tmp_path):
    targets = []
    for name, moment in (("one", 10**9), ("two", 1.5 * 10**9)):
        folder = tmp_path / name
        folder.mkdir()
        for file in ("index.html", "b.html", "a.html") if name == "one" else ("a.html", "b.html"):
            (folder / file).write_text(file)
        (folder / "index.html").write_text("index.html")
        (folder / ".buildinfo").write_text(name)
        for file in folder.iterdir():
            file.chmod(0o600 if name == "one" else 0o755)
            os.utime(file, (moment, moment))
        targets.append(tmp_path / f"{name}_out" / "book.zip")
        targets[-1].parent.mkdir()
        archive_tool.main([str(folder), str(targets[-1])])
    one, two = (target.read_bytes() for target in targets)
    assert one == two
    line = targets[0].with_name("book.zip.sha256").read_text()
    assert line == f"{hashlib.sha256(one).hexdigest()}  book.zip\n"
    with zipfile.ZipFile(targets[0]) as bundle:
        assert bundle.namelist() == ["book/a.html", "book/b.html", "book/index.html"]


def test_an_unfinished_site_is_not_zipped(tmp_path):
    with pytest.raises(SystemExit, match="build the site first"):
        archive_tool.archive(tmp_path, tmp_path / "book.zip")
    assert not (tmp_path / "book.zip").exists()


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory, build_book):
    """The site as the workflows publish it, after zipping and unpacking."""
    out = tmp_path_factory.mktemp("published")
    built = build_book(out, REPOSITORY=ADDRESS)
    archive_tool.archive(built / "html", out / "book.zip")
    with zipfile.ZipFile(out / "book.zip") as bundle:
        bundle.extractall(out / "unpacked")
    return out / "unpacked" / "book"


@site
def test_every_chapter_opens_in_binder_and_colab(unpacked):
    for chapter in CHAPTERS:
        text = (unpacked / chapter.with_suffix(".html")).read_text(encoding="utf-8")
        assert (
            f'"https://mybinder.org/v2/gh/NAME/REPOSITORY/main?urlpath=lab/tree/{chapter}"' in text
        )
        colab = "https://colab.research.google.com/github/NAME/REPOSITORY/blob"
        # At the top of the page, and in words at the chapter's head.
        assert re.findall(f'"{colab}/([^"]+)"', text) == 2 * [f"{hosted.BRANCH}/{chapter}"]
    home = (unpacked / "book" / "index.html").read_text(encoding="utf-8")
    assert f'"{ADDRESS}"' in home
    assert "colab.research" not in home  # nothing to run there


@site
def test_the_unpacked_zip_is_the_whole_book_and_asks_no_other_host(unpacked, browser):
    page, outside, wrong = browser.new_page(), [], []

    def sift(route):
        if route.request.url.startswith(("file:", "data:", "blob:")):
            return route.continue_()
        outside.append(route.request.url)
        return route.abort()

    page.route("**/*", sift)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("requestfailed", lambda request: wrong.append(request.url))
    page.goto((unpacked / "index.html").as_uri())
    page.wait_for_url("**/book/index.html", timeout=5000)
    chapter = CHAPTERS[0].with_suffix(".html").as_posix()
    page.locator(f"a[href$='{chapter}']").first.click()
    page.wait_for_url(f"**/{chapter}", timeout=5000)
    page.wait_for_load_state()
    page.evaluate("() => window.MathJax.startup.promise")
    assert page.locator("mjx-container").count() > 0
    assert page.locator("article img").first.evaluate("image => image.naturalWidth") > 0
    page.close()
    assert (outside, wrong) == ([], [])


@site
def test_no_solution_of_a_graded_set_is_in_the_zip(unpacked, secret_lines):
    kinds = {".html", ".ipynb", ".md", ".txt", ".js", ".py", ".json"}
    files = [path for path in unpacked.rglob("*") if path.suffix in kinds]
    assert len(files) > len(CHAPTERS)
    shown = {path: html.unescape(re.sub(r"<[^>]+>", "", path.read_text("utf-8"))) for path in files}
    assert [(p, line) for p, text in shown.items() for line in secret_lines if line in text] == []
