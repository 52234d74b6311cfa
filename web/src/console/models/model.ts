/** Models of the catalog, as the API tells of them. */
export interface Model {
  name: string;
  source: string;
  source_sha256: string;
  sha256: string;
  size_bytes: number;
  format: string;
  details: Record<string, unknown>;
  created_at: number;
}

export interface Pulled {
  stage?: 'downloading' | 'verifying' | 'converting' | 'done';
  done_bytes?: number;
  total_bytes?: number | null;
  model?: Model;
}

export const MODELS = '/admin/models';

/** How far a pull is at its present stage, from 0 to 1; null where it is not known. */
export function shareOf({ done_bytes, total_bytes }: Pulled): number | null {
  return total_bytes ? Math.min(1, (done_bytes ?? 0) / total_bytes) : null;
}

/** A text among the details; null where there is none. */
export function detail(model: Model, name: string): string | null {
  const value = model.details[name];
  return typeof value === 'string' && value !== '' ? value : null;
}

/** A number among the details; null where there is none. */
export function count(model: Model, name: string): number | null {
  const value = model.details[name];
  return typeof value === 'number' ? value : null;
}

/** When a model is retired, in seconds since the epoch; null where it is not. */
export function retiredAt(model: Model): number | null {
  return count(model, 'retires_at');
}
