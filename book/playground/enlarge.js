/* Enlarge a picture along the edges of its layers: window.playground.enlarged. */
"use strict";

(() => {
  const { size } = window.playground;
  const wide = size + 2; // a row of the small picture with its ends repeated
  const buffers = {};

  /* Where the middle of enlarged pixel i lies between small pixels: [the one before, how far on]. */
  function place(i, times) {
    const at = (i + 0.5) / times - 0.5, before = Math.floor(at);
    return [before, at - before];
  }

  /* One row between two rows of each plane, with its ends repeated. */
  function between(planes, count, y, times, row) {
    const [before, t] = place(y, times);
    const above = Math.max(0, before) * size, below = Math.min(size - 1, before + 1) * size;
    for (let k = 0; k < count; k++) {
      const plane = k * size * size, to = k * wide + 1;
      for (let x = 0; x < size; x++) {
        const a = planes[plane + above + x], b = planes[plane + below + x];
        row[to + x] = a + t * (b - a);
      }
      row[to - 1] = row[to];
      row[to + size] = row[to + size - 1];
    }
  }

  function buffer(times, count) {
    const across = size * times;
    const columns = Array.from({ length: across }, (_, x) => place(x, times));
    return {
      pixels: new ImageData(across, across),
      sharp: new Float32Array(3 * across * across),
      missing: new Float32Array(3 * size * size),
      row: new Float32Array(Math.max(3, count) * wide),
      left: Int32Array.from(columns, ([before]) => before + 1),
      part: Float32Array.from(columns, ([, t]) => t),
      small: Int32Array.from(columns, (_, x) => Math.floor(x / times)),
    };
  }

  /* Enlarge the share that each layer has, not the mixed colours. Squared shares make the step from
     one layer to the next as steep as the larger picture allows. */
  function sharpened({ shares, colour }, count, times, { sharp, row, left, part }) {
    const across = size * times, pixels = across * across;
    for (let y = 0, p = 0; y < across; y++) {
      between(shares, count, y, times, row);
      for (let x = 0; x < across; x++, p++) {
        const t = part[x];
        let sum = 0, red = 0, green = 0, blue = 0;
        for (let k = 0, q = left[x]; k < count; k++, q += wide) {
          const share = row[q] + t * (row[q + 1] - row[q]), weight = share * share;
          sum += weight;
          red += weight * colour[k];
          green += weight * colour[count + k];
          blue += weight * colour[2 * count + k];
        }
        sharp[p] = red / sum;
        sharp[pixels + p] = green / sum;
        sharp[2 * pixels + p] = blue / sum;
      }
    }
  }

  /* What the small picture has and the mean over its enlarged pixels has not. */
  function compared(image, times, { sharp, missing, small }) {
    const across = size * times, share = 1 / times ** 2;
    missing.set(image);
    for (let c = 0, p = 0; c < 3; c++)
      for (let y = 0; y < across; y++) {
        const to = (c * size + small[y]) * size;
        for (let x = 0; x < across; x++, p++) missing[to + small[x]] -= share * sharp[p];
      }
  }

  /* Give back what is missing, so that colours and shades stay those of the small picture. */
  function restored(times, { pixels, sharp, missing, row, left, part }) {
    const across = size * times, plane = across * across, data = pixels.data;
    for (let y = 0, p = 0; y < across; y++) {
      between(missing, 3, y, times, row);
      for (let x = 0; x < across; x++, p++) {
        const q = left[x], t = part[x];
        for (let c = 0, r = q; c < 3; c++, r += wide)
          data[4 * p + c] = 255 * (sharp[c * plane + p] + row[r] + t * (row[r + 1] - row[r])); // rounded, clamped
        data[4 * p + 3] = 255;
      }
    }
  }

  /* A view that window.playground.run has drawn, so many times as wide: an ImageData, which the next
     call for the same size overwrites. */
  function enlarged(view, times) {
    const count = view.colour.length / 3, some = (buffers[times] ??= buffer(times, count));
    sharpened(view, count, times, some);
    compared(view.image, times, some);
    restored(times, some);
    return some.pixels;
  }

  window.playground.enlarged = enlarged;
})();
