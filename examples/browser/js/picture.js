// Pictures between files, canvases and pixels. The browser decodes, applies the EXIF orientation and converts to sRGB.

/** Larger pictures (in pixels) are refused: they take 32 bytes per pixel beside the network. */
const LARGEST = 50_000_000;

/**
 * Decode a file.
 * @param {Blob} file
 * @returns {Promise<ImageData>} RGBA, 8 bits, sRGB
 */
export async function decode(file) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    throw new Error("This browser cannot read that file as a picture. Try a JPEG, PNG or WebP file.");
  }
  const { width, height } = bitmap;
  if (width * height > LARGEST) {
    bitmap.close();
    const limit = LARGEST / 1e6;
    throw new Error(`${width} × ${height} pixels are too many for a browser; the limit is ${limit} megapixels.`);
  }
  const context = sized(document.createElement("canvas"), width, height);
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return context.getImageData(0, 0, width, height);
}

/** Show pixels on a canvas. */
export function show(picture, canvas) {
  sized(canvas, picture.width, picture.height).putImageData(picture, 0, 0);
}

/** Encode a canvas as a PNG file. */
export function toPng(canvas) {
  return new Promise((resolve, reject) => {
    canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error("The PNG file could not be written."))));
  });
}

function sized(canvas, width, height) {
  canvas.width = width;
  canvas.height = height;
  // Pixels are read back, so a canvas in the memory of the graphics card would only be slower.
  return canvas.getContext("2d", { willReadFrequently: true });
}
