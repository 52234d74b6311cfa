/** What the content filter found, in the reader's words. */
import { t } from '../../lib/i18n.svelte';

/** The words for a finding: `hate`, `blocklist:names`, `personal_data:email`, and each behind its side: `prompt:hate`. */
export function foundName(name: string): string {
  const [kind = '', ...more] = name.split(':');
  const rest = more.join(':');
  if (kind === 'prompt' || kind === 'completion') return foundName(rest);
  const said = t(`governance:filters.found.${kind}`, { defaultValue: kind });
  if (rest === '') return said;
  const what = kind === 'personal_data' ? t(`governance:filters.kind.${rest}`, { defaultValue: rest }) : rest;
  return `${said}: ${what}`;
}
