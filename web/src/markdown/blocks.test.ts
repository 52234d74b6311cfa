import { describe, expect, it } from 'vitest';

import { NO_REFERENCES, referencesOf, split } from './blocks';
import { parser } from './parser';

const TEXT = `# Tea

A paragraph
of two lines.

1. one

2. two

10. ten

| a | b |
|---|--:|
| 1 | 2 |

\`\`\`python
x = 1

y = 2
\`\`\`

$$
e = mc^2
$$

- a

  b

The end.
`;

describe('split', () => {
  it('keeps all of the text, in order', () => {
    const blocks = split(TEXT);
    expect(blocks.map((each) => each.source).join('')).toBe(TEXT);
    for (const block of blocks) expect(TEXT.startsWith(block.source, block.at)).toBe(true);
    expect(blocks.length).toBe(8);
  });

  it('comes to the same blocks however the text grows', () => {
    for (const step of [1, 3, 7, 40]) {
      let blocks = split('');
      for (let end = 0; end < TEXT.length + step; end += step) blocks = split(TEXT.slice(0, end), blocks);
      expect(blocks).toEqual(split(TEXT));
    }
  });

  it('begins anew with another text', () => {
    expect(split('one\n\ntwo\n\nthree', split(TEXT))).toEqual(split('one\n\ntwo\n\nthree'));
  });
});

describe('references', () => {
  it('reach links in other blocks', () => {
    const text =
      'See [tea][1] and [cake].\n\n- more\n\n[1]: https://example.org/tea\n[cake]: <https://example.org/c> "C"\n';
    const references = referencesOf(text);
    const made = parser.render(split(text)[0]?.source ?? '', { references });
    expect(made).toContain('<a href="https://example.org/tea">tea</a>');
    expect(made).toContain('<a href="https://example.org/c" title="C">cake</a>');
  });

  it('lead nowhere that links may not', () => {
    expect(referencesOf('[a]: javascript:alert(1)')).toEqual({});
    expect(referencesOf('plain')).toBe(NO_REFERENCES);
  });
});
