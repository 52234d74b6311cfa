/** The word for a state of a deployment, a replica, a job, or the outcome of a request. */
import { t } from '../../lib/i18n.svelte';

export function stateWord(state: string): string {
  const key = `console:states.${state}`;
  const word = t(key);
  return word === key || word === `states.${state}` ? state.replaceAll('_', ' ') : word;
}
