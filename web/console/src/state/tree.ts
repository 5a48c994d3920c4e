// The tree of concentrators, from the flat list that the API gives.
import type { Concentrator } from '../api/shapes';

export interface Node {
  concentrator: Concentrator;
  children: Node[];
}

export interface Row {
  concentrator: Concentrator;
  level: number; // from 1
  index: number; // among its siblings, from 0
  siblings: number;
  children: number;
  open: boolean;
}

// One for all: to make one takes longer than a thousand comparisons.
const byId = new Intl.Collator('en', { numeric: true });

/** Children come in the order of their ids; one whose parent is not listed hangs on the nearest listed one above. */
export function buildTree(list: readonly Concentrator[]): Node[] {
  const nodes = new Map(list.map((c) => [c.path, { concentrator: c, children: [] as Node[] }]));
  const roots: Node[] = [];
  for (const node of nodes.values()) {
    const parts = node.concentrator.path.split('/').slice(0, -1);
    let parent: Node | undefined;
    while (parts.length > 0 && !parent) {
      parent = nodes.get(parts.join('/'));
      parts.pop();
    }
    (parent?.children ?? roots).push(node);
  }
  const sort = (level: Node[]) => {
    level.sort((a, b) => byId.compare(a.concentrator.id, b.concentrator.id));
    for (const n of level) sort(n.children);
  };
  sort(roots);
  return roots;
}

/** The rows that show, outer before inner, without what is below a closed one. */
export function visibleRows(nodes: readonly Node[], closed: ReadonlySet<string>, level = 1): Row[] {
  const rows: Row[] = [];
  const add = (list: readonly Node[], level: number): void => {
    list.forEach((n, index) => {
      const open = !closed.has(n.concentrator.path);
      rows.push({ concentrator: n.concentrator, level, index, siblings: list.length, children: n.children.length, open });
      if (open) add(n.children, level + 1);
    });
  };
  add(nodes, level);
  return rows;
}

export function applyConcentrators(list: readonly Concentrator[], changed: readonly Concentrator[]): Concentrator[] {
  const all = new Map(list.map((c) => [c.id, c])); // by id: one that moved has another path
  for (const c of changed) all.set(c.id, c);
  return [...all.values()];
}
