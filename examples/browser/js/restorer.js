// Restore pictures with a model, whole where memory allows and else in tiles.

/** Larger pictures (in pixels) are not tried whole: with `tiny`, a pixel takes about 1 KiB. */
const LARGEST_WHOLE = 2_000_000;
/** Sides of tiles to try, one after the other, until memory is enough. */
const TILES = [1024, 512, 256];

/** Thrown by `Restorer.restore` after `Restorer.cancel`. */
export class Cancelled extends Error {}

/** A model in a worker. */
export class Restorer {
  #model;
  #worker;
  #loaded;
  /** Gives up what is being restored; undefined if nothing is. */
  #giveUp;

  /** @param {ArrayBuffer} model an ONNX file that `moceir export` wrote */
  constructor(model) {
    this.#model = model;
    this.#start();
  }

  /** Resolves when the model is loaded; throws if it cannot be. */
  get loaded() {
    return this.#loaded;
  }

  /**
   * Restore a picture.
   * @param {ImageData} picture
   * @param {number | undefined} tile largest side of the tiles in pixels; by default, as large as memory allows
   * @param {(done: number, total: number) => void} progress called after each tile
   * @returns {Promise<{picture: ImageData, tiles: number, seconds: number}>}
   */
  async restore(picture, tile, progress) {
    const cancelled = new Promise((_, reject) => {
      this.#giveUp = () => reject(new Cancelled());
    });
    try {
      return await Promise.race([this.#restore(picture, tile ? [tile] : sidesToTry(picture), progress), cancelled]);
    } finally {
      this.#giveUp = undefined;
    }
  }

  /** Stop what is being restored, if anything is. */
  cancel() {
    if (!this.#giveUp) return;
    this.#giveUp();
    this.#restart();
  }

  async #restore(picture, sides, progress) {
    for (const side of sides) {
      try {
        return await this.#attempt(picture, side, progress);
      } catch (error) {
        this.#restart(); // only a new worker gives the memory back
        if (side === sides.at(-1)) throw error;
      }
    }
  }

  #start() {
    this.#worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
    this.#loaded = this.#ask({ order: "load", model: this.#model });
    this.#loaded.catch(() => {}); // whoever awaits `loaded` hears of it
  }

  #restart() {
    this.#worker.terminate();
    this.#start();
  }

  async #attempt({ data, width, height }, tile, progress) {
    await this.#loaded;
    const began = performance.now();
    let tiles = 1;
    const { pixels } = await this.#ask({ order: "restore", pixels: data, width, height, tile }, (done, total) => {
      tiles = total;
      progress(done, total);
    });
    return { picture: new ImageData(pixels, width, height), tiles, seconds: (performance.now() - began) / 1000 };
  }

  /** Send an order to the worker and wait for its answer. */
  #ask(order, progress = () => {}) {
    return new Promise((resolve, reject) => {
      this.#worker.onerror = (event) => reject(new Error(event.message || "the program files are incomplete"));
      this.#worker.onmessage = ({ data }) => {
        if (data.said === "progress") progress(data.done, data.total);
        else if (data.said === "failed") reject(new Error(data.message));
        else resolve(data);
      };
      this.#worker.postMessage(order);
    });
  }
}

function sidesToTry({ width, height }) {
  const whole = Math.max(width, height);
  const tiles = TILES.filter((side) => side < whole);
  return width * height <= LARGEST_WHOLE ? [whole, ...tiles] : tiles;
}
