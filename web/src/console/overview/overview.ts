/** The service's figures over time, as the API gives them. */
export const OVERVIEW = '/v1/organization/overview';

export interface Percentiles {
  p50: number | null;
  p90: number | null;
  p99: number | null;
}

export interface Sums {
  requests: number;
  model_requests: number;
  prompt_tokens: number;
  cached_tokens: number;
  completion_tokens: number;
  images: number;
  cost_micro: number;
  outcomes: Record<string, number>;
  latency_ms: Percentiles;
  first_token_ms: Percentiles;
}

export interface Served {
  name: string;
  state: string | null;
  requests: number;
  errors: number;
  prompt_tokens: number;
  completion_tokens: number;
  images: number;
  cost_micro: number;
  latency_ms: Percentiles;
  first_token_ms: Percentiles;
  tokens_per_second: number;
  waiting: number | null;
  in_flight: number | null;
  replicas: { id: string; state: string; in_flight: number; progress: string | null; error: string | null }[] | null;
}

export interface Overview {
  start_time: number;
  end_time: number;
  bucket_s: number;
  total: Sums;
  buckets: (Sums & { start_time: number })[];
  deployments: Served[];
  usage_lag_records: number;
}

/** Requests that failed for a reason of the service's. */
export function errorsOf(of: { errors?: number; outcomes?: Record<string, number> }): number {
  return of.errors ?? (of.outcomes?.failed ?? 0) + (of.outcomes?.interrupted ?? 0);
}

/** How far back one can look: minutes, and how long a bar of the charts is. */
export const SPANS = {
  hour: { minutes: 60, bucketS: 60 },
  quarter: { minutes: 360, bucketS: 300 },
  day: { minutes: 1440, bucketS: 1800 },
  week: { minutes: 10_080, bucketS: 21_600 },
} as const;
export type SpanName = keyof typeof SPANS;
const MOST_MINUTES = 10_080;

/** What is compared with the period before: sums over the buckets. */
export interface Counted {
  requests: number;
  tokens: number;
  costMicro: number;
  errors: number;
}

export function counted(buckets: readonly Sums[]): Counted {
  const sum = (of: (bucket: Sums) => number) => buckets.reduce((total, bucket) => total + of(bucket), 0);
  return {
    requests: sum((each) => each.requests),
    tokens: sum((each) => each.prompt_tokens + each.completion_tokens),
    costMicro: sum((each) => each.cost_micro),
    errors: sum(errorsOf),
  };
}

/** The buckets of the period before a time, as long as the time from there to the end. */
export function before(of: Overview, startS: number): Overview['buckets'] {
  const first = startS - (of.end_time - startS);
  return of.buckets.filter((each) => each.start_time >= first && each.start_time < startS);
}

/** By how much a number grew, as a share; null where there was nothing before. */
export function change(now: number, then: number): number | null {
  return then === 0 ? null : now / then - 1;
}

/** The question for twice the time, to compare with; null where that is longer than can be asked for. */
export function doubled(span: SpanName): { minutes: number; bucket_s: number } | null {
  const { minutes, bucketS } = SPANS[span];
  return minutes * 2 > MOST_MINUTES ? null : { minutes: minutes * 2, bucket_s: bucketS };
}
