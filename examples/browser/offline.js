// A service worker that keeps a copy of the page, so that it works without a network after the first visit.

const CACHE = "moceir";
const FILES = [
  "./",
  "style.css",
  "model.onnx",
  "js/app.js",
  "js/picture.js",
  "js/restorer.js",
  "js/tiles.js",
  "js/worker.js",
  "runtime/ort.wasm.bundle.min.mjs",
  "runtime/ort-wasm-simd-threaded.wasm",
];

self.addEventListener("install", (event) => event.waitUntil(caches.open(CACHE).then((cache) => cache.addAll(FILES))));

self.addEventListener("fetch", (event) => event.respondWith(networkFirst(event.request)));

/** Answer from the network, and keep a copy; without a network, from the copies. */
async function networkFirst(request) {
  const cache = await caches.open(CACHE);
  try {
    const response = await fetch(request);
    if (response.ok) await cache.put(request, response.clone());
    return response;
  } catch (error) {
    const copy = await cache.match(request, { ignoreSearch: true });
    if (copy) return copy;
    throw error;
  }
}
