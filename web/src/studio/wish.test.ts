import { expect, it } from 'vitest';

import type { Painter } from './painters.svelte';
import { countOf, seedOf, sizeOf, wish } from './wish.svelte';

const PAINTER: Painter = {
  id: 'paint',
  model: null,
  sizes: ['256x256', '512x512'],
  edits: true,
  variations: true,
  states: true,
  first: true,
};

it('asks for a size that the painter has', () => {
  expect(sizeOf(PAINTER, '512x512')).toBe('512x512');
  expect(sizeOf(PAINTER, '300x300')).toBe('256x256');
  expect(sizeOf({ ...PAINTER, sizes: [] }, '512x512')).toBe('auto');
});

it.each([
  ['7', 7],
  [' 2147483647 ', 2147483647],
  ['2147483648', null],
  ['-1', null],
  ['1.5', null],
  ['', null],
  ['abc', null],
])('reads the seed %j as %j', (text, seed) => {
  expect(seedOf(text)).toBe(seed);
});

it('asks for one to ten', () => {
  expect([0, 3, 11, 'x', undefined].map(countOf)).toEqual([1, 3, 10, 1, 1]);
});

it('becomes an order, with a seed in any case', () => {
  wish.prompt = '  a cat ';
  wish.seed = '9';
  expect(wish.order(PAINTER)).toMatchObject({ prompt: 'a cat', seed: 9, size: '256x256', count: 1, states: 3 });
  wish.seed = '';
  expect(Number.isInteger(wish.order({ ...PAINTER, states: false }).seed)).toBe(true);
});
