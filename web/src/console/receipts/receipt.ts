/** Receipts: what the journal says of one request, and how its fields are read. */
export interface Summary {
  id: string;
  started_at: string;
  ended_at: string | null;
  duration_us: number | null;
  first_token_us: number | null;
  route: string;
  outcome: string;
  status: number;
  error_code: string | null;
  project_id: string | null;
  principal: string | null;
  key_id: string | null;
  requested: string | null;
  deployment: string | null;
  model: string | null;
  prompt_tokens: number;
  cached_tokens: number;
  completion_tokens: number;
  images: number;
  cost_micro: number;
}

export type Body = Record<string, unknown>;

export interface Proof {
  format: number;
  line: string;
  path: string[];
  checkpoint: { at: string; first: number; last: number; root: string; signature: string; writer: string } | null;
  public_key: string;
}

export interface Receipt {
  receipt: Body;
  proof: Proof | null;
}

export const OUTCOMES = ['finished', 'refused', 'filtered', 'failed', 'cancelled', 'interrupted'] as const;

/** The fields by what they are about, in the order in which they are shown. Others come last, under `other`. */
export const GROUPS = {
  end: ['outcome', 'status', 'error_code', 'finish_reason', 'route', 'dialect', 'attempt', 'replay_of'],
  who: ['principal', 'project_id', 'organization_id', 'key_id', 'roles', 'auth_method', 'end_user', 'authorization'],
  model: [
    'requested',
    'deployment',
    'spilled_from',
    'model',
    'weights_sha256',
    'engine',
    'replica',
    'zone',
    'service_tier',
  ],
  usage: [
    'prompt_tokens',
    'cached_tokens',
    'completion_tokens',
    'reasoning_tokens',
    'images',
    'estimated',
    'cost_micro',
    'excess_micro',
    'price_version',
  ],
  times: ['started_at', 'ended_at', 'duration_us', 'first_token_us', 'per_token_us'],
  rules: ['content_filter', 'filter', 'decision', 'policy_sha256', 'config_sha256', 'template_sha256'],
  content: ['parameters', 'prompt_bytes', 'prompt_digest', 'completion_bytes', 'completion_digest'],
} as const;
export type Group = keyof typeof GROUPS | 'other';

/** The fields that a receipt has, by group; those that no group knows under `other`. */
export function grouped(receipt: Body): { group: Group; fields: string[] }[] {
  const there = Object.keys(receipt).filter((name) => name !== 'request_id' && receipt[name] !== null);
  const known = new Set<string>(Object.values(GROUPS).flat());
  const groups: { group: Group; fields: string[] }[] = Object.entries(GROUPS).map(([group, names]) => ({
    group: group as Group,
    fields: (names as readonly string[]).filter((name) => there.includes(name)),
  }));
  groups.push({ group: 'other', fields: there.filter((name) => !known.has(name)) });
  return groups.filter(({ fields }) => fields.length > 0);
}

/** Where in the journal a receipt stands: the number of its record, and the writer. */
export function positionOf(proof: Proof | null): { seq: number; writer: string | null } | null {
  if (!proof) return null;
  try {
    const seq = (JSON.parse(proof.line) as { seq?: unknown }).seq;
    return typeof seq === 'number' ? { seq, writer: proof.checkpoint?.writer ?? null } : null;
  } catch {
    return null;
  }
}

/** Seconds since the epoch of a time in a receipt. */
export function secondsOf(at: string): number {
  return Date.parse(at) / 1000;
}

/** A value with parts, as lines `name: value`; what is nested is joined by dots. */
export function flat(value: unknown, prefix = ''): string[] {
  if (Array.isArray(value)) {
    return value.some((each) => typeof each === 'object')
      ? value.flatMap((each, at) => flat(each, `${prefix}[${at}]`))
      : [`${prefix}: ${value.join(', ')}`];
  }
  if (typeof value === 'object' && value !== null) {
    return Object.entries(value).flatMap(([name, each]) => flat(each, prefix ? `${prefix}.${name}` : name));
  }
  return [`${prefix}: ${String(value)}`];
}
