/** Pictures that come as base64 or as uploaded files, as addresses that an `<img>` takes. */
import { send } from '../lib/api';

export function bytesOf(base64: string): Uint8Array<ArrayBuffer> {
  const text = atob(base64);
  const found = new Uint8Array(text.length);
  for (let at = 0; at < text.length; at++) found[at] = text.charCodeAt(at);
  return found;
}

/** The type of a picture by its first bytes; what is none of these is shown by no browser. */
export function typeOf(bytes: Uint8Array): string {
  const begins = (...given: number[]) => given.every((each, at) => bytes[at] === each);
  if (begins(0x89, 0x50, 0x4e, 0x47)) return 'image/png';
  if (begins(0xff, 0xd8, 0xff)) return 'image/jpeg';
  if (begins(0x47, 0x49, 0x46, 0x38)) return 'image/gif';
  if (begins(0x52, 0x49, 0x46, 0x46)) return 'image/webp';
  return 'application/octet-stream';
}

export async function uploaded(id: string): Promise<Blob> {
  const bytes = new Uint8Array(await (await send('GET', `/v1/files/${encodeURIComponent(id)}/content`)).arrayBuffer());
  return new Blob([bytes], { type: typeOf(bytes) });
}
