/**
 * Splits Markdown into its outermost blocks, so that an answer that grows is rendered anew in its last blocks only.
 *
 * A block that two others follow is settled: no text that comes later changes what it means. The last two are looked at
 * again, because "10" after a list is a paragraph until a dot makes it the list's next entry.
 */
import { parser } from './parser';

export interface Block {
  /** Where it begins in the text; stays the same while the text grows, so it is the block's key. */
  at: number;
  source: string;
}

const UNSETTLED = 2;

/** What the links by reference of a text lead to, as the parser keeps it for its rules. */
export type References = Readonly<Record<string, { title: string; href: string }>>;

/** One value for all texts without: what does not change draws nothing anew. */
export const NO_REFERENCES: References = {};

/** The references that a text defines. They may stand in any block, and each block is drawn by itself. */
export function referencesOf(text: string): References {
  if (!text.includes(']:')) return NO_REFERENCES;
  const env: { references?: References } = {};
  parser.block.parse(text, parser, env, []);
  return env.references ?? NO_REFERENCES;
}

/** The blocks of a text. `before` are those of a shorter form of the same text, if there was one. */
export function split(text: string, before: readonly Block[] = []): Block[] {
  const kept = settled(text, before);
  const from = kept.length === 0 ? 0 : end(kept[kept.length - 1]);
  return [...kept, ...parse(text.slice(from), from)];
}

function settled(text: string, before: readonly Block[]): Block[] {
  const kept = before.slice(0, Math.max(0, before.length - UNSETTLED));
  const last = kept[kept.length - 1];
  // Text only grows while it streams; the last settled block tells whether this is the same text.
  return last === undefined || text.startsWith(last.source, last.at) ? kept : [];
}

function end(block: Block | undefined): number {
  return block === undefined ? 0 : block.at + block.source.length;
}

function parse(text: string, offset: number): Block[] {
  const lines = starts(text);
  const tokens: ReturnType<typeof parser.parse> = [];
  parser.block.parse(text, parser, {}, tokens);
  const found: Block[] = [];
  let at = 0;
  for (const token of tokens) {
    if (token.level !== 0 || token.nesting < 0 || token.map === null) continue;
    const until = lines[token.map[1]] ?? text.length;
    if (until <= at) continue;
    // What lies between blocks, such as empty lines, goes with the one before it.
    const previous = found[found.length - 1];
    const begin = lines[token.map[0]] ?? at;
    if (previous && begin > at) previous.source = text.slice(previous.at - offset, begin);
    found.push({ at: offset + begin, source: text.slice(begin, until) });
    at = until;
  }
  return found;
}

function starts(text: string): number[] {
  const found = [0];
  for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n', at + 1)) found.push(at + 1);
  return found;
}
