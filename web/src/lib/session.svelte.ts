/** Who is signed in, in which project, and what they may do there. */
import { ApiError, get, post, remove, signIn } from './api';
import { forgetContent, keep, kept } from './kept';

export interface SessionInfo {
  id: string | null;
  auth_method: string;
  expires_at: number | null;
  principal: { id: string; kind: string; name: string; email: string | null };
  organization: { id: string; name: string };
  project_id: string | null;
  projects: { id: string; name: string }[];
  roles: string[];
  /** What they may do in the project that they act in. */
  actions: string[];
  /** What of it they may do in the whole organization. */
  organization_actions: string[];
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

/**
 * Whether the caller may do something in the whole organization. What belongs to no single project, such as filters,
 * limits and people, is only changed by those who may: the server refuses whoever may only do it in a project.
 */
export function canEverywhere(action: string): boolean {
  return current?.organization_actions.includes(action) ?? false;
}

/** Whether the caller may do something to what may belong to a project: everywhere, or in that project. */
export function canFor(action: string, projectId: string | null | undefined): boolean {
  return canEverywhere(action) || (!!projectId && projectId === current?.project_id && can(action));
}

/**
 * Find out who is signed in; false where the page is about to be left: for the sign-in page where nobody is, and to
 * begin anew where it was somebody else's until now.
 */
export async function startSession(): Promise<boolean> {
  try {
    current = await get<SessionInfo>('/session', {}, { anonymous: true });
    return sameAsBefore(current.principal.id);
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
  try {
    await remove('/session', { anonymous: true });
  } catch (error) {
    // A session that has ended already is as good as one that ends now: what is kept here has to go all the same.
    if (!(error instanceof ApiError && error.status === 401)) throw error;
  }
  forgetContent();
  location.assign('/signin');
}

/**
 * Whether this browser was last used by the same person. Sessions end without anybody signing out, and the next person
 * must not find the drafts of the last one: they are taken away, and the page begins anew, since it may hold some.
 */
function sameAsBefore(person: string): boolean {
  const before = kept('person');
  const changed = before !== null && before !== person;
  if (changed) forgetContent();
  keep('person', person);
  if (changed) location.reload();
  return !changed;
}
