// Runs in the page itself, before any file of it is there: has the browser get the files of the page that is asked for, and asks the centre
// for what it shows first. Without it each would wait for the one before: document, scripts, page, answers. The build puts it, and what
// it imports, into index.html; its hash is in the content security policy.
import { askEarly } from './api/early';
import { keptToken } from './api/kepttoken';
import { chosenLanguage } from './lang/chosen';
import { firstAsked } from './state/first';
import { parseRoute, type Page } from './state/route';

/** The files of each page, and those of the Japanese texts; from the build. */
declare const files: Record<Page | 'ja', readonly string[]>;

const route = parseRoute(location.hash);
for (const file of [...files[route.page], ...(chosenLanguage() === 'ja' ? files.ja : [])]) {
  const link = document.createElement('link');
  link.rel = 'modulepreload';
  link.crossOrigin = '';
  link.href = file;
  document.head.append(link);
}
askEarly(firstAsked(route), keptToken());
