import { afterEach, describe, expect, it, vi } from 'vitest';

import { lines, split } from './lines';

afterEach(() => vi.unstubAllGlobals());

function answer(...pieces: string[]): void {
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      for (const piece of pieces) controller.enqueue(new TextEncoder().encode(piece));
      controller.close();
    },
  });
  vi.stubGlobal('fetch', async () => new Response(body, { headers: { 'x-request-id': 'req_1' } }));
}

async function all(): Promise<unknown[]> {
  const found = [];
  for await (const line of lines('/x', {})) found.push(line);
  return found;
}

describe('lines', () => {
  it('puts lines together that came in pieces', async () => {
    answer('{"a":1}\n{"a"', ':2}\n', '{"a":3}');
    expect(await all()).toEqual([{ a: 1 }, { a: 2 }, { a: 3 }]);
  });

  it('throws what a line says went wrong', async () => {
    answer('{"a":1}\n{"error":{"message":"No such file.","code":"not_found"}}\n');
    await expect(all()).rejects.toMatchObject({ message: 'No such file.', code: 'not_found', requestId: 'req_1' });
  });
});

it('keeps what is no whole line yet', () => {
  expect(split('a\nb', false)).toEqual({ whole: ['a'], left: 'b' });
  expect(split('a\n\nb', true)).toEqual({ whole: ['a', 'b'], left: '' });
});
