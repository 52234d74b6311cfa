/** What was used: sums by time and by whom, and how they are shown. */
import { get } from '../../lib/api';

export const GROUPS = ['model', 'deployment', 'project', 'key', 'end-user', 'outcome'] as const;
export type Group = (typeof GROUPS)[number];
export const MEASURES = ['cost_micro', 'requests', 'tokens', 'images'] as const;
export type Measure = (typeof MEASURES)[number];
export const PERIODS = ['day', 'week', 'month', 'quarter', 'own'] as const;
export type Period = (typeof PERIODS)[number];

export const DAY_S = 86_400;
const HOUR_S = 3600;

export interface Sums {
  requests: number;
  model_requests: number;
  prompt_tokens: number;
  cached_tokens: number;
  completion_tokens: number;
  reasoning_tokens: number;
  images: number;
  cost_micro: number;
  duration_us: number;
}

export interface Line extends Sums {
  key: string | number | null;
}

export interface Projection {
  state: string;
  reason: string | null;
  lag: number;
  projected: number;
  database: string;
}

export interface Usage {
  since: number;
  until: number;
  data: Line[];
  total: Sums;
  projection: Projection;
}

export interface Span {
  since: number;
  until: number;
}

/** From when to when a period is: whole hours for a day, else whole days of UTC, as bills have them. */
export function spanOf(period: Exclude<Period, 'own'>, nowS: number): Span {
  const days = { day: 1, week: 7, month: 30, quarter: 90 }[period];
  const step = period === 'day' ? HOUR_S : DAY_S;
  const until = (Math.floor(nowS / step) + 1) * step;
  return { since: until - days * DAY_S, until };
}

/** The days from and to, both included, as `2026-01-31`; null where that is no span. */
export function spanOfDays(from: string, to: string): Span | null {
  const since = Date.parse(`${from}T00:00:00Z`) / 1000;
  const until = Date.parse(`${to}T00:00:00Z`) / 1000 + DAY_S;
  return Number.isFinite(since) && Number.isFinite(until) && until > since ? { since, until } : null;
}

/** By hours where it is a few days, else by days. */
export function stepOf({ since, until }: Span): { by: 'hour' | 'day'; seconds: number } {
  return until - since <= 2 * DAY_S ? { by: 'hour', seconds: HOUR_S } : { by: 'day', seconds: DAY_S };
}

export function measured(of: Sums, measure: Measure): number {
  return measure === 'tokens' ? of.prompt_tokens + of.completion_tokens : of[measure];
}

/** The beginnings of all hours or days of a span. */
export function steps(span: Span): number[] {
  const { seconds } = stepOf(span);
  const first = Math.floor(span.since / seconds) * seconds;
  return Array.from({ length: Math.ceil((span.until - first) / seconds) }, (_, place) => first + place * seconds);
}

/** A value for each hour or day of a span; nothing was used where there is no line. */
export function over(span: Span, lines: readonly Line[], measure: Measure): number[] {
  const found = new Map(lines.map((line) => [line.key, measured(line, measure)]));
  return steps(span).map((at) => found.get(at) ?? 0);
}

export const USAGE = '/admin/usage';
const FILTERS: Partial<Record<Group, string>> = {
  deployment: 'deployment',
  project: 'project',
  key: 'key',
  'end-user': 'end_user',
};
const MOST_SERIES = 4;

export interface Found {
  groups: Usage;
  /** The lines by time of the greatest of them, and of all together. */
  series: { key: string; lines: Line[] }[];
  all: Line[];
}

/** Ask for the sums of a span by group, and for how the greatest of them went over time. */
export async function ask(span: Span, group: Group, measure: Measure, signal: AbortSignal): Promise<Found> {
  const { by } = stepOf(span);
  const [groups, all] = await Promise.all([
    get<Usage>(USAGE, { ...span, by: group }, { signal }),
    get<Usage>(USAGE, { ...span, by }, { signal }),
  ]);
  const filter = FILTERS[group];
  const greatest = filter
    ? groups.data
        .filter((line): line is Line & { key: string } => typeof line.key === 'string' && measured(line, measure) > 0)
        .sort((a, b) => measured(b, measure) - measured(a, measure))
        .slice(0, MOST_SERIES)
    : [];
  const series = await Promise.all(
    greatest.map(async ({ key }) => {
      const found = await get<Usage>(USAGE, { ...span, by, ...(filter ? { [filter]: key } : {}) }, { signal });
      return { key, lines: found.data };
    }),
  );
  return { groups, series, all: all.data };
}
