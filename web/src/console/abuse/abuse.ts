/** Whose requests were flagged, as the API tells of it. */
import { list } from '../governance/load.svelte';

export const GROUPS = ['end_user', 'principal', 'project'] as const;
export type Group = (typeof GROUPS)[number];
export const WINDOWS = [1, 7, 30, 90] as const;
const DAY_S = 86_400;

export interface Finding {
  side: string;
  name: string;
  severity: string;
  requests: number;
  blocked: number;
}

export interface Figures {
  requests: number;
  flagged: number;
  blocked: number;
  share: number;
  last_flagged_at: number | null;
  findings: Finding[];
}

export interface Subject extends Figures {
  type: Group;
  id: string;
  name: string | null;
  project_id: string | null;
  score: number;
  suspended: boolean;
}

export interface Suspension {
  id: string;
  type: Group;
  subject: string;
  name: string | null;
  project_id: string | null;
  reason: string;
  tell: boolean;
  until: number | null;
  created_at: number;
  created_by: string;
}

export interface Timeline {
  type: Group;
  id: string;
  name: string | null;
  start_time: number;
  end_time: number;
  total: Figures & { score: number };
  data: (Figures & { start_time: number })[];
  suspensions: Suspension[];
}

export interface Flagged {
  id: string;
  project_id: string;
  principal: string;
  end_user: string | null;
  deployment: string | null;
  found: { policy?: string; blocked?: string[] };
  created_at: number;
  expires_at: number;
}

export interface Reviewed extends Flagged {
  prompt: string | null;
  completion: string | null;
  cut: string[];
}

/** Every day of a window, also those on which nothing was flagged. UTC, as the API counts. */
export function days(timeline: Pick<Timeline, 'start_time' | 'end_time' | 'data'>): {
  at: number;
  flagged: number;
  blocked: number;
}[] {
  const found = new Map(timeline.data.map((each) => [each.start_time, each]));
  const made = [];
  for (let at = Math.floor(timeline.start_time / DAY_S) * DAY_S; at < timeline.end_time; at += DAY_S) {
    const day = found.get(at);
    made.push({ at, flagged: day?.flagged ?? 0, blocked: day?.blocked ?? 0 });
  }
  return made;
}

/** When the window began that ends now, in seconds since the epoch; at a minute, so that it is the same for a while. */
export function windowStart(windowDays: number, nowS: number): number {
  return Math.floor(nowS / 60) * 60 - windowDays * DAY_S;
}

/** A digest is long; its beginning tells it from others. */
export function shortName(subject: { name: string | null; id: string }): string {
  if (subject.name) return subject.name;
  return subject.id.length > 24 ? `${subject.id.slice(0, 16)}…` : subject.id;
}

export function suspensions(): Promise<Suspension[]> {
  return list<Suspension>('/v1/organization/suspensions');
}
