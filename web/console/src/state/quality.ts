// How a heat strip and a list of letters are made from what the API says.

/** The grade of a cell by what it lacks: 0 nothing, 1 up to 1 %, 2 up to 10 %, 3 up to half, 4 more; -1: nothing was expected. */
export function grade(expected: number, missing: number): number {
  if (expected <= 0) return -1;
  if (missing <= 0) return 0;
  const share = missing / expected;
  return share <= 0.01 ? 1 : share <= 0.1 ? 2 : share <= 0.5 ? 3 : 4;
}

export const gradeText = ['nothing is missing', 'up to 1 % missing', 'up to 10 % missing', 'up to half missing', 'more than half missing'];

/** The bytes of a base64 text, as many as limit. */
export function bytesOf(base64: string, limit: number): Uint8Array {
  try {
    return Uint8Array.from(atob(base64).slice(0, limit), (c) => c.charCodeAt(0));
  } catch {
    return new Uint8Array();
  }
}

/** A hex dump, 16 bytes a line, with the characters that can be printed. */
export function hexDump(bytes: Uint8Array): string {
  const lines: string[] = [];
  for (let i = 0; i < bytes.length; i += 16) {
    const part = [...bytes.subarray(i, i + 16)];
    const hex = part.map((b) => b.toString(16).padStart(2, '0')).join(' ');
    const chars = part.map((b) => (b >= 0x20 && b < 0x7f ? String.fromCharCode(b) : '.')).join('');
    lines.push(`${i.toString(16).padStart(4, '0')}  ${hex.padEnd(47)}  ${chars}`);
  }
  return lines.join('\n');
}
