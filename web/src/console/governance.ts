/** The pages of the console's second half: access and safety, and the record. Their words are in `governance`. */
import type { ConsolePage } from './pages';

export const GOVERNANCE: readonly ConsolePage[] = [
  {
    id: 'keys',
    label: 'governance:keys.title',
    group: 'access',
    // Whoever may call deployments keeps keys of their own.
    needs: ['keys:read', 'deployments:infer'],
    load: () => import('./keys/Page.svelte'),
  },
  {
    id: 'people',
    label: 'governance:people.title',
    group: 'access',
    needs: ['users:read', 'projects:read'],
    load: () => import('./people/Page.svelte'),
  },
  {
    id: 'filters',
    label: 'governance:filters.title',
    group: 'access',
    needs: ['filters:read'],
    service: true,
    load: () => import('./filters/Page.svelte'),
  },
  {
    id: 'abuse',
    label: 'governance:abuse.title',
    group: 'access',
    needs: ['abuse:read'],
    load: () => import('./abuse/Page.svelte'),
  },
  {
    id: 'audit',
    label: 'governance:audit.title',
    group: 'record',
    needs: ['audit:read'],
    service: true,
    load: () => import('./audit/Page.svelte'),
  },
  {
    id: 'compliance',
    label: 'governance:compliance.title',
    group: 'record',
    needs: ['audit:read'],
    service: true,
    load: () => import('./compliance/Page.svelte'),
  },
  {
    id: 'settings',
    label: 'governance:settings.title',
    group: 'record',
    needs: ['retention:read', 'policies:read', 'limits:read', 'service:manage', 'audit:read'],
    load: () => import('./settings/Page.svelte'),
  },
];
