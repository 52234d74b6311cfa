/**
 * What a page has fetched, or why it could not.
 *
 *     const keys = loaded(() => list<Key>(`/v1/organization/projects/${project}/api_keys`));
 *
 * It is fetched when the component is shown, again when a state changes that the function reads, and by `again()`.
 * What was there stays on the page while it is fetched anew, so that nothing jumps.
 */
import { pages, type CallOptions, type Query } from '../../lib/api';

export class Loaded<T> {
  data = $state.raw<T>();
  error = $state.raw<unknown>();
  #fetch: () => Promise<T>;
  #turn = 0;

  constructor(fetch: () => Promise<T>) {
    this.#fetch = fetch;
  }

  again = async (): Promise<void> => {
    const turn = ++this.#turn;
    try {
      const found = await this.#fetch();
      if (turn !== this.#turn) return;
      this.data = found;
      this.error = undefined;
    } catch (error) {
      if (turn === this.#turn) this.error = error;
    }
  };

  /** Forget what is there: it was of something else. */
  clear(): void {
    this.data = undefined;
    this.error = undefined;
  }
}

/** To be called while a component is made. */
export function loaded<T>(fetch: () => Promise<T>): Loaded<T> {
  const made = new Loaded(fetch);
  $effect(() => void made.again());
  return made;
}

/** A whole list, all its pages. */
export async function list<T extends { id: string }>(
  path: string,
  query: Query = {},
  options?: CallOptions,
): Promise<T[]> {
  const found: T[] = [];
  for await (const page of pages<T>(path, { limit: 100, ...query }, options)) found.push(...page);
  return found;
}
