import { vitePreprocess } from '@sveltejs/vite-plugin-svelte';

/** @type {import('@sveltejs/vite-plugin-svelte').SvelteConfig} */
export default {
  preprocess: vitePreprocess(),
  compilerOptions: {
    runes: true,
    // Of the style's text alone: the folder in which somebody builds must not show in the result.
    cssHash: ({ hash, css }) => `s-${hash(css)}`,
  },
};
