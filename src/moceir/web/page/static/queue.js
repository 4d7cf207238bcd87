// The queue of this page: which pictures wait, which one is worked on, and how long that will take.

import { Problem, restore } from "./restore.js";

const AT_ONCE = 2; // one in the network, one on its way: the server never waits for an upload
const TRIES = 20;

/** A picture on the page. `state` is waiting, working, done, failed or cancelled. */
export class Picture {
  constructor(file) {
    Object.assign(this, { file, name: file.name || "pasted.png", state: "waiting", share: 0, ahead: 0, error: "" });
    this.result = null;
  }

  get open() {
    return this.state === "waiting" || this.state === "working";
  }
}

export class Queue {
  /** @param {(picture: Picture) => void} onChange Called after each change of a picture. */
  constructor(onChange) {
    this.onChange = onChange;
    this.pictures = [];
    this.running = new Map(); // pictures with their AbortController
    this.seconds = []; // of finished pictures
  }

  /** Append pictures and begin. */
  add(pictures, options) {
    this.pictures.push(...pictures);
    this.#begin(pictures, options);
  }

  /** Restore all pictures again, with other options. */
  again(options) {
    this.cancel();
    this.#begin(this.pictures, options);
  }

  #begin(pictures, options) {
    for (const picture of pictures) {
      this.#change(picture, { state: "waiting", share: 0, ahead: 0, error: "", options });
    }
    this.#next();
  }

  /** Stop everything that is not done. */
  cancel() {
    for (const picture of this.pictures) if (picture.open) this.#change(picture, { state: "cancelled" });
    for (const controller of this.running.values()) controller.abort();
    this.running.clear();
  }

  /** Forget all pictures. */
  clear() {
    this.cancel();
    this.pictures = [];
    this.seconds = [];
  }

  /** Estimate the seconds until all is done; null before the first sign of progress. */
  secondsLeft() {
    const open = this.pictures.filter((picture) => picture.open);
    const measured = open
      .filter((picture) => picture.state === "working" && picture.share > 0.02)
      .map((picture) => (performance.now() - picture.began) / 1000 / picture.share);
    const known = this.seconds.length ? this.seconds : measured;
    if (!known.length) return null;
    const usual = known.reduce((sum, value) => sum + value, 0) / known.length;
    return open.reduce((sum, picture) => sum + usual * (1 - picture.share), 0);
  }

  #change(picture, changes) {
    Object.assign(picture, changes);
    this.onChange(picture);
  }

  #next() {
    for (const picture of this.pictures) {
      if (this.running.size >= AT_ONCE) return;
      if (picture.state === "waiting" && !this.running.has(picture)) this.#run(picture);
    }
  }

  async #run(picture) {
    const controller = new AbortController();
    const { signal } = controller;
    this.running.set(picture, controller);
    const onEvent = ({ state, share = 0, ahead = 0 }) => {
      if (signal.aborted) return;
      if (state === "working" && picture.state !== "working") picture.began = performance.now();
      this.#change(picture, { state, share, ahead });
    };
    try {
      const result = await persistently(() => restore(picture.file, picture.options, signal, onEvent), signal);
      if (signal.aborted) return;
      this.seconds.push(result.seconds);
      this.#change(picture, { state: "done", share: 1, result });
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof Problem)) console.error(error);
      this.#change(picture, { state: "failed", error: error.message, result: null });
    }
    this.running.delete(picture);
    this.#next();
  }
}

/** Try again where the server says when, for example because its queue is full. */
async function persistently(attempt, signal) {
  for (let tries = 1; ; tries++) {
    try {
      return await attempt();
    } catch (error) {
      if (!error.retryAfter || tries === TRIES || signal.aborted) throw error;
      await new Promise((resolve) => setTimeout(resolve, 1000 * error.retryAfter));
    }
  }
}
