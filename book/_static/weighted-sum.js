// The least weighted sum of two losses, on the two fronts of the chapter. The fronts are those of
// mtl_lib.problems, and tests/book/test_weighted_sum.py compares the values. Nothing moves by
// itself, nothing is stored and nothing is sent.

(() => {
  "use strict";

  /* ---- The mathematics ---- */

  const clip = (x) => Math.min(1, Math.max(0, x));

  // A front is the curve of its second loss over its first, from 0 to 1. `least` gives the first
  // losses where λ₁L₁ + λ₂L₂ is least: where the slope is −λ₁/λ₂, or at the ends.
  const FRONTS = {
    ZDT1: {
      label: "bent inwards",
      second: (first) => 1 - Math.sqrt(first),
      least: (one, two) => [one > 0 ? clip((two / (2 * one)) ** 2) : 1],
    },
    ZDT2: {
      label: "bent outwards",
      second: (first) => 1 - first ** 2,
      least: (one, two) => (one === two ? [0, 1] : [one < two ? 1 : 0]),
    },
  };

  /** The points of a front with the least weighted sum, for weights λ₁ = lambda, λ₂ = 1 − lambda. */
  const at = (front, lambda) => {
    const { second, least } = FRONTS[front];
    const points = least(lambda, 1 - lambda).map((first) => [first, second(first)]);
    const [first, other] = points[0];
    return { points, sum: lambda * first + (1 - lambda) * other };
  };

  window.weightedSum = { at };

  /* ---- The drawing ---- */

  const SIZE = 340;
  const LEFT = 56;
  const BOTTOM = 48;
  const TOP = 12;
  const MOST = 1.12; // what a panel shows of each axis
  const SCALE = (SIZE - LEFT - 6) / MOST;
  const HEIGHT = TOP + MOST * SCALE + BOTTOM;
  const STEPS = 100; // of λ₁

  const x = (value) => LEFT + SCALE * value;
  const y = (value) => HEIGHT - BOTTOM - SCALE * value;
  const path = (points) =>
    points.map(([a, b], i) => `${i ? "L" : "M"}${x(a).toFixed(2)},${y(b).toFixed(2)}`).join("");

  const filled = (made, attributes, children) => {
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  };
  const element = (name, attributes = {}, ...children) =>
    filled(document.createElement(name), attributes, children);
  const svg = (name, attributes = {}, ...children) =>
    filled(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);

  const text = (a, b, words, anchor = "middle") =>
    svg("text", { x: a, y: b, "text-anchor": anchor }, words);

  let panels = 0;

  /** An empty pair of axes; return it and the group to draw on. */
  const panel = (label, across, up) => {
    const [low, high] = [0, MOST];
    const ticks = [0, 0.5, 1].flatMap((value) => [
      text(x(value), y(0) + 21, value),
      text(LEFT - 13, y(value) + 4, value, "end"),
      svg("path", { class: "grid", d: path([[value, low], [value, high]]) }),
      svg("path", { class: "grid", d: path([[low, value], [high, value]]) }),
    ]);
    const id = `weighted-sum-${++panels}`;
    const frame = { x: x(0), y: y(MOST), width: SCALE * MOST, height: SCALE * MOST };
    const drawing = svg("g");
    const title = text(0, 0, up);
    title.setAttribute("transform", `translate(13 ${y(MOST / 2)}) rotate(-90)`);
    const picture = svg(
      "svg",
      { viewBox: `0 0 ${SIZE} ${HEIGHT}`, role: "img", "aria-label": label },
      svg("clipPath", { id }, svg("rect", frame)),
      ...ticks,
      text(x(MOST / 2), HEIGHT - 6, across),
      title,
      svg("g", { "clip-path": `url(#${id})` }, drawing),
      // Marks at the ends of a front lie half outside the frame.
      svg("g"),
    );
    return { picture, drawing, marks: picture.lastChild };
  };

  /** The part of the line λ₁L₁ + λ₂L₂ = sum that a panel shows, and a little more. */
  const line = (lambda, sum) => {
    const [one, two] = [lambda, 1 - lambda];
    const length = Math.hypot(one, two);
    const [nearX, nearY] = [(one * sum) / length ** 2, (two * sum) / length ** 2];
    const far = (way) => [nearX + (way * two) / length, nearY - (way * one) / length];
    return path([far(-2), far(2)]);
  };

  const curve = (of) => {
    // Squares of even steps: the front that is bent inwards is steep on the left.
    return Array.from({ length: 201 }, (_, i) => (i / 200) ** 2).map((first) => [first, of(first)]);
  };

  const circle = ([a, b], kind, r) => svg("circle", { class: kind, cx: x(a), cy: y(b), r });

  const drawLosses = ({ drawing, marks }, front, lambda, visited) => {
    const points = curve(FRONTS[front].second);
    const { points: least, sum } = at(front, lambda);
    const beyond = [[1, MOST], [0, MOST]];
    drawing.replaceChildren(
      svg("path", { class: "possible", d: `${path([...points, ...beyond])}Z` }),
      ...[0.25, 0.5, 0.75, 1].map((more) =>
        svg("path", { class: "level", d: line(lambda, sum + more / 2) }),
      ),
      svg("path", { class: "front", d: path(points) }),
      svg("path", { class: "line", d: line(lambda, sum) }),
    );
    const been = [...visited].flatMap((step) => at(front, step / STEPS).points);
    marks.replaceChildren(
      ...been.map((point) => circle(point, "been", 4)),
      ...least.map((point) => circle(point, "least", 7)),
    );
  };

  const drawSum = ({ drawing, marks }, front, lambda) => {
    const { second } = FRONTS[front];
    const { points, sum } = at(front, lambda);
    const along = (first) => lambda * first + (1 - lambda) * second(first);
    drawing.replaceChildren(svg("path", { class: "sum", d: path(curve(along)) }));
    marks.replaceChildren(...points.map(([first]) => circle([first, sum], "least", 7)));
  };

  /* ---- The controls ---- */

  const short = (value) => value.toFixed(2);
  const weights = (lambda) => `λ₁ = ${short(lambda)}, λ₂ = ${short(1 - lambda)}`;
  // No break inside a pair.
  const losses = ([first, second]) => `(${short(first)},\u00a0${short(second)})`;

  const KEY =
    "Grey: what can be reached. Straight lines: points of equal weighted sum, solid for the least " +
    "that is reached. Ring: where it is reached. Dots: where it was, for the weights you passed.";

  const start = (root) => {
    const left = panel(
      "Second loss over first loss: what can be reached, its front, the line of equal weighted " +
        "sums that touches it, and where it did for the weights you have tried.",
      "first loss L₁",
      "second loss L₂",
    );
    const right = panel(
      "The weighted sum along the front, over the first loss, with its minimum marked.",
      "first loss L₁, along the front",
      "weighted sum",
    );
    const said = element("output", { for: "weighted-sum-lambda" });
    const slider = element("input", {
      type: "range",
      id: "weighted-sum-lambda",
      min: 0,
      max: STEPS,
      value: STEPS / 2,
    });
    const choices = Object.entries(FRONTS).map(([name, { label }]) => {
      const input = element("input", { type: "radio", name: "weighted-sum-front", value: name });
      input.addEventListener("change", () => choose(name));
      return element("label", {}, input, `${label} (${name})`);
    });
    const again = element("button", { type: "button" }, "Clear the path");

    let front;
    let visited = new Set();
    let before;

    const draw = () => {
      const now = Number(slider.value);
      // A quick hand skips values that the point passed all the same.
      const step = Math.sign(now - before) || 1;
      for (let i = before; i !== now; i += step) visited.add(i);
      visited.add(now);
      before = now;
      const lambda = now / STEPS;
      const { points, sum } = at(front, lambda);
      drawLosses(left, front, lambda, visited);
      drawSum(right, front, lambda);
      slider.setAttribute("aria-valuetext", weights(lambda));
      const places = points.map(losses).join(" and ");
      said.textContent = `${weights(lambda)}: least sum ${short(sum)} at (L₁,\u00a0L₂) = ${places}.`;
    };
    const clear = () => {
      visited = new Set();
      before = Number(slider.value);
      draw();
    };
    const choose = (name) => {
      front = name;
      clear();
    };

    slider.addEventListener("input", draw);
    again.addEventListener("click", clear);
    root.replaceChildren(
      element("fieldset", {}, element("legend", {}, "Front"), ...choices),
      element("label", { for: slider.id }, "Weight λ₁ of the first loss"),
      slider,
      said,
      element("div", { class: "panels" }, left.picture, right.picture),
      element("p", {}, KEY),
      again,
    );
    choices[0].querySelector("input").checked = true;
    choose(Object.keys(FRONTS)[0]);
  };

  const root = document.querySelector('.interactive[data-name="weighted-sum"]');
  if (root) start(root);
})();
