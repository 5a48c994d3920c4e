import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vitest/config';

// The dev server passes the API on to a centre, that of `wattbus up` by default.
const api = process.env.WATTBUS_SERVER ?? 'http://127.0.0.1:8080';

export default defineConfig({
  base: './', // works below any prefix that a proxy puts before it
  plugins: [svelte()],
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
      },
    },
  },
  server: { proxy: { '/v1': { target: api, ws: true } } },
  test: { include: ['src/**/*.test.ts'], environment: 'node' },
});
