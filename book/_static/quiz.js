// Questions as forms. Without this file a page shows lists whose explanations unfold; see
// book/_ext/quiz.py. Nothing is stored and nothing is sent.

(() => {
  "use strict";

  const element = (name, attributes = {}, ...children) => {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  };

  const word = (quiz, name) =>
    quiz.querySelector("template").content.querySelector(`.quiz-${name}`).textContent;

  /** Turn an option of the list into a radio button with a label; return its explanation. */
  const button = (option, name, value) => {
    const text = option.querySelector(":scope > p");
    const details = option.querySelector(":scope > details");
    const id = `${name}-${value}`;
    const label = element("label", { for: id }, ...text.childNodes);
    option.replaceChildren(
      element("input", { type: "radio", id, name, value, required: "" }),
      label,
    );
    details.querySelector("summary").remove();
    return element("div", {}, ...details.childNodes);
  };

  /** Make a form of one question; call `tried(right)` at the first try. */
  const build = (quiz, number, tried) => {
    const name = `quiz-${number}`;
    const question = quiz.querySelector(".quiz-question");
    const options = quiz.querySelector(".quiz-options");
    question.id = `${name}-question`;
    options.setAttribute("role", "presentation");
    const explanations = [...options.children].map((option, i) => button(option, name, i));
    // Out of sight and not thrown away: formulas are set in the page, wherever they stand.
    const kept = element("div", { hidden: "" }, ...explanations);
    const answer = element("div", { class: "quiz-answer", "aria-live": "polite" });
    const check = element("button", { type: "submit" }, word(quiz, "check"));
    const fieldset = element("fieldset", { "aria-labelledby": question.id }, options);
    const form = element("form", {}, fieldset, check, answer, kept);
    quiz.append(form);

    form.addEventListener("change", () => kept.append(...answer.childNodes));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      kept.append(...answer.childNodes);
      const explanation = explanations[Number(new FormData(form).get(name))];
      const right = explanation.querySelector(".quiz-right") !== null;
      answer.dataset.verdict = right ? "right" : "wrong";
      answer.append(explanation);
      tried(right);
      tried = () => {};
    });
  };

  /** Name the radio buttons whose labels have formulas: browsers leave those out of a name. */
  const name = () => {
    for (const label of document.querySelectorAll(".quiz label:has(mjx-container)")) {
      const said = label.cloneNode(true);
      for (const formula of said.querySelectorAll("mjx-container")) {
        const letters = formula.querySelectorAll("math *:not(:has(*))");
        formula.replaceWith([...letters].map((letter) => letter.textContent).join(" "));
      }
      label.control.setAttribute("aria-label", said.textContent);
    }
  };

  const start = () => {
    const quizzes = [...document.querySelectorAll(".quiz")];
    const score = element("p", { class: "quiz-score" });
    const said = word(quizzes[0], "score");
    let right = 0;
    const tried = (isRight) => {
      right += isRight ? 1 : 0;
      score.textContent = said.replace("{right}", right).replace("{all}", quizzes.length);
    };
    quizzes.forEach((quiz, i) => build(quiz, i + 1, tried));
    quizzes.at(-1).after(score);
    window.addEventListener("load", () => window.MathJax?.startup?.promise.then(name));
  };

  start();
})();
