import { expect, it } from 'vitest';

import { ApiError } from '../lib/api';
import { keepsNothing, troubleOf } from './trouble';

it.each([
  [400, 'content_filter', 'filtered', false],
  [429, 'rate_limit_exceeded', 'tooFast', true],
  [429, 'insufficient_quota', 'budget', true],
  [503, 'engine_unavailable', 'busy', true],
  [403, 'policy_denied', 'refused', false],
  [404, 'model_not_found', 'noModel', false],
  [400, 'invalid_value', 'other', false],
  [502, 'engine_failed', 'other', true],
  [0, 'network', 'other', true],
])('%i %s is %s', (status, code, kind, retriable) => {
  expect(troubleOf(new ApiError(status, 'said', code))).toMatchObject({ kind, retriable, message: 'said' });
});

it('says when it can be tried again', () => {
  const error = new ApiError(429, 'said', 'rate_limit_exceeded', null, 'req_1', 30);
  expect(troubleOf(error, 1000)).toMatchObject({ againAt: 31_000, requestId: 'req_1' });
});

it('takes what is no answer of the server too', () => {
  expect(troubleOf(new Error('broken'))).toMatchObject({ kind: 'other', message: 'broken', againAt: null });
  expect(troubleOf('text').message).toBe('text');
});

it('knows where nothing is kept', () => {
  expect(keepsNothing(new ApiError(400, '', 'zero_data_retention'))).toBe(true);
  expect(keepsNothing(new ApiError(403, '', 'insufficient_permissions'))).toBe(true);
  expect(keepsNothing(new ApiError(500, '', 'internal_error'))).toBe(false);
  expect(keepsNothing(new Error(''))).toBe(false);
});
