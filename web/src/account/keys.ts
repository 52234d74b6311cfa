/** The API keys that somebody keeps in a project. */
import { pages, post, remove } from '../lib/api';

export interface OwnKey {
  id: string;
  name: string;
  redacted_value: string;
  created_at: number;
  last_used_at: number | null;
  owner: { type: string; user?: { id: string } };
}

/** A key just made: the only time that its value can be read. */
export interface MadeKey extends OwnKey {
  value: string;
  expires_at: number | null;
}

const DAY_S = 86_400;
/** How long a key may live, in days; null for one that does not end by itself. */
export const LIFETIMES_DAYS = [7, 30, 90, 365, null] as const;
/** How long a key that is replaced goes on beside the new one. */
export const OVERLAP_S = DAY_S;

function path(projectId: string): string {
  return `/v1/organization/projects/${encodeURIComponent(projectId)}/api_keys`;
}

/** The keys of a user in a project; whoever reads keys there gets everybody's, of which the user's own remain. */
export async function ownKeys(projectId: string, userId: string): Promise<OwnKey[]> {
  const found: OwnKey[] = [];
  for await (const page of pages<OwnKey>(path(projectId), { limit: 100 })) {
    found.push(...page.filter((key) => key.owner.user?.id === userId));
  }
  return found;
}

export function makeKey(projectId: string, name: string, days: number | null): Promise<MadeKey> {
  return post<MadeKey>(path(projectId), {
    name,
    ...(days === null ? {} : { expires_in_seconds: days * DAY_S }),
  });
}

export function rotateKey(projectId: string, id: string): Promise<MadeKey> {
  return post<MadeKey>(`${path(projectId)}/${encodeURIComponent(id)}/rotate`, { overlap_seconds: OVERLAP_S });
}

export function revokeKey(projectId: string, id: string): Promise<void> {
  return remove(`${path(projectId)}/${encodeURIComponent(id)}`);
}
