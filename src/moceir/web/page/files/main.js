// The page: pictures come in, are restored one after the other, and can be compared and downloaded.

import { Compare } from "./compare.js";
import { download, duration, make, parts, percent } from "./dom.js";
import { Picture, Queue } from "./queue.js";
import { report } from "./report.js";
import { zip } from "./zip.js";

const SHOWABLE = ["image/jpeg", "image/png", "image/webp", "image/avif"]; // what every browser shows by itself

/** Bring the page to life. The controls beside it send their values as events of the document. */
export function start(element) {
  const root = element.firstElementChild;
  const page = new Page(root);
  document.addEventListener("moceir:settings", ({ detail }) => page.set(detail));
  document.addEventListener("moceir:again", ({ detail }) => page.again(detail));
  root.hidden = false; // not before its buttons work
}

class Page {
  constructor(root) {
    this.root = root;
    this.parts = parts(root);
    this.compare = new Compare(this.parts.viewer);
    this.queue = new Queue((picture) => this.#changed(picture), Number(root.dataset.maxBytes));
    this.settings = {};
    this.selected = null;
    this.#takePictures();
    this.parts.cancel.addEventListener("click", () => this.#cancel());
    this.parts.clear.addEventListener("click", () => this.#clear());
    this.parts.download.addEventListener("click", () => download(this.selected.result.file, resultName(this.selected)));
    this.parts.archive.addEventListener("click", () => this.#archive());
    const { changes } = this.parts;
    changes.addEventListener("click", () => this.#showChanges(changes.getAttribute("aria-pressed") === "false"));
  }

  set(settings) {
    this.settings = settings;
  }

  again(settings) {
    this.settings = settings;
    if (this.queue.pictures.length) this.queue.again(settings);
    else this.parts.choose.focus();
  }

  #takePictures() {
    const { drop, choose, input, examples } = this.parts;
    choose.addEventListener("click", () => input.click());
    input.addEventListener("change", () => {
      this.#add([...input.files]);
      input.value = "";
    });
    let depth = 0; // of nested elements that the pointer is inside of
    const lit = (change) => drop.classList.toggle("lit", (depth = Math.max(0, depth + change)) > 0);
    document.addEventListener("dragenter", () => lit(1));
    document.addEventListener("dragleave", () => lit(-1));
    document.addEventListener("dragover", (event) => event.preventDefault());
    document.addEventListener("drop", (event) => {
      event.preventDefault();
      lit(-depth);
      this.#add([...event.dataTransfer.files]);
    });
    document.addEventListener("paste", (event) => {
      const files = [...(event.clipboardData?.files ?? [])];
      if (!files.length) return;
      event.preventDefault();
      this.#add(files);
    });
    for (const example of examples.querySelectorAll("button")) {
      example.addEventListener("click", () => this.#addExample(example.dataset.file));
    }
  }

  async #addExample(name) {
    const response = await fetch(new URL(`examples/${name}`, document.baseURI));
    this.#add([new File([await response.blob()], name, { type: "image/png" })]);
  }

  #add(files) {
    if (!files.length) return;
    const added = files.map((file) => new Picture(file));
    for (const picture of added) this.#list(picture);
    this.#select(added[0]);
    this.queue.add(added, this.settings);
    this.root.classList.add("filled");
  }

  /** Append a picture to the list. */
  #list(picture) {
    const url = SHOWABLE.includes(picture.file.type) ? URL.createObjectURL(picture.file) : null;
    picture.given = url;
    const thumb = url ? make("img", { src: url, alt: "", loading: "lazy", decoding: "async" }) : make("span");
    picture.label = make("small");
    picture.row = make("button", { type: "button", className: "picture", title: picture.name },
      make("span", { className: "thumb" }, thumb),
      make("span", { className: "about" }, make("span", { className: "name" }, picture.name), picture.label));
    picture.row.addEventListener("click", () => this.#select(picture));
    this.parts.list.append(make("li", {}, picture.row));
  }

  #select(picture) {
    this.selected?.row.removeAttribute("aria-current");
    this.selected = picture;
    picture.row.setAttribute("aria-current", "true");
    this.#show();
  }

  #changed(picture) {
    if (picture.state === "done") this.#keepViews(picture);
    picture.row.dataset.state = picture.state;
    picture.label.textContent = stateText(picture);
    if (picture === this.selected) this.#show();
    this.#overall();
  }

  /** Keep addresses at which the browser finds the picture before and after; none but the newest. */
  #keepViews(picture) {
    const { result } = picture;
    if (picture.kept === result) return;
    if (picture.restored) URL.revokeObjectURL(picture.restored);
    if (!picture.shown) {
      if (picture.given) URL.revokeObjectURL(picture.given);
      picture.given = URL.createObjectURL(result.before ?? picture.file);
      picture.shown = true;
      picture.row.querySelector(".thumb").replaceChildren(make("img", { src: picture.given, alt: "" }));
    }
    picture.restored = URL.createObjectURL(result.after ?? result.file);
    picture.kept = result;
  }

  #show() {
    const picture = this.selected;
    const { viewer, title, details, problem, changes, download: button } = this.parts;
    const { result, given } = picture;
    title.textContent = picture.name;
    problem.hidden = picture.state !== "failed";
    problem.textContent = picture.error;
    details.hidden = !result;
    button.disabled = !result;
    button.hidden = !result && !picture.open;
    const drawn = result ?? picture;
    if (this.drawn === drawn) return;
    this.drawn = drawn;
    viewer.hidden = !result;
    changes.hidden = result?.upscale > 1; // the browser can only compare with its own enlargement
    if (changes.hidden) this.#showChanges(false);
    if (result) {
      this.compare.show(given, picture.restored, { ...result, name: picture.name });
      details.replaceChildren(...report(result));
    } else if (given) {
      this.#showGiven(picture);
    }
  }

  /** Show a picture before there is a result, if the browser can. */
  async #showGiven(picture) {
    const probe = make("img", { src: picture.given });
    try {
      await probe.decode();
    } catch {
      return;
    }
    if (this.drawn !== picture) return;
    this.parts.viewer.hidden = false;
    this.compare.show(picture.given, null, {
      width: probe.naturalWidth, height: probe.naturalHeight, name: picture.name,
    });
  }

  #overall() {
    const { overall, status, left, bar, archive, cancel } = this.parts;
    const { pictures } = this.queue;
    const open = pictures.filter((picture) => picture.open);
    const finished = pictures.filter((picture) => picture.state === "done");
    overall.hidden = !pictures.length;
    archive.hidden = pictures.length < 2;
    archive.disabled = finished.length < 1;
    cancel.hidden = !open.length;
    bar.hidden = !open.length;
    bar.value = pictures.reduce((sum, picture) => sum + (picture.open ? picture.share : 1), 0) / pictures.length;
    const text = open.length ? this.#progressText(open) : summary(pictures);
    if (status.textContent !== text) status.textContent = text; // screen readers read each change
    const seconds = open.length ? this.queue.secondsLeft() : null;
    left.textContent = seconds === null ? "" : ` · about ${duration(seconds)} left`;
  }

  #progressText(open) {
    const all = this.queue.pictures.length;
    const ahead = Math.min(...open.map((picture) => (picture.state === "working" ? 0 : picture.ahead)));
    if (ahead > 0) return `Waiting for ${ahead === 1 ? "one picture" : `${ahead} pictures`} of others`;
    return all > 1 ? `Restoring ${all - open.length + 1} of ${all}` : "Restoring";
  }

  #cancel() {
    this.queue.cancel();
    this.parts.choose.focus();
  }

  #clear() {
    for (const picture of this.queue.pictures) {
      for (const url of [picture.given, picture.restored]) if (url) URL.revokeObjectURL(url);
    }
    this.queue.clear();
    this.selected = this.drawn = null;
    this.parts.list.replaceChildren();
    this.parts.overall.hidden = true;
    this.root.classList.remove("filled");
    this.parts.choose.focus();
  }

  async #archive() {
    const taken = new Set();
    const files = this.queue.pictures
      .filter((picture) => picture.result)
      .map((picture) => ({ name: unused(resultName(picture), taken), blob: picture.result.file }));
    try {
      download(await zip(files), "restored.zip");
    } catch (error) {
      this.parts.status.textContent = error.message;
    }
  }

  #showChanges(shown) {
    const { changes, stage } = this.parts;
    stage.classList.toggle("difference", shown);
    changes.setAttribute("aria-pressed", String(shown));
  }
}

function stateText({ state, share, ahead, result }) {
  if (state === "working") return percent(share);
  if (state === "waiting") return ahead > 0 ? `waiting, ${ahead} before it` : "waiting";
  if (state === "done") return `${result.width} × ${result.height}`;
  return state;
}

function summary(pictures) {
  const count = (state) => pictures.filter((picture) => picture.state === state).length;
  const said = [[count("done"), "restored"], [count("failed"), "failed"], [count("cancelled"), "cancelled"]];
  if (pictures.length === 1) return said.find(([number]) => number)[1].replace(/^./, (letter) => letter.toUpperCase());
  return said.filter(([number]) => number).map(([number, what]) => `${number} ${what}`).join(", ");
}

/** Return the name of a result: that of the picture, with "_restored" and the suffix of the result's format. */
function resultName({ name, result }) {
  const dot = name.lastIndexOf(".");
  const [stem, suffix] = dot > 0 ? [name.slice(0, dot), name.slice(dot)] : [name, ""];
  const kept = result.suffixes.includes(suffix.toLowerCase()) ? suffix : result.suffixes[0];
  return `${stem}_restored${kept}`;
}

/** Return a name that is not taken, with a number where it is, and take it. */
function unused(name, taken) {
  const dot = name.lastIndexOf(".");
  let free = name;
  for (let number = 2; taken.has(free.toLowerCase()); number++) {
    free = `${name.slice(0, dot)} (${number})${name.slice(dot)}`;
  }
  taken.add(free.toLowerCase());
  return free;
}
