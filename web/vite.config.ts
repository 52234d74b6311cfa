import process from 'node:process';

import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vitest/config';

/** A server that runs already, whose API the pages of `npm run dev` call. */
const SERVER = process.env.FREEHOLD_URL ?? 'http://127.0.0.1:8080';
const API = ['/v1', '/admin', '/session', '/sessions', '/signin', '/signout', '/openai', '/docs', '/health'];

export default defineConfig({
  plugins: [svelte()],
  build: {
    outDir: '../src/freehold/web/dist',
    emptyOutDir: true,
    target: 'es2022',
    // Everything is a file of its own: the content security policy admits neither inline scripts nor fonts as data.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    manifest: 'manifest.json',
    chunkSizeWarningLimit: 700,
  },
  server: { proxy: Object.fromEntries(API.map((path) => [path, { target: SERVER, changeOrigin: false }])) },
  resolve: process.env.VITEST ? { conditions: ['browser'] } : {},
  test: { include: ['src/**/*.test.ts'], environment: 'node' },
});
