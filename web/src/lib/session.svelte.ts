/** Who is signed in, in which project, and what they may do there. */
import { ApiError, get, post, remove, signIn } from './api';
import { forgetContent } from './kept';

export interface SessionInfo {
  id: string | null;
  auth_method: string;
  expires_at: number | null;
  principal: { id: string; kind: string; name: string; email: string | null };
  organization: { id: string; name: string };
  project_id: string | null;
  projects: { id: string; name: string }[];
  roles: string[];
  actions: string[];
}

let current = $state<SessionInfo | null>(null);

/** The session; pages are only shown while there is one. */
export function session(): SessionInfo {
  if (current === null) throw new Error('Nobody is signed in.');
  return current;
}

/** Whether the caller may do something, for instance `keys:write`, in the project that they act in. */
export function can(action: string): boolean {
  return current?.actions.includes(action) ?? false;
}

/** Find out who is signed in; false, and on the way to the sign-in page, where nobody is. */
export async function startSession(): Promise<boolean> {
  try {
    current = await get<SessionInfo>('/session', {}, { anonymous: true });
    return true;
  } catch (error) {
    if (error instanceof ApiError && error.status === 401) {
      signIn();
      return false;
    }
    throw error;
  }
}

/** Act in another project from now on. Everything on the page was of the other one, so the page begins anew. */
export async function chooseProject(projectId: string): Promise<void> {
  await post('/session/project', { project_id: projectId });
  location.assign('/');
}

export async function signOut(): Promise<void> {
  await remove('/session');
  forgetContent();
  location.assign('/signin');
}
