// A stand-in for the centre while the console is worked on: the shapes of the API, live events, a few hundred meters with
// made-up loads, faults, commands and a history that is being collected. Nothing of it is built into the console.
//
//   node dev/mock.mjs [--port 8080] [--meters 494] [--speed 60] [--collected] [--seed 7]
//
// It serves dist too, so that screenshots need no other server.
import { createServer } from 'node:http';
import { readFile } from 'node:fs/promises';
import { extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { WebSocketServer } from 'ws';

const { values: opt } = parseArgs({
  options: {
    port: { type: 'string', default: '8080' },
    meters: { type: 'string', default: '494' },
    speed: { type: 'string', default: '60' },
    seed: { type: 'string', default: '7' },
    collected: { type: 'boolean', default: false },
    nows: { type: 'boolean', default: false }, // refuse WebSockets, to see the other way
  },
});
const speed = Number(opt.speed);
const dist = join(fileURLToPath(import.meta.url), '../../dist');

// --- time, chance
let seed = Number(opt.seed);
const rnd = () => {
  seed = (seed * 1664525 + 1013904223) >>> 0;
  return seed / 2 ** 32;
};
const hash = (a, b) => {
  let h = (a * 374761393 + b * 668265263) >>> 0;
  h = Math.imul(h ^ (h >>> 13), 1274126177) >>> 0;
  return ((h ^ (h >>> 16)) >>> 0) / 2 ** 32;
};
const slotMs = 1800_000;
const t0 = Date.parse('2018-12-12T23:00:00Z');
const started = Date.now();
const now = () => t0 + 11 * 3600_000 + 1200_000 + (Date.now() - started) * speed;
const iso = (ms) => new Date(ms).toISOString().replace('.000Z', 'Z');

// --- meters
const leaves = ['C1/C11', 'C1/C12', 'C1/C13', 'C2/C21', 'C2/C22', 'C3/C31', 'C3/C32', 'C3/C33'];
const lostLeaf = 'C3/C32';
const meters = Array.from({ length: Number(opt.meters) }, (_, i) => {
  const id = `M${1000317 + i * 4421 + Math.floor(rnd() * 4000)}`;
  const path = leaves[Math.floor(rnd() * leaves.length)];
  const scale = 60 + rnd() * rnd() * 1400;
  const shape = rnd();
  const m = { id, i, path, scale, shape, base: Math.floor(rnd() * 4e7), missing: new Set() };
  const since = iso(t0 - rnd() * 40 * 86400_000);
  m.doc = {
    id, kind: 'meter', path, state: 'online',
    link: { state: 'up', since }, power: { state: 'on', since }, breaker: { state: 'closed', since },
    firstSeen: iso(t0 - 45 * 86400_000), lastSeen: iso(now()), flags: [], capabilities: rnd() < 0.94 ? ['breaker', 'battery'] : ['battery'],
    interval: 30, firmware: '2.4.1', registration: 1 + Math.floor(rnd() * 6), oldest: iso(t0 - 45 * 86400_000), missing: 0,
  };
  return m;
});
meters.sort((a, b) => (a.id < b.id ? -1 : 1));
const byId = new Map(meters.map((m) => [m.id, m]));
const wh = (m, slot) => {
  const h = ((slot * 0.5) % 24) + 1;
  const day = Math.exp(-((h - 7.5) ** 2) / 5) * (0.4 + m.shape) + Math.exp(-((h - 19) ** 2) / 9) * 1.4 + 0.25 + (m.shape > 0.7 ? (h < 6 ? 1.5 : 0) : 0);
  return Math.round(m.scale * day * (0.35 + hash(m.i + 1, slot) * 1.1));
};
const slotNow = () => Math.floor(now() / slotMs);
const register = (m, slot) => m.base + slot % 1e5 * Math.round(m.scale * 0.7) % 4e7 + wh(m, slot);
const refreshRegister = (m, slot) => {
  const w = wh(m, slot);
  m.reg = (m.reg ?? m.base + 3e6) + w;
  m.doc.register = { import: m.reg, export: 0, time: iso((slot + 1) * slotMs), power: w * 2, voltage: 228 + Math.round(hash(m.i, slot + 5) * 50) / 10 };
  m.doc.lastSeen = m.doc.register.time;
};
const set = (m, state) => {
  const at = iso(now());
  const fact = (name, s) => m.doc[name].state !== s && (m.doc[name] = { state: s, since: at });
  m.doc = { ...m.doc, state };
  if (state === 'power-lost') fact('power', 'lost'), fact('link', 'lost');
  if (state === 'comm-lost') fact('link', 'lost');
  if (state === 'unreachable') fact('link', 'unreachable');
  if (state === 'online') fact('link', 'up'), fact('power', 'on'), fact('breaker', 'closed');
  if (state === 'disconnected') fact('link', 'up'), fact('breaker', 'open');
  m.doc.flags = state === 'disconnected' ? ['breaker-open'] : state === 'power-lost' ? ['battery'] : [];
};
for (const m of meters) refreshRegister(m, slotNow() - 1);
for (const m of meters) {
  const x = rnd();
  if (m.path === lostLeaf) set(m, 'unreachable');
  else if (x < 0.012) set(m, 'power-lost');
  else if (x < 0.03) set(m, 'comm-lost');
  else if (x < 0.045) set(m, 'disconnected');
  else if (x < 0.05) set(m, 'never-seen'), (m.doc.register = undefined), (m.doc.lastSeen = undefined), (m.doc.link = { state: 'never-seen', since: '0001-01-01T00:00:00Z' }), (m.doc.power = { state: 'unknown', since: '0001-01-01T00:00:00Z' });
  if (m.doc.state === 'comm-lost' || m.doc.state === 'power-lost') m.doc.missing = 3 + Math.floor(rnd() * 9);
}
const firstOk = meters.find((m) => m.doc.state === 'online' && m.doc.capabilities.includes('breaker'));

// --- concentrators
const conc = [...new Set(leaves.flatMap((p) => [p.split('/')[0], p]))].map((path) => ({ path, id: path.split('/').at(-1), state: path === lostLeaf ? 'lost' : 'online', since: iso(now() - (path === lostLeaf ? 4000_000 : 86400_000 * 3)) }));
const tally = (list) => list.reduce((t, m) => ((t[m.doc.state] = (t[m.doc.state] ?? 0) + 1), t), {});
const concDoc = (c) => {
  const below = meters.filter((m) => m.path === c.path || m.path.startsWith(`${c.path}/`));
  return { ...c, meters: meters.filter((m) => m.path === c.path).length, below: below.length, states: tally(below) };
};

// --- completeness
const history = meters.length * 45 * 48;
let recovered = opt.collected ? history - 214 : 0;
let received = opt.collected ? meters.length * 40 : 0;
let rate = 0;
let dead = 3;

// --- outages, commands
let ids = 1000;
const outages = [];
const openOutage = (kind, of, evidence) => outages.unshift({ id: String(++ids), kind, path: '', affected: 1, end: null, start: iso(now()), ...of, evidence });
for (const m of meters.filter((x) => x.doc.state === 'power-lost')) {
  const at = now() - rnd() * 7200_000;
  openOutage('power-lost', { meter: m.id, path: m.path, start: iso(at) }, [{ time: iso(at), what: 'last-gasp' }, { time: iso(at + 4000), what: 'will' }]);
}
openOutage('unreachable', { concentrator: 'C32', path: lostLeaf, affected: meters.filter((m) => m.path === lostLeaf).length, start: iso(now() - 4000_000) }, [{ time: iso(now() - 4000_000), what: 'concentrator-lost' }]);
for (let k = 0; k < 9; k++) {
  const m = meters[Math.floor(rnd() * meters.length)];
  const at = now() - 86400_000 * (1 + rnd() * 9);
  openOutage(rnd() < 0.5 ? 'power-lost' : 'comm-lost', { meter: m.id, path: m.path, start: iso(at), end: iso(at + rnd() * 9000_000) }, [{ time: iso(at), what: rnd() < 0.5 ? 'last-gasp' : 'silence' }, { time: iso(at + 9000_000), what: 'reading' }]);
}
outages.sort((a, b) => (a.start < b.start ? 1 : -1)).forEach((o, i) => (o.id = String(2000 - i)));
const commands = [];
const wall = (ms = 0) => new Date(Date.now() + ms).toISOString();
const step = (c, state, detail) => {
  c.state = state;
  c.history = [...c.history, { state, time: wall(), ...(detail ? { detail } : {}) }];
  if (state === 'sent') c.sends++;
  emit('command', c.target.meter ? 'meter' : 'centre', c.target.meter ?? 'centre', c);
};
const finished = (c) => ['done', 'refused', 'failed', 'expired', 'cancelled'].includes(c.state);
function create(req) {
  const c = { id: String(++ids), type: req.type, target: req.target, params: req.params ?? {}, by: 'api', state: 'queued', created: wall(), sends: 0, history: [{ state: 'queued', time: wall() }] };
  commands.unshift(c);
  emit('command', 'meter', req.target.meter ?? '', c);
  const m = byId.get(req.target.meter);
  setTimeout(() => !finished(c) && step(c, 'sent'), 180);
  if (!m || ['unreachable', 'comm-lost', 'power-lost', 'never-seen'].includes(m.doc.state)) {
    setTimeout(() => !finished(c) && step(c, 'sent'), 2500);
    setTimeout(() => !finished(c) && step(c, 'expired', 'no answer before it expired'), Math.min(20_000, ((req.expiresIn ?? 60) * 1000) / speed));
    return c;
  }
  setTimeout(() => {
    if (finished(c)) return;
    const r = (c.result = { outcome: 'done', breaker: m.doc.breaker.state, detail: 0, time: iso(now()) });
    if (c.type === 'read') r.register = m.doc.register;
    if (c.type === 'profile') r.detail = 12;
    if (c.type === 'disconnect') set(m, 'disconnected'), (r.breaker = 'open');
    if (c.type === 'reconnect') req.params?.arm ? ((r.breaker = 'ready'), (m.doc.breaker = { state: 'ready', since: iso(now()) })) : (set(m, 'online'), (r.breaker = 'closed'));
    step(c, 'done');
    emit('state', 'meter', m.id, m.doc);
  }, 700);
  return c;
}
// some of the past
for (const [type, state, m, ms] of [['read', 'done', firstOk, 240], ['profile', 'done', firstOk, 410], ['disconnect', 'refused', firstOk, 190], ['read', 'done', firstOk, 205], ['read', 'expired', meters.find((x) => x.doc.state === 'comm-lost') ?? firstOk, 60_000], ['ping', 'done', meters[9], 130], ['reconnect', 'done', meters[12], 330], ['disconnect', 'done', meters.find((x) => x.doc.state === 'disconnected') ?? firstOk, 260]]) {
  const ago = -(3600_000 - commands.length * 300_000);
  commands.unshift({
    id: String(++ids), type, target: { meter: m.id }, params: {}, by: 'api', state, created: wall(ago), sends: state === 'expired' ? 6 : 1,
    history: [{ state: 'queued', time: wall(ago) }, { state: 'sent', time: wall(ago + 3) }, { state, time: wall(ago + ms), ...(state === 'expired' ? { detail: 'no answer before it expired' } : {}) }],
    ...(state === 'expired' ? {} : { result: { outcome: state, breaker: type === 'disconnect' ? 'open' : 'closed', detail: type === 'profile' ? 12 : state === 'refused' ? 1 : 0, register: type === 'read' ? m.doc.register : undefined, time: iso(now()) } }),
  });
}

const totals = () => ({
  time: iso(now()), speed, paused: false, meters: meters.length, concentrators: conc.length, states: tally(meters),
  completeness: (() => {
    const missing = history - recovered;
    const expected = history + received;
    return { expected, received, recovered, missing, percent: ((expected - missing) / expected) * 100 };
  })(),
  readingsPerSecond: rate, power: meters.reduce((s, m) => s + (m.doc.state === 'online' ? (m.doc.register?.power ?? 0) : 0), 0),
  commandsOpen: commands.filter((c) => !finished(c)).length, outagesOpen: outages.filter((o) => !o.end).length,
  backfill: { waiting: Math.ceil((history - recovered) / 2160), inFlight: recovered < history && !opt.collected ? 24 : 0 }, deadLetters: dead,
});

// --- live
const streams = new Set();
let sequence = 0;
function emit(name, kind, id, data) {
  const text = JSON.stringify({ specversion: '1.0', id: String(++sequence), type: `wattbus.${name}.v1`, source: `/${kind}/${id}`, subject: id, time: iso(now()), datacontenttype: 'application/json', data });
  for (const s of streams) if ([...s.filters.values()].some((f) => (f.types ?? []).includes(name) && (!f.meter || f.meter === id))) s.send(name, text);
}
let slot = slotNow();
setInterval(() => {
  const before = recovered + received;
  if (!opt.collected && recovered < history) recovered = Math.min(history, recovered + 21_000 + Math.floor(rnd() * 15_000));
  for (; slot < slotNow(); slot++) {
    for (const m of meters) {
      if (m.doc.state !== 'online') continue;
      refreshRegister(m, slot);
      received++;
      const r = { start: iso(slot * slotMs), end: iso((slot + 1) * slotMs), import: wh(m, slot), quality: 'raw', register: m.reg };
      emit('reading', 'meter', m.id, { meter: m.id, path: m.path, register: m.doc.register, interval: r, flags: m.doc.flags, received: wall() });
    }
  }
  rate = rate * 0.6 + (recovered + received - before) * 0.4;
  emit('totals', 'centre', 'centre', totals());
}, 1000);
setInterval(() => {
  const m = meters[Math.floor(rnd() * meters.length)];
  if (m.doc.state === 'unreachable' || m === firstOk) return;
  const from = m.doc.state;
  set(m, from === 'online' ? ['comm-lost', 'power-lost'][Math.floor(rnd() * 2)] : 'online');
  emit('state', 'meter', m.id, m.doc);
  for (const c of conc) if (m.path.startsWith(c.path)) emit('concentrator', 'concentrator', c.id, concDoc(c));
  if (m.doc.state === 'power-lost') emit('outage', 'meter', m.id, openOutage('power-lost', { meter: m.id, path: m.path }, [{ time: iso(now()), what: 'last-gasp' }]) && outages[0]);
  const o = outages.find((x) => x.meter === m.id && !x.end);
  if (o && m.doc.state === 'online') emit('outage', 'meter', m.id, Object.assign(o, { end: iso(now()), evidence: [...o.evidence, { time: iso(now()), what: 'restored' }] }));
}, 4000);

// --- HTTP
const problem = (status, title, detail, more) => ({ status, body: { title, status, detail, ...more } });
function page(list, q) {
  const limit = Math.min(1000, Number(q.get('limit') ?? 100));
  const from = Number(q.get('cursor') ?? 0);
  return { status: 200, body: { items: list.slice(from, from + limit), next: from + limit < list.length ? String(from + limit) : undefined } };
}
function readings(m, q) {
  const last = slotNow();
  const lo = q.get('from') ? Math.ceil(Date.parse(q.get('from')) / slotMs) : last - 45 * 48;
  const hi = q.get('to') ? Math.min(last, Math.ceil(Date.parse(q.get('to')) / slotMs)) : last;
  const items = [];
  for (let s = lo; s < hi; s++) {
    const gap = (hash(m.i, Math.floor(s / 5)) < 0.012 || (s > last - 17 && s < last - 12)) && m.doc.state !== 'never-seen';
    items.push(gap ? { start: iso(s * slotMs), end: iso((s + 1) * slotMs), import: null, quality: 'missing' } : { start: iso(s * slotMs), end: iso((s + 1) * slotMs), import: wh(m, s), quality: hash(s, 3) < 0.02 ? 'estimated' : 'raw', register: (m.reg ?? 4e6) - (last - s) * 400 });
  }
  return page(items, q);
}
async function answer(req, url, body) {
  const q = url.searchParams;
  const parts = url.pathname.split('/').filter(Boolean);
  if (url.pathname === '/v1/totals') return { status: 200, body: totals() };
  if (url.pathname === '/v1/concentrators') return page(conc.map(concDoc), q);
  if (url.pathname === '/v1/outages') return page(q.get('open') ? outages.filter((o) => !o.end) : outages, q);
  if (url.pathname === '/v1/commands' && req.method === 'POST') {
    const r = JSON.parse(body);
    if (!byId.has(r.target?.meter)) return problem(404, 'Not found', `there is no meter "${r.target?.meter}"`);
    return { status: 202, body: create(r) };
  }
  if (parts[1] === 'commands' && parts[3] === 'cancel') {
    const c = commands.find((x) => x.id === parts[2]);
    if (!c || finished(c)) return problem(409, 'Conflict', `command ${parts[2]} has ended already`);
    step(c, 'cancelled');
    return { status: 200, body: c };
  }
  if (url.pathname === '/v1/commands') return page(q.get('open') ? commands.filter((c) => !finished(c)) : commands, q);
  if (url.pathname === '/v1/meters') {
    const path = q.get('path');
    return page(meters.filter((m) => (!path || m.path === path || m.path.startsWith(`${path}/`)) && (!q.get('state') || m.doc.state === q.get('state')) && (!q.get('q') || m.id.toLowerCase().includes(q.get('q').toLowerCase()))).map((m) => m.doc), q);
  }
  if (parts[1] === 'meters') {
    const m = byId.get(parts[2]);
    if (!m) return problem(404, 'Not found', `there is no meter "${parts[2]}"; ids are written as on the device`);
    return parts[3] === 'readings' ? readings(m, q) : { status: 200, body: m.doc };
  }
  return problem(404, 'Not found', `there is no call ${url.pathname}; see /openapi.json`);
}
const types = { '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml', '.woff2': 'font/woff2', '.txt': 'text/plain' };
const policy = "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
const server = createServer(async (req, res) => {
  const url = new URL(req.url, 'http://localhost');
  if (url.pathname === '/v1/events') {
    res.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store' });
    res.write('retry: 2000\n: following\n\n');
    const s = { filters: new Map([['', { types: (url.searchParams.get('type') ?? '').split(','), meter: url.searchParams.get('meter') }]]), send: (name, text) => res.write(`event: ${name}\ndata: ${text}\n\n`) };
    streams.add(s);
    req.on('close', () => streams.delete(s));
    return;
  }
  if (url.pathname.startsWith('/v1/')) {
    let body = '';
    for await (const chunk of req) body += chunk;
    const a = await answer(req, url, body);
    res.writeHead(a.status, { 'Content-Type': a.status < 400 ? 'application/json' : 'application/problem+json' });
    res.end(JSON.stringify(a.body));
    return;
  }
  const name = normalize(url.pathname === '/' ? '/index.html' : url.pathname);
  try {
    const text = await readFile(join(dist, name));
    res.writeHead(200, { 'Content-Type': types[extname(name)] ?? 'application/octet-stream', 'Content-Security-Policy': policy });
    res.end(text);
  } catch {
    res.writeHead(404).end();
  }
});
const wss = new WebSocketServer({ noServer: true, handleProtocols: () => 'wattbus.v1' });
server.on('upgrade', (req, socket, head) => {
  if (opt.nows) return socket.end('HTTP/1.1 400 Bad Request\r\n\r\n');
  wss.handleUpgrade(req, socket, head, (ws) => {
    const url = new URL(req.url, 'http://localhost');
    const s = { filters: new Map([['', { types: (url.searchParams.get('type') ?? '').split(',') }]]), send: (_, text) => ws.send(text) };
    streams.add(s);
    const beat = setInterval(() => ws.send(JSON.stringify({ heartbeat: { time: iso(now()) } })), 15_000);
    ws.on('message', (m) => {
      const r = JSON.parse(m);
      const f = r.subscribe ?? r.unsubscribe;
      if (r.subscribe) s.filters.set(f.id, f);
      else s.filters.delete(f.id);
      ws.send(JSON.stringify(r.subscribe ? { subscribed: f } : { unsubscribed: f }));
    });
    ws.on('close', () => (streams.delete(s), clearInterval(beat)));
  });
});
server.listen(Number(opt.port), '127.0.0.1', () => console.log(`mock centre on http://127.0.0.1:${server.address().port}/ first meter ${firstOk.id}`));
