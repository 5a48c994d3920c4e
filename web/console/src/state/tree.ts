// The tree of concentrators, from the flat list that the API gives.
import type { Concentrator } from '../api/shapes';

export interface Node {
  concentrator: Concentrator;
  children: Node[];
}

export interface Row {
  concentrator: Concentrator;
  level: number; // from 1
  children: number;
  open: boolean;
}

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
    level.sort((a, b) => a.concentrator.id.localeCompare(b.concentrator.id, 'en', { numeric: true }));
    for (const n of level) sort(n.children);
  };
  sort(roots);
  return roots;
}

/** The rows that show, outer before inner, without what is below a closed one. */
export function visibleRows(nodes: readonly Node[], closed: ReadonlySet<string>, level = 1): Row[] {
  return nodes.flatMap((n) => {
    const open = !closed.has(n.concentrator.path);
    const row = { concentrator: n.concentrator, level, children: n.children.length, open };
    return open ? [row, ...visibleRows(n.children, closed, level + 1)] : [row];
  });
}

export function applyConcentrators(list: readonly Concentrator[], changed: readonly Concentrator[]): Concentrator[] {
  const byId = new Map(list.map((c) => [c.id, c])); // by id: one that moved has another path
  for (const c of changed) byId.set(c.id, c);
  return [...byId.values()];
}
