// The page: takes a picture, restores it, compares and saves the result.

import { decode, show, toPng } from "./picture.js";
import { Cancelled, Restorer } from "./restorer.js";

const element = (id) => document.getElementById(id);
const [input, drop, status, clock, bar, cancel] = ["input", "drop", "status", "clock", "bar", "cancel"].map(element);
const [comparison, split, before, after, save] = ["comparison", "split", "before", "after", "save"].map(element);

const settings = new URLSearchParams(location.search);
const modelFile = settings.get("model") ?? "model.onnx";
const tile = Number(settings.get("tile")) || undefined;

let restorer;
/** Counts pictures, so that what is left of an earlier one is not shown. */
let current = 0;

input.addEventListener("change", () => take(input.files[0]));
cancel.addEventListener("click", () => restorer?.cancel());
split.addEventListener("input", () => comparison.style.setProperty("--split", `${split.value}%`));

for (const kind of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    drop.classList.toggle("over", kind === "dragover");
    if (kind === "drop") take(event.dataTransfer.files[0]);
  });
}
document.addEventListener("paste", (event) => take(event.clipboardData.files[0]));

navigator.serviceWorker?.register("offline.js").catch(() => {}); // without it, the page needs its server each time
getReady();

async function getReady() {
  say("Loading the model", { busy: true });
  try {
    const response = await fetch(modelFile);
    if (!response.ok) throw new Error(`${modelFile} is missing (${response.status}). The README says how to make it.`);
    const loading = new Restorer(await response.arrayBuffer());
    await loading.loaded;
    restorer = loading;
    input.disabled = false;
    say("Ready. Nothing is uploaded: your photo stays on this device.");
  } catch (error) {
    say(`The model could not be loaded: ${error.message}`, { failed: true });
  }
}

/** Restore a file that was chosen, dropped or pasted. */
async function take(file) {
  if (!file || !restorer) return;
  restorer.cancel();
  const number = ++current;
  const isCurrent = () => number === current;
  say("Opening the photo", { busy: true });
  comparison.hidden = save.hidden = true;
  input.value = ""; // so that the same file can be chosen again
  try {
    const degraded = await decode(file);
    if (!isCurrent()) return;
    show(degraded, before);
    reveal(0);
    await restore(degraded, file.name, isCurrent);
  } catch (error) {
    if (!isCurrent()) return;
    if (error instanceof Cancelled) say("Stopped.");
    else say(error.message, { failed: true });
  }
}

async function restore(degraded, name, isCurrent) {
  const task = `Restoring ${degraded.width} × ${degraded.height} pixels`;
  say(task, { busy: true });
  const began = performance.now();
  const ticking = setInterval(() => {
    clock.textContent = `${Math.round((performance.now() - began) / 1000)} s`;
  }, 1000);
  try {
    const result = await restorer.restore(degraded, tile, (done, total) => {
      if (done === total) return;
      bar.value = done / total;
      say(`${task}, tile ${done + 1} of ${total}`, { busy: true });
    });
    if (!isCurrent()) return;
    show(result.picture, after);
    offerToSave(name);
    reveal(50);
    say(summary(result));
  } finally {
    clearInterval(ticking);
  }
}

function summary({ picture, tiles, seconds }) {
  const time = `Restored in ${seconds.toFixed(1)} s, ${picture.width} × ${picture.height} pixels.`;
  if (tiles === 1) return time;
  return `${time} Each of ${tiles} tiles was restored by itself, so brightness can differ across the photo.`;
}

/** Show how much of the picture, from the right, is the restored one. */
function reveal(percent) {
  comparison.hidden = false;
  split.disabled = percent === 0;
  split.value = 100 - percent;
  comparison.classList.toggle("done", percent > 0);
  comparison.style.setProperty("--split", `${split.value}%`);
}

async function offerToSave(name) {
  URL.revokeObjectURL(save.href);
  save.href = URL.createObjectURL(await toPng(after));
  save.download = `${(name || "photo").replace(/\.[^.]*$/, "")}_restored.png`;
  save.hidden = false;
}

/** Tell the user what goes on; while `busy`, with a progress bar and a way to stop it. */
function say(text, { busy = false, failed = false } = {}) {
  status.textContent = text;
  clock.textContent = "";
  status.classList.toggle("failed", failed);
  if (busy && bar.hidden) bar.removeAttribute("value");
  bar.hidden = !busy;
  cancel.hidden = !busy || !restorer;
}
