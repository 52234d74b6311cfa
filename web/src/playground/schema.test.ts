import { describe, expect, it } from 'vitest';

import { level, moved, perplexity, probability, visible } from './heat';
import { check, count, TEMPLATES } from './schema';

describe('check', () => {
  const schema = TEMPLATES.list;

  it('finds nothing in what fits', () => {
    const tree = check({ items: [{ name: 'a', amount: 1.5 }] }, schema);
    expect(count(tree)).toBe(0);
    expect(tree.children[0]?.children[0]?.children.map((each) => [each.name, each.value])).toEqual([
      ['name', '"a"'],
      ['amount', '1.5'],
    ]);
  });

  it('tells where what is wrong', () => {
    const tree = check({ items: [{ name: 1, other: true }], more: {} }, schema);
    const [items, more] = tree.children;
    const first = items?.children[0];
    expect(first?.problems).toEqual([{ key: 'missing', values: { name: 'amount' } }]);
    expect(first?.children[0]?.problems[0]?.key).toBe('type');
    expect(first?.children[1]?.problems[0]?.key).toBe('additional');
    expect(more?.problems[0]?.key).toBe('additional');
    expect(count(tree)).toBe(4);
  });

  it.each([
    [{ type: 'number' }, 3, 0],
    [{ type: 'integer' }, 3.5, 1],
    [{ type: ['string', 'null'] }, null, 0],
    [{ enum: ['a', { b: [1] }] }, { b: [1] }, 0],
    [{ const: 'x' }, 'y', 1],
    [{ minimum: 1, maximum: 2 }, 3, 1],
    [{ exclusiveMinimum: 1 }, 1, 1],
    [{ multipleOf: 2 }, 3, 1],
    [{ minLength: 2, pattern: '^a' }, 'b', 2],
    [{ pattern: '(' }, 'b', 1],
    [{ minItems: 1 }, [], 1],
    [{ prefixItems: [{ type: 'string' }], items: { type: 'number' } }, ['a', 1, 'b'], 1],
    [{ anyOf: [{ type: 'string' }, { type: 'number' }] }, true, 1],
    [{ oneOf: [{ type: 'integer' }, { type: 'number' }] }, 1, 1],
    [{ allOf: [{ minimum: 1 }, { maximum: 0 }] }, 1, 1],
    [{ not: { type: 'string' } }, 'a', 1],
    [{ properties: { toString: { type: 'string' } } }, { constructor: 1 }, 0],
    [true, 1, 0],
  ])('%j takes %j with %i problems', (schema, value, problems) => {
    expect(count(check(value, schema))).toBe(problems);
  });

  it('follows references, also those that go around', () => {
    const schema = {
      $defs: { tree: { type: 'object', properties: { left: { $ref: '#/$defs/tree' } }, required: ['value'] } },
      $ref: '#/$defs/tree',
    };
    expect(count(check({ value: 1, left: { value: 1, left: {} } }, schema))).toBe(1);
    expect(count(check(1, { $ref: '#/a', a: { $ref: '#/a' } }))).toBe(0);
    expect(count(check(1, { anyOf: [{ $ref: '#' }] }))).toBeGreaterThanOrEqual(0);
  });
});

describe('probabilities', () => {
  it('have steps', () => {
    expect([0, -0.2, -0.7, -1.3, -3].map(level)).toEqual([4, 3, 2, 1, 0]);
    expect(probability(0.001)).toBe(1);
    expect(level(Number.NEGATIVE_INFINITY)).toBe(0);
  });

  it('have a perplexity', () => {
    expect(perplexity([])).toBeNull();
    expect(perplexity([{ token: 'a', logprob: Math.log(0.5), top: [] }])).toBeCloseTo(2);
  });

  it('belong to tokens that can be seen', () => {
    expect([' a', 'b\n', '', '\t'].map(visible)).toEqual(['␣a', 'b↵', '∅', '⇥']);
  });

  it('are gone through with the keys', () => {
    expect([moved('ArrowRight', 1, 2), moved('ArrowLeft', 1, 2), moved('Home', 1, 2), moved('a', 1, 2)]).toEqual([
      1,
      0,
      0,
      null,
    ]);
  });
});
