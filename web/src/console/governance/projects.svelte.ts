/** The projects that somebody may see, and what they are called. */
import { get } from '../../lib/api';
import { can, session } from '../../lib/session.svelte';
import { list } from './load.svelte';

export interface Project {
  id: string;
  name: string;
  status: 'active' | 'archived';
  created_at: number;
  archived_at: number | null;
}

/** Every project that the caller may see; those that one may act in where one may not list them. */
export async function projects(archived = false): Promise<Project[]> {
  if (can('projects:read')) return list<Project>('/v1/organization/projects', { include_archived: archived });
  return session().projects.map((each) => ({ ...each, status: 'active', created_at: 0, archived_at: null }));
}

/** The project to begin with: the one that one acts in. */
export function ownProject(): string {
  return session().project_id ?? session().projects[0]?.id ?? '';
}

/** Names of what may be used in a project, for choices. */
export async function modelNames(): Promise<string[]> {
  if (!can('models:read')) return [];
  const found = await get<{ data: { id: string }[] }>('/v1/models');
  return found.data.map((each) => each.id).sort();
}
