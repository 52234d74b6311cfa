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
  in_flight: number;
  usage_lag_records: number;
}

/** Requests that failed for a reason of the service's. */
export function errorsOf(of: { errors?: number; outcomes?: Record<string, number> }): number {
  return of.errors ?? (of.outcomes?.failed ?? 0) + (of.outcomes?.interrupted ?? 0);
}
