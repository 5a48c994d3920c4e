import { svelte } from '@sveltejs/vite-plugin-svelte';
import { build, type Plugin, type Rolldown } from 'vite';
import { defineConfig } from 'vitest/config';
import { pages } from './src/state/route.ts';

// The dev server passes the API on to a centre, that of `wattbus up` by default.
const api = process.env.WATTBUS_SERVER ?? 'http://127.0.0.1:8080';

/** The file of a page is named like it: dead-letters, DeadLetters.svelte. */
const componentOf = (page: string) => page.replace(/(?:^|-)(.)/g, (_, c: string) => c.toUpperCase());

/** What src/first.ts becomes in the page, with the files of each page that the document does not name. */
async function firstScript(bundle: Rolldown.OutputBundle, document: string): Promise<string> {
  const chunks = Object.values(bundle).filter((c) => c.type === 'chunk');
  const filesOf = (source: string): string[] => {
    const own = chunks.find((c) => c.facadeModuleId?.endsWith(source));
    if (!own) throw new Error(`${source} has no file of its own`);
    const all = new Set([own.fileName]);
    for (const name of all) for (const other of chunks.find((c) => c.fileName === name)?.imports ?? []) all.add(other);
    return [...all].filter((name) => !document.includes(name)).map((name) => `./${name}`);
  };
  const files = Object.fromEntries(pages.map((p) => [p, filesOf(`/src/pages/${componentOf(p)}.svelte`)]));
  const built = await build({
    configFile: false,
    logLevel: 'error',
    define: { files: JSON.stringify({ ...files, ja: filesOf('/src/lang/ja.ts') }) },
    build: { write: false, target: 'es2022', lib: { entry: new URL('src/first.ts', import.meta.url).pathname, formats: ['iife'], name: 'first' } },
  });
  const [output] = Array.isArray(built) ? built : [built];
  if (!output || !('output' in output)) throw new Error('src/first.ts was not built');
  return output.output[0].code.trim();
}

/**
 * Puts the style behind the shell, which has its own: nothing is painted before a style that stands in the head is there. And has the page
 * ask for what it needs before its scripts are there.
 */
const fast: Plugin = {
  name: 'fast',
  enforce: 'post',
  transformIndexHtml: async (page, { bundle }) => {
    if (!bundle) return page; // the dev server's
    const style = /\n\s*<link rel="stylesheet"[^>]*>/;
    const link = style.exec(page)?.[0];
    const font = Object.keys(bundle).find((name) => name.endsWith('.woff2'));
    if (!link || !font) throw new Error('index.html has no style, or that no font');
    const moved = page.replace(style, '').replace('<noscript>', `${link.trim()}\n    <noscript>`);
    const script = await firstScript(bundle, moved);
    return moved.replace('</title>', () => `</title>\n    <script>${script}</script>\n    <link rel="preload" as="font" type="font/woff2" crossorigin href="./${font}">`);
  },
};

export default defineConfig({
  base: './', // works below any prefix that a proxy puts before it
  plugins: [svelte(), fast],
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
        codeSplitting: { groups: [{ name: 'base', test: /node_modules[\\/](?!uplot)|src[\\/](api|format|frame|lang[\\/](?!ja\.|problems\.ts)|parts|state|style)/ }] },
      },
    },
  },
  server: { proxy: { '/v1': { target: api, ws: true } } },
  test: { include: ['src/**/*.test.ts'], environment: 'node' },
});
