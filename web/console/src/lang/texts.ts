// Finds, in the source of the page, which texts are said and which stand there without t(). For tests only.
import { readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';

// As it is: what is imported goes through Vite, which takes longer over the compiler than all that is read here.
const { parse } = createRequire(import.meta.url)('svelte/compiler') as typeof import('svelte/compiler');

const literal = String.raw`(?:'((?:[^'\\\n]|\\.)*)'|"((?:[^"\\\n]|\\.)*)")`;
const plain = (m: RegExpMatchArray, at = 1): string => (m[at] ?? m[at + 1] ?? '').replace(/\\(.)/g, '$1');

export interface Source {
  file: string;
  text: string;
}

export function sources(folder: string): Source[] {
  return (readdirSync(folder, { recursive: true }) as string[])
    .filter((f) => /\.(svelte|ts)$/.test(f) && !/\.test\.ts$|lang[\\/](ja|problems|texts)\.ts$|icons\.ts$/.test(f))
    .map((file) => ({ file, text: readFileSync(join(folder, file), 'utf8') }));
}

/** What is given to t() as it stands, and what stands in a table or under a name that is given to it later. */
export function keysIn(s: Source): string[] {
  const keys: string[] = [];
  for (const m of s.text.matchAll(new RegExp(String.raw`\bt\(\s*${literal}`, 'g'))) keys.push(plain(m));
  // t(a ? 'this' : 'that')
  for (const m of s.text.matchAll(new RegExp(String.raw`\bt\([^'"()]*\? ${literal} : ${literal}\)`, 'g'))) keys.push(plain(m), plain(m, 3));
  for (const m of s.text.matchAll(new RegExp(String.raw`\b(?:label|about): ${literal}`, 'g'))) keys.push(plain(m));
  for (const table of s.text.matchAll(/: Record<[^=]*?string> = \{([\s\S]*?)\n?\};$/gm)) {
    for (const m of (table[1] ?? '').matchAll(new RegExp(String.raw`: ${literal}`, 'g'))) keys.push(plain(m));
  }
  for (const list of s.text.matchAll(/\b(?:gradeText|spoken) = \[([\s\S]*?)\]/g)) {
    for (const m of (list[1] ?? '').matchAll(new RegExp(literal, 'g'))) keys.push(plain(m));
  }
  return keys.filter((k) => /[A-Za-z]/.test(k.replace(/\{\w+\}/g, '')));
}

/** Names, units and code, which are the same in every language. */
const same = /^(wattbus|API|OpenAPI 3\.1|Prometheus|Apache License 2\.0|Wh|kWh|MB|min|Tab|Enter|Esc|UTC|IEEE 1366|SHA-256|WebSocket|--token|ms|English|日本語)$/;
const said = ['aria-label', 'title', 'placeholder', 'alt', 'label'];

/** A component without what its scripts and its style hold, which would take most of the time to parse. */
const markup = (text: string): string => text.replace(/(<(script|style)\b[^>]*>)[^]*?(?=<\/\2>)/g, '$1');

/** Texts in the markup of a component that did not go through t(). */
export function bareIn(s: Source): string[] {
  if (!s.file.endsWith('.svelte')) return [];
  const found: string[] = [];
  const look = (text: string) => {
    for (const part of text.split(/[^\p{L}\p{N} .\-]+/u).map((x) => x.trim())) if (/[A-Za-z]{2}/.test(part) && !same.test(part)) found.push(part);
  };
  const walk = (node: unknown, attribute: string, literals: boolean): void => {
    if (!node || typeof node !== 'object') return;
    if (Array.isArray(node)) {
      for (const x of node) walk(x, attribute, literals);
      return;
    }
    const n = node as { type?: string; name?: string; data?: string; value?: unknown; [key: string]: unknown };
    if (n.type === 'Comment') return;
    if (n.type === 'Text') {
      if (attribute === '' || said.includes(attribute)) look(n.data ?? '');
      return;
    }
    if (n.type === 'Attribute') {
      if (typeof n.value === 'object') walk(n.value, n.name ?? '', said.includes(n.name ?? ''));
      return;
    }
    if (n.type === 'ExpressionTag') {
      walk(n.expression, attribute, attribute === '' || said.includes(attribute));
      return;
    }
    if (n.type === 'CallExpression' || n.type === 'BinaryExpression' || n.type === 'MemberExpression' || n.type === 'AssignmentExpression') return; // t('…') and comparisons
    if (n.type === 'Literal' && literals && typeof n.value === 'string') return look(n.value);
    if (n.type === 'TemplateElement' && literals) return look((n.value as { cooked: string }).cooked);
    if (n.type === 'StyleDirective' || n.type === 'ClassDirective') return;
    for (const [key, x] of Object.entries(n)) if (!['metadata', 'test', 'instance', 'module', 'css', 'comments', 'key', 'context', 'parent'].includes(key)) walk(x, attribute, literals);
  };
  walk(parse(markup(s.text), { modern: true }).fragment, '', false);
  return found;
}
