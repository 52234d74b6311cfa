/** Finds TeX in Markdown: `\(…\)`, `\[…\]`, `$$…$$`, and `$…$` where it cannot be money. */
import type { MarkdownIt } from 'markdown-it';

type InlineRule = Parameters<MarkdownIt['inline']['ruler']['before']>[2];
type BlockRule = Parameters<MarkdownIt['block']['ruler']['before']>[2];

const PAIRS: readonly [string, string, boolean][] = [
  ['\\(', '\\)', false],
  ['\\[', '\\]', true],
  ['$$', '$$', true],
];
const LONGEST = 10_000;

export function addMathematics(markdown: MarkdownIt): void {
  markdown.inline.ruler.before('escape', 'mathematics', inline);
  markdown.block.ruler.before('fence', 'mathematics', block, { alt: ['paragraph', 'reference', 'blockquote', 'list'] });
}

const inline: InlineRule = (state, silent) => {
  const found = formula(state.src, state.pos) ?? dollars(state.src, state.pos);
  if (found === null || found.end > state.posMax) return false;
  if (!silent) {
    const token = state.push('mathematics', '', 0);
    token.content = found.tex;
    token.info = found.display ? 'display' : '';
  }
  state.pos = found.end;
  return true;
};

/** A formula that has lines of its own. TeX has no empty lines in formulas, so one ends what was not closed. */
const block: BlockRule = (state, first, last, silent) => {
  const at = (state.bMarks[first] ?? 0) + (state.tShift[first] ?? 0);
  const pair = PAIRS.find(([open, , display]) => display && state.src.startsWith(open, at));
  if (pair === undefined || (state.sCount[first] ?? 0) - state.blkIndent >= 4) return false;
  const parts: string[] = [];
  for (let line = first; line < last && !state.isEmpty(line); line++) {
    const begin = (state.bMarks[line] ?? 0) + (state.tShift[line] ?? 0);
    const text = state.src.slice(line === first ? at + 2 : begin, state.eMarks[line]);
    const close = text.indexOf(pair[1]);
    if (close < 0) {
      parts.push(text);
      continue;
    }
    if (text.slice(close + 2).trim() !== '') return false;
    parts.push(text.slice(0, close));
    const tex = parts.join('\n').trim();
    if (tex === '') return false;
    if (silent) return true;
    const token = state.push('mathematics_block', '', 0);
    token.block = true;
    token.content = tex;
    token.map = [first, line + 1];
    state.line = line + 1;
    return true;
  }
  return false;
};

interface Formula {
  tex: string;
  display: boolean;
  end: number;
}

function formula(text: string, at: number): Formula | null {
  const pair = PAIRS.find(([open]) => text.startsWith(open, at));
  if (pair === undefined) return null;
  const close = text.indexOf(pair[1], at + 2);
  if (close < 0 || close - at > LONGEST) return null;
  const tex = text.slice(at + 2, close).trim();
  return tex === '' ? null : { tex, display: pair[2], end: close + 2 };
}

/** `$x$`: no space inside the dollars, no digit behind the second, no letter or digit before the first. */
export function dollars(text: string, at: number): Formula | null {
  if (text[at] !== '$' || text[at + 1] === '$' || /[\w$\\]/.test(text[at - 1] ?? ' ')) return null;
  if (/[\s]/.test(text[at + 1] ?? ' ')) return null;
  for (let close = text.indexOf('$', at + 1); close >= 0; close = text.indexOf('$', close + 1)) {
    if (text[close - 1] === '\\') continue;
    if (close - at > LONGEST || /\s/.test(text[close - 1] ?? ' ') || /[\d$]/.test(text[close + 1] ?? ' ')) return null;
    const tex = text.slice(at + 1, close);
    return tex.includes('\n\n') ? null : { tex, display: false, end: close + 1 };
  }
  return null;
}
