// Two gradients in the plane, whose tips the reader moves, and the direction that each method makes
// of them. For two tasks every method of mtl_lib.balancing has a closed form; a test compares them.
// Without this file the page shows a table for one pair (book/_ext/interactive.py).

(() => {
  "use strict";

  // ---- Vectors ----

  const dot = (a, b) => a[0] * b[0] + a[1] * b[1];
  const times = (k, a) => [k * a[0], k * a[1]];
  const plus = (a, b) => [a[0] + b[0], a[1] + b[1]];
  const minus = (a, b) => [a[0] - b[0], a[1] - b[1]];
  const across = (a, b) => a[0] * b[1] - a[1] * b[0];
  const length = (a) => Math.hypot(...a);
  const unit = (a) => times(1 / length(a), a);
  const ZERO = [0, 0];
  const EXACT = 1e-9; // relative: below it, a number is rounding

  // ---- Methods: a direction from two gradients, neither of them zero ----

  const mean = (g1, g2) => times(0.5, plus(g1, g2));
  const areOpposite = (g1, g2) => length(plus(unit(g1), unit(g2))) < EXACT;

  const pcgrad = (g1, g2) => {
    const inner = dot(g1, g2);
    if (inner >= 0) return plus(g1, g2);
    const w1 = 1 - inner / dot(g1, g1);
    const w2 = 1 - inner / dot(g2, g2);
    return plus(times(w1, g1), times(w2, g2));
  };

  const mgda = (g1, g2) => {
    const apart = minus(g2, g1);
    const square = dot(apart, apart);
    const w = square > 0 ? Math.min(1, Math.max(0, dot(apart, g2) / square)) : 0.5;
    return plus(times(w, g1), times(1 - w, g2));
  };

  /** The radius is half the mean's length, as in the chapter. Which task is the worst off? */
  const cagrad = (g1, g2, c = 0.5) => {
    const middle = mean(g1, g2);
    const radius = c * length(middle);
    if (radius < EXACT * Math.max(length(g1), length(g2))) return ZERO;
    const towards = (u) => plus(middle, times(radius, u));
    const [only1, only2] = [towards(unit(g1)), towards(unit(g2))];
    if (dot(g1, only1) <= dot(g2, only1)) return only1; // it gains less, though all is done for it
    if (dot(g2, only2) <= dot(g1, only2)) return only2;
    // Both alike: on the circle, where (g1 - g2) · d = 0.
    const along = unit(minus(g1, g2));
    const share = -dot(along, middle) / radius;
    const rest = [-along[1], along[0]];
    const side = Math.sign(dot(rest, g1)) * Math.sqrt(Math.max(0, 1 - share * share));
    return towards(plus(times(share, along), times(side, rest)));
  };

  const imtlg = (g1, g2) => {
    if (areOpposite(g1, g2)) return ZERO;
    const [a, b] = [length(g1), length(g2)];
    return plus(times(b / (a + b), g1), times(a / (a + b), g2));
  };

  /** Weights 1 / (length √(1 + cosine)) solve G w = 1 / w. */
  const nash = (g1, g2) => {
    if (areOpposite(g1, g2)) return ZERO;
    return times(Math.SQRT2, unit(plus(unit(g1), unit(g2))));
  };

  /** The mean weighted by the smaller singular value times the inverse root of the Gramian. */
  const aligned = (g1, g2) => {
    const [a, b, inner] = [dot(g1, g1), dot(g2, g2), dot(g1, g2)];
    const area = Math.abs(across(g1, g2)); // product of the singular values
    if (area < EXACT * (a + b)) return mean(g1, g2); // only one of them: it stays as it is
    const sum = Math.sqrt(a + b + 2 * area);
    const difference = Math.sqrt(Math.max(0, a + b - 2 * area));
    const scale = 1 / (sum * (sum + difference));
    return times(scale, plus(times(b + area - inner, g1), times(a + area - inner, g2)));
  };

  const config = (g1, g2) => {
    if (areOpposite(g1, g2)) return ZERO;
    const d = unit(plus(unit(g1), unit(g2)));
    return times(dot(plus(g1, g2), d), d);
  };

  const upgrad = (g1, g2) => times(0.5, pcgrad(g1, g2));

  // If one gradient is zero, the direction is `alone(length)` times the other.
  const METHODS = [
    { name: "mean", of: mean, alone: () => 0.5, color: "#3d8fd1", dash: "", on: true },
    { name: "PCGrad", of: pcgrad, alone: () => 1, color: "#d07a20", dash: "9 4", on: true },
    { name: "MGDA", of: mgda, alone: () => 0, color: "#2a9d78", dash: "2 3", on: true },
    { name: "CAGrad", of: cagrad, alone: () => 0.75, color: "#c45ca2", dash: "9 3 2 3", on: true },
    { name: "IMTL-G", of: imtlg, alone: () => 1, color: "#a48f14", dash: "14 4" },
    { name: "Nash-MTL", of: nash, alone: (a) => 1 / a, color: "#d1495b", dash: "5 3", on: true },
    { name: "Aligned-MTL", of: aligned, alone: () => 0.5, color: "#8577e0", dash: "14 3 2 3" },
    { name: "ConFIG", of: config, alone: () => 1, color: "#a0714f", dash: "2 5" },
    { name: "UPGrad", of: upgrad, alone: () => 0.5, color: "#1f97ab", dash: "4 2", on: true },
  ];

  const direction = (method, g1, g2) => {
    const alive = [g1, g2].filter((g) => length(g) > 0);
    if (alive.length === 2) return method.of(g1, g2);
    return alive.length ? times(method.alone(length(alive[0])), alive[0]) : ZERO;
  };

  /** {method: [x, y]} for two gradients [x, y]. */
  const directions = (g1, g2) =>
    Object.fromEntries(METHODS.map((method) => [method.name, direction(method, g1, g2)]));

  // ---- The page ----

  const PRESETS = {
    Agree: [[1.6, 0.4], [0.8, 1.6]],
    Conflict: [[3, 0.5], [-1.2, 1]],
    "Unequal lengths": [[3.2, 1.2], [-0.4, 0.2]],
    Opposite: [[2.4, 0.8], [-1.2, -0.4]],
  };
  const REACH = [4, 3]; // the plane goes from minus to plus this
  const FARTHEST = [3.5, 2.5]; // a tip stays inside
  const GRID = 0.05; // so that numbers stay short, and a tip can be put back
  const STEP = 0.1;
  const KEYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
  const SVG = "http://www.w3.org/2000/svg";

  const set = (made, attributes) => {
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    return made;
  };
  const element = (name, attributes = {}, ...children) => {
    const made = set(document.createElement(name), attributes);
    made.append(...children);
    return made;
  };
  const shape = (name, attributes = {}) => set(document.createElementNS(SVG, name), attributes);

  const number = (x) => x.toFixed(2).replace(/^-(?=0\.00$)/, "").replace("-", "−");
  const pair = (a) => `(${number(a[0])}, ${number(a[1])})`;
  const clipped = (x, most) => Math.min(most, Math.max(-most, x));
  const rounded = (x) => Number((Math.round(x / GRID) * GRID).toFixed(2));
  const onGrid = (a) => a.map((x, i) => clipped(rounded(x), FARTHEST[i]));

  /** Corners of the part of the plane that harms no task: cut the frame along each gradient. */
  const harmless = (gradients) => {
    const [x, y] = REACH;
    let corners = [[-x, -y], [x, -y], [x, y], [-x, y]];
    for (const g of gradients) {
      const gain = (a) => dot(g, a) + EXACT;
      corners = corners.flatMap((a, i) => {
        const before = corners.at(i - 1);
        const [here, there] = [gain(a), gain(before)];
        const kept = here >= 0 ? [a] : [];
        if (here >= 0 === there >= 0) return kept;
        const cut = plus(before, times(there / (there - here), minus(a, before)));
        return [cut, ...kept];
      });
    }
    return corners;
  };

  const harmed = (d, gradients) => {
    // Relative to the gradients and not to d, which may be nothing but rounding.
    const rounding = EXACT * Math.max(...gradients.map(length));
    const lost = gradients.flatMap((g, i) =>
      dot(g, d) < -rounding * length(g) ? [`task ${i + 1}`] : [],
    );
    return lost.join(" and ") || "none";
  };

  const swatch = ({ color, dash }) => {
    const made = shape("svg", { width: 34, height: 10, "aria-hidden": "true" });
    made.append(
      shape("line", { x1: 0, x2: 34, y1: 5, y2: 5, stroke: color, "stroke-dasharray": dash }),
    );
    return made;
  };

  /** A row of the table: its first cell is the legend. */
  const row = (method, number, redraw) => {
    const id = `gradients-method-${number}`;
    const box = element("input", { type: "checkbox", id });
    box.checked = Boolean(method.on);
    box.addEventListener("change", redraw);
    const label = element("label", { for: id }, box, swatch(method), method.name);
    const cells = Array.from({ length: 4 }, () => element("td"));
    const made = element("tr", {}, element("th", { scope: "row" }, label), ...cells);
    return { method, box, cells, row: made };
  };

  const build = (place) => {
    let tips = PRESETS.Conflict;
    let size = 1; // pixels of one unit

    const plane = shape("svg", { class: "gradients-plane" });
    const cone = shape("polygon", { class: "gradients-cone" });
    const axes = shape("path", { class: "gradients-axes" });
    const arrows = shape("g");
    const handles = [0, 1].map((i) => {
      const handle = shape("g", {
        class: "gradients-tip",
        role: "slider",
        tabindex: 0,
        "aria-label": `Gradient of task ${i + 1}: arrow keys move its tip`,
        "aria-valuemin": -FARTHEST[0],
        "aria-valuemax": FARTHEST[0],
      });
      const name = shape("text");
      name.textContent = `g${"₁₂"[i]}`;
      handle.append(shape("circle", { r: 22 }), shape("circle", { r: 8 }), name);
      return handle;
    });
    plane.append(cone, axes, arrows, ...handles);

    const said = element("p", { class: "gradients-said", "aria-live": "polite" });
    const presets = element("div", { class: "gradients-presets" });
    const body = element("tbody");
    const head = ["method", "direction d", "d·g₁", "d·g₂", "harms"];
    const titles = head.map((title) => element("th", { scope: "col" }, title));
    const table = element(
      "table",
      {},
      element("thead", {}, element("tr", {}, ...titles)),
      body,
    );

    const pixel = ([x, y]) => [size * (REACH[0] + x), size * (REACH[1] - y)];
    const points = (list) => list.map((a) => pixel(a).map((x) => x.toFixed(2))).join(" ");

    const arrow = (d, attributes) => {
      const made = shape("g", attributes);
      const [start, end] = [pixel(ZERO), pixel(d)];
      const far = length(minus(end, start));
      if (far < 1) return made; // no direction: nothing to draw
      const back = times(Math.min(10, far) / far, minus(start, end));
      const side = times(0.45, [-back[1], back[0]]);
      const neck = plus(end, back);
      const [x, y] = neck;
      made.append(
        shape("line", { x1: start[0], y1: start[1], x2: x, y2: y }),
        shape("polygon", { points: [end, plus(neck, side), minus(neck, side)].join(" ") }),
      );
      return made;
    };

    const draw = () => {
      const found = rows.map((r) => ({ ...r, d: direction(r.method, ...tips) }));
      const inner = dot(...tips);
      set(cone, { points: points(harmless(tips)) });
      const level = points([[-REACH[0], 0], [REACH[0], 0]]);
      const upright = points([[0, -REACH[1]], [0, REACH[1]]]);
      set(axes, { d: `M${level}M${upright}` });
      // Where directions coincide, the shorter one lies on top.
      const shown = found.filter(({ box }) => box.checked);
      shown.sort((a, b) => length(b.d) - length(a.d));
      arrows.replaceChildren(
        ...tips.map((g) => arrow(g, { class: "gradients-gradient" })),
        ...shown.map(({ method: { name, color, dash }, d }) =>
          arrow(d, { "data-method": name, color, "stroke-dasharray": dash }),
        ),
      );
      handles.forEach((handle, i) => {
        set(handle.lastChild, { y: tips[i][1] > 1.5 ? 38 : -26 }); // in the plane, off the ring
        set(handle, {
          transform: `translate(${pixel(tips[i])})`,
          "aria-valuenow": tips[i][0],
          "aria-valuetext": `x ${number(tips[i][0])}, y ${number(tips[i][1])}`,
        });
      });
      for (const { cells, d } of found) {
        const harm = harmed(d, tips);
        const texts = [pair(d), ...tips.map((g) => number(dot(g, d))), harm];
        cells.forEach((cell, i) => (cell.textContent = texts[i]));
        cells[3].dataset.harms = harm !== "none";
      }
      const verdict = inner < 0 ? "the gradients conflict" : "the gradients do not conflict";
      const [first, second] = tips.map(pair);
      said.textContent = `g₁ = ${first}, g₂ = ${second}, g₁ · g₂ = ${number(inner)}: ${verdict}.`;
    };

    const move = (i, to) => {
      tips = tips.map((tip, j) => (j === i ? onGrid(to) : tip));
      draw();
    };
    const at = (event) => {
      const frame = plane.getBoundingClientRect();
      const [x, y] = [event.clientX - frame.left, event.clientY - frame.top];
      return [x / size - REACH[0], REACH[1] - y / size];
    };

    handles.forEach((handle, i) => {
      handle.addEventListener("keydown", (event) => {
        if (!KEYS[event.key]) return;
        event.preventDefault(); // the page would scroll
        move(i, plus(tips[i], times(event.shiftKey ? 5 * STEP : STEP, KEYS[event.key])));
      });
      // A finger on a tip does not scroll; `touch-action` has no effect inside of a drawing.
      handle.addEventListener("touchstart", (event) => event.preventDefault(), { passive: false });
      handle.addEventListener("pointerdown", (event) => {
        handle.setPointerCapture(event.pointerId);
        handle.focus({ preventScroll: true });
      });
      handle.addEventListener("pointermove", (event) => {
        if (handle.hasPointerCapture(event.pointerId)) move(i, at(event));
      });
    });
    // For those who cannot drag: the nearer tip goes where the plane is pressed.
    plane.addEventListener("click", (event) => {
      if (event.target.closest(".gradients-tip")) return;
      const [far1, far2] = tips.map((tip) => length(minus(tip, at(event))));
      move(far2 < far1 ? 1 : 0, at(event));
    });

    const rows = METHODS.map((method, i) => row(method, i, draw));
    body.append(...rows.map((r) => r.row));
    for (const [name, chosen] of Object.entries(PRESETS)) {
      const button = element("button", { type: "button" }, name);
      button.addEventListener("click", () => {
        tips = chosen;
        draw();
      });
      presets.append(button);
    }
    place.replaceChildren(presets, plane, said, table);
    new ResizeObserver(() => {
      size = plane.clientWidth / (2 * REACH[0]);
      draw();
    }).observe(plane);
  };

  window.gradients = { directions, presets: PRESETS };
  document.querySelectorAll('.interactive[data-name="gradients"]').forEach(build);
})();
