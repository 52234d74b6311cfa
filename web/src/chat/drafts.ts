/** What somebody has written and not sent yet, kept for each conversation across visits. */
import { keep, kept } from '../lib/kept';

const NEW = 'new';

export function draft(id: string | null): string {
  return kept(`draft.${id ?? NEW}`) ?? '';
}

export function keepDraft(id: string | null, text: string): void {
  keep(`draft.${id ?? NEW}`, text === '' ? null : text);
}
