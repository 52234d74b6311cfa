import '@fontsource-variable/inter/wght.css';
import '@fontsource-variable/source-serif-4/wght.css';
import './styles/tokens.css';
import './styles/base.css';

import { mount } from 'svelte';

import App from './App.svelte';
import { startMessages } from './lib/i18n.svelte';
import { startSession } from './lib/session.svelte';
import { startTheme } from './lib/theme.svelte';
import { preload, wordsOf } from './routes';

startTheme();
// Who is there, the code of the page and its words are asked for at once.
const signedIn = startSession();
signedIn.catch(() => undefined); // the application shows what went wrong
void preload(location.pathname as '/');
await startMessages(wordsOf(location.pathname));
const target = document.getElementById('app');
if (target === null) throw new Error('The page has no place for the application.');
mount(App, { target, props: { signedIn } });
