/** Moves the focus to the composer or the search, wherever they are on the page. */
let composer = $state(0);
let search = $state(0);

export function composerWanted(): number {
  return composer;
}

export function searchWanted(): number {
  return search;
}

export function focusComposer(): void {
  composer += 1;
}

export function focusSearch(): void {
  search += 1;
}
