import { expect, it } from 'vitest';

import { grouped } from './groups';
import { entriesOf } from './list.svelte';
import type { Conversation } from './types';

const NOON = new Date(2026, 10, 28, 12).getTime() / 1000;
const DAY = 86_400;

function talk(id: string, ago: number, metadata: Record<string, string> = {}): Conversation {
  return { id, created_at: NOON - ago, metadata: { title: id, ...metadata } };
}

it('pinned and in folders first, the others by when they were used', () => {
  const entries = entriesOf([
    talk('now', 60),
    talk('old', 40 * DAY),
    talk('touched', 40 * DAY, { updated: String(NOON - DAY) }),
    talk('pinned', 9 * DAY, { pinned: '1', folder: 'Work' }),
    talk('filed', 9 * DAY, { folder: 'Work' }),
    talk('before', 3 * DAY),
  ]);
  const groups = grouped(entries, NOON).map((each) => [each.key, each.entries.map((entry) => entry.title)]);
  expect(groups).toEqual([
    ['pinned', ['pinned']],
    ['folder:Work', ['filed']],
    ['today', ['now']],
    ['yesterday', ['touched']],
    ['week', ['before']],
    ['older', ['old']],
  ]);
});

it('branches of one conversation are one entry: the one used last', () => {
  const entries = entriesOf([talk('root', 100), talk('branch', 50, { root: 'root' })]);
  expect(entries.map((each) => [each.root, each.talk.id])).toEqual([['root', 'branch']]);
});
