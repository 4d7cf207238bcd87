// How a picture is cut into overlapping tiles, and how their results are blended. All numbers are pixels.

/** How far neighbouring tiles overlap at least. */
export const OVERLAP = 128;
/** Over how many pixels, in the middle of an overlap, one tile fades into the next. Pixels at the very edge of a tile
 * saw the least of their surroundings and do not count. */
const FADE = OVERLAP / 2;

/**
 * Split one side of a picture into spans of equal length, at most `tile`.
 * @param {number} side
 * @param {number} tile at least twice `OVERLAP`
 * @returns {{start: number, length: number}[]} overlapping spans that cover the side
 */
export function spans(side, tile) {
  if (side <= tile) return [{ start: 0, length: side }];
  const count = Math.ceil((side - OVERLAP) / (tile - OVERLAP));
  const length = Math.ceil((side + (count - 1) * OVERLAP) / count);
  return Array.from({ length: count }, (_, i) => ({ start: Math.round((i * (side - length)) / (count - 1)), length }));
}

/**
 * Weights of the pixels of one span. Those of all spans add up to 1 at every pixel of the side.
 * @param {{start: number, length: number}[]} all from `spans`
 * @param {number} number which of them
 */
export function weights(all, number) {
  const { start, length } = all[number];
  const before = number > 0 ? seam(all[number - 1], all[number]) : -Infinity;
  const after = number + 1 < all.length ? seam(all[number], all[number + 1]) : Infinity;
  return Float32Array.from({ length }, (_, i) => risen(start + i, before) * (1 - risen(start + i, after)));
}

/** The middle of the overlap of two spans. */
function seam(left, right) {
  return (left.start + left.length + right.start) / 2;
}

/** How much of the tile after a seam counts at a pixel: from 0 before it to 1 behind it. */
function risen(pixel, seam) {
  return Math.min(Math.max((pixel + 0.5 - seam) / FADE + 0.5, 0), 1);
}
