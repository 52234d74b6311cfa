/** Light, dark, or as the system is. */
import { keep, kept } from './kept';

export const THEMES = ['system', 'light', 'dark'] as const;
export type Theme = (typeof THEMES)[number];

let chosen = $state<Theme>('system');

export function theme(): Theme {
  return chosen;
}

export function startTheme(): void {
  const found = kept('theme');
  apply(THEMES.find((each) => each === found) ?? 'system');
}

export function setTheme(next: Theme): void {
  keep('theme', next === 'system' ? null : next);
  apply(next);
}

function apply(next: Theme): void {
  chosen = next;
  if (next === 'system') delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = next;
}
