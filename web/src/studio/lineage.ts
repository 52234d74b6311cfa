/** Which picture came from which. */
import type { Picture } from './picture';

/** A picture in the tree; `picture` is null where it was deleted. */
export interface Branch {
  id: string;
  picture: Picture | null;
  children: readonly Branch[];
}

/** How far the tree goes to either side. */
const FAR = 12;

/** The ids that a picture came from, the nearest first, as far as `known` knows them; the last may be unknown. */
export function ancestorsOf(picture: Picture, known: ReadonlyMap<string, Picture | null>): string[] {
  const found: string[] = [];
  let next = picture.parents[0];
  while (next !== undefined && !found.includes(next) && next !== picture.id && found.length < FAR) {
    found.push(next);
    next = known.get(next)?.parents[0];
  }
  return found;
}

/** The tree of a picture: from the first one that it came from to itself, and from there all that was made of it. */
export function treeOf(picture: Picture, known: ReadonlyMap<string, Picture | null>, all: readonly Picture[]): Branch {
  let tree = descendants(picture, all, new Set());
  for (const id of ancestorsOf(picture, known)) tree = { id, picture: known.get(id) ?? null, children: [tree] };
  return tree;
}

/** Whether there is anything in the tree beside one picture. */
export function isAlone(tree: Branch): boolean {
  return tree.children.length === 0;
}

/** Pictures that were asked for with the same words, and are no relatives otherwise; newest first. */
export function sameWords(picture: Picture, tree: Branch, all: readonly Picture[]): Picture[] {
  const related = new Set(idsIn(tree));
  return all.filter((each) => each.prompt !== '' && each.prompt === picture.prompt && !related.has(each.id));
}

function descendants(picture: Picture, all: readonly Picture[], seen: Set<string>): Branch {
  seen.add(picture.id);
  const made =
    seen.size > FAR * FAR ? [] : all.filter((each) => each.parents.includes(picture.id) && !seen.has(each.id));
  // The first made stands first, as one reads.
  const children = made.reverse().map((each) => descendants(each, all, seen));
  return { id: picture.id, picture, children };
}

function idsIn(tree: Branch): string[] {
  return [tree.id, ...tree.children.flatMap(idsIn)];
}
