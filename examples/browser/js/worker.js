// Run the model beside the page, so that the page stays responsive. `restorer.js` is the other end.

import { env, InferenceSession, Tensor } from "../runtime/ort.wasm.bundle.min.mjs";
import { spans, weights } from "./tiles.js";

env.logLevel = "error";

let session;

const orders = { load, restore };

self.onmessage = async ({ data }) => {
  try {
    await orders[data.order](data);
  } catch (error) {
    // The runtime throws errors, and plain numbers where memory ends.
    self.postMessage({ said: "failed", message: error?.message ?? `the runtime stopped (${error})` });
  }
};

/** Get ready to run an ONNX file, given as its bytes. */
async function load({ model }) {
  session = await InferenceSession.create(new Uint8Array(model), { executionProviders: ["wasm"] });
  self.postMessage({ said: "loaded" });
}

/** Restore RGBA pixels in tiles of at most `tile` pixels a side. Transparency stays as it is. */
async function restore({ pixels, width, height, tile }) {
  const rows = spans(height, tile);
  const columns = spans(width, tile);
  const restored = new Float32Array(3 * width * height);
  let done = 0;
  for (const [r, row] of rows.entries()) {
    const rowWeights = weights(rows, r);
    for (const [c, column] of columns.entries()) {
      const part = await run(planes(pixels, width, row, column), row.length, column.length);
      add(part, restored, width, height, row, column, rowWeights, weights(columns, c));
      self.postMessage({ said: "progress", done: ++done, total: rows.length * columns.length });
    }
  }
  writeRgb(restored, pixels);
  self.postMessage({ said: "restored", pixels }, [pixels.buffer]);
}

/** Run the network on planes (3, height, width) of floats in [0, 1]. */
async function run(image, height, width) {
  const output = await session.run({ image: new Tensor("float32", image, [1, 3, height, width]) });
  return output.restored.data;
}

/** Cut a tile out of RGBA pixels, as planes of red, green and blue in [0, 1]. */
function planes(pixels, width, row, column) {
  const area = row.length * column.length;
  const tile = new Float32Array(3 * area);
  for (let y = 0, to = 0; y < row.length; y++) {
    let from = 4 * ((row.start + y) * width + column.start);
    for (let x = 0; x < column.length; x++, to++, from += 4) {
      tile[to] = pixels[from] / 255;
      tile[to + area] = pixels[from + 1] / 255;
      tile[to + 2 * area] = pixels[from + 2] / 255;
    }
  }
  return tile;
}

/** Add the planes of a tile, times the weights of its pixels, to the planes of the picture. */
function add(tile, picture, width, height, row, column, rowWeights, columnWeights) {
  let from = 0;
  for (let plane = 0; plane < 3; plane++) {
    for (let y = 0; y < row.length; y++) {
      let to = (plane * height + row.start + y) * width + column.start;
      for (let x = 0; x < column.length; x++, to++, from++) {
        picture[to] += tile[from] * rowWeights[y] * columnWeights[x];
      }
    }
  }
}

/** Write planes into RGBA pixels. The array of pixels clamps and rounds by itself. */
function writeRgb(image, pixels) {
  const area = image.length / 3;
  for (let from = 0, to = 0; from < area; from++, to += 4) {
    pixels[to] = 255 * image[from];
    pixels[to + 1] = 255 * image[from + area];
    pixels[to + 2] = 255 * image[from + 2 * area];
  }
}
