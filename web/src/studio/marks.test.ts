import { describe, expect, it } from 'vitest';

import {
  type Area,
  areaWithin,
  draw,
  marked,
  NO_MARKS,
  redone,
  shareOf,
  type Stroke,
  type Surface,
  undone,
} from './marks';

const AREA: Area = { kind: 'area', adds: true, x: 1, y: 2, width: 3, height: 4 };
const STROKE: Stroke = {
  kind: 'stroke',
  adds: false,
  width: 9,
  points: [
    [1, 1],
    [2, 2],
    [3, 3],
  ],
};

describe('marks', () => {
  it('go back and forth', () => {
    const both = marked(marked(NO_MARKS, AREA), STROKE);
    const back = undone(both);
    expect(back.done).toEqual([AREA]);
    expect(redone(back)).toEqual(both);
    expect(undone(undone(both)).done).toEqual([]);
  });

  it('stay as they are where there is nothing to undo or to do again', () => {
    expect(undone(NO_MARKS)).toBe(NO_MARKS);
    expect(redone(NO_MARKS)).toBe(NO_MARKS);
  });

  it('forget what was undone when another comes', () => {
    const other = marked(undone(marked(NO_MARKS, AREA)), STROKE);
    expect(other).toEqual({ done: [STROKE], undone: [] });
  });
});

describe('an area', () => {
  it('is cut to the picture', () => {
    const cut = areaWithin({ adds: true, x: -5, y: 250, width: 10, height: 100 }, 256, 256);
    expect(cut).toEqual({ kind: 'area', adds: true, x: 0, y: 250, width: 5, height: 6 });
  });

  it.each([
    { adds: true, x: 300, y: 0, width: 5, height: 5 },
    { adds: true, x: 0, y: 0, width: 0, height: 5 },
    { adds: true, x: NaN, y: 0, width: 5, height: 5 },
  ])('is nothing outside of it: %j', (area) => {
    expect(areaWithin(area, 256, 256)).toBeNull();
  });
});

describe('drawing', () => {
  function surface(): { calls: string[]; surface: Surface } {
    const calls: string[] = [];
    const note =
      (name: string) =>
      (...values: number[]) =>
        void calls.push(`${name} ${values.join(' ')}`.trim());
    const names = ['beginPath', 'moveTo', 'lineTo', 'stroke', 'fillRect'] as const;
    const methods = Object.fromEntries(names.map((name) => [name, note(name)]));
    return { calls, surface: methods as unknown as Surface };
  }

  it('fills an area', () => {
    const { calls, surface: on } = surface();
    draw(on, AREA);
    expect(calls).toEqual(['fillRect 1 2 3 4']);
    expect(on.globalCompositeOperation).toBe('source-over');
  });

  it('takes away along a stroke, and goes on where it was', () => {
    const { calls, surface: on } = surface();
    draw(on, STROKE, 1);
    expect(calls).toEqual(['beginPath', 'moveTo 2 2', 'lineTo 2 2', 'lineTo 3 3', 'stroke']);
    expect(on.globalCompositeOperation).toBe('destination-out');
    expect(on.lineWidth).toBe(9);
  });

  it('draws nothing of a stroke without points', () => {
    const { calls, surface: on } = surface();
    draw(on, { ...STROKE, points: [] });
    expect(calls).toEqual([]);
  });
});

it('counts only what is marked wholly', () => {
  expect(shareOf(new Uint8ClampedArray([0, 0, 0, 255, 0, 0, 0, 254, 0, 0, 0, 0, 0, 0, 0, 255]))).toBe(0.5);
  expect(shareOf(new Uint8ClampedArray())).toBe(0);
});
