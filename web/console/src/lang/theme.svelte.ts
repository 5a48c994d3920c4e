// Light or dark: as the system has it, or as it was chosen here. What holds stands at the page's root, for the style.
export type Theme = 'system' | 'light' | 'dark';

const key = 'wattbus-theme';
const system = matchMedia('(prefers-color-scheme: dark)');

function first(): Theme {
  try {
    const kept = localStorage.getItem(key);
    if (kept === 'light' || kept === 'dark') return kept;
  } catch {
    // storage may be forbidden: as the system has it then
  }
  return 'system';
}

const state = $state({ theme: first(), dark: false });

function apply(): void {
  state.dark = state.theme === 'system' ? system.matches : state.theme === 'dark';
  document.documentElement.dataset.theme = state.dark ? 'dark' : 'light';
}

apply();
system.addEventListener('change', apply);

export const theme = (): Theme => state.theme;

/** Whether the page is dark now. */
export const dark = (): boolean => state.dark;

export function setTheme(theme: Theme): void {
  state.theme = theme;
  try {
    localStorage.setItem(key, theme);
  } catch {
    // then it lasts until the page is loaded again
  }
  apply();
}
