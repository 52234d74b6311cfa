/** What a model can do, in a line. */
import { compact } from '../lib/format';
import { t } from '../lib/i18n.svelte';
import type { Model } from './types';

const FEATURES = ['vision', 'tools', 'reasoning', 'json_schema'];

export function abilities(model: Model): string {
  const details = model.details;
  if (details === undefined) return '';
  const can = FEATURES.filter(
    (each) => details.features.includes(each) || (each === 'vision' && details.input.includes('image')),
  ).map((each) => t(`chat:feature.${each}`));
  const context =
    details.context_length === null ? [] : [t('chat:feature.context', { tokens: compact(details.context_length) })];
  const state = ['ready', 'unloaded', 'unknown'].includes(details.state) ? [] : [t('chat:feature.notReady')];
  return [...(details.description ? [details.description] : []), [...state, ...can, ...context].join(' · ')]
    .filter(Boolean)
    .join(' — ');
}
