import { expect, it } from 'vitest';

import { atEnd, down, grown, MOST, moved, up } from './window';

it('all of a long conversation is reached, and never more than a stretch is there', () => {
  const total = 2000;
  let stretch = atEnd(total);
  for (let step = 0; stretch.from > 0; step++) {
    expect(step).toBeLessThan(200);
    const before = stretch.from;
    stretch = up(stretch, total);
    expect(stretch.from).toBeLessThan(before);
    expect(Math.min(stretch.to, total) - stretch.from).toBeLessThanOrEqual(MOST);
  }
  for (let step = 0; stretch.to !== Infinity; step++) {
    expect(step).toBeLessThan(200);
    const before = Math.min(stretch.to, total);
    stretch = down(stretch, total);
    expect(stretch.from).toBeLessThanOrEqual(before);
    expect(Math.min(stretch.to, total) - stretch.from).toBeLessThanOrEqual(MOST);
  }
});

it('what is shown stays when older turns come', () => {
  expect(moved({ from: 0, to: 40 }, 25)).toEqual({ from: 25, to: 65 });
  const end = atEnd(40);
  expect(moved(end, 25)).toEqual({ from: end.from + 25, to: Infinity });
});

it('an end that grows keeps to the end', () => {
  expect(grown({ from: 0, to: Infinity }, MOST + 1)).toEqual(atEnd(MOST + 1));
  expect(grown({ from: 0, to: 30 }, MOST + 1)).toEqual({ from: 0, to: 30 });
});
