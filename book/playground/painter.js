/* The network of mtl_lib.recipes.painter, in plain JavaScript: window.playground.draw.
   weights.js, which the book's build writes, must be loaded before. */
"use strict";

(() => {
  const { size, slope, groups, half, tensors, factors, headwear } = window.painter;
  const VIEWS = ["face", "body"];
  const parameters = unpacked();

  /* Half precision, little-endian, as base64 -> one Float32Array for each tensor. */
  function unpacked() {
    const bytes = Uint8Array.from(atob(half), (c) => c.charCodeAt(0));
    const table = new Float32Array(65536);
    for (let h = 0; h < 65536; h++) {
      const exponent = (h >> 10) & 31, fraction = h & 1023;
      const value = exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -24 * fraction;
      table[h] = h >> 15 ? -value : value;
    }
    const found = {};
    let at = 0;
    for (const [name, shape] of Object.entries(tensors)) {
      const values = new Float32Array(shape.reduce((a, b) => a * b, 1));
      for (let i = 0; i < values.length; i++, at += 2) values[i] = table[bytes[at] | (bytes[at + 1] << 8)];
      found[name] = values;
    }
    return found;
  }

  const bend = (v) => (v > 0 ? v : slope * v);

  function linear(name) {
    const weight = parameters[name + ".weight"], bias = parameters[name + ".bias"];
    const out = new Float32Array(bias.length);
    return (x) => {
      for (let i = 0, k = 0; i < bias.length; i++) {
        let sum = bias[i];
        for (let j = 0; j < x.length; j++) sum += weight[k++] * x[j];
        out[i] = sum;
      }
      return out;
    };
  }

  /* A transposed convolution, kernel 4, stride 2, is four small ones: each of the four pixels that
     grow out of a place is a sum over 2 × 2 places of the map. Maps have a border of zeros. */
  function doubling(name, side) {
    const weight = parameters[name + ".weight"], bias = parameters[name + ".bias"];
    const outs = bias.length, ins = weight.length / outs / 16, blocks = Math.ceil(outs / 4);
    const packed = [0, 1, 2, 3].map((phase) => pack(phase >> 1, phase & 1));
    const wide = side + 2, plane = wide * wide;
    const outWide = 2 * side + 2, outPlane = outWide * outWide;
    const out = new Float32Array(4 * blocks * outPlane);

    /* Weights in the order in which they are read: four outputs, 2 × 2 places, inputs, blocks. */
    function pack(py, px) {
      const order = new Float32Array(16 * ins * blocks);
      for (let block = 0, k = 0; block < blocks; block++)
        for (let c = 0; c < ins; c++)
          for (let y = 0; y < 2; y++)
            for (let x = 0; x < 2; x++)
              for (let o = 4 * block; o < 4 * block + 4; o++, k++)
                if (o < outs) order[k] = weight[((c * outs + o) * 4 + (3 - py - 2 * y)) * 4 + 3 - px - 2 * x];
      return order;
    }

    /* Two neighbours and four outputs at a time stay in registers. */
    function phase(map, w, py, px, block) {
      const first = 16 * ins * block, to = 4 * block * outPlane;
      const [b0, b1, b2, b3] = [0, 1, 2, 3].map((o) => bias[4 * block + o] || 0);
      for (let y = 0; y < side; y++) {
        for (let x = 0; x < side; x += 2) {
          let l0 = b0, l1 = b1, l2 = b2, l3 = b3, r0 = b0, r1 = b1, r2 = b2, r3 = b3;
          let p = (y + py) * wide + x + px, k = first;
          for (let c = 0; c < ins; c++, p += plane, k += 16) {
            let m0 = map[p], m1 = map[p + 1], m2 = map[p + 2];
            let w0 = w[k], w1 = w[k + 1], w2 = w[k + 2], w3 = w[k + 3];
            l0 += m0 * w0; l1 += m0 * w1; l2 += m0 * w2; l3 += m0 * w3;
            r0 += m1 * w0; r1 += m1 * w1; r2 += m1 * w2; r3 += m1 * w3;
            w0 = w[k + 4]; w1 = w[k + 5]; w2 = w[k + 6]; w3 = w[k + 7];
            l0 += m1 * w0; l1 += m1 * w1; l2 += m1 * w2; l3 += m1 * w3;
            r0 += m2 * w0; r1 += m2 * w1; r2 += m2 * w2; r3 += m2 * w3;
            m0 = map[p + wide]; m1 = map[p + wide + 1]; m2 = map[p + wide + 2];
            w0 = w[k + 8]; w1 = w[k + 9]; w2 = w[k + 10]; w3 = w[k + 11];
            l0 += m0 * w0; l1 += m0 * w1; l2 += m0 * w2; l3 += m0 * w3;
            r0 += m1 * w0; r1 += m1 * w1; r2 += m1 * w2; r3 += m1 * w3;
            w0 = w[k + 12]; w1 = w[k + 13]; w2 = w[k + 14]; w3 = w[k + 15];
            l0 += m1 * w0; l1 += m1 * w1; l2 += m1 * w2; l3 += m1 * w3;
            r0 += m2 * w0; r1 += m2 * w1; r2 += m2 * w2; r3 += m2 * w3;
          }
          const q = to + (2 * y + py + 1) * outWide + 2 * x + px + 1;
          out[q] = l0; out[q + 2] = r0;
          out[q + outPlane] = l1; out[q + outPlane + 2] = r1;
          out[q + 2 * outPlane] = l2; out[q + 2 * outPlane + 2] = r2;
          out[q + 3 * outPlane] = l3; out[q + 3 * outPlane + 2] = r3;
        }
      }
    }

    const run = (map) => {
      for (let block = 0; block < blocks; block++)
        for (let i = 0; i < 4; i++) phase(map, packed[i], i >> 1, i & 1, block);
      return out;
    };
    return Object.assign(run, { outs, side: 2 * side });
  }

  /* Normalise each group of channels, scale and shift each channel by what the code says, and bend;
     the border stays zero. */
  function tuning(name, { outs, side }) {
    const affine = linear(name + ".affine"), wide = side + 2, together = outs / groups;
    const inside = (c, visit) => {
      for (let y = 1; y <= side; y++) visit((c * wide + y) * wide + 1, (c * wide + y) * wide + 1 + side);
    };
    const moments = (map, group) => {
      let sum = 0, squares = 0;
      for (let c = group * together; c < (group + 1) * together; c++)
        inside(c, (p, end) => {
          for (; p < end; p++) { sum += map[p]; squares += map[p] * map[p]; }
        });
      const n = together * side * side, mean = sum / n;
      return [mean, 1 / Math.sqrt(squares / n - mean * mean + 1e-5)];
    };
    return (map, code) => {
      const said = affine(code);
      for (let group = 0; group < groups; group++) {
        const [mean, inverse] = moments(map, group);
        for (let c = group * together; c < (group + 1) * together; c++) {
          const scale = (1 + said[c]) * inverse, shift = said[outs + c] - mean * scale;
          inside(c, (p, end) => {
            for (; p < end; p++) {
              const v = map[p] * scale + shift;
              map[p] = v > 0 ? v : slope * v;
            }
          });
        }
      }
      return map;
    };
  }

  function trunk() {
    const [first, second, map] = ["first", "second", "map"].map((name) => linear("trunk." + name));
    const side = size / 8, wide = side + 2;
    const channels = parameters["trunk.map.bias"].length / side ** 2;
    const bordered = new Float32Array(channels * wide * wide);
    return (x) => {
      const code = second(first(x).map(bend)).map(bend), flat = map(code);
      for (let c = 0, i = 0; c < channels; c++)
        for (let y = 1; y <= side; y++)
          for (let x = 1; x <= side; x++) bordered[(c * wide + y) * wide + x] = bend(flat[i++]);
      return { code, map: bordered };
    };
  }

  function head(view) {
    const name = `heads.${view}.`;
    const ups = [0, 1].map((i) => doubling(`${name}up.${i}`, (size / 8) << i));
    const tunes = ups.map((up, i) => tuning(`${name}tune.${i}`, up));
    const layers = doubling(name + "layers", size / 2), count = layers.outs;
    const colours = linear(name + "colours");
    const wide = size + 2, plane = wide * wide, pixels = size * size;
    const image = new Float32Array(3 * pixels), shares = new Float32Array(count * pixels);
    return ({ code, map }) => {
      ups.forEach((up, i) => { map = tunes[i](up(map), code); });
      const logits = layers(map), colour = colours(code).map((v) => 1 / (1 + Math.exp(-v)));
      for (let y = 0, p = 0; y < size; y++) {
        for (let x = 0, q = (y + 1) * wide + 1; x < size; x++, p++, q++) {
          let most = logits[q], sum = 0, r = 0, g = 0, b = 0;
          for (let k = 1; k < count; k++) if (logits[k * plane + q] > most) most = logits[k * plane + q];
          for (let k = 0; k < count; k++) {
            const e = Math.exp(logits[k * plane + q] - most);
            shares[k * pixels + p] = e;
            sum += e;
            r += e * colour[k]; g += e * colour[count + k]; b += e * colour[2 * count + k];
          }
          const inverse = 1 / sum;
          for (let k = 0; k < count; k++) shares[k * pixels + p] *= inverse;
          image[p] = r * inverse; image[pixels + p] = g * inverse; image[2 * pixels + p] = b * inverse;
        }
      }
      return { image, shares, colour: colour.slice() };
    };
  }

  const shared = trunk();
  const heads = Object.fromEntries(VIEWS.map((view) => [view, head(view)]));

  /* Draw one person: ten factors from 0 to 1, and how much of each headwear. The trunk's code comes
     back, and for each view its image, 3 × size × size numbers from 0 to 1, the share of each layer
     in every pixel, and the layers' colours. The next call overwrites them. */
  function run(person, hats) {
    const features = shared(Float32Array.from([...person.map((v) => 2 * v - 1), ...hats]));
    return { code: features.code, ...Object.fromEntries(VIEWS.map((view) => [view, heads[view](features)])) };
  }

  /* Draw one person who wears the headwear of this index: { face, body }, images of their own. */
  function draw(person, worn) {
    const found = run(person, headwear.map((_, i) => Number(i === worn)));
    return Object.fromEntries(VIEWS.map((view) => [view, found[view].image.slice()]));
  }

  const { parameters: total, operations } = window.painter;
  window.playground = { draw, run, size, factors, headwear, parameters: total, operations, views: VIEWS };
})();
