import { expect, it } from 'vitest';

import { ApiError } from '../../lib/api';
import { ambiguousIn, bodyOf, draftOf, fieldOf, fullest, share, taken, type Limit } from './limits';

const used = {
  requests_per_minute: 5,
  tokens_per_minute: 0,
  concurrent_requests: 0,
  budget_per_day: '1',
  budget_per_month: '45',
  day_ends_at: 0,
  month_ends_at: 0,
};
const limit: Limit = {
  scope: 'project',
  id: 'p',
  origin: 'api',
  budget_per_month: '50',
  requests_per_minute: 10,
  used,
};

it('tells how much of a limit is used', () => {
  expect(share(limit, 'budget_per_month')).toBe(0.9);
  expect(share(limit, 'requests_per_minute')).toBe(0.5);
  expect(share(limit, 'budget_per_day')).toBeNull();
  expect(share({ ...limit, budget_per_month: '0' }, 'budget_per_month')).toBe(1);
  expect(share({ ...limit, used: null }, 'budget_per_month')).toBeNull();
  expect(fullest(limit)).toBe(0.9);
});

it('says the same limit again when nothing is changed', () => {
  expect(bodyOf(draftOf(limit))).toEqual({
    scope: 'project',
    id: 'p',
    budget_per_month: '50',
    requests_per_minute: 10,
  });
});

it('reads amounts with a comma, and sends what is no number as it was written', () => {
  const body = bodyOf({ ...draftOf(), every: true, budget_per_day: '2,50', tokens_per_minute: 'many' });
  expect(body).toEqual({ scope: 'project', id: '*', budget_per_day: '2.50', tokens_per_minute: 'many' });
});

it('finds amounts that may mean two things, and leaves those that stand as they did', () => {
  const stored = { ...limit, budget_per_month: '12.345' };
  expect(ambiguousIn(draftOf(stored), stored)).toEqual([]);
  expect(ambiguousIn({ ...draftOf(stored), budget_per_day: '1,000' }, stored)).toEqual(['budget_per_day']);
  expect(ambiguousIn({ ...draftOf(), budget_per_month: '1.000', tokens_per_minute: '1.000' })).toEqual([
    'budget_per_month',
  ]);
});

it('knows what is limited already', () => {
  expect(taken({ ...draftOf(), id: 'p' }, [limit])).toBe(true);
  expect(taken({ ...draftOf(), id: 'q' }, [limit])).toBe(false);
  expect(taken({ ...draftOf(), every: true }, [limit])).toBe(false);
  expect(taken({ ...draftOf(), every: true }, [{ scope: 'project', id: '*' }])).toBe(true);
});

it('finds the field that an error is about', () => {
  expect(fieldOf(new ApiError(400, 'x', null, 'budget_per_day'))).toBe('budget_per_day');
  expect(fieldOf(new ApiError(400, 'give at least one', null, null))).toBeNull();
});
