/* Sets the formulas of a page a few at a time, in the order of the text, so that the page answers to
   its reader in between: all at once would keep a phone busy for most of a second.
   `MathJax.startup.promise` is fulfilled when the last one is set. */
"use strict";

if (window.MathJax) {
  MathJax.startup = {
    ...MathJax.startup,
    async pageReady() {
      const formulas = [...document.querySelectorAll(".math")];
      // Each portion costs a layout of the page: not more than two dozen of them.
      const portion = Math.max(8, Math.ceil(formulas.length / 24));
      while (formulas.length) {
        await MathJax.typesetPromise(formulas.splice(0, portion));
        await new Promise((next) => setTimeout(next));
      }
    },
  };
}
