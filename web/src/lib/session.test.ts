import { afterEach, beforeEach, expect, it, vi } from 'vitest';

import { can, canEverywhere, canFor, signOut, startSession } from './session.svelte';

const kept = new Map<string, string>();
const place = { pathname: '/console', search: '', assign: vi.fn(), reload: vi.fn() };

/** What the browser keeps: its names are those of the object's own properties. */
const storage = new Proxy(
  {
    getItem: (name: string) => kept.get(name) ?? null,
    setItem: (name: string, value: string) => void kept.set(name, value),
    removeItem: (name: string) => void kept.delete(name),
  },
  {
    ownKeys: () => [...kept.keys()],
    getOwnPropertyDescriptor: () => ({ enumerable: true, configurable: true }),
  },
);

function answer(status: number, body: unknown) {
  vi.stubGlobal('fetch', () => Promise.resolve(new Response(JSON.stringify(body), { status })));
}

function signedIn(id: string) {
  answer(200, {
    principal: { id },
    project_id: 'proj-1',
    actions: ['limits:write', 'usage:read'],
    organization_actions: ['usage:read'],
  });
}

beforeEach(() => {
  vi.stubGlobal('localStorage', storage);
  vi.stubGlobal('location', place);
});

afterEach(() => {
  vi.unstubAllGlobals();
  vi.clearAllMocks();
  kept.clear();
});

it('leaves what is kept to the same person', async () => {
  signedIn('user-1');
  expect(await startSession()).toBe(true);
  kept.set('freehold.draft', 'Dear');
  expect(await startSession()).toBe(true);
  expect(kept.get('freehold.draft')).toBe('Dear');
  expect(place.reload).not.toHaveBeenCalled();
});

it('takes the drafts of the last person away before the next one sees the page', async () => {
  for (const [name, value] of Object.entries({ person: 'user-1', draft: 'Dear', language: 'de', theme: 'dark' })) {
    kept.set(`freehold.${name}`, value);
  }
  signedIn('user-2');
  expect(await startSession()).toBe(false);
  expect(place.reload).toHaveBeenCalledOnce();
  expect(Object.fromEntries(kept)).toEqual({
    'freehold.person': 'user-2',
    'freehold.language': 'de',
    'freehold.theme': 'dark',
  });
  expect(await startSession()).toBe(true);
});

it('forgets and leads to the sign-in page where the session has ended already', async () => {
  kept.set('freehold.draft', 'Dear');
  answer(401, { error: { message: 'The session has ended.', code: 'session_ended' } });
  await signOut();
  expect(kept.size).toBe(0);
  expect(place.assign).toHaveBeenCalledExactlyOnceWith('/signin');
});

it('keeps everything where signing out fails otherwise: the session still holds', async () => {
  kept.set('freehold.draft', 'Dear');
  answer(503, { error: { message: 'Later.' } });
  await expect(signOut()).rejects.toThrow('Later.');
  expect(kept.size).toBe(1);
});

it('tells what holds in the project from what holds everywhere', async () => {
  signedIn('user-1');
  await startSession();
  expect([can('limits:write'), canEverywhere('limits:write')]).toEqual([true, false]);
  expect(canFor('limits:write', 'proj-1')).toBe(true);
  expect(canFor('limits:write', 'proj-2')).toBe(false);
  expect(canFor('limits:write', null)).toBe(false);
  expect(canFor('usage:read', 'proj-2')).toBe(true);
});
