import { describe, expect, it } from 'vitest';

import { parser } from './parser';

function formulas(text: string): string[] {
  return parser
    .parse(text, {})
    .flatMap((each) => [each, ...(each.children ?? [])])
    .filter((each) => each.type.startsWith('mathematics'))
    .map((each) => each.content);
}

describe('mathematics', () => {
  it.each([
    ['so \\(a+b\\) it is', ['a+b']],
    ['\\[\na\\\\b\n\\]', ['a\\\\b']],
    ['inline \\[x\\] too', ['x']],
    ['$$x^2$$', ['x^2']],
    ['$$\nx\n$$', ['x']],
    ['then $x_1$, and $y$.', ['x_1', 'y']],
    ['$\\$5$', ['\\$5']],
  ])('%s is found', (text, found) => {
    expect(formulas(text)).toEqual(found);
  });

  it.each([
    'It costs $5 and $10.',
    'between $5-$10',
    'US$5 or CA$6',
    '`$x$` is code',
    '```\n$$x$$\n```',
    '$ x $',
    '$$never closed',
    '\\(never closed',
    '$$\na\n\nb\n$$',
  ])('%s is none', (text) => {
    expect(formulas(text)).toEqual([]);
  });
});
