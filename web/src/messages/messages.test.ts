import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

import { describe, expect, it } from 'vitest';

type Words = Record<string, string>;
const here = import.meta.dirname;
const languages = readdirSync(here, { withFileTypes: true })
  .filter((each) => each.isDirectory())
  .map((each) => each.name);
const namespaces = readdirSync(join(here, 'en')).map((file) => file.replace('.json', ''));

function words(language: string, namespace: string): Words {
  return flat(JSON.parse(readFileSync(join(here, language, `${namespace}.json`), 'utf8')));
}

function flat(tree: Record<string, unknown>, prefix = ''): Words {
  return Object.fromEntries(
    Object.entries(tree).flatMap(([key, value]) =>
      typeof value === 'string'
        ? [[prefix + key, value]]
        : Object.entries(flat(value as Record<string, unknown>, `${prefix}${key}.`)),
    ),
  );
}

function holes(text: string): string[] {
  return [...text.matchAll(/\{\{\s*([\w.]+)/g)].map((found) => found[1] ?? '').sort();
}

function sources(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((each) => {
    const path = join(folder, each.name);
    if (each.isDirectory()) return sources(path);
    return /\.(svelte|ts)$/.test(each.name) && !each.name.endsWith('.test.ts') ? [path] : [];
  });
}

function withoutComments(source: string): string {
  return source.replaceAll(/\/\*[\s\S]*?\*\//g, '').replaceAll(/<!--[\s\S]*?-->/g, '');
}

describe.each(languages)('%s', (language) => {
  it.each(namespaces)('has every word of %s, with the same places for values', (namespace) => {
    const english = words('en', namespace);
    const other = words(language, namespace);
    expect(Object.keys(other).sort()).toEqual(Object.keys(english).sort());
    for (const [key, text] of Object.entries(other)) {
      expect(text.trim(), key).not.toBe('');
      expect(holes(text), key).toEqual(holes(english[key] ?? ''));
    }
  });
});

it('has every word that the pages ask for', () => {
  const there = new Set(
    namespaces.flatMap((namespace) => Object.keys(words('en', namespace)).map((key) => `${namespace}:${key}`)),
  );
  const asked = sources(join(here, '..')).flatMap((file) =>
    [...withoutComments(readFileSync(file, 'utf8')).matchAll(/\bt\(\s*'([a-z]+:[\w.]+)'/g)].map(
      (found) => found[1] ?? '',
    ),
  );
  expect(asked.length).toBeGreaterThan(0);
  const missing = asked.filter((key) => !there.has(key) && !there.has(`${key}_other`));
  expect(missing).toEqual([]);
});
