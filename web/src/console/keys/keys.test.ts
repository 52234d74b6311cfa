import { describe, expect, it } from 'vitest';

import {
  amount,
  anyPriced,
  budget,
  keyBody,
  limitsAnything,
  snippet,
  stateOf,
  withBudget,
  type Key,
  type Limit,
} from './keys';

const KEY: Key = {
  id: 'key_1',
  name: 'build',
  redacted_value: 'fh-****abcd',
  created_at: 1,
  last_used_at: null,
  owner_project_access: 'active',
  owner: { type: 'user', user: { id: 'user_1', name: 'Ann', role: 'owner' } },
};
const LIMIT: Limit = {
  scope: 'key',
  id: 'key_1',
  origin: 'api',
  requests_per_minute: 5,
  budget_per_day: '1',
  budget_per_month: '10',
  used: { budget_per_day: '0.9', budget_per_month: '2' },
};

describe('keyBody', () => {
  it('sends only what restricts the key', () => {
    expect(keyBody({ name: ' build ', lifetimeDays: 0, models: [], ranges: ' ' })).toEqual({ name: 'build' });
  });

  it('sends models, networks and the end', () => {
    const body = keyBody({ name: 'b', lifetimeDays: 7, models: ['chat'], ranges: '10.0.0.0/8,\n192.168.0.1' });
    expect(body).toEqual({
      name: 'b',
      scope: { models: ['chat'], ip_ranges: ['10.0.0.0/8', '192.168.0.1'] },
      expires_in_seconds: 604_800,
    });
  });
});

it('reads amounts as people write them', () => {
  expect(amount(' 2,50 ')).toBe('2.50');
  expect(amount('10')).toBe('10');
  expect(amount('-1')).toBeNull();
  expect(amount('much')).toBeNull();
  expect(amount('')).toBeNull();
});

it('guesses no thousands', () => {
  for (const text of ['1,000', ' 1.000', '12,345.678', '999.000.000']) expect(amount(text)).toBeNull();
  expect(amount('0.125')).toBe('0.125');
  expect(amount('1000')).toBe('1000');
  expect(amount('12.345', '12.345')).toBe('12.345');
});

it('knows whether anything costs', () => {
  expect(anyPriced([{ details: { price: null } }, {}])).toBe(false);
  expect(anyPriced([{ details: { price: null } }, { details: { price: { input: '1' } } }])).toBe(true);
});

describe('withBudget', () => {
  it('leaves what else is limited', () => {
    expect(withBudget(LIMIT, 'key_1', { month: '20', day: null })).toEqual({
      scope: 'key',
      id: 'key_1',
      requests_per_minute: 5,
      budget_per_month: '20',
    });
  });

  it('knows when nothing is left', () => {
    expect(limitsAnything(withBudget(undefined, 'key_1', { month: null, day: null }))).toBe(false);
    expect(limitsAnything(withBudget(LIMIT, 'key_1', { month: null, day: null }))).toBe(true);
  });
});

it('shows the budget that is nearest to its end', () => {
  expect(budget(LIMIT)).toEqual({ period: 'day', used: 900_000, most: 1_000_000 });
  expect(budget(undefined)).toBeNull();
});

it('tells what state a key is in', () => {
  const spent = { ...LIMIT, used: { budget_per_day: '1', budget_per_month: '2' } };
  expect(stateOf(KEY, undefined, 100)).toBe('active');
  expect(stateOf({ ...KEY, expires_at: 99 }, undefined, 100)).toBe('expired');
  expect(stateOf({ ...KEY, owner_project_access: 'inactive' }, undefined, 100)).toBe('inactive');
  expect(stateOf(KEY, spent, 100)).toBe('spent');
});

it('has the address, the key and the model in every snippet', () => {
  for (const kind of ['curl', 'python', 'javascript'] as const) {
    const text = snippet(kind, 'https://ai.example.org', 'fh-1', 'chat');
    for (const part of ['https://ai.example.org/v1', 'fh-1', 'chat']) expect(text).toContain(part);
  }
});
