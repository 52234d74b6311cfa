/** Keys that do something wherever one is on the chat's page. */
import { toastError } from '../lib/toasts.svelte';
import { newTalk } from './current.svelte';
import { dialogs } from './dialogs.svelte';
import { focusComposer, focusSearch } from './focus.svelte';
import type { Talk } from './talk.svelte';

export const MAC = /Mac|iPhone|iPad/.test(navigator.userAgent);

/** What the help lists: keys, and the word for what they do. */
export const SHORTCUTS: readonly { keys: string[]; word: string }[] = [
  { keys: ['Enter'], word: 'chat:keys.send' },
  { keys: ['Shift', 'Enter'], word: 'chat:keys.line' },
  { keys: ['Esc'], word: 'chat:keys.stop' },
  { keys: ['↑'], word: 'chat:keys.edit' },
  { keys: [MAC ? '⌘' : 'Ctrl', 'K'], word: 'chat:keys.search' },
  { keys: [MAC ? '⌘' : 'Ctrl', 'Shift', 'O'], word: 'chat:keys.new' },
  { keys: ['Shift', 'Esc'], word: 'chat:keys.composer' },
  { keys: ['?'], word: 'chat:keys.help' },
];

export function pressed(event: KeyboardEvent, talk: Talk): void {
  if (event.isComposing || document.querySelector('dialog[open]') !== null) return;
  const control = MAC ? event.metaKey : event.ctrlKey;
  const key = event.key.toLowerCase();
  if (control && !event.shiftKey && key === 'k') focusSearch();
  else if (control && event.shiftKey && key === 'o') newTalk();
  else if (event.key === 'Escape' && event.shiftKey) focusComposer();
  else if (event.key === 'Escape' && talk.answering && !popupOpen()) void talk.stop().catch(toastError);
  else if (event.key === '?' && !writing(event.target)) dialogs.show('help');
  else return;
  event.preventDefault();
}

function popupOpen(): boolean {
  return document.querySelector(':popover-open') !== null;
}

function writing(target: EventTarget | null): boolean {
  return target instanceof Element && target.closest('input, textarea, select, [contenteditable]') !== null;
}
