import { expect, it } from 'vitest';

import { base64Of, blobOf, typeOf } from './files';

it('gives back the very bytes', async () => {
  const bytes = Uint8Array.from({ length: 70_000 }, (_, place) => (place * 7) % 256);
  const back = blobOf(await base64Of(new Blob([bytes])));
  expect(new Uint8Array(await back.arrayBuffer())).toEqual(bytes);
});

it.each([
  [[0x89, 0x50, 0x4e, 0x47, 0x0d], 'image/png'],
  [[0xff, 0xd8, 0xff, 0xe0], 'image/jpeg'],
  [[0x52, 0x49, 0x46, 0x46], 'image/webp'],
  [[0x3c, 0x73, 0x76, 0x67], 'image/png'],
  [[], 'image/png'],
])('knows %j as %s', (bytes, type) => {
  expect(typeOf(Uint8Array.from(bytes))).toBe(type);
});
