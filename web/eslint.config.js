import js from '@eslint/js';
import svelte from 'eslint-plugin-svelte';
import globals from 'globals';
import typescript from 'typescript-eslint';

import svelteConfig from './svelte.config.js';

export default typescript.config(
  { ignores: ['node_modules'] },
  js.configs.recommended,
  ...typescript.configs.strict,
  ...svelte.configs.recommended,
  { languageOptions: { globals: { ...globals.browser } } },
  { files: ['*.config.*'], languageOptions: { globals: { ...globals.node } } },
  {
    files: ['**/*.svelte', '**/*.svelte.ts'],
    languageOptions: { parserOptions: { parser: typescript.parser, extraFileExtensions: ['.svelte'], svelteConfig } },
    rules: {
      // The router's links are made by its own `p`; the rule knows SvelteKit's only.
      'svelte/no-navigation-without-resolve': 'off',
      // A bound property is assigned, though the script never does it.
      'prefer-const': 'off',
    },
  },
  {
    rules: {
      // Text from models becomes HTML in one place, which sanitises it; tests hold that there is no other.
      'svelte/no-at-html-tags': 'error',
      'max-lines': ['error', { max: 300, skipBlankLines: false }],
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
    },
  },
);
