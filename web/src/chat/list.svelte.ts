/** The reader's conversations: found, labelled, deleted. Branches of one conversation are one entry of the list. */
import { ApiError, get, pages, post, remove, type ListPage } from '../lib/api';
import { KIND, rootOf, usedAt, withValues, type Metadata } from './metadata';
import type { Conversation } from './types';

/** More are fetched when they are asked for. */
const MOST_PAGES = 10;
const SEARCH_PAGES = 6;

export interface Entry {
  root: string;
  /** The branch that was used last. */
  talk: Conversation;
  title: string;
  pinned: boolean;
  folder: string | null;
  used: number;
}

class Talks {
  all = $state.raw<Conversation[]>([]);
  shared = $state.raw<Conversation[]>([]);
  loading = $state(true);
  failure = $state.raw<unknown>(null);
  readonly entries = $derived(entriesOf(this.all));
  readonly folders = $derived(
    [...new Set(this.entries.flatMap((each) => each.folder ?? []))].sort((a, b) => a.localeCompare(b)),
  );
  #writing: Record<string, Promise<unknown>> = {};

  async load(): Promise<void> {
    this.failure = null;
    try {
      let count = 0;
      for await (const page of pages<Conversation>('/v1/conversations', query({ limit: 100, shared: false }))) {
        this.#take(page);
        this.loading = false;
        if (++count >= MOST_PAGES) break;
      }
      this.shared = (await get<ListPage<Conversation>>('/v1/conversations', query({ limit: 100, shared: true }))).data;
    } catch (error) {
      this.failure = error;
    } finally {
      this.loading = false;
    }
  }

  family(root: string): Conversation[] {
    return this.all.filter((each) => rootOf(each) === root);
  }

  get(id: string): Conversation | undefined {
    return this.all.find((each) => each.id === id);
  }

  put(talk: Conversation): void {
    const before = this.get(talk.id);
    this.all = [{ ...before, ...talk }, ...this.all.filter((each) => each.id !== talk.id)];
  }

  async create(metadata: Metadata): Promise<Conversation> {
    const made = await post<Conversation>('/v1/conversations', { metadata: { kind: KIND, ...metadata } });
    this.put(made);
    return made;
  }

  /** Change some of a conversation's metadata; one change after the other, so that none is lost. */
  async change(id: string, values: Record<string, string | null> | ((before: Metadata) => Metadata)): Promise<void> {
    const earlier = this.#writing[id] ?? Promise.resolve();
    const write = earlier
      .catch(() => undefined)
      .then(async () => {
        // What is here may be older than what another tab or device has written.
        const talk = await get<Conversation>(`/v1/conversations/${id}`);
        const metadata = typeof values === 'function' ? values(talk.metadata) : withValues(talk.metadata, values);
        this.put(await post<Conversation>(`/v1/conversations/${id}`, { metadata }));
      });
    this.#writing[id] = write;
    await write;
  }

  /** Change the metadata of all branches. */
  async changeAll(root: string, values: Record<string, string | null>): Promise<void> {
    const family = await this.#whole(root);
    await Promise.all(family.map((each) => this.change(each.id, values)));
  }

  async rename(root: string, title: string): Promise<void> {
    await this.changeAll(root, { title });
  }

  /** Delete a conversation with all its branches; their ids. */
  async delete(root: string): Promise<string[]> {
    const family = await this.#whole(root);
    for (const each of family) {
      await remove(`/v1/conversations/${each.id}`);
      this.all = this.all.filter((other) => other.id !== each.id);
    }
    return family.map((each) => each.id);
  }

  /** All branches of a conversation, those that the list has not come to as well. */
  async #whole(root: string): Promise<Conversation[]> {
    for await (const page of pages<Conversation>('/v1/conversations', query({ limit: 100, 'metadata[root]': root }))) {
      this.#take(page);
    }
    // The first one does not name itself before it was answered, and may be gone while its branches are not.
    const first = await get<Conversation>(`/v1/conversations/${root}`).catch((error: unknown) => {
      if (error instanceof ApiError && error.status === 404) return null;
      throw error;
    });
    if (first !== null) this.#take([first]);
    return this.family(root);
  }

  /** Have conversations in the list as they were just fetched. */
  #take(page: readonly Conversation[]): void {
    const known = page.map((each) => each.id);
    const taken = page.map((each) => ({ ...this.get(each.id), ...each }));
    this.all = [...this.all.filter((each) => !known.includes(each.id)), ...taken];
  }

  markShared(id: string, shared: boolean): void {
    this.all = this.all.map((each) => (each.id === id ? { ...each, shared } : each));
  }

  /** The ids of conversations in which a text is; they are in the list afterwards. */
  async search(text: string, signal: AbortSignal): Promise<string[]> {
    let found: string[] = [];
    let count = 0;
    for await (const page of pages<Conversation>('/v1/conversations', query({ limit: 50, query: text }), { signal })) {
      this.#take(page);
      found = [...found, ...page.map((each) => each.id)];
      if (++count >= SEARCH_PAGES) break;
    }
    return found;
  }
}

export const talks = new Talks();

function query(more: Record<string, string | number | boolean>): Record<string, string | number | boolean> {
  return { 'metadata[kind]': KIND, ...more };
}

/** One entry for each root, the one used last at the top. */
export function entriesOf(all: readonly Conversation[]): Entry[] {
  const latest: Record<string, Conversation> = {};
  for (const talk of all) {
    const root = rootOf(talk);
    const before = latest[root];
    if (before === undefined || usedAt(talk) > usedAt(before)) latest[root] = talk;
  }
  return Object.entries(latest)
    .map(([root, talk]) => ({
      root,
      talk,
      title: talk.metadata.title ?? '',
      pinned: talk.metadata.pinned === '1',
      folder: talk.metadata.folder || null,
      used: usedAt(talk),
    }))
    .sort((one, other) => other.used - one.used);
}
