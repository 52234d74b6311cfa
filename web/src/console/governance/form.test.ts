import { describe, expect, it } from 'vitest';

import { concerns } from './form.svelte';

describe('concerns', () => {
  it.each([
    ['name', 'name', true],
    ['scope.ip_ranges.0', 'scope.ip_ranges', true],
    ['items[3].term', 'items', true],
    ['names', 'name', false],
    [null, 'name', false],
  ])('%s is about %s: %s', (param, field, expected) => {
    expect(concerns(param, field)).toBe(expected);
  });
});
