/** The list of conversations in groups: pinned, folders, and the others by when they were used last. */
import type { Entry } from './list.svelte';

export interface Group {
  key: string;
  folder: string | null;
  entries: Entry[];
}

const DAY = 86_400;

/** `now` in seconds since the epoch. */
export function grouped(entries: readonly Entry[], now: number): Group[] {
  const midnight = new Date(now * 1000).setHours(0, 0, 0, 0) / 1000;
  const ages: [string, number][] = [
    ['today', midnight],
    ['yesterday', midnight - DAY],
    ['week', midnight - 7 * DAY],
    ['older', -Infinity],
  ];
  const rest = entries.filter((each) => !each.pinned && each.folder === null);
  const folders = [...new Set(entries.flatMap((each) => (each.pinned ? [] : (each.folder ?? []))))];
  const found: Group[] = [
    { key: 'pinned', folder: null, entries: entries.filter((each) => each.pinned) },
    ...folders
      .sort((one, other) => one.localeCompare(other))
      .map((folder) => ({
        key: `folder:${folder}`,
        folder,
        entries: entries.filter((each) => !each.pinned && each.folder === folder),
      })),
    ...ages.map(([key, from], place) => {
      const until = place === 0 ? Infinity : (ages[place - 1]?.[1] ?? Infinity);
      return { key, folder: null, entries: rest.filter((each) => each.used >= from && each.used < until) };
    }),
  ];
  return found.filter((group) => group.entries.length > 0);
}
