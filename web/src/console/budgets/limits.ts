/** Limits and budgets: what callers may use, and how much of it they have. */
import { ApiError } from '../../lib/api';
import { ambiguous } from '../../lib/format';

export const SCOPES = ['organization', 'project', 'key', 'deployment', 'end_user'] as const;
export const EVERY = '*';
export const AMOUNTS = ['budget_per_month', 'budget_per_day'] as const;
export const RATES = ['requests_per_minute', 'tokens_per_minute', 'concurrent_requests'] as const;
export const LIMITED = [...AMOUNTS, ...RATES] as const;
export type Limited = (typeof LIMITED)[number];

export interface Use {
  requests_per_minute: number;
  tokens_per_minute: number;
  concurrent_requests: number;
  budget_per_day: string;
  budget_per_month: string;
  day_ends_at: number;
  month_ends_at: number;
}

export interface Limit {
  scope: string;
  id: string;
  origin: string;
  used: Use | null;
  requests_per_minute?: number;
  tokens_per_minute?: number;
  concurrent_requests?: number;
  budget_per_day?: string;
  budget_per_month?: string;
}

export interface LimitDraft extends Record<Limited, string> {
  scope: string;
  id: string;
  /** Whether it holds for each one of the scope by itself. */
  every: boolean;
}

/** How much of a limit is used, from 0 to 1 and beyond; null where it is not limited or not known. */
export function share(limit: Limit, what: Limited): number | null {
  const most = Number(limit[what] ?? Number.NaN);
  if (!limit.used || Number.isNaN(most)) return null;
  const used = Number(limit.used[what]);
  if (most === 0) return 1;
  return used / most;
}

/** The limit of which the greatest share is used; null where nothing is known. */
export function fullest(limit: Limit): number | null {
  const shares = LIMITED.map((each) => share(limit, each)).filter((each) => each !== null);
  return shares.length > 0 ? Math.max(...shares) : null;
}

export function draftOf(limit?: Limit): LimitDraft {
  const values = Object.fromEntries(LIMITED.map((name) => [name, String(limit?.[name] ?? '')]));
  return {
    ...(values as Record<Limited, string>),
    scope: limit?.scope ?? 'project',
    id: limit && limit.id !== EVERY ? limit.id : '',
    every: limit?.id === EVERY,
  };
}

/** The body of the call. What is no number goes as it was written: the server's answer says what is wrong with it. */
export function bodyOf(draft: LimitDraft): Record<string, unknown> {
  const body: Record<string, unknown> = { scope: draft.scope, id: draft.every ? EVERY : draft.id.trim() };
  for (const name of AMOUNTS) if (draft[name].trim() !== '') body[name] = draft[name].trim().replace(',', '.');
  for (const name of RATES) {
    const text = draft[name].trim();
    if (text !== '') body[name] = Number.isFinite(Number(text)) ? Number(text) : text;
  }
  return body;
}

/** Which field of the form an error is about; null where it is about none. */
export function fieldOf(error: unknown): string | null {
  if (!(error instanceof ApiError)) return null;
  const name = error.param ?? /^(\w+):/.exec(error.message)?.[1] ?? null;
  return name !== null && (name === 'id' || (LIMITED as readonly string[]).includes(name)) ? name : null;
}

/** The amounts that were changed to what may be meant in two ways, such as "1,000". */
export function ambiguousIn(draft: LimitDraft, before?: Limit): Limited[] {
  const was = draftOf(before);
  return AMOUNTS.filter((name) => draft[name] !== was[name] && ambiguous(draft[name]));
}

/** Whether there are limits already of what a draft is for: they would be replaced. */
export function taken(draft: LimitDraft, limits: readonly Pick<Limit, 'scope' | 'id'>[]): boolean {
  const { id } = bodyOf(draft);
  return limits.some((each) => each.scope === draft.scope && each.id === id);
}
