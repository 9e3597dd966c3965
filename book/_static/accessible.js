// What a keyboard needs and the theme does not give.

(() => {
  "use strict";

  // Boxes that scroll where they are too wide, to be reached by keyboard then. The theme sees to
  // some as the page comes, but not to what unfolds later.
  const BOXES = "pre, div.math, .cell_output > .output, .pst-scrollable-table-container";

  const reachable = new ResizeObserver((entries) => {
    for (const { target } of entries) {
      const scrolls =
        target.scrollWidth > target.clientWidth || target.scrollHeight > target.clientHeight;
      target.tabIndex = scrolls ? 0 : -1;
    }
  });

  // The theme takes the focus off a button once it is pressed. That is fine for a mouse, but a
  // keyboard would begin again at the top of the page, and a closed dialog has nowhere to return.
  const keep = (button) => {
    button.blur = () => {
      if (!button.matches(":focus-visible")) HTMLElement.prototype.blur.call(button);
    };
  };

  const start = () => {
    document.querySelectorAll(BOXES).forEach((box) => reachable.observe(box));
    document
      .querySelectorAll(".theme-switch-button, .search-button, .primary-toggle, .secondary-toggle")
      .forEach(keep);
    for (const [dialog, named] of [
      ["#pst-search-dialog", "#pst-search-dialog input"],
      ["#pst-primary-sidebar-modal", "#pst-primary-sidebar nav"],
      ["#pst-secondary-sidebar-modal", "#pst-secondary-sidebar .onthispage"],
    ]) {
      const source = document.querySelector(named);
      const name = source?.getAttribute("aria-label") ?? source?.textContent.trim();
      if (name) document.querySelector(dialog).setAttribute("aria-label", name);
    }
  };

  // Paper shows what is folded on a screen.
  const unfolded = [];
  window.addEventListener("beforeprint", () => {
    for (const details of document.querySelectorAll("main details:not([open])")) {
      unfolded.push(details);
      details.open = true;
    }
  });
  window.addEventListener("afterprint", () => {
    for (const details of unfolded.splice(0)) details.open = false;
  });

  start();
})();
