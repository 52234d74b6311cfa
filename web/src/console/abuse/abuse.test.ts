import { expect, it } from 'vitest';

import { days, shortName, windowStart } from './abuse';

it('has every day of the window', () => {
  const figures = { requests: 4, share: 0.5, last_flagged_at: null, findings: [] };
  const made = days({
    start_time: 86_400 + 100,
    end_time: 4 * 86_400 - 5,
    data: [{ ...figures, start_time: 2 * 86_400, flagged: 2, blocked: 1 }],
  });
  expect(made).toEqual([
    { at: 86_400, flagged: 0, blocked: 0 },
    { at: 172_800, flagged: 2, blocked: 1 },
    { at: 259_200, flagged: 0, blocked: 0 },
  ]);
});

it('begins a window at a minute', () => {
  expect(windowStart(1, 86_400 * 2 + 59)).toBe(86_400);
});

it('shortens digests, and nothing that has a name', () => {
  expect(shortName({ name: 'Ann', id: 'a'.repeat(64) })).toBe('Ann');
  expect(shortName({ name: null, id: 'a'.repeat(64) })).toBe(`${'a'.repeat(16)}…`);
});
