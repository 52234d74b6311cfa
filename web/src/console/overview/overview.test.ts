import { expect, it } from 'vitest';

import { before, change, counted, doubled, errorsOf, type Overview } from './overview';

const bucket = (start: number, requests: number, failed = 0) => ({
  start_time: start,
  requests,
  model_requests: requests,
  prompt_tokens: 2 * requests,
  cached_tokens: 0,
  completion_tokens: requests,
  images: 0,
  cost_micro: 5 * requests,
  outcomes: { finished: requests - failed, failed, interrupted: 0 },
  latency_ms: { p50: null, p90: null, p99: null },
  first_token_ms: { p50: null, p90: null, p99: null },
});

it('counts what happened', () => {
  expect(counted([bucket(0, 3, 1), bucket(60, 1)])).toEqual({ requests: 4, tokens: 12, costMicro: 20, errors: 1 });
});

it('takes as much time before as there is after', () => {
  const of = { end_time: 240, buckets: [0, 60, 120, 180].map((at) => bucket(at, 1)) } as unknown as Overview;
  expect(before(of, 120).map((each) => each.start_time)).toEqual([0, 60]);
  expect(before(of, 180).map((each) => each.start_time)).toEqual([120]);
});

it('tells by how much a number grew', () => {
  expect(change(3, 2)).toBe(0.5);
  expect(change(3, 0)).toBeNull();
});

it('does not ask for more than the server has', () => {
  expect(doubled('hour')).toEqual({ minutes: 120, bucket_s: 60 });
  expect(doubled('week')).toBeNull();
});

it('counts what failed and what was interrupted as errors', () => {
  expect(errorsOf({ outcomes: { failed: 2, interrupted: 1, refused: 9 } })).toBe(3);
  expect(errorsOf({ errors: 4 })).toBe(4);
});
