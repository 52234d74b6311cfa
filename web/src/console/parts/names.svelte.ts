/** What the ids of projects, keys and people are called, as far as whoever is signed in may know. */
import { get, type ListPage } from '../../lib/api';
import { can, session } from '../../lib/session.svelte';
import { runsService } from '../pages';

export interface KnownKey {
  id: string;
  name: string;
  last4: string;
  owner: string;
  owner_id: string;
  project_id: string;
  revoked_at: number | null;
}

let keys = $state.raw<KnownKey[]>([]);
let people = $state.raw<Record<string, string>>({});
let asked = false;

/** Fetch them; names appear when they come, and ids stay where they may not be known. */
export function needNames(): void {
  if (asked) return;
  asked = true;
  if (can('keys:read') && runsService()) {
    get<ListPage<KnownKey>>('/admin/keys').then(
      (found) => (keys = found.data),
      () => undefined,
    );
  }
  if (can('users:read')) {
    get<ListPage<{ id: string; name: string | null; email: string }>>('/v1/organization/users', { limit: 100 }).then(
      (found) => (people = Object.fromEntries(found.data.map((each) => [each.id, each.name ?? each.email]))),
      () => undefined,
    );
  }
}

export function knownKeys(): readonly KnownKey[] {
  return keys;
}

export function projectName(id: string): string {
  return session().projects.find((each) => each.id === id)?.name ?? id;
}

export function keyName(id: string): string {
  const key = keys.find((each) => each.id === id);
  return key ? `${key.name} (…${key.last4})` : id;
}

/** What a user or a service account is called. */
export function personName(id: string): string {
  const me = session().principal;
  if (me.id === id) return me.name || me.email || id;
  return people[id] ?? keys.find((each) => each.owner_id === id)?.owner ?? id;
}
