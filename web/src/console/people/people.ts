/** People and what they may do, as the API tells of them. */
export interface User {
  id: string;
  name: string;
  email: string | null;
  role: string | null;
  added_at: number;
  api_key_last_used_at: number | null;
  user: { enabled: boolean };
  projects: { data: { id: string; name: string; role: string | null }[] };
}

export interface Invite {
  id: string;
  email: string;
  role: string;
  status: 'pending' | 'accepted' | 'expired';
  created_at: number;
  expires_at: number;
  projects: { id: string; role: string }[];
}

export interface Member {
  id: string;
  name: string;
  email: string | null;
  role: string;
  added_at: number;
}

export interface Role {
  id: string;
  name: string;
  permissions: string[];
  predefined_role: boolean;
}

export interface Decision {
  allowed: boolean;
  member_id: string;
  project_id: string | null;
  steps: { step: string; allowed: boolean; reason: string }[];
}

/** What actions are about, in the order in which they are shown. */
export const AREAS = [
  'deployments',
  'models',
  'tools',
  'files',
  'conversations',
  'receipts',
  'provenance',
  'usage',
  'limits',
  'keys',
  'projects',
  'users',
  'policies',
  'filters',
  'abuse',
  'content',
  'audit',
  'retention',
  'data',
  'service',
] as const;

/** Actions by what they are about: `keys:read` and `keys:write` become `keys: read, write`. */
export function byArea(actions: readonly string[]): { area: string; verbs: string[] }[] {
  const found = new Map<string, string[]>();
  for (const action of actions) {
    const [area = '', verb = ''] = action.split(':');
    found.set(area, [...(found.get(area) ?? []), verb]);
  }
  const rank = (area: string) => {
    const at = (AREAS as readonly string[]).indexOf(area);
    return at < 0 ? AREAS.length : at;
  };
  return [...found]
    .map(([area, verbs]) => ({ area, verbs: verbs.sort() }))
    .sort((one, other) => rank(one.area) - rank(other.area));
}

/** Every action that some role allows. */
export function actionsOf(roles: readonly Role[]): string[] {
  return [...new Set(roles.flatMap((role) => role.permissions))].sort();
}

/** What a question about an action is asked of: calling needs a deployment, the rest a kind of thing. */
export function resourceFor(action: string, project: string, deployment: string): string {
  if (action === 'deployments:infer') return `deployments/${deployment}`;
  return `projects/${project}`;
}
