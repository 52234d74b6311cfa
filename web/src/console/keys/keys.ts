/** Keys as the API tells of them, and what is sent to make one. */
import { ambiguous } from '../../lib/format';

export interface Scope {
  models?: string[];
  operations?: string[];
  ip_ranges?: string[];
}

export interface Owner {
  id: string;
  name: string;
  email?: string;
  role: string;
}

export interface Key {
  id: string;
  name: string;
  redacted_value: string;
  created_at: number;
  last_used_at: number | null;
  owner_project_access: 'active' | 'inactive';
  owner: { type: 'user' | 'service_account'; user?: Owner; service_account?: Owner };
  scope?: Scope;
  expires_at?: number | null;
}

export interface Made extends Key {
  value: string;
}

export interface Limit {
  scope: string;
  id: string;
  origin: string;
  budget_per_day?: string;
  budget_per_month?: string;
  used: { budget_per_day: string; budget_per_month: string } | null;
  [other: string]: unknown;
}

export interface Account {
  id: string;
  name: string;
  role: 'member' | 'owner' | 'none';
  created_at: number;
}

export interface AdminKey {
  id: string;
  name: string;
  redacted_value: string;
  created_at: number;
  expires_at: number | null;
  last_used_at: number | null;
  owner: { id: string; name: string };
}

export interface Priceable {
  details?: { price?: object | null };
}

export const DAY_S = 86_400;
/** After how many days a key may end; 0 for never. */
export const LIFETIMES = [7, 30, 90, 365, 0] as const;
/** How long an old key may go on beside its successor, in seconds. */
export const OVERLAPS = [0, 3600, DAY_S, 7 * DAY_S, 30 * DAY_S] as const;

export type Period = 'month' | 'day';

export interface Draft {
  name: string;
  lifetimeDays: number;
  models: string[];
  ranges: string;
}

/** Whether anything that the models do has a price: without one nothing is ever spent, and no budget is used up. */
export function anyPriced(models: readonly Priceable[]): boolean {
  return models.some((each) => Boolean(each.details?.price));
}

/** The words of a text that are apart by spaces, commas or lines. */
export function words(text: string): string[] {
  return text.split(/[\s,;]+/).filter((each) => each !== '');
}

/** What is sent to make a key: only what restricts it. */
export function keyBody(draft: Draft): Record<string, unknown> {
  const ranges = words(draft.ranges);
  const scope: Scope = {
    ...(draft.models.length > 0 ? { models: draft.models } : {}),
    ...(ranges.length > 0 ? { ip_ranges: ranges } : {}),
  };
  return {
    name: draft.name.trim(),
    ...(Object.keys(scope).length > 0 ? { scope } : {}),
    ...(draft.lifetimeDays > 0 ? { expires_in_seconds: draft.lifetimeDays * DAY_S } : {}),
  };
}

/**
 * An amount as the API takes it; null where the text is none, or could be two. Both "2.50" and "2,50" are one. What
 * stands as it did `before` is the server's own writing, and no thousands are set apart there.
 */
export function amount(text: string, before = ''): string | null {
  if (text.trim() !== before && ambiguous(text)) return null;
  const plain = text.trim().replace(',', '.');
  return /^\d+(\.\d{1,6})?$/.test(plain) ? plain : null;
}

/** A key's limit with another budget; what else is limited stays. */
export function withBudget(
  limit: Limit | undefined,
  id: string,
  budgets: { month: string | null; day: string | null },
) {
  const told = ['object', 'origin', 'used', 'changed', 'budget_per_month', 'budget_per_day'];
  const kept = Object.entries(limit ?? {}).filter(([name]) => !told.includes(name));
  const body: Record<string, unknown> = { ...Object.fromEntries(kept), scope: 'key', id };
  if (budgets.month !== null) body.budget_per_month = budgets.month;
  if (budgets.day !== null) body.budget_per_day = budgets.day;
  return body;
}

/** Whether a limit's body limits anything. */
export function limitsAnything(body: Record<string, unknown>): boolean {
  return Object.keys(body).some((name) => name !== 'scope' && name !== 'id');
}

/** The budget that is nearest to its end: what was used of what. */
export function budget(limit: Limit | undefined): { period: Period; used: number; most: number } | null {
  if (limit === undefined) return null;
  const each = (period: Period) => {
    const most = limit[`budget_per_${period}`];
    if (typeof most !== 'string') return null;
    return { period, used: Number(limit.used?.[`budget_per_${period}`] ?? 0) * 1e6, most: Number(most) * 1e6 };
  };
  const share = (of: { used: number; most: number }) => (of.most > 0 ? of.used / of.most : 1);
  const found = [each('month'), each('day')].filter((one) => one !== null);
  return found.sort((one, other) => share(other) - share(one))[0] ?? null;
}

export type State = 'active' | 'expired' | 'inactive' | 'spent';

export function stateOf(key: Key, limit: Limit | undefined, nowS: number): State {
  if (key.expires_at && key.expires_at <= nowS) return 'expired';
  if (key.owner_project_access === 'inactive') return 'inactive';
  const held = budget(limit);
  return held !== null && held.used >= held.most ? 'spent' : 'active';
}

export function ownerOf(key: Key): Owner | undefined {
  return key.owner.user ?? key.owner.service_account;
}

export const SNIPPETS = ['curl', 'python', 'javascript'] as const;
export type Snippet = (typeof SNIPPETS)[number];

/** A first request with a key, ready to be run. */
export function snippet(kind: Snippet, origin: string, key: string, model: string): string {
  if (kind === 'curl') {
    return [
      `curl ${origin}/v1/chat/completions \\`,
      `  -H "Authorization: Bearer ${key}" \\`,
      `  -H "Content-Type: application/json" \\`,
      `  -d '{"model": "${model}", "messages": [{"role": "user", "content": "Hello"}]}'`,
    ].join('\n');
  }
  if (kind === 'python') {
    return [
      'from openai import OpenAI',
      '',
      `client = OpenAI(base_url="${origin}/v1", api_key="${key}")`,
      'answer = client.chat.completions.create(',
      `    model="${model}",`,
      '    messages=[{"role": "user", "content": "Hello"}],',
      ')',
      'print(answer.choices[0].message.content)',
    ].join('\n');
  }
  return [
    "import OpenAI from 'openai';",
    '',
    `const client = new OpenAI({ baseURL: '${origin}/v1', apiKey: '${key}' });`,
    'const answer = await client.chat.completions.create({',
    `  model: '${model}',`,
    "  messages: [{ role: 'user', content: 'Hello' }],",
    '});',
    'console.log(answer.choices[0].message.content);',
  ].join('\n');
}
