import { describe, expect, it } from 'vitest';

import { pressed, sorted } from './sort';

describe('sorted', () => {
  const rows = [
    { name: 'b10', n: 2 },
    { name: 'B9', n: null },
    { name: 'a', n: 10 },
  ];

  it('puts numbers in words by their size, and knows no capitals', () => {
    expect(sorted(rows, (row) => row.name, false).map((row) => row.name)).toEqual(['a', 'B9', 'b10']);
  });

  it('puts rows without a value last both ways', () => {
    expect(sorted(rows, (row) => row.n, false).map((row) => row.n)).toEqual([2, 10, null]);
    expect(sorted(rows, (row) => row.n, true).map((row) => row.n)).toEqual([10, 2, null]);
  });

  it('leaves what it was given', () => {
    sorted(rows, (row) => row.n, true);
    expect(rows[0]?.name).toBe('b10');
  });
});

it('turns the order round when a heading is pressed again, and begins with the most of numbers', () => {
  expect(pressed(undefined, 'n', true)).toEqual({ column: 'n', down: true });
  expect(pressed({ column: 'n', down: true }, 'n', true)).toEqual({ column: 'n', down: false });
  expect(pressed({ column: 'n', down: false }, 'name', false)).toEqual({ column: 'name', down: false });
});
