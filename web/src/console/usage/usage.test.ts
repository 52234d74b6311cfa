import { expect, it } from 'vitest';

import { measured, over, spanOf, spanOfDays, stepOf, steps, type Line } from './usage';

const NOW = Date.parse('2026-11-28T07:40:00Z') / 1000;
const line = (key: number, cost: number): Line => ({
  key,
  requests: 1,
  model_requests: 1,
  prompt_tokens: 2,
  cached_tokens: 0,
  completion_tokens: 3,
  reasoning_tokens: 0,
  images: 0,
  cost_micro: cost,
  duration_us: 1,
});

it('takes whole days, today included', () => {
  const { since, until } = spanOf('week', NOW);
  expect(new Date(since * 1000).toISOString()).toBe('2026-11-22T00:00:00.000Z');
  expect(new Date(until * 1000).toISOString()).toBe('2026-11-29T00:00:00.000Z');
});

it('takes whole hours of the last day', () => {
  const { since, until } = spanOf('day', NOW);
  expect(new Date(since * 1000).toISOString()).toBe('2026-11-27T08:00:00.000Z');
  expect(until - since).toBe(86_400);
});

it('reads days with both ends included', () => {
  const span = spanOfDays('2026-11-01', '2026-11-01');
  expect(span && span.until - span.since).toBe(86_400);
  expect(spanOfDays('2026-11-02', '2026-11-01')).toBeNull();
  expect(spanOfDays('', '2026-11-01')).toBeNull();
});

it('goes by hours for a few days and by days for more', () => {
  expect(stepOf(spanOf('day', NOW)).by).toBe('hour');
  expect(stepOf(spanOf('month', NOW)).by).toBe('day');
  expect(steps(spanOf('month', NOW))).toHaveLength(30);
});

it('has nothing where nothing was used', () => {
  const span = spanOf('week', NOW);
  const second = span.since + 86_400;
  expect(over(span, [line(second, 7)], 'cost_micro')).toEqual([0, 7, 0, 0, 0, 0, 0]);
});

it('counts tokens read and written', () => {
  expect(measured(line(0, 0), 'tokens')).toBe(5);
});
