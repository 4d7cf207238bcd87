// One picture through the server: a request with the file, and an answer that is read while the server works on it.

/** An error with a text for the person at the page. `retryAfter` is in seconds where another try may succeed. */
export class Problem extends Error {
  constructor(text, { status = 0, retryAfter = null } = {}) {
    super(text);
    Object.assign(this, { status, retryAfter });
  }
}

/**
 * Restore one picture. The name of the file is not sent.
 *
 * @param {Blob} file The picture file.
 * @param {object} options Options by the names of `RestoreOptions`.
 * @param {AbortSignal} signal Cancels the work on the server too.
 * @param {(event: object) => void} onEvent Called with `{state: "waiting", ahead, left}` and
 *   `{state: "working", share, left}`, where `left` are seconds.
 * @returns {Promise<object>} What the server says about the result, with the Blobs `file`, `before` and `after`. The
 *   last two are null where the browser can show the files themselves.
 */
export async function restore(file, options, signal, onEvent) {
  const address = new URL("restore", document.baseURI);
  address.searchParams.set("options", JSON.stringify(options));
  let response;
  try {
    response = await fetch(address, { method: "POST", body: file, signal });
  } catch (error) {
    if (signal.aborted) throw error;
    throw new Problem("The server does not answer, or the file can no longer be read. Check that both are there.");
  }
  if (!response.ok) throw await problemOf(response);
  const stream = new Stream(response.body);
  for (;;) {
    const line = await stream.line();
    if (line === null) throw new Problem("The connection to the server broke off. Try again.");
    const event = JSON.parse(line);
    if (event.state === "failed") throw new Problem(sentence(event.detail));
    if (event.state !== "done") {
      onEvent(event);
      continue;
    }
    const blobs = {};
    for (const { name, type, bytes } of event.blobs) blobs[name] = await stream.blob(bytes, type);
    return { ...event, before: null, after: null, ...blobs };
  }
}

const sentence = (text) => `${text.charAt(0).toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? "" : "."}`;

async function problemOf(response) {
  const retryAfter = Number(response.headers.get("Retry-After")) || null;
  const status = response.status;
  if (status === 401) return new Problem("You are no longer logged in. Reload the page.", { status });
  try {
    const { detail, title } = await response.json();
    return new Problem(sentence(detail || title), { status, retryAfter });
  } catch {
    return new Problem(`The server answered with the error ${status}.`, { status, retryAfter });
  }
}

/** Lines of text, followed by binary data, from a stream of bytes. */
class Stream {
  constructor(body) {
    this.reader = body.getReader();
    this.rest = new Uint8Array();
  }

  async #more() {
    const { value, done } = await this.reader.read();
    return done ? null : value;
  }

  /** Return the next line, or null at the end. */
  async line() {
    const begun = [];
    for (let chunk = this.rest; ; chunk = await this.#more()) {
      if (chunk === null) return null;
      const end = chunk.indexOf(10);
      begun.push(end < 0 ? chunk : chunk.subarray(0, end));
      if (end < 0) continue;
      this.rest = chunk.subarray(end + 1);
      return new Blob(begun).text();
    }
  }

  /** Return the next `bytes` bytes. */
  async blob(bytes, type) {
    const begun = [];
    let missing = bytes;
    for (let chunk = this.rest; ; chunk = await this.#more()) {
      if (chunk === null) throw new Problem("The connection to the server broke off. Try again.");
      begun.push(chunk.subarray(0, missing));
      this.rest = chunk.subarray(Math.min(missing, chunk.length));
      missing -= Math.min(missing, chunk.length);
      if (missing === 0) return new Blob(begun, { type });
    }
  }
}
