/* The live page: sliders, gestures and pictures around window.playground.run. */
"use strict";

(() => {
  const { run, enlarged, size, factors, headwear, views } = window.playground;
  const $ = (id) => document.getElementById(id);
  const calm = window.matchMedia("(prefers-reduced-motion: reduce)");

  /* Every factor: its label, what its ends mean, its group. */
  const SLIDERS = {
    skin: ["Skin", "dark", "light", "Person"],
    age: ["Age", "child", "old", "Person"],
    width: ["Build", "slim", "broad", "Person"],
    smile: ["Mood", "sad", "happy", "Person"],
    hair_color: ["Hair colour", "black", "blond", "Person"],
    hair_length: ["Hair length", "short", "long", "Person"],
    clothes: ["Colour of the clothes", "red", "violet", "Clothes"],
    arm_pose: ["Arms", "down", "up", "Pose and light"],
    light: ["Light", "from left", "from right", "Pose and light"],
    background: ["Wall", "blue", "lilac", "Pose and light"],
  };
  const GROUPS = ["Person", "Clothes", "Pose and light"];

  /* ---- State: a person is ten numbers and a share of each headwear ---- */

  const at = Object.fromEntries(factors.map((name, i) => [name, i]));
  const wearing = (index) => headwear.map((_, i) => Number(i === index));
  const worn = (person) => person.hats.indexOf(Math.max(...person.hats));
  const random = () => ({
    factors: factors.map(() => Math.round(1000 * Math.random()) / 1000),
    hats: wearing(Math.floor(Math.random() * headwear.length)),
  });
  const FIRST = "860-560-650-800-400-450-850-850-700-90-1";
  let person = parsed(location.hash.slice(1)) || parsed(FIRST);

  function written({ factors: numbers, hats }) {
    return [...numbers.map((v) => Math.round(1000 * v)), hats.indexOf(Math.max(...hats))].join("-");
  }

  function parsed(text) {
    const numbers = text.split("-").map(Number), last = numbers.pop();
    const fits = numbers.length === factors.length && numbers.every((v) => v >= 0 && v <= 1000);
    return fits && last in headwear ? { factors: numbers.map((v) => v / 1000), hats: wearing(last) } : null;
  }

  /* ---- Sliders and radio buttons ---- */

  const sliders = {}, radios = [];

  function element(tag, options = {}, ...children) {
    const made = Object.assign(document.createElement(tag), options);
    made.append(...children);
    return made;
  }

  function slider(name) {
    const [label, low, high] = SLIDERS[name];
    const input = element("input", { type: "range", id: name, min: 0, max: 1000, step: 10 });
    input.addEventListener("input", () => {
      stop();
      person.factors[at[name]] = input.value / 1000;
      changed();
    });
    sliders[name] = input;
    const ends = element("span", { className: "ends", textContent: `${low} – ${high}` });
    ends.setAttribute("aria-hidden", "true");
    const title = element("label", { htmlFor: name, textContent: label });
    return element("div", { className: "slider" }, title, ends, input);
  }

  function hats() {
    const row = element("div", { className: "radios" });
    headwear.forEach((name, i) => {
      const input = element("input", { type: "radio", name: "headwear", value: i });
      input.addEventListener("change", () => {
        stop();
        person.hats = wearing(i);
        changed();
      });
      radios.push(input);
      row.append(element("label", {}, input, element("span", { textContent: name })));
    });
    return element("fieldset", {}, element("legend", { textContent: "On the head" }), row);
  }

  function panel() {
    const sets = GROUPS.map((group) => {
      const names = Object.keys(SLIDERS).filter((name) => SLIDERS[name][3] === group);
      return element("fieldset", {}, element("legend", { textContent: group }), ...names.map(slider));
    });
    sets.splice(1, 0, hats());
    $("panel").append(...sets);
  }

  function showValues() {
    for (const [name, input] of Object.entries(sliders)) {
      const value = person.factors[at[name]], [, low, high] = SLIDERS[name];
      input.value = Math.round(1000 * value);
      input.setAttribute("aria-valuetext", `${Math.round(100 * value)} % of the way from ${low} to ${high}`);
    }
    radios[worn(person)].checked = true;
  }

  /* ---- Pictures ---- */

  const surfaces = Object.fromEntries(views.map((view) => [view, $(view).getContext("2d", { alpha: false })]));

  function paint(found, times) {
    for (const view of views) {
      const { canvas } = surfaces[view];
      if (canvas.width !== size * times) canvas.width = canvas.height = size * times;
      surfaces[view].putImageData(enlarged(found[view], times), 0, 0);
    }
  }

  /* ---- The drawing of the network ---- */

  const tiles = Object.fromEntries(views.map((view) => [view, []]));

  function showCode(code) {
    const context = $("code").getContext("2d"), { canvas } = context;
    const across = 16, step = 36, style = getComputedStyle(document.documentElement);
    const [above, below] = ["--orange", "--blue"].map((name) => style.getPropertyValue(name));
    canvas.width = across * step;
    canvas.height = (code.length / across) * step;
    code.forEach((value, i) => {
      const before = value > 0 ? value : value / window.painter.slope; // before it was bent
      const strength = Math.min(1, Math.sqrt(Math.abs(before) / 4));
      const x = i % across, y = Math.floor(i / across);
      context.globalAlpha = 0.12 + 0.88 * strength;
      context.fillStyle = value > 0 ? above : below;
      context.beginPath();
      context.arc((x + 0.5) * step, (y + 0.5) * step, 4 + 11 * strength, 0, 2 * Math.PI);
      context.fill();
    });
  }

  function showLayers(view, { shares, colour }) {
    const count = colour.length / 3, pixels = size * size;
    while (tiles[view].length < count) {
      const canvas = element("canvas", { width: size, height: size });
      $(`${view}-layers`).append(canvas);
      tiles[view].push({ context: canvas.getContext("2d"), picture: new ImageData(size, size) });
    }
    tiles[view].forEach(({ context, picture }, k) => {
      const data = new Uint32Array(picture.data.buffer);
      const [r, g, b] = [k, count + k, 2 * count + k].map((i) => Math.round(255 * colour[i]));
      for (let p = 0; p < pixels; p++) data[p] = ((255 * shares[k * pixels + p]) << 24) | (b << 16) | (g << 8) | r;
      context.putImageData(picture, 0, 0);
    });
  }

  function showNetwork(found) {
    showCode(found.code);
    for (const view of views) showLayers(view, found[view]);
  }

  /* ---- One frame ---- */

  const MOVING = 2, RESTING = 6; // times as wide as the network draws
  const times = [];
  let waiting = 0, settling = 0, frames = 0;

  /* Draw the person now; what comes back is the time in ms, canvas included. */
  function frame() {
    const start = performance.now(), found = run(person.factors, person.hats);
    paint(found, MOVING);
    const spent = performance.now() - start;
    times.push(spent);
    if (times.length > 40) times.shift();
    if (frames++ % 4 === 0) showNetwork(found);
    return spent;
  }

  function changed() {
    showValues();
    waiting ||= requestAnimationFrame(() => {
      waiting = 0;
      frame();
    });
    clearTimeout(settling);
    settling = setTimeout(settled, 160);
  }

  /* Nothing moves: take the time to enlarge well, to say what is seen and to write the address. */
  function settled() {
    const found = run(person.factors, person.hats);
    paint(found, RESTING);
    showNetwork(found);
    showTime();
    const said = described();
    $("face").setAttribute("aria-label", `Portrait: ${said}`);
    $("body").setAttribute("aria-label", `Whole body: ${said}`);
    history.replaceState(null, "", "#" + written(person));
  }

  function described() {
    const value = (name) => person.factors[at[name]];
    const third = (name, ...words) => words[Math.min(2, Math.floor(3 * value(name)))];
    const hat = headwear[worn(person)];
    return [
      third("age", "a child", "an adult", "an old person"),
      third("smile", "sad", "calm", "smiling"),
      third("hair_length", "short hair", "hair of medium length", "long hair"),
      third("arm_pose", "arms down", "arms out", "arms up"),
      hat === "none" ? "nothing on the head" : `wearing a ${hat}`,
    ].join(", ");
  }

  function showTime() {
    const sorted = [...times].sort((a, b) => a - b);
    $("time").textContent = sorted.length ? sorted[sorted.length >> 1].toFixed(1) : "–";
  }

  /* ---- From one person to the next ---- */

  const SECONDS = 2.2, REST = 0.5, CALM = 2;
  let playing = 0;

  function mixed(a, b, t) {
    const mix = (x, y) => x.map((v, i) => v + t * (y[i] - v));
    return { factors: mix(a.factors, b.factors), hats: mix(a.hats, b.hats) };
  }

  function glide(goal, seconds, then) {
    cancelAnimationFrame(playing);
    clearTimeout(settling);
    const from = person, begin = performance.now();
    if (calm.matches) seconds = 0;
    const step = (now) => {
      const t = seconds ? Math.min(1, Math.max(0, (now - begin) / 1000 / seconds)) : 1;
      person = mixed(from, goal, t * t * (3 - 2 * t));
      showValues();
      frame();
      if (frames % 20 === 0) showTime();
      playing = t < 1 ? requestAnimationFrame(step) : 0;
      if (t < 1) return;
      changed();
      then?.();
    };
    playing = requestAnimationFrame(step);
  }

  let pause = 0, on = false;

  function play() {
    on = true;
    showPlaying();
    const next = () => glide(random(), SECONDS, () => {
      pause = setTimeout(next, 1000 * (calm.matches ? CALM : REST));
    });
    next();
  }

  function stop() {
    clearTimeout(pause);
    if (playing) {
      cancelAnimationFrame(playing);
      playing = 0;
      person.hats = wearing(worn(person)); // nobody wears half a hat
      changed();
    }
    on = false;
    showPlaying();
  }

  function showPlaying() {
    $("play").setAttribute("aria-pressed", on);
    $("play").querySelector(".label").textContent = on ? "Pause" : "Play";
  }

  function surprise(goal = random()) {
    stop();
    glide(goal, 0.7);
  }

  /* ---- People to go back to ---- */

  const MOST = 8, STORE = "playground-people";
  let people = stored();

  function stored() {
    const some = ["560-120-880-330-620-200-950-900-700-560-3", "150-50-640-120-300-800-830-450-200-760-0",
      "930-980-260-930-700-920-300-60-640-300-2", "350-640-300-560-200-150-120-330-900-640-1",
      "780-820-960-700-450-560-900-960-150-60-4"];
    try {
      const found = JSON.parse(localStorage.getItem(STORE) || "null");
      if (Array.isArray(found) && found.length && found.every((text) => parsed(String(text)))) return found;
    } catch { /* nothing can be kept here: begin with these */ }
    return some;
  }

  function keep() {
    const text = written(person);
    people = [text, ...people.filter((other) => other !== text)].slice(0, MOST);
    try {
      localStorage.setItem(STORE, JSON.stringify(people));
    } catch { /* until the page is closed */ }
    showPeople();
  }

  function showPeople() {
    $("kept").replaceChildren(...people.map((text, i) => {
      const one = parsed(text), canvas = element("canvas", { width: 2 * size, height: 2 * size });
      canvas.getContext("2d").putImageData(enlarged(run(one.factors, one.hats).face, 2), 0, 0);
      const button = element("button", { type: "button", ariaLabel: `Go to person ${i + 1}` }, canvas);
      button.addEventListener("click", () => surprise(parsed(text)));
      return element("li", {}, button);
    }));
  }

  /* ---- Gestures and keys ---- */

  /* Sideways turns the light; up and down is the smile on the portrait, the arms on the body. */
  function draggable(view, name) {
    const canvas = $(view);
    let last = null;
    canvas.addEventListener("pointerdown", (event) => {
      stop();
      canvas.setPointerCapture(event.pointerId);
      last = event;
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!last) return;
      const move = (factor, by) => {
        const i = at[factor];
        person.factors[i] = Math.min(1, Math.max(0, person.factors[i] + by));
      };
      move("light", (event.clientX - last.clientX) / canvas.clientWidth);
      move(name, (last.clientY - event.clientY) / canvas.clientHeight);
      last = event;
      changed();
    });
    for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => { last = null; });
  }

  function keys(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const busy = event.target.closest("button, a, input[type=radio]");
    if (event.key === "r" || event.key === "R") surprise();
    else if (event.key === " " && !busy) on ? stop() : play();
    else return;
    event.preventDefault();
  }

  /* ---- The tracks of colours are drawn by the network, too ---- */

  const PLACES = {
    skin: ["face", 0.5, 0.62],
    hair_color: ["face", 0.5, 0.25],
    clothes: ["body", 0.5, 0.56],
    background: ["face", 0.03, 0.03],
  };

  function colourTracks() {
    const model = parsed("640-380-500-500-450-420-500-300-500-120-0"), stations = 7, pixels = size * size;
    for (const [name, [view, x, y]] of Object.entries(PLACES)) {
      const colours = [];
      for (let i = 0; i < stations; i++) {
        const numbers = [...model.factors];
        numbers[at[name]] = i / (stations - 1);
        const { image } = run(numbers, model.hats)[view], p = Math.floor(y * size) * size + Math.floor(x * size);
        colours.push(`rgb(${[0, 1, 2].map((c) => Math.round(255 * image[c * pixels + p])).join(" ")})`);
      }
      sliders[name].style.setProperty("--colours", `linear-gradient(90deg, ${colours.join(", ")})`);
    }
  }

  /* ---- Begin ---- */

  panel();
  draggable("face", "smile");
  draggable("body", "arm_pose");
  $("random").addEventListener("click", () => surprise());
  $("play").addEventListener("click", () => (on ? stop() : play()));
  $("keep").addEventListener("click", keep);
  document.addEventListener("keydown", keys);
  document.addEventListener("visibilitychange", () => { if (document.hidden) stop(); });
  window.addEventListener("hashchange", () => {
    const found = parsed(location.hash.slice(1));
    if (found && written(found) !== written(person)) surprise(found);
  });
  $("parameters").textContent = window.playground.parameters.toLocaleString("en");
  $("operations").textContent = `${(window.playground.operations / 1e6).toFixed(0)} million`;
  showPeople();
  changed();
  // The person first: the rest waits until there is something to see.
  setTimeout(() => {
    colourTracks();
    times.length = 0; // by now the browser has compiled the loops
    for (let i = 0; i < 5; i++) frame();
    settled();
  }, 200);

  Object.assign(window.playground, {
    /* Show a person and say how many ms it took, enlarging included. */
    show(numbers, index) {
      person = { factors: [...numbers], hats: wearing(index) };
      showValues();
      return frame();
    },
    person: () => ({ factors: [...person.factors], headwear: worn(person) }),
  });
})();
