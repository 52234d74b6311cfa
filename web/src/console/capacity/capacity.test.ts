import { describe, expect, it } from 'vitest';

import { rowsOf, toneOfBucket, type Capacity, type Measured } from './capacity';

const share = (project: string | null, units: number) => ({ project, units, utilization: 10, bucket_filled: 20 });
const capacity = (units: number | null, ...shares: Capacity['shares']): Capacity => ({
  units,
  spillover: null,
  utilization: 10,
  bucket_filled: 20,
  shares,
  carried: null,
  available: null,
  warning: null,
});
const deployment = (name: string, of: Capacity | null | undefined) => ({ name, capacity: of }) as Measured;

describe('the rows of the page', () => {
  it('are the parts of the units of those deployments that have some', () => {
    const found = rowsOf([
      deployment('tea', capacity(10, share('proj_1', 4), share(null, 6))),
      deployment('calibrated', capacity(null)),
      deployment('plain', null),
      deployment('older', undefined),
    ]);
    expect(found.map((row) => [row.deployment, row.project, row.units])).toEqual([
      ['tea', 'proj_1', 4],
      ['tea', null, 6],
    ]);
  });
});

describe('a bucket', () => {
  it('warns before it is full', () => {
    expect([0, 79.9, 80, 99.9, 100, 140].map(toneOfBucket)).toEqual([
      'good',
      'good',
      'warning',
      'warning',
      'danger',
      'danger',
    ]);
  });
});
