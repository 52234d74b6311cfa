import { beforeEach, expect, it, vi } from 'vitest';

import { ApiError, get, post, stream } from '../lib/api';
import { draft, keepDraft } from './drafts';
import { Talk } from './talk.svelte';
import type { Part } from './types';

vi.mock('../lib/i18n.svelte', () => ({ t: (key: string) => key }));
vi.mock('./models.svelte', () => ({ models: { chosen: { id: 'echo' }, painter: null } }));
vi.mock('../lib/api', async (actual) => ({
  ...(await actual<typeof import('../lib/api')>()),
  get: vi.fn(),
  post: vi.fn(),
  stream: vi.fn(),
}));

const asked: Part[] = [{ type: 'input_text', text: 'Tea?' }];
const unreachable = new ApiError(0, 'No.', 'network');
const answer = { id: 'resp_1', model: 'echo', output: [], error: null, incomplete_details: null };
let streams: (string | Promise<void>)[][];
let kept: Map<string, string>;

/** Streams of statuses, each of which may wait for something before. */
async function* events(steps: (string | Promise<void>)[]) {
  let sequence_number = 0;
  for (const step of steps) {
    if (typeof step !== 'string') await step;
    else {
      const response = { ...answer, status: step };
      yield { event: undefined, data: { type: `response.${step}`, sequence_number: sequence_number++, response } };
    }
  }
}

function gate(): { opened: Promise<void>; open: () => void } {
  let open: () => void = () => undefined;
  const opened = new Promise<void>((resolve) => (open = resolve));
  return { opened, open };
}

beforeEach(() => {
  kept = new Map();
  vi.stubGlobal('localStorage', {
    getItem: (name: string) => kept.get(name) ?? null,
    setItem: (name: string, value: string) => kept.set(name, value),
    removeItem: (name: string) => kept.delete(name),
  });
  streams = [];
  vi.mocked(stream).mockReset();
  vi.mocked(stream).mockImplementation((() => events(streams.shift() ?? [])) as unknown as typeof stream);
  vi.mocked(get).mockReset();
  vi.mocked(get).mockImplementation((path: string) =>
    Promise.resolve(path.endsWith('/items') ? { data: [], has_more: false } : { id: 'conv_1', metadata: {} }),
  );
  vi.mocked(post).mockReset();
  vi.mocked(post).mockImplementation((() => Promise.resolve({ id: 'conv_1', created_at: 1, metadata: {} })) as never);
});

it('is answered when the items have come, and not as soon as the answer is complete', async () => {
  const [talk, end] = [new Talk(), gate()];
  streams = [['in_progress', 'completed', end.opened]];
  const said = talk.say(asked, 'Tea?', () => undefined);
  await vi.waitFor(() => expect(talk.live?.status).toBe('completed'));
  expect(talk.answering).toBe(true);
  end.open();
  await said;
  expect(talk.answering).toBe(false);
  expect(talk.asked).toBeNull();
});

it('makes the conversation that could not be made when the same is asked again', async () => {
  const [talk, begun] = [new Talk(), vi.fn()];
  vi.mocked(post).mockRejectedValueOnce(unreachable);
  await talk.say(asked, 'Tea?', begun);
  expect([talk.trouble?.again, talk.id, draft(null)]).toEqual([true, null, 'Tea?']);
  streams = [['completed']];
  await talk.again();
  expect(begun).toHaveBeenCalledExactlyOnceWith('conv_1');
  expect(vi.mocked(stream).mock.calls[0]?.[1]).toMatchObject({ conversation: 'conv_1' });
  expect(draft(null)).toBe('');
});

it('keeps what could not be sent as a draft, where there is none and where anything is kept', async () => {
  vi.mocked(stream).mockImplementation(() => {
    throw new ApiError(401, 'Sign in.', null);
  });
  const talk = new Talk();
  await talk.say(asked, 'Tea?', () => undefined);
  expect(draft('conv_1')).toBe('Tea?');
  keepDraft('conv_1', 'other');
  await talk.again();
  expect(draft('conv_1')).toBe('other');

  kept = new Map();
  const secret = new Talk();
  secret.temporary = true;
  await secret.say(asked, 'Tea?', () => undefined);
  expect([secret.trouble !== null, kept.size]).toEqual([true, 0]);
});

it('stops an answer that was to be stopped before it had an id', async () => {
  const [talk, begin] = [new Talk(), gate()];
  streams = [[begin.opened, 'in_progress', 'cancelled']];
  const said = talk.say(asked, 'Tea?', () => undefined);
  await talk.stop();
  begin.open();
  await said;
  expect(vi.mocked(post).mock.calls.map(([path]) => path)).toContain('/v1/responses/resp_1/cancel');
  expect(talk.trouble).toBeNull();
});

it('follows an answer that ended while its conversation was opened', async () => {
  const conversation = { id: 'conv_1', created_at: 1, metadata: { response: 'resp_1' } };
  let count = 0;
  vi.mocked(get).mockImplementation((path: string) => {
    if (path.endsWith('/input_items')) return Promise.resolve({ data: [], has_more: false });
    if (path.startsWith('/v1/responses/')) return Promise.resolve({ ...answer, status: 'completed' });
    if (!path.endsWith('/items')) return Promise.resolve(conversation);
    const data = count++ === 0 ? [] : [{ id: 'msg_1', type: 'message', role: 'assistant', content: 'Tea.' }];
    return Promise.resolve({ data, has_more: false });
  });
  streams = [['in_progress', 'completed']];
  const talk = new Talk();
  await talk.open('conv_1');
  await vi.waitFor(() => expect(talk.items.map((item) => item.id)).toEqual(['msg_1']));
  expect(talk.answering).toBe(false);
});
