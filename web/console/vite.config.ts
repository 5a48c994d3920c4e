import { svelte } from '@sveltejs/vite-plugin-svelte';
import type { Plugin } from 'vite';
import { defineConfig } from 'vitest/config';

// The dev server passes the API on to a centre, that of `wattbus up` by default.
const api = process.env.WATTBUS_SERVER ?? 'http://127.0.0.1:8080';

/** Puts the style behind the shell, which has its own: nothing is painted before a style that stands in the head is there. */
const shellFirst: Plugin = {
  name: 'shell-first',
  enforce: 'post',
  transformIndexHtml: (page) => {
    const style = /\n\s*<link rel="stylesheet"[^>]*>/;
    const link = style.exec(page)?.[0];
    if (!link) throw new Error('index.html has no style');
    return page.replace(style, '').replace('<noscript>', `${link.trim()}\n    <noscript>`);
  },
};

export default defineConfig({
  base: './', // works below any prefix that a proxy puts before it
  plugins: [svelte(), shellFirst],
  build: {
    target: 'es2022',
    cssCodeSplit: false,
    modulePreload: { polyfill: false }, // would be a script in the page itself
    assetsInlineLimit: 0,
    reportCompressedSize: true,
    rollupOptions: {
      output: {
        // Names hold a hash of the content only, so that a rebuild of the same source gives the same files.
        entryFileNames: 'assets/[name]-[hash].js',
        chunkFileNames: 'assets/[name]-[hash].js',
        assetFileNames: 'assets/[name]-[hash][extname]',
        // A page is a file, and what pages share is one: each further file would be a way to the server.
        advancedChunks: { groups: [{ name: 'base', test: /node_modules[\\/](?!uplot)|src[\\/](api|format|frame|lang[\\/](?!ja\.)|parts|state|style)/ }] },
      },
    },
  },
  server: { proxy: { '/v1': { target: api, ws: true } } },
  test: { include: ['src/**/*.test.ts'], environment: 'node' },
});
