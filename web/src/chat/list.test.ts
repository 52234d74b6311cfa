import { beforeEach, expect, it, vi } from 'vitest';

import { ApiError, get, pages, post, remove } from '../lib/api';
import { entriesOf, talks } from './list.svelte';
import type { Conversation } from './types';

vi.mock('../lib/api', async (actual) => ({
  ...(await actual<typeof import('../lib/api')>()),
  get: vi.fn(),
  pages: vi.fn(),
  post: vi.fn(),
  remove: vi.fn(),
}));

const talk = (id: string, metadata: Record<string, string> = {}): Conversation => ({ id, created_at: 1, metadata });
let there: Conversation[];

beforeEach(() => {
  there = [talk('a', { title: 'A' }), talk('b', { root: 'a', parent: 'a', fork: 'start' }), talk('c', { title: 'C' })];
  talks.all = [];
  vi.mocked(pages).mockImplementation(async function* (_: string, query: Record<string, string>) {
    const root = query['metadata[root]'];
    yield there.filter((each) => root === undefined || each.metadata.root === root);
  } as unknown as typeof pages);
  vi.mocked(get).mockImplementation(((path: string) => {
    const found = there.find((each) => path.endsWith(`/${each.id}`));
    return found ? Promise.resolve(found) : Promise.reject(new ApiError(404, 'Gone.', null));
  }) as typeof get);
  vi.mocked(post).mockImplementation(((path: string, { metadata }: Pick<Conversation, 'metadata'>) => {
    const id = path.split('/').at(-1) ?? '';
    there = there.map((each) => (each.id === id ? { ...each, metadata } : each));
    return Promise.resolve(talk(id, metadata));
  }) as typeof post);
  vi.mocked(remove).mockResolvedValue(undefined);
});

it('changes what is at the server, not what was here before', async () => {
  talks.all = [talk('c', { title: 'old' })];
  await talks.change('c', { pinned: '1' });
  expect(there[2]?.metadata).toEqual({ title: 'C', pinned: '1' });
  expect(talks.get('c')?.metadata).toEqual({ title: 'C', pinned: '1' });
});

it('renames and deletes all branches of what was found, though the list had not come to them', async () => {
  const ids = await talks.search('A', new AbortController().signal);
  expect(ids).toEqual(['a', 'b', 'c']);
  talks.all = [];
  await talks.rename('a', 'Tea');
  expect(there.map((each) => each.metadata.title)).toEqual(['Tea', 'Tea', 'C']);
  talks.all = [];
  expect((await talks.delete('a')).sort()).toEqual(['a', 'b']);
  expect(talks.all).toEqual([]);
});

it('deletes branches whose first conversation is gone', async () => {
  there = there.filter((each) => each.id !== 'a');
  expect(await talks.delete('a')).toEqual(['b']);
});

it('what was found is in the list, once', async () => {
  await talks.search('A', new AbortController().signal);
  await talks.search('A', new AbortController().signal);
  expect(entriesOf(talks.all).map((each) => each.root)).toEqual(['a', 'c']);
});
