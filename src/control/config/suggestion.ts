/** "did you mean ...?": the known name that a misspelt one is closest to. */

/** @returns the name with the fewest changed letters, upper and lower case alike; null when none is near */
export function nearest(misspelt: string, known: readonly string[]): string | null {
  const far = Math.max(1, Math.floor(misspelt.length / 3));
  let best: string | null = null;
  let bestDistance = far + 1;
  for (const name of known) {
    const found = distance(misspelt.toLowerCase(), name.toLowerCase());
    if (found < bestDistance) {
      best = name;
      bestDistance = found;
    }
  }
  return best;
}

/** Levenshtein's distance: letters to insert, remove or replace. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, at) => at);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(replaced, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
