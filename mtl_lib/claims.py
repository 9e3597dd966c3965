"""The claims ledger: a verdict is computed from paired measurements, never typed.

A chapter ends with ``show(Claim(...), ...)``. The table goes to the page, and the measurements
behind it go into the same cell's output as machine-readable data, from where `read` and
`read_book` take them: for the tests, for the home page and for the last chapter.
"""

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path
from re import fullmatch
from typing import Any, Literal

import numpy as np
from scipy import stats

__all__ = [
    "MIME",
    "Claim",
    "Verdict",
    "flips",
    "from_output",
    "read",
    "read_book",
    "show",
    "show_book",
]

Verdict = Literal["holds", "fails", "inconclusive"]

MIME = "application/vnd.mtl-claims+json"
CONFIDENCE = 0.95
FEWEST_SEEDS = 3  # two differences always span an interval, but say nothing about their spread
# 0.3 - 0.2 is a little less than 0.1 in floating point: this share of the largest number involved
# counts as equal, so that rounding alone never decides a verdict.
_ROUNDING = 1e-12
_SYMBOLS = {"holds": "✔", "fails": "✘", "inconclusive": "?"}
# Jupyter's themes align tables of numbers to the right; this one is read as sentences.
_CELL = 'style="text-align: left; vertical-align: top; white-space: normal; padding: 0.3em 0.6em"'


@dataclass(frozen=True)
class Claim:
    """The claim that one measured quantity exceeds another by more than a margin.

    The two sides are paired: entry ``i`` of both was measured with the same seed. The verdict
    looks at the 95 % Student-t interval of the mean paired difference, ``greater - smaller``
    (Student, "The probable error of a mean", Biometrika 6, 1908, pages 1-25).

    Args:
        id: lower-case words joined by hyphens, unique in the book.
        sentence: what is claimed, in words.
        greater: ``{name: measurements}``, one name, one number per seed.
        smaller: the other side, with as many measurements. Where less is better, the better
            contender stands here.
        margin: the difference that has to be exceeded, in the measurements' unit.
        unit: unit of the measurements, empty for a pure number.
        source: where the claim comes from, for instance a section of the article.

    Raises:
        ValueError: malformed id, empty sentence, not one name a side, unequal lengths,
            a number that is not finite.

    Example:
        >>> joint, alone = [0.81, 0.84, 0.82], [0.60, 0.66, 0.62]
        >>> Claim("joint-is-coherent", "A joint model is more coherent.",
        ...       greater={"joint": joint}, smaller={"separate": alone}).verdict
        'holds'
    """

    id: str
    sentence: str
    greater: Mapping[str, Sequence[float]]
    smaller: Mapping[str, Sequence[float]]
    margin: float = 0.0
    unit: str = ""
    source: str = ""

    def __post_init__(self) -> None:
        if not fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", self.id):
            raise ValueError(
                f"id is {self.id!r}, wanted lower-case words joined by hyphens, "
                "such as 'joint-is-coherent': rename the claim."
            )
        if not self.sentence.strip():
            raise ValueError(f"sentence of claim {self.id!r} is empty: say what is claimed.")
        for side in ("greater", "smaller"):
            object.__setattr__(self, side, self._checked(side, getattr(self, side)))
        object.__setattr__(self, "margin", float(self.margin))
        if not math.isfinite(self.margin):
            raise ValueError(
                f"margin of claim {self.id!r} is {self.margin}, wanted a finite number: "
                "state the difference that has to be exceeded, 0 for any."
            )
        counts = len(self._values("greater")), len(self._values("smaller"))
        if counts[0] != counts[1]:
            raise ValueError(
                f"claim {self.id!r} has {counts[0]} measurements in greater and {counts[1]} in "
                "smaller, wanted as many: measure both sides with the same seeds, in order."
            )

    def _checked(self, side: str, value: Mapping[str, Sequence[float]]) -> dict[str, list[float]]:
        """``{name: floats}`` of one side, or an error that says what is wrong with it."""
        if not isinstance(value, Mapping) or len(value) != 1:
            raise ValueError(
                f"{side} of claim {self.id!r} is {value!r}, wanted one name with its "
                "measurements, such as {'joint': [0.8, 0.9, 0.7]}."
            )
        ((name, given),) = value.items()
        numbers = [float(number) for number in given]
        if not numbers or not all(map(math.isfinite, numbers)):
            raise ValueError(
                f"{side} of claim {self.id!r} has the measurements {numbers}, wanted at least one "
                "and all finite: find the run that diverged, or measure again."
            )
        return {str(name): numbers}

    def _values(self, side: Literal["greater", "smaller"]) -> list[float]:
        (numbers,) = getattr(self, side).values()
        return list(numbers)

    @property
    def seeds(self) -> int:
        """How many paired measurements there are."""
        return len(self._values("greater"))

    @property
    def difference(self) -> float:
        """Mean of ``greater - smaller`` over the seeds, in the measurements' unit."""
        return float(np.mean(self._differences()))

    @property
    def interval(self) -> tuple[float, float]:
        """95 % Student-t interval of the difference; infinite for a single seed.

        Differences that are equal for all seeds, such as counts of parameters, give an interval
        of width zero.
        """
        if self.seeds < 2:
            return -math.inf, math.inf
        differences = self._differences()
        error = float(np.std(differences, ddof=1)) / math.sqrt(self.seeds)
        half = float(stats.t.ppf((1 + CONFIDENCE) / 2, df=self.seeds - 1)) * error
        return self.difference - half, self.difference + half

    @property
    def verdict(self) -> Verdict:
        """``holds`` if the interval lies above the margin, ``fails`` if below.

        ``inconclusive`` otherwise, and always with fewer than three seeds.
        """
        numbers = [*self._values("greater"), *self._values("smaller"), self.margin]
        slack = _ROUNDING * max(map(abs, numbers))
        low, high = self.interval
        if self.seeds < FEWEST_SEEDS:
            return "inconclusive"
        if low > self.margin + slack:
            return "holds"
        if high < self.margin - slack:
            return "fails"
        return "inconclusive"

    def _differences(self) -> np.ndarray:
        return np.subtract(self._values("greater"), self._values("smaller"))

    def to_dict(self) -> dict[str, Any]:
        """Everything about the claim as JSON data; an infinite interval is ``None``."""
        interval = list(self.interval) if self.seeds > 1 else None
        computed = {"difference": self.difference, "interval": interval, "verdict": self.verdict}
        return {**asdict(self), **computed}


def show(*claims: Claim) -> None:
    """Display the ledger of a chapter and store its data in the cell's output.

    Args:
        claims: the chapter's claims, in the order of the text.

    Raises:
        ValueError: no claim, or two with the same id.
    """
    if not claims:
        raise ValueError("show() got no claim, wanted at least one: pass the chapter's claims.")
    _refuse_duplicates(claim.id for claim in claims)
    ledger = _Ledger(claims)
    try:
        from IPython.display import display
    except ImportError:  # a plain Python without Jupyter still shows the words
        print(ledger)
    else:
        display(ledger)  # type: ignore[no-untyped-call]


def show_book(book: Mapping[str, Sequence[Claim]], chapters: str | Path) -> None:
    """Display claims of several chapters in one table, each with a link to its row there.

    Nothing is stored for machines: that stands in the chapters.

    Args:
        book: what `read_book` gives, or a part of it.
        chapters: the folder that it was read from, as seen from the notebook that shows the table.

    Raises:
        ValueError: no claim.
    """
    if not any(book.values()):
        raise ValueError("book has no claim, wanted at least one: run the chapters first.")
    from IPython.display import display

    display(_Book(book, Path(chapters)))  # type: ignore[no-untyped-call]


def read(notebook: str | Path) -> list[Claim]:
    """Read the claims stored in a notebook's outputs; nothing is executed.

    Args:
        notebook: path of an executed ``.ipynb`` file.

    Returns:
        The claims in the notebook's order; none for a notebook without a ledger.

    Raises:
        ValueError: two claims share an id, or a stored verdict is not the one that its stored
            measurements give.
    """
    cells = json.loads(Path(notebook).read_text(encoding="utf-8"))["cells"]
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    try:
        claims = [
            claim
            for output in outputs
            if MIME in output.get("data", {})
            for claim in from_output(output["data"][MIME])
        ]
        _refuse_duplicates(claim.id for claim in claims)
    except ValueError as error:
        raise ValueError(f"{notebook}: {error}") from error
    return claims


def read_book(chapters: str | Path) -> dict[str, list[Claim]]:
    """Read the claims of every notebook in a folder and the folders below it.

    Args:
        chapters: the folder.

    Returns:
        ``{notebook: claims}``, sorted, with paths relative to the folder and ``/`` between parts.

    Raises:
        ValueError: two claims of the book share an id, or `read` refuses a notebook.
    """
    root = Path(chapters)
    notebooks = sorted(p for p in root.rglob("*.ipynb") if ".ipynb_checkpoints" not in p.parts)
    book = {path.relative_to(root).as_posix(): read(path) for path in notebooks}
    _refuse_duplicates(claim.id for claims in book.values() for claim in claims)
    return book


def flips(stored: Iterable[Claim], fresh: Iterable[Claim]) -> list[str]:
    """Ids of the claims whose verdict went from *holds* to *fails* or the reverse.

    A verdict that became inconclusive, or was, is no flip: it says that the seeds at hand
    cannot decide, and contradicts nobody.

    Args:
        stored: the claims as published.
        fresh: the same claims from another run.

    Raises:
        ValueError: the two runs do not make the same claims.
    """
    before = {claim.id: claim.verdict for claim in stored}
    after = {claim.id: claim.verdict for claim in fresh}
    if before.keys() != after.keys():
        raise ValueError(
            f"the fresh run lacks the claims {sorted(before.keys() - after.keys())} and adds "
            f"{sorted(after.keys() - before.keys())}, wanted the stored ones: "
            "run `make notebooks` where the chapter has changed."
        )
    return [name for name in before if {before[name], after[name]} == {"holds", "fails"}]


def from_output(data: Mapping[str, Any]) -> list[Claim]:
    """Claims from the data that `show` stored in a cell's output under `MIME`.

    Raises:
        ValueError: a stored verdict is not the one that its stored measurements give.
    """
    names = ("id", "sentence", "greater", "smaller", "margin", "unit", "source")
    claims = []
    for record in data["claims"]:
        claim = Claim(**{name: record[name] for name in names})
        if record["verdict"] != claim.verdict:
            raise ValueError(
                f"claim {claim.id!r} is stored as {record['verdict']!r}, but its stored "
                f"measurements give {claim.verdict!r}: run `make notebooks`."
            )
        claims.append(claim)
    return claims


def _refuse_duplicates(ids: Iterable[str]) -> None:
    twice = sorted(name for name, count in Counter(ids).items() if count > 1)
    if twice:
        raise ValueError(f"the claim ids {twice} appear more than once: rename all but one.")


class _Ledger:
    """The table of a chapter's claims in every form that Jupyter may ask for."""

    def __init__(self, claims: Sequence[Claim]) -> None:
        self.claims = claims

    def __repr__(self) -> str:
        return "\n".join(
            f"{claim.verdict:<12}  {claim.id}: difference {_interval_text(claim)}, "
            f"margin {_number(claim.margin)}, {_count(claim.seeds)}"
            for claim in self.claims
        )

    def _repr_mimebundle_(self, **_: object) -> dict[str, Any]:
        return {
            MIME: {"version": 1, "claims": [claim.to_dict() for claim in self.claims]},
            "text/html": _html(self.claims),
            "text/plain": repr(self),
        }


class _Book:
    """Claims of several chapters, one a row."""

    def __init__(self, book: Mapping[str, Sequence[Claim]], chapters: Path) -> None:
        self.rows = [(notebook, claim) for notebook, found in book.items() for claim in found]
        self.titles = {notebook: _title(chapters / notebook) for notebook in book}
        self.chapters = chapters

    def __repr__(self) -> str:
        return "\n".join(f"{claim.verdict:<12}  {claim.id}" for _, claim in self.rows)

    def _repr_html_(self) -> str:
        head = "".join(f'<th scope="col" {_CELL}>{t}</th>' for t in ("Claim", "Verdict", "Chapter"))
        body = "\n".join(self._row(notebook, claim) for notebook, claim in self.rows)
        return (
            '<div class="mtl-claims" style="overflow-x: auto" role="region" tabindex="0" '
            f'aria-label="Claims of {len(self.titles)} chapters">\n<table class="dataframe">\n'
            f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>\n</div>"
        )

    def _row(self, notebook: str, claim: Claim) -> str:
        link = f"{(self.chapters / notebook).as_posix()}#claim-{claim.id}"
        return (
            f'<tr><th scope="row" {_CELL}>{escape(claim.sentence)}</th>'
            f"<td {_CELL}>{_verdict(claim)}</td>"
            f'<td {_CELL}><a href="{escape(link)}">{escape(self.titles[notebook])}</a></td></tr>'
        )


def _title(notebook: Path) -> str:
    """The first heading of a notebook, or the name of its file."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    lines = "".join(cells[0]["source"]).splitlines() if cells else []
    return next((line[2:] for line in lines if line.startswith("# ")), notebook.stem)


def _verdict(claim: Claim) -> str:
    text = f'<span aria-hidden="true">{_SYMBOLS[claim.verdict]}</span> {claim.verdict}'
    classes = f"mtl-verdict mtl-{claim.verdict}"
    return f'<span class="{classes}" style="white-space: nowrap">{text}</span>'


def _html(claims: Sequence[Claim]) -> str:
    """An accessible table: no colour of its own, and it scrolls by itself where narrow."""
    titles = ["Claim", "Verdict", "Claimed greater", "Claimed smaller", "Difference", "Seeds"]
    if any(claim.margin for claim in claims):
        titles.insert(-1, "Margin")
    head = "".join(f'<th scope="col" {_CELL}>{title}</th>' for title in titles)
    body = "\n".join(_html_row(claim, "Margin" in titles) for claim in claims)
    # A region that scrolls has to take the keyboard focus and to carry a name. The class names
    # are the site's to style; `dataframe` is the one that Jupyter's own themes know.
    return (
        '<div class="mtl-claims" style="overflow-x: auto" role="region" tabindex="0" '
        'aria-label="Claims of this chapter">\n<table class="dataframe">\n'
        '<caption style="text-align: left">'
        "The claims of this chapter. Means over paired seeds; the difference is greater "
        "minus smaller, with its 95 % Student-t interval.</caption>\n"
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>\n</div>"
    )


def _html_row(claim: Claim, with_margin: bool) -> str:
    source = f' <cite class="mtl-source">{escape(claim.source)}</cite>' if claim.source else ""
    unit = f" {escape(claim.unit)}" if claim.unit else ""
    cells = [_verdict(claim)]
    for side in ("greater", "smaller"):
        ((name, values),) = getattr(claim, side).items()
        cells.append(f"{escape(name)}: {_number(float(np.mean(values)))}{unit}")
    cells.append(_interval_text(claim) + unit)
    if with_margin:
        cells.append(f"{_number(claim.margin)}{unit}" if claim.margin else "none")
    cells.append(str(claim.seeds))
    return (
        f'<tr id="claim-{claim.id}"><th scope="row" {_CELL}>{escape(claim.sentence)}{source}</th>'
        + "".join(f"<td {_CELL}>{cell}</td>" for cell in cells)
        + "</tr>"
    )


def _interval_text(claim: Claim) -> str:
    bounds = ", ".join(map(_number, claim.interval)) if claim.seeds > 1 else "unknown"
    return f"{_number(claim.difference)} [{bounds}]"


def _count(seeds: int) -> str:
    return f"{seeds} seed" if seeds == 1 else f"{seeds} seeds"


def _number(value: float) -> str:
    """Four significant digits, counts exactly, thousands grouped, a real minus sign."""
    count = value.is_integer() and abs(value) < 1e12
    rounded = value if count else float(f"{value:.4g}")
    grouped = 1e4 <= abs(rounded) < 1e12
    text = f"{rounded:,.0f}" if grouped else f"{rounded:.4g}"
    return text.replace("-", "\N{MINUS SIGN}") if rounded else "0"
