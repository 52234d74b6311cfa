/** Items as people read them: somebody says something, and all that the model does about it is one answer. */
import type { Item, Part } from './types';

export interface Turn {
  key: string;
  role: 'user' | 'assistant';
  items: Item[];
  /** The item before the turn; null where it is the first. */
  after: string | null;
}

/** The turns of items, oldest first. `keys` are the keys of turns that were on the page before their items had ids. */
export function turnsOf(items: readonly Item[], keys: Readonly<Record<string, string>> = {}): Turn[] {
  const found: Turn[] = [];
  let before: string | null = null;
  for (const item of items) {
    const role = roleOf(item);
    const last = found[found.length - 1];
    if (role !== null) {
      if (last && last.role === role && role === 'assistant') last.items.push(item);
      else found.push({ key: keys[item.id] ?? item.id, role, items: [item], after: before });
    }
    before = item.id;
  }
  return found;
}

/** Whose turn an item belongs to; null for what is not shown, such as instructions. */
function roleOf(item: Item): Turn['role'] | null {
  if (item.type !== 'message') return 'assistant';
  if (item.role === 'user') return 'user';
  return item.role === 'assistant' ? 'assistant' : null;
}

export function partsOf(item: Item): Part[] {
  if (typeof item.content === 'string') return [{ type: 'input_text', text: item.content }];
  return item.content ?? [];
}

/** What an item says, as text. */
export function textOf(item: Item): string {
  return partsOf(item)
    .map((part) => part.text ?? part.refusal ?? '')
    .join('');
}

/** What a turn says, as text: for copying, editing and titles. */
export function turnText(turn: Turn): string {
  return turn.items
    .filter((item) => item.type === 'message')
    .map(textOf)
    .filter(Boolean)
    .join('\n\n');
}

const LONGEST_TITLE = 60;

/** A title for a conversation that begins with this. */
export function titleOf(text: string): string {
  const line = text
    .replace(/^[#>*\s]+/, '')
    .replace(/\s+/g, ' ')
    .trim();
  // By code points: half an emoji is no text that the server takes.
  const letters = [...line];
  if (letters.length <= LONGEST_TITLE) return line;
  const cut = letters.slice(0, LONGEST_TITLE).join('');
  const space = cut.lastIndexOf(' ');
  return `${space > LONGEST_TITLE / 2 ? cut.slice(0, space) : cut}…`;
}
