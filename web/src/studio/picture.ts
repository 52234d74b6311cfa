/** A picture of the studio, and how it is written down in the history. */

export type Operation = 'generation' | 'edit' | 'variation' | 'upload';

export interface Picture {
  /** Of its entry in the history; it is also in the page's address. */
  id: string;
  /** Of the item that has the file. */
  file: string;
  operation: Operation;
  prompt: string;
  model: string;
  /** WIDTHxHEIGHT in pixels, as the file has it. */
  size: string;
  seed: number | null;
  /** The pictures that it was made from, by their ids. */
  parents: readonly string[];
  /** Which of the pictures of its request, from 0. */
  index: number;
  requestId: string | null;
  /** When it was asked for; seconds since the epoch. */
  created: number;
  /** What an upload is called. */
  name: string;
  /** A small copy as a data URL; empty where none could be made. */
  thumbnail: string;
}

/** What is known of a picture before it is kept. */
export type NewPicture = Omit<Picture, 'id' | 'file'>;

/** An entry of the history: a message of two parts, the description and the small copy. */
export interface Entry {
  id?: string;
  type: 'message';
  role: 'user';
  content: readonly EntryPart[];
}

export type EntryPart = { type: 'input_text'; text: string } | { type: 'input_image'; image_url: string };

const OPERATIONS: readonly Operation[] = ['generation', 'edit', 'variation', 'upload'];
const THUMBNAIL = /^data:image\/(webp|jpeg|png);base64,[A-Za-z0-9+/=]+$/;
const SIZE = /^[1-9]\d{0,4}x[1-9]\d{0,4}$/;

/** The entry of a picture whose file lies in the item `file`. */
export function entryOf(picture: NewPicture, file: string): Entry {
  const { operation, prompt, model, size, seed, parents, index, created, name } = picture;
  const told = { operation, prompt, model, size, seed, parents, index, request_id: picture.requestId, created, name };
  const content: EntryPart[] = [{ type: 'input_text', text: JSON.stringify({ ...told, file }) }];
  if (picture.thumbnail) content.push({ type: 'input_image', image_url: picture.thumbnail });
  return { type: 'message', role: 'user', content };
}

/** The picture of an item of the history; null for an item that is no picture's. */
export function pictureOf(item: unknown): Picture | null {
  const { id, content } = (item ?? {}) as { id?: unknown; content?: unknown };
  if (typeof id !== 'string' || !Array.isArray(content)) return null;
  const parts = content as { type?: unknown; text?: unknown; image_url?: unknown }[];
  const told = object(parts.find((part) => part?.type === 'input_text')?.text);
  if (told === null || typeof told.file !== 'string') return null;
  const operation = OPERATIONS.find((each) => each === told.operation);
  if (operation === undefined) return null;
  const small = parts.find((part) => part?.type === 'input_image')?.image_url;
  const size = text(told.size);
  return {
    id,
    file: told.file,
    operation,
    prompt: text(told.prompt),
    model: text(told.model),
    size: SIZE.test(size) ? size : '1x1',
    seed: number(told.seed),
    parents: Array.isArray(told.parents) ? told.parents.filter((each) => typeof each === 'string') : [],
    index: number(told.index) ?? 0,
    requestId: text(told.request_id) || null,
    created: number(told.created) ?? 0,
    name: text(told.name),
    thumbnail: typeof small === 'string' && THUMBNAIL.test(small) ? small : '',
  };
}

/** What a picture is called where it cannot be seen: its prompt, or the name of what was uploaded. */
export function nameOf(picture: Pick<Picture, 'prompt' | 'name'>): string {
  return picture.prompt || picture.name;
}

/** Newest first; those of one request in the order in which they were painted. */
export function byAge(one: Pick<Picture, 'created' | 'index'>, other: Pick<Picture, 'created' | 'index'>): number {
  return other.created - one.created || one.index - other.index;
}

/** The pictures whose prompt or name has all of some words. */
export function withWords<T extends Pick<Picture, 'prompt' | 'name'>>(
  pictures: readonly T[],
  words: string,
): readonly T[] {
  const wanted = plain(words)
    .split(/\s+/)
    .filter((each) => each !== '');
  if (wanted.length === 0) return pictures;
  return pictures.filter((each) => {
    const text = plain(`${each.prompt} ${each.name}`);
    return wanted.every((word) => text.includes(word));
  });
}

function plain(words: string): string {
  return words.normalize('NFKC').toLowerCase();
}

/** Width and height of a size, in pixels; of one without, as "auto", a square's. */
export function sidesOf(size: string): [number, number] {
  const found = SIZE.test(size) ? size.split('x').map(Number) : [];
  return [found[0] ?? 1, found[1] ?? 1];
}

/** A name for the file: the prompt's first words, in letters that every file system takes. */
export function fileName(picture: Pick<Picture, 'prompt' | 'name' | 'seed'>, type: string): string {
  const words = nameOf(picture)
    .replace(/\.(png|jpe?g|webp)$/i, '')
    .normalize('NFKC')
    .replaceAll(/[^\p{L}\p{N}]+/gu, '-')
    .slice(0, 60)
    .replaceAll(/^-+|-+$/g, '');
  const ending = { 'image/jpeg': 'jpg', 'image/webp': 'webp' }[type] ?? 'png';
  return `${words || 'picture'}${picture.seed === null ? '' : `-${picture.seed}`}.${ending}`;
}

function object(value: unknown): Record<string, unknown> | null {
  if (typeof value !== 'string') return null;
  try {
    const found: unknown = JSON.parse(value);
    return typeof found === 'object' && found !== null ? (found as Record<string, unknown>) : null;
  } catch {
    return null;
  }
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

function number(value: unknown): number | null {
  return typeof value === 'number' && Number.isFinite(value) ? value : null;
}
