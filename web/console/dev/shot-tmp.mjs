import { chromium } from 'playwright-core';
// node .shot.mjs base out name=hash[@look] ...   look: light dark narrow narrow-dark phone wide
const [base, out, ...shots] = process.argv.slice(2);
const looks = { light: [1440, 900, 'light'], dark: [1440, 900, 'dark'], narrow: [834, 1100, 'light'], 'narrow-dark': [834, 1100, 'dark'], wide: [1920, 1080, 'dark'], phone: [390, 844, 'light'], 'phone-dark': [390, 844, 'dark'] };
const b = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'] });
for (const s of shots) {
  const [name, rest] = [s.slice(0, s.indexOf('=')), s.slice(s.indexOf('=') + 1)];
  const [hash, lk = 'light', act] = rest.split('@');
  const [width, height, colorScheme] = looks[lk];
  const c = await b.newContext({ viewport: { width, height }, colorScheme, timezoneId: 'Europe/Zurich', locale: process.env.LOCALE ?? 'en-GB' });
  const p = await c.newPage();
  if (process.env.TOKEN) await p.addInitScript((t) => sessionStorage.setItem('wattbus-token', t), process.env.TOKEN);
  p.on('console', (m) => ['error', 'warning'].includes(m.type()) && console.log(name, m.type(), m.text()));
  p.on('pageerror', (e) => console.log(name, 'pageerror', e.message));
  await p.goto(base + hash);
  await p.waitForTimeout(2200);
  if (act) { for (const a of act.split(';')) { await eval(`(async()=>{${a}})()`); await p.waitForTimeout(600); } }
  await p.screenshot({ path: `${out}/${name}.png` });
  const wide = await p.evaluate(() => { const m = document.querySelector('main'); return [document.documentElement.scrollWidth - innerWidth, m ? m.scrollWidth - m.clientWidth : 0]; });
  if (wide[0] > 0 || wide[1] > 0) console.log(name, 'wider than the window', wide);
  await c.close();
}
await b.close();
