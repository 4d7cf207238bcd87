// A picture before and after, one over the other, with a divider between them and with zoom.

import { parts } from "./dom.js";

const MOST_ZOOM = 32;
const PIXELATED_FROM = 3; // screen pixels per pixel of the picture

export class Compare {
  /** @param {HTMLElement} root Holds the parts stage, before, after, handle, split, zoom, fit, actual, closer, wider. */
  constructor(root) {
    this.parts = parts(root);
    this.pointers = new Map();
    this.view = { zoom: 1, x: 0, y: 0 };
    this.split = 0.5;
    const { stage, split, closer, wider, fit, actual } = this.parts;
    split.addEventListener("input", () => this.#setSplit(split.value / 1000));
    split.addEventListener("keydown", (event) => this.#key(event));
    closer.addEventListener("click", () => this.#zoomBy(1.5));
    wider.addEventListener("click", () => this.#zoomBy(1 / 1.5));
    fit.addEventListener("click", () => this.#zoomTo(1));
    actual.addEventListener("click", () => this.#zoomTo(this.#actualZoom()));
    stage.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    stage.addEventListener("dblclick", (event) =>
      this.#zoomTo(this.view.zoom > 1 ? 1 : Math.max(2, this.#actualZoom()), this.#place(event)));
    stage.addEventListener("pointerdown", (event) => this.#down(event));
    stage.addEventListener("pointermove", (event) => this.#move(event));
    for (const name of ["pointerup", "pointercancel"]) stage.addEventListener(name, (event) => this.#up(event));
    new ResizeObserver(() => this.#draw()).observe(stage);
  }

  /**
   * Show two pictures of one shape; null for `after` while there is no result yet. `width` and `height` are those of
   * the larger one, to which the other is scaled.
   */
  show(before, after, { width, height, name }) {
    const { stage } = this.parts;
    const kept = this.shown === before;
    this.shown = before;
    this.size = { width, height };
    this.parts.before.src = before;
    this.parts.before.alt = `${name}, as it came`;
    if (after) this.parts.after.src = after;
    else this.parts.after.removeAttribute("src");
    this.parts.after.alt = after ? `${name}, restored` : "";
    stage.classList.toggle("single", !after);
    this.parts.split.disabled = !after;
    stage.style.setProperty("--picture-width", width);
    stage.style.setProperty("--picture-height", height);
    if (!kept) this.view = { zoom: 1, x: 0, y: 0 };
    this.#draw();
  }

  #setSplit(share) {
    this.split = Math.min(Math.max(share, 0), 1);
    this.parts.split.value = Math.round(1000 * this.split);
    this.#draw();
  }

  #key(event) {
    const step = { "+": 1.5, "=": 1.5, "-": 1 / 1.5 }[event.key];
    if (step) this.#zoomBy(step);
    else if (event.key === "0") this.#zoomTo(1);
    else return;
    event.preventDefault();
  }

  /** Return the zoom at which a pixel of the picture is a pixel of the screen. */
  #actualZoom() {
    const fitted = this.parts.stage.clientWidth * devicePixelRatio;
    return Math.max(1, (this.size?.width ?? fitted) / fitted);
  }

  /** Return where on the stage a pointer is, in CSS pixels. */
  #place(event) {
    const box = this.parts.stage.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  }

  #zoomBy(factor, place) {
    this.#zoomTo(this.view.zoom * factor, place);
  }

  /** Zoom so that what is under `place` (the middle of the stage by default) stays there. */
  #zoomTo(zoom, place) {
    const { clientWidth, clientHeight } = this.parts.stage;
    const { x, y } = place ?? { x: clientWidth / 2, y: clientHeight / 2 };
    const next = Math.min(Math.max(zoom, 1), MOST_ZOOM);
    const factor = next / this.view.zoom;
    this.view = { zoom: next, x: x - (x - this.view.x) * factor, y: y - (y - this.view.y) * factor };
    this.#draw();
  }

  /** A wheel zooms only with Ctrl (as pinching on a touchpad reports it) or once zoomed in, so that pages scroll. */
  #wheel(event) {
    if (!event.ctrlKey && this.view.zoom === 1) return;
    event.preventDefault();
    this.#zoomBy(Math.exp(-event.deltaY / 300), this.#place(event));
  }

  #down(event) {
    const { stage, split } = this.parts;
    if (event.button !== 0) return;
    stage.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, this.#place(event));
    const onHandle = Math.abs(this.#place(event).x - this.split * stage.clientWidth) < 24;
    this.dragsSplit = !split.disabled && (onHandle || this.view.zoom === 1);
    if (this.dragsSplit && this.pointers.size === 1) this.#setSplit(this.#place(event).x / stage.clientWidth);
    split.focus({ preventScroll: true });
    event.preventDefault();
  }

  #move(event) {
    const last = this.pointers.get(event.pointerId);
    if (!last) return;
    const place = this.#place(event);
    const [other] = [...this.pointers].filter(([id]) => id !== event.pointerId).map(([, at]) => at);
    this.pointers.set(event.pointerId, place);
    if (other) {
      const apart = (a) => Math.hypot(a.x - other.x, a.y - other.y);
      this.#zoomBy(apart(place) / Math.max(apart(last), 1), { x: (place.x + other.x) / 2, y: (place.y + other.y) / 2 });
    } else if (this.dragsSplit) {
      this.#setSplit(place.x / this.parts.stage.clientWidth);
    } else {
      this.view.x += place.x - last.x;
      this.view.y += place.y - last.y;
      this.#draw();
    }
  }

  #up(event) {
    this.pointers.delete(event.pointerId);
  }

  #draw() {
    const { stage, before, after, handle, zoom } = this.parts;
    const { clientWidth: width, clientHeight: height } = stage;
    const inside = (at, length) => Math.min(0, Math.max(at, length - length * this.view.zoom));
    this.view.x = inside(this.view.x, width);
    this.view.y = inside(this.view.y, height);
    const sharp = (this.view.zoom * width * devicePixelRatio) / (this.size?.width ?? 1) >= PIXELATED_FROM;
    for (const image of [before, after]) {
      image.style.transform = `translate(${this.view.x}px, ${this.view.y}px) scale(${this.view.zoom})`;
      image.style.imageRendering = sharp ? "pixelated" : "auto";
    }
    stage.style.setProperty("--split", `${100 * this.split}%`);
    stage.classList.toggle("zoomed", this.view.zoom > 1);
    handle.hidden = this.parts.split.disabled;
    const scale = (this.view.zoom * width * devicePixelRatio) / (this.size?.width ?? width);
    zoom.textContent = `${Math.round(100 * scale)}\u00a0%`;
  }
}
