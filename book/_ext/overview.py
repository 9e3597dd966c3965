"""Sphinx extension: what a chapter asks of its reader, and how chapters are announced.

``{chapters} 01_background``: a card for each chapter of a part, on the part's first page.
``{chapters}`` alone: a table of times, for teachers.
On a page for a screen, every chapter has a head: how long it takes, what it needs, where to get it.

All of it is read from the notebooks; nobody types a number.
"""

import re
from collections.abc import Iterator
from functools import cache
from html import escape
from itertools import takewhile
from pathlib import Path
from typing import Any

import nbformat
from attachments import write_attached
from docutils import nodes
from interactive import SCREEN
from ledger import CHAPTERS, chapter_link, row, table, verdict_counts
from places import chapter_number
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from mtl_lib.claims import read

__all__ = ["Chapter", "Chapters", "add_head", "add_launch", "setup"]

WORDS_A_MINUTE = 200
MINUTES_A_PAUSE = 0.5  # a formula that stands by itself, a figure, a cell that is not folded
PICTURE = "answer.png"
_LAUNCH = "<!-- launch -->"


class Chapter:
    """What a notebook says of itself."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.cells = nbformat.read(path, as_version=4).cells
        first = self.cells[0].source
        self.title = _found(r"^# (.+)$", first, path, "a first cell with its title")
        takes = r"\*\*It takes\*\* (.+?)\.?$"
        self.running = _found(takes, first, path, "'**It takes** ... on one processor core.'")

    @property
    def running_time(self) -> str:
        """How long, without on what."""
        return self.running.partition(" on one processor core")[0]

    @property
    def minutes(self) -> float:
        """Reading it, up to the exercises."""
        words = pauses = 0
        for cell in takewhile(
            lambda c: not re.search(r"^## Exercises$", c.source, re.M), self.cells
        ):
            if cell.cell_type == "markdown":
                formulas = re.findall(r"\$\$.+?\$\$", cell.source, re.S)
                text = re.sub(r"\$\$.+?\$\$|^```.*?^```", "", cell.source, flags=re.S | re.M)
                words, pauses = words + len(text.split()), pauses + len(formulas)
            else:
                pauses += "hide-input" not in cell.metadata.get("tags", [])
                pauses += any("image/png" in output.get("data", {}) for output in cell.outputs)
        return words / WORDS_A_MINUTE + pauses * MINUTES_A_PAUSE

    @property
    def needs(self) -> str:
        """What to install: the library, with its optional part where the chapter writes files."""
        code = "\n".join(cell.source for cell in self.cells if cell.cell_type == "code")
        exports = re.search(r"^(from|import) mtl_lib\b.*\bexport\b", code, re.M)
        return "mtl_lib[export]" if exports else "mtl_lib"

    @property
    def exercises(self) -> tuple[int, int]:
        """How many are for practice, with a solution, and how many are open."""
        text = "\n".join(cell.source for cell in self.cells if cell.cell_type == "markdown")
        asked = len(re.findall(r"^`{3,}\{exercise\}", text, re.M))
        solved = len(re.findall(r"^`{3,}\{solution\}", text, re.M))
        return solved, asked - solved


def _found(pattern: str, text: str, path: Path, wanted: str) -> str:
    found = re.search(pattern, text, re.M)
    if not found:
        raise ValueError(f"{path}: wanted {wanted}.")
    return found[1]


@cache
def chapter(path: Path) -> Chapter:
    """The same object for every page that asks within one build."""
    return Chapter(path)


def rounded(minutes: float) -> int:
    """To five minutes, as much as an estimate is good for."""
    return max(5, 5 * round(minutes / 5))


class Chapters(SphinxDirective):
    """Cards of one part, or a table of the times of all chapters."""

    optional_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Sphinx calls this where the directive stands."""
        self.env.note_reread()  # chapters change without this page
        folder = Path(self.env.srcdir) / CHAPTERS
        paths = sorted(folder.glob(f"{''.join(self.arguments) or '*'}/*.ipynb"))
        if not paths:
            raise self.error(f"{folder} has no chapters in {self.arguments}.")
        found = [chapter(path) for path in paths]
        return list(self._cards(found)) if self.arguments else [_times(found)]

    def _cards(self, found: list[Chapter]) -> Iterator[nodes.Node]:
        total = sum(rounded(chapter.minutes) for chapter in found)
        time = f"{total} minutes" if total <= 120 else f"{round(total / 30) / 2:g} hours"
        yield nodes.paragraph(text=f"Reading takes about {time}.")
        grid = nodes.container(classes=["chapter-cards"])
        for chapter in found:
            picture = nodes.image(uri=write_attached(self.env.app, chapter.path, PICTURE), alt="")
            number = chapter_number(chapter.path.as_posix())
            link = chapter_link(chapter.path, f"{number} {chapter.title}")
            times = nodes.paragraph(
                text=f"Read {rounded(chapter.minutes)} minutes · run {chapter.running_time}",
                classes=["chapter-times"],
            )
            title = nodes.paragraph("", "", link, classes=["chapter-title"])
            text = nodes.container("", title, times, verdict_counts(read(chapter.path)))
            grid += nodes.container("", picture, text, classes=["chapter-card"])
        yield grid


def _times(found: list[Chapter]) -> nodes.Node:
    titles = ("Chapter", "Reading, minutes", "Running", "Practice exercises", "Open exercises")
    rows = [
        row(
            [chapter_link(chapter.path, chapter.title)],
            *(
                [nodes.Text(str(cell))]
                for cell in (
                    rounded(chapter.minutes),
                    chapter.running_time,
                    *chapter.exercises,
                )
            ),
        )
        for chapter in found
    ]
    return table(titles, rows, widths=(5, 2, 3, 2, 2), label="Times of the chapters")


def add_head(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """On a page for a screen, gather below the title what a reader wants to know first."""
    path = Path(app.env.doc2path(docname))
    if app.builder.name not in SCREEN or path.suffix != ".ipynb":
        return
    found = chapter(path)
    for paragraph in list(doctree.findall(nodes.paragraph)):
        if paragraph.astext().startswith("It takes "):
            paragraph.parent.remove(paragraph)
            break
    source = f"{'../' * docname.count('/')}_sources/{docname}.ipynb"
    facts = {
        "Chapter": chapter_number(docname),
        "Read": f"{rounded(found.minutes)} minutes",
        "Run": found.running,
        "Needs": f"<code>{found.needs}</code>, no GPU, no download",
        "Notebook": f'<a href="{source}" download>Download</a>{_LAUNCH}',
    }
    items = "".join(f"<div><dt>{name}</dt><dd>{text}</dd></div>" for name, text in facts.items())
    title = next(iter(doctree.findall(nodes.title)))
    head = nodes.raw("", f'<dl class="chapter-head">{items}</dl>', format="html")
    title.parent.insert(title.parent.index(title) + 1, head)


def add_launch(app: Sphinx, _page: str, _template: str, context: dict[str, Any], _: Any) -> None:
    """Repeat the theme's launch buttons in words, where the book's address is set."""
    links = "".join(
        f' · <a href="{escape(button["url"])}">{escape(button["tooltip"])}</a>'
        for group in context.get("header_buttons", [])
        if group["label"] == "launch-buttons"
        for button in group["buttons"]
    )
    if "body" in context:
        context["body"] = context["body"].replace(_LAUNCH, links, 1)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension."""
    app.add_directive("chapters", Chapters)
    app.connect("doctree-resolved", add_head)
    app.connect("html-page-context", add_launch, priority=503)  # after those of `repository`
    return {"parallel_read_safe": True, "parallel_write_safe": True}
