/**
 * Branches of a conversation: each is a conversation of its own, with copies of the items up to where it parts.
 *
 * Its metadata say `root`, the first conversation; `parent`, the one in which the item `fork` was first said; and
 * `fork`, the last item that both have, or `start` where there is none. Copies keep their ids, so an item is the same
 * in all branches that have it.
 */
import type { Conversation } from './types';

export const START = 'start';

export interface Variants {
  /** The conversations between which one chooses, in the order in which they were made. */
  ids: string[];
  /** Which of them is shown. */
  shown: number;
}

/** Where a new branch parts: from whom, and after which item. `order` are the ids of the conversation's items. */
export function parting(
  talk: Conversation,
  family: readonly Conversation[],
  after: string | null,
  order: readonly string[],
): { parent: string; fork: string } {
  const fork = after ?? START;
  let owner = talk;
  for (;;) {
    const { parent, fork: own } = owner.metadata;
    const next = family.find((each) => each.id === parent);
    if (next === undefined || own === undefined || !upTo(fork, own, order)) return { parent: owner.id, fork };
    owner = next;
  }
}

/** Whether an item is the other one or before it. */
function upTo(item: string, other: string, order: readonly string[]): boolean {
  if (item === other || item === START) return true;
  if (other === START) return false;
  return order.includes(item) && order.includes(other) && order.indexOf(item) <= order.indexOf(other);
}

/** What there is to choose between right after an item (null for the beginning); null where nothing parts there. */
export function variantsAfter(
  talk: Conversation,
  family: readonly Conversation[],
  after: string | null,
): Variants | null {
  const fork = after ?? START;
  const parted = family.filter((each) => each.metadata.fork === fork);
  const line = lineage(talk, family);
  // At the beginning branches of several owners cannot meet; elsewhere an item has one owner.
  const owner = parted[0]?.metadata.parent;
  if (owner === undefined) return null;
  const ids = [owner, ...parted.sort(older).map((each) => each.id)].filter((id) =>
    family.some((each) => each.id === id),
  );
  const place = ids.findIndex((id, at) => at > 0 && line.includes(id));
  return ids.length < 2 ? null : { ids, shown: Math.max(0, place) };
}

function older(one: Conversation, other: Conversation): number {
  return one.created_at - other.created_at || (one.id < other.id ? -1 : 1);
}

function lineage(talk: Conversation, family: readonly Conversation[]): string[] {
  const found: string[] = [];
  let at: Conversation | undefined = talk;
  while (at !== undefined && !found.includes(at.id)) {
    found.push(at.id);
    const parent: string | undefined = at.metadata.parent;
    at = family.find((each) => each.id === parent);
  }
  return found;
}
