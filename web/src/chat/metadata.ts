/** What a conversation's metadata say of a chat. A value has 512 characters at most, so long instructions take several. */
import { PLAIN, type Conversation, type Settings } from './types';

const LONGEST = 512;
const PIECES = 4;
export const LONGEST_INSTRUCTIONS = LONGEST * PIECES;
export const KIND = 'chat';

export type Metadata = Record<string, string>;

export function rootOf(talk: Conversation): string {
  return talk.metadata.root ?? talk.id;
}

export function usedAt(talk: Conversation): number {
  const at = Number(talk.metadata.updated);
  return at > 0 ? at : talk.created_at;
}

export function settingsOf(metadata: Metadata): Settings {
  const instructions = Array.from({ length: PIECES }, (_, piece) => metadata[`instructions_${piece}`] ?? '').join('');
  try {
    const rest = JSON.parse(metadata.settings ?? '{}') as Partial<Settings>;
    return { ...PLAIN, ...rest, instructions };
  } catch {
    return { ...PLAIN, instructions };
  }
}

/** The same metadata with other settings. */
export function withSettings(metadata: Metadata, settings: Settings): Metadata {
  const { instructions, ...rest } = settings;
  const pieces: Metadata = {};
  // By code points, as the server counts: half an emoji is no text that it takes.
  for (const [piece, text] of (instructions.match(/[\s\S]{1,512}/gu) ?? []).slice(0, PIECES).entries()) {
    pieces[`instructions_${piece}`] = text;
  }
  const chosen = Object.values(rest).some((value) => value !== null);
  return {
    ...Object.fromEntries(Object.entries(metadata).filter(([key]) => !/^(instructions_\d|settings)$/.test(key))),
    ...pieces,
    ...(chosen ? { settings: JSON.stringify(rest) } : {}),
  };
}

/** The same metadata with some values changed; null takes one away. */
export function withValues(metadata: Metadata, values: Record<string, string | null>): Metadata {
  const changed = { ...metadata, ...values };
  return Object.fromEntries(
    Object.entries(changed).flatMap(([key, value]) =>
      value === null ? [] : [[key, [...value].slice(0, LONGEST).join('')]],
    ),
  );
}
