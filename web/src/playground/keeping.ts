/** Requests that are kept: the one on the screen, presets, links, files. All of them are the body as the API takes it. */
import { keepJson, keptJson } from '../lib/kept';
import { emptyDraft, message, nextKey, requestOf, type Draft, type Json } from './draft';
import { PATHS, type Endpoint } from './parameters';
import { draftOf } from './reading';

/** A request as it is kept. */
export interface Kept {
  endpoint: Endpoint;
  body: Json;
}

export interface Preset {
  name: string;
  draft: Draft;
}

export function kept(draft: Draft): Kept {
  return { endpoint: draft.endpoint, body: requestOf(draft).body };
}

/**
 * A kept request, or a bare body, as a draft.
 *
 * @throws Error where it is neither.
 */
export function draftFrom(value: unknown): Draft {
  if (typeof value !== 'object' || value === null) throw new Error('no request');
  const given = value as Partial<Kept> & Json;
  const wrapped = typeof given.body === 'object' && given.body !== null && !('model' in given);
  const body: Json = wrapped ? (given.body as Json) : given;
  if (!('messages' in body) && !('input' in body) && !('model' in body)) throw new Error('no request');
  const endpoint =
    wrapped && (given.endpoint === 'chat' || given.endpoint === 'responses') ? given.endpoint : undefined;
  if (endpoint === 'chat' && !('messages' in body)) throw new Error('no messages');
  return draftOf(body, endpoint);
}

/** A text for the part of an address behind `#`, which browsers send nowhere. */
export function toHash(draft: Draft): string {
  const bytes = new TextEncoder().encode(JSON.stringify(kept(draft)));
  const text = Array.from(bytes, (byte) => String.fromCharCode(byte)).join('');
  return `#r=${btoa(text).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '')}`;
}

/** The draft in such a text; null where there is none that can be read. */
export function fromHash(hash: string): Draft | null {
  const found = /^#r=([\w-]+)$/.exec(hash)?.[1];
  if (found === undefined) return null;
  try {
    const text = atob(found.replaceAll('-', '+').replaceAll('_', '/'));
    const bytes = Uint8Array.from(text, (each) => each.charCodeAt(0));
    return draftFrom(JSON.parse(new TextDecoder().decode(bytes)));
  } catch {
    return null;
  }
}

const DRAFT = 'playground.draft';
const PRESETS = 'playground.presets';

/** Drafts are kept as they were typed, so that what is not right yet is there again as well. */
export function keepDraft(draft: Draft): void {
  keepJson(DRAFT, draft);
}

export function keptDraft(): Draft | null {
  return sound(keptJson<unknown>(DRAFT, null));
}

/** A draft that was kept; with new keys, null where it is none. */
function sound(value: unknown): Draft | null {
  if (typeof value !== 'object' || value === null) return null;
  const found = { ...emptyDraft(), ...(value as Partial<Draft>) };
  if (!(found.endpoint in PATHS) || !Array.isArray(found.messages) || !Array.isArray(found.tools)) return null;
  found.messages = found.messages.map((each) => ({ ...message('user'), ...each, key: nextKey() }));
  found.tools = found.tools.map((each) => ({ ...each, key: nextKey() }));
  return found;
}

export function presets(): Preset[] {
  const found = keptJson<unknown>(PRESETS, []);
  if (!Array.isArray(found)) return [];
  return (found as Partial<Preset>[]).flatMap((each) => {
    const draft = sound(each?.draft);
    return draft && typeof each.name === 'string' ? [{ name: each.name, draft }] : [];
  });
}

/** Keep a request under a name; one of the same name is replaced. */
export function keepPreset(name: string, draft: Draft): Preset[] {
  const next = [...presets().filter((each) => each.name !== name), { name, draft }];
  next.sort((a, b) => a.name.localeCompare(b.name));
  keepJson(PRESETS, next);
  return next;
}

export function dropPreset(name: string): Preset[] {
  const next = presets().filter((each) => each.name !== name);
  keepJson(PRESETS, next);
  return next;
}
