"""Sphinx extension: the ``{quiz}`` directive, a question with options that explain themselves.

Its body is Markdown, so that a translation finds every sentence: the question, a task list with
one option marked, an explanation below each option, and what to read again. Without a script the
page is a list with an explanation to unfold below each option; `quiz.js` makes a form of it.
Builders of another kind, such as that of the PDF and the EPUB, get the answers at the end of the
page: the right one first, then what is wrong with the others.
"""

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

__all__ = ["Quiz", "add_script", "resolve", "setup"]

INTERACTIVE = ("html", "dirhtml")  # a page for each file, read on a screen
FEWEST = 3
# Every word that the page adds, as paragraphs: a translation finds them like any sentence.
WORDS = {
    "check": "Check",
    "unfold": "If you choose this",
    "right": "✓ Right.",
    "wrong": "✗ Not yet.",
    "score": "Right at the first try: {right} of {all}.",
    "answers": "Answers",
}


class Quiz(SphinxDirective):
    """One question.

    The options name what the answer rests on, for the tests: ``claims`` of the ledger with their
    verdicts, or ``verify``, a function of ``tests/book/test_quiz_facts.py``.
    """

    has_content = True
    option_spec = {"claims": directives.unchanged, "verify": directives.unchanged}  # noqa: RUF012

    def run(self) -> list[nodes.Node]:
        """Sphinx calls this where the directive stands."""
        body = nodes.container()
        self.state.nested_parse(self.content, self.content_offset, body)
        lists = [node for node in body if isinstance(node, nodes.bullet_list)]
        if len(lists) != 1 or body[0] is lists[0] or len(lists[0]) < FEWEST:
            raise self.error(f"A quiz wants a question, then one list of {FEWEST} options or more.")
        place = body.index(lists[0])
        marked = [self._marked(option) for option in lists[0]]
        if sum(marked) != 1:
            raise self.error(f"{sum(marked)} options are marked with [x], wanted one.")
        options = nodes.bullet_list(classes=["quiz-options"])
        for option, right in zip(lists[0], marked, strict=True):
            if len(option) < 2:
                raise self.error(f"No explanation below {option.astext()!r}: add a paragraph.")
            again = [node.deepcopy() for node in body[place + 1 :]]
            why = [self._words("right" if right else "wrong"), *option[1:], *again]
            options += nodes.list_item("", option[0], nodes.container("", *why))
        again = len(body) - place - 1
        quiz = nodes.container(
            classes=["quiz"], right=marked.index(True), again=again, **self.options
        )
        quiz += nodes.container("", *body[:place], classes=["quiz-question"])
        quiz += options
        quiz += nodes.container("", *map(self._words, ("check", "unfold", "score", "answers")))
        return [quiz]

    def _marked(self, option: nodes.Element) -> bool:
        """Take the box off a task; was it ticked?"""
        box = next(iter(option.findall(nodes.raw)), None)
        if box is None or "task-list-item-checkbox" not in box.astext():
            raise self.error(f"{option.astext()!r} is no task: begin it with [ ] or [x].")
        box.parent.remove(box)
        option[0].rawsource = option[0].rawsource.strip()
        if isinstance(option[0][0], nodes.Text):
            option[0][0] = option[0][0].lstrip()  # the blank between box and words
        return 'checked="checked"' in box.astext()

    def _words(self, name: str) -> nodes.paragraph:
        paragraph = nodes.paragraph(WORDS[name], WORDS[name], classes=[f"quiz-{name}"])
        self.set_source_info(paragraph)
        return paragraph


def resolve(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Give the builder what it can show, now that every sentence is translated."""
    questions = list(doctree.findall(_is_question))
    if app.builder.name in INTERACTIVE:
        for question in questions:
            _unfold(*question)
    elif questions and app.builder.name != "gettext":  # which collects what is to be translated
        heading = nodes.rubric("", questions[0][2][3].astext())
        answers = nodes.enumerated_list(enumtype="arabic", prefix="", suffix=".")
        answers += [_answer(number, quiz) for number, quiz in enumerate(questions, start=1)]
        doctree[-1].extend([heading, answers])


def _is_question(node: nodes.Node) -> bool:
    return isinstance(node, nodes.container) and "quiz" in node["classes"]


def _unfold(question: nodes.Element, options: nodes.Element, words: nodes.Element) -> None:
    """Explanations that open by themselves, and the words that only the script shows."""
    for option in options:
        summary = [_raw("<details><summary>"), nodes.Text(words[1].astext()), _raw("</summary>")]
        option.children = [option[0], *summary, option[1], _raw("</details>")]
    words.children = [_raw("<template>"), *words, _raw("</template>")]


def _answer(number: int, quiz: nodes.Element) -> nodes.list_item:
    """Number the question and letter its options; return what stood below them."""
    question, options, words = quiz
    question[0].insert(0, nodes.Text(f"{number}. "))
    quiz.remove(words)
    lettered = nodes.enumerated_list(enumtype="loweralpha", prefix="", suffix=")")
    order = sorted(range(len(options)), key=lambda place: place != quiz["right"])
    answer = nodes.list_item()
    for place in order:
        option, explanation = options[place]
        last = len(explanation) - quiz["again"]
        if place == quiz["right"]:
            right = option.deepcopy()
            right.insert(0, nodes.strong("", f"{_letter(place)}) "))
            answer += right
            read_again = [node.deepcopy() for node in explanation[last:]]
        else:
            explanation[1].insert(0, nodes.Text(f"{_letter(place)}) "))
        answer.extend(explanation[1:last])
    answer.extend(read_again)
    for option in options:
        lettered += nodes.list_item("", option[0])
    options.replace_self(lettered)
    return answer


def _letter(place: int) -> str:
    return chr(ord("a") + place)


def _raw(tag: str) -> nodes.raw:
    return nodes.raw("", tag, format="html")


def add_script(app: Sphinx, *page: object) -> None:
    """Load script and style on pages that have a question."""
    doctree = page[-1]  # none on pages such as the index
    if doctree and app.builder.name in INTERACTIVE and any(doctree.findall(_is_question)):
        app.add_js_file("quiz.js", loading_method="defer")
        app.add_css_file("quiz.css")


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension."""
    app.add_directive("quiz", Quiz)
    app.connect("doctree-resolved", resolve)
    app.connect("html-page-context", add_script)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
