// Copy what the page needs of onnxruntime-web into runtime/, so that the folder can be served as it is.
import { copyFile, mkdir } from "node:fs/promises";

const source = new URL("node_modules/onnxruntime-web/dist/", import.meta.url);
const target = new URL("runtime/", import.meta.url);

await mkdir(target, { recursive: true });
for (const name of ["ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"]) {
  await copyFile(new URL(name, source), new URL(name, target));
}
