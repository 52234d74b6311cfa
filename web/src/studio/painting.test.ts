import { afterEach, expect, it, vi } from 'vitest';

import { anySeed, MAX_SEED, type Order, paint, type Painted } from './painting';

const ORDER: Order = {
  operation: 'generation',
  model: 'paint',
  prompt: 'a cat',
  count: 2,
  size: '256x256',
  seed: 5,
  states: 1,
};
const PNG = btoa('\x89PNG');

afterEach(() => vi.unstubAllGlobals());

/** A server that answers every request with these bytes; what it was sent. */
function serve(body: string, headers: Record<string, string> = {}): RequestInit[] {
  const sent: RequestInit[] = [];
  vi.stubGlobal('fetch', (_: string, init: RequestInit) => {
    sent.push(init);
    return Promise.resolve(new Response(body, { headers: { 'x-request-id': 'req_1', ...headers } }));
  });
  return sent;
}

function events(...all: object[]): string {
  return all.map((each) => `data: ${JSON.stringify(each)}\n\n`).join('');
}

async function told(order: Order): Promise<string[]> {
  const found: string[] = [];
  for await (const each of paint(order, new AbortController().signal)) found.push(short(each));
  return found;
}

function short(each: Painted): string {
  if (each.kind === 'taken') return `taken ${each.requestId}`;
  return each.kind === 'state' ? `state ${each.index}.${each.state}` : `picture ${each.index}`;
}

it('tells states and pictures one after the other', async () => {
  const state = { type: 'image_generation.partial_image', partial_image_index: 0, b64_json: PNG };
  const done = { type: 'image_generation.completed', b64_json: PNG };
  const sent = serve(events(state, done, state, done));
  expect(await told(ORDER)).toEqual(['taken req_1', 'state 0.1', 'picture 0', 'state 1.1', 'picture 1']);
  expect(JSON.parse(sent[0]?.body as string)).toEqual({
    model: 'paint',
    n: 2,
    size: '256x256',
    seed: 5,
    prompt: 'a cat',
    stream: true,
    partial_images: 1,
  });
});

it('fails where the server says so within the stream', async () => {
  serve(events({ error: { message: 'The engine died.', code: 'engine_failed' } }));
  await expect(told(ORDER)).rejects.toMatchObject({ code: 'engine_failed', requestId: 'req_1' });
});

it('fails where the stream ends too early', async () => {
  serve(events({ type: 'image_generation.completed', b64_json: PNG }));
  await expect(told(ORDER)).rejects.toMatchObject({ code: 'network' });
});

it('sends the picture and the mask of an edit', async () => {
  const done = { type: 'image_edit.completed', b64_json: PNG };
  const sent = serve(events(done, done));
  const order: Order = { ...ORDER, operation: 'edit', states: 0, source: new Blob(['a']), mask: new Blob(['b']) };
  expect(await told(order)).toEqual(['taken req_1', 'picture 0', 'picture 1']);
  const form = sent[0]?.body as FormData;
  expect([...form.keys()].sort()).toEqual(['image', 'mask', 'model', 'n', 'prompt', 'seed', 'size', 'stream']);
});

it('has variations answered whole', async () => {
  const sent = serve(JSON.stringify({ data: [{ b64_json: PNG }, { b64_json: PNG }] }));
  expect(await told({ ...ORDER, operation: 'variation', source: new Blob(['a']) })).toEqual([
    'taken req_1',
    'picture 0',
    'picture 1',
  ]);
  expect((sent[0]?.body as FormData).get('prompt')).toBeNull();
});

it('draws seeds with room for all pictures', () => {
  for (let time = 0; time < 100; time += 1) {
    const seed = anySeed(10);
    expect(Number.isInteger(seed) && seed >= 0 && seed + 9 <= MAX_SEED).toBe(true);
  }
});
