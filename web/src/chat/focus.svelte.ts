/** Moves the focus to the composer or the search, wherever they are on the page. */
let composer = $state(0);
let search = $state(0);
let words = '';

export function composerWanted(): number {
  return composer;
}

export function searchWanted(): number {
  return search;
}

/** Focus the composer, and put words into it. They go by memory: of a temporary chat nothing is kept. */
export function focusComposer(text = ''): void {
  words = text;
  composer += 1;
}

/** The words that are to be put into the composer; whoever takes them is the only one. */
export function takeWords(): string {
  const taken = words;
  words = '';
  return taken;
}

export function focusSearch(): void {
  search += 1;
}
