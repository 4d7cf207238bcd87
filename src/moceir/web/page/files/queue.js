// The queue of this page: which pictures wait, which one is worked on, and how long that will take.

import { Problem, restore } from "./restore.js";

const AT_ONCE = 2; // one in the network, one on its way: the server never waits for an upload
const TRIES = 20;

const sum = (values) => values.reduce((total, value) => total + value, 0);

/** A picture on the page. `state` is waiting, working, done, failed or cancelled. */
export class Picture {
  constructor(file) {
    Object.assign(this, { file, name: file.name || "pasted.png", state: "waiting", share: 0, ahead: 0, left: null, error: "" });
    this.result = null;
  }

  get open() {
    return this.state === "waiting" || this.state === "working";
  }
}

export class Queue {
  /**
   * @param {(picture: Picture) => void} onChange Called after each change of a picture.
   * @param {number} mostBytes Largest file that the server takes.
   */
  constructor(onChange, mostBytes) {
    Object.assign(this, { onChange, mostBytes });
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
      this.#change(picture, { state: "waiting", share: 0, ahead: 0, left: null, error: "", options });
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

  /** Estimate the seconds until all is done; null before the server has said anything. */
  secondsLeft() {
    const open = this.pictures.filter((picture) => picture.open);
    const sent = open.filter((picture) => picture.left !== null);
    if (!sent.length) return null;
    const last = Math.max(...sent.map((picture) => picture.left));
    const usual = this.seconds.length ? sum(this.seconds) / this.seconds.length : last / sent.length;
    return last + usual * (open.length - sent.length);
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
    const onEvent = ({ state, share = 0, ahead = 0, left }) => {
      if (!signal.aborted) this.#change(picture, { state, share, ahead, left });
    };
    try {
      if (picture.file.size > this.mostBytes) {
        throw new Problem(`The file is larger than the limit of this server, ${this.mostBytes / 1e6} MB.`);
      }
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
