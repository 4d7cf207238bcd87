// A zip archive of files that are compressed already, put together in the browser.
// Layout: PKWARE APPNOTE 6.3.10, sections 4.3.7 (local header), 4.3.12 (central directory) and 4.3.16 (its end).

const LIMIT_BYTES = 2 ** 32 - 1;

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? 0xedb88320 ^ (value >>> 1) : value >>> 1;
  return value;
});

function crc32(bytes) {
  let value = ~0;
  for (const byte of bytes) value = TABLE[(value ^ byte) & 255] ^ (value >>> 8);
  return ~value >>> 0;
}

/** Little-endian numbers: pairs of a size in bytes (2 or 4) and a value. */
function numbers(...pairs) {
  const view = new DataView(new ArrayBuffer(pairs.reduce((sum, [size]) => sum + size, 0)));
  let at = 0;
  for (const [size, value] of pairs) {
    if (size === 2) view.setUint16(at, value, true);
    else view.setUint32(at, value, true);
    at += size;
  }
  return new Uint8Array(view.buffer);
}

/**
 * Pack files into a zip archive.
 *
 * @param {{name: string, blob: Blob}[]} files The names must differ.
 * @param {Date} date Date of all files, from 1980 on.
 * @returns {Promise<Blob>}
 */
export async function zip(files, date = new Date()) {
  const day = ((date.getFullYear() - 1980) << 9) | ((date.getMonth() + 1) << 5) | date.getDate();
  const time = (date.getHours() << 11) | (date.getMinutes() << 5) | (date.getSeconds() >> 1);
  const bodies = [];
  const directory = [];
  let offset = 0;
  let directoryBytes = 0;
  for (const { name, blob } of files) {
    const path = new TextEncoder().encode(name);
    const crc = crc32(new Uint8Array(await blob.arrayBuffer()));
    const utf8 = 1 << 11;
    const common = [[2, 20], [2, utf8], [2, 0], [2, time], [2, day], [4, crc], [4, blob.size], [4, blob.size]];
    const local = numbers([4, 0x04034b50], ...common, [2, path.length], [2, 0]);
    const entry = numbers(
      [4, 0x02014b50], [2, 20], ...common, [2, path.length], [2, 0], [2, 0], [2, 0], [2, 0], [4, 0], [4, offset],
    );
    bodies.push(local, path, blob);
    directory.push(entry, path);
    offset += local.length + path.length + blob.size;
    directoryBytes += entry.length + path.length;
    if (offset + directoryBytes > LIMIT_BYTES || files.length > 65535) {
      throw new RangeError("The pictures are too large for one zip file; download them one by one.");
    }
  }
  const end = numbers(
    [4, 0x06054b50], [2, 0], [2, 0], [2, files.length], [2, files.length], [4, directoryBytes], [4, offset], [2, 0],
  );
  return new Blob([...bodies, ...directory, end], { type: "application/zip" });
}
