/** The audit log as the API tells of it, and what is asked of it. */
import type { Query } from '../../lib/api';

export interface AuditRecord {
  id: string;
  seq: number;
  writer: string;
  recorded_at: number;
  event: string | null;
  principal: string;
  principal_kind: string;
  principal_name: string | null;
  key_id?: string | null;
  auth_method?: string;
  authorization?: string;
  method?: string;
  path?: string;
  status?: number;
  request_id?: string;
  resource_type?: string;
  resource_id?: string;
  resource_project_id?: string;
  before_sha256?: string;
  after_sha256?: string;
  details?: Record<string, unknown>;
}

export interface Verification {
  state: 'running' | 'intact' | 'damaged' | 'failed';
  started_at: number;
  finished_at: number | null;
  records: number;
  checkpoints: number;
  problem: string | null;
}

export interface Journal {
  writer: string;
  state: 'ok' | 'unavailable';
  reason: string | null;
  records: number;
  segments: number;
  size_bytes: number;
  /** Up to which record the journal is signed; `at` as RFC 3339 writes it. */
  checkpoint: { seq: number; at: string; head: string } | null;
  verification: Verification | null;
}

export interface Asked {
  event: string;
  actor: string;
  resource: string;
  project: string;
  since: string;
  until: string;
  everything: boolean;
}

export const NOTHING: Asked = {
  event: '',
  actor: '',
  resource: '',
  project: '',
  since: '',
  until: '',
  everything: false,
};

/** Families of events to choose from. */
export const FAMILIES = [
  'api_key.*',
  'user.*',
  'invite.*',
  'project.*',
  'service_account.*',
  'deployment.*',
  'model.*',
  'rate_limit.*',
  'policy.*',
  'content_filter.*',
  'blocklist.*',
  'suspension.*',
  'flagged.*',
  'retention.*',
  'content_key.*',
  'backup.*',
  'session.*',
] as const;

const DAY_S = 86_400;

/** What is sent for what is asked; days are whole ones of the reader's. */
export function auditQuery(asked: Asked, after?: string): Query {
  return {
    event: asked.event || null,
    actor: asked.actor.trim() || null,
    resource: asked.resource.trim() || null,
    project: asked.project || null,
    since: dayStart(asked.since),
    until: asked.until ? (dayStart(asked.until) ?? 0) + DAY_S : null,
    everything: asked.everything || null,
    limit: 50,
    after,
  };
}

function dayStart(day: string): number | null {
  if (day === '') return null;
  return Math.floor(new Date(`${day}T00:00`).getTime() / 1000);
}

/** How somebody is called who did something: the name, or what the record knows. */
export function actorOf(record: AuditRecord): string {
  return record.principal_name ?? (record.principal || '–');
}
