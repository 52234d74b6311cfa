/** Where a picture comes from, as `POST /v1/provenance` tells it, and what that comes to. */
import { send } from '../lib/api';

export interface Finding {
  format: string;
  state: 'intact' | 'changed' | 'lapsed' | 'damaged' | 'none';
  convincing: boolean;
  signature_valid: boolean | null;
  unchanged: boolean | null;
  origin: Origin | null;
  iptc_digital_source_type: string | null;
  problems: { code: string; explanation: string }[];
}

export interface Origin {
  generator: string;
  title: string | null;
  signed_by: { organization: string | null; name: string | null; serial: string | null; expected: boolean | null };
  actions: Action[];
  picture: Record<string, unknown> | null;
  made_from: MadeFrom[];
}

export interface Action {
  action: string;
  when: string | null;
  agent: string | null;
  agent_version: string | null;
  digital_source_type: string | null;
}

export interface MadeFrom {
  relationship: string;
  title: string | null;
  format: string | null;
  holds: boolean | null;
  origin: Origin | null;
}

/** What the finding comes to, in a word. */
export type Verdict = 'ours' | 'others' | 'unknownSigner' | 'changed' | 'lapsed' | 'damaged' | 'none';

export async function check(file: Blob): Promise<Finding> {
  const form = new FormData();
  form.append('file', file, 'picture');
  const answer = await send('POST', '/v1/provenance', form);
  return (await answer.json()) as Finding;
}

export function verdictOf(finding: Finding): Verdict {
  if (finding.state !== 'intact') return finding.state;
  const expected = finding.origin?.signed_by.expected;
  if (expected === null || expected === undefined) return 'unknownSigner';
  return expected ? 'ours' : 'others';
}

/** How a verdict looks. */
export function toneOf(verdict: Verdict): 'good' | 'warning' | 'danger' | 'plain' {
  const tones = {
    ours: 'good',
    others: 'warning',
    unknownSigner: 'warning',
    lapsed: 'warning',
    changed: 'danger',
    damaged: 'danger',
    none: 'plain',
  } as const;
  return tones[verdict];
}

/** The kinds of action that the words of the page know. */
export const ACTIONS = ['created', 'edited', 'opened', 'placed', 'converted'] as const;

export function actionOf(action: string): (typeof ACTIONS)[number] | null {
  const short = action.replace(/^c2pa\./, '');
  return ACTIONS.find((each) => each === short) ?? null;
}

/** What a digital source type says: made by a trained model, in part, by other means; null where it says something else. */
export function sourceOf(type: string | null): 'trained' | 'composite' | 'capture' | null {
  const short = type?.split('/').at(-1);
  if (short === 'trainedAlgorithmicMedia') return 'trained';
  if (short === 'compositeWithTrainedAlgorithmicMedia') return 'composite';
  return short === 'digitalCapture' ? 'capture' : null;
}

/** When the picture was made, in seconds since the epoch: the newest moment that its actions tell. */
export function whenOf(origin: Origin): number | null {
  const times = origin.actions.map((each) => Date.parse(each.when ?? '')).filter((each) => !Number.isNaN(each));
  return times.length === 0 ? null : Math.max(...times) / 1000;
}

/** A fact of Freehold's own, as text; empty where there is none. */
export function factOf(origin: Origin, name: string): string {
  const value = origin.picture?.[name];
  return typeof value === 'string' || typeof value === 'number' ? String(value) : '';
}
