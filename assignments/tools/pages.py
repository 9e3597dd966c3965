"""The page from which answers are marked by hand: every answer to a question below its rubric."""

import html
import re

import bleach
import jinja2
from check import SOLUTION
from docutils.utils.math import latex2mathml
from nbconvert.filters import ansi2html
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from nbgrader.utils import is_grade, is_solution

MATH = re.compile(r"\$\$(.+?)\$\$|(?<![\\$])\$(?!\s)([^$\n]+?)(?<!\s)\$(?!\d)", re.S)
CODE = re.compile(r"(^```.*?^```|`[^`\n]+`)", re.M | re.S)
HTML = "p h1 h2 h3 h4 h5 h6 pre br hr img table thead tbody tr th td div span del sub sup"
TAGS = {*bleach.ALLOWED_TAGS, *HTML.split()}
ATTRIBUTES = {"ol": ["start"], "a": ["href", "title"], "div": ["class"], "span": ["class"]}
PICTURES = ("image/png", "image/jpeg", "image/gif", "image/webp")

PAGE = jinja2.Template(
    """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{{ name }}: answers to mark by hand</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
:root { color-scheme: light dark; }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 52rem; margin: auto; padding: 1rem; }
pre { overflow-x: auto; padding: .5rem; border: 1px solid #8886; }
img { max-width: 100%; background: #fff; }
.rubric { border-left: .3rem solid #c60; padding-left: 1rem; }
.answer { border-top: 1px solid #8888; padding-top: .5rem; }
h3 { font-size: 1rem; } .points { font-weight: normal; }
</style></head><body>
<h1>{{ name }}: answers to mark by hand</h1>
<p>Fill in <code>points</code> and <code>comment</code> in <code>by_hand.csv</code>, beside this
page, then run <code>make feedback</code>.</p>
<ul>{% for q in questions %}
<li><a href="#{{ q.id }}">{{ q.id }}</a>, {{ q.max }} points</li>{% endfor %}</ul>
{% for q in questions %}
<h2 id="{{ q.id }}">{{ q.id }}, {{ q.max }} points</h2>
<details><summary>The question</summary>{{ q.text }}</details>
<div class="rubric">{{ q.rubric }}</div>
{% for a in q.answers %}
<section class="answer"><h3>{{ a.student | e }}
<span class="points">{{ a.points | e }} {{ a.comment | e }} {{ a.earlier | e }}</span></h3>
{{ a.body }}</section>
{% endfor %}{% endfor %}
</body></html>
"""
)


def by_hand_page(name: str, source, handed_in: dict[str, dict[str, list]], rows: list[dict]) -> str:
    """Return the page, which needs no connection and runs no script."""
    filled = {(row["question"], row["student"]): row for row in rows}
    questions, before = [], ""
    for cell in source.cells:
        if is_grade(cell) and is_solution(cell):
            key = cell.metadata.nbgrader.grade_id
            found = SOLUTION.search(cell.source)
            model = found[1].strip("\n") if found else cell.source
            if cell.cell_type == "code":
                model = f"```python\n{model}\n```"
            theirs = [
                {**filled[key, student], "body": "\n".join(map(rendered, cells[key]))}
                for student, cells in handed_in.items()
            ]
            questions.append(
                {"id": key, "max": f"{cell.metadata.nbgrader.points:g}", "text": markdown(before)}
                | {"rubric": markdown(model), "answers": theirs}
            )
        elif cell.cell_type == "markdown":
            before = cell.source
    return PAGE.render(name=name, questions=questions)


def rendered(cell) -> str:
    """Return a cell as HTML without anything that a browser would run or fetch."""
    if cell.cell_type == "markdown":
        return markdown(cell.source, cell.get("attachments") or {})
    parts = [f"<pre>{html.escape(cell.source)}</pre>"]
    for output in cell.get("outputs", []):
        if output.output_type == "stream":
            parts.append(f"<pre>{html.escape(output.text)}</pre>")
        elif output.output_type == "error":
            parts.append(f"<pre>{ansi2html(chr(10).join(output.traceback[-3:]))}</pre>")
        elif "image/png" in output.get("data", {}):
            picture = source("image/png", output.data["image/png"])
            parts.append(f'<img alt="picture drawn by the cell" src="{picture}">')
        elif "text/plain" in output.get("data", {}):
            parts.append(f"<pre>{html.escape(output.data['text/plain'])}</pre>")
    return "\n".join(parts)


def markdown(text: str, attachments: dict | None = None) -> str:
    """Return Markdown as harmless HTML, formulas as MathML and attached pictures in place."""
    kept: list[str] = []  # what is put into the page at the end, by number
    token = "KEPT"
    while token in text:
        token += "T"

    def keep(made: str) -> str:
        kept.append(made)
        return f"{token}{len(kept) - 1}X"

    def picture(found: re.Match) -> str:
        bundle = (attachments or {}).get(found[1], {})
        kinds = [kind for kind in PICTURES if kind in bundle]
        return keep(source(kinds[0], bundle[kinds[0]])) if kinds else "missing"

    text = with_formulas(text, keep)
    text = re.sub(r"attachment:([^\s)\"'>]+)", picture, text)
    try:
        page = MarkdownWithMath(IPythonRenderer(escape=False, exclude_anchor_links=True)).render(
            text
        )
    except Exception:  # a text that cannot be read as Markdown can be read as it is
        page = f"<pre>{html.escape(text)}</pre>"
    page = bleach.clean(page, tags=TAGS, attributes=allowed)
    return re.sub(rf"{token}(\d+)X", lambda found: kept[int(found[1])], page)


def allowed(tag: str, name: str, value: str) -> bool:
    """Whether an attribute may stay: pictures come from the notebook alone."""
    if tag == "img":
        return name == "alt" or (name == "src" and value.startswith("KEPT"))
    return name in ATTRIBUTES.get(tag, ())


def source(kind: str, data: object) -> str:
    """Return the address of a picture that is in the page itself."""
    return f"data:{kind};base64,{re.sub(r'[^A-Za-z0-9+/=]', '', str(data))}"


def in_docutils_words(formula: str) -> str:
    """Return a formula without the few usual commands that docutils does not know."""
    formula = re.sub(r"\\([dt]?frac)\s*(\w)\s*(\w)(?!\w)", r"\\\1{\2}{\3}", formula)
    formula = re.sub(r"\{(align|gather|eqnarray)\*?\}", "{aligned}", formula)
    for command, known in {"dots": "ldots", "iff": "Longleftrightarrow"}.items():
        formula = re.sub(rf"\\{command}(?![A-Za-z])", rf"\\{known}", formula)
    return re.sub(r"\\(nonumber|notag)(?![A-Za-z])", "", formula)


def with_formulas(text: str, place) -> str:
    """Return Markdown in which ``place`` has put something in place of every formula's MathML."""

    def convert(found):
        block = found[1] is not None
        try:
            made = latex2mathml.tex2mathml(in_docutils_words(found[1] or found[2]), as_block=block)
        except Exception:  # what cannot be typeset is shown as it was typed
            made = f"<code>{html.escape(found[0])}</code>"
        return place(made)

    parts = CODE.split(text)
    return "".join(p if i % 2 else MATH.sub(convert, p) for i, p in enumerate(parts))
