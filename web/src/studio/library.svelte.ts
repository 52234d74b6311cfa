/**
 * The pictures that somebody has made, kept on the server as that person's own.
 *
 * Two conversations hold them: one has an entry for each picture (what was asked for, from what, with which seed, and a
 * small copy), newest last; the other has the files, which are fetched one by one. So a gallery costs a few kilobytes
 * for each picture. Where nothing is kept, or keeping fails, pictures stay in the page until it is closed.
 */
import { ApiError, get, type ListPage, pages, post, remove } from '../lib/api';
import { keep, kept } from '../lib/kept';
import { session } from '../lib/session.svelte';
import { base64Of, blobOf } from './files';
import { byAge, entryOf, type NewPicture, type Picture, pictureOf } from './picture';
import { keepsNothing } from './trouble';

/** How many entries are fetched at a time. */
const PAGE = 40;
/** How many files stay in memory once they were seen. */
const REMEMBERED = 24;
/** What the ids of pictures begin with that are in the page alone. */
const HERE = 'here-';

interface Conversation {
  id: string;
  metadata: Record<string, string>;
}

/** The two conversations. */
interface Shelf {
  entries: string;
  files: string;
}

class Library {
  /** Newest first. */
  pictures = $state.raw<readonly Picture[]>([]);
  state = $state<'loading' | 'ready' | 'failed'>('loading');
  error: unknown = $state();
  /** Whether there are older ones that were not fetched yet. */
  more = $state(false);
  fetching = $state(false);
  /** Whether pictures are kept beyond the page. */
  keeping = $state(true);
  #shelf: Shelf | null = null;
  #making: Promise<Shelf> | undefined;
  #oldest: string | undefined;
  #opening: Promise<void> | undefined;
  /** The page that is being fetched. */
  #asked: Promise<void> | undefined;
  #here = new Map<string, Blob>();
  #files = new Map<string, Promise<Blob>>();
  #count = 0;

  /** Fetch the newest, once. */
  open(): Promise<void> {
    this.#opening ??= this.#open();
    return this.#opening;
  }

  /** Fetch the newest anew, after that failed. */
  again(): Promise<void> {
    this.#opening = undefined;
    this.state = 'loading';
    return this.open();
  }

  async #open(): Promise<void> {
    try {
      this.#shelf = await found();
      this.more = this.#shelf !== null;
      await this.older();
      this.state = 'ready';
    } catch (error) {
      if (keepsNothing(error)) {
        this.keeping = false;
        this.more = false;
        this.state = 'ready';
      } else {
        this.error = error;
        this.state = 'failed';
      }
    }
  }

  /** Fetch the next older ones, if there are any. Whoever asks while that is under way waits for the same ones. */
  older(): Promise<void> {
    if (this.#shelf === null || !this.more) return Promise.resolve();
    this.#asked ??= this.#older(this.#shelf).finally(() => {
      this.#asked = undefined;
      this.fetching = false;
    });
    return this.#asked;
  }

  async #older(shelf: Shelf): Promise<void> {
    this.fetching = true;
    const path = `/v1/conversations/${shelf.entries}/items`;
    const page = await get<ListPage<{ id: string }>>(path, { limit: PAGE, order: 'desc', after: this.#oldest });
    this.#oldest = page.last_id || this.#oldest;
    this.more = page.has_more && Boolean(page.last_id);
    this.#put(page.data.map(pictureOf).filter((each) => each !== null));
  }

  /** The picture of that id; null where there is none (any more). */
  async find(id: string): Promise<Picture | null> {
    const known = this.pictures.find((each) => each.id === id);
    if (known || id.startsWith(HERE)) return known ?? null;
    await this.open();
    const listed = this.pictures.find((each) => each.id === id);
    if (listed || this.#shelf === null) return listed ?? null;
    try {
      const path = `/v1/conversations/${this.#shelf.entries}/items/${encodeURIComponent(id)}`;
      return pictureOf(await get(path));
    } catch (error) {
      if (error instanceof ApiError && (error.status === 404 || error.status === 400)) return null;
      throw error;
    }
  }

  /** Fetch what is newer than a picture, for what was made of it, until the picture itself is there. */
  async reach(id: string): Promise<void> {
    await this.open();
    while (this.more && !this.pictures.some((each) => each.id === id)) await this.older();
  }

  /** The file, byte for byte as the API gave it. */
  file(picture: Picture): Promise<Blob> {
    const here = this.#here.get(picture.id);
    if (here) return Promise.resolve(here);
    const known = this.#files.get(picture.id);
    if (known) return known;
    const asked = this.#fetch(picture);
    asked.catch(() => this.#files.delete(picture.id));
    this.#remember(picture.id, asked);
    return asked;
  }

  /** Keep a picture; where that cannot be done it stays in the page, and `failure` says why. */
  async add(made: NewPicture, file: Blob): Promise<{ picture: Picture; failure?: unknown }> {
    let failure: unknown;
    if (this.keeping) {
      try {
        const picture = await this.#keep(made, file);
        this.#remember(picture.id, Promise.resolve(file));
        this.#put([picture]);
        return { picture };
      } catch (error) {
        if (keepsNothing(error)) this.keeping = false;
        else failure = error;
      }
    }
    this.#count += 1;
    const picture: Picture = { ...made, id: `${HERE}${this.#count}`, file: '' };
    this.#here.set(picture.id, file);
    this.#put([picture]);
    return { picture, failure };
  }

  /** Delete a picture with its file. */
  async delete(picture: Picture): Promise<void> {
    if (!this.#here.delete(picture.id) && this.#shelf) {
      // The file first: if the second call fails the entry is still there, and deleting can be tried again.
      await gone(`/v1/conversations/${this.#shelf.files}/items/${encodeURIComponent(picture.file)}`);
      await gone(`/v1/conversations/${this.#shelf.entries}/items/${encodeURIComponent(picture.id)}`);
    }
    this.#files.delete(picture.id);
    this.pictures = this.pictures.filter((each) => each.id !== picture.id);
  }

  /** Whether a picture is in the page alone. */
  isHere(picture: Picture): boolean {
    return picture.id.startsWith(HERE);
  }

  /** See to it that there is a place for pictures, so that one knows before painting whether they are kept. */
  async prepare(): Promise<void> {
    await this.open();
    if (!this.keeping) return;
    try {
      await this.#place();
    } catch (error) {
      // Other failures may be over when the picture is there.
      if (keepsNothing(error)) this.keeping = false;
    }
  }

  async #keep(picture: NewPicture, file: Blob): Promise<Picture> {
    await this.open();
    const result = await base64Of(file);
    try {
      return await stored(await this.#place(), picture, result);
    } catch (error) {
      if (!(error instanceof ApiError) || error.status !== 404) throw error;
      // The conversations were deleted, or their time was over.
      this.#shelf = null;
      return stored(await this.#place(), picture, result);
    }
  }

  /** The conversations, made where there are none; by whoever comes first, however many ask at once. */
  #place(): Promise<Shelf> {
    if (this.#shelf !== null) return Promise.resolve(this.#shelf);
    this.#making ??= made()
      .then((shelf) => (this.#shelf = shelf))
      .finally(() => (this.#making = undefined));
    return this.#making;
  }

  async #fetch(picture: Picture): Promise<Blob> {
    if (this.#shelf === null) await this.open();
    const path = `/v1/conversations/${this.#shelf?.files}/items/${encodeURIComponent(picture.file)}`;
    const { result } = await get<{ result?: string | null }>(path);
    return blobOf(result ?? '');
  }

  #remember(id: string, file: Promise<Blob>): void {
    this.#files.set(id, file);
    for (const oldest of [...this.#files.keys()].slice(0, -REMEMBERED)) this.#files.delete(oldest);
  }

  #put(pictures: readonly Picture[]): void {
    const known = new Set(this.pictures.map((each) => each.id));
    const fresh = pictures.filter((each) => !known.has(each.id));
    if (fresh.length > 0) this.pictures = [...this.pictures, ...fresh].sort(byAge);
  }
}

async function stored(shelf: Shelf, picture: NewPicture, result: string): Promise<Picture> {
  const file = { type: 'image_generation_call', id: 'new', status: 'completed', result };
  const answer = await post<ListPage<{ id: string }>>(`/v1/conversations/${shelf.files}/items`, { items: [file] });
  const id = answer.data[0]?.id ?? '';
  try {
    const entries = `/v1/conversations/${shelf.entries}/items`;
    const listed = await post<ListPage<unknown>>(entries, { items: [entryOf(picture, id)] });
    const entry = pictureOf(listed.data[0]);
    if (entry === null) throw new Error('The server kept something else than it was sent.');
    return entry;
  } catch (error) {
    await remove(`/v1/conversations/${shelf.files}/items/${id}`).catch(() => undefined);
    throw error;
  }
}

/** Where this person's conversations were last time: asked first, since looking for them reads the whole list. */
function hint(): string {
  return `studio.${session().project_id ?? ''}.${session().principal.id}`;
}

async function found(): Promise<Shelf | null> {
  const last = kept(hint());
  if (last) {
    const shelf = await get<Conversation>(`/v1/conversations/${encodeURIComponent(last)}`).then(shelfIn, () => null);
    if (shelf) return shelf;
  }
  const query = { 'metadata[kind]': 'studio', order: 'asc', limit: 100 };
  for await (const page of pages<Conversation>('/v1/conversations', query)) {
    const shelf = page.map(shelfIn).find((each) => each !== null);
    if (shelf) {
      keep(hint(), shelf.entries);
      return shelf;
    }
  }
  return null;
}

function shelfIn({ id, metadata }: Conversation): Shelf | null {
  return metadata.kind === 'studio' && metadata.files ? { entries: id, files: metadata.files } : null;
}

async function made(): Promise<Shelf> {
  // Another tab may have made them since this one has looked: with two, the pictures of one would not be found again.
  const there = await found();
  if (there !== null) return there;
  const files = await post<Conversation>('/v1/conversations', { metadata: { kind: 'studio-files' } });
  const metadata = { kind: 'studio', files: files.id };
  const entries = await post<Conversation>('/v1/conversations', { metadata });
  keep(hint(), entries.id);
  return { entries: entries.id, files: files.id };
}

/** Delete what may be gone already. */
async function gone(path: string): Promise<void> {
  try {
    await remove(path);
  } catch (error) {
    if (!(error instanceof ApiError) || error.status !== 404) throw error;
  }
}

export const library = new Library();
