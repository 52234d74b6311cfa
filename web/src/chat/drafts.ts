/** What somebody has written and not sent yet, kept for each conversation across visits. */
import { keep, kept } from '../lib/kept';

const NEW = 'new';

export function draft(id: string | null): string {
  return kept(`draft.${id ?? NEW}`) ?? '';
}

export function keepDraft(id: string | null, text: string): void {
  keep(`draft.${id ?? NEW}`, text === '' ? null : text);
}

/** What was written before and what is there now, in one text: neither is lost, and what is the same is there once. */
export function joined(before: string, now: string): string {
  return before.trim() === now.trim() ? now : [before, now].filter((each) => each.trim() !== '').join('\n\n');
}
