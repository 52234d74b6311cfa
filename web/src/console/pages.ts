/** The console's pages: where each is in the navigation, who sees it, and its code, which is fetched when it is opened. */
import type { Component } from 'svelte';

import { can, session } from '../lib/session.svelte';
import { GOVERNANCE } from './governance';

export const GROUPS = ['overview', 'serving', 'consumption', 'access', 'record'] as const;

export interface ConsolePage {
  /** The part of the path behind `/console/`; the overview's is `overview`, and `/console` leads there too. */
  id: string;
  /** The key of its name. */
  label: string;
  group: (typeof GROUPS)[number];
  /** It is shown to whoever may do one of these. */
  needs: readonly string[];
  /** Whether it speaks to the service's own administration, which only members of the first organization may. */
  service?: boolean;
  /** The component; it is given `id?: string`, which is what stands behind the page in the path. */
  load: () => Promise<{ default: Component<never> }>;
}

const OWN: readonly ConsolePage[] = [
  {
    id: 'overview',
    label: 'console:nav.overview',
    group: 'overview',
    needs: ['usage:read'],
    load: () => import('./overview/Page.svelte'),
  },
  {
    id: 'deployments',
    label: 'console:nav.deployments',
    group: 'serving',
    needs: ['deployments:read'],
    service: true,
    load: () => import('./deployments/Page.svelte'),
  },
  {
    id: 'models',
    label: 'console:nav.models',
    group: 'serving',
    needs: ['deployments:read'],
    service: true,
    load: () => import('./models/Page.svelte'),
  },
  {
    id: 'capacity',
    label: 'console:nav.capacity',
    group: 'serving',
    needs: ['deployments:read'],
    service: true,
    load: () => import('./capacity/Page.svelte'),
  },
  {
    id: 'jobs',
    label: 'console:nav.jobs',
    group: 'serving',
    needs: ['files:read'],
    load: () => import('./jobs/Page.svelte'),
  },
  {
    id: 'usage',
    label: 'console:nav.usage',
    group: 'consumption',
    needs: ['usage:read'],
    service: true,
    load: () => import('./usage/Page.svelte'),
  },
  {
    id: 'budgets',
    label: 'console:nav.budgets',
    group: 'consumption',
    needs: ['limits:read'],
    service: true,
    load: () => import('./budgets/Page.svelte'),
  },
  {
    id: 'receipts',
    label: 'console:nav.receipts',
    group: 'consumption',
    needs: ['receipts:read'],
    load: () => import('./receipts/Page.svelte'),
  },
];

export const PAGES: readonly ConsolePage[] = [...OWN, ...GOVERNANCE];

const FIRST_ORGANIZATION = 'org-default';

/** Whether whoever is signed in belongs to the organization that runs the service. */
export function runsService(): boolean {
  return session().organization.id === FIRST_ORGANIZATION;
}

/** The pages that whoever is signed in may open, in the order of the navigation. */
export function shownPages(): ConsolePage[] {
  const shown = PAGES.filter((page) => (!page.service || runsService()) && page.needs.some(can));
  return GROUPS.flatMap((group) => shown.filter((page) => page.group === group));
}

/** Where a page is, or an object on it. */
export function pagePath(id: string, object?: string): string {
  const page = id === 'overview' ? '/console' : `/console/${id}`;
  return object === undefined ? page : `${page}/${encodeURIComponent(object)}`;
}
