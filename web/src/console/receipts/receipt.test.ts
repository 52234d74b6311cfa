import { expect, it } from 'vitest';

import { flat, grouped, positionOf, type Proof } from './receipt';

it('puts the fields that are there in groups, and leaves none out', () => {
  const receipt = { request_id: 'req_1', outcome: 'finished', cost_micro: 3, something_new: 1, model: null };
  expect(grouped(receipt)).toEqual([
    { group: 'end', fields: ['outcome'] },
    { group: 'usage', fields: ['cost_micro'] },
    { group: 'other', fields: ['something_new'] },
  ]);
});

it('reads where a receipt stands from its line', () => {
  const proof = { line: '{"seq":17}', checkpoint: { writer: 'main' } } as Proof;
  expect(positionOf(proof)).toEqual({ seq: 17, writer: 'main' });
  expect(positionOf({ ...proof, line: 'no' })).toBeNull();
  expect(positionOf(null)).toBeNull();
});

it('writes nested values as lines', () => {
  expect(flat({ a: { b: 1, c: ['x', 'y'] }, d: [{ e: true }] })).toEqual(['a.b: 1', 'a.c: x, y', 'd[0].e: true']);
});
