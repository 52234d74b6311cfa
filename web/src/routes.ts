/** Where everything is. An area's code and words are fetched when somebody opens it. */
import { createRouter, type Hooks } from 'sv-router';

import { needMessages } from './lib/i18n.svelte';

const WORDS: Record<string, string[]> = {
  '': ['chat'],
  chat: ['chat'],
  studio: ['studio'],
  playground: ['playground'],
  console: ['console', 'governance'],
  account: ['account'],
};

// The router knows what is fetched later by its form: it has to be `() => import(…)`.
export const { p, navigate, isActive, route, preload } = createRouter({
  '/': { '/': () => import('./chat/Page.svelte'), hooks: words('') },
  '/chat': { '/:id': () => import('./chat/Page.svelte'), hooks: words('chat') },
  '/studio': {
    '/': () => import('./studio/Page.svelte'),
    '/:id': () => import('./studio/Page.svelte'),
    hooks: words('studio'),
  },
  '/playground': { '/': () => import('./playground/Page.svelte'), hooks: words('playground') },
  '/console': {
    '/': () => import('./console/Page.svelte'),
    '/:page': () => import('./console/Page.svelte'),
    '/:page/:id': () => import('./console/Page.svelte'),
    hooks: words('console'),
  },
  '/account': { '/': () => import('./account/Page.svelte'), hooks: words('account') },
  '*': () => import('./shell/NotFound.svelte'),
});

/** The namespaces of the words that the page at a path needs. */
export function wordsOf(pathname: string): string[] {
  return WORDS[pathname.split('/')[1] ?? ''] ?? [];
}

function words(area: string): Hooks {
  return {
    beforeLoad: async () => {
      await Promise.all(wordsOf(`/${area}`).map(needMessages));
    },
    // After an upgrade the code of a page has another name, and a tab that was open before asks for the old one in
    // vain. The server has the new: the page is opened as if it were the first. Where that was tried it is not again.
    onError: (_error, { pathname }) => {
      if (pathname !== location.pathname) location.assign(pathname);
    },
  };
}
