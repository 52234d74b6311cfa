/** Jobs: work that outlives the request that asked for it, and what the API of each kind tells more. */
export const KINDS = ['batch', 'fine_tuning', 'training', 'eval_run'] as const;
export const STATES = ['queued', 'running', 'preempted', 'paused', 'succeeded', 'failed', 'cancelled'] as const;

export interface Job {
  id: string;
  kind: string;
  subject: string;
  state: string;
  asked?: 'cancel' | 'pause';
  total: number;
  done: number;
  failed: number;
  attempts: number;
  error_code?: string;
  created_at: number;
  started_at?: number;
  finished_at?: number;
  begins_at?: number;
}

export interface JobEvent {
  number: number;
  created_at: number;
  event: string;
  detail?: string | Record<string, unknown>;
}

export interface TuningEvent {
  id: string;
  created_at: number;
  level: string;
  message: string;
  type: string;
  data: Record<string, unknown>;
}

export function ended(job: Job): boolean {
  return ['succeeded', 'failed', 'cancelled'].includes(job.state);
}

/** How far a job is, from 0 to 1; null where it is not known how much there is. */
export function shareOf(job: Job): number | null {
  return job.total > 0 ? Math.min(1, job.done / job.total) : null;
}

/** How long it has taken until now or to its end, in seconds; null before it was begun. */
export function tookS(job: Job, nowS: number): number | null {
  return job.started_at === undefined ? null : Math.max(0, (job.finished_at ?? nowS) - job.started_at);
}

export interface Curve {
  name: string;
  values: (number | null)[];
}

/** Which numbers of a training are drawn, in this order. */
const DRAWN = ['train_loss', 'valid_loss', 'full_valid_loss', 'train_mean_reward', 'valid_mean_reward'];

/** The curves of a training by its events, which come newest first: steps, and the values at each. */
export function curves(events: readonly TuningEvent[]): { steps: number[]; curves: Curve[] } {
  const points = events
    .filter((each) => each.type === 'metrics' && typeof each.data.step === 'number')
    .map((each) => each.data)
    .sort((a, b) => Number(a.step) - Number(b.step));
  const value = (data: Record<string, unknown>, name: string) => {
    const found = data[name];
    return typeof found === 'number' ? found : null;
  };
  return {
    steps: points.map((each) => Number(each.step)),
    curves: DRAWN.map((name) => ({ name, values: points.map((each) => value(each, name)) })).filter((curve) =>
      curve.values.some((each) => each !== null),
    ),
  };
}
