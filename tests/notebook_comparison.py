"""pytest plugin: how `pytest --nbval` compares fresh outputs with stored ones.

    PYTHONPATH=tests python -m pytest -p notebook_comparison --nbval chapters

nbval runs the cells; this plugin replaces its comparison, which is too strict about numbers that
another machine rounds differently and says nothing where a cell was never run. The rules:

- Durations, speeds, sizes of memory and addresses of objects are not compared, anywhere.
- Everything else that a cell prints is compared exactly, up to blanks at the end of a line.
- In cells tagged ``measured`` the words are compared exactly and the numbers loosely, see `close`.
  In cells tagged ``timing`` numbers are not compared at all, only the words around them.
- Claims are compared as verdicts: a *holds* that became *fails*, or the reverse, is an error.
  A verdict that became or was inconclusive passes: on another machine the interval may touch the
  margin, and nothing that the page says is contradicted. What is claimed (id, sentence, names of
  the sides, margin, unit, number of seeds) is compared exactly, the measurements behind it not.
- Images are counted, not compared. Warnings on stderr are not compared: they depend on the
  machine, and the structure tests keep them out of stored outputs.
- An output that only one of both runs has is an error, and so is a cell that was never executed.
"""

import json
import os
import re
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from nbval.plugin import IPyNbCell, NbCellError

from mtl_lib import claims

# The tools are scripts, not an installed package.
sys.path.insert(0, str(Path(__file__).parents[1] / "book" / "tools"))
import notebooks

__all__ = ["close", "differences", "without_machine"]

# Training amplifies rounding. With the vector instructions of an older processor
# (ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=SSE41) an autoencoder of 500 steps ended within
# 1 % in loss and IoU, but one cosine between the gradients of two batches went from 0.91 to 0.98,
# and under AVX2 to 0.47. A third of the larger number lets averages pass anywhere, longer training
# included, and stops what matters: a factor of two, a unit, a forgotten division. A figure as
# unstable as one cosine belongs in a claim over seeds or in a picture, not in print.
RELATIVE = 0.35
# Close to zero no relative tolerance helps. There, the last printed digit may move by this much,
# so a page that prints fewer digits promises less.
LAST_DIGITS = 2

_NUMBER = re.compile(
    r"(?<![\w.])[-+\N{MINUS SIGN}]?"  # a digit inside a word such as conv2 is no number
    r"(?:\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
)
_BLANKS = r"[ \t\N{NO-BREAK SPACE}\N{NARROW NO-BREAK SPACE}]*"
_AMOUNT = rf"{_BLANKS}\b\d[\d.,]*(?:e[-+]?\d+)?(?:{_BLANKS}±{_BLANKS}\d[\d.,]*)?{_BLANKS}"
_TIME = r"ns|[µμu]s|ms|s|sec|seconds?|milliseconds?|min|minutes?|hours?"
_MACHINE = [
    (r"(?<= at )0x[0-9a-fA-F]+", "<address>"),
    (rf"{_AMOUNT}(?:[A-Za-z]*/(?:s|sec|second)|[a-z]+ (?:per|a) second)\b{_BLANKS}", "<speed>"),
    (rf"{_AMOUNT}(?:{_TIME})\b{_BLANKS}", "<duration>"),
    (rf"{_AMOUNT}(?:bytes|[kKMG]i?B)\b{_BLANKS}", "<memory>"),
]


def pytest_configure() -> None:
    """Give the kernels the settings with which outputs are stored."""
    os.environ.update(notebooks.ENVIRONMENT)
    os.environ.pop("MPLBACKEND", None)  # Jupyter sets the inline one


def pytest_itemcollected(item: pytest.Item) -> None:
    """Replace nbval's comparison, for notebook cells only."""
    if isinstance(item, IPyNbCell):
        item.compare_outputs = lambda fresh, stored: _compare(item, stored, fresh)


@pytest.hookimpl(trylast=True)
def pytest_runtest_call(item: pytest.Item) -> None:
    """Refuse a cell that the stored notebook never ran, where nbval compares nothing."""
    if isinstance(item, IPyNbCell) and item.cell.source.strip() and not item.cell.execution_count:
        message = "The stored notebook never ran this cell: run `make notebooks`."
        raise NbCellError(item.cell_num, message, item.cell.source)


def _compare(item: IPyNbCell, stored: list[Any], fresh: list[Any]) -> bool:
    item.comparison_traceback = differences(stored, fresh, item.cell.metadata)
    return not item.comparison_traceback


def differences(
    stored: Sequence[Mapping[str, Any]],
    fresh: Sequence[Mapping[str, Any]],
    metadata: Mapping[str, Any],
) -> list[str]:
    """What differs between two runs of a cell, one sentence each; empty where nothing does.

    Args:
        stored: the outputs in the file.
        fresh: the outputs of this run.
        metadata: of the cell, whose tags choose the rules; its ``absolute_tolerance`` widens the
            comparison of measured numbers around zero.
    """
    before, after = _by_kind(stored), _by_kind(fresh)
    found = []
    for kind in sorted(before.keys() | after.keys()):
        if len(before[kind]) != len(after[kind]):
            found.append(f"{kind}: {len(before[kind])} stored, {len(after[kind])} in this run.")
        elif not kind.startswith("image/"):
            for one, other in zip(before[kind], after[kind], strict=True):
                compare = _claim_differences if kind == claims.MIME else _text_differences
                found += [f"{kind}: {text}" for text in compare(one, other, metadata)]
    return found


def _by_kind(outputs: Sequence[Any]) -> dict[str, list[Any]]:
    """Outputs by MIME type or stream; the order between kinds depends on flushing, not on us."""
    kinds = defaultdict(list)
    for output in notebooks.normalise_outputs(outputs):
        if output.output_type == "stream":
            if output.name == "stdout":
                kinds["stdout"].append(output.text)
        elif output.output_type == "error":
            kinds["error"].append(f"{output.ename}: {output.evalue}")
        elif claims.MIME in output.data:  # the data says all that table and text say
            kinds[claims.MIME].append(output.data[claims.MIME])
        else:
            for mime, content in output.data.items():
                kinds[mime].append(content)
    if "stdout" in kinds:  # a picture between two prints may cut the stream elsewhere
        kinds["stdout"] = ["".join(kinds["stdout"])]
    return kinds


def _claim_differences(stored: Any, fresh: Any, _: Mapping[str, Any]) -> list[str]:
    try:
        before, after = claims.from_output(stored), claims.from_output(fresh)
        flipped = claims.flips(before, after)
    except ValueError as error:
        return [str(error)]
    verdicts = {claim.id: claim.verdict for claim in after}
    found = [
        f"verdict of {claim.id!r} flipped: {claim.verdict} stored, {verdicts[claim.id]} in this run"
        for claim in before
        if claim.id in flipped
    ]
    wordings = {claim.id: _wording(claim) for claim in after}
    return found + [
        f"claim {claim.id!r} is {_wording(claim)} stored, {wordings[claim.id]} in this run"
        for claim in before
        if _wording(claim) != wordings[claim.id]
    ]


def _wording(claim: claims.Claim) -> tuple[object, ...]:
    """What is claimed, without what was measured."""
    sides = (*claim.greater, *claim.smaller)
    return claim.sentence, sides, claim.margin, claim.unit, claim.source, claim.seeds


def _text_differences(stored: Any, fresh: Any, metadata: Mapping[str, Any]) -> list[str]:
    """Compare texts, or other JSON data as text, by the rule that the cell's tags choose."""
    one, other = (
        without_machine(text if isinstance(text, str) else json.dumps(text, sort_keys=True))
        for text in (stored, fresh)
    )
    tags = metadata.get("tags", [])
    if not {"measured", "timing"} & set(tags):
        return [] if one == other else [_shown(one, other)]
    if _words(one) != _words(other):
        return ["words differ. " + _shown(_words(one), _words(other))]
    if "timing" in tags:
        return []
    tolerance = float(metadata.get("absolute_tolerance", 0.0))
    pairs = zip(_NUMBER.findall(one), _NUMBER.findall(other), strict=True)
    return [
        f"{a} stored, {b} in this run: beyond the tolerance of a measured number"
        for a, b in pairs
        if not close(a, b, tolerance)
    ]


def without_machine(text: str) -> str:
    """Durations, speeds, memory and addresses replaced by their kind, with the blanks around.

    >>> without_machine("trained in  9.8 s")
    'trained in<duration>'
    """
    for pattern, kind in _MACHINE:
        text = re.sub(pattern, kind, text)
    return text


def close(stored: str, fresh: str, tolerance: float = 0.0) -> bool:
    """Whether two printed numbers agree as measurements made on two machines.

    They do when they differ by at most `RELATIVE` of the larger one, or by `LAST_DIGITS` units
    of the last printed digit, or by ``tolerance``.
    """
    one, other = _value(stored), _value(fresh)
    allowed = max(
        RELATIVE * max(abs(one), abs(other)),
        LAST_DIGITS * max(_last_digit(stored), _last_digit(fresh)),
        tolerance,
    )
    return abs(one - other) <= allowed * (1 + 1e-9)  # 0.03 - 0.01 is a little more than 0.02


def _value(number: str) -> float:
    return float(number.replace(",", "").replace("\N{MINUS SIGN}", "-"))


def _last_digit(number: str) -> float:
    """The unit of the last printed digit: 0.01 for 3.14, 1 for 41, 1e-5 for 2.5e-4."""
    mantissa, _, exponent = number.lower().partition("e")
    decimals = len(mantissa.partition(".")[2])
    return float(10.0 ** (int(exponent or 0) - decimals))


def _words(text: str) -> str:
    """The text with numbers and runs of blanks evened out: columns move with their numbers."""
    text = _NUMBER.sub(" <number> ", text)
    return re.sub(r"[ \t]+", " ", text)


def _shown(stored: str, fresh: str) -> str:
    """The first line that differs, of both runs."""
    before, after = stored.splitlines(), fresh.splitlines()
    for one, other in zip(before, after, strict=False):
        if one != other:
            return f"Stored: {one!r}; in this run: {other!r}."
    return f"Stored: {len(before)} lines; in this run: {len(after)} lines."
