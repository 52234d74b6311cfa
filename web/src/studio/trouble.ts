/** What went wrong with painting, so that it can be said plainly and in the reader's language. */
import { ApiError } from '../lib/api';

export type TroubleKind = 'filtered' | 'tooFast' | 'budget' | 'busy' | 'refused' | 'noModel' | 'other';

export interface Trouble {
  kind: TroubleKind;
  /** What the server says. */
  message: string;
  requestId: string | null;
  /** When it can be tried again, in milliseconds since the epoch; null where that is not known. */
  againAt: number | null;
  /** Whether the same could go well another time. */
  retriable: boolean;
}

const KINDS: Record<string, TroubleKind> = {
  content_filter: 'filtered',
  contentFilter: 'filtered',
  content_policy_violation: 'filtered',
  rate_limit_exceeded: 'tooFast',
  insufficient_quota: 'budget',
  resource_unavailable: 'busy',
  engine_unavailable: 'busy',
  service_unavailable: 'busy',
  insufficient_permissions: 'refused',
  policy_denied: 'refused',
  suspended: 'refused',
  model_not_found: 'noModel',
};
const NEVER_AGAIN: readonly TroubleKind[] = ['filtered', 'refused', 'noModel'];

export function troubleOf(error: unknown, now: number = Date.now()): Trouble {
  if (!(error instanceof ApiError)) {
    const message = error instanceof Error ? error.message : String(error);
    return { kind: 'other', message, requestId: null, againAt: null, retriable: true };
  }
  const kind = KINDS[error.code ?? ''] ?? 'other';
  const wrong = kind === 'other' && error.status >= 400 && error.status < 429;
  return {
    kind,
    message: error.message,
    requestId: error.requestId,
    againAt: error.retryAfterS === null ? null : now + error.retryAfterS * 1000,
    retriable: !NEVER_AGAIN.includes(kind) && !wrong,
  };
}

/** Whether an error says that nothing is kept for this person: pictures can be painted, but not remembered. */
export function keepsNothing(error: unknown): boolean {
  if (!(error instanceof ApiError)) return false;
  return error.code === 'zero_data_retention' || error.status === 403;
}
