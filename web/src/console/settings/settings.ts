/** What is kept for how long, which keys seal it, and what was erased, as the API tells of it. */
export const TYPES = ['none', 'modified_abuse_monitoring', 'zero_data_retention'] as const;
export const PROJECT_TYPES = ['organization_default', ...TYPES] as const;
export type RetentionType = (typeof PROJECT_TYPES)[number];

export interface Retention {
  type: RetentionType;
  store: boolean | null;
  keep_s: Record<string, number>;
  effective: { zero: boolean; store: boolean; keep_s: Record<string, number> };
  deleted?: Record<string, number> | number;
}

export interface ContentKey {
  id: string;
  project_id: string | null;
  owner_id: string | null;
  master_key: string | null;
  state: 'active' | 'revoked' | 'destroyed';
  created_at: number;
  revoked_at: number | null;
  destroyed_at: number | null;
}

export interface MasterKey {
  name: string;
  content_keys: Record<string, number>;
}

export interface Erasure {
  id: string;
  created_at: number;
  subject: { type?: string; kind?: string; id: string };
  content_keys_destroyed: number;
  rows_deleted: Record<string, number> | number;
}

/** Whom or what an erasure may be of. */
export interface Erasable {
  id: string;
  name: string;
  email?: string | null;
}

/** What stands in the list. Two people may have the same name, and then only the address tells them apart. */
export function erasableLabel(each: Erasable): string {
  return each.email ? `${each.name} · ${each.email}` : each.name;
}

/** What has to be typed before it is erased: what belongs to nobody else, where there is such. */
export function erasableWord(each: Erasable): string {
  return (each.email || each.name).trim();
}

export interface BackupPoint {
  changes: number;
  running: number;
  writer: string;
  segment: number;
  seq: number;
}

export interface StoredPolicy {
  name: string;
  origin: string;
  settings: Record<string, unknown>;
}

export interface RateLimit {
  id: string;
  model: string;
  max_requests_per_1_minute: number;
  max_tokens_per_1_minute: number;
}

/** The largest number that stands for no limit. */
export const MOST = 2 ** 53 - 1;
const DAY_S = 86_400;

/** Days as they are edited: with fractions where it is no whole number of them. */
export function inDays(seconds: number): string {
  return String(Math.round((seconds / DAY_S) * 100) / 100);
}

/** Seconds of a number of days; null where the text is none, or too little or too much. */
export function seconds(days: string): number | null {
  const plain = days.trim().replace(',', '.');
  if (!/^\d+(\.\d+)?$/.test(plain)) return null;
  const found = Math.round(Number(plain) * DAY_S);
  return found >= 60 && found <= 3660 * DAY_S ? found : null;
}

/** What is sent for what was edited: a kind only where it is to be other than what holds without it. */
export function keepBody(
  edited: Record<string, string>,
  set: Record<string, number>,
  holds: Record<string, number>,
): Record<string, number> | null {
  const body: Record<string, number> = {};
  for (const [kind, text] of Object.entries(edited)) {
    if (text.trim() === '') continue;
    const found = seconds(text);
    if (found === null) return null;
    const before = set[kind] ?? holds[kind] ?? 0;
    const unchanged = inDays(before) === text.trim();
    if (unchanged) {
      const own = set[kind];
      if (own !== undefined) body[kind] = own;
    } else body[kind] = found;
  }
  return body;
}

/** How many things a count is of, whether it is told as one number or by kind. */
export function sum(counts: Record<string, number> | number | undefined): number {
  if (counts === undefined) return 0;
  return typeof counts === 'number' ? counts : Object.values(counts).reduce((all, each) => all + each, 0);
}

/** A text of JSON as an object; null where it is none. */
export function jsonObject(text: string): Record<string, unknown> | null {
  try {
    const found: unknown = JSON.parse(text);
    return found !== null && typeof found === 'object' && !Array.isArray(found)
      ? (found as Record<string, unknown>)
      : null;
  } catch {
    return null;
  }
}

/** A value of the configuration as one line. */
export function shownValue(value: unknown): string {
  if (value === null || value === undefined) return '–';
  return typeof value === 'string' ? value : JSON.stringify(value);
}
