/* Sets the formulas of a page with MathJax: after the page is drawn, so that nobody waits for them to
   read the first lines, and a few at a time, in the order of the text, so that the page answers to
   its reader in between. `MathJax.startup.promise` is fulfilled when the last one is set. */
"use strict";

{
  const start = document.createElement("script");
  start.src = new URL("mathjax/startup.js", document.currentScript.src);
  let done;

  MathJax.startup = {
    promise: new Promise((fulfil) => {
      done = fulfil;
    }),
    async pageReady() {
      const formulas = [...document.querySelectorAll(".math")];
      // Each portion costs a layout of the page: not more than two dozen of them.
      const portion = Math.max(8, Math.ceil(formulas.length / 24));
      while (formulas.length) {
        await MathJax.typesetPromise(formulas.splice(0, portion));
        await new Promise((next) => setTimeout(next));
      }
      done();
    },
  };
  const begin = () => document.head.append(start); // runs once, however often it is called
  new PerformanceObserver(begin).observe({ type: "paint", buffered: true });
  setTimeout(begin, 3000); // where nothing is painted, such as in a tab behind another
}
