/** Files of pictures: what the API writes as base64, what the page shows, what is downloaded. */
import { sidesOf } from './picture';

const SMALL_SIDE = 384;
const MAGIC: [string, readonly number[]][] = [
  ['image/png', [0x89, 0x50, 0x4e, 0x47]],
  ['image/jpeg', [0xff, 0xd8, 0xff]],
  ['image/webp', [0x52, 0x49, 0x46, 0x46]],
];

/** The bytes in a base64 text, as the file that they are. */
export function blobOf(base64: string): Blob {
  const bytes = Uint8Array.from(atob(base64), (each) => each.charCodeAt(0));
  return new Blob([bytes], { type: typeOf(bytes) });
}

/** What kind of picture bytes are; as PNG where they are none that browsers show. */
export function typeOf(bytes: Uint8Array): string {
  return MAGIC.find(([, start]) => start.every((each, place) => bytes[place] === each))?.[0] ?? 'image/png';
}

/** The file as base64, without more memory than a few times its size. */
export async function base64Of(file: Blob): Promise<string> {
  const bytes = new Uint8Array(await file.arrayBuffer());
  let text = '';
  for (let at = 0; at < bytes.length; at += 0x8000) {
    text += String.fromCharCode(...bytes.subarray(at, at + 0x8000));
  }
  return btoa(text);
}

export interface Look {
  size: string;
  /** A data URL. */
  thumbnail: string;
}

/**
 * How large a picture is, and a small copy of it.
 *
 * @throws where the browser cannot read the file as a picture.
 */
export async function lookAt(file: Blob): Promise<Look> {
  const bitmap = await createImageBitmap(file);
  try {
    const size = `${bitmap.width}x${bitmap.height}`;
    const scale = Math.min(1, SMALL_SIDE / Math.max(bitmap.width, bitmap.height));
    const canvas = document.createElement('canvas');
    canvas.width = Math.max(1, Math.round(bitmap.width * scale));
    canvas.height = Math.max(1, Math.round(bitmap.height * scale));
    canvas.getContext('2d')?.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    const webp = canvas.toDataURL('image/webp', 0.85);
    // A browser that writes no WebP gives a PNG, which is large.
    const thumbnail = webp.startsWith('data:image/webp') ? webp : canvas.toDataURL('image/jpeg', 0.85);
    return { size, thumbnail };
  } finally {
    bitmap.close();
  }
}

/**
 * The mask as the API takes it: a PNG that is transparent where to paint anew.
 *
 * @param marks what is marked, opaque on nothing.
 */
export async function maskOf(marks: HTMLCanvasElement, size: string): Promise<Blob> {
  const canvas = document.createElement('canvas');
  [canvas.width, canvas.height] = sidesOf(size);
  const surface = canvas.getContext('2d');
  if (surface === null) throw new Error('The browser gives no canvas.');
  surface.fillRect(0, 0, canvas.width, canvas.height);
  surface.globalCompositeOperation = 'destination-out';
  surface.drawImage(marks, 0, 0);
  return await new Promise((resolve, reject) =>
    canvas.toBlob((file) => (file ? resolve(file) : reject(new Error('The browser cannot write a PNG.'))), 'image/png'),
  );
}

/** Give a file to whoever sits there, byte for byte. */
export function saveFile(file: Blob, name: string): void {
  const url = URL.createObjectURL(file);
  const link = document.createElement('a');
  link.href = url;
  link.download = name;
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}
