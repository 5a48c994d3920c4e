// Screenshots of every page, light and dark, wide and narrow, to look at. node dev/shots.mjs <address> [folder] [name part]
import { mkdirSync } from 'node:fs';
import { chromium } from 'playwright-core';

const [base = 'http://127.0.0.1:8080/', folder = '.shots', only = ''] = process.argv.slice(2);
mkdirSync(folder, { recursive: true });
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
});
const first = (await (await fetch(new URL('v1/meters?state=online&limit=1', base))).json()).items[0].id;
const off = (await (await fetch(new URL('v1/meters?state=disconnected&limit=1', base))).json()).items[0]?.id ?? first;
const pages = [
  ['overview', '#/'],
  ['filtered', '#/?path=C1/C12&q=10'],
  ['nothing', '#/?q=zzz'],
  ['meter', `#/meter/${first}`],
  ['meter-week', `#/meter/${first}?span=week`],
  ['meter-all', `#/meter/${first}?span=all`],
  ['meter-table', `#/meter/${first}?as=table`],
  ['meter-off', `#/meter/${off}`],
  ['meter-none', '#/meter/M0'],
  ['confirm', `#/meter/${first}`, async (p) => p.getByRole('button', { name: 'Disconnect' }).click()],
  ['progress', `#/meter/${first}`, async (p) => (await p.getByRole('button', { name: 'Read now' }).click(), p.waitForTimeout(500))],
  ['commands', '#/commands'],
  ['outages', '#/outages'],
];
const looks = [
  ['light', 1440, 900, 'light'],
  ['dark', 1440, 900, 'dark'],
  ['narrow-light', 900, 1100, 'light'],
  ['narrow-dark', 900, 1100, 'dark'],
  ['wide-dark', 1920, 1080, 'dark'],
  ['phone-light', 390, 844, 'light'],
];
for (const [look, width, height, colorScheme] of looks) {
  const context = await browser.newContext({ viewport: { width, height }, colorScheme, timezoneId: 'Europe/Zurich', locale: 'en-GB' });
  const page = await context.newPage();
  page.on('console', (m) => ['error', 'warning'].includes(m.type()) && console.log(look, m.type(), m.text()));
  page.on('pageerror', (e) => console.log(look, 'pageerror', e.message));
  for (const [name, hash, act] of pages) {
    const file = `${name}-${look}`;
    if (only && !only.split(',').some((o) => file.startsWith(o))) continue;
    await page.goto('about:blank');
    await page.goto(base + hash);
    await page.waitForTimeout(2600);
    if (act) await act(page);
    await page.screenshot({ path: `${folder}/${file}.png` });
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    if (wide > 0) console.log(file, 'is', wide, 'px wider than the window');
    const inner = await page.evaluate(() => {
      const main = document.querySelector('main');
      return main ? main.scrollWidth - main.clientWidth : 0;
    });
    if (inner > 0) console.log(file, 'scrolls sideways by', inner, 'px');
  }
  await context.close();
}
await browser.close();
