/**
 * The words of the pages, in the language of whoever reads them.
 *
 *     t('chat:send')    t('console:keys.count', { count: 3 })
 *
 * Each area of the product is a namespace: `src/messages/LANGUAGE/NAMESPACE.json`, fetched when the area is opened.
 * Plurals are i18next's: `count_one`, `count_other`.
 */
import { createInstance } from 'i18next';

import { keep, kept } from './kept';

export const LANGUAGES = { en: 'English', de: 'Deutsch', es: 'Español' } as const;
export type Language = keyof typeof LANGUAGES;

const FILES = import.meta.glob<{ default: Record<string, unknown> }>('../messages/*/*.json');
const translator = createInstance();
const loaded: string[] = ['shell'];
let version = $state(0);

/** What somebody reads: chosen, or the browser's, or English. */
export function language(): Language {
  void version;
  return (translator.language as Language | undefined) ?? 'en';
}

/** Find out which language to speak, and fetch the words of the frame and of the areas. */
export async function startMessages(namespaces: readonly string[]): Promise<void> {
  loaded.push(...namespaces);
  const chosen = kept('language') ?? '';
  const wished = [chosen, ...navigator.languages.map((each) => each.slice(0, 2))];
  const found = wished.find((each): each is Language => each in LANGUAGES) ?? 'en';
  await translator.init({
    lng: found,
    fallbackLng: 'en',
    ns: [],
    defaultNS: 'shell',
    interpolation: { escapeValue: false },
    resources: {},
  });
  await speak(found);
}

/** Speak another language from now on. */
export async function setLanguage(next: Language): Promise<void> {
  keep('language', next);
  await speak(next);
}

/** Fetch the words of an area. */
export async function needMessages(namespace: string): Promise<void> {
  if (!loaded.includes(namespace)) loaded.push(namespace);
  await fetchMessages(language(), namespace);
}

/** The words for a key, `namespace:key`. */
export function t(key: string, values: Record<string, unknown> = {}): string {
  void version;
  return translator.t(key, values);
}

async function speak(next: Language): Promise<void> {
  await Promise.all(loaded.map((namespace) => fetchMessages(next, namespace)));
  await translator.changeLanguage(next);
  document.documentElement.lang = next;
  version += 1;
}

async function fetchMessages(lng: Language, namespace: string): Promise<void> {
  if (translator.hasResourceBundle(lng, namespace)) return;
  const file = FILES[`../messages/${lng}/${namespace}.json`];
  if (file === undefined) throw new Error(`There are no messages '${namespace}' in '${lng}'.`);
  translator.addResourceBundle(lng, namespace, (await file()).default);
}
