import { expect, it } from 'vitest';

import { actionsOf, byArea, resourceFor } from './people';

it('puts actions together by what they are about', () => {
  expect(byArea(['service:manage', 'keys:write', 'keys:read', 'own:thing'])).toEqual([
    { area: 'keys', verbs: ['read', 'write'] },
    { area: 'service', verbs: ['manage'] },
    { area: 'own', verbs: ['thing'] },
  ]);
});

it('knows every action that a role allows', () => {
  const role = (permissions: string[]) => ({ id: 'r', name: 'r', permissions, predefined_role: true });
  expect(actionsOf([role(['b:read', 'a:read']), role(['a:read'])])).toEqual(['a:read', 'b:read']);
});

it('asks about a deployment only for calls', () => {
  expect(resourceFor('deployments:infer', 'proj-1', 'chat')).toBe('deployments/chat');
  expect(resourceFor('keys:write', 'proj-1', 'chat')).toBe('projects/proj-1');
});
